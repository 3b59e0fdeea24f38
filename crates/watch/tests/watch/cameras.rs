//! Cameras from their streams to the folder, with a scorer whose scores are known.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex, atomic::Ordering, mpsc},
};

use desumnet_decide::{
    online::{self, Online},
    threshold::{Settings, Threshold},
};
use desumnet_watch::{
    camera::{self as watched, Counted, Decide},
    cameras::Cameras,
    clips::Desk,
    events::{Outlet, Target, Trust},
    folder::{Folder, LINES},
    metrics::Counts,
    ring::Limits,
    source::Stop,
};
use gst::prelude::*;
use test_support::{
    camera::{self, Camera, WITH_SOUND},
    scorer::scorer,
    watching::{decode, probe, try_probe, wait_for},
};

const SECOND: u64 = 1_000_000_000;
const FRAME: u64 = 40_000_000;
const EVENTS: &str = "events.jsonl";

/// What one camera of a test says and counts.
struct Desked {
    desk: Desk,
    said: Arc<Mutex<Vec<String>>>,
}

fn desk(camera: &str, folder: &Path, outlets: Vec<Outlet>) -> Desked {
    let said = Arc::new(Mutex::new(Vec::new()));
    let saying = said.clone();
    let desk = Desk {
        camera: camera.into(),
        longest: 60 * SECOND,
        limits: Limits { time: 30 * SECOND, bytes: 64 << 20 },
        folder: Arc::new(Folder::open(folder).unwrap()),
        keep: None,
        outlets: Arc::new(outlets),
        counts: Arc::new(Counts::default()),
        say: Arc::new(move |text| saying.lock().unwrap().push(text)),
    };
    Desked { desk, said }
}

/// What scores 1 matters, with a second before and after it.
fn threshold() -> Box<dyn Decide> {
    Box::new(Threshold::new(Settings { score: 1.0, min_clip: 0, pre_roll: SECOND, post_roll: SECOND }))
}

/// Scores 1 between two times after the first picture, else 0.
fn between(from: u64, until: u64) -> impl Fn(u64) -> f64 + Send + 'static {
    move |time| if (from..until).contains(&time) { 1.0 } else { 0.0 }
}

/// One camera that is watched.
struct Watching {
    cameras: Cameras,
    counts: Arc<Counts>,
    said: Arc<Mutex<Vec<String>>>,
}

fn watch(uri: &str, folder: &Path, outlets: Vec<Outlet>, score: impl Fn(u64) -> f64 + Send + 'static) -> Watching {
    watch_and_decide(uri, folder, outlets, score, threshold())
}

fn watch_and_decide(
    uri: &str,
    folder: &Path,
    outlets: Vec<Outlet>,
    score: impl Fn(u64) -> f64 + Send + 'static,
    decider: Box<dyn Decide>,
) -> Watching {
    let Desked { desk, said } = desk("yard", folder, outlets);
    let (counts, say) = (desk.counts.clone(), desk.say.clone());
    let mut cameras = Cameras::default();
    cameras.watch(watched::Camera::new(uri, &scorer(score), decider, Counted::Score, desk).unwrap(), say);
    Watching { cameras, counts, said }
}

impl Watching {
    fn clips(&self) -> u64 {
        self.counts.clips.load(Ordering::Relaxed)
    }

    fn wait_for_clips(&self, clips: u64) {
        wait_for("a clip", || (self.clips() >= clips).then_some(()));
    }

    fn stop(self) -> Vec<String> {
        self.cameras.stop_handles().iter().for_each(Stop::stop);
        assert_eq!(self.cameras.wait(), 0);
        self.said.lock().unwrap().clone()
    }
}

fn lines(folder: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(folder.join(LINES)).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn videos(folder: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut videos: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|e| e == "mp4")).collect();
    videos.sort();
    videos
}

/// When the last picture plays, s.
fn end(path: &Path) -> f64 {
    probe(path, "v").iter().map(|packet| packet.pts).fold(0.0, f64::max)
}

#[test]
fn what_is_scored_high_becomes_a_clip_with_its_rolls() {
    let folder = tempfile::tempdir().unwrap();
    let camera = Camera::start(WITH_SOUND, None);
    let (sender, starts) = mpsc::channel();
    let happens = between(2 * SECOND, 3 * SECOND);
    let watching = watch(&camera.uri(), folder.path(), Vec::new(), move |time| {
        let _ = sender.send(time);
        happens(time)
    });
    watching.wait_for_clips(1);
    assert!(watching.counts.segments.load(Ordering::Relaxed) > 5);
    let [late, carried] = [&watching.counts.late, &watching.counts.carried].map(|count| count.load(Ordering::Relaxed));
    assert_eq!((late, carried), (1, 2));
    assert_eq!(watching.stop(), ["yard: its pictures come"]);
    let all = lines(folder.path());
    let [line] = &all[..] else { panic!("one clip: {all:#?}") };
    let path = folder.path().join(line["file"].as_str().unwrap());
    let packets = probe(&path, "v");
    assert!(packets[0].key && !probe(&path, "a").is_empty());
    assert_eq!(decode(&path), packets.len());
    // Segments that scored 1, in time after the first picture, which is at about 0: the clip reaches a second further.
    let starts: Vec<u64> = starts.try_iter().collect();
    let high: Vec<u64> = starts.iter().copied().filter(|start| (2 * SECOND..3 * SECOND).contains(start)).collect();
    let next = starts[starts.iter().position(|start| start == high.last().unwrap()).unwrap() + 1];
    let ns = |name: &str| line[name].as_u64().unwrap();
    let length = ns("end_ns") - ns("start_ns");
    assert!(length + FRAME >= next - high[0] + 2 * SECOND, "{line}");
    // By at most a group before, and a segment before and after.
    assert!(length < next - high[0] + 2 * SECOND + SECOND + 2 * 700_000_000, "{line}");
    let told =
        (line["camera"].as_str(), line["score"].as_f64(), line["category"].as_str(), line["confidence"].as_f64());
    assert_eq!(told, (Some("yard"), Some(1.0), Some("fall"), Some(0.75)));
}

#[test]
fn a_share_of_the_time_is_kept_by_rank() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("camera.mp4");
    test_support::watching::render_file(&path, 1_000);
    let Desked { desk, .. } = desk("file", folder.path(), Vec::new());
    let counts = desk.counts.clone();
    let online = Online::new(online::Settings {
        ratio: 0.2,
        look_ahead: 5 * SECOND,
        min_clip: SECOND,
        max_clip: 5 * SECOND,
        ..Default::default()
    });
    let scorer = scorer(between(20 * SECOND, 23 * SECOND));
    let uri = format!("file://{}", path.display());
    watched::Camera::new(&uri, &scorer, Box::new(online), Counted::Score, desk).unwrap().run().unwrap();
    assert_eq!(counts.segments.load(Ordering::Relaxed), 1_000 / 16);
    let lines = lines(folder.path());
    let held = lines.iter().filter(|line| {
        line["start_ns"].as_u64().unwrap() <= 21 * SECOND && line["end_ns"].as_u64().unwrap() >= 22 * SECOND
    });
    assert_eq!(held.count(), 1, "{lines:?}");
}

#[test]
fn a_server_that_goes_three_times_leaves_clips_of_all_four_times_that_play() {
    let folder = tempfile::tempdir().unwrap();
    let mut camera = Camera::start(WITH_SOUND, None);
    let (uri, port) = (camera.uri(), camera.port);
    // All of it matters.
    let watching = watch(&uri, folder.path(), Vec::new(), |_| 1.0);
    for gone in 0..3 {
        let before = watching.counts.segments.load(Ordering::Relaxed);
        wait_for("segments", || (watching.counts.segments.load(Ordering::Relaxed) >= before + 2).then_some(()));
        drop(camera);
        // What was decided on before it went is written without it.
        watching.wait_for_clips(gone + 1);
        camera = Camera::start(WITH_SOUND, Some(port));
        wait_for("it again", || (watching.counts.reconnects.load(Ordering::Relaxed) == gone + 1).then_some(()));
    }
    let before = watching.counts.segments.load(Ordering::Relaxed);
    wait_for("segments", || (watching.counts.segments.load(Ordering::Relaxed) >= before + 2).then_some(()));
    let said = watching.stop();
    let lost = said.iter().filter(|text| text.starts_with("yard: no pictures: ")).count();
    let back = said.iter().filter(|text| *text == "yard: its pictures come").count();
    assert!(back == 4 && lost >= 3 && said.len() == back + lost, "{said:?}");
    let lines = lines(folder.path());
    assert_eq!(lines.len(), 4, "{lines:?}");
    for pair in lines.windows(2) {
        assert!(pair[0]["end_ns"].as_u64() < pair[1]["start_ns"].as_u64(), "{lines:?}");
    }
    for path in videos(folder.path()) {
        let packets = probe(&path, "v");
        assert!(packets[0].key && !probe(&path, "a").is_empty());
        assert_eq!(decode(&path), packets.len());
    }
}

#[test]
fn what_happens_to_one_camera_is_nothing_to_another_and_no_password_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let events = folder.path().join(EVENTS);
    let said = Arc::new(Mutex::new(Vec::new()));
    let mut cameras = Cameras::default();
    let (guarded, open) = (Camera::guarded(WITH_SOUND), Camera::start(WITH_SOUND, None));
    let wrong = format!("rtsp://{}:wr0ng-one@127.0.0.1:{}/live", camera::USER, guarded.port);
    let right = format!("rtsp://{}:{}@127.0.0.1:{}/live", camera::USER, camera::PASSWORD, guarded.port);
    let mut counts = Vec::new();
    for (name, uri) in [("wrong", wrong), ("right", right), ("open", open.uri())] {
        let outlet = Outlet::open(Target::Json(Some(events.clone())), &Trust::default(), Arc::new(|_| {})).unwrap();
        let saying = said.clone();
        let Desked { mut desk, .. } = desk(name, folder.path(), vec![outlet]);
        desk.say = Arc::new(move |text| saying.lock().unwrap().push(text));
        let say = desk.say.clone();
        counts.push(desk.counts.clone());
        let scorer = scorer(between(SECOND, 2 * SECOND));
        cameras.watch(watched::Camera::new(&uri, &scorer, threshold(), Counted::Score, desk).unwrap(), say);
    }
    let clips = |camera: usize| counts[camera].clips.load(Ordering::Relaxed);
    wait_for("clips of both", || (clips(1) == 1 && clips(2) == 1).then_some(()));
    cameras.stop_handles().iter().for_each(Stop::stop);
    // It is tried again, as it may be set right.
    assert_eq!((cameras.wait(), clips(0)), (0, 0));
    let mut told = said.lock().unwrap().join("\n");
    assert!(told.contains(&format!("rtsp://***@127.0.0.1:{}/live refuses the user or the password", guarded.port)));
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        told += &path.display().to_string();
        if path.extension().is_some_and(|e| e == "jsonl") {
            told += &std::fs::read_to_string(path).unwrap();
        }
    }
    assert!(told.contains(r#""camera":"right""#) && told.contains(r#""camera":"open""#));
    assert!(!told.contains(camera::PASSWORD) && !told.contains("wr0ng-one") && !told.contains(camera::USER), "{told}");
}

#[test]
fn a_scorer_that_fails_is_told_and_ends_its_camera_only() {
    let folder = tempfile::tempdir().unwrap();
    let mut cameras = Cameras::default();
    let (broken, whole) = (desk("broken", folder.path(), Vec::new()), desk("whole", folder.path(), Vec::new()));
    gst::init().unwrap();
    let failing = gst::parse::bin_from_description("identity error-after=20 ! fakesink", true).unwrap();
    let (say, counts) = (broken.desk.say.clone(), whole.desk.counts.clone());
    cameras.watch(
        watched::Camera::new("test:", failing.upcast_ref(), threshold(), Counted::Score, broken.desk).unwrap(),
        say,
    );
    let (say, scorer) = (whole.desk.say.clone(), scorer(between(SECOND, 2 * SECOND)));
    cameras.watch(watched::Camera::new("test:", &scorer, threshold(), Counted::Score, whole.desk).unwrap(), say);
    wait_for("the other's clip", || (counts.clips.load(Ordering::Relaxed) == 1).then_some(()));
    cameras.stop_handles().iter().for_each(Stop::stop);
    assert_eq!(cameras.wait(), 1);
    let said = broken.said.lock().unwrap();
    assert_eq!(said[said.len() - 1], "the pictures of test: can't be scored: Failed after iterations as requested.");
}

#[test]
fn a_webhook_that_does_not_answer_holds_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    let server = Arc::new(tiny_http::Server::http("127.0.0.1:0").unwrap());
    let uri = format!("http://{}/hook", server.server_addr().to_ip().unwrap());
    let (release, released) = mpsc::channel::<()>();
    let serving = server.clone();
    let thread = std::thread::spawn(move || {
        let mut answered = 0;
        for request in serving.incoming_requests() {
            // Until the clip is there.
            let _ = released.recv();
            request.respond(tiny_http::Response::empty(200)).unwrap();
            answered += 1;
        }
        answered
    });
    let outlet = Outlet::open(uri.parse().unwrap(), &Trust::default(), Arc::new(|_| {})).unwrap();
    let lost = outlet.lost();
    let watching = watch("test:", folder.path(), vec![outlet], between(SECOND, 2 * SECOND));
    watching.wait_for_clips(1);
    let frames = watching.counts.frames.load(Ordering::Relaxed);
    wait_for("more pictures", || (watching.counts.frames.load(Ordering::Relaxed) > frames).then_some(()));
    drop(release);
    // The outlet ends with the camera, and what waits is delivered before.
    assert_eq!(watching.stop(), ["yard: its pictures come"]);
    server.unblock();
    assert_eq!(thread.join().unwrap() + lost.load(Ordering::Relaxed), events_of(folder.path()));
    assert_eq!(lost.load(Ordering::Relaxed), 0);
}

/// Events that the one clip of a folder gave cause to: as many as segments were kept, and its end.
fn events_of(folder: &Path) -> u64 {
    let line = &lines(folder)[0];
    let ns = |name: &str| line[name].as_u64().unwrap();
    (ns("end_ns") - ns("start_ns")) / (16 * FRAME) + 1
}

/// Decides when five more seconds are known.
struct LooksAhead {
    decider: Box<dyn Decide>,
    waiting: Vec<online::Decision>,
}

impl Decide for LooksAhead {
    fn push(&mut self, segment: online::Segment) -> Vec<online::Decision> {
        self.waiting.extend(self.decider.push(segment));
        let due = self.waiting.partition_point(|decision| decision.segment.start + 5 * SECOND <= segment.start);
        self.waiting.drain(..due).collect()
    }

    fn finish(&mut self) -> Vec<online::Decision> {
        self.waiting.extend(self.decider.finish());
        std::mem::take(&mut self.waiting)
    }
}

/// The other side of the tests below: watches until it is killed, or the standard input ends.
#[test]
fn child_that_watches() {
    let Some(folder) = std::env::var_os("DESUMNET_TEST_FOLDER") else { return };
    // The first second matters; from the fourth on, all does.
    let score = |time: u64| if !(SECOND..4 * SECOND).contains(&time) { 1.0 } else { 0.0 };
    let folder = Path::new(&folder);
    let outlet = Outlet::open(Target::Json(Some(folder.join(EVENTS))), &Trust::default(), Arc::new(|_| {})).unwrap();
    let decider = LooksAhead { decider: threshold(), waiting: Vec::new() };
    let watching = watch_and_decide("test:", folder, vec![outlet], score, Box::new(decider));
    let mut text = String::new();
    std::io::stdin().read_line(&mut text).unwrap();
    for text in watching.stop() {
        eprintln!("said {text}");
    }
}

fn child(folder: &Path, before: &str) -> std::process::Child {
    let own = std::env::current_exe().unwrap();
    Command::new("sh")
        .args(["-c", &format!("{before} exec \"$0\" --exact cameras::child_that_watches --nocapture")])
        .arg(own)
        .env("DESUMNET_TEST_FOLDER", folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn what_a_kill_leaves_plays_to_within_a_second_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = child(folder.path(), "");
    let events = || -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(folder.path().join(EVENTS)).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    wait_for("a clip that grows", || {
        let [whole, growing] = &videos(folder.path())[..] else { return None };
        let goes_on = events().last()?["type"] == "update";
        (goes_on && whole.with_extension("jpg").exists() && try_probe(growing, "v").ok()?.len() > 100).then_some(())
    });
    let killed = std::time::SystemTime::now();
    child.kill().unwrap();
    child.wait().unwrap();
    for path in videos(folder.path()) {
        let packets = probe(&path, "v");
        assert!(packets[0].key);
        assert_eq!(decode(&path), packets.len());
    }
    assert_eq!(lines(folder.path()).len(), 1);
    let last = events().pop().unwrap();
    let played = end(&folder.path().join(last["file"].as_str().unwrap()));
    let start = humantime::parse_rfc3339(last["start"].as_str().unwrap()).unwrap();
    let length = killed.duration_since(start).unwrap().as_secs_f64();
    assert!(played > length - 1.0, "{played} s of {length} s");
    // Most of that was not decided on yet.
    let decided = (last["end_ns"].as_u64().unwrap() - last["start_ns"].as_u64().unwrap()) as f64 / 1e9;
    assert!(played > decided + 3.0, "{played} s, {decided} s of it decided on");
}

#[test]
fn a_full_disk_is_said_once_and_watching_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    // No file may grow over 40 kB.
    let mut child = child(folder.path(), "trap '' XFSZ; ulimit -f 80;");
    let bytes = || videos(folder.path()).iter().map(|path| path.metadata().unwrap().len()).collect::<Vec<_>>();
    // The one that has ended, cut off behind its last whole fragment, and the one that grows.
    wait_for("two clips as long as they can be", || {
        matches!(bytes()[..], [ended, growing] if ended > 20 << 10 && growing == 40 << 10).then_some(())
    });
    drop(child.stdin.take());
    let out = child.wait_with_output().unwrap();
    let told = String::from_utf8(out.stderr).unwrap();
    let said: Vec<&str> = told.lines().filter_map(|line| line.strip_prefix("said ")).collect();
    assert!(out.status.success() && said.len() == 2 && said[0] == "yard: its pictures come", "{told}");
    assert!(said[1].starts_with(&format!("yard: {}", folder.path().display())), "{told}");
    assert!(said[1].contains(" can't be written: ") && said[1].ends_with("see that the disk has room and is there"));
    // What was written plays, and is told.
    let lines = lines(folder.path());
    for (path, line) in videos(folder.path()).iter().zip(&lines) {
        let pictures = decode(path);
        assert!(pictures > 12, "{pictures} in {}", path.display());
        let length = (line["end_ns"].as_u64().unwrap() - line["start_ns"].as_u64().unwrap()) as f64 / 1e9;
        assert!((length - end(path)).abs() < 0.3, "{length} of {}", path.display());
    }
    assert_eq!(lines.len(), 2);
}
