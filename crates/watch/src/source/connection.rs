//! One connection to a camera: all elements that are made for it, and go with it.

mod codecs;
mod keep;
mod times;

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::SyncSender,
    },
    time::Duration,
};

use gst::prelude::*;

use self::keep::{Built, PartError, lacking};
use super::{Arrival, SourceError, lip_sync::LipSync};
use crate::{clock::Clock, metrics::Counts};
use desumnet_media::{missing::Missing, stall::within};

/// Name of the message that says that the video is at its end.
pub const ENDED: &str = "desumnet-ended";
/// Name of the message that says that a live stream is over, and what is in its place is a recording of it.
pub const OVER: &str = "desumnet-over";

/// What of the encoded pictures may wait for the decoder before a live camera's are shed, and where they come in pieces.
const BEHIND: gst::ClockTime = gst::ClockTime::from_seconds(3);
const BEHIND_IN_PIECES: gst::ClockTime = gst::ClockTime::from_seconds(30);

/// How long it may take to take a connection down.
const PATIENCE: Duration = Duration::from_secs(2);

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
}
