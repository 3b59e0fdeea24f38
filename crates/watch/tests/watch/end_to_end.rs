//! A camera watched from its stream to the folder, with brokers and servers on loopback.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use desumnet_watch::{
    clips::Desk,
    complaints::Say,
    cutter::{Decision, Kept},
    events::{Outlet, Target, Trust},
    folder::{Folder, LINES},
    keep::Keep,
    metrics::Counts,
    ring::Limits,
    source::{Arrival, Source, Stop},
};
use test_support::{
    camera::{Camera, WITH_SOUND},
    watching::{clips, decode, hashes, looker, probe, render, units, video, wait_for},
};

/// Longest wait for what must come: only a test that fails waits as long.
const PATIENCE: Duration = Duration::from_secs(30);
const SECOND: u64 = 1_000_000_000;

/// A camera that is watched; its decisions come from the test.
struct Watched {
    decide: mpsc::SyncSender<Arrival>,
    /// Times of pictures, as who scores them would get them.
    times: mpsc::Receiver<u64>,
    said: Arc<Mutex<Vec<String>>>,
    counts: Arc<Counts>,
    stop: Stop,
    threads: Vec<JoinHandle<()>>,
}

fn watch(uri: &str, folder: &Path, outlets: Vec<Outlet>, keep: Option<Keep>) -> Watched {
    gst::init().unwrap();
    let (decide, arrivals) = mpsc::sync_channel(1_000);
    let (sink, times) = looker();
    let counts = Arc::new(Counts::default());
    let source = Source::new(uri, decide.clone(), Some(&sink), counts.clone()).unwrap();
    let (stop, now) = (source.stop_handle(), source.clock());
    let said = Arc::new(Mutex::new(Vec::new()));
    let saying = said.clone();
    let mut desk = desk(folder, outlets, keep, Arc::new(move |text| saying.lock().unwrap().push(text)));
    desk.counts = counts.clone();
    let threads = vec![
        std::thread::spawn(move || desk.run(&arrivals, now)),
        std::thread::spawn(move || source.run(|_| {}).unwrap()),
    ];
    Watched { decide, times, said, counts, stop, threads }
}

fn desk(folder: &Path, outlets: Vec<Outlet>, keep: Option<Keep>, say: Say) -> Desk {
    Desk {
        camera: "yard".into(),
        longest: 60 * SECOND,
        limits: Limits { time: 20 * SECOND, bytes: 64 << 20 },
        folder: Arc::new(Folder::open(folder).unwrap()),
        keep,
        outlets: Arc::new(outlets),
        counts: Arc::default(),
        say,
    }
}

impl Watched {
    /// Waits until a picture of this time has come; its time.
    fn wait_until(&self, time: u64) -> u64 {
        loop {
            let seen = self.times.recv_timeout(PATIENCE).unwrap();
            if seen >= time {
                return seen;
            }
        }
    }

    fn decide(&self, start: u64, end: u64, score: f64) {
        let kept = (score > 0.0).then(|| Kept { score, category: "fall".into(), confidence: 0.5 });
        self.decide.send(Arrival::Decided(Decision { start, end, kept })).unwrap();
    }

    /// Ends it, and waits until all clips are finished.
    fn finish(self) -> Vec<String> {
        self.stop.stop();
        drop(self.decide);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        Arc::into_inner(self.said).unwrap().into_inner().unwrap()
    }
}

#[test]
fn a_decision_leaves_a_clip_with_the_cameras_packets_its_picture_line_and_events() {
    let folder = tempfile::tempdir().unwrap();
    let events = folder.path().join("events.jsonl");
    let outlet = Outlet::open(Target::Json(Some(events.clone())), &Trust::default(), Arc::new(|_| {})).unwrap();
    let camera = Camera::start(WITH_SOUND, None);
    let watched = watch(&camera.uri(), folder.path(), vec![outlet], None);
    let first = watched.wait_until(0);
    watched.wait_until(first + 4 * SECOND);
    watched.decide(first, first + 2 * SECOND, 0.0);
    watched.decide(first + 2 * SECOND, first + 3 * SECOND, 0.25);
    watched.decide(first + 3 * SECOND, first + 4 * SECOND, 0.75);
    watched.decide(first + 4 * SECOND, first + 5 * SECOND, 0.0);
    wait_for("the clip's line", || clips(folder.path()).pop());
    let said = watched.finish();
    assert!(said.is_empty(), "{said:?}");
    let [line] = &clips(folder.path())[..] else { panic!("one clip") };
    let path = video(folder.path(), line);
    let (packets, sound) = (probe(&path, "v"), probe(&path, "a"));
    assert!(packets[0].key);
    let start = line["start_ns"].as_u64().unwrap();
    assert!(start <= first + 2 * SECOND && start > first + SECOND - 40_000_000, "{start} after {first}");
    // All that was asked for is in it, and at most a fragment and a frame more.
    let end = line["end_ns"].as_u64().unwrap();
    let asked = first + 4 * SECOND - 40_000_000;
    assert!((asked..=asked + 300_000_000).contains(&end), "{end} after {first}");
    let last = packets.iter().map(|packet| packet.pts).fold(0.0, f64::max);
    let sound_end = sound.iter().map(|packet| packet.pts).fold(0.0, f64::max);
    assert!(((end - start) as f64 / 1e9 - last.max(sound_end)).abs() < 0.06);
    assert!((sound_end - last).abs() < 0.3, "sound to {sound_end}, pictures to {last}");
    assert_eq!(decode(&path), packets.len());
    for units in units(&path) {
        assert!(units.iter().all(|unit| camera.has_sent(unit)));
    }
    let utc = |name: &str| humantime::parse_rfc3339(line[name].as_str().unwrap()).unwrap();
    let length = utc("end").duration_since(utc("start")).unwrap().as_nanos() as u64;
    assert!(length.abs_diff(end - start) < 2_000_000);
    assert_eq!((line["score"].as_f64(), line["category"].as_str()), (Some(0.75), Some("fall")));
    let picture = std::fs::read(folder.path().join(line["thumbnail"].as_str().unwrap())).unwrap();
    assert_eq!(picture[..2], [0xff, 0xd8]);
    let events: Vec<serde_json::Value> =
        std::fs::read_to_string(events).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let types: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["new", "update", "end"]);
    assert!(events.iter().all(|event| event["id"] == events[0]["id"] && event["file"] == line["file"]));
    assert_eq!(events[2]["thumbnail"], line["thumbnail"]);
}

#[test]
fn over_a_reconnect_there_are_two_clips_that_play() {
    let folder = tempfile::tempdir().unwrap();
    let camera = Camera::start(WITH_SOUND, None);
    let (uri, port) = (camera.uri(), camera.port);
    let watched = watch(&uri, folder.path(), Vec::new(), None);
    let first = watched.wait_until(0);
    let gone = watched.wait_until(first + 2 * SECOND);
    drop(camera);
    let _camera = Camera::start(WITH_SOUND, Some(port));
    let back = watched.wait_until(gone + SECOND / 2);
    let end = watched.wait_until(back + 2 * SECOND);
    watched.decide(first, end, 1.0);
    wait_for("the first clip's line", || clips(folder.path()).pop());
    watched.finish();
    let lines = clips(folder.path());
    assert_eq!(lines.len(), 2);
    let ns = |line: usize, name: &str| lines[line][name].as_u64().unwrap();
    assert_eq!(ns(0, "start_ns"), first);
    assert!(ns(0, "end_ns") >= gone && ns(0, "end_ns") < back);
    assert_eq!(ns(1, "start_ns"), back);
    for line in &lines {
        let path = video(folder.path(), line);
        let (packets, sound) = (probe(&path, "v"), probe(&path, "a"));
        assert!(packets[0].key && !sound.is_empty());
        assert_eq!(decode(&path), packets.len());
    }
}

#[test]
fn a_camera_that_changes_its_picture_size_makes_another_clip() {
    let folder = tempfile::tempdir().unwrap();
    let with_size = |size: &str| WITH_SOUND.replace("width=320,height=240", size);
    let camera = Camera::start(WITH_SOUND, None);
    let (uri, port) = (camera.uri(), camera.port);
    let watched = watch(&uri, folder.path(), Vec::new(), None);
    let first = watched.wait_until(0);
    let gone = watched.wait_until(first + SECOND);
    drop(camera);
    let _camera = Camera::start(&with_size("width=640,height=360"), Some(port));
    let back = watched.wait_until(gone + SECOND / 2);
    let end = watched.wait_until(back + SECOND);
    watched.decide(first, end, 1.0);
    wait_for("the first clip's line", || clips(folder.path()).pop());
    watched.finish();
    let sizes: Vec<String> = clips(folder.path())
        .iter()
        .map(|line| {
            let fields =
                ["-v", "error", "-select_streams", "v", "-show_entries", "stream=width,height", "-of", "csv=p=0"];
            let out = Command::new("ffprobe").args(fields).arg(video(folder.path(), line)).output().unwrap();
            String::from_utf8(out.stdout).unwrap().trim().to_owned()
        })
        .collect();
    assert_eq!(sizes, ["320,240", "640,360"]);
}

#[test]
fn a_picture_size_that_changes_in_the_stream_makes_another_clip() {
    let folder = tempfile::tempdir().unwrap();
    let encoder =
        "x264enc speed-preset=ultrafast threads=1 key-int-max=25 ! h264parse ! video/x-h264,stream-format=avc";
    let small = render(encoder, 50, 0);
    let large = render(&format!("videoscale ! video/x-raw,width=640,height=360 ! {encoder}"), 50, 0);
    let (sender, arrivals) = mpsc::sync_channel(1_000);
    for packet in small.video.iter().cloned() {
        sender.send(Arrival::Video(packet)).unwrap();
    }
    for mut packet in large.video.iter().cloned() {
        packet.time += 2 * SECOND;
        packet.decode += 2 * SECOND;
        sender.send(Arrival::Video(packet)).unwrap();
    }
    let kept = Some(Kept { score: 1.0, category: "fall".into(), confidence: 0.5 });
    sender.send(Arrival::Decided(Decision { start: SECOND, end: 3 * SECOND, kept })).unwrap();
    drop(sender);
    desk(folder.path(), Vec::new(), None, Arc::new(|text| panic!("{text}"))).run(&arrivals, || 4 * SECOND);
    let paths: Vec<PathBuf> = clips(folder.path()).iter().map(|line| video(folder.path(), line)).collect();
    let found: Vec<Vec<String>> =
        paths.iter().map(|path| probe(path, "v").into_iter().map(|packet| packet.hash).collect()).collect();
    let last = found[1].len();
    assert!((25..=31).contains(&last), "{last}");
    assert_eq!(found, [&hashes(&small.video)[25..], &hashes(&large.video)[..last]]);
    assert_eq!([decode(&paths[0]), decode(&paths[1])], [25, last]);
}

#[test]
fn the_oldest_clips_go_and_what_is_too_much() {
    let folder = tempfile::tempdir().unwrap();
    let watched = watch("test:", folder.path(), Vec::new(), Some(Keep::Bytes(1)));
    let first = watched.wait_until(0);
    watched.wait_until(first + 3 * SECOND);
    watched.decide(first, first + SECOND, 1.0);
    watched.decide(first + SECOND, first + 2 * SECOND, 0.0);
    wait_for("the clip", || (watched.counts.clips.load(std::sync::atomic::Ordering::Relaxed) == 1).then_some(()));
    watched.finish();
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [LINES]);
    assert!(clips(folder.path()).is_empty());
}

/// `mosquitto` on a port of loopback; `None` where it is not installed.
struct Mosquitto(Child);

impl Mosquitto {
    fn start(port: u16, folder: &Path) -> Option<Self> {
        Self::start_with(port, folder, "")
    }

    fn start_with(port: u16, folder: &Path, more: &str) -> Option<Self> {
        let config = folder.join("mosquitto.conf");
        let text = format!("listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n{more}");
        std::fs::write(&config, text).unwrap();
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
        let mut command = Command::new("mosquitto");
        command.env("PATH", path).arg("-c").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        match command.spawn() {
            Ok(child) => Some(Self(child)),
            Err(_) => {
                println!("skipped: mosquitto is not installed (apt-get install mosquitto)");
                None
            }
        }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn event(number: u64) -> desumnet_watch::events::Event {
    desumnet_watch::events::Event {
        kind: desumnet_watch::events::Kind::New,
        id: number.to_string(),
        clip: desumnet_watch::folder::Line {
            camera: "yard".into(),
            start: String::new(),
            end: String::new(),
            start_ns: number,
            end_ns: number,
            score: 0.5,
            category: "fall".into(),
            confidence: 0.5,
            file: String::new(),
            thumbnail: None,
        },
    }
}

/// Receives what is published at a topic, until it is dropped.
fn subscribe(port: u16, topic: &str) -> mpsc::Receiver<String> {
    let mut options = rumqttc::MqttOptions::new("listener", "127.0.0.1", port);
    options.set_clean_session(false);
    let (client, mut connection) = rumqttc::Client::new(options, 10);
    client.subscribe(topic, rumqttc::QoS::AtLeastOnce).unwrap();
    let (sender, received) = mpsc::channel();
    let topic = topic.to_owned();
    std::thread::spawn(move || {
        for event in connection.iter() {
            match event {
                Ok(rumqttc::Event::Incoming(rumqttc::Packet::Publish(message))) => {
                    if sender.send(String::from_utf8(message.payload.to_vec()).unwrap()).is_err() {
                        return;
                    }
                }
                Ok(rumqttc::Event::Incoming(rumqttc::Packet::SubAck(_)))
                    if sender.send("subscribed".into()).is_err() =>
                {
                    return;
                }
                Ok(rumqttc::Event::Incoming(rumqttc::Packet::ConnAck(_))) => {
                    let _ = client.try_subscribe(&topic, rumqttc::QoS::AtLeastOnce);
                }
                Ok(_) => {}
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    });
    received
}

#[test]
fn a_broker_that_goes_gets_the_events_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let Some(broker) = Mosquitto::start(port, folder.path()) else { return };
    let received = subscribe(port, "home/yard");
    let said = Arc::new(Mutex::new(Vec::new()));
    let saying = said.clone();
    while received.recv_timeout(PATIENCE).unwrap() != "subscribed" {}
    let target: Target = format!("mqtt://127.0.0.1:{port}/home/yard").parse().unwrap();
    let outlet =
        Outlet::open(target, &Trust::default(), Arc::new(move |text| saying.lock().unwrap().push(text))).unwrap();
    outlet.send(&event(0));
    let next = || loop {
        let text = received.recv_timeout(PATIENCE).unwrap();
        if let Ok(json) = serde_json::from_str::<serde_json::Value>(&text) {
            return json["id"].as_str().unwrap().to_owned();
        }
    };
    assert_eq!(next(), "0");
    drop(broker);
    wait_for("the broker's end", || std::net::TcpStream::connect(("127.0.0.1", port)).err());
    (1..4).for_each(|number| outlet.send(&event(number)));
    wait_for("the complaint", || {
        said.lock().unwrap().iter().any(|text: &String| text.contains("takes no events")).then_some(())
    });
    let _broker = Mosquitto::start(port, folder.path()).unwrap();
    wait_for("the good news", || {
        said.lock().unwrap().iter().any(|text| text.ends_with("takes events again")).then_some(())
    });
    outlet.send(&event(4));
    let lost = outlet.lost();
    drop(outlet);
    assert_eq!(lost.load(std::sync::atomic::Ordering::Relaxed), 0);
    // The listener may have come back later than the first of them.
    let mut last = next();
    while last != "4" {
        last = next();
    }
}

/// An authority, `ca.pem`, and what it vouches for: 127.0.0.1 with `own.pem` and `own.key`. False without openssl.
fn certificates(folder: &Path) -> bool {
    if Command::new("openssl").arg("version").output().is_err() {
        println!("skipped: openssl is not installed (apt-get install openssl)");
        return false;
    }
    let script = "
        set -e
        openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=authority -days 2
        openssl req -newkey rsa:2048 -nodes -keyout own.key -out own.csr -subj /CN=own
        printf 'subjectAltName=IP:127.0.0.1\n' >own.ext
        openssl x509 -req -in own.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out own.pem -days 2 -extfile own.ext";
    let out = Command::new("sh").args(["-c", script]).current_dir(folder).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    true
}

#[test]
fn two_outlets_are_at_one_broker_by_tls_which_a_private_authority_vouches_for() {
    let (folder, port, plain) = (tempfile::tempdir().unwrap(), free_port(), free_port());
    if !certificates(folder.path()) {
        return;
    }
    let at = |name: &str| folder.path().join(name);
    let tls = format!(
        "certfile {}\nkeyfile {}\nlistener {plain} 127.0.0.1\n",
        at("own.pem").display(),
        at("own.key").display()
    );
    let Some(_broker) = Mosquitto::start_with(port, folder.path(), &tls) else { return };
    let received = subscribe(plain, "home/yard");
    while received.recv_timeout(PATIENCE).unwrap() != "subscribed" {}
    let said = Arc::new(Mutex::new(Vec::new()));
    let saying = said.clone();
    let say: Say = Arc::new(move |text: String| saying.lock().unwrap().push(text));
    let trust = Trust::read(&at("ca.pem")).unwrap();
    let open = |trust| {
        let target: Target = format!("mqtts://127.0.0.1:{port}/home/yard").parse().unwrap();
        Outlet::open(target, trust, say.clone()).unwrap()
    };
    let outlets = [open(&trust), open(&trust)];
    let next = || loop {
        let text = received.recv_timeout(PATIENCE).unwrap();
        if let Ok(json) = serde_json::from_str::<serde_json::Value>(&text) {
            return json["start_ns"].as_u64().unwrap();
        }
    };
    for number in 0..6 {
        outlets[number as usize % 2].send(&event(number));
        assert_eq!(next(), number);
    }
    drop(outlets);
    assert!(said.lock().unwrap().is_empty(), "{said:?}");
    let stranger = open(&Trust::default());
    stranger.send(&event(6));
    let lost = stranger.lost();
    drop(stranger);
    assert_eq!(lost.load(std::sync::atomic::Ordering::Relaxed), 1);
    let said = said.lock().unwrap();
    assert!(said[0].contains("takes no events: ") && said[0].contains("certificate"), "{said:?}");
}

#[test]
fn a_webhook_is_posted_to_by_tls_which_a_private_authority_vouches_for() {
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    if !certificates(folder.path()) {
        return;
    }
    let mut server = Command::new("openssl")
        .args(["s_server", "-quiet", "-naccept", "1", "-cert", "own.pem", "-key", "own.key", "-accept"])
        .arg(format!("127.0.0.1:{port}"))
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let trust = Trust::read(&folder.path().join("ca.pem")).unwrap();
    let target: Target = format!("https://127.0.0.1:{port}/hook").parse().unwrap();
    let outlet = Outlet::open(target, &trust, Arc::new(|_| {})).unwrap();
    outlet.send(&event(0));
    let (mut request, mut out) = (String::new(), BufReader::new(server.stdout.take().unwrap()));
    while !request.ends_with("\r\n\r\n") {
        assert_ne!(out.read_line(&mut request).unwrap(), 0, "{request}");
    }
    assert!(request.starts_with("POST /hook HTTP/1.1\r\n"), "{request}");
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    server.stdin.take().unwrap().write_all(answer).unwrap();
    let lost = outlet.lost();
    drop(outlet);
    server.wait().unwrap();
    assert_eq!(lost.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[test]
fn a_webhook_gets_events_again_until_it_takes_them_but_none_that_it_refuses() {
    let server = tiny_http::Server::http("127.0.0.1:0").unwrap();
    let address = server.server_addr().to_ip().unwrap();
    let uri = format!("http://user:s3cret@{address}/api/t0ken");
    let (sender, requests) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        // What the server says to each, in turn.
        for status in [503, 302, 200, 400, 200] {
            let mut request = server.recv().unwrap();
            let mut text = String::new();
            request.as_reader().read_to_string(&mut text).unwrap();
            let json: serde_json::Value = serde_json::from_str(&text).unwrap();
            sender.send((request.method().to_string(), json["id"].as_str().unwrap().to_owned())).unwrap();
            request.respond(tiny_http::Response::empty(status)).unwrap();
        }
    });
    let said = Arc::new(Mutex::new(Vec::new()));
    let saying = said.clone();
    let say: Say = Arc::new(move |text| saying.lock().unwrap().push(text));
    let outlet = Outlet::open(uri.parse().unwrap(), &Trust::default(), say).unwrap();
    (0..3).for_each(|number| outlet.send(&event(number)));
    let ids: Vec<(String, String)> = requests.iter().take(5).collect();
    let lost = outlet.lost();
    drop(outlet);
    thread.join().unwrap();
    assert_eq!(ids.iter().map(|(_, id)| id.as_str()).collect::<Vec<_>>(), ["0", "0", "0", "1", "2"]);
    assert!(ids.iter().all(|(method, _)| method == "POST"));
    assert_eq!(lost.load(std::sync::atomic::Ordering::Relaxed), 1);
    let said = said.lock().unwrap();
    let name = format!("http://***@{address}/***");
    assert!(said[0].starts_with(&format!("{name} takes no events: it answers 503 Service Unavailable; ")), "{said:?}");
    assert_eq!(said[1], format!("{name} takes events again"));
    let refused = "does not take an event: it answers 400 Bad Request; that event is lost, the others go on";
    assert_eq!(said[2], format!("{name} {refused}"));
}
