//! Video files and URIs in, decoded pictures out: for the binaries. The element gets its pictures from its pipeline.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use gst::prelude::*;
use thiserror::Error;

use crate::{
    clip::{ClipError, Frame, Geometry, Scaler, nominal_spacing},
    frame_rate::FrameRate,
    segmenter::{Input, Segment, Segmenter, Stride},
    shots::Track,
    summary::times::Times,
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
    #[error(
        "{video} can't be decoded: {reason}; play it with `gst-play-1.0` to see whether the file or a plugin is at fault"
    )]
    Broken { video: String, reason: String },
    #[error("{video}: {source}")]
    Picture { video: String, source: ClipError },
    #[error("GStreamer lacks {0}: run `make setup`, which installs its plugins")]
    Element(&'static str),
}

/// A decoded picture with its times, ns.
pub struct Picture {
    /// Time in the video: 0 is where it begins to play, whatever its container counts from.
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
        let pipeline = gst::Pipeline::new();
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
        let decoder = Self {
            video: video.into(),
            pipeline,
            sink,
            geometry: Geometry::PAPER,
            scaler: None,
            times: Times::default(),
            sound,
        };
        if decoder.pipeline.set_state(gst::State::Playing).is_err() {
            return Err(decoder.failure().unwrap_or_else(|| broken("it does not start to play".into())));
        }
        Ok(decoder)
    }

    /// Length, ns, where the file tells it.
    pub fn duration(&self) -> Option<u64> {
        self.pipeline.query_duration::<gst::ClockTime>().map(gst::ClockTime::nseconds)
    }

    /// Whether the video has a sound track; known with the first picture.
    pub fn has_sound(&self) -> bool {
        self.sound.load(Ordering::Relaxed)
    }

    /// The next picture; `None` at the end.
    ///
    /// # Errors
    /// [`DecodeError::Broken`] or [`DecodeError::NoVideo`]
    pub fn next_picture(&mut self) -> Result<Option<Picture>, DecodeError> {
        loop {
            if let Some(sample) = self.sink.try_pull_sample(gst::ClockTime::from_mseconds(50)) {
                return Ok(Some(Picture::of(sample, &mut self.times)));
            }
            if let Some(error) = self.failure() {
                return Err(error);
            }
            if self.sink.is_eos() {
                return Ok(None);
            }
        }
    }

    /// The analysis frame of a picture.
    ///
    /// # Errors
    /// [`DecodeError::Picture`]
    pub fn scale(&mut self, picture: &Picture) -> Result<Frame, DecodeError> {
        let failed = |source| DecodeError::Picture { video: self.video.clone(), source };
        let unreadable = || failed(ClipError::Buffer("a picture".into()));
        let (caps, buffer) = picture.sample.caps().zip(picture.sample.buffer()).ok_or_else(unreadable)?;
        if self.scaler.as_ref().is_none_or(|(made_for, _)| made_for.as_ref() != caps) {
            let info = gst_video::VideoInfo::from_caps(caps).map_err(|_| unreadable())?;
            self.scaler = Some((caps.to_owned(), Scaler::to(self.geometry, &info).map_err(failed)?));
        }
        let (_, scaler) = self.scaler.as_mut().ok_or_else(unreadable)?;
        scaler.scale(buffer).map_err(|source| DecodeError::Picture { video: self.video.clone(), source })
    }

    /// What went wrong, if anything did.
    fn failure(&self) -> Option<DecodeError> {
        let bus = self.pipeline.bus()?;
        let message = bus.pop_filtered(&[gst::MessageType::Error, gst::MessageType::Application])?;
        Some(match message.view() {
            gst::MessageView::Error(error) => {
                DecodeError::Broken { video: self.video.clone(), reason: error.error().to_string() }
            }
            _ => DecodeError::NoVideo { video: self.video.clone() },
        })
    }
}

/// Name of the message that says that a file's streams are known and none is video.
const NO_VIDEO: &str = "desumnet-no-video";

impl Drop for Decoder {
    fn drop(&mut self) {
        // Going down can't fail in a way that matters to anybody.
        let _ = self.pipeline.set_state(gst::State::Null);
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
        Ok(Self { decoder, segmenter, caps: None, waiting: None, frame_rate: None, shots: None })
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

    /// Of the first picture: known with the first segment.
    pub fn frame_rate(&self) -> Option<FrameRate> {
        self.frame_rate
    }

    /// Whether the video has a sound track: known with the first segment.
    pub fn has_sound(&self) -> bool {
        self.decoder.has_sound()
    }

    /// Goes on at a time in the video, ns; false where the source can't. The next segment begins there.
    pub fn seek(&mut self, time: u64) -> bool {
        let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE;
        let found = self.decoder.pipeline.seek_simple(flags, gst::ClockTime::from_nseconds(time)).is_ok();
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
                    Some(picture) => picture,
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
