//! Clips in, one video out: every clip's frames pass one size and rate and enter one encoder with new times.

use std::{path::Path, sync::mpsc};

use gst::prelude::*;

use super::{ComposeError, Piece, Planned, Settings, time_of};
use crate::decode::Decoder;

/// x264's constant quality; lower is better, 18 is hard to tell from the source.
const QUALITY: u32 = 18;

/// What every frame becomes.
fn caps(settings: &Settings) -> gst::Caps {
    let (width, height) = settings.size;
    gst_video::VideoCapsBuilder::new()
        .format(gst_video::VideoFormat::I420)
        .width(width as i32)
        .height(height as i32)
        .framerate(gst::Fraction::new(settings.rate as i32, 1))
        .pixel_aspect_ratio(gst::Fraction::new(1, 1))
        .field("colorimetry", "bt601")
        .build()
}

/// Makes a picture of any kind one of [`caps`]: upright, with borders where its shape is another.
pub(super) fn filter(settings: &Settings) -> Result<gst::Element, ComposeError> {
    let description = format!(
        "videorate skip-to-first=true ! videoconvert ! videoflip video-direction=auto ! videoscale add-borders=true \
         ! capsfilter caps=\"{}\"",
        caps(settings)
    );
    let bin = gst::parse::bin_from_description(&description, true);
    bin.map(gst::Bin::upcast).map_err(|e| ComposeError::Plugins(e.to_string()))
}

/// A clip, each frame as the video is to have it.
fn open(clip: &Path, settings: &Settings) -> Result<Decoder, ComposeError> {
    Ok(Decoder::through(&clip.to_string_lossy(), Some(filter(settings)?))?)
}

/// How many frames a clip has at the video's rate.
pub(super) fn count(clip: &Path, settings: &Settings) -> Result<u32, ComposeError> {
    let (mut decoder, mut frames) = (open(clip, settings)?, 0);
    while decoder.next_picture()?.is_some() {
        frames += 1;
    }
    Ok(frames)
}

/// The frames of a video, one after another.
struct Frames {
    settings: Settings,
    pieces: std::vec::IntoIter<Piece>,
    open: Option<(Piece, Decoder)>,
    /// Frames still to come of the open piece.
    left: u32,
    /// Frames so far.
    number: u32,
}

/// A frame, and whether a piece begins with it.
struct Frame {
    buffer: gst::Buffer,
    first: bool,
}

impl Frames {
    fn new(video: &Planned, settings: &Settings) -> Self {
        let pieces = video.pieces.clone().into_iter();
        Self { settings: settings.clone(), pieces, open: None, left: 0, number: 0 }
    }

    fn advance(&mut self) -> Result<Option<Frame>, ComposeError> {
        let first = self.left == 0;
        if first {
            let Some(piece) = self.pieces.next() else { return Ok(None) };
            let mut decoder = open(&piece.path, &self.settings)?;
            for _ in 0..piece.skip {
                decoder.next_picture()?;
            }
            self.left = piece.frames;
            self.open = Some((piece, decoder));
        }
        let Some((piece, decoder)) = &mut self.open else { return Ok(None) };
        let picture = decoder.next_picture()?.and_then(|picture| picture.into_buffer());
        let mut buffer = picture.ok_or_else(|| ComposeError::Changed(piece.path.clone()))?;
        let (start, end) = (time_of(self.number, self.settings.rate), time_of(self.number + 1, self.settings.rate));
        let times = buffer.make_mut();
        times.set_pts(gst::ClockTime::from_nseconds(start));
        times.set_dts(gst::ClockTime::NONE);
        times.set_duration(gst::ClockTime::from_nseconds(end - start));
        // A clip's beginning is no gap in the video.
        times.unset_flags(gst::BufferFlags::DISCONT);
        self.left -= 1;
        self.number += 1;
        Ok(Some(Frame { buffer, first }))
    }
}

/// Encodes a video into a file. `progress` is called at every frame.
pub(super) fn encode(
    video: &Planned,
    file: &Path,
    settings: &Settings,
    progress: impl Fn(),
) -> Result<(), ComposeError> {
    let failed = |reason: String| ComposeError::Encode { video: video.composite.video.clone(), reason };
    let make = |name: &'static str| gst::ElementFactory::make(name);
    let missing = |e: glib::BoolError| failed(e.to_string());
    let source = gst_app::AppSrc::builder().caps(&caps(settings)).format(gst::Format::Time).build();
    // No B-frames: every frame's time then is its own, from 0 on. One thread: videos are encoded side by side.
    let encoder = make("x264enc")
        .property_from_str("pass", "qual")
        .property("quantizer", QUALITY)
        .property_from_str("speed-preset", "veryfast")
        .property("bframes", 0u32)
        .property("threads", 1u32)
        .build()
        .map_err(missing)?;
    let [parser, muxer] = [make("h264parse"), make("mp4mux")].map(|element| element.build());
    let (parser, muxer) = (parser.map_err(missing)?, muxer.map_err(missing)?);
    let sink = make("filesink").property("location", file).build().map_err(missing)?;
    let pipeline = gst::Pipeline::new();
    let elements = [source.upcast_ref(), &encoder, &parser, &muxer, &sink];
    pipeline.add_many(elements).and_then(|()| gst::Element::link_many(elements)).map_err(missing)?;
    let requests = encoder.static_pad("src").ok_or_else(|| failed("x264enc has no source pad".into()))?;
    let (pushed, reports) = mpsc::channel();
    let mut frames = Frames::new(video, settings);
    // Asked for one at a time, so that frames are decoded as fast as they are encoded.
    let callbacks = gst_app::AppSrcCallbacks::builder().need_data(move |source, _| {
        let buffer = match frames.advance() {
            Ok(Some(Frame { buffer, first })) => {
                if first {
                    // Without a time it holds for the next frame, which this one is. x264enc shifts its times by 1000 h
                    // and would not know this one's.
                    requests.send_event(gst_video::UpstreamForceKeyUnitEvent::builder().build());
                }
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
    let result = play(&pipeline, || reports.try_iter().try_for_each(|report| report.map(|()| progress())), failed);
    // Going down can't fail in a way that matters to anybody.
    let _ = pipeline.set_state(gst::State::Null);
    result
}

/// Plays a pipeline to its end. `watch` is called again and again, at the end too; its error ends it.
fn play(
    pipeline: &gst::Pipeline,
    watch: impl Fn() -> Result<(), ComposeError>,
    failed: impl Fn(String) -> ComposeError,
) -> Result<(), ComposeError> {
    let bus = pipeline.bus().ok_or_else(|| failed("a pipeline without a bus".into()))?;
    // Why it does not start is on the bus.
    let _ = pipeline.set_state(gst::State::Playing);
    loop {
        let end = [gst::MessageType::Eos, gst::MessageType::Error];
        let message = bus.timed_pop_filtered(gst::ClockTime::from_mseconds(100), &end);
        watch()?;
        match message.as_ref().map(|message| message.view()) {
            None => {}
            Some(gst::MessageView::Error(error)) => return Err(failed(error.error().to_string())),
            Some(_) => return Ok(()),
        }
    }
}
