//! Cameras of every kind on loopback: what comes from them, when they go and come back, and what is told of those that can't be watched.

use std::{
    path::Path,
    process::Command,
    sync::{Arc, atomic::Ordering, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use desumnet_watch::{
    metrics::Counts,
    ring::Packet,
    source::{Arrival, Notice, Source, SourceError, Stop},
};
use gst::prelude::*;
use test_support::{
    camera::{self, Camera, units_after_lengths},
    watching::looker,
};

/// Longest wait for what must come: only a test that fails waits as long.
const PATIENCE: Duration = Duration::from_secs(30);
const SECOND: u64 = 1_000_000_000;

struct Watched {
    arrivals: mpsc::Receiver<Arrival>,
    notices: mpsc::Receiver<Notice>,
    counts: Arc<Counts>,
    stop: Stop,
    thread: Option<JoinHandle<Result<(), SourceError>>>,
}

fn watch(uri: &str, pictures: Option<&gst::Element>) -> Watched {
    gst::init().unwrap();
    let (sender, arrivals) = mpsc::sync_channel(10_000);
    let (say, notices) = mpsc::channel();
    let counts = Arc::new(Counts::default());
    let source = Source::new(uri, sender, pictures, counts.clone()).unwrap();
    let stop = source.stop_handle();
    let thread = std::thread::spawn(move || source.run(|notice| say.send(notice).unwrap_or(())));
    Watched { arrivals, notices, counts, stop, thread: Some(thread) }
}

impl Watched {
    fn arrival(&self) -> Arrival {
        self.arrivals.recv_timeout(PATIENCE).unwrap()
    }

    fn notice(&self) -> Notice {
        self.notices.recv_timeout(PATIENCE).unwrap()
    }

    /// Video and sound until there are as many pictures.
    fn pull(&self, pictures: usize) -> (Vec<Packet<gst::Sample>>, Vec<Packet<gst::Sample>>) {
        let (mut video, mut sound) = (Vec::new(), Vec::new());
        while video.len() < pictures {
            match self.arrival() {
                Arrival::Video(packet) => video.push(packet),
                Arrival::Sound(packet) => sound.push(packet),
                Arrival::Break | Arrival::Decided(_) => {
                    panic!("a break after {} pictures: {:?}", video.len(), self.notices.try_iter().collect::<Vec<_>>())
                }
            }
        }
        (video, sound)
    }

    /// All up to a break.
    fn pull_break(&self) {
        while !matches!(self.arrival(), Arrival::Break) {}
    }

    fn result(mut self) -> Result<(), SourceError> {
        self.thread.take().unwrap().join().unwrap()
    }

    fn error(self) -> String {
        self.result().unwrap_err().to_string()
    }

    /// Why it is not watched, though it is tried again and again.
    fn refused(self) -> String {
        match self.notice() {
            Notice::Refused { reason } => reason,
            other => panic!("{other:?}"),
        }
    }

    /// All of a recording: its pictures, its sound, and what is said of it.
    fn whole(mut self) -> (Vec<Packet<gst::Sample>>, Vec<Packet<gst::Sample>>, Vec<Notice>) {
        self.thread.take().unwrap().join().unwrap().unwrap();
        let (mut video, mut sound) = (Vec::new(), Vec::new());
        for arrival in self.arrivals.try_iter() {
            match arrival {
                Arrival::Video(packet) => video.push(packet),
                Arrival::Sound(packet) => sound.push(packet),
                other => panic!("{other:?}"),
            }
        }
        (video, sound, self.notices.try_iter().collect())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.stop.stop();
        // What still comes is taken until the other side is gone.
        let draining = std::mem::replace(&mut self.arrivals, mpsc::sync_channel(0).1);
        let drain = std::thread::spawn(move || draining.iter().count());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        drain.join().unwrap();
    }
}

fn units(packet: &Packet<gst::Sample>) -> Vec<Vec<u8>> {
    units_after_lengths(&packet.data.buffer().unwrap().map_readable().unwrap())
}

#[test]
fn packets_are_what_the_camera_sent_in_order_and_in_step() {
    let camera = Camera::start(camera::WITH_SOUND, None);
    let watched = watch(&camera.uri(), None);
    let (video, sound) = watched.pull(60);
    assert_eq!(watched.notice(), Notice::Connected);
    assert!(video[0].key);
    assert_eq!(video.iter().skip(1).filter(|packet| packet.key).count(), 2);
    for packet in &video {
        assert!(units(packet).iter().all(|unit| camera.has_sent(unit)), "at {}", packet.time);
    }
    // Times follow the arrival of packets, smoothed.
    let mean = (video[59].time - video[0].time) / 59;
    assert!(
        video.windows(2).all(|w| w[0].time < w[1].time) && mean.abs_diff(40_000_000) < 4_000_000,
        "{:?}",
        times(&video)
    );
    assert!(sound.len() > 60 && sound[0].time.abs_diff(video[0].time) < 500_000_000);
    assert_eq!(watched.counts.reconnects.load(Ordering::Relaxed), 0);
}

#[test]
fn pictures_that_are_sent_in_another_order_are_decoded_before_they_play() {
    let camera = Camera::start(camera::REORDERED, None);
    let (video, _) = watch(&camera.uri(), None).pull(50);
    assert!(decoded(&video).is_sorted_by(|a, b| a < b), "{:?}", times(&video));
    assert!(video.iter().all(|packet| packet.decode <= packet.time), "{:?}", times(&video));
    assert_eq!(turns(&video), REORDERED_TURNS, "{:?}", times(&video));
}

/// When each plays of the first group, counted from 0: a key frame, and behind each other one the two that play before it.
const REORDERED_TURNS: [usize; 25] =
    [0, 3, 1, 2, 6, 4, 5, 9, 7, 8, 12, 10, 11, 15, 13, 14, 18, 16, 17, 21, 19, 20, 24, 22, 23];

/// When each of the first group plays, counted from 0.
fn turns(packets: &[Packet<gst::Sample>]) -> Vec<usize> {
    let group = &packets[..25];
    group.iter().map(|packet| group.iter().filter(|other| other.time < packet.time).count()).collect()
}

/// When each is decoded, as its buffer tells it: the first ones maybe before the time that counts as 0.
fn decoded(packets: &[Packet<gst::Sample>]) -> Vec<gst::ClockTime> {
    packets.iter().map(|packet| packet.data.buffer().unwrap().dts().unwrap()).collect()
}

/// When each plays and is decoded, ms.
fn times(packets: &[Packet<gst::Sample>]) -> Vec<(u64, u64)> {
    packets.iter().map(|packet| (packet.time / 1_000_000, packet.decode / 1_000_000)).collect()
}

#[test]
fn a_camera_that_goes_and_comes_back_goes_on_in_time() {
    let camera = Camera::start(camera::WITH_SOUND, None);
    let (uri, port) = (camera.uri(), camera.port);
    let watched = watch(&uri, None);
    let (video, _) = watched.pull(30);
    assert_eq!(watched.notice(), Notice::Connected);
    drop(camera);
    assert!(matches!(watched.notice(), Notice::Lost { .. }));
    let camera = Camera::start(camera::WITH_SOUND, Some(port));
    let mut last = video[29].time;
    let after = loop {
        match watched.arrival() {
            Arrival::Break => break watched.pull(30),
            Arrival::Video(packet) => last = packet.time,
            Arrival::Sound(_) | Arrival::Decided(_) => {}
        }
    };
    // It may have failed in other words meanwhile; each is said.
    while watched.notice() != Notice::Connected {}
    assert!(after.0[0].key && after.0[0].time > last);
    // About as much time has passed as it was away: it was tried after a second at the soonest.
    assert!(after.0[0].time - last > 500_000_000);
    assert!(after.1[0].time.abs_diff(after.0[0].time) < 500_000_000);
    assert!(units(&after.0[0]).iter().all(|unit| camera.has_sent(unit)));
    assert_eq!(watched.counts.reconnects.load(Ordering::Relaxed), 1);
}

#[test]
fn a_password_is_needed_and_never_told() {
    let camera = Camera::guarded(camera::WITH_SOUND);
    let with = |password: &str| format!("rtsp://{}:{password}@127.0.0.1:{}/live", camera::USER, camera.port);
    assert!(watch(&with(camera::PASSWORD), None).pull(1).0[0].key);
    let error = watch(&with("wr0ng-one"), None).refused();
    let expected = format!("rtsp://***@127.0.0.1:{}/live refuses the user or the password", camera.port);
    assert!(error.starts_with(&expected), "{error}");
    let error = watch(&camera.uri(), None).refused();
    assert!(error.contains("refuses the user or the password"), "{error}");
}

#[test]
fn what_can_not_be_watched_is_told_with_the_remedy() {
    gst::init().unwrap();
    // What somebody may mend meanwhile is tried again.
    let camera = Camera::start(camera::WITH_SOUND, None);
    let reason = watch(&camera.uri().replace("live", "other"), None).refused();
    assert!(reason.contains("/other is not there: "), "{reason}");
    let camera = Camera::start(camera::ONLY_SOUND, None);
    let reason = watch(&camera.uri(), None).refused();
    assert!(reason.ends_with("sends no video; give a stream with a picture"), "{reason}");
    let camera = Camera::start(camera::MOTION_JPEG, None);
    let watched = watch(&camera.uri(), None);
    let notice = watched.notice();
    let said = notice.to_string();
    assert!(said.contains(" sends image/jpeg, which can't be kept as it is: "), "{said}");
    assert!(said.ends_with("; it is tried again every 60 s"), "{said}");
    watched.stop.stop();
    watched.result().unwrap();
    // What no waiting mends is not.
    let error = watch("file:///nowhere/camera.mp4", None).error();
    assert!(error.starts_with("file:///nowhere/camera.mp4 is not there: "), "{error}");
    let (sender, _arrivals) = mpsc::sync_channel(1);
    let error = Source::new("gopher://u:p4ss@camera/1", sender, None, Arc::default()).err().unwrap().to_string();
    assert!(error.starts_with("gopher://***@camera/1: nothing here reads such a URI"), "{error}");
}

/// Two seconds of pictures, with what else these arguments of ffmpeg say.
fn render(folder: &Path, name: &str, args: &str) -> String {
    let path = folder.join(name);
    let inputs = "-f lavfi -i testsrc2=s=64x64:r=25:d=2 -f lavfi -i sine=r=48000:d=2";
    let encoder = "-c:v libx264 -g 25 -bf 0 -pix_fmt yuv420p";
    let words = ["-nostdin -v error -y", inputs, encoder, args].into_iter().flat_map(str::split_whitespace);
    assert!(Command::new("ffmpeg").args(words).arg(&path).status().unwrap().success(), "{args}");
    format!("file://{}", path.display())
}

#[test]
fn pictures_are_kept_whatever_the_sound_is() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        ("aac.ts", "-c:a aac", None),
        ("mp2.ts", "-c:a mp2", Some("MP2 or MP3")),
        ("mp3.ts", "-c:a libmp3lame", Some("MP2 or MP3")),
        ("ac3.ts", "-c:a ac3", Some("audio/x-ac3")),
        ("latm.ts", "-c:a aac -mpegts_flags latm", Some("AAC in LATM")),
        ("none.ts", "-map 0:v", None),
        // The first that can be kept is.
        ("ac3-aac.ts", "-map 0:v -map 1:a -map 1:a -c:a:0 ac3 -c:a:1 aac", None),
        ("jpeg-h264.mkv", "-map 0:v -map 0:v -map 1:a -c:v:0 mjpeg -pix_fmt:v:0 yuvj420p -c:a libopus", None),
    ];
    for (name, args, unfit) in cases {
        let (video, sound, said) = watch(&render(folder.path(), name, args), None).whole();
        assert_eq!((video.len(), video.iter().filter(|packet| packet.key).count()), (50, 2), "{name}");
        let has_sound = unfit.is_none() && name != "none.ts";
        assert_eq!(sound.len() > 80, has_sound, "{name}: {}", sound.len());
        let unfit = unfit.map(|codec| Notice::NoSound { codec: codec.into() });
        assert_eq!(said, std::iter::once(Notice::Connected).chain(unfit).collect::<Vec<_>>(), "{name}");
    }
}

/// A receiver's recording: a second program with a larger picture and stereo sound.
#[test]
fn of_several_programs_one_is_kept_with_its_own_sound() {
    let folder = tempfile::tempdir().unwrap();
    let one = render(folder.path(), "one.ts", "-c:a aac -ac 1");
    let other = render(folder.path(), "other.ts", "-s 128x96 -c:a aac -ac 2");
    for (order, (width, channels)) in [([&one, &other], (64, 1)), ([&other, &one], (128, 2))] {
        let both = folder.path().join("both.ts");
        let inputs = order.map(|input| ["-i", input.as_str()]);
        let programs = ["-map", "0", "-map", "1", "-program", "st=0:st=1", "-program", "st=2:st=3", "-c", "copy"];
        let words = ["-nostdin", "-v", "error", "-y"].into_iter().chain(inputs.into_iter().flatten()).chain(programs);
        assert!(Command::new("ffmpeg").args(words).arg(&both).status().unwrap().success());
        let (video, sound, said) = watch(&format!("file://{}", both.display()), None).whole();
        assert_eq!((video.len(), said), (50, vec![Notice::Connected]));
        let told = |packets: &[Packet<gst::Sample>], field: &str| {
            packets[0].data.caps().unwrap().structure(0).unwrap().get::<i32>(field)
        };
        assert_eq!((told(&video, "width"), told(&sound, "channels")), (Ok(width), Ok(channels)));
        // Two seconds of it, and not of both.
        assert!((90..=96).contains(&sound.len()), "{}", sound.len());
    }
}

#[test]
fn sound_that_begins_later_than_the_pictures_is_kept_at_its_time() {
    let folder = tempfile::tempdir().unwrap();
    for (name, codec) in [("late.ts", "aac"), ("late.mkv", "libopus"), ("late.mp4", "aac")] {
        let args = format!("-c:a {codec} -filter:a asetpts=PTS+1.2/TB -shortest");
        let (video, sound, said) = watch(&render(folder.path(), name, &args), None).whole();
        assert_eq!((video.len(), said), (50, vec![Notice::Connected]), "{name}");
        let late = sound[0].time - video[0].time;
        assert!(late.abs_diff(1_200_000_000) < 60_000_000, "{name}: {late}");
        assert!(sound.windows(2).all(|w| w[0].time < w[1].time), "{name}");
    }
}

#[test]
fn aac_that_calls_itself_mpeg_2_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    render(folder.path(), "sound.aac", "-map 1:a -c:a aac");
    let path = folder.path().join("sound.aac");
    let mut adts = std::fs::read(&path).unwrap();
    let mut at = 0;
    while at + 7 <= adts.len() {
        adts[at + 1] |= 8;
        at += usize::from(adts[at + 3] & 3) << 11 | usize::from(adts[at + 4]) << 3 | usize::from(adts[at + 5]) >> 5;
    }
    std::fs::write(&path, adts).unwrap();
    let pictures = render(folder.path(), "pictures.ts", "-map 0:v");
    Playing::start(&format!(
        "filesrc location={} ! aacparse ! mpegtsmux name=m ! filesink location={}/all.ts \
         urisourcebin uri={pictures} ! tsdemux ! h264parse ! queue ! m.",
        path.display(),
        folder.path().display()
    ))
    .wait();
    let uri = format!("file://{}/all.ts", folder.path().display());
    let (video, sound, said) = watch(&uri, None).whole();
    assert_eq!((video.len(), said), (50, vec![Notice::Connected]));
    let caps = sound[0].data.caps_owned().unwrap();
    assert_eq!((sound.len() > 80, caps.structure(0).unwrap().get::<i32>("mpegversion")), (true, Ok(4)));
}

#[test]
fn pictures_of_a_container_that_does_not_tell_when_they_are_decoded_are_all_kept() {
    let folder = tempfile::tempdir().unwrap();
    for encoder in ["-bf 3 -c:a aac", "-c:v libx265 -x265-params keyint=25:log-level=none -bf 4 -c:a aac"] {
        let (video, sound, _) = watch(&render(folder.path(), "all.mkv", encoder), None).whole();
        assert_eq!((video.len(), sound.len() > 80), (50, true), "{encoder}");
        assert!(decoded(&video).is_sorted_by(|a, b| a < b), "{encoder}: {:?}", times(&video));
        assert!(video.iter().all(|packet| packet.decode <= packet.time), "{encoder}: {:?}", times(&video));
        let mut plays: Vec<u64> = video.iter().map(|packet| packet.time).collect();
        plays.sort_unstable();
        // GStreamer's demuxer moves the first two by what the file begins later than at 0.
        assert!(plays.windows(2).all(|w| (w[1] - w[0]).abs_diff(40_000_000) < 25_000_000), "{encoder}: {plays:?}");
        assert!(sound[0].time.abs_diff(plays[0]) < 60_000_000, "{encoder}");
    }
}

#[test]
fn sound_that_can_not_be_kept_is_left_out_and_said() {
    let camera = Camera::start(camera::MU_LAW, None);
    let (uri, port) = (camera.uri(), camera.port);
    let watched = watch(&uri, None);
    let said = [watched.notice(), watched.notice()];
    assert!(said.contains(&Notice::Connected) && said.contains(&Notice::NoSound { codec: "audio/x-mulaw".into() }));
    let (video, sound) = watched.pull(10);
    assert!(video[0].key && sound.is_empty());
    drop(camera);
    let _camera = Camera::start(camera::MU_LAW, Some(port));
    watched.pull_break();
    watched.pull(10);
    // It is said once.
    assert!(!watched.notices.try_iter().any(|notice| matches!(notice, Notice::NoSound { .. })));
}

#[test]
fn nobody_there_is_said_once_and_tried_again() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let watched = watch(&format!("rtsp://127.0.0.1:{port}/live"), None);
    assert!(matches!(watched.notice(), Notice::Lost { .. }));
    let _camera = Camera::start(camera::WITH_SOUND, Some(port));
    assert_eq!(watched.notice(), Notice::Connected);
    assert!(watched.pull(1).0[0].key);
    assert_eq!(watched.counts.reconnects.load(Ordering::Relaxed), 0);
}

#[test]
fn pictures_have_the_times_of_their_packets() {
    let (sink, times) = looker();
    let watched = watch("test:", Some(&sink));
    let (video, sound) = watched.pull(60);
    let seen: Vec<u64> = (0..50).map(|_| times.recv_timeout(PATIENCE).unwrap()).collect();
    assert_eq!(seen, video[..50].iter().map(|packet| packet.time).collect::<Vec<_>>());
    assert!(!sound.is_empty());
}

#[test]
fn a_file_comes_whole_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("camera.mp4");
    let rendered = test_support::watching::render_file(&path, 100);
    let (sink, times) = looker();
    let mut watched = watch(&format!("file://{}", path.display()), Some(&sink));
    let (video, sound) = watched.pull(100);
    watched.thread.take().unwrap().join().unwrap().unwrap();
    // The first one has the parameter sets in it once more.
    assert_eq!(test_support::watching::hashes(&video)[1..], rendered.0[1..]);
    assert_eq!(sound.len() + watched.arrivals.try_iter().count(), rendered.1.len());
    assert_eq!(video.iter().filter(|packet| packet.key).count(), 4);
    let mut expected: Vec<u64> = video.iter().map(|packet| packet.time).collect();
    expected.sort_unstable();
    assert_eq!(times.try_iter().collect::<Vec<_>>(), expected);
}

/// A pipeline that plays until it is dropped.
struct Playing(gst::Element);

impl Playing {
    fn start(line: &str) -> Self {
        gst::init().unwrap();
        let pipeline = gst::parse::launch(line).unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        Self(pipeline)
    }

    fn wait(&self) {
        let ends = [gst::MessageType::Eos, gst::MessageType::Error];
        let message = self.0.bus().unwrap().timed_pop_filtered(gst::ClockTime::NONE, &ends).unwrap();
        assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
    }
}

impl Drop for Playing {
    fn drop(&mut self) {
        self.0.set_state(gst::State::Null).unwrap();
    }
}

const ENCODED: &str = "video/x-raw,width=320,height=240,framerate=25/1 ! x264enc speed-preset=ultrafast threads=1 key-int-max=25 \
                       bframes=2 b-adapt=false ! h264parse ! queue";

#[test]
fn srt_comes_with_pictures_in_another_order_than_they_play_in() {
    let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let _sender = Playing::start(&format!(
        "videotestsrc is-live=true pattern=ball ! {ENCODED} ! mpegtsmux name=m alignment=7 \
         ! srtsink uri=srt://127.0.0.1:{port}?mode=listener wait-for-connection=false \
         audiotestsrc is-live=true ! avenc_aac ! aacparse ! queue ! m."
    ));
    let (video, sound) = watch(&format!("srt://127.0.0.1:{port}?mode=caller"), None).pull(50);
    assert!(video[0].key && !sound.is_empty());
    assert!(video.windows(2).all(|w| w[0].decode < w[1].decode) && video.iter().all(|p| p.decode <= p.time));
    assert_eq!(turns(&video), REORDERED_TURNS, "{:?}", times(&video));
}

#[test]
fn timestamps_that_jump_ahead_and_back_run_on() {
    let folder = tempfile::tempdir().unwrap();
    let part = |name: &str, offset: u64| {
        let path = folder.path().join(name);
        let line = format!(
            "videotestsrc num-buffers=50 timestamp-offset={offset} ! {ENCODED} ! mpegtsmux ! filesink location={}",
            path.display()
        );
        Playing::start(&line).wait();
        std::fs::read(path).unwrap()
    };
    let (first, later) = (part("a.ts", 0), part("b.ts", 3_600_000_000_000));
    let path = folder.path().join("all.ts");
    std::fs::write(&path, [first.clone(), later, first].concat()).unwrap();
    let mut watched = watch(&format!("file://{}", path.display()), None);
    watched.thread.take().unwrap().join().unwrap().unwrap();
    let video: Vec<Packet<gst::Sample>> = watched
        .arrivals
        .try_iter()
        .filter_map(|arrival| match arrival {
            Arrival::Video(packet) => Some(packet),
            _ => None,
        })
        .collect();
    assert_eq!((video.len(), video.iter().filter(|packet| packet.key).count()), (150, 6));
    assert!(
        video.windows(2).all(|w| (w[0].decode..w[0].decode + SECOND).contains(&w[1].decode)),
        "{:?}",
        times(&video)
    );
}

/// A playlist with its pieces of two seconds each, on loopback.
struct Playlist {
    _folder: tempfile::TempDir,
    server: Arc<tiny_http::Server>,
    thread: Option<JoinHandle<()>>,
}

impl Playlist {
    /// `told` makes what the server says of the whole playlist; it counts how often it was asked.
    fn serve(frames: u32, told: impl Fn(&str, usize) -> String + Send + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        Playing::start(&format!(
            "videotestsrc num-buffers={frames} pattern=ball ! {ENCODED} ! hlssink2 target-duration=2 max-files=100 playlist-length=0 \
             location={0}/%05d.ts playlist-location={0}/live.m3u8",
            path.display()
        ))
        .wait();
        let server = Arc::new(tiny_http::Server::http("127.0.0.1:0").unwrap());
        let serving = server.clone();
        let thread = std::thread::spawn(move || {
            let mut asked = 0;
            for request in serving.incoming_requests() {
                let _ = match std::fs::read(path.join(&request.url()[1..])) {
                    Ok(bytes) if request.url().ends_with(".m3u8") => {
                        asked += 1;
                        let told = told(&String::from_utf8(bytes).unwrap(), asked);
                        request.respond(tiny_http::Response::from_string(told))
                    }
                    Ok(bytes) => request.respond(tiny_http::Response::from_data(bytes)),
                    Err(_) => request.respond(tiny_http::Response::empty(404)),
                };
            }
        });
        Self { _folder: folder, server, thread: Some(thread) }
    }

    fn uri(&self) -> String {
        format!("http://{}/live.m3u8", self.server.server_addr().to_ip().unwrap())
    }
}

impl Drop for Playlist {
    fn drop(&mut self) {
        self.server.unblock();
        self.thread.take().unwrap().join().unwrap();
    }
}

#[test]
fn a_playlist_comes_whole_and_ends() {
    let playlist = Playlist::serve(150, |whole, _| whole.into());
    let mut watched = watch(&playlist.uri(), None);
    let (video, _) = watched.pull(150);
    watched.thread.take().unwrap().join().unwrap().unwrap();
    assert!(video[0].key && watched.arrivals.try_iter().count() == 0);
    let mut times: Vec<u64> = video.iter().map(|packet| packet.time).collect();
    times.sort_unstable();
    assert!(times.windows(2).all(|w| (35_000_000..45_000_000).contains(&(w[1] - w[0]))), "{times:?}");
    let reason = watch(&playlist.uri().replace("live", "other"), None).refused();
    assert!(reason.contains("/other.m3u8 is not there: "), "{reason}");
}

#[test]
fn a_live_playlist_that_ends_is_a_camera_that_is_gone() {
    // Whoever asks once more finds it ended.
    let playlist = Playlist::serve(250, |whole, asked| match asked {
        1 => whole.replace("#EXT-X-ENDLIST", ""),
        _ => whole.into(),
    });
    let watched = watch(&playlist.uri(), None);
    assert_eq!(watched.notice(), Notice::Connected);
    assert_eq!(watched.notice(), Notice::Lost { reason: "the camera ended the stream".into() });
    // What is left of it is no live stream, and was there before.
    let over = Notice::Lost { reason: "the live stream is over, and only its recording is there".into() };
    assert_eq!(watched.notice(), over);
    assert_eq!(watched.counts.reconnects.load(Ordering::Relaxed), 0);
}

#[test]
fn a_live_stream_over_http_that_ends_is_tried_again_and_one_of_known_length_is_not() {
    let folder = tempfile::tempdir().unwrap();
    render(folder.path(), "all.ts", "-c:a aac");
    let bytes = std::fs::read(folder.path().join("all.ts")).unwrap();
    let length = bytes.len();
    let server = Arc::new(tiny_http::Server::http("127.0.0.1:0").unwrap());
    let serving = server.clone();
    let thread = std::thread::spawn(move || {
        for request in serving.incoming_requests() {
            let length = request.url().contains("recording").then_some(length);
            let body = std::io::Cursor::new(bytes.clone());
            let response = tiny_http::Response::new(tiny_http::StatusCode(200), Vec::new(), body, length, None);
            let _ = request.respond(response.with_chunked_threshold(if length.is_some() { usize::MAX } else { 0 }));
        }
    });
    let uri = |name: &str| format!("http://{}/{name}.ts", server.server_addr().to_ip().unwrap());
    let watched = watch(&uri("live"), None);
    watched.pull_break();
    assert_eq!(watched.notice(), Notice::Connected);
    assert_eq!(watched.notice(), Notice::Lost { reason: "the camera ended the stream".into() });
    assert_eq!(watched.notice(), Notice::Connected);
    drop(watched);
    let (video, _, said) = watch(&uri("recording"), None).whole();
    assert_eq!((video.len(), said), (50, vec![Notice::Connected]));
    server.unblock();
    thread.join().unwrap();
}

#[test]
fn a_watch_ends_while_whoever_looks_at_the_pictures_is_stuck() {
    gst::init().unwrap();
    let (release, stuck) = mpsc::channel::<()>();
    let sink = gst_app::AppSink::builder().sync(false).build();
    let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |_| {
        let _ = stuck.recv();
        Err(gst::FlowError::Eos)
    });
    sink.set_callbacks(callbacks.build());
    let watched = watch("test:", Some(sink.upcast_ref()));
    watched.pull(30);
    watched.stop.stop();
    watched.result().unwrap();
    drop(release);
}

/// Takes one picture and no more until it is dropped, before what hands them to it.
struct Stuck(gst_app::AppSink);

impl Stuck {
    /// With what comes of `uri` meanwhile.
    fn at(uri: &str) -> (Watched, Self) {
        gst::init().unwrap();
        let sink = gst_app::AppSink::builder().sync(false).max_buffers(1).build();
        let watched = watch(uri, Some(sink.upcast_ref()));
        (watched, Self(sink))
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        self.0.set_max_buffers(0);
        self.0.pull_sample().unwrap();
    }
}

#[test]
fn whoever_looks_at_the_pictures_holds_up_no_packets_of_a_live_camera() {
    let (watched, _stuck) = Stuck::at("test:");
    watched.pull(200);
    assert!(watched.counts.shed.load(Ordering::Relaxed) > 0);
}

#[test]
fn whoever_looks_at_the_pictures_holds_up_no_packets_of_a_live_playlist() {
    // Ten seconds more each time it is asked for, and never an end.
    let playlist = Playlist::serve(1_600, |whole, asked| {
        let pieces = whole.match_indices(".ts\n").map(|(at, found)| at + found.len());
        whole[..pieces.take(5 * asked).last().unwrap()].into()
    });
    let (watched, _stuck) = Stuck::at(&playlist.uri());
    watched.pull(1_500);
    assert!(watched.counts.shed.load(Ordering::Relaxed) > 0);
}
