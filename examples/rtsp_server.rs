//! An RTSP server that offers a camera's live skim, and its pictures with the importance drawn on them.
//!
//! `cargo run --release --example rtsp_server [URI] [PORT]` serves rtsp://127.0.0.1:8554/skim and /overlay; URIs are those of `desumnet
//! watch`, a ball that bounces without one. Watch with `ffplay rtsp://127.0.0.1:8554/overlay`.
//!
//! The camera is connected to, decoded and scored once, whoever watches. Each mount is encoded once for all who watch it, and not at all
//! while nobody does.

use std::{error::Error, process::ExitCode, sync::mpsc::sync_channel};

use desumnet_watch::source::Source;
use gst::prelude::*;
use gst_rtsp_server::{RTSPMediaFactory, RTSPMountPoints, RTSPServer, prelude::*};

const CAMERA: &str = "test:";
const PORT: &str = "8554";
/// What is done to the camera's pictures. Channels of `intervideosink` go on when viewers, or the camera, come and go.
///
/// A burst of frames that were scored together waits in the queues for its time. The skim looks 5 s ahead; `clocksync` lets the overlay
/// go without waiting for it. The clock is in the skim because its picture stands still between the moments: it tells when that was.
const PICTURES: &str = "videoconvert ! video/x-raw,format=I420 ! desumnet map=true ! tee name=t \
     t. ! queue max-size-bytes=0 max-size-buffers=0 max-size-time=3000000000 \
     ! clockoverlay halignment=right valignment=bottom time-format=%H:%M:%S ! desumskim retime=false ratio=0.3 \
     ! intervideosink name=skim channel=skim max-lateness=-1 qos=false \
     t. ! queue max-size-bytes=0 max-size-buffers=0 max-size-time=3000000000 ! desumoverlay \
     ! clocksync ! intervideosink name=overlay channel=overlay sync=false";
/// What is offered, and how long its last picture stands before it turns black, ns. Players take a stream that pauses for broken, and who
/// comes during a pause would see nothing: so the skim's picture is sent again and again until the next moment. That the overlay's stands
/// still means that the camera is gone.
const MOUNTS: [(&str, u64); 2] = [("skim", u64::MAX), ("overlay", 5_000_000_000)];
/// How often it is looked for viewers who went without a word, s.
const CLEAN_UP: u32 = 5;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (camera, port) = (args.next(), args.next());
    match run(camera.as_deref().unwrap_or(CAMERA), port.as_deref().unwrap_or(PORT)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rtsp_server: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Serves until the camera's stream comes to its end, as a file does, or can't be watched at all.
fn run(camera: &str, port: &str) -> Result<(), Box<dyn Error>> {
    gst::init()?;
    gstdesumnet::plugin_register_static()?;
    let server = RTSPServer::new();
    // Whoever reaches it may watch: there is no password.
    server.set_address("127.0.0.1");
    server.set_service(port);
    server
        .attach(None)
        .map_err(|e| format!("port {port} can't be used: {e}; give another one after the camera's URI"))?;
    let mounts = server.mount_points().ok_or("the server has no mount points")?;
    let pictures = gst::parse::bin_from_description(PICTURES, true).map_err(|e| format!("{e}: run `make setup`"))?;
    for (name, stands) in MOUNTS {
        let sink = pictures.by_name(name).and_then(|sink| sink.static_pad("sink")).ok_or("no way out for pictures")?;
        let (mounts, port) = (mounts.clone(), server.bound_port());
        // Size and rate must be known before anybody is served.
        sink.connect_caps_notify(move |sink| {
            let Some(caps) = sink.current_caps() else { return };
            offer(&mounts, name, stands, &caps);
            println!("rtsp://127.0.0.1:{port}/{name}");
        });
    }
    // A recorder would take the camera's packets.
    let (packets, unused) = sync_channel(0);
    std::thread::spawn(move || unused.iter().for_each(drop));
    let source = Source::new(camera, packets, Some(pictures.upcast_ref()), Default::default())?;
    std::thread::spawn(move || {
        let sessions = server.session_pool();
        glib::timeout_add_seconds(CLEAN_UP, move || {
            sessions.iter().for_each(|sessions| {
                sessions.cleanup();
            });
            glib::ControlFlow::Continue
        });
        glib::MainLoop::new(None, false).run();
    });
    source.run(|notice| eprintln!("camera: {notice}"))?;
    eprintln!("camera: its stream has ended");
    Ok(())
}

/// Puts a channel's pictures, which have these caps, at the mount of the same name.
fn offer(mounts: &RTSPMountPoints, name: &str, stands: u64, caps: &gst::Caps) {
    let rate = caps.structure(0).and_then(|caps| caps.get::<gst::Fraction>("framerate").ok());
    // Without a fixed rate, as some cameras have none.
    let rate = rate.filter(|rate| rate.numer() > 0).unwrap_or(gst::Fraction::new(25, 1));
    let (frames, seconds) = (rate.numer(), rate.denom());
    let factory = RTSPMediaFactory::new();
    factory.set_shared(true);
    // Who joins waits a second at most for a key frame.
    factory.set_launch(&format!(
        "( intervideosrc channel={name} timeout={stands} ! video/x-raw,framerate={frames}/{seconds} \
         ! x264enc tune=zerolatency speed-preset=veryfast key-int-max={} ! rtph264pay name=pay0 pt=96 )",
        (frames / seconds).max(1)
    ));
    mounts.add_factory(&format!("/{name}"), factory);
}
