//! Cuts a file by a plan, with its sound: encoded anew and to the frame (`encode`), or copied from key frame to key frame
//! ([`copy`]).

mod container;
pub mod copy;
mod delay;
mod encode;
mod matroska;

use std::{
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    sync::{Arc, Once},
};

use gst::prelude::*;
use thiserror::Error;

pub use self::container::{Container, UnknownContainer};
use crate::{
    decode::{DecodeError, first_ns, uri_of},
    summary::plan::Plan,
    whole_file::Unfinished,
};

/// How often progress is told.
const TICK: gst::ClockTime = gst::ClockTime::from_mseconds(100);
/// Name of the message by which a streaming thread gives up.
const FAILED: &str = "desumnet-cut-failed";

/// What to make of what.
pub struct Job<'a> {
    /// File or URI.
    pub video: &'a str,
    pub plan: &'a Plan,
    /// Written whole or not at all; its name tells the container and the codecs ([`Container`]).
    pub output: &'a Path,
    /// Whether its sound goes along: of faster parts sped up with its pitch kept, of those faster than twice silent.
    pub sound: bool,
    /// Copy what is encoded as it is. The plan's parts must begin and end at key frames: [`copy::Grid::fit_plan`].
    pub copy: bool,
}

/// Why nothing was written.
#[derive(Debug, Error)]
pub enum CutError {
    #[error(transparent)]
    Container(#[from] UnknownContainer),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("{path} can't be written: {source}; check the folder and the free disk space")]
    Output { path: PathBuf, source: std::io::Error },
    #[error("{path} can't be written: the disk is full; make room, or write to another one")]
    Full { path: PathBuf },
    #[error("the plan can't be kept in the folder for temporary files: {0}; check TMPDIR and the free disk space")]
    Plan(std::io::Error),
    #[error("GStreamer lacks {0}: run `make setup`, which installs its plugins")]
    Element(String),
    #[error("{video} can't be cut into {path}: {reason}")]
    Failed { video: String, path: PathBuf, reason: String },
}

/// Cuts a file. `progress` is told how much of the output is there, ns.
///
/// # Errors
/// [`CutError`]; nothing is left of the output then, and what was there before stays.
pub fn cut(job: &Job, progress: impl FnMut(u64)) -> Result<(), CutError> {
    let container = Container::of(job.output)?;
    let uri = uri_of(job.video)?;
    let unwritable = |source| CutError::Output { path: job.output.into(), source };
    let file = Unfinished::new(job.output).map_err(unwritable)?;
    let plan = job.plan.clone().counted_from(first_ns(job.video)?);
    container::prefer_encoder();
    let (encoder, sink) = (make(if job.copy { container.muxer() } else { "encodebin" })?, make("fdsink")?);
    // Not by its name: it would come again after an interrupt has removed it.
    sink.set_property("fd", file.file().as_raw_fd());
    match encoder.downcast_ref::<gst::Bin>() {
        Some(bin) => drop(bin.connect_deep_element_added(|_, _, element| container::set_up(element))),
        None => container::set_up(&encoder),
    }
    let pipeline = Running(gst::Pipeline::new());
    let linked = pipeline.0.add_many([&encoder, &sink]).and_then(|()| encoder.link(&sink));
    linked.map_err(|e| CutError::Element(e.to_string()))?;
    let making = Making { pipeline: pipeline.0.downgrade(), encoder, container, sound: job.sound };
    if job.copy {
        copy::build(making, &uri, &plan)?;
        pipeline.run(progress).map_err(|stop| stop.of(job))?;
    } else {
        let written = tempfile::NamedTempFile::with_suffix(".json").map_err(CutError::Plan)?;
        serde_json::to_writer(&written, &plan).map_err(|e| CutError::Plan(e.into()))?;
        encode::build(making, &uri, written.path())?;
        pipeline.run(progress).map_err(|stop| stop.of(job))?;
    }
    drop(pipeline);
    matroska::mend(file.file()).map_err(unwritable)?;
    file.finish().map_err(unwritable)
}

fn make(factory: &str) -> Result<gst::Element, CutError> {
    gst::ElementFactory::make(factory).build().map_err(|_| CutError::Element(factory.into()))
}

/// A pipeline whose end is there: what goes before it depends on the file's streams, which are known only when it plays.
struct Making {
    pipeline: glib::WeakRef<gst::Pipeline>,
    encoder: gst::Element,
    container: Container,
    sound: bool,
}

/// Why streams could not be linked, for people; `None`: there is no video among them.
type Unlinked = Option<String>;

impl Making {
    /// When the pads of `source` are there, lets `link` have its first video and all its sound: what else is there stays behind.
    fn begin(
        self,
        source: &gst::Element,
        link: impl Fn(&Self, &gst::Pipeline, &gst::Pad, &[gst::Pad]) -> Result<(), Unlinked> + Send + Sync + 'static,
    ) {
        let complete = Arc::new((Once::new(), self, link));
        source.connect_pad_added(move |source, pad| {
            let (complete, source) = (complete.clone(), source.downgrade());
            // The first buffer of any comes when all pads have been added.
            pad.add_probe(gst::PadProbeType::BLOCK | gst::PadProbeType::BUFFER, move |_, _| {
                let (once, making, link) = &*complete;
                once.call_once(|| {
                    if let Some(source) = source.upgrade() {
                        making.link(&source, link);
                    }
                });
                gst::PadProbeReturn::Remove
            });
        });
    }

    fn link(
        &self,
        source: &gst::Element,
        link: &impl Fn(&Self, &gst::Pipeline, &gst::Pad, &[gst::Pad]) -> Result<(), Unlinked>,
    ) {
        let Some(pipeline) = self.pipeline.upgrade() else { return };
        let of_kind = |kind: &str| -> Vec<gst::Pad> {
            let fits = |pad: &gst::Pad| caps_of(pad).structure(0).is_some_and(|caps| caps.name().starts_with(kind));
            source.src_pads().into_iter().filter(fits).collect()
        };
        let sounds = if self.sound { of_kind("audio/") } else { Vec::new() };
        let linked = match of_kind("video/").first() {
            Some(video) => link(self, &pipeline, video, &sounds),
            None => Err(None),
        };
        if let Err(reason) = linked {
            let structure = gst::Structure::builder(FAILED).field("reason", reason).build();
            let _ = pipeline.post_message(gst::message::Application::builder(structure).src(source).build());
        }
    }
}

fn told(error: glib::BoolError) -> Unlinked {
    Some(error.to_string())
}

fn link_pads(from: &gst::Pad, to: &gst::Pad) -> Result<(), Unlinked> {
    from.link(to).map(drop).map_err(|e| Some(format!("{} does not fit {}: {e}", from.name(), to.name())))
}

fn pad_of(element: &gst::Element, name: &str) -> Result<gst::Pad, Unlinked> {
    element.static_pad(name).ok_or_else(|| Some(format!("{} has no pad {name}", element.name())))
}

fn caps_of(pad: &gst::Pad) -> gst::Caps {
    pad.current_caps().unwrap_or_else(|| pad.query_caps(None))
}

fn request(element: &gst::Element, template: &str) -> Result<gst::Pad, Unlinked> {
    element.request_pad_simple(template).ok_or_else(|| Some(format!("{} gives no pad {template}", element.name())))
}

/// Stops when dropped.
struct Running(gst::Pipeline);

impl Drop for Running {
    fn drop(&mut self) {
        // Going down can't fail in a way that matters to anybody.
        let _ = self.0.set_state(gst::State::Null);
    }
}

/// Why a pipeline stopped before its end.
enum Stop {
    NoVideo,
    Full,
    Unwritable(String),
    Failed(String),
}

impl Running {
    /// Plays to the end. `progress` is told the time, ns.
    fn run(&self, mut progress: impl FnMut(u64)) -> Result<(), Stop> {
        let bus = self.0.bus().ok_or_else(|| Stop::Failed("the pipeline has no bus".into()))?;
        let started = self.0.set_state(gst::State::Playing).is_ok();
        let ends = [gst::MessageType::Eos, gst::MessageType::Error, gst::MessageType::Application];
        loop {
            let Some(message) = bus.timed_pop_filtered(if started { TICK } else { gst::ClockTime::ZERO }, &ends) else {
                if !started {
                    return Err(Stop::Failed("the pipeline does not start".into()));
                }
                progress(self.0.query_position::<gst::ClockTime>().map_or(0, gst::ClockTime::nseconds));
                continue;
            };
            return match message.view() {
                gst::MessageView::Eos(_) => Ok(()),
                gst::MessageView::Error(error) => Err(Stop::by(error)),
                _ => {
                    let reason = message.structure().and_then(|s| s.get::<Option<String>>("reason").ok()).flatten();
                    Err(reason.map_or(Stop::NoVideo, Stop::Failed))
                }
            };
        }
    }
}

impl Stop {
    /// By what kind of error it is and where it comes from.
    fn by(error: &gst::message::Error) -> Self {
        let reason = error.error();
        let element = error.src().and_then(|source| source.downcast_ref::<gst::Element>()).and_then(|e| e.factory());
        if reason.matches(gst::ResourceError::NoSpaceLeft) {
            return Self::Full;
        }
        if element.is_some_and(|factory| factory.name() == "fdsink") {
            return Self::Unwritable(reason.to_string());
        }
        // What an element says for programmers tells more than its general sentence.
        let detail = error.debug().and_then(|debug| debug.lines().last().map(str::to_owned));
        Self::Failed(detail.map_or(reason.to_string(), |detail| format!("{reason} ({detail})")))
    }

    fn of(self, job: &Job) -> CutError {
        let path = job.output.to_owned();
        match self {
            Self::NoVideo => DecodeError::NoVideo { video: job.video.into() }.into(),
            Self::Full => CutError::Full { path },
            Self::Unwritable(reason) => CutError::Output { path, source: std::io::Error::other(reason) },
            Self::Failed(reason) => CutError::Failed { video: job.video.into(), path, reason },
        }
    }
}
