//! A camera on loopback: an RTSP server that can be killed and started again, and tells what it sent.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

use gst::prelude::*;
use gst_rtsp_server::prelude::*;

/// Video with a key frame every second, and sound.
pub const WITH_SOUND: &str = "videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=25/1 \
     ! x264enc speed-preset=ultrafast tune=zerolatency threads=1 key-int-max=25 ! video/x-h264,stream-format=byte-stream ! h264parse name=sent ! rtph264pay name=pay0 pt=96 \
     audiotestsrc is-live=true wave=ticks samplesperbuffer=1024 ! audio/x-raw,rate=48000,channels=1 ! avenc_aac ! rtpmp4gpay name=pay1 pt=97";
/// Pictures that are sent in another order than they play in.
pub const REORDERED: &str = "videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=25/1 \
     ! x264enc speed-preset=ultrafast threads=1 key-int-max=25 bframes=2 b-adapt=false rc-lookahead=0 \
     ! video/x-h264,stream-format=byte-stream,profile=main ! h264parse name=sent ! rtph264pay name=pay0 pt=96";
pub const ONLY_SOUND: &str =
    "audiotestsrc is-live=true ! audio/x-raw,rate=8000,channels=1 ! mulawenc ! rtppcmupay name=pay0";
pub const MOTION_JPEG: &str = "videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,framerate=25/1 ! jpegenc ! rtpjpegpay name=pay0";
pub const MU_LAW: &str = "videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=25/1 \
     ! x264enc speed-preset=ultrafast tune=zerolatency threads=1 key-int-max=25 ! rtph264pay name=pay0 pt=96 \
     audiotestsrc is-live=true ! audio/x-raw,rate=8000,channels=1 ! mulawenc ! rtppcmupay name=pay1";

/// Nothing but one colour: what else there is was drawn on it.
pub const BLUE: &str = "videotestsrc is-live=true pattern=blue ! video/x-raw,format=I420,width=320,height=240,framerate=25/1 \
     ! x264enc speed-preset=ultrafast tune=zerolatency threads=1 key-int-max=25 ! rtph264pay name=pay0 pt=96";

/// User and password of [`Camera::guarded`].
pub const USER: &str = "admin";
pub const PASSWORD: &str = "s3cret-word";

/// Hashes of units of H.264.
pub type Units = Arc<Mutex<HashSet<blake3::Hash>>>;

pub struct Camera {
    pub port: u16,
    /// What it has sent.
    pub sent: Units,
    /// What it sends, once somebody looks.
    media: Arc<Mutex<Option<gst::Bin>>>,
    clients: Arc<AtomicUsize>,
    server: gst_rtsp_server::RTSPServer,
    attached: Option<glib::SourceId>,
    main: glib::MainLoop,
    thread: Option<JoinHandle<()>>,
}

impl Camera {
    /// At `/live` of a free port, or of the one that is given.
    pub fn start(launch: &str, port: Option<u16>) -> Self {
        Self::serve(launch, port, false)
    }

    /// One that wants [`USER`] and [`PASSWORD`].
    pub fn guarded(launch: &str) -> Self {
        Self::serve(launch, None, true)
    }

    fn serve(launch: &str, port: Option<u16>, guarded: bool) -> Self {
        gst::init().unwrap();
        let context = glib::MainContext::new();
        let server = gst_rtsp_server::RTSPServer::new();
        server.set_address("127.0.0.1");
        server.set_service(&port.unwrap_or(0).to_string());
        let factory = gst_rtsp_server::RTSPMediaFactory::new();
        factory.set_launch(&format!("( {launch} )"));
        factory.set_shared(true);
        if guarded {
            let auth = gst_rtsp_server::RTSPAuth::new();
            let token = gst_rtsp_server::RTSPToken::builder()
                .field(gst_rtsp_server::RTSP_TOKEN_MEDIA_FACTORY_ROLE, USER)
                .build();
            auth.add_basic(&gst_rtsp_server::RTSPAuth::make_basic(USER, PASSWORD), &token);
            server.set_auth(Some(&auth));
            let role = gst::Structure::builder(USER)
                .field(gst_rtsp_server::RTSP_PERM_MEDIA_FACTORY_ACCESS, true)
                .field(gst_rtsp_server::RTSP_PERM_MEDIA_FACTORY_CONSTRUCT, true)
                .build();
            factory.add_role_from_structure(&role);
        }
        let sent = Units::default();
        let media = Arc::new(Mutex::new(None));
        let (noting, shown) = (sent.clone(), media.clone());
        factory.connect_media_configure(move |_, media| {
            let bin = media.element().downcast::<gst::Bin>().unwrap();
            *shown.lock().unwrap() = Some(bin.clone());
            let Some(element) = bin.by_name("sent") else { return };
            let noting = noting.clone();
            element.static_pad("sink").unwrap().add_probe(gst::PadProbeType::BUFFER, move |_, info| {
                let map = info.buffer().unwrap().map_readable().unwrap();
                noting.lock().unwrap().extend(units_after_start_codes(&map).iter().map(|unit| blake3::hash(unit)));
                gst::PadProbeReturn::Ok
            });
        });
        server.mount_points().unwrap().add_factory("/live", factory);
        let clients = Arc::new(AtomicUsize::new(0));
        let counting = clients.clone();
        server.connect_client_connected(move |_, _| {
            counting.fetch_add(1, Ordering::Relaxed);
        });
        let attached = server.attach(Some(&context)).unwrap();
        let main = glib::MainLoop::new(Some(&context), false);
        let running = main.clone();
        let thread = std::thread::spawn(move || running.run());
        let port = server.bound_port() as u16;
        Self { port, sent, media, clients, server, attached: Some(attached), main, thread: Some(thread) }
    }

    pub fn uri(&self) -> String {
        format!("rtsp://127.0.0.1:{}/live", self.port)
    }

    /// An element of what it sends, by name; `None` before somebody looks.
    pub fn element(&self, name: &str) -> Option<gst::Element> {
        self.media.lock().unwrap().as_ref()?.by_name(name)
    }

    /// How many have connected to it so far.
    pub fn clients(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }

    /// Whether it sent a unit of H.264.
    pub fn has_sent(&self, unit: &[u8]) -> bool {
        self.sent.lock().unwrap().contains(&blake3::hash(unit))
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.server.client_filter(Some(&mut |_, _| gst_rtsp_server::RTSPFilterResult::Remove));
        if let Some(source) = self.main.context().find_source_by_id(self.attached.as_ref().unwrap()) {
            source.destroy();
        }
        self.main.quit();
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Units of H.264 as encoders send them.
fn units_after_start_codes(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut starts: Vec<usize> = (0..bytes.len().saturating_sub(3)).filter(|&i| bytes[i..i + 3] == [0, 0, 1]).collect();
    starts.push(bytes.len());
    let unit = |ends: &[usize]| {
        let mut unit = bytes[ends[0] + 3..ends[1]].to_vec();
        // The next start code may begin with another zero.
        while ends[1] != bytes.len() && unit.last() == Some(&0) {
            unit.pop();
        }
        unit
    };
    starts.windows(2).map(unit).collect()
}

/// Units of H.264 as MP4 files hold them.
pub fn units_after_lengths(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut units = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let (unit, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
        units.push(unit.to_vec());
        bytes = rest;
    }
    units
}
