//! `desumnet watch` with cameras of 1280x720 at 25 frames a second, on loopback: what two cores hold.

use std::{
    io::{BufRead, BufReader, Read, Write as _},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use gst::prelude::*;
use gst_rtsp_server::prelude::*;
use serde_json::{Value, json};

use crate::{Report, markdown, part, peak_memory_of};

const CAMERAS: [usize; 4] = [1, 2, 4, 8];
/// Until the load has settled, and then measured.
const SETTLE: u64 = 40;
const SECONDS: u64 = 60;

/// What every camera shows, as long as it is watched; encoded beforehand, so that the cameras cost little.
pub fn render(video: &Path) {
    let frames = 25 * (SETTLE + SECONDS + 20);
    let line = format!(
        "videotestsrc pattern=pinwheel num-buffers={frames} ! video/x-raw,width=1280,height=720,framerate=25/1 \
         ! x264enc speed-preset=ultrafast bitrate=4000 key-int-max=50 ! mp4mux ! filesink location={}",
        video.display()
    );
    let pipeline = gst::parse::launch(&line).expect("known elements");
    pipeline.set_state(gst::State::Playing).expect("it starts");
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = pipeline.bus().expect("a pipeline's").timed_pop_filtered(gst::ClockTime::NONE, &ends);
    assert!(message.is_some_and(|message| message.type_() == gst::MessageType::Eos), "the video can't be rendered");
    pipeline.set_state(gst::State::Null).expect("it stops");
}

/// So many cameras for a minute; in a process of its own, which serves them.
pub fn measure(cameras: usize, video: &Path) -> Report {
    gst::init().expect("GStreamer");
    let server = gst_rtsp_server::RTSPServer::new();
    server.set_address("127.0.0.1");
    server.set_service("0");
    for number in 0..cameras {
        let factory = gst_rtsp_server::RTSPMediaFactory::new();
        let launch =
            format!("( filesrc location={} ! qtdemux ! h264parse ! rtph264pay name=pay0 pt=96 )", video.display());
        factory.set_launch(&launch);
        server.mount_points().expect("a server's").add_factory(&format!("/{number}"), factory);
    }
    let _attached = server.attach(None).expect("a port");
    let main = glib::MainLoop::new(None, false);
    let running = main.clone();
    let serving = std::thread::spawn(move || running.run());
    let folder = tempfile::tempdir().expect("a folder");
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let mut watching = Command::new(env!("CARGO_BIN_EXE_desumnet"))
        .args(["watch", "--metrics", &port.to_string(), "--clips"])
        .arg(folder.path())
        .args((0..cameras).map(|number| format!("c{number}=rtsp://127.0.0.1:{}/{number}", server.bound_port())))
        .stderr(Stdio::piped())
        .spawn()
        .expect("desumnet runs");
    let said = BufReader::new(watching.stderr.take().expect("piped")).lines();
    let watched = said.map_while(Result::ok).filter(|line| line.contains("pictures come")).take(cameras).count();
    assert_eq!(watched, cameras, "cameras that are watched");
    std::thread::sleep(Duration::from_secs(SETTLE));
    let (before, busy_before) = (numbers(port), cpu_time(watching.id()));
    let mut latencies = Vec::new();
    for _ in 0..SECONDS {
        std::thread::sleep(Duration::from_secs(1));
        latencies.extend(values(&numbers(port), "latency_seconds"));
    }
    let (after, busy) = (numbers(port), cpu_time(watching.id()) - busy_before);
    let counted = |name| (sum(&after, name) - sum(&before, name)) as u64;
    latencies.sort_by(f64::total_cmp);
    let memory = peak_memory_of(&watching.id().to_string());
    let _ = watching.kill();
    let _ = watching.wait();
    main.quit();
    let _ = serving.join();
    Report::from_iter([
        ("cameras".into(), cameras.into()),
        ("frames".into(), counted("frames_total").into()),
        ("segments".into(), counted("segments_total").into()),
        ("carried".into(), counted("carried_total").into()),
        ("late".into(), counted("late_total").into()),
        ("shed".into(), counted("shed_total").into()),
        ("latency_median_s".into(), json!(latencies[latencies.len() / 2])),
        ("latency_worst_s".into(), json!(latencies[latencies.len() - 1])),
        ("cores".into(), json!(busy / SECONDS as f64)),
        ("peak_memory_mb".into(), memory.into()),
    ])
}

/// The text that is served to Prometheus.
fn numbers(port: u16) -> String {
    let mut text = String::new();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the metrics are served");
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("a request");
    stream.read_to_string(&mut text).expect("an answer");
    text
}

/// One of each camera.
fn values(text: &str, name: &str) -> Vec<f64> {
    let start = format!("desumnet_{name}{{");
    text.lines()
        .filter(|line| line.starts_with(&start))
        .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
        .collect()
}

fn sum(text: &str, name: &str) -> f64 {
    values(text, name).iter().sum()
}

/// What a process has had of the processor, seconds.
fn cpu_time(process: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("it runs");
    // After the name, which may hold anything: utime and stime are the 12th and 13th.
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks: f64 = fields[11..13].iter().filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks / 100.0
}

/// Every run.
pub fn all(out: &Path) -> Vec<Value> {
    let video = out.join("camera.mp4");
    render(&video);
    let path = video.to_str().expect("a plain path");
    let runs = CAMERAS.map(|cameras| Value::Object(part(&["cameras", &cameras.to_string(), path])));
    let _ = std::fs::remove_file(&video);
    runs.into()
}

pub fn table(report: &Report) -> String {
    let empty = Vec::new();
    let rows = report["cameras"].as_array().unwrap_or(&empty).iter().map(|run| {
        let [cameras, segments, carried, late, shed, memory] =
            ["cameras", "segments", "carried", "late", "shed", "peak_memory_mb"].map(|key| run[key].to_string());
        let seconds = |key: &str| format!("{:.1}", run[key].as_f64().unwrap_or(f64::NAN));
        [
            cameras,
            segments,
            carried,
            late,
            shed,
            seconds("latency_median_s"),
            seconds("latency_worst_s"),
            seconds("cores"),
            memory,
        ]
    });
    let head =
        ["cameras", "segments", "carried", "late", "pictures shed", "latency, s", "worst", "cores", "MB at most"];
    markdown(head, rows)
}
