//! A camera, whatever way it is reached: its encoded streams, packet by packet, and its pictures for whoever looks at them. Connects
//! again when it goes.
//!
//! `urisourcebin` and `parsebin` bring any source and container to encoded streams. Both, and all that hangs on them, are made anew for
//! every connection; the pipeline, its clock, and what looks at the pictures stay.

mod connection;
mod lip_sync;
mod retry;

use std::{
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::SyncSender,
    },
    time::{Duration, Instant},
};

use gst::prelude::*;
use thiserror::Error;

use self::{
    connection::{Connection, ENDED, NoVideo, OVER, Pace, Shared, Unfit},
    retry::Retry,
};
use super::{cutter::Decision, metrics::Counts, ring::Packet};
use desumnet_media::{missing::Missing, secrets::Secrets, stall};

/// A camera that sends no picture for this long is gone.
const SILENCE: Duration = Duration::from_secs(15);
/// How often it is looked whether it still sends.
const LOOK: gst::ClockTime = gst::ClockTime::from_seconds(1);
/// Schemes of cameras that plugins of GStreamer read.
const SCHEMES: [&str; 7] = ["rtsp", "rtsps", "srt", "http", "https", "v4l2", "udp"];
/// How pictures come from sources of these schemes; from all others, as they are filmed.
const PACES: [(&str, Pace); 3] = [("file:", Pace::Asked), ("http:", Pace::Pieces), ("https:", Pace::Pieces)];

/// Why a camera can't be watched.
#[derive(Debug, Error)]
pub enum SourceError {
    #[error("{camera}: nothing here reads such a URI: give rtsp://, srt://, http(s)://, v4l2://, file:// or test://")]
    Scheme { camera: String },
    #[error(
        "{camera} refuses the user or the password: give them before the host, as USER:PASSWORD@HOST, with %40 for @"
    )]
    Password { camera: String },
    #[error("{camera} is not there: {reason}; check the address and the path")]
    NotFound { camera: String, reason: String },
    #[error("{camera} sends no video; give a stream with a picture")]
    NoVideo { camera: String },
    #[error("{camera} sends {codec}, which can't be kept as it is: set the camera to H.264 or H.265")]
    Codec { camera: String, codec: String },
    #[error("{camera} can't be read: {reason}")]
    Broken { camera: String, reason: String },
    #[error("the pictures of {camera} can't be scored: {reason}")]
    Scorer { camera: String, reason: String },
    #[error("{camera}: {missing}")]
    Plugin { camera: String, missing: Missing },
    #[error("{0}")]
    Missing(Missing),
    #[error("GStreamer can't build a pipeline: {0}")]
    Pipeline(String),
}

/// What comes from a camera, and from who looks at its pictures.
#[derive(Debug)]
pub enum Arrival {
    /// What comes now does not go on from what came.
    Break,
    Video(Packet<gst::Sample>),
    Sound(Packet<gst::Sample>),
    /// What was decided of a stretch of it.
    Decided(Decision),
}

/// What is to be said of a camera, once each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Pictures come.
    Connected,
    /// They don't any more, or not yet; it is tried again until they do.
    Lost { reason: String },
    /// The same, of what somebody has to mend: it is tried again at the longest interval.
    Refused { reason: String },
    /// Its sound is of a kind that can't be kept.
    NoSound { codec: String },
    /// Its sound breaks the connection, and is left out.
    SoundFails { reason: String },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected => write!(f, "its pictures come"),
            Self::Lost { reason } => write!(f, "no pictures: {reason}; it is tried again until they come"),
            Self::Refused { reason } => {
                write!(f, "no pictures: {reason}; it is tried again every {} s", retry::LONGEST.as_secs())
            }
            Self::NoSound { codec } => {
                write!(f, "its sound is {codec}, which can't be kept: clips are silent; set the camera to AAC or Opus")
            }
            Self::SoundFails { reason } => write!(f, "its sound can't be read: {reason}; clips are silent"),
        }
    }
}

impl Notice {
    fn is_of_sound(&self) -> bool {
        matches!(self, Self::NoSound { .. } | Self::SoundFails { .. })
    }
}

/// Ends [`Source::run`] from another thread.
#[derive(Clone, Debug)]
pub struct Stop {
    asked: Arc<AtomicBool>,
    bus: gst::Bus,
}

impl Stop {
    /// Ends it soon.
    pub fn stop(&self) {
        self.asked.store(true, Ordering::Relaxed);
        // Wakes what waits for a message.
        let _ = self.bus.post(gst::message::Application::new(gst::Structure::new_empty("desumnet-stop")));
    }
}

/// A camera.
pub struct Source {
    uri: String,
    secrets: Secrets,
    pipeline: gst::Pipeline,
    stop: Stop,
    shared: Arc<Shared>,
    /// Where the decoded pictures go, if anywhere.
    pictures: Option<gst::Pad>,
    /// Hears what their element tells.
    listener: Arc<OnceLock<Listener>>,
    /// Pictures came once.
    was_there: AtomicBool,
}

type Listener = Box<dyn Fn(&gst::StructureRef) + Send + Sync>;

impl Source {
    /// Of a URI. Packets go to `arrivals`. With `pictures`, an element (or bin) with a sink pad that ends in a sink, decoded pictures go
    /// there, in running time of packets.
    ///
    /// # Errors
    /// [`SourceError::Scheme`], [`SourceError::Missing`] or [`SourceError::Pipeline`]
    pub fn new(
        uri: &str,
        arrivals: SyncSender<Arrival>,
        pictures: Option<&gst::Element>,
        counts: Arc<Counts>,
    ) -> Result<Self, SourceError> {
        let secrets = Secrets::of(uri);
        let known = uri.starts_with("test:") || gst::Element::make_from_uri(gst::URIType::Src, uri, None).is_ok();
        if !known {
            let camera = secrets.hide(uri);
            return Err(match reader(uri) {
                Some(missing) => SourceError::Plugin { camera, missing },
                None => SourceError::Scheme { camera },
            });
        }
        let failed = |what: &str| SourceError::Pipeline(format!("there is no {what}"));
        let pipeline = gst::Pipeline::new();
        let mut pad = None;
        if let Some(element) = pictures {
            pipeline.add(element).map_err(|e| SourceError::Pipeline(e.to_string()))?;
            without_preroll(element);
            pad = Some(element.static_pad("sink").ok_or_else(|| failed("sink pad for the pictures"))?);
        }
        let bus = pipeline.bus().ok_or_else(|| failed("bus"))?;
        let stop = Stop { asked: Arc::default(), bus };
        let pace = PACES.iter().find(|(scheme, _)| uri.starts_with(scheme)).map_or(Pace::Live, |(_, pace)| *pace);
        let shared = Arc::new(Shared::new(pace, arrivals, counts, &pipeline));
        let listener = Arc::<OnceLock<Listener>>::default();
        let (telling, noting) = (listener.clone(), shared.clone());
        stop.bus.set_sync_handler(move |_, message| {
            let gst::MessageView::Element(told) = message.view() else { return gst::BusSyncReply::Pass };
            if let Some(missing) = Missing::of_message(message) {
                noting.lacks(missing);
            } else if let Some((listener, structure)) = telling.get().zip(told.structure()) {
                listener(structure);
            }
            gst::BusSyncReply::Drop
        });
        Ok(Self {
            uri: uri.into(),
            secrets,
            pipeline,
            stop,
            shared,
            pictures: pad,
            listener,
            was_there: AtomicBool::new(false),
        })
    }

    /// The running time of now, ns: that of packets and pictures. It goes on when the source is gone.
    pub fn clock(&self) -> impl Fn() -> u64 + Send + Sync + use<> {
        let (pipeline, known) = (self.pipeline.downgrade(), Mutex::new((Duration::ZERO, Instant::now())));
        move || {
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(now) = pipeline.upgrade().and_then(|pipeline| pipeline.current_running_time()) {
                *known = (now.into(), Instant::now());
            }
            (known.0 + known.1.elapsed()).as_nanos() as u64
        }
    }

    /// Hands what the element that takes the pictures tells in messages to `take`, in the thread that posts it.
    pub fn listen(&self, take: impl Fn(&gst::StructureRef) + Send + Sync + 'static) {
        // The first one who listens does.
        let _ = self.listener.set(Box::new(take));
    }

    /// What ends it.
    pub fn stop_handle(&self) -> Stop {
        self.stop.clone()
    }

    /// Watches until it is stopped or a recording comes to its end. `say` gets what is to be said.
    ///
    /// # Errors
    /// [`SourceError`]: what no waiting mends.
    pub fn run(self, mut say: impl FnMut(Notice)) -> Result<(), SourceError> {
        let unscored = |e: gst::StateChangeError| {
            let reason = self.reason().unwrap_or(e.to_string());
            SourceError::Scorer { camera: self.camera(), reason }
        };
        // There is only what takes the pictures yet.
        self.pipeline.set_state(gst::State::Playing).map_err(unscored)?;
        let (mut retry, mut said, mut silent) = (Retry::default(), None, false);
        // Another connection tells of the same sound.
        let mut say = |notice: Notice| {
            if !notice.is_of_sound() || !std::mem::replace(&mut silent, true) {
                say(notice);
            }
        };
        loop {
            let (before, mut since) = (self.frames(), None);
            let connection = Connection::begin(&self.uri, &self.pipeline, &self.shared, self.pictures.as_ref())?;
            let end = self.follow(&connection, before, &mut since, &mut say);
            drop(connection);
            let pictures = since.map_or(Duration::ZERO, |since: Instant| since.elapsed());
            if since.is_some() {
                said = None;
            }
            let was_there = self.was_there.load(Ordering::Relaxed);
            let (notice, wait) = match end {
                End::Stopped | End::Recorded => return Ok(()),
                End::Hopeless(error) => return Err(error),
                End::Mute(reason) => {
                    say(Notice::SoundFails { reason });
                    self.shared.leave_sound_out(true);
                    continue;
                }
                End::Refused(error) if !was_there || matches!(error, SourceError::Password { .. }) => {
                    (Notice::Refused { reason: error.to_string() }, retry::LONGEST)
                }
                End::Refused(error) => (Notice::Lost { reason: error.to_string() }, retry.after(pictures)),
                End::Lost(reason) => (Notice::Lost { reason }, retry.after(pictures)),
            };
            self.shared.leave_sound_out(false);
            if said.as_ref() != Some(&notice) {
                say(notice.clone());
                said = Some(notice);
            }
            if self.sleep(wait) {
                return Ok(());
            }
        }
    }

    fn frames(&self) -> u64 {
        self.shared.counts.frames.load(Ordering::Relaxed)
    }

    /// A picture came, maybe the first of a connection.
    fn connected(&self, since: &mut Option<Instant>, say: &mut dyn FnMut(Notice)) {
        if since.is_none() {
            *since = Some(Instant::now());
            if self.was_there.swap(true, Ordering::Relaxed) {
                self.shared.counts.reconnects.fetch_add(1, Ordering::Relaxed);
            }
            say(Notice::Connected);
        }
    }

    /// Until a connection ends. `since` gets when its first picture came.
    fn follow(
        &self,
        connection: &Connection,
        before: u64,
        since: &mut Option<Instant>,
        say: &mut dyn FnMut(Notice),
    ) -> End {
        let (mut frames, mut latest) = (before, Instant::now());
        let end = loop {
            if self.stop.asked.load(Ordering::Relaxed) {
                break End::Stopped;
            }
            let kinds = [
                gst::MessageType::Error,
                gst::MessageType::Eos,
                gst::MessageType::StreamCollection,
                gst::MessageType::Application,
                gst::MessageType::Latency,
            ];
            let message = self.stop.bus.timed_pop_filtered(LOOK, &kinds);
            let was_there = since.is_some();
            if self.frames() != frames {
                (frames, latest) = (self.frames(), Instant::now());
                self.connected(since, say);
            } else if latest.elapsed() > SILENCE && !connection.is_recording() {
                break match connection.lacks_video(true) {
                    Some(lack) => End::Refused(self.lack(lack)),
                    None => End::Lost(format!("no picture came for {} s", SILENCE.as_secs())),
                };
            }
            if let Some(end) = message.and_then(|message| self.hear(connection, &message)) {
                break end;
            }
            if let Some(lack) = connection.lacks_video(false) {
                break End::Refused(self.lack(lack));
            }
            // Sound that can be kept may be shown after some that can't, but hardly after pictures.
            if was_there {
                self.tell_sound(connection, say);
            }
        };
        // All of a short recording may have come at once.
        if self.frames() != frames {
            self.connected(since, say);
        }
        if since.is_some() {
            self.tell_sound(connection, say);
        }
        match end {
            // Nobody sets a recording right while it is waited for.
            End::Refused(error) if connection.is_recording() => End::Hopeless(error),
            End::Lost(reason) if connection.is_recording() => {
                End::Hopeless(SourceError::Broken { camera: self.camera(), reason })
            }
            end => end,
        }
    }

    /// The meaning of a bus message for its connection.
    fn hear(&self, connection: &Connection, message: &gst::Message) -> Option<End> {
        match message.view() {
            gst::MessageView::Eos(_) if connection.is_recording() => return Some(End::Recorded),
            // What shows the pictures in time has to know how late they come.
            gst::MessageView::Latency(_) => drop(self.pipeline.recalculate_latency()),
            gst::MessageView::Error(error) if connection.owns(message) => {
                let error = error.error();
                if connection.is_of_sound(message) {
                    return Some(End::Mute(self.secrets.hide(&error.to_string())));
                }
                return Some(self.failure(&error));
            }
            gst::MessageView::Error(error) if self.is_of_pictures(message) => {
                let reason = self.secrets.hide(&error.error().to_string());
                return Some(End::Hopeless(SourceError::Scorer { camera: self.camera(), reason }));
            }
            gst::MessageView::StreamCollection(_) if connection.owns(message) => connection.note_collection(message),
            gst::MessageView::Application(told) if connection.owns(message) => {
                match told.structure().map(|structure| structure.name().as_str()) {
                    Some(ENDED) if !connection.is_recording() => {
                        return Some(End::Lost("the camera ended the stream".into()));
                    }
                    Some(OVER) => {
                        return Some(End::Lost("the live stream is over, and only its recording is there".into()));
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        None
    }

    fn lack(&self, lack: NoVideo) -> SourceError {
        let camera = self.camera();
        match lack {
            NoVideo::None => SourceError::NoVideo { camera },
            NoVideo::Codec(codec) => SourceError::Codec { camera, codec },
        }
    }

    fn tell_sound(&self, connection: &Connection, say: &mut dyn FnMut(Notice)) {
        match connection.lacks_sound() {
            Some(Unfit::Codec(codec)) => say(Notice::NoSound { codec }),
            Some(Unfit::Broken(reason)) => say(Notice::SoundFails { reason: self.secrets.hide(&reason) }),
            None => {}
        }
    }

    /// Whether a message is of what looks at the pictures. What is left over of an earlier connection is neither its nor this one's.
    fn is_of_pictures(&self, message: &gst::Message) -> bool {
        let element = self.pictures.as_ref().and_then(|pad| pad.parent_element());
        message
            .src()
            .zip(element)
            .is_some_and(|(source, element)| source == &element || source.has_as_ancestor(&element))
    }

    /// What the first error is about that waits on the bus.
    fn reason(&self) -> Option<String> {
        let message = self.stop.bus.pop_filtered(&[gst::MessageType::Error])?;
        let gst::MessageView::Error(error) = message.view() else { return None };
        Some(self.secrets.hide(&error.error().to_string()))
    }

    fn camera(&self) -> String {
        self.secrets.hide(&self.uri)
    }

    fn failure(&self, error: &glib::Error) -> End {
        let (camera, reason) = (self.camera(), self.secrets.hide(&error.to_string()));
        let lacks = error.kind::<gst::CoreError>() == Some(gst::CoreError::MissingPlugin)
            || error.kind::<gst::StreamError>() == Some(gst::StreamError::CodecNotFound);
        if let Some(missing) = self.shared.missing().filter(|_| lacks) {
            return End::Hopeless(SourceError::Plugin { camera, missing });
        }
        match error.kind::<gst::ResourceError>() {
            Some(gst::ResourceError::NotAuthorized) => End::Refused(SourceError::Password { camera }),
            Some(gst::ResourceError::NotFound) => End::Refused(SourceError::NotFound { camera, reason }),
            _ => End::Lost(reason),
        }
    }

    /// Waits before the next try; true if it was stopped meanwhile.
    fn sleep(&self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        while !self.stop.asked.load(Ordering::Relaxed) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let left = gst::ClockTime::try_from(left).unwrap_or(LOOK);
            let _ = self.stop.bus.timed_pop_filtered(left, &[gst::MessageType::Application]);
        }
        true
    }
}

impl Drop for Source {
    /// Ends it whatever still plays: what takes the pictures may be stuck.
    fn drop(&mut self) {
        self.shared.close();
        stall::stop(&self.pipeline);
        self.stop.bus.unset_sync_handler();
    }
}

/// What is missing for URIs of a scheme that GStreamer's own plugins read.
fn reader(uri: &str) -> Option<Missing> {
    let (scheme, _) = uri.split_once(':')?;
    if !SCHEMES.contains(&scheme) {
        return None;
    }
    let message = gst_pbutils::MissingPluginMessage::builder_for_uri_source(scheme).src(&gst::Bin::new());
    Missing::of_message(&message.build())
}

/// Sinks that waited for a first picture would hold up the whole pipeline until there is one.
fn without_preroll(element: &gst::Element) {
    let sinks = element.downcast_ref::<gst::Bin>().map(|bin| bin.iterate_sinks().into_iter().flatten().collect());
    for sink in sinks.unwrap_or_else(|| vec![element.clone()]) {
        if sink.find_property("async").is_some() {
            sink.set_property("async", false);
        }
    }
}

/// How a connection ended.
enum End {
    Stopped,
    /// With a recording.
    Recorded,
    /// Waiting may mend it.
    Lost(String),
    /// Somebody has to mend it.
    Refused(SourceError),
    /// Nothing mends it while this process runs.
    Hopeless(SourceError),
    /// By its sound: it goes on without.
    Mute(String),
}
