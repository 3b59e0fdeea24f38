//! A camera, whatever way it is reached: its encoded streams, packet by packet, and its pictures for whoever looks at them. Connects
//! again when it goes.
//!
//! `urisourcebin` and `parsebin` bring any source and container to encoded streams. Both, and all that hangs on them, are made anew for
//! every connection; the pipeline, its clock, and what looks at the pictures stay.

mod connection;

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::SyncSender,
    },
    time::{Duration, Instant},
};

use gst::prelude::*;
use thiserror::Error;

use self::connection::{Connection, ENDED, Pace, Shared, UNFIT};
use super::{clock::Clock, cutter::Decision, metrics::Counts, ring::Packet};
use crate::secrets::Secrets;

/// Wait before the second try to connect; doubled with each, up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A camera that sends no picture for this long is gone.
const SILENCE: Duration = Duration::from_secs(15);
/// How often it is looked whether it still sends.
const LOOK: gst::ClockTime = gst::ClockTime::from_seconds(1);
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
    #[error("GStreamer lacks {0}: run `make setup`, which installs its plugins")]
    Element(&'static str),
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
    /// Its sound is of a kind that can't be kept.
    NoSound { codec: String },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected => write!(f, "its pictures come"),
            Self::Lost { reason } => write!(f, "no pictures: {reason}; it is tried again until they come"),
            Self::NoSound { codec } => {
                write!(f, "its sound is {codec}, which can't be kept: clips are silent; set the camera to AAC or Opus")
            }
        }
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
}

impl Source {
    /// Of a URI. Packets go to `arrivals`. With `pictures`, an element (or bin) with a sink pad that ends in a sink, decoded pictures go
    /// there, in running time of packets.
    ///
    /// # Errors
    /// [`SourceError::Scheme`] or [`SourceError::Element`]
    pub fn new(
        uri: &str,
        arrivals: SyncSender<Arrival>,
        pictures: Option<&gst::Element>,
        counts: Arc<Counts>,
    ) -> Result<Self, SourceError> {
        let secrets = Secrets::of(uri);
        let known = uri.starts_with("test:") || gst::Element::make_from_uri(gst::URIType::Src, uri, None).is_ok();
        if !known {
            return Err(SourceError::Scheme { camera: secrets.hide(uri) });
        }
        let pipeline = gst::Pipeline::new();
        let mut pad = None;
        if let Some(element) = pictures {
            pipeline.add(element).map_err(|_| SourceError::Element("a pipeline"))?;
            without_preroll(element);
            pad = Some(element.static_pad("sink").ok_or(SourceError::Element("what takes pictures"))?);
        }
        let bus = pipeline.bus().ok_or(SourceError::Element("a bus"))?;
        let stop = Stop { asked: Arc::default(), bus };
        let pace = PACES.iter().find(|(scheme, _)| uri.starts_with(scheme)).map_or(Pace::Live, |(_, pace)| *pace);
        let shared =
            Shared { pace, arrivals, counts, clock: Mutex::new(Clock::default()), pipeline: pipeline.downgrade() };
        Ok(Self { uri: uri.into(), secrets, pipeline, stop, shared: Arc::new(shared), pictures: pad })
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
        self.stop.bus.set_sync_handler(move |_, message| {
            let gst::MessageView::Element(told) = message.view() else { return gst::BusSyncReply::Pass };
            if let Some(structure) = told.structure() {
                take(structure);
            }
            gst::BusSyncReply::Drop
        });
    }

    /// What ends it.
    pub fn stop_handle(&self) -> Stop {
        self.stop.clone()
    }

    /// Watches until it is stopped or the stream comes to its end. `say` gets what is to be said.
    ///
    /// # Errors
    /// [`SourceError`]: what no waiting mends, before any picture came; [`SourceError::Scorer`] at any time.
    pub fn run(self, mut say: impl FnMut(Notice)) -> Result<(), SourceError> {
        let unscored = |e: gst::StateChangeError| {
            let reason = self.reason().unwrap_or(e.to_string());
            SourceError::Scorer { camera: self.camera(), reason }
        };
        // There is only what takes the pictures yet.
        self.pipeline.set_state(gst::State::Playing).map_err(unscored)?;
        let (mut wait, mut connected_once, mut said, mut silent) = (FIRST_WAIT, false, None, false);
        // Another connection tells of the same sound.
        let mut say = |notice: Notice| {
            if !matches!(notice, Notice::NoSound { .. }) || !std::mem::replace(&mut silent, true) {
                say(notice);
            }
        };
        loop {
            let before = self.frames();
            let connection = Connection::begin(&self.uri, &self.pipeline, &self.shared, self.pictures.as_ref())?;
            let end = self.follow(
                &connection,
                before,
                &mut || {
                    wait = FIRST_WAIT;
                    said = None;
                    if std::mem::replace(&mut connected_once, true) {
                        self.shared.counts.reconnects.fetch_add(1, Ordering::Relaxed);
                    }
                },
                &mut say,
            );
            drop(connection);
            let reason = match end {
                End::Stopped => return Ok(()),
                End::Failed(error) if !connected_once || matches!(error, SourceError::Scorer { .. }) => {
                    return Err(error);
                }
                End::Failed(error) => error.to_string(),
                End::Lost(reason) => reason,
            };
            if said.as_ref() != Some(&reason) {
                say(Notice::Lost { reason: reason.clone() });
                said = Some(reason);
            }
            if self.sleep(wait) {
                return Ok(());
            }
            wait = (2 * wait).min(LONGEST_WAIT);
        }
    }

    fn frames(&self) -> u64 {
        self.shared.counts.frames.load(Ordering::Relaxed)
    }

    /// Until a connection ends.
    fn follow(
        &self,
        connection: &Connection,
        before: u64,
        connected: &mut dyn FnMut(),
        say: &mut dyn FnMut(Notice),
    ) -> End {
        let kinds = [
            gst::MessageType::Error,
            gst::MessageType::Eos,
            gst::MessageType::StreamCollection,
            gst::MessageType::Application,
            gst::MessageType::Latency,
        ];
        let (mut frames, mut latest) = (before, Instant::now());
        loop {
            if self.stop.asked.load(Ordering::Relaxed) {
                return End::Stopped;
            }
            let message = self.stop.bus.timed_pop_filtered(LOOK, &kinds);
            if self.frames() != frames {
                if frames == before {
                    connected();
                    say(Notice::Connected);
                }
                (frames, latest) = (self.frames(), Instant::now());
            } else if latest.elapsed() > SILENCE {
                return End::Lost(format!("no picture came for {} s", SILENCE.as_secs()));
            }
            let Some(message) = message else { continue };
            match message.view() {
                gst::MessageView::Eos(_) if self.shared.pace.ends() => return End::Stopped,
                // What shows the pictures in time has to know how late they come.
                gst::MessageView::Latency(_) => drop(self.pipeline.recalculate_latency()),
                gst::MessageView::Error(error) if connection.owns(&message) => return self.failure(&error.error()),
                gst::MessageView::Error(error) if self.is_of_pictures(&message) => {
                    let reason = self.secrets.hide(&error.error().to_string());
                    return End::Failed(SourceError::Scorer { camera: self.camera(), reason });
                }
                gst::MessageView::StreamCollection(_) if connection.owns(&message) => {
                    connection.note_collection(&message)
                }
                gst::MessageView::Application(told) if connection.owns(&message) => {
                    let Some(structure) = told.structure() else { continue };
                    let codec = structure.get::<String>("codec").unwrap_or_default();
                    match structure.name().as_str() {
                        ENDED if !self.shared.pace.ends() => return End::Lost("the camera ended the stream".into()),
                        UNFIT if codec.starts_with("audio/") => say(Notice::NoSound { codec }),
                        UNFIT => return End::Failed(SourceError::Codec { camera: self.camera(), codec }),
                        _ => {}
                    }
                }
                _ => {}
            }
            if connection.has_no_video() {
                return End::Failed(SourceError::NoVideo { camera: self.camera() });
            }
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
        End::Failed(match (error.kind::<gst::ResourceError>(), error.kind::<gst::CoreError>()) {
            (Some(gst::ResourceError::NotAuthorized), _) => SourceError::Password { camera },
            (Some(gst::ResourceError::NotFound), _) => SourceError::NotFound { camera, reason },
            (_, Some(gst::CoreError::MissingPlugin)) => SourceError::Broken { camera, reason },
            _ => return End::Lost(reason),
        })
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
    fn drop(&mut self) {
        // Going down can't fail in a way that matters to anybody.
        let _ = self.pipeline.set_state(gst::State::Null);
        self.stop.bus.unset_sync_handler();
    }
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
    /// Waiting may mend it.
    Lost(String),
    /// Waiting mends it only if it had worked before.
    Failed(SourceError),
}
