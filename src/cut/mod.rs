//! Cuts a file by a plan: decodes it, lets [`crate::elements::skim`] follow the plan, and encodes what is left, with its sound.

mod container;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use gst::prelude::*;
use thiserror::Error;

pub use self::container::{Container, UnknownContainer};
use crate::{
    decode::{DecodeError, uri_of},
    summary::plan::Plan,
    whole_file::Unfinished,
};

/// How often progress is told.
const TICK: Duration = Duration::from_millis(100);
/// Name of the message by which a streaming thread gives up.
const FAILED: &str = "desumnet-cut-failed";
/// What [`crate::elements::skim`] can cut to the sample.
const SOUND: &str = "audio/x-raw,layout=interleaved,format={S16LE,S32LE,F32LE,F64LE}";

/// What to make of what.
pub struct Job<'a> {
    /// File or URI.
    pub video: &'a str,
    pub plan: &'a Plan,
    /// Written whole or not at all; its name tells the container and the codecs ([`Container`]).
    pub output: &'a Path,
    /// Whether its sound goes along.
    pub sound: bool,
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
pub fn cut(job: &Job, mut progress: impl FnMut(u64)) -> Result<(), CutError> {
    let container = Container::of(job.output)?;
    let uri = uri_of(job.video)?;
    let unwritable = |source| CutError::Output { path: job.output.into(), source };
    let file = Unfinished::new(job.output).map_err(unwritable)?;
    let plan = tempfile::NamedTempFile::with_suffix(".json").map_err(CutError::Plan)?;
    serde_json::to_writer(&plan, job.plan).map_err(|e| CutError::Plan(e.into()))?;
    let skim = make("desumskim")?;
    skim.set_property("plan", plan.path().to_string_lossy().as_ref());
    let encoder = Encoder { container, skim, pipeline: gst::Pipeline::new(), sound: job.sound };
    encoder.build(&uri, file.path())?;
    let pipeline = Running(encoder.pipeline);
    pipeline.run(job, &mut progress)?;
    drop(pipeline);
    file.finish().map_err(unwritable)
}

fn make(factory: &str) -> Result<gst::Element, CutError> {
    gst::ElementFactory::make(factory).build().map_err(|_| CutError::Element(factory.into()))
}

/// The pipeline as it is built: what the file holds is known only when it plays.
#[derive(Clone)]
struct Encoder {
    container: Container,
    skim: gst::Element,
    pipeline: gst::Pipeline,
    sound: bool,
}

impl Encoder {
    /// Source, skimmer, encoder and file.
    fn build(&self, uri: &str, output: &Path) -> Result<(), CutError> {
        let (source, encoder, sink) = (make("uridecodebin")?, make("encodebin")?, make("filesink")?);
        source.set_property("uri", uri);
        encoder.set_property("profile", self.container.profile());
        sink.set_property("location", output.to_string_lossy().as_ref());
        let bin = encoder.downcast_ref::<gst::Bin>().ok_or_else(|| CutError::Element("encodebin".into()))?;
        bin.connect_deep_element_added(|_, _, element| container::set_up(element));
        let linked = self.pipeline.add_many([&source, &self.skim, &encoder, &sink]).and_then(|()| encoder.link(&sink));
        linked.map_err(|e| CutError::Element(e.to_string()))?;
        let weak = self.pipeline.downgrade();
        let (skim, container, sound) = (self.skim.clone(), self.container, self.sound);
        source.connect_no_more_pads(move |source| {
            let Some(pipeline) = weak.upgrade() else { return };
            let this = Self { container, skim: skim.clone(), pipeline, sound };
            if let Err(reason) = this.link_streams(source, &encoder) {
                let structure = gst::Structure::builder(FAILED).field("reason", reason).build();
                let _ = this.pipeline.post_message(gst::message::Application::builder(structure).src(source).build());
            }
        });
        Ok(())
    }

    /// Links the first video stream and all sound through the skimmer; what else is there stays behind.
    fn link_streams(&self, source: &gst::Element, encoder: &gst::Element) -> Result<(), Option<String>> {
        let told = |e: glib::BoolError| Some(e.to_string());
        let of_kind = |kind: &str| {
            let pads = source.src_pads().into_iter();
            pads.filter(move |pad| caps_of(pad).structure(0).is_some_and(|caps| caps.name().starts_with(kind)))
                .collect()
        };
        let (videos, sounds): (Vec<gst::Pad>, Vec<gst::Pad>) = (of_kind("video/"), of_kind("audio/"));
        let video = videos.first().ok_or(None)?;
        let input = self.skim.static_pad("sink").ok_or_else(|| Some("desumskim has no sink pad".into()))?;
        let output = self.skim.static_pad("src").ok_or_else(|| Some("desumskim has no source pad".into()))?;
        self.link(&output, &request(encoder, "video_%u")?)?;
        let mut streams = vec![(video.clone(), self.video_filter(video), input)];
        for sound in sounds.into_iter().filter(|_| self.sound) {
            let input = request(&self.skim, "sink_%u")?;
            let name = input.name().replace("sink", "src");
            let output = self.skim.static_pad(&name).ok_or_else(|| Some(format!("desumskim has no pad {name}")))?;
            self.link(&output, &request(encoder, "audio_%u")?)?;
            streams.push((sound, format!("audioconvert ! {SOUND}"), input));
        }
        for (stream, filter, input) in streams {
            let filter = gst::parse::bin_from_description(&filter, true).map_err(|e| Some(e.to_string()))?;
            self.pipeline.add(&filter).map_err(told)?;
            let end = |name| filter.static_pad(name).ok_or_else(|| Some(format!("a filter has no pad {name}")));
            self.link(&end("src")?, &input)?;
            self.link(&stream, &end("sink")?)?;
            filter.sync_state_with_parent().map_err(told)?;
        }
        Ok(())
    }

    fn link(&self, from: &gst::Pad, to: &gst::Pad) -> Result<(), Option<String>> {
        from.link(to).map(drop).map_err(|e| Some(format!("{} does not fit {}: {e}", from.name(), to.name())))
    }

    /// Turns pictures upright, as players would, and leaves out an odd last column and row where the codec has no room for it.
    fn video_filter(&self, video: &gst::Pad) -> String {
        let info = gst_video::VideoInfo::from_caps(&caps_of(video)).ok();
        let odd = |side: u32| if self.container.wants_even_sizes() { side % 2 } else { 0 };
        let (right, bottom) = info.map_or((0, 0), |info| (odd(info.width()), odd(info.height())));
        let crop =
            if right + bottom > 0 { format!("videocrop right={right} bottom={bottom} ! ") } else { String::new() };
        format!("{crop}videoflip video-direction=auto")
    }
}

fn caps_of(pad: &gst::Pad) -> gst::Caps {
    pad.current_caps().unwrap_or_else(|| pad.query_caps(None))
}

fn request(element: &gst::Element, template: &str) -> Result<gst::Pad, Option<String>> {
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

impl Running {
    /// Plays to the end.
    fn run(&self, job: &Job, progress: &mut impl FnMut(u64)) -> Result<(), CutError> {
        let failed =
            |reason: &str| CutError::Failed { video: job.video.into(), path: job.output.into(), reason: reason.into() };
        let bus = self.0.bus().ok_or_else(|| failed("the pipeline has no bus"))?;
        let started = self.0.set_state(gst::State::Playing).is_ok();
        let ends = [gst::MessageType::Eos, gst::MessageType::Error, gst::MessageType::Application];
        loop {
            let patience = if started { TICK } else { Duration::ZERO };
            let patience = gst::ClockTime::try_from(patience).unwrap_or(gst::ClockTime::ZERO);
            let Some(message) = bus.timed_pop_filtered(patience, &ends) else {
                if !started {
                    return Err(failed("the pipeline does not start"));
                }
                progress(self.0.query_position::<gst::ClockTime>().map_or(0, gst::ClockTime::nseconds));
                continue;
            };
            return Err(match message.view() {
                gst::MessageView::Eos(_) => return Ok(()),
                gst::MessageView::Error(error) => explained(job, error),
                _ => match message.structure().and_then(|s| s.get::<Option<String>>("reason").ok()).flatten() {
                    Some(reason) => failed(&reason),
                    None => DecodeError::NoVideo { video: job.video.into() }.into(),
                },
            });
        }
    }
}

/// An error by where it comes from.
fn explained(job: &Job, error: &gst::message::Error) -> CutError {
    let (source, reason) = (error.src().cloned(), error.error());
    let full = reason.matches(gst::ResourceError::NoSpaceLeft);
    let factory = source.and_then(|source| source.downcast::<gst::Element>().ok()).and_then(|e| e.factory());
    if full {
        return CutError::Full { path: job.output.into() };
    }
    if factory.is_some_and(|factory| factory.name() == "filesink") {
        return CutError::Output { path: job.output.into(), source: std::io::Error::other(reason.to_string()) };
    }
    // What an element says for programmers tells more than its general sentence.
    let detail = error.debug().map(|debug| debug.lines().last().unwrap_or_default().to_owned());
    let reason = detail.map_or(reason.to_string(), |detail| format!("{reason} ({detail})"));
    CutError::Failed { video: job.video.into(), path: job.output.into(), reason }
}
