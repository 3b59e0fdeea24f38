//! Cuts a file by a plan, with its sound: encoded anew and to the frame (`encode`), or copied from key frame to key frame
//! ([`copy`]).

mod container;
pub mod copy;
mod delay;
mod encode;
mod ending;
mod grid;
mod h264;
mod matroska;
mod order;
mod splice;
mod tone;
mod trim;

use std::{
    fmt,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    sync::{
        Arc, Once,
        atomic::{AtomicU64, Ordering},
    },
};

use gst::prelude::*;
use thiserror::Error;

pub use self::container::{Container, UnknownContainer};
use self::tone::Hdr;
use crate::{
    CAT,
    decode::{DecodeError, First, uri_of},
    edit_list,
    missing::Missing,
    secrets,
    stall::{self, Stall},
};
use desumnet_decide::plan::Plan;
use desumnet_files::whole_file::Unfinished;

/// How often progress is told.
const TICK: gst::ClockTime = gst::ClockTime::from_mseconds(100);
/// How much shorter than planned a file may be before it is told, ns: frames and packets are not cut.
const NOTED: u64 = 1_000_000_000;
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
    /// HDR stays what it is, in HEVC; else it becomes SDR. What is copied stays in any case.
    pub keep_hdr: bool,
    /// Copy what is encoded as it is. The plan's parts must begin and end at places of this grid: [`copy::Grid::fit_plan`].
    pub copy: Option<&'a copy::Grid>,
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
    #[error("{}", Missing::element(.0))]
    Element(String),
    #[error("{video} can't be cut into {path}: {missing}")]
    Plugin { video: String, path: PathBuf, missing: Missing },
    #[error("{path} can't keep HDR: name it mp4, mov or mkv, or leave --hdr out")]
    NoHdr { path: PathBuf },
    #[error("{video} can't be copied: {reason}; leave --copy out")]
    Uncopied { video: String, reason: String },
    #[error("{video} can't be cut into {path}: {reason}")]
    Failed { video: String, path: PathBuf, reason: String },
}

/// Something that was asked for and is not in the file that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// A stream that can't be decoded or copied.
    Stream(Missing),
    /// Pictures: there are as many ns less than the plan has.
    Pictures(u64),
}

impl Lack {
    /// So many ns of pictures; `None`: too few to tell of.
    pub fn of_pictures(ns: u64) -> Option<Self> {
        (ns > NOTED).then_some(Self::Pictures(ns))
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Stream(missing) => write!(f, "a stream of it is left out: {missing}"),
            Self::Pictures(ns) => {
                write!(f, "{:.1} s of what was to be kept has no pictures, or they can't be read", *ns as f64 / 1e9)
            }
        }
    }
}

/// Cuts a file. `progress` is told how much of the output is there, ns. Tells what the output lacks.
///
/// # Errors
/// [`CutError`]; nothing is left of the output then, and what was there before stays.
pub fn cut(job: &Job, progress: impl FnMut(u64)) -> Result<Vec<Lack>, CutError> {
    let mut container = Container::of(job.output)?;
    let uri = uri_of(job.video)?;
    let unwritable = |source| CutError::Output { path: job.output.into(), source };
    let file = Unfinished::new(job.output).map_err(unwritable)?;
    let first = job.copy.is_none().then(|| First::of(job.video)).transpose()?;
    let hdr = first.as_ref().and_then(|first| Hdr::of(&first.caps));
    if hdr.is_some() && job.keep_hdr {
        container = container.of_hdr().ok_or_else(|| CutError::NoHdr { path: job.output.into() })?;
        if gst::ElementFactory::find(container::HDR_ENCODER).is_none() {
            return Err(CutError::Element(container::HDR_ENCODER.into()));
        }
    }
    gst::info!(
        CAT,
        "Cutting {} parts of {} into {}: {}",
        job.plan.parts().len(),
        secrets::hide(job.video),
        job.output.display(),
        if job.copy.is_some() { "as they are encoded" } else { "encoded anew" }
    );
    container::prefer_encoder();
    let (encoder, sink) = (make(if job.copy.is_some() { container.muxer() } else { "encodebin" })?, make("fdsink")?);
    // Not by its name: it would come again after an interrupt has removed it.
    sink.set_property("fd", file.file().as_raw_fd());
    let shown = Shown::default();
    match encoder.downcast_ref::<gst::Bin>() {
        Some(bin) => {
            let shown = shown.clone();
            bin.connect_deep_element_added(move |_, _, element| {
                gst::debug!(CAT, "Encoding with {}", element.name());
                container::set_up(element, &shown);
            });
        }
        None => container::set_up(&encoder, &shown),
    }
    let mut pipeline = Running::new();
    let linked = pipeline.pipeline.add_many([&encoder, &sink]).and_then(|()| encoder.link(&sink));
    linked.map_err(|e| CutError::Element(e.to_string()))?;
    let (playing, shown_too) = (pipeline.pipeline.downgrade(), shown.clone());
    let making = Making { pipeline: playing, encoder, container, sound: job.sound, shown: shown_too };
    let plan = match job.copy {
        Some(grid) => {
            copy::build(making, &uri, job.plan, grid)?;
            None
        }
        None => {
            let plan = job.plan.clone().counted_from(first.map_or(0, |first| first.ns));
            let written = tempfile::NamedTempFile::with_suffix(".json").map_err(CutError::Plan)?;
            serde_json::to_writer(&written, &plan).map_err(|e| CutError::Plan(e.into()))?;
            encode::build(making, &uri, written.path(), hdr.filter(|_| !job.keep_hdr))?;
            Some(written)
        }
    };
    pipeline.run(progress).map_err(|stop| stop.of(job, &pipeline.missing))?;
    let lost =
        pipeline.missing.drain(..).filter(|missing| missing.is_of("video") || job.sound && missing.is_of("audio"));
    let mut lacks: Vec<Lack> = lost.map(Lack::Stream).collect();
    gst::debug!(CAT, "{} ns of pictures are written, {} are planned", shown.ns(), job.plan.played_ns());
    lacks.extend(Lack::of_pictures(job.plan.played_ns().saturating_sub(shown.ns())));
    drop((pipeline, plan));
    let hidden = job.copy.map_or(0, |grid| copy::hidden(grid, job.plan));
    if hidden > 0 && container.has_edits() {
        trim::hide_start(file.file(), hidden).map_err(unwritable)?;
    }
    matroska::mend(file.file()).map_err(unwritable)?;
    file.finish().map_err(unwritable)?;
    Ok(lacks)
}

fn make(factory: &str) -> Result<gst::Element, CutError> {
    gst::ElementFactory::make(factory).build().map_err(|_| CutError::Element(factory.into()))
}

/// How long the pictures of the output are in all, and how long the last one is, ns.
#[derive(Clone, Default)]
struct Shown(Arc<[AtomicU64; 2]>);

impl Shown {
    fn ns(&self) -> u64 {
        self.0[0].load(Ordering::Relaxed)
    }

    fn last(&self) -> gst::ClockTime {
        gst::ClockTime::from_nseconds(self.0[1].load(Ordering::Relaxed))
    }

    /// Follows the pictures that pass a pad; they play from `start` on.
    fn follow(&self, pad: &gst::Pad, start: gst::ClockTime) {
        let of_all = self.0.clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let times = info.buffer().and_then(|buffer| Some((buffer.pts()?, buffer.duration().unwrap_or_default())));
            if let Some((pts, duration)) = times
                && let Some(shown) = (pts + duration).checked_sub(start).map(gst::ClockTime::nseconds)
                && of_all[0].fetch_max(shown, Ordering::Relaxed) < shown
            {
                of_all[1].store(duration.nseconds(), Ordering::Relaxed);
            }
            gst::PadProbeReturn::Ok
        });
    }
}

/// A pipeline whose end is there: what goes before it depends on the file's streams, which are known only when it plays.
struct Making {
    pipeline: glib::WeakRef<gst::Pipeline>,
    encoder: gst::Element,
    container: Container,
    sound: bool,
    shown: Shown,
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
            matroska::forget_titles(pad);
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

/// How its container says that the picture is to be turned; `None`: not at all.
fn orientation(video: &gst::Pad) -> Option<String> {
    let mut found = None;
    video.sticky_events_foreach(|event| {
        if let gst::EventView::Tag(tag) = event.view() {
            let orientation = tag.tag().get::<gst::tags::ImageOrientation>();
            found = orientation.map(|orientation| orientation.get().to_string()).or(found.take());
        }
        std::ops::ControlFlow::Continue(gst::EventForeachAction::Keep)
    });
    found.filter(|orientation| orientation != "rotate-0")
}

fn request(element: &gst::Element, template: &str) -> Result<gst::Pad, Unlinked> {
    element.request_pad_simple(template).ok_or_else(|| Some(format!("{} gives no pad {template}", element.name())))
}

/// Stops when dropped.
struct Running {
    pipeline: gst::Pipeline,
    /// Streams that no plugin decodes.
    missing: Vec<Missing>,
}

impl Drop for Running {
    fn drop(&mut self) {
        stall::stop(&self.pipeline);
    }
}

/// Why a pipeline stopped before its end.
enum Stop {
    NoVideo,
    Full,
    Unwritable(String),
    Unreadable(String),
    Stalled,
    Failed(String),
}

impl Running {
    fn new() -> Self {
        let pipeline = gst::Pipeline::new();
        edit_list::play_to_the_end(&pipeline);
        Self { pipeline, missing: Vec::new() }
    }

    /// Plays to the end. `progress` is told the time, ns.
    fn run(&mut self, mut progress: impl FnMut(u64)) -> Result<(), Stop> {
        let bus = self.pipeline.bus().ok_or_else(|| Stop::Failed("the pipeline has no bus".into()))?;
        let started = self.pipeline.set_state(gst::State::Playing).is_ok();
        let kinds =
            [gst::MessageType::Eos, gst::MessageType::Error, gst::MessageType::Application, gst::MessageType::Element];
        let mut stall = Stall::new(stall::LIMIT);
        loop {
            let Some(message) = bus.timed_pop_filtered(if started { TICK } else { gst::ClockTime::ZERO }, &kinds)
            else {
                if !started {
                    return Err(Stop::Failed("the pipeline does not start".into()));
                }
                if stall.is_over(&self.pipeline) {
                    return Err(Stop::Stalled);
                }
                progress(self.pipeline.query_position::<gst::ClockTime>().map_or(0, gst::ClockTime::nseconds));
                continue;
            };
            return match message.view() {
                gst::MessageView::Eos(_) => Ok(()),
                gst::MessageView::Error(error) => Err(Stop::by(error)),
                gst::MessageView::Element(_) => {
                    self.missing.extend(Missing::of_message(&message));
                    continue;
                }
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
        let unreadable = [
            gst::StreamError::TypeNotFound,
            gst::StreamError::WrongType,
            gst::StreamError::Demux,
            gst::StreamError::Decode,
        ];
        if unreadable.into_iter().any(|kind| reason.matches(kind)) {
            return Self::Unreadable(reason.to_string());
        }
        // What an element says for programmers tells more than its general sentence.
        let detail = error.debug().and_then(|debug| debug.lines().last().map(str::to_owned));
        Self::Failed(detail.map_or(reason.to_string(), |detail| format!("{reason} ({detail})")))
    }

    fn of(self, job: &Job, missing: &[Missing]) -> CutError {
        let (video, path) = (job.video.to_owned(), job.output.to_owned());
        match (self, missing.iter().find(|missing| missing.hides_pictures())) {
            (Self::Full, _) => CutError::Full { path },
            (Self::Unwritable(reason), _) => CutError::Output { path, source: std::io::Error::other(reason) },
            (Self::Stalled, _) => DecodeError::Stalled { video }.into(),
            (Self::NoVideo | Self::Unreadable(_) | Self::Failed(_), Some(missing)) => {
                CutError::Plugin { video, path, missing: missing.clone() }
            }
            (Self::Unreadable(reason), None) => DecodeError::Broken { video, reason }.into(),
            (Self::NoVideo, None) => DecodeError::NoVideo { video }.into(),
            (Self::Failed(reason), None) => CutError::Failed { video, path, reason },
        }
    }
}
