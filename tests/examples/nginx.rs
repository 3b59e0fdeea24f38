//! `examples/nginx/run` as a user runs it: what players get as RTMP and HLS, and what the page shows in a browser.

use std::{
    collections::HashSet,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
};

use gst::prelude::*;
use test_support::{browser::Browser, watching::wait_for};

/// Says what is missing, if anything is.
fn lacks(programs: &[&str]) -> bool {
    let has = |program: &str| Command::new(program).arg("-v").output().is_ok();
    let module = Path::new("/usr/lib/nginx/modules/ngx_rtmp_module.so").exists();
    let lacks = !module || !programs.iter().all(|program| has(program));
    if lacks {
        println!("skipped: apt-get install nginx libnginx-mod-rtmp ffmpeg npm chromium chromium-driver");
    }
    lacks
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The example's process. It ends with the test, however that ends.
struct Running {
    child: Child,
    rtmp: u16,
    http: u16,
    /// Of the plugin that cargo built, and of GStreamer's registry.
    _folder: tempfile::TempDir,
}

impl Running {
    /// With a camera at another URI than the rendered one, if it is given for this port of RTMP.
    fn start(camera: impl Fn(u16) -> Option<String>) -> Self {
        let (folder, rtmp, http) = (tempfile::tempdir().unwrap(), free_port(), free_port());
        let child = example(folder.path(), rtmp, http).args(camera(rtmp)).spawn().unwrap();
        Self { child, rtmp, http, _folder: folder }
    }

    fn rtmp(&self, name: &str) -> String {
        format!("rtmp://127.0.0.1:{}/live/{name}", self.rtmp)
    }

    fn page(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.http)
    }

    /// Waits for the addresses that it prints.
    fn served(&mut self) {
        let lines: Vec<_> =
            BufReader::new(self.child.stdout.take().unwrap()).lines().take(3).map(Result::unwrap).collect();
        assert_eq!(lines, [self.rtmp("skim"), self.page("hls/skim.m3u8"), self.page("watch.html")]);
    }

    /// As Ctrl-C does.
    fn interrupt(&self) {
        // SAFETY: the process is this one's child, and has not been waited for.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGINT) };
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.interrupt();
            let _ = self.child.wait();
        }
    }
}

/// The example with the plugin that cargo built, and a temporary folder of its own.
fn example(folder: &Path, rtmp: u16, http: u16) -> Command {
    let (plugins, temporary) = (folder.join("plugins"), folder.join("temporary"));
    std::fs::create_dir(&plugins).unwrap();
    std::fs::create_dir(&temporary).unwrap();
    let plugin = std::env::current_exe().unwrap().with_file_name("libgstdesumnet.so");
    std::os::unix::fs::symlink(plugin, plugins.join("libgstdesumnet.so")).unwrap();
    // Another Python than the system's often lacks GStreamer's bindings.
    let mut command = Command::new("/usr/bin/python3");
    command.arg("examples/nginx/run").current_dir(env!("CARGO_MANIFEST_DIR")).env("TMPDIR", temporary);
    command.env("GST_PLUGIN_PATH", plugins).env("GST_REGISTRY", folder.join("registry"));
    command.args(["--rtmp-port", &rtmp.to_string(), "--http-port", &http.to_string()]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What a tool of ffmpeg prints, if it is content.
fn ffmpeg(tool: &str, args: &[&str]) -> Option<String> {
    let out = Command::new(tool).args(["-v", "error"]).args(args).output().unwrap();
    (out.status.success() && out.stderr.is_empty()).then(|| String::from_utf8(out.stdout).unwrap())
}

/// Codec, size and rate of the picture at an address, once it is there.
fn probe(address: &str) -> String {
    let fields = ["-select_streams", "v", "-show_entries", "stream=codec_name,width,height,r_frame_rate"];
    let args = [&fields[..], &["-of", "default=nokey=1:noprint_wrappers=1", address]].concat();
    let told = wait_for(address, || ffmpeg("ffprobe", &args).filter(|told| !told.is_empty()));
    // HLS' pictures are listed for the programme, too.
    told.lines().take(4).collect::<Vec<_>>().join(" ")
}

/// The page's words, and its picture, small: the time, the size, and bytes (red, green, blue, alpha).
const LOOK: &str = "
    const video = document.querySelector('video'), canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [64, 36];
    const context = canvas.getContext('2d');
    context.drawImage(video, 0, 0, 64, 36);
    const picture = Array.from(context.getImageData(0, 0, 64, 36).data);
    const says = document.querySelector('#state').textContent;
    return { says, time: video.currentTime, size: [video.videoWidth, video.videoHeight], picture }";

#[test]
fn players_and_a_browser_show_the_skim() {
    if lacks(&["ffmpeg", "ffprobe"]) {
        return;
    }
    let mut running = Running::start(|_| None);
    running.served();
    let addresses = [running.rtmp("skim"), running.page("hls/skim.m3u8")];
    for address in &addresses {
        assert_eq!(probe(address), "h264 640 360 25/1");
        let decoded = ffmpeg("ffmpeg", &["-i", address, "-an", "-frames:v", "75", "-f", "framemd5", "-"]);
        let decoded = decoded.unwrap_or_else(|| panic!("{address} can't be decoded"));
        assert_eq!(decoded.lines().filter(|line| !line.starts_with('#')).count(), 75);
    }

    // No other page that is open in the browser may read the camera.
    let asked = ureq::get(running.page("hls/skim.m3u8")).header("Origin", "http://elsewhere.example");
    assert_eq!(asked.call().unwrap().headers().get("Access-Control-Allow-Origin"), None);

    let has_player = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/hls.js").exists();
    if lacks(&["chromium", "chromedriver"]) || !has_player {
        println!("no browser has looked at the page{}", if has_player { "" } else { ": npm brought no hls.js" });
    } else {
        let browser = Browser::open(&running.page("watch.html"), &[]);
        let (mut pictures, mut times) = (HashSet::new(), Vec::new());
        // The first moment comes after a while, black before; it is not a still one.
        wait_for("a skim that moves", || {
            let look = browser.run(LOOK);
            let picture: Vec<u64> = look["picture"].as_array()?.iter().map(|byte| byte.as_u64().unwrap()).collect();
            if picture.chunks(4).any(|pixel| pixel[..3].iter().all(|&colour| colour > 200)) {
                assert_eq!((&look["says"], &look["size"]), (&"live".into(), &serde_json::json!([640, 360])));
                pictures.insert(picture);
                times.push(look["time"].as_f64().unwrap());
            }
            (pictures.len() > 4).then_some(())
        });
        assert!(times.is_sorted() && times[0] < times[times.len() - 1], "{times:?}");
    }

    running.interrupt();
    assert_eq!(running.child.wait().unwrap().code(), Some(0));
    for port in [running.rtmp, running.http] {
        std::net::TcpStream::connect(("127.0.0.1", port)).unwrap_err();
    }
    assert_eq!(std::fs::read_dir(running._folder.path().join("temporary")).unwrap().count(), 0);
}

/// Publishes as OBS does, until it is dropped.
struct Publisher(gst::Element);

impl Publisher {
    fn start(address: &str) -> Self {
        gst::init().unwrap();
        let pipeline = gst::parse::launch(&format!(
            "videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=320,height=240,framerate=20/1 \
             ! x264enc speed-preset=ultrafast tune=zerolatency threads=1 key-int-max=20 ! flvmux streamable=true \
             ! rtmp2sink location={address}"
        ));
        let pipeline = pipeline.unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        Self(pipeline)
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.0.set_state(gst::State::Null).unwrap();
    }
}

#[test]
fn a_published_camera_may_come_late_go_and_come_back() {
    if lacks(&["ffmpeg", "ffprobe"]) {
        return;
    }
    let mut running = Running::start(|port| Some(format!("rtmp://127.0.0.1:{port}/live/camera")));
    let mut said = BufReader::new(running.child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let lost = said.next().unwrap();
    assert!(
        lost.starts_with("camera: no pictures: ") && lost.ends_with("; it is tried again until they come"),
        "{lost}"
    );
    let publisher = Publisher::start(&running.rtmp("camera"));
    running.served();
    assert_eq!(said.next().unwrap(), "camera: its pictures come");
    assert_eq!(probe(&running.rtmp("skim")), "h264 320 240 20/1");
    drop(publisher);
    let lost = said.next().unwrap();
    assert!(
        lost.starts_with("camera: no pictures: ") && lost.ends_with("; it is tried again until they come"),
        "{lost}"
    );
    // Who watches stays.
    assert_eq!(probe(&running.rtmp("skim")), "h264 320 240 20/1");
    let _publisher = Publisher::start(&running.rtmp("camera"));
    while said.next().unwrap() != "camera: its pictures come" {}
}

#[test]
fn what_is_missing_or_taken_is_said_with_the_remedy() {
    if lacks(&[]) {
        return;
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    let out = example(folder.path(), port, free_port()).output().unwrap();
    assert_eq!(
        (out.status.code(), String::from_utf8(out.stderr).unwrap()),
        (
            Some(1),
            format!(
                "nginx does not start: bind() to 127.0.0.1:{port} failed (98: Address already in use); \
                 give other ports with --rtmp-port and --http-port\n"
            )
        )
    );
    assert!(out.stdout.is_empty());
    let folder = tempfile::tempdir().unwrap();
    let out = example(folder.path(), free_port(), free_port()).env("GST_PLUGIN_PATH", "/nowhere").output().unwrap();
    let told = String::from_utf8(out.stderr).unwrap();
    assert_eq!(
        (out.status.code(), told.as_str()),
        (Some(1), "GStreamer finds no desumskim in /nowhere: run `make build`\n")
    );
}
