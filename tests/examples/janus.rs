//! `examples/janus/run` as a person uses it: a camera, Janus, and a browser that opens the page, all on this machine.

use std::{
    io::{BufRead, BufReader},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use test_support::{
    browser::Browser,
    camera::{Camera, WITH_SOUND},
    watching::wait_for,
};

/// The example with the plugin that cargo built, and a temporary folder of its own.
fn example(folder: &Path) -> Command {
    let plugins = folder.join("plugins");
    std::fs::create_dir(&plugins).unwrap();
    let plugin = std::env::current_exe().unwrap().with_file_name("libgstdesumnet.so");
    std::os::unix::fs::symlink(plugin, plugins.join("libgstdesumnet.so")).unwrap();
    std::fs::create_dir(temporary(folder)).unwrap();
    let mut command = Command::new("/usr/bin/python3");
    command.arg("examples/janus/run").current_dir(env!("CARGO_MANIFEST_DIR")).env("TMPDIR", temporary(folder));
    command.env("GST_PLUGIN_PATH", plugins).env("GST_REGISTRY", folder.join("registry"));
    if !has_address() {
        command.env("LD_PRELOAD", test_support::preload(folder, "loopback_counts"));
    }
    command
}

fn temporary(folder: &Path) -> PathBuf {
    folder.join("temporary")
}

/// Whether the machine has any but loopback's.
fn has_address() -> bool {
    let told = Command::new("hostname").arg("-I").output().unwrap();
    !told.stdout.trim_ascii().is_empty()
}

/// Ends with the test, however that ends.
struct Running(Child);

impl Running {
    /// As Ctrl-C does.
    fn interrupt(&self) {
        // SAFETY: the process is this one's child, and has not been waited for.
        unsafe { libc::kill(self.0.id() as i32, libc::SIGINT) };
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            self.interrupt();
            let _ = self.0.wait();
        }
    }
}

/// What the page says and shows: the words below the picture, the picture's size and time, and bytes (red, green, blue, alpha) of
/// the overlay's bar, but for its ends, as `overlay::panel::Layout` lays it out in 320x240.
const LOOK: &str = "
    const video = document.querySelector('video'), canvas = document.createElement('canvas');
    const says = document.querySelector('p').textContent, [width, height] = [video.videoWidth, video.videoHeight];
    if (!width) return { says };
    [canvas.width, canvas.height] = [width, height];
    const context = canvas.getContext('2d');
    context.drawImage(video, 0, 0);
    return { says, width, height, time: video.currentTime, bar: Array.from(context.getImageData(21, 188, 200, 1).data) }";

/// How many pixels of the bar are coloured, from the left; the others are grey. `None` if it is no bar: the camera's picture is
/// black and white.
fn coloured(row: &Value) -> Option<usize> {
    let bytes: Vec<i64> = row.as_array()?.iter().map(|byte| byte.as_i64().unwrap()).collect();
    let pixels: Vec<&[i64]> = bytes.chunks(4).map(|pixel| &pixel[..3]).collect();
    let near = |pixel: &[i64], colour: [i64; 3]| pixel.iter().zip(colour).all(|(a, b)| (a - b).abs() < 50);
    let coloured = pixels.iter().take_while(|pixel| near(pixel, [0xFF, 0xB0, 0])).count();
    let grey = pixels.iter().rev().take_while(|pixel| near(pixel, [0x6E; 3])).count();
    // VP8 smears the colours where they meet.
    (coloured + grey + 8 >= pixels.len()).then_some(coloured)
}

#[test]
fn a_browser_shows_the_camera_and_its_importance() {
    let programs = ["janus", "chromium", "chromedriver"];
    if let Some(missing) = programs.iter().find(|program| Command::new(program).arg("--version").output().is_err()) {
        println!("skipped, as {missing} is missing: apt-get install janus chromium chromium-driver");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let camera = Camera::start(WITH_SOUND, None);
    let running = example(folder.path()).arg(camera.uri()).stdout(Stdio::piped()).spawn().unwrap();
    let mut running = Running(running);
    let mut page = String::new();
    BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut page).unwrap();
    let page = page.strip_suffix('\n').expect("the example has not started");
    // So that WebRTC needs nothing but loopback: neither another interface, nor multicast for names that stand for addresses.
    let flags = ["--allow-loopback-in-peer-connection", "--disable-features=WebRtcHideLocalIpsWithMdns"];
    let browser = Browser::open(page, &flags);

    let mut said = Value::Null;
    let mut look = || {
        assert_eq!(running.0.try_wait().unwrap(), None, "the example has ended");
        let look = browser.run(LOOK);
        if look["says"] != said {
            said = look["says"].clone();
            println!("the page: {said}");
        }
        look
    };
    // An importance of 0 has no colour at all; another follows.
    let first = wait_for("the overlay's bar", || Some(look()).filter(|look| coloured(&look["bar"]) > Some(0)));
    assert_eq!(
        (first["says"].as_str(), first["width"].as_u64(), first["height"].as_u64()),
        (Some("live"), Some(320), Some(240))
    );
    // It goes on, and the bar with it.
    let (time, shown) = (first["time"].as_f64().unwrap(), coloured(&first["bar"]));
    wait_for("another importance, two seconds later", || {
        let look = look();
        (look["time"].as_f64()? > time + 2.0 && coloured(&look["bar"])? != shown?).then_some(())
    });

    running.interrupt();
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
    for server in page.split("http://").skip(1).map(|address| address.split('/').next().unwrap()) {
        let error = TcpStream::connect(server).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "{server}");
    }
    assert_eq!(std::fs::read_dir(temporary(folder.path())).unwrap().count(), 0);
    wait_for("the page's word", || browser.run(LOOK)["says"].as_str()?.ends_with("Failed to fetch").then_some(()));
}

#[test]
fn what_is_missing_is_said_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let out = example(folder.path()).env("PATH", "/nowhere").output().unwrap();
    let told = String::from_utf8(out.stderr).unwrap();
    assert_eq!((out.status.code(), told.as_str()), (Some(1), "janus is missing: apt-get install janus\n"));
}
