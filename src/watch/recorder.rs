//! Writes the packets of a clip, as they are, into an MP4 file that plays while it grows and after a crash.
//!
//! The file is fragmented: whatever is written plays without what would have followed, up to a fragment ([`FRAGMENT`]) before the end.
//! So it may also be written further than the clip will go, and be cut off between two fragments when that is known.
//! In such files the muxer of GStreamer 1.22 lets every stream begin at 0. So the first packet of a stream is drawn out, to where the
//! next one belongs: that one and all after it are in step. (Its other fragmented mode, `first-moov-then-finalise`, keeps the beginnings
//! apart, but until it is finalised no player opens it where a fragment holds a single packet of silence.)

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use gst::prelude::*;
use thiserror::Error;

use super::ring::Packet;

/// What a crash may cost at the end of a clip, and what a clip may be too long.
pub const FRAGMENT: gst::ClockTime = gst::ClockTime::from_mseconds(200);
/// How far another stream may be behind the pictures, ns, before the file goes on without: the muxer puts nothing into it before it knows
/// of all. (Its buffers for gaps, which would let a stream come back, are taken at once in GStreamer 1.22, whatever their time.)
const BEHIND: u64 = 5_000_000_000;
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

/// A part of a file that plays by itself, of one stream. Times in the file, ns.
struct Fragment {
    /// Where it begins, bytes.
    at: u64,
    /// When its first packet is decoded.
    start: u64,
    /// The latest end of its packets.
    end: u64,
}

/// What is in a file.
#[derive(Default)]
struct Written {
    bytes: u64,
    fragments: Vec<Fragment>,
}

impl Written {
    /// More comes: the head of a fragment, or a packet of it.
    fn note(&mut self, buffer: &gst::BufferRef) {
        let head = [&(buffer.size() as u32).to_be_bytes()[..], b"moof"].concat();
        if buffer.map_readable().is_ok_and(|bytes| bytes.starts_with(&head)) {
            self.fragments.push(Fragment { at: self.bytes, start: u64::MAX, end: 0 });
        } else if let Some((fragment, decode)) = self.fragments.last_mut().zip(buffer.dts_or_pts()) {
            let end = buffer.pts().unwrap_or(decode) + buffer.duration().unwrap_or_default();
            fragment.start = fragment.start.min(decode.nseconds());
            fragment.end = fragment.end.max(end.nseconds());
        }
        self.bytes += buffer.size() as u64;
    }
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
    /// Streams that have begun, those that are over, and when what each got ends, running time in ns.
    begun: Vec<bool>,
    over: Vec<bool>,
    reached: Vec<u64>,
    written: Arc<Mutex<Written>>,
}

impl Recorder {
    /// Opens the file for streams with these caps, the video first. It begins at `start`, running time in ns.
    ///
    /// # Errors
    /// [`RecordError`]
    pub fn begin(path: &Path, caps: &[gst::Caps], start: u64) -> Result<Self, RecordError> {
        let make = gst::ElementFactory::make;
        let missing = |_| RecordError::Element("mp4mux, appsrc or filesink".into());
        let muxer = make("mp4mux")
            .property("fragment-duration", FRAGMENT.mseconds() as u32)
            .property("streamable", true)
            .build()
            .map_err(missing)?;
        // What is written is to be in the file at once, not in a buffer that a crash takes along.
        let sink = make("filesink").property_from_str("buffer-mode", "unbuffered").property("location", path);
        let sink = sink.property("async", false).build().map_err(missing)?;
        let written = Arc::new(Mutex::new(Written::default()));
        if let Some(pad) = sink.static_pad("sink") {
            watch_file(&pad, written.clone());
        }
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
            over: vec![false; caps.len()],
            reached: vec![start; caps.len()],
            written,
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

    /// More of each stream. Doesn't wait for the disk. Where a stream falls behind the pictures, the file goes on without it to its end.
    ///
    /// # Errors
    /// [`RecordError::Unwritable`] or [`RecordError::Slow`]
    pub fn push(&mut self, streams: Vec<Vec<Packet<gst::Sample>>>) -> Result<(), RecordError> {
        for (i, (source, packets)) in self.sources.iter().zip(streams).enumerate() {
            for packet in packets {
                let Some(mut buffer) = packet.data.buffer_owned() else { continue };
                if self.over[i] {
                    continue;
                }
                self.reached[i] = self.reached[i].max(packet.end());
                let ahead = buffer.pts().zip(buffer.dts()).and_then(|(pts, dts)| pts.checked_sub(dts));
                // The video comes first.
                let lead = *self.lead.get_or_insert(ahead.unwrap_or_default());
                let time = lead + gst::ClockTime::from_nseconds(packet.time.saturating_sub(self.start));
                let decode = time.saturating_sub(ahead.unwrap_or_default());
                let is_first = !std::mem::replace(&mut self.begun[i], true);
                let times = buffer.make_mut();
                times.set_pts(if is_first { time - decode } else { time });
                times.set_dts(if is_first { gst::ClockTime::ZERO } else { decode });
                times.unset_flags(gst::BufferFlags::DISCONT);
                // Refused only when it has failed, which the bus tells.
                let _ = source.push_buffer(buffer);
            }
        }
        for i in 1..self.sources.len() {
            if !self.over[i] && self.reached[i] + BEHIND < self.reached[0] {
                self.over[i] = true;
                let _ = self.sources[i].end_of_stream();
            }
        }
        if self.sources.iter().map(gst_app::AppSrc::current_level_bytes).sum::<u64>() > WAITING {
            return Err(RecordError::Slow { path: self.path.clone() });
        }
        self.failure().map_or(Ok(()), Err)
    }

    /// When what is written of it ends, running time in ns. Nothing more will be.
    pub fn give_up(&self) -> u64 {
        // Going down can't fail in a way that matters to anybody.
        let _ = self.pipeline.set_state(gst::State::Null);
        let written = locked(&self.written);
        // The last one may be cut short.
        let whole = written.fragments.split_last().map_or(&[][..], |(_, whole)| whole);
        let reached = whole.iter().map(|fragment| fragment.end).max().unwrap_or_default();
        self.start + reached.saturating_sub(self.lead.unwrap_or_default().nseconds())
    }

    /// Ends the file at the first end of a fragment at or after `end`; when it ends then. Both running time, ns. Waits for the disk.
    ///
    /// # Errors
    /// [`RecordError::Unwritable`] or [`RecordError::Slow`]
    pub fn finish(&self, end: u64) -> Result<u64, RecordError> {
        for source in &self.sources {
            let _ = source.end_of_stream();
        }
        let ends = [gst::MessageType::Eos, gst::MessageType::Error];
        let message = self.pipeline.bus().and_then(|bus| bus.timed_pop_filtered(PATIENCE, &ends));
        match message.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Eos(_)) => self.cut_off(end),
            Some(gst::MessageView::Error(error)) => Err(self.unwritable(&error.error())),
            _ => Err(RecordError::Slow { path: self.path.clone() }),
        }
    }

    fn cut_off(&self, end: u64) -> Result<u64, RecordError> {
        let lead = self.lead.unwrap_or_default().nseconds();
        let until = lead + end.saturating_sub(self.start);
        let written = locked(&self.written);
        let stays = written.fragments.iter().rposition(|fragment| fragment.start < until).map_or(0, |last| last + 1);
        let (stays, goes) = written.fragments.split_at(stays);
        if let Some(first) = goes.first() {
            let cut = std::fs::OpenOptions::new().write(true).open(&self.path).and_then(|file| file.set_len(first.at));
            cut.map_err(|e| RecordError::Unwritable { path: self.path.clone(), reason: e.to_string() })?;
        }
        let reached = stays.iter().map(|fragment| fragment.end).max().unwrap_or_default();
        Ok(self.start + reached.saturating_sub(lead))
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

fn locked(written: &Mutex<Written>) -> MutexGuard<'_, Written> {
    written.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes what goes to a file. It is never gone back in: the muxer would write a duration to its head, and to its end an index of the
/// fragments, neither of which holds once it is cut off.
fn watch_file(pad: &gst::Pad, written: Arc<Mutex<Written>>) {
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(buffer) = info.buffer() {
            locked(&written).note(buffer);
        }
        gst::PadProbeReturn::Ok
    });
    pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, |_, info| {
        let Some(gst::QueryViewMut::Seeking(seeking)) = info.query_mut().map(gst::QueryRef::view_mut) else {
            return gst::PadProbeReturn::Ok;
        };
        let nowhere = gst::GenericFormattedValue::none_for_format(gst::Format::Bytes);
        seeking.set(false, nowhere, nowhere);
        gst::PadProbeReturn::Handled
    });
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // Going down can't fail in a way that matters to anybody.
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}
