//! `examples/rtsp_server.rs` as a user runs it: what its viewers see, and that one camera connection and one encoder serve them all.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use gst::prelude::*;
use test_support::camera::{self, Camera};

/// Longest wait for what must come: only a test that fails waits as long.
const PATIENCE: Duration = Duration::from_secs(120);
/// A picture is 320x240, with three bytes a pixel.
const WIDTH: usize = 320;
const BLUE: [u8; 3] = [0, 0, 255];
const BLACK: [u8; 3] = [0, 0, 0];

/// The example's process; what it prints, line by line.
struct Server {
    child: Child,
    out: mpsc::Receiver<String>,
    err: mpsc::Receiver<String>,
}

fn lines(stream: impl std::io::Read + Send + 'static) -> mpsc::Receiver<String> {
    let (send, lines) = mpsc::channel();
    std::thread::spawn(move || {
        BufReader::new(stream).lines().map_while(Result::ok).try_for_each(|line| send.send(line))
    });
    lines
}

impl Server {
    fn start(args: &[&str]) -> Self {
        // `cargo test` builds the examples beside the folder of the tests.
        let example = std::env::current_exe().unwrap().parent().unwrap().with_file_name("examples/rtsp_server");
        assert!(example.exists(), "cargo build --example rtsp_server");
        let mut command = Command::new(example);
        let mut child = command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, err) = (lines(child.stdout.take().unwrap()), lines(child.stderr.take().unwrap()));
        Self { child, out, err }
    }

    /// The URIs of /overlay and /skim, once they are served.
    fn uris(&self) -> [String; 2] {
        let mut uris = [(); 2].map(|()| self.out.recv_timeout(PATIENCE).unwrap());
        uris.sort();
        assert!(uris[0].ends_with("/overlay") && uris[1].ends_with("/skim"), "{uris:?}");
        uris
    }

    fn says(&self) -> String {
        self.err.recv_timeout(PATIENCE).unwrap()
    }

    /// What it ends with.
    fn failure(mut self) -> String {
        assert_eq!(self.child.wait().unwrap().code(), Some(1));
        self.err.iter().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A player: takes the encoded pictures as they come, and decodes them.
struct Viewer {
    pipeline: gst::Element,
    units: gst_app::AppSink,
    pictures: gst_app::AppSink,
}

impl Viewer {
    fn join(uri: &str) -> Self {
        gst::init().unwrap();
        let pipeline = gst::parse::launch(&format!(
            "rtspsrc location={uri} protocols=tcp latency=500 ! rtph264depay \
             ! video/x-h264,stream-format=byte-stream,alignment=au ! tee name=t \
             t. ! queue ! appsink name=units sync=false \
             t. ! queue ! h264parse ! avdec_h264 output-corrupt=false ! videoconvert ! video/x-raw,format=RGB \
             ! appsink name=pictures sync=false"
        ));
        let pipeline = pipeline.unwrap();
        let sink = |name| {
            let sink = pipeline.downcast_ref::<gst::Bin>().unwrap().by_name(name).unwrap();
            sink.downcast::<gst_app::AppSink>().unwrap()
        };
        let (units, pictures) = (sink("units"), sink("pictures"));
        pipeline.set_state(gst::State::Playing).unwrap();
        Self { pipeline, units, pictures }
    }

    fn pull(&self, sink: &gst_app::AppSink) -> gst::Sample {
        let patience = gst::ClockTime::try_from(PATIENCE).unwrap();
        sink.try_pull_sample(patience).unwrap_or_else(|| {
            panic!("nothing came: {:?}", self.pipeline.bus().unwrap().pop_filtered(&[gst::MessageType::Error]))
        })
    }

    /// The next encoded pictures: whether each is a key frame, and its bytes.
    fn units(&self, count: usize) -> Vec<(bool, Vec<u8>)> {
        let unit = |_| {
            let buffer = self.pull(&self.units).buffer_owned().unwrap();
            let key = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
            (key, buffer.map_readable().unwrap().to_vec())
        };
        (0..count).map(unit).collect()
    }

    /// The first picture that shows a colour in the corner at the top left, where nothing is drawn.
    fn picture(&self, colour: [u8; 3]) -> Vec<u8> {
        let since = Instant::now();
        while since.elapsed() < PATIENCE {
            let sample = self.pull(&self.pictures);
            let picture = sample.buffer().unwrap().map_readable().unwrap().to_vec();
            assert_eq!(picture.len(), WIDTH * 240 * 3);
            if other(&picture, colour, 0, 0, 16, 4) == 0 {
                return picture;
            }
        }
        panic!("no picture of {colour:?}");
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.pipeline.set_state(gst::State::Null).unwrap();
    }
}

/// How many pixels in a part of a picture are clearly of another colour.
fn other(picture: &[u8], colour: [u8; 3], x: usize, y: usize, width: usize, height: usize) -> usize {
    let differs = |at: usize| picture[at * 3..][..3].iter().zip(colour).any(|(is, was)| is.abs_diff(was) > 40);
    (y..y + height).flat_map(|y| (x..x + width).map(move |x| y * WIDTH + x)).filter(|&at| differs(at)).count()
}

/// What ffprobe sees.
fn probe(uri: &str) -> String {
    let fields = "stream=codec_name,width,height,r_frame_rate";
    let args = ["-v", "error", "-rtsp_transport", "tcp", "-show_entries", fields, "-of", "csv=p=0", uri];
    let out = Command::new("ffprobe").args(args).output().expect("no ffprobe: `tools/setup --tests` installs it");
    assert!(out.status.success(), "{out:?}");
    String::from_utf8(out.stdout).unwrap().trim().into()
}

#[test]
fn one_connection_and_one_encoder_serve_all_who_watch() {
    let camera = Camera::start(camera::BLUE, None);
    let mut server = Server::start(&[&camera.uri(), "0"]);
    let [overlay, skim] = server.uris();
    assert_eq!([probe(&overlay), probe(&skim)], ["h264,320,240,25/1"; 2]);

    let viewers = [&overlay, &overlay, &skim, &skim].map(|uri| Viewer::join(uri));
    for pair in viewers.chunks(2) {
        let [first, second] = [0, 1].map(|i| pair[i].units(100));
        // Who came later began with parameters of its own.
        let begin = second.iter().skip(1).position(|unit| unit.0).unwrap() + 1;
        let same = first.iter().position(|unit| *unit == second[begin]).expect("another encoder's pictures");
        let (first, second) = (&first[same..], &second[begin..]);
        let length = first.len().min(second.len());
        assert!(length >= 25, "{length}");
        assert!(first[..length] == second[..length], "units of the same pictures differ");
    }

    // The panel stands at the bottom left; the middle may be warm.
    let picture = viewers[0].picture(BLUE);
    let drawn = other(&picture, BLUE, 20, 190, 200, 30);
    assert!(drawn > 3_000, "{drawn} of 6000 pixels");
    assert_eq!(other(&picture, BLUE, 280, 0, 40, 240), 0);
    // The first moment comes after a while; in its corner is only the time.
    let picture = viewers[2].picture(BLUE);
    let (drawn, clock) = (other(&picture, BLUE, 0, 0, 160, 240), other(&picture, BLUE, 160, 200, 160, 40));
    assert!(drawn == 0 && clock > 50, "{drawn} {clock}");

    let late = Viewer::join(&overlay);
    assert!(late.units(26).iter().any(|unit| unit.0), "no key frame in a second");
    late.picture(BLUE);
    // All go; whoever comes then is served again.
    drop((viewers, late));
    Viewer::join(&overlay).picture(BLUE);
    Viewer::join(&skim).picture(BLUE);
    assert_eq!(camera.clients(), 1);
    assert_eq!(server.says(), "camera: its pictures come");
    assert!(server.err.try_recv().is_err());
    assert_eq!(server.child.try_wait().unwrap(), None);
}

#[test]
fn a_camera_that_goes_and_comes_back_is_shown_again() {
    let camera = Camera::start(camera::BLUE, None);
    let (uri, port) = (camera.uri(), camera.port);
    let server = Server::start(&[&uri, "0"]);
    let viewer = Viewer::join(&server.uris()[0]);
    viewer.picture(BLUE);
    assert_eq!(server.says(), "camera: its pictures come");
    drop(camera);
    let said = server.says();
    assert!(
        said.starts_with("camera: no pictures: ") && said.ends_with("; it is tried again until they come"),
        "{said}"
    );
    viewer.picture(BLACK);
    let _camera = Camera::start(camera::BLUE, Some(port));
    viewer.picture(BLUE);
    // It may have failed in other words meanwhile; each is said.
    while server.says() != "camera: its pictures come" {}
    // Nothing is offered anew: who comes now shares what the others have.
    assert!(server.out.try_recv().is_err());
}

#[test]
fn what_can_not_be_served_is_told_with_the_remedy() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let error = Server::start(&["test:", &port]).failure();
    let expected = format!("rtsp_server: port {port} can't be used: ");
    assert!(error.starts_with(&expected) && error.ends_with("; give another one after the camera's URI"), "{error}");
    let error = Server::start(&["gopher://u:p4ss@camera/1", "0"]).failure();
    assert!(error.starts_with("rtsp_server: gopher://***@camera/1: nothing here reads such a URI"), "{error}");
}
