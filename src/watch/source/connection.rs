//! One connection to a camera: all elements that are made for it, and go with it.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    time::Duration,
};

use gst::prelude::*;

use super::{Arrival, SourceError, lip_sync::LipSync};
use crate::{
    missing::Missing,
    watch::{clock::Clock, metrics::Counts, ring::Packet},
};

/// Name of the message that says that the video is at its end.
pub const ENDED: &str = "desumnet-ended";
/// Name of the message that says that a live stream is over, and what is in its place is a recording of it.
pub const OVER: &str = "desumnet-over";

/// What buffers count their times from, so that pictures can be decoded before the first one plays. `h264timestamper` would move what is
/// earlier than 1000 h.
const START: i64 = 3_600_000 * 1_000_000_000;
/// What of the encoded pictures may wait for the decoder before a live camera's are shed, and where they come in pieces.
const BEHIND: gst::ClockTime = gst::ClockTime::from_seconds(3);
const BEHIND_IN_PIECES: gst::ClockTime = gst::ClockTime::from_seconds(30);

/// Sound that waits for the first picture, which may come later: at most so much of it, ns, and so many bytes.
const SOUND_WAITS: i64 = 20_000_000_000;
const SOUND_WAITS_BYTES: usize = 8 << 20;
/// A camera that sends no key frame for as long is asked for one, and again after as long, ns.
const KEY_FRAMES: u64 = 10_000_000_000;
/// How long it may take to take a connection down.
const PATIENCE: Duration = Duration::from_secs(2);

/// Streams that can be kept: their caps, and what brings them into MP4. AAC is told there as that of MPEG-4, whatever a stream calls it.
const KEPT: [(&str, &str); 4] = [
    ("video/x-h264", "h264parse ! video/x-h264,stream-format=avc,alignment=au ! identity"),
    ("video/x-h265", "h265parse ! video/x-h265,stream-format=hvc1,alignment=au ! identity"),
    (
        "audio/mpeg,mpegversion=(int){2,4},stream-format=(string){raw,adts,adif}",
        "aacparse ! audio/mpeg,stream-format=raw ! capssetter caps=audio/mpeg,mpegversion=4",
    ),
    ("audio/x-opus", "opusparse"),
];
/// What a stream's sound is called that can't be kept, where its media type doesn't tell.
const CALLED: [(&str, &str); 2] =
    [("audio/mpeg,mpegversion=1", "MP2 or MP3"), ("audio/mpeg,stream-format=loas", "AAC in LATM")];
/// What encodes what a camera sends raw.
const RAW: [(&str, &str); 2] = [
    ("video/x-raw", "videoconvert ! x264enc tune=zerolatency speed-preset=veryfast key-int-max=50 ! h264parse"),
    ("audio/x-raw", "audioconvert ! audioresample ! avenc_aac ! aacparse"),
];
/// What `test:` shows.
const TEST: &str = "videotestsrc is-live=true pattern=ball ! video/x-raw,width=640,height=360,framerate=25/1 ! identity name=video \
                    audiotestsrc is-live=true wave=ticks ! audio/x-raw,rate=48000,channels=1 ! identity name=sound";

/// How pictures come from a source.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As they are filmed.
    Live,
    /// As a server has them: those of several seconds at once, where it is live, or all of a recording.
    Pieces,
    /// As they are asked for, of a recording.
    Asked,
}

impl Pace {
    fn behind(self) -> gst::ClockTime {
        if self == Self::Pieces { BEHIND_IN_PIECES } else { BEHIND }
    }
}

/// Whether the source of a connection comes to an end of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It goes on for ever. One that ends is gone.
    Live,
    /// Its length is known.
    Recording,
    /// It was live, and now its length is known: what is left of it.
    Over,
}

/// What outlives connections.
pub struct Shared {
    pub pace: Pace,
    /// `None` once nothing more is to come.
    arrivals: Mutex<Option<SyncSender<Arrival>>>,
    pub counts: Arc<Counts>,
    clock: Mutex<Clock>,
    pipeline: glib::WeakRef<gst::Pipeline>,
    /// A connection was live.
    was_live: AtomicBool,
    /// Its sound is broken, and left out.
    without_sound: AtomicBool,
    /// A plugin that is missing.
    missing: Mutex<Option<Missing>>,
}

impl Shared {
    /// Nothing came yet.
    pub fn new(pace: Pace, arrivals: SyncSender<Arrival>, counts: Arc<Counts>, pipeline: &gst::Pipeline) -> Self {
        Self {
            pace,
            arrivals: Mutex::new(Some(arrivals)),
            counts,
            clock: Mutex::default(),
            pipeline: pipeline.downgrade(),
            was_live: AtomicBool::new(false),
            without_sound: AtomicBool::new(false),
            missing: Mutex::default(),
        }
    }

    fn clock(&self) -> MutexGuard<'_, Clock> {
        locked(&self.clock)
    }

    fn now(&self) -> u64 {
        let now = self.pipeline.upgrade().and_then(|pipeline| pipeline.current_running_time());
        now.map_or(0, gst::ClockTime::nseconds)
    }

    /// Whether somebody took it. Waits until there is room.
    fn hand_on(&self, arrival: Arrival) -> bool {
        let arrivals = locked(&self.arrivals).clone();
        arrivals.is_some_and(|arrivals| arrivals.send(arrival).is_ok())
    }

    /// Nothing more comes, whatever still plays.
    pub fn close(&self) {
        locked(&self.arrivals).take();
    }

    /// The next connections have sound, or none.
    pub fn leave_sound_out(&self, out: bool) {
        self.without_sound.store(out, Ordering::Relaxed);
    }

    /// A plugin is missing. One for video stands for all.
    pub fn lacks(&self, missing: Missing) {
        let mut known = locked(&self.missing);
        if known.as_ref().is_none_or(|known| !known.is_of("video")) {
            *known = Some(missing);
        }
    }

    /// The plugin that is missing.
    pub fn missing(&self) -> Option<Missing> {
        locked(&self.missing).clone()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Streams that a connection shows, counted.
#[derive(Default)]
struct Shown {
    /// Pads of the source.
    pads: usize,
    /// Containers that may have video in them, and how many of them have told what they hold.
    containers: usize,
    told: usize,
    /// Video streams that were told of, and those that came and can't be kept.
    videos: usize,
    unfit_videos: usize,
    /// The source shows nothing more.
    all: bool,
    /// Codecs that can't be kept.
    unfit_video: Option<String>,
    unfit_sound: Option<Unfit>,
}

/// Why sound is left out.
#[derive(Clone)]
pub enum Unfit {
    Codec(String),
    Broken(String),
}

/// What the callbacks of a connection share.
struct Streams {
    shared: Arc<Shared>,
    bin: glib::WeakRef<gst::Bin>,
    pictures: Option<gst::Pad>,
    video: AtomicBool,
    sound: AtomicBool,
    shown: Mutex<Shown>,
    kind: OnceLock<Kind>,
    lips: Mutex<LipSync>,
    /// Sound that came before the first picture, and its running time.
    waiting: Mutex<VecDeque<(i64, gst::Sample)>>,
    /// Where the encoded pictures come from, and when the latest key frame came, or was asked for, ns.
    encoded: Mutex<glib::WeakRef<gst::Pad>>,
    key_frame: AtomicU64,
    /// What takes the packets; their states are their own.
    sinks: Mutex<Vec<gst_app::AppSink>>,
    /// Elements that carry sound only.
    sound_parts: Mutex<Vec<gst::Element>>,
    /// Held while elements are added. True once it is all taken down: what were added then would play on for ever.
    gone: Mutex<bool>,
}

/// A connection while it lasts.
pub struct Connection {
    bin: gst::Bin,
    pipeline: gst::Pipeline,
    /// It did not even begin. What tells why may be in no bin any more.
    failed: bool,
    streams: Arc<Streams>,
}

impl Connection {
    /// Begins to connect. Whether it works is told on the pipeline's bus.
    pub fn begin(
        uri: &str,
        pipeline: &gst::Pipeline,
        shared: &Arc<Shared>,
        pictures: Option<&gst::Pad>,
    ) -> Result<Self, SourceError> {
        let bin = gst::Bin::new();
        shared.clock().connect();
        let streams = Arc::new(Streams::new(shared, &bin, pictures));
        let failed = |e: glib::BoolError| SourceError::Pipeline(e.to_string());
        pipeline.add(&bin).map_err(failed)?;
        let mut connection = Self { bin, pipeline: pipeline.clone(), failed: false, streams: streams.clone() };
        if uri.starts_with("test:") {
            if let Some(missing) = lacking(TEST) {
                return Err(SourceError::Missing(missing));
            }
            let test = gst::parse::bin_from_description(TEST, false);
            let test = test.map_err(|e| SourceError::Pipeline(e.to_string()))?;
            connection.bin.add(&test).map_err(failed)?;
            for name in ["video", "sound"] {
                let pad = test.by_name(name).and_then(|element| element.static_pad("src"));
                let pad = pad.ok_or(SourceError::Missing(Missing::element("identity")))?;
                let ghost = gst::GhostPad::builder_with_target(&pad).map_err(failed)?.name(name).build();
                test.add_pad(&ghost).map_err(failed)?;
                streams.take_in(ghost.upcast_ref());
            }
            streams.shown().all = true;
        } else {
            let source = gst::ElementFactory::make("urisourcebin").property("uri", uri).build();
            let source = source.map_err(|_| SourceError::Missing(Missing::element("urisourcebin")))?;
            let noting = streams.clone();
            source.connect("source-setup", false, move |values| {
                if let Some(source) = values.get(1).and_then(|value| value.get::<gst::Element>().ok()) {
                    set_up(&source, &noting);
                }
                None
            });
            let taking = streams.clone();
            source.connect_pad_added(move |_, pad| taking.take_in(pad));
            connection.bin.add(&source).map_err(failed)?;
        }
        // What goes wrong is told on the bus.
        connection.failed = connection.bin.sync_state_with_parent().is_err();
        Ok(connection)
    }

    /// Whether a message is this connection's.
    pub fn owns(&self, message: &gst::Message) -> bool {
        self.failed || message.src().is_some_and(|source| source == &self.bin || source.has_as_ancestor(&self.bin))
    }

    /// Whether a message is of what carries sound only.
    pub fn is_of_sound(&self, message: &gst::Message) -> bool {
        let parts = locked(&self.streams.sound_parts);
        let of = |source: &gst::Object| parts.iter().any(|part| source == part || source.has_as_ancestor(part));
        message.src().is_some_and(of)
    }

    /// A container told what it holds.
    pub fn note_collection(&self, message: &gst::Message) {
        let gst::MessageView::StreamCollection(told) = message.view() else { return };
        if self.is_of_sound(message) {
            return;
        }
        let mut shown = self.streams.shown();
        let collection = told.stream_collection();
        shown.videos += collection.iter().filter(|s| s.stream_type().contains(gst::StreamType::VIDEO)).count();
        shown.told += 1;
    }

    /// Whether its end is one: that of a recording.
    pub fn is_recording(&self) -> bool {
        self.streams.is_recording()
    }

    /// Whether all is known of it.
    fn is_known(&self) -> bool {
        let shown = self.streams.shown();
        shown.all && shown.pads > 0 && shown.told >= shown.containers
    }

    /// Why there is no video, where none can come any more; with `late`, where none came for a long time.
    pub fn lacks_video(&self, late: bool) -> Option<NoVideo> {
        if self.streams.video.load(Ordering::Relaxed) || !(late || self.is_known()) {
            return None;
        }
        let shown = self.streams.shown();
        match &shown.unfit_video {
            Some(codec) if late || shown.unfit_videos >= shown.videos => Some(NoVideo::Codec(codec.clone())),
            None if shown.videos == 0 && (!late || shown.told > 0) => Some(NoVideo::None),
            _ => None,
        }
    }

    /// Why there is no sound, where there is some that can't be kept.
    pub fn lacks_sound(&self) -> Option<Unfit> {
        let unfit = self.streams.shown().unfit_sound.clone();
        unfit.filter(|_| !self.streams.sound.load(Ordering::Relaxed))
    }
}

/// Why a connection has no video.
pub enum NoVideo {
    None,
    Codec(String),
}

impl Drop for Connection {
    /// Takes it down. Where something holds that up, it is left to a thread of its own, as a signal is not to wait for it.
    fn drop(&mut self) {
        if let Some((pad, peer)) = self.streams.pictures.as_ref().and_then(|pad| Some((pad, pad.peer()?))) {
            let _ = peer.unlink(pad);
        }
        let (bin, pipeline, streams) = (self.bin.clone(), self.pipeline.clone(), self.streams.clone());
        within(PATIENCE, move || {
            *streams.gone() = true;
            // The pipeline is not to raise it again meanwhile.
            bin.set_locked_state(true);
            // Going down can't fail in a way that matters to anybody.
            let _ = bin.set_state(gst::State::Null);
            for sink in streams.sinks().drain(..) {
                let _ = sink.set_state(gst::State::Null);
            }
            let _ = pipeline.remove(&bin);
        });
    }
}

/// Does it in another thread, and waits for that no longer than `patience`.
pub fn within(patience: Duration, work: impl FnOnce() + Send + 'static) {
    let (done, waiting) = sync_channel::<()>(0);
    std::thread::spawn(move || {
        work();
        drop(done);
    });
    // It is told by hanging up.
    let _ = waiting.recv_timeout(patience);
}

/// Gives a source what suits a recording: nothing lost on the way, and an end to waiting. Notes when it has shown all that it has.
fn set_up(source: &gst::Element, streams: &Arc<Streams>) {
    match source.factory().map(|factory| factory.name()).as_deref() {
        Some("rtspsrc") => {
            source.set_property_from_str("protocols", "tcp");
            source.set_property("tcp-timeout", 10_000_000u64);
            // Sound is brought to its pictures here: see `LipSync`.
            source.set_property("max-ts-offset", 1i64);
            let listening = streams.clone();
            source.connect("new-manager", false, move |values| {
                if let Some(manager) = values.get(1).and_then(|value| value.get::<gst::Element>().ok()) {
                    take_reports(&manager, &listening);
                }
                None
            });
            let streams = streams.clone();
            source.connect_no_more_pads(move |_| streams.shown().all = true);
        }
        // A playlist may show more at any time.
        Some(http) if http.contains("http") => {}
        _ => streams.shown().all = true,
    }
}

/// Hears what a camera reports of its clock.
fn take_reports(manager: &gst::Element, streams: &Arc<Streams>) {
    let streams = Arc::downgrade(streams);
    manager.connect("on-ssrc-active", false, move |values| {
        let (manager, session, ssrc) =
            (values[0].get::<gst::Element>().ok()?, values[1].get::<u32>().ok()?, values[2].get::<u32>().ok()?);
        let session = manager.emit_by_name::<Option<glib::Object>>("get-internal-session", &[&session])?;
        let source = session.emit_by_name::<Option<glib::Object>>("get-source-by-ssrc", &[&ssrc])?;
        let stats = source.property::<gst::Structure>("stats");
        if stats.get::<bool>("have-sr").is_ok_and(|has| has) {
            let (clock, timestamp) = (stats.get::<u64>("sr-ntptime").ok()?, stats.get::<u32>("sr-rtptime").ok()?);
            locked(&streams.upgrade()?.lips).report(ssrc, clock, timestamp);
        }
        None
    });
}

/// The first element that is missing of those in a description as for `gst-launch-1.0`.
fn lacking(description: &str) -> Option<Missing> {
    let elements = description.split('!').filter_map(|part| part.split_whitespace().next());
    let mut elements = elements.filter(|element| !element.contains(['/', '=']));
    elements.find(|element| gst::ElementFactory::find(element).is_none()).map(Missing::element)
}

/// The caps of a pad: as they are now, or as its container tells of them.
fn caps_of(pad: &gst::Pad) -> gst::Caps {
    let unknown = || {
        let caps = pad.query_caps(None);
        let told = pad.stream().and_then(|stream| stream.caps());
        told.filter(|told| name_of(told) == name_of(&caps)).unwrap_or(caps)
    };
    pad.current_caps().unwrap_or_else(unknown)
}

fn name_of(caps: &gst::Caps) -> String {
    caps.structure(0).map(|structure| structure.name().to_string()).unwrap_or_default()
}

/// Whether these caps are among those of a description.
fn fits(caps: &gst::Caps, description: &str) -> bool {
    description.parse::<gst::Caps>().is_ok_and(|known| caps.can_intersect(&known))
}

/// A codec's name as users say it.
fn codec_of(caps: &gst::Caps) -> String {
    CALLED.iter().find(|(known, _)| fits(caps, known)).map_or_else(|| name_of(caps), |(_, name)| (*name).into())
}

/// Why elements can't be added.
enum PartError {
    Missing(Missing),
    Failed(glib::BoolError),
}

impl From<glib::BoolError> for PartError {
    fn from(error: glib::BoolError) -> Self {
        Self::Failed(error)
    }
}

impl std::fmt::Display for PartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing(missing) => missing.fmt(f),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

type Built<T> = Result<T, PartError>;

impl Streams {
    /// Nothing came yet.
    fn new(shared: &Arc<Shared>, bin: &gst::Bin, pictures: Option<&gst::Pad>) -> Self {
        Self {
            shared: shared.clone(),
            bin: bin.downgrade(),
            pictures: pictures.cloned(),
            video: AtomicBool::new(false),
            sound: AtomicBool::new(false),
            shown: Mutex::default(),
            kind: OnceLock::new(),
            lips: Mutex::default(),
            waiting: Mutex::default(),
            encoded: Mutex::default(),
            key_frame: AtomicU64::new(0),
            sinks: Mutex::default(),
            sound_parts: Mutex::default(),
            gone: Mutex::new(false),
        }
    }

    fn sinks(&self) -> MutexGuard<'_, Vec<gst_app::AppSink>> {
        locked(&self.sinks)
    }

    fn gone(&self) -> MutexGuard<'_, bool> {
        locked(&self.gone)
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        locked(&self.shown)
    }

    fn is_recording(&self) -> bool {
        self.shared.pace == Pace::Asked || self.kind.get() == Some(&Kind::Recording)
    }

    fn post(&self, name: &str) {
        if let Some(bin) = self.bin.upgrade() {
            let _ =
                bin.post_message(gst::message::Application::builder(gst::Structure::new_empty(name)).src(&bin).build());
        }
    }

    /// Adds elements, unless it is all taken down. What fails is told on the bus.
    fn build(&self, add: impl FnOnce() -> Built<()>) {
        let gone = self.gone();
        let done = if *gone { Ok(()) } else { add() };
        drop(gone);
        let (Err(error), Some(bin)) = (done, self.bin.upgrade()) else { return };
        match error {
            PartError::Missing(missing) => {
                // Whoever hears the error looks for it.
                self.shared.lacks(missing.clone());
                gst::element_error!(bin, gst::CoreError::MissingPlugin, ("{}", missing));
            }
            PartError::Failed(error) => gst::element_error!(bin, gst::CoreError::Failed, ("{}", error)),
        }
    }

    /// A source shows a stream: raw, or in whatever it is packed into.
    fn take_in(self: &Arc<Self>, pad: &gst::Pad) {
        self.build(|| self.try_take_in(pad));
        self.shown().pads += 1;
    }

    fn try_take_in(self: &Arc<Self>, pad: &gst::Pad) -> Built<()> {
        let caps = caps_of(pad);
        let name = name_of(&caps);
        if let Some((_, encoder)) = RAW.iter().find(|(raw, _)| *raw == name) {
            let encoder = self.part(encoder)?;
            link(pad, &encoder)?;
            return self.try_keep(&source_pad(&encoder)?, false);
        }
        let is_rtp = name == "application/x-rtp";
        let media = caps.structure(0).and_then(|caps| caps.get::<String>("media").ok());
        let is_sound = is_rtp && media.as_deref() == Some("audio");
        let is_other = is_rtp && media.is_some_and(|media| !["audio", "video"].contains(&media.as_str()));
        if is_other || (is_sound && self.shared.without_sound.load(Ordering::Relaxed)) {
            // What cameras tell of motion, or sound that fails.
            return self.leave_out(pad);
        }
        if is_rtp {
            self.follow_rtp(pad, &caps, !is_sound);
        }
        let parser = self.part("parsebin")?;
        if is_sound {
            locked(&self.sound_parts).push(parser.clone());
        } else {
            self.shown().containers += 1;
        }
        let keeping = self.clone();
        parser.connect_pad_added(move |parser, pad| {
            let has_no_times = is_rtp || holds(parser, "matroskademux");
            keeping.build(|| keeping.try_keep(pad, has_no_times));
        });
        Ok(link(pad, &parser)?)
    }

    /// Nobody wants it.
    fn leave_out(&self, pad: &gst::Pad) -> Built<()> {
        let nowhere = self.sink(|_| Ok(gst::FlowSuccess::Ok))?;
        Ok(link(pad, &nowhere)?)
    }

    /// Notes which timestamps play when.
    fn follow_rtp(self: &Arc<Self>, pad: &gst::Pad, caps: &gst::Caps, is_video: bool) {
        let rate = caps.structure(0).and_then(|caps| caps.get::<i32>("clock-rate").ok()).unwrap_or(90_000) as u32;
        let streams = Arc::downgrade(self);
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let (Some(buffer), Some(streams)) = (info.buffer(), streams.upgrade()) else {
                return gst::PadProbeReturn::Ok;
            };
            let mut head = [0; 12];
            if let Some(time) = buffer.pts().filter(|_| buffer.copy_to_slice(0, &mut head).is_ok()) {
                let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
                locked(&streams.lips).packet(is_video, word(8), rate, word(4), time.nseconds() as i64);
            }
            gst::PadProbeReturn::Ok
        });
    }

    /// Adds elements that are described as for `gst-launch-1.0`.
    fn part(&self, description: &str) -> Built<gst::Element> {
        if let Some(missing) = lacking(description) {
            return Err(PartError::Missing(missing));
        }
        let told = |e: glib::Error| glib::bool_error!("{e}");
        // A single one has no bin around it, so that its signals are at hand.
        let part = match description.contains('!') {
            true => gst::parse::bin_from_description(description, true).map_err(told)?.upcast(),
            false => gst::ElementFactory::make(description).build()?,
        };
        self.add(&part)?;
        Ok(part)
    }

    fn add(&self, part: &gst::Element) -> Built<()> {
        let bin = self.bin.upgrade().ok_or_else(|| glib::bool_error!("the connection is gone"))?;
        bin.add(part)?;
        Ok(part.sync_state_with_parent()?)
    }

    /// An encoded stream comes. The first video that can be kept is, and so is the first such sound. `has_no_times`: it doesn't tell when
    /// its pictures are decoded.
    fn try_keep(self: &Arc<Self>, pad: &gst::Pad, has_no_times: bool) -> Built<()> {
        let caps = caps_of(pad);
        let name = name_of(&caps);
        let is_video = name.starts_with("video/") || name.starts_with("image/");
        let is_sound = name.starts_with("audio/");
        if !is_video && !is_sound || is_sound && self.shared.without_sound.load(Ordering::Relaxed) {
            return self.leave_out(pad);
        }
        let Some((codec, parser)) = KEPT.iter().find(|(known, _)| fits(&caps, known)) else {
            let mut shown = self.shown();
            if is_video {
                shown.unfit_videos += 1;
                shown.unfit_video.get_or_insert(codec_of(&caps));
            } else {
                shown.unfit_sound.get_or_insert(Unfit::Codec(codec_of(&caps)));
            }
            drop(shown);
            return self.leave_out(pad);
        };
        let taken = if is_video { &self.video } else { &self.sound };
        if taken.swap(true, Ordering::Relaxed) {
            return self.leave_out(pad);
        }
        if is_video {
            let stamper = codec.strip_prefix("video/x-").filter(|_| has_no_times);
            self.keep_video(pad, parser, stamper.map(|codec| format!("{codec}timestamper")), picture_test(codec))
        } else if let Err(error) = self.keep_sound(pad, parser) {
            self.sound.store(false, Ordering::Relaxed);
            self.shown().unfit_sound.get_or_insert(Unfit::Broken(error.to_string()));
            self.leave_out(pad)
        } else {
            Ok(())
        }
    }

    fn keep_video(
        self: &Arc<Self>,
        pad: &gst::Pad,
        parser: &str,
        stamper: Option<String>,
        has_picture: fn(&[u8]) -> bool,
    ) -> Built<()> {
        let parser = self.part(parser)?;
        let mut last = parser.clone();
        self.count_from_start(&source_pad(&parser)?, pad);
        for next in stamper.as_deref().into_iter().chain(["identity"]) {
            let next = self.part(next)?;
            last.link(&next)?;
            last = next;
        }
        let encoded = source_pad(&last)?;
        *locked(&self.encoded) = encoded.downgrade();
        self.keep_time(&encoded);
        let sending = self.clone();
        let sink = self.sink(move |sample| {
            // A connection that breaks off may leave the beginning of a frame behind.
            let whole =
                sample.buffer().and_then(|buffer| buffer.map_readable().ok()).is_some_and(|map| has_picture(&map));
            if whole { sending.send(sample, true) } else { Ok(gst::FlowSuccess::Ok) }
        })?;
        match &self.pictures {
            Some(pictures) => {
                let tee = self.part("tee")?;
                tee.link(&sink)?;
                self.decode(&tee, pictures)?;
                link(&encoded, &tee)?;
            }
            None => link(&encoded, &sink)?,
        }
        Ok(link(pad, &parser)?)
    }

    fn keep_sound(self: &Arc<Self>, pad: &gst::Pad, parser: &str) -> Built<()> {
        let parser = self.part(parser)?;
        locked(&self.sound_parts).push(parser.clone());
        let hearing = self.clone();
        let sink = self.sink(move |sample| hearing.hear(sample))?;
        parser.link(&sink)?;
        Ok(link(pad, &parser)?)
    }

    /// Adds what takes packets.
    fn sink(
        &self,
        take: impl Fn(gst::Sample) -> Result<gst::FlowSuccess, gst::FlowError> + Send + 'static,
    ) -> Built<gst::Element> {
        let sink = gst_app::AppSink::builder().sync(false).async_(false).build();
        let callbacks = gst_app::AppSinkCallbacks::builder()
            .new_sample(move |sink| take(sink.pull_sample().map_err(|_| gst::FlowError::Eos)?));
        sink.set_callbacks(callbacks.build());
        let bin = self.bin.upgrade().ok_or_else(|| glib::bool_error!("the connection is gone"))?;
        bin.add(&sink)?;
        // It plays at once, and whatever happens to the rest: were it to wait for the decoder, that would wait for it.
        sink.set_locked_state(true);
        sink.set_state(gst::State::Playing).map_err(|e| glib::bool_error!("{e}"))?;
        self.sinks().push(sink.clone());
        Ok(sink.upcast())
    }

    /// The way of the encoded pictures to whoever looks at them decoded.
    fn decode(self: &Arc<Self>, tee: &gst::Element, pictures: &gst::Pad) -> Built<()> {
        let bin = self.bin.upgrade().ok_or_else(|| glib::bool_error!("the connection is gone"))?;
        let queue = self.part("queue")?;
        queue.set_property("max-size-buffers", 0u32);
        queue.set_property("max-size-bytes", 0u32);
        let limit = self.shared.pace.behind().nseconds();
        queue.set_property("max-size-time", 2 * limit);
        let (shedding, streams, full) = (AtomicBool::new(false), self.clone(), queue.downgrade());
        let input = queue.static_pad("sink").ok_or_else(|| glib::bool_error!("no way into a queue"))?;
        input.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let (Some(buffer), Some(queue)) = (info.buffer(), full.upgrade()) else { return gst::PadProbeReturn::Ok };
            let behind = queue.property::<u64>("current-level-time") >= limit;
            // From one key frame to another, as a decoder needs what comes between.
            let is_key = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
            if is_key || behind {
                // What comes of a recording waits for whoever takes it.
                shedding.store(behind && !streams.is_recording(), Ordering::Relaxed);
            }
            if shedding.load(Ordering::Relaxed) {
                streams.shared.counts.shed.fetch_add(1, Ordering::Relaxed);
                return gst::PadProbeReturn::Handled;
            }
            gst::PadProbeReturn::Ok
        });
        let ghost = gst::GhostPad::new(gst::PadDirection::Src);
        ghost.set_active(true)?;
        let ending = self.clone();
        ghost.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| match info.event() {
            // Whoever looks at the pictures goes on with the next connection.
            Some(event) if event.type_() == gst::EventType::Eos && !ending.is_recording() => {
                gst::PadProbeReturn::Handled
            }
            _ => gst::PadProbeReturn::Ok,
        });
        bin.add_pad(&ghost)?;
        ghost.link(pictures).map_err(|e| glib::bool_error!("the pictures can't be handed on: {e}"))?;
        let decoder = self.part("decodebin")?;
        let (telling, target) = (self.clone(), ghost.downgrade());
        decoder.connect_pad_added(move |_, pad| {
            let is_video = name_of(&caps_of(pad)).starts_with("video/");
            let Some(ghost) = target.upgrade().filter(|_| is_video) else { return };
            telling.build(|| Ok(ghost.set_target(Some(pad))?));
        });
        tee.link(&queue)?;
        Ok(queue.link(&decoder)?)
    }

    /// Lets the buffers of a pad count from [`START`] in running time, as in one segment. `shown` is where they come from.
    fn count_from_start(self: &Arc<Self>, pad: &gst::Pad, shown: &gst::Pad) {
        let (streams, shown) = (self.clone(), shown.downgrade());
        let told = Mutex::new((gst::FormattedSegment::<gst::ClockTime>::new(), false));
        let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
        pad.add_probe(kinds, move |_, info| {
            let mut told = locked(&told);
            let (segment, passed) = &mut *told;
            match &mut info.data {
                Some(gst::PadProbeData::Event(event)) => {
                    if let gst::EventView::Segment(new) = event.view() {
                        let mut from_start = gst::FormattedSegment::<gst::ClockTime>::new();
                        from_start.set_start(gst::ClockTime::from_nseconds(START as u64));
                        // It passes again, as it is now, where the pad is linked anew.
                        if let Some(new) = new.segment().downcast_ref::<gst::ClockTime>()
                            && *new != from_start
                        {
                            *segment = new.clone();
                        }
                        *event = gst::event::Segment::new(&from_start);
                        // Each further one would make `h264timestamper` begin anew.
                        if std::mem::replace(passed, true) {
                            return gst::PadProbeReturn::Handled;
                        }
                    } else if event.type_() == gst::EventType::Eos {
                        streams.post(ENDED);
                    }
                    gst::PadProbeReturn::Ok
                }
                Some(gst::PadProbeData::Buffer(buffer)) => {
                    let at = |time| running(segment, time).and_then(|time| u64::try_from(START + time).ok());
                    let at = |time| at(time).map(gst::ClockTime::from_nseconds);
                    let (time, decode) = (buffer.pts().or(buffer.dts()).and_then(at), buffer.dts().and_then(at));
                    if time.is_none() || streams.kind(&shown) == Kind::Over {
                        return gst::PadProbeReturn::Handled;
                    }
                    let times = buffer.make_mut();
                    times.set_pts(time);
                    times.set_dts(decode);
                    gst::PadProbeReturn::Ok
                }
                _ => gst::PadProbeReturn::Ok,
            }
        });
    }

    /// Whether it ends of its own: known when the first picture comes.
    fn kind(&self, shown: &glib::WeakRef<gst::Pad>) -> Kind {
        *self.kind.get_or_init(|| {
            let has_length = || {
                let Some(pad) = shown.upgrade() else { return false };
                let time = pad.query_duration::<gst::ClockTime>();
                time.is_some() || pad.query_duration::<gst::format::Bytes>().is_some()
            };
            let was_live = &self.shared.was_live;
            match self.shared.pace {
                Pace::Asked => Kind::Recording,
                Pace::Pieces if has_length() && was_live.load(Ordering::Relaxed) => {
                    self.post(OVER);
                    Kind::Over
                }
                Pace::Pieces if has_length() => Kind::Recording,
                Pace::Live | Pace::Pieces => {
                    was_live.store(true, Ordering::Relaxed);
                    Kind::Live
                }
            }
        })
    }

    /// Brings the pictures to times that run on over jumps and connections.
    fn keep_time(self: &Arc<Self>, pad: &gst::Pad) {
        let streams = self.clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data else { return gst::PadProbeReturn::Ok };
            match streams.place(buffer) {
                Some(()) => gst::PadProbeReturn::Ok,
                None => gst::PadProbeReturn::Handled,
            }
        });
    }

    /// Gives a picture its new times; `None` for one that has none.
    fn place(&self, buffer: &mut gst::Buffer) -> Option<()> {
        let came = buffer.pts()?.nseconds() as i64 - START;
        let ahead = buffer.dts().map_or(0, |dts| (came + START - dts.nseconds() as i64).max(0));
        let duration = buffer.duration().map_or(0, gst::ClockTime::nseconds);
        let (time, breaks) = self.shared.clock().picture(came, duration, self.shared.now());
        if breaks {
            // Nobody listens only when it is all over.
            self.shared.hand_on(Arrival::Break);
        }
        let times = buffer.make_mut();
        times.set_pts(at(time));
        times.set_dts(at(time - ahead));
        // What was heard before the first picture can be placed now.
        let _ = self.hand_sound_on(&mut locked(&self.waiting));
        (time >= 0).then_some(())
    }

    /// Some sound comes.
    fn hear(&self, sample: gst::Sample) -> Result<gst::FlowSuccess, gst::FlowError> {
        let segment = sample.segment().and_then(|segment| segment.downcast_ref::<gst::ClockTime>());
        let time = sample.buffer().and_then(|buffer| buffer.pts().or(buffer.dts()));
        let Some(came) = segment.zip(time).and_then(|(segment, time)| running(segment, time)) else {
            return Ok(gst::FlowSuccess::Ok);
        };
        let mut waiting = locked(&self.waiting);
        waiting.push_back((came, sample));
        self.hand_sound_on(&mut waiting)
    }

    /// Hands on the sound that waits, once there are pictures: their times are what it is placed by.
    fn hand_sound_on(&self, waiting: &mut VecDeque<(i64, gst::Sample)>) -> Result<gst::FlowSuccess, gst::FlowError> {
        if !self.shared.clock().has_pictures() {
            let size = |waiting: &VecDeque<(i64, gst::Sample)>| {
                waiting.iter().filter_map(|(_, sample)| sample.buffer()).map(gst::BufferRef::size).sum::<usize>()
            };
            let length = |waiting: &VecDeque<(i64, gst::Sample)>| match (waiting.front(), waiting.back()) {
                (Some((first, _)), Some((last, _))) => last - first,
                _ => 0,
            };
            while length(waiting) > SOUND_WAITS || size(waiting) > SOUND_WAITS_BYTES {
                waiting.pop_front();
            }
            return Ok(gst::FlowSuccess::Ok);
        }
        while let Some((came, sample)) = waiting.pop_front() {
            let time = self.shared.clock().sound(came + locked(&self.lips).shift());
            let Some(time) = time.filter(|time| *time >= 0) else { continue };
            let Some(mut buffer) = sample.buffer_owned() else { continue };
            let times = buffer.make_mut();
            times.set_pts(at(time));
            times.set_dts(at(time));
            let placed = gst::Sample::builder().buffer(&buffer);
            let placed = match sample.caps_owned() {
                Some(caps) => placed.caps(&caps).build(),
                None => placed.build(),
            };
            self.send(placed, false)?;
        }
        Ok(gst::FlowSuccess::Ok)
    }

    fn send(&self, sample: gst::Sample, is_video: bool) -> Result<gst::FlowSuccess, gst::FlowError> {
        let buffer = sample.buffer().ok_or(gst::FlowError::Error)?;
        let since_start =
            |time: Option<gst::ClockTime>| time.map_or(0, |time| time.nseconds().saturating_sub(START as u64));
        let packet = Packet {
            time: since_start(buffer.pts()),
            decode: since_start(buffer.dts()),
            duration: buffer.duration().map_or(0, gst::ClockTime::nseconds),
            key: !is_video || !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT),
            bytes: buffer.size(),
            data: sample,
        };
        if is_video {
            self.ask_for_key_frames(&packet);
        }
        let arrival = if is_video { Arrival::Video(packet) } else { Arrival::Sound(packet) };
        // Nobody takes it only when it is all over.
        if !self.shared.hand_on(arrival) {
            return Err(gst::FlowError::Eos);
        }
        if is_video {
            self.shared.counts.frames.fetch_add(1, Ordering::Relaxed);
        }
        Ok(gst::FlowSuccess::Ok)
    }

    /// Asks for a key frame where none came for long: a clip can begin only there. Not every camera hears it.
    fn ask_for_key_frames(&self, packet: &Packet<gst::Sample>) {
        let since = self.key_frame.load(Ordering::Relaxed);
        if !packet.key && packet.time < since + KEY_FRAMES {
            return;
        }
        self.key_frame.store(packet.time, Ordering::Relaxed);
        if let Some(pad) = locked(&self.encoded).upgrade().filter(|_| !packet.key) {
            pad.send_event(gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(true).build());
        }
    }
}

/// A time that counts from [`START`].
fn at(time: i64) -> Option<gst::ClockTime> {
    u64::try_from(START + time).ok().map(gst::ClockTime::from_nseconds)
}

/// The running time of a time in a segment, ns.
fn running(segment: &gst::FormattedSegment<gst::ClockTime>, time: gst::ClockTime) -> Option<i64> {
    let time = segment.to_running_time_full(time)?;
    let ns = i64::try_from(time.abs().nseconds()).ok()?;
    Some(if time.is_negative() { -ns } else { ns })
}

/// Whether there is an element of a kind in another one.
fn holds(element: &gst::Element, kind: &str) -> bool {
    let Some(bin) = element.downcast_ref::<gst::Bin>() else { return false };
    let is_it = |element: gst::Element| element.factory().is_some_and(|factory| factory.name() == kind);
    bin.iterate_recurse().into_iter().flatten().any(is_it)
}

/// Whether a frame of a codec, as MP4 holds it, has a part of a picture in it, by the types of its units (H.264, table 7-1; H.265, table
/// 7-1).
fn picture_test(codec: &str) -> fn(&[u8]) -> bool {
    match codec {
        "video/x-h264" => |frame| units(frame).any(|unit| matches!(unit & 0x1f, 1..=5)),
        "video/x-h265" => |frame| units(frame).any(|unit| unit >> 1 & 0x3f < 32),
        _ => |_| true,
    }
}

/// The first byte of every unit, each after its length.
fn units(mut frame: &[u8]) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let (length, rest) = frame.split_first_chunk::<4>()?;
        let (unit, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        frame = rest;
        unit.first().copied()
    })
}

fn source_pad(element: &gst::Element) -> Result<gst::Pad, glib::BoolError> {
    element.static_pad("src").ok_or_else(|| glib::bool_error!("{} gives nothing out", element.name()))
}

fn link(pad: &gst::Pad, to: &gst::Element) -> Result<(), glib::BoolError> {
    let target = to.static_pad("sink").ok_or_else(|| glib::bool_error!("{} takes nothing in", to.name()))?;
    pad.link(&target).map(drop).map_err(|e| glib::bool_error!("{} can't be linked: {e}", to.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_that_comes_before_the_first_picture_waits_for_it() {
        gst::init().unwrap();
        let (pipeline, (sender, arrivals)) = (gst::Pipeline::new(), sync_channel(1_000));
        let shared = Arc::new(Shared::new(Pace::Live, sender, Arc::default(), &pipeline));
        let streams = Streams::new(&shared, &gst::Bin::new(), None);
        let ms = gst::ClockTime::from_mseconds;
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        let hear = |time: u64| {
            let mut buffer = gst::Buffer::from_slice([0; 10]);
            buffer.get_mut().unwrap().set_pts(ms(time));
            streams.hear(gst::Sample::builder().buffer(&buffer).segment(&segment).build()).unwrap();
        };
        // A camera whose pictures wait for two seconds on the way, and then come at once.
        (400..2_400).step_by(20).for_each(hear);
        assert!(arrivals.try_iter().next().is_none());
        let mut picture = gst::Buffer::from_slice([0; 10]);
        picture.get_mut().unwrap().set_pts(at(1_000 * 1_000_000));
        assert_eq!(streams.place(&mut picture), Some(()));
        hear(2_400);
        let times: Vec<u64> = arrivals
            .try_iter()
            .map(|arrival| match arrival {
                Arrival::Sound(packet) => packet.time / 1_000_000,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(times, (400..2_420).step_by(20).collect::<Vec<_>>());
        // So much waits and no more.
        shared.clock().connect();
        (5_000..45_000).step_by(20).for_each(hear);
        assert_eq!(locked(&streams.waiting).len(), 1_001);
        shared.close();
        assert!(!shared.hand_on(Arrival::Break));
    }

    #[test]
    fn an_element_that_is_missing_is_found_in_a_description() {
        gst::init().unwrap();
        assert_eq!(lacking("identity ! video/x-h264,alignment=au ! fakesink name=a"), None);
        assert_eq!(lacking("identity ! x264encoder a=b ! fakesink"), Some(Missing::element("x264encoder")));
    }

    #[test]
    fn what_is_kept_is_known_by_its_caps() {
        gst::init().unwrap();
        let kept = |caps: &str| {
            let caps = caps.parse::<gst::Caps>().unwrap();
            KEPT.iter().any(|(known, _)| fits(&caps, known))
        };
        let codec = |caps: &str| codec_of(&caps.parse::<gst::Caps>().unwrap());
        assert!(kept("video/x-h264,stream-format=byte-stream") && kept("video/x-h265") && kept("audio/x-opus"));
        assert!(kept("audio/mpeg,mpegversion=4,stream-format=adts") && kept("audio/mpeg,mpegversion=2"));
        assert!(!kept("audio/mpeg,mpegversion=1") && !kept("audio/mpeg,mpegversion=4,stream-format=loas"));
        assert!(!kept("audio/x-ac3") && !kept("image/jpeg"));
        assert_eq!(codec("audio/mpeg,mpegversion=1,layer=2"), "MP2 or MP3");
        assert_eq!(codec("audio/mpeg,mpegversion=4,stream-format=loas"), "AAC in LATM");
        assert_eq!(codec("audio/x-mulaw,rate=8000"), "audio/x-mulaw");
    }

    #[test]
    fn a_frame_without_a_picture_is_told_by_its_units() {
        let frame = |types: &[u8]| types.iter().flat_map(|byte| [0, 0, 0, 2, *byte, 0xf0]).collect::<Vec<u8>>();
        let (h264, h265) = (picture_test("video/x-h264"), picture_test("video/x-h265"));
        assert!(!h264(&frame(&[0x09])) && !h264(&frame(&[0x67, 0x68])) && !h264(&[]) && !h264(&[0, 0, 0, 9, 0x65]));
        assert!(h264(&frame(&[0x09, 0x67, 0x65])) && h264(&frame(&[0x41])));
        assert!(!h265(&frame(&[0x46, 0x40])) && h265(&frame(&[0x46, 0x26])));
        assert!(picture_test("audio/mpeg")(&[]));
    }
}
