//! Video files and URIs in, decoded pictures out: for the binaries. The element gets its pictures from its pipeline.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use gst::prelude::*;
use thiserror::Error;

use crate::{
    CAT,
    edit_list::{self, Told},
    missing::Missing,
    scaler::{ScaleError, Scaler, nominal_spacing},
    secrets,
    stall::{self, Stall},
    timecode::{
        Number, Start, quicktime,
        stream::{self, Heard},
    },
};
use desumnet_frames::{
    clip::{Frame, Geometry},
    frame_rate::FrameRate,
    segmenter::{Input, Segment, Segmenter, Stride},
    shots::Track,
    times::Times,
};

/// Why a video can't be read.
#[derive(Debug, Error)]
pub enum DecodeError {
    #[error("{video}: no such file; check the path")]
    Missing { video: String },
    #[error("{video} has no video stream; give a file with a picture")]
    NoVideo { video: String },
    #[error("{video} has no frames; give a video with a picture")]
    Empty { video: String },
    #[error("{video} is a still picture, of which no moment matters more; give a video")]
    Still { video: String },
    #[error(
        "{video} can't be decoded: {reason}; play it with `gst-play-1.0` to see whether the file or a plugin is at fault"
    )]
    Broken { video: String, reason: String },
    #[error("{video} can't be decoded: {missing}")]
    Plugin { video: String, missing: Missing },
    #[error(
        "{video}: nothing more came of it for {} s; check the disk or the network that it is on. Where those are well, its decoder hangs, as GStreamer's does on many GIFs: convert it with another program",
        stall::LIMIT.as_secs()
    )]
    Stalled { video: String },
    #[error("{video}: {source}")]
    Picture { video: String, source: ScaleError },
    #[error("{}", Missing::element(.0))]
    Element(&'static str),
}

/// A decoded picture with its times, ns.
pub struct Picture {
    /// Time in the video: 0 is its first picture, whatever its container counts from.
    pub pts: Option<u64>,
    pub duration: Option<u64>,
    sample: gst::Sample,
}

impl Picture {
    fn of(sample: gst::Sample, times: &mut Times) -> Self {
        let (buffer, segment) = (sample.buffer(), sample.segment());
        let pts = buffer.and_then(|b| b.pts()).map(|pts| {
            let segment = segment.and_then(|segment| segment.downcast_ref::<gst::ClockTime>());
            segment.and_then(|segment| segment.to_stream_time(pts)).unwrap_or(pts).nseconds()
        });
        let duration = buffer.and_then(|b| b.duration()).map(gst::ClockTime::nseconds);
        let pts = times.next(pts, duration).map(|moment| moment.time);
        Self { pts, duration, sample }
    }

    /// The rate in its caps.
    pub fn frame_rate(&self) -> Option<FrameRate> {
        let fraction = self.sample.caps()?.structure(0)?.get::<gst::Fraction>("framerate").ok()?;
        let (numerator, denominator) = (fraction.numer().try_into().ok()?, fraction.denom().try_into().ok()?);
        Some(FrameRate { numerator, denominator })
    }

    /// The pixels with the caps that describe them.
    pub fn sample(&self) -> &gst::Sample {
        &self.sample
    }

    /// The pixels, as the decoder's (or its filter's) caps describe them.
    pub fn into_buffer(self) -> Option<gst::Buffer> {
        self.sample.buffer_owned()
    }
}

/// Decodes the first video stream of a file, picture by picture.
pub struct Decoder {
    video: String,
    pipeline: gst::Pipeline,
    sink: gst_app::AppSink,
    geometry: Geometry,
    scaler: Option<(gst::Caps, Scaler)>,
    times: Times,
    sound: Arc<AtomicBool>,
    /// Time of the first picture as the container counts, ns.
    first_ns: Option<u64>,
    /// Of the first picture, as the stream tells it.
    timecode: Option<Start>,
    told: Told,
    heard: Heard,
    /// Streams that no plugin decodes.
    missing: Vec<Missing>,
}

/// The URI of a path, or the URI itself.
///
/// # Errors
/// [`DecodeError::Missing`]
pub fn uri_of(video: &str) -> Result<glib::GString, DecodeError> {
    if video.contains("://") {
        return Ok(video.into());
    }
    let missing = || DecodeError::Missing { video: video.into() };
    let path = Path::new(video).canonicalize().map_err(|_| missing())?;
    glib::filename_to_uri(path, None).map_err(|_| missing())
}

/// The file that a path or a URI names, if it is one of this machine.
pub fn local_path(video: &str) -> Option<PathBuf> {
    if video.contains("://") { glib::filename_from_uri(video).ok().map(|(path, _)| path) } else { Some(video.into()) }
}

/// A video's first picture.
pub struct First {
    /// Its time as the container counts, ns: transport streams begin up to a second before it.
    pub ns: u64,
    /// Of its pixels.
    pub caps: gst::Caps,
}

impl First {
    /// Of a path or URI.
    ///
    /// # Errors
    /// [`DecodeError`], by what is wrong with the file.
    pub fn of(video: &str) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::open(video)?;
        let picture = decoder.next_picture()?.ok_or_else(|| DecodeError::Empty { video: video.into() })?;
        let caps = picture.sample.caps_owned().unwrap_or_else(gst::Caps::new_any);
        Ok(Self { ns: decoder.first_ns(), caps })
    }
}

impl Decoder {
    /// Opens a path or URI and waits until it plays. Frames will be of the paper's size.
    ///
    /// # Errors
    /// [`DecodeError`], by what is wrong with the file.
    pub fn open(video: &str) -> Result<Self, DecodeError> {
        Self::through(video, None)
    }

    /// The same, with the pictures passing through `filter` (an element or a bin) first.
    ///
    /// # Errors
    /// [`DecodeError`], by what is wrong with the file.
    pub fn through(video: &str, filter: Option<gst::Element>) -> Result<Self, DecodeError> {
        let uri = uri_of(video)?;
        gst::info!(CAT, "Opening {}", secrets::hide(&uri));
        let pipeline = gst::Pipeline::new();
        let (told, heard) = (edit_list::play_to_the_end(&pipeline), stream::listen(&pipeline));
        let source = gst::ElementFactory::make("uridecodebin")
            .property("uri", &uri)
            .build()
            .map_err(|_| DecodeError::Element("uridecodebin"))?;
        let sink = gst_app::AppSink::builder()
            .caps(&gst::Caps::new_empty_simple("video/x-raw"))
            .sync(false)
            .max_buffers(4)
            .build();
        let broken = |reason: String| DecodeError::Broken { video: video.into(), reason };
        pipeline.add_many([&source, sink.upcast_ref()]).map_err(|e| broken(e.to_string()))?;
        let mut target = sink.static_pad("sink").ok_or(DecodeError::Element("appsink"))?;
        if let Some(filter) = filter {
            pipeline.add(&filter).and_then(|()| filter.link(&sink)).map_err(|e| broken(e.to_string()))?;
            target = filter.static_pad("sink").ok_or_else(|| broken("the filter takes nothing in".into()))?;
        }
        let unlinked = target.downgrade();
        let sound = Arc::new(AtomicBool::new(false));
        let has_sound = sound.clone();
        source.connect_pad_added(move |_, pad| {
            let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
            gst::debug!(CAT, "A stream of it: {caps:?}");
            if caps.structure(0).is_some_and(|caps| caps.name().starts_with("audio/")) {
                has_sound.store(true, Ordering::Relaxed);
            }
            // Only the first video stream fits; that none did is seen when all pads are there.
            if !target.is_linked() {
                let _ = pad.link(&target);
            }
        });
        let weak = pipeline.downgrade();
        source.connect_no_more_pads(move |source| {
            let linked = unlinked.upgrade().is_some_and(|pad| pad.is_linked());
            if let (false, Some(pipeline)) = (linked, weak.upgrade()) {
                let structure = gst::Structure::new_empty(NO_VIDEO);
                let _ = pipeline.post_message(gst::message::Application::builder(structure).src(source).build());
            }
        });
        let mut decoder = Self {
            video: video.into(),
            pipeline,
            sink,
            geometry: Geometry::PAPER,
            scaler: None,
            times: Times::default(),
            sound,
            first_ns: None,
            timecode: None,
            told,
            heard,
            missing: Vec::new(),
        };
        if decoder.pipeline.set_state(gst::State::Playing).is_err() {
            return Err(decoder.failure().unwrap_or_else(|| broken("it does not start to play".into())));
        }
        Ok(decoder)
    }

    /// Length, ns, where the file tells it.
    pub fn duration(&self) -> Option<u64> {
        let asked = || self.pipeline.query_duration::<gst::ClockTime>().map(gst::ClockTime::nseconds);
        let duration = self.told.duration().or_else(asked);
        duration.map(|duration| duration.saturating_sub(self.first_ns()))
    }

    /// Time of the first picture as the container counts, ns; known with the first picture.
    pub fn first_ns(&self) -> u64 {
        self.first_ns.unwrap_or(0)
    }

    /// The timecode that the stream gives its first picture: `None` before that, and where it gives none.
    fn timecode_of(&self, picture: &Picture) -> Option<Start> {
        if let Some(meta) = picture.sample.buffer().and_then(|buffer| buffer.meta::<gst_video::VideoTimeCodeMeta>()) {
            let code = meta.tc();
            let (fps, drop) = (code.fps(), code.flags().contains(gst_video::VideoTimeCodeFlags::DROP_FRAME));
            let [hours, minutes, seconds, frames] =
                [code.hours(), code.minutes(), code.seconds(), code.frames()].map(u64::from);
            let second = u64::try_from((fps.numer() + fps.denom() - 1).checked_div(fps.denom())?).ok();
            return Some(Start { number: Number { hours, minutes, seconds, frames, drop }, second });
        }
        // Matroska has it in a tag.
        let mut number = None;
        self.sink.static_pad("sink")?.sticky_events_foreach(|event| {
            if let gst::EventView::Tag(event) = event.view() {
                for comment in event.tag().iter_tag::<gst::tags::ExtendedComment>() {
                    let tag = comment.get().split_once('=');
                    let code = tag.filter(|(key, _)| key.eq_ignore_ascii_case("timecode"));
                    number = number.or(code.and_then(|(_, code)| code.parse::<Number>().ok()));
                }
            }
            std::ops::ControlFlow::Continue(gst::EventForeachAction::Keep)
        });
        number.map(|number| Start { number, second: None }).or(self.heard.start())
    }

    /// Whether the video has a sound track; known with the first picture.
    pub fn has_sound(&self) -> bool {
        self.sound.load(Ordering::Relaxed)
    }

    /// The next picture; `None` at the end.
    ///
    /// # Errors
    /// [`DecodeError`], by what is wrong with the file.
    pub fn next_picture(&mut self) -> Result<Option<Picture>, DecodeError> {
        let mut stall = Stall::new(stall::LIMIT);
        loop {
            if let Some(sample) = self.sink.try_pull_sample(gst::ClockTime::from_mseconds(50)) {
                let mut picture = Picture::of(sample, &mut self.times);
                if self.first_ns.is_none() {
                    self.first_ns = Some(picture.pts.unwrap_or(0));
                    self.timecode = self.timecode_of(&picture);
                }
                picture.pts = picture.pts.map(|pts| pts.saturating_sub(self.first_ns()));
                return Ok(Some(picture));
            }
            if let Some(error) = self.failure() {
                return Err(error);
            }
            if self.sink.is_eos() {
                return Ok(None);
            }
            if stall.is_over(&self.pipeline) {
                return Err(DecodeError::Stalled { video: self.video.clone() });
            }
        }
    }

    /// The analysis frame of a picture.
    ///
    /// # Errors
    /// [`DecodeError::Picture`]
    pub fn scale(&mut self, picture: &Picture) -> Result<Frame, DecodeError> {
        let failed = |source| DecodeError::Picture { video: self.video.clone(), source };
        let unreadable = || failed(ScaleError::Buffer("a picture".into()));
        let (caps, buffer) = picture.sample.caps().zip(picture.sample.buffer()).ok_or_else(unreadable)?;
        if self.scaler.as_ref().is_none_or(|(made_for, _)| made_for.as_ref() != caps) {
            let info = gst_video::VideoInfo::from_caps(caps).map_err(|_| unreadable())?;
            self.scaler = Some((caps.to_owned(), Scaler::to(self.geometry, &info).map_err(failed)?));
        }
        let (_, scaler) = self.scaler.as_mut().ok_or_else(unreadable)?;
        scaler.scale(buffer).map_err(|source| DecodeError::Picture { video: self.video.clone(), source })
    }

    /// What went wrong, if anything did.
    fn failure(&mut self) -> Option<DecodeError> {
        let bus = self.pipeline.bus()?;
        let kinds = [gst::MessageType::Error, gst::MessageType::Application, gst::MessageType::Element];
        while let Some(message) = bus.pop_filtered(&kinds) {
            let video = self.video.clone();
            let error = match message.view() {
                gst::MessageView::Element(_) => {
                    self.missing.extend(Missing::of_message(&message));
                    continue;
                }
                gst::MessageView::Error(error) => DecodeError::Broken { video, reason: error.error().to_string() },
                _ => DecodeError::NoVideo { video },
            };
            return Some(DecodeError::for_want_of(&self.missing, error));
        }
        None
    }
}

impl DecodeError {
    /// The error, or the want of a plugin where that may be what is behind it.
    pub fn for_want_of(missing: &[Missing], error: Self) -> Self {
        match (error, missing.iter().find(|missing| missing.hides_pictures())) {
            (Self::Broken { video, .. } | Self::NoVideo { video }, Some(missing)) => {
                Self::Plugin { video, missing: missing.clone() }
            }
            (error, _) => error,
        }
    }
}

/// Name of the message that says that a file's streams are known and none is video.
const NO_VIDEO: &str = "desumnet-no-video";

impl Drop for Decoder {
    fn drop(&mut self) {
        stall::stop(&self.pipeline);
    }
}

/// A video's segments, in order.
pub struct Segments {
    decoder: Decoder,
    segmenter: Segmenter,
    caps: Option<gst::Caps>,
    /// Cut short by the frame that waits.
    waiting: Option<Picture>,
    frame_rate: Option<FrameRate>,
    /// Times of all pictures so far, ns.
    times: Vec<u64>,
    shots: Option<Track>,
}

impl Segments {
    /// Of clips of this geometry.
    ///
    /// # Errors
    /// [`DecodeError`]
    pub fn open(video: &str, stride: Stride, geometry: Geometry) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::open(video)?;
        decoder.geometry = geometry;
        let segmenter = Segmenter::new(stride, geometry);
        Ok(Self { decoder, segmenter, caps: None, waiting: None, frame_rate: None, times: Vec::new(), shots: None })
    }

    /// The same, and finds shots in the frames that are sampled.
    #[must_use]
    pub fn with_shots(self) -> Self {
        let track = Track::new(self.decoder.geometry);
        Self { shots: Some(track), ..self }
    }

    /// Start and duration, ns, of every shot of a video that ends at `end`, ns: after the last segment, and only
    /// [`Self::with_shots`].
    pub fn take_shots(&mut self, end: u64) -> Vec<(u64, u64)> {
        self.shots.take().map(|track| track.finish(end)).unwrap_or_default()
    }

    /// Length of the video, ns, where the file tells it.
    pub fn duration(&self) -> Option<u64> {
        self.decoder.duration()
    }

    /// That the pictures so far keep to: 0/1 where they come at no fixed rate.
    pub fn frame_rate(&self) -> FrameRate {
        FrameRate::of(&self.times, self.frame_rate)
    }

    /// As the file tells it: known with the first segment.
    pub fn told_rate(&self) -> Option<FrameRate> {
        self.frame_rate
    }

    /// Time of the first picture as the container counts, ns: known with the first segment.
    pub fn first_ns(&self) -> u64 {
        self.decoder.first_ns()
    }

    /// Timecode of the first picture, known with the first segment, where the file has one and the frame rate is fixed.
    pub fn timecode(&self) -> Option<Number> {
        let by_track = local_path(&self.decoder.video).and_then(|path| quicktime::start(&path));
        by_track.or(self.decoder.timecode).and_then(|start| start.at(self.frame_rate()))
    }

    /// Whether the video has a sound track: known with the first segment.
    pub fn has_sound(&self) -> bool {
        self.decoder.has_sound()
    }

    /// Goes on at a time in the video, ns; false where the source can't. The next segment begins there.
    pub fn seek(&mut self, time: u64) -> bool {
        let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE;
        let time = gst::ClockTime::from_nseconds(self.decoder.first_ns().saturating_add(time));
        let found = self.decoder.pipeline.seek_simple(flags, time).is_ok();
        gst::debug!(CAT, "Seeking to {time}: {}", if found { "done" } else { "not possible here" });
        self.waiting = None;
        self.decoder.times = Times::default();
        self.segmenter.reset();
        found
    }

    fn advance(&mut self) -> Result<Option<Segment>, DecodeError> {
        loop {
            let picture = match self.waiting.take() {
                Some(picture) => picture,
                None => match self.decoder.next_picture()? {
                    Some(picture) => {
                        self.times.extend(picture.pts);
                        picture
                    }
                    None => return Ok(self.segmenter.finish()),
                },
            };
            let new_caps = picture.sample.caps() != self.caps.as_deref();
            if (new_caps || self.segmenter.breaks_before(picture.pts))
                && let Some(segment) = self.segmenter.finish()
            {
                self.waiting = Some(picture);
                return Ok(Some(segment));
            }
            if new_caps {
                self.frame_rate = self.frame_rate.or(picture.frame_rate());
                self.caps = picture.sample.caps_owned();
                let info = self.caps.as_ref().and_then(|caps| gst_video::VideoInfo::from_caps(caps).ok());
                self.segmenter.set_nominal_spacing(info.as_ref().map_or(0, nominal_spacing));
            }
            let frame = if self.segmenter.samples_next() { Some(self.decoder.scale(&picture)?) } else { None };
            if let (Some(shots), Some(frame)) = (&mut self.shots, &frame) {
                shots.push(frame, picture.pts);
            }
            let input = Input { pts: picture.pts, duration: picture.duration, frame };
            if let (_, Some(segment)) = self.segmenter.push(input) {
                return Ok(Some(segment));
            }
        }
    }
}

impl Iterator for Segments {
    type Item = Result<Segment, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}
