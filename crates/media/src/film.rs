//! Silent videos that are made frame by frame: any picture becomes a frame of one size and rate, and frames become an H.264 file.

use std::{path::Path, sync::mpsc};

use gst::prelude::*;
use thiserror::Error;

/// A film can't be made; says why, for people.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct FilmError(String);

impl From<glib::BoolError> for FilmError {
    fn from(error: glib::BoolError) -> Self {
        Self(error.to_string())
    }
}

/// What all frames of a film are like.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Width and height, pixels.
    pub size: (u32, u32),
    /// Frames a second.
    pub rate: u32,
    /// x264's constant quality; lower is better, 18 is hard to tell from the source.
    pub quality: u32,
}

/// A frame as [`Look::filter`] makes it; its times are given by [`encode`].
pub struct Frame {
    pub buffer: gst::Buffer,
    /// It is to be a key frame.
    pub key: bool,
}

impl Look {
    fn caps(&self) -> gst::Caps {
        gst_video::VideoCapsBuilder::new()
            .format(gst_video::VideoFormat::I420)
            .width(self.size.0 as i32)
            .height(self.size.1 as i32)
            .framerate(gst::Fraction::new(self.rate as i32, 1))
            .pixel_aspect_ratio(gst::Fraction::new(1, 1))
            .field("colorimetry", "bt601")
            .build()
    }

    /// An element that makes a picture of any kind a frame: upright, with borders where its shape is another.
    ///
    /// # Errors
    /// [`FilmError`]: a plugin is missing.
    pub fn filter(&self) -> Result<gst::Element, FilmError> {
        let description = format!(
            "videorate skip-to-first=true ! videoconvert ! videoflip video-direction=auto ! videoscale add-borders=true \
             ! capsfilter caps=\"{}\"",
            self.caps()
        );
        let bin = gst::parse::bin_from_description(&description, true);
        bin.map(gst::Bin::upcast).map_err(|e| FilmError(e.to_string()))
    }
}

/// When a frame begins, ns.
pub fn time_of(frame: u32, rate: u32) -> u64 {
    u64::from(frame) * 1_000_000_000 / u64::from(rate)
}

/// Encodes the frames that `next` gives, until it gives none, into a file. `progress` is called at every frame.
///
/// # Errors
/// That of `next`, or a [`FilmError`].
pub fn encode<E: From<FilmError> + Send + 'static>(
    file: &Path,
    look: &Look,
    mut next: impl FnMut() -> Result<Option<Frame>, E> + Send + 'static,
    progress: impl Fn(),
) -> Result<(), E> {
    let make = |name: &'static str| gst::ElementFactory::make(name);
    let source = gst_app::AppSrc::builder().caps(&look.caps()).format(gst::Format::Time).build();
    // No B-frames: every frame's time then is its own, from 0 on. One thread: videos are encoded side by side.
    let encoder = make("x264enc")
        .property_from_str("pass", "qual")
        .property("quantizer", look.quality)
        .property_from_str("speed-preset", "veryfast")
        .property("bframes", 0u32)
        .property("threads", 1u32)
        .build()
        .map_err(FilmError::from)?;
    let [parser, muxer] = [make("h264parse"), make("mp4mux")].map(|element| element.build().map_err(FilmError::from));
    let (parser, muxer) = (parser?, muxer?);
    let sink = make("filesink").property("location", file).build().map_err(FilmError::from)?;
    let pipeline = gst::Pipeline::new();
    let elements = [source.upcast_ref(), &encoder, &parser, &muxer, &sink];
    let linked = pipeline.add_many(elements).and_then(|()| gst::Element::link_many(elements));
    linked.map_err(FilmError::from)?;
    let requests = encoder.static_pad("src").ok_or_else(|| FilmError("x264enc has no source pad".into()))?;
    let (pushed, reports) = mpsc::channel();
    let (mut number, rate) = (0, look.rate);
    // Asked for one at a time, so that frames are made as fast as they are encoded.
    let callbacks = gst_app::AppSrcCallbacks::builder().need_data(move |source, _| {
        let buffer = match next() {
            Ok(Some(Frame { mut buffer, key })) => {
                if key {
                    // Without a time it holds for the next frame, which this one is. x264enc shifts its times by 1000 h
                    // and would not know this one's.
                    requests.send_event(gst_video::UpstreamForceKeyUnitEvent::builder().build());
                }
                let (start, end) = (time_of(number, rate), time_of(number + 1, rate));
                number += 1;
                let times = buffer.make_mut();
                times.set_pts(gst::ClockTime::from_nseconds(start));
                times.set_dts(gst::ClockTime::NONE);
                times.set_duration(gst::ClockTime::from_nseconds(end - start));
                // What comes from elsewhere is no gap in the film.
                times.unset_flags(gst::BufferFlags::DISCONT);
                Some(buffer)
            }
            Ok(None) => None,
            Err(error) => {
                let _ = pushed.send(Err(error));
                None
            }
        };
        // Pushing fails when the pipeline stops, which the bus tells the reason of.
        let _ = match buffer {
            Some(buffer) => source.push_buffer(buffer).inspect(|_| drop(pushed.send(Ok(())))),
            None => source.end_of_stream(),
        };
    });
    source.set_callbacks(callbacks.build());
    let result = play(&pipeline, || reports.try_iter().try_for_each(|report| report.map(|()| progress())));
    // Going down can't fail in a way that matters to anybody.
    let _ = pipeline.set_state(gst::State::Null);
    result
}

/// Plays a pipeline to its end. `watch` is called again and again, at the end too; its error ends it.
fn play<E: From<FilmError>>(pipeline: &gst::Pipeline, watch: impl Fn() -> Result<(), E>) -> Result<(), E> {
    let bus = pipeline.bus().ok_or_else(|| FilmError("a pipeline without a bus".into()))?;
    // Why it does not start is on the bus.
    let _ = pipeline.set_state(gst::State::Playing);
    loop {
        let end = [gst::MessageType::Eos, gst::MessageType::Error];
        let message = bus.timed_pop_filtered(gst::ClockTime::from_mseconds(100), &end);
        watch()?;
        match message.as_ref().map(|message| message.view()) {
            None => {}
            Some(gst::MessageView::Error(error)) => return Err(FilmError(error.error().to_string()).into()),
            Some(_) => return Ok(()),
        }
    }
}
