//! Writes the packets of a clip, as they are, into an MP4 file that plays while it grows and after a crash.
//!
//! The file is fragmented: whatever is written plays without what would have followed, up to a fragment ([`FRAGMENT`]) before the end.
//! In such files the muxer of GStreamer 1.22 lets every stream begin at 0. So the first packet of a stream is drawn out, to where the
//! next one belongs: that one and all after it are in step. (Its other fragmented mode, `first-moov-then-finalise`, keeps the beginnings
//! apart, but until it is finalised no player opens it where a fragment holds a single packet of silence.)

use std::path::{Path, PathBuf};

use gst::prelude::*;
use thiserror::Error;

use super::ring::Packet;

/// What a crash may cost at the end of a clip.
pub const FRAGMENT: gst::ClockTime = gst::ClockTime::from_mseconds(500);
/// Bytes that may wait for a disk that is slow.
const WAITING: u64 = 64 << 20;
/// How long the disk may take for a clip's end.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(60);

/// Why a clip can't be written, or not further. What is written stays, and plays.
#[derive(Debug, Error)]
pub enum RecordError {
    #[error("GStreamer lacks {0}: run `make setup`, which installs its plugins")]
    Element(String),
    #[error("{codec} can't be put into {path}: have the camera send H.264 or H.265, and AAC or Opus")]
    Codec { codec: String, path: PathBuf },
    #[error("{path} can't be written: {reason}; the clip ends there; see that the disk has room and is there")]
    Unwritable { path: PathBuf, reason: String },
    #[error("{path}: the disk takes less than the camera sends; the clip ends there; give a faster disk")]
    Slow { path: PathBuf },
}

/// A clip's file while it grows.
pub struct Recorder {
    path: PathBuf,
    pipeline: gst::Pipeline,
    sources: Vec<gst_app::AppSrc>,
    /// Running time of the clip's first picture, ns.
    start: u64,
    /// How long before it plays the first picture is decoded; known with that.
    lead: Option<gst::ClockTime>,
    /// Streams that have begun.
    begun: Vec<bool>,
}

impl Recorder {
    /// Opens the file for streams with these caps, the video first. It begins at `start`, running time in ns.
    ///
    /// # Errors
    /// [`RecordError`]
    pub fn begin(path: &Path, caps: &[gst::Caps], start: u64) -> Result<Self, RecordError> {
        let make = gst::ElementFactory::make;
        let missing = |_| RecordError::Element("mp4mux, appsrc or filesink".into());
        let muxer =
            make("mp4mux").property("fragment-duration", FRAGMENT.mseconds() as u32).build().map_err(missing)?;
        // What is written is to be in the file at once, not in a buffer that a crash takes along.
        let sink = make("filesink").property_from_str("buffer-mode", "unbuffered").property("location", path);
        let sink = sink.property("async", false).build().map_err(missing)?;
        let pipeline = gst::Pipeline::new();
        let unlinked = |e: glib::BoolError| RecordError::Unwritable { path: path.into(), reason: e.to_string() };
        pipeline.add_many([&muxer, &sink]).and_then(|()| muxer.link(&sink)).map_err(unlinked)?;
        let mut recorder = Self {
            path: path.into(),
            pipeline,
            sources: Vec::new(),
            start,
            lead: None,
            begun: vec![false; caps.len()],
        };
        for (i, caps) in caps.iter().enumerate() {
            let source = gst_app::AppSrc::builder().caps(caps).format(gst::Format::Time).max_bytes(0).build();
            recorder.pipeline.add(&source).map_err(unlinked)?;
            let pad = muxer.request_pad_simple(if i == 0 { "video_%u" } else { "audio_%u" });
            let fits = pad.as_ref().filter(|pad| pad.query_caps(None).can_intersect(caps));
            let from = source.static_pad("src");
            let linked = from.zip(fits).is_some_and(|(from, to)| from.link(to).is_ok());
            if !linked {
                let codec = caps.structure(0).map(|caps| caps.name().to_string()).unwrap_or_default();
                return Err(RecordError::Codec { codec, path: path.into() });
            }
            recorder.sources.push(source);
        }
        match recorder.pipeline.set_state(gst::State::Playing) {
            Ok(_) => Ok(recorder),
            Err(e) => Err(recorder.failure().unwrap_or_else(|| unlinked(glib::bool_error!("{e}")))),
        }
    }

    /// Where it is written.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// More of each stream. Doesn't wait for the disk.
    ///
    /// # Errors
    /// [`RecordError::Unwritable`] or [`RecordError::Slow`]
    pub fn push(&mut self, streams: Vec<Vec<Packet<gst::Sample>>>) -> Result<(), RecordError> {
        for ((source, begun), packets) in self.sources.iter().zip(&mut self.begun).zip(streams) {
            for packet in packets {
                let Some(mut buffer) = packet.data.buffer_owned() else { continue };
                let ahead = buffer.pts().zip(buffer.dts()).and_then(|(pts, dts)| pts.checked_sub(dts));
                // The video comes first.
                let lead = *self.lead.get_or_insert(ahead.unwrap_or_default());
                let time = lead + gst::ClockTime::from_nseconds(packet.time.saturating_sub(self.start));
                let decode = time.saturating_sub(ahead.unwrap_or_default());
                let is_first = !std::mem::replace(begun, true);
                let times = buffer.make_mut();
                times.set_pts(if is_first { time - decode } else { time });
                times.set_dts(if is_first { gst::ClockTime::ZERO } else { decode });
                times.unset_flags(gst::BufferFlags::DISCONT);
                // Refused only when it has failed, which the bus tells.
                let _ = source.push_buffer(buffer);
            }
        }
        if self.sources.iter().map(gst_app::AppSrc::current_level_bytes).sum::<u64>() > WAITING {
            return Err(RecordError::Slow { path: self.path.clone() });
        }
        self.failure().map_or(Ok(()), Err)
    }

    /// Ends the file. Waits for the disk.
    ///
    /// # Errors
    /// [`RecordError::Unwritable`]
    pub fn finish(self) -> Result<(), RecordError> {
        for source in &self.sources {
            let _ = source.end_of_stream();
        }
        let ends = [gst::MessageType::Eos, gst::MessageType::Error];
        let message = self.pipeline.bus().and_then(|bus| bus.timed_pop_filtered(PATIENCE, &ends));
        match message.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Eos(_)) => Ok(()),
            Some(gst::MessageView::Error(error)) => Err(self.unwritable(&error.error())),
            _ => Err(RecordError::Slow { path: self.path.clone() }),
        }
    }

    fn failure(&self) -> Option<RecordError> {
        let message = self.pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
        let gst::MessageView::Error(error) = message.view() else { return None };
        Some(self.unwritable(&error.error()))
    }

    fn unwritable(&self, reason: &glib::Error) -> RecordError {
        RecordError::Unwritable { path: self.path.clone(), reason: reason.to_string() }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // Going down can't fail in a way that matters to anybody.
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}
