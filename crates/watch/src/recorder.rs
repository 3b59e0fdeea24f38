//! Writes the packets of a clip, as they are, into an MP4 file that plays while it grows and after a crash.
//!
//! The file is fragmented: whatever is written plays without what would have followed, up to a fragment ([`FRAGMENT`]) before the end.
//! So it may also be written further than the clip will go, and be cut off between two fragments when that is known.
//! In such files the muxer of GStreamer 1.22 lets every stream begin at 0. So the first packet of a stream is drawn out, to where the
//! next one belongs: that one and all after it are in step. (Its other fragmented mode, `first-moov-then-finalise`, keeps the beginnings
//! apart, but until it is finalised no player opens it where a fragment holds a single packet of silence.)
//!
//! GStreamer muxes in memory. The caller's thread opens, writes and closes the file: a disk that hangs holds up nothing else.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

use gst::prelude::*;
use thiserror::Error;

use super::ring::Packet;

/// What a crash may cost at the end of a clip, and what a clip may be too long.
pub const FRAGMENT: gst::ClockTime = gst::ClockTime::from_mseconds(200);
/// How far another stream may be behind the pictures, ns, before the file goes on without: the muxer puts nothing into it before it knows
/// of all. (Its buffers for gaps, which would let a stream come back, are taken at once in GStreamer 1.22, whatever their time.)
const BEHIND: u64 = 5_000_000_000;
/// Bytes that may wait for the muxer.
const WAITING: u64 = 64 << 20;
/// How long the muxer may take for something when that much waits, and for a clip's end.
const LAG: gst::ClockTime = gst::ClockTime::from_seconds(5);
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
    #[error("{path}: one of the camera's streams does not go on, and the others wait for it; the clip ends there")]
    Stuck { path: PathBuf },
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
    /// More is written: the head of a fragment, or a packet of it.
    fn note(&mut self, buffer: &gst::BufferRef, bytes: &[u8]) {
        if bytes.starts_with(&[&(bytes.len() as u32).to_be_bytes()[..], b"moof"].concat()) {
            self.fragments.push(Fragment { at: self.bytes, start: u64::MAX, end: 0 });
        } else if let Some((fragment, decode)) = self.fragments.last_mut().zip(buffer.dts_or_pts()) {
            let end = buffer.pts().unwrap_or(decode) + buffer.duration().unwrap_or_default();
            fragment.start = fragment.start.min(decode.nseconds());
            fragment.end = fragment.end.max(end.nseconds());
        }
        self.bytes += bytes.len() as u64;
    }

    /// The latest end of all packets.
    fn reached(&self) -> u64 {
        self.fragments.iter().map(|fragment| fragment.end).max().unwrap_or_default()
    }
}

/// A clip's file while it grows.
pub struct Recorder {
    path: PathBuf,
    file: File,
    pipeline: gst::Pipeline,
    sources: Vec<gst_app::AppSrc>,
    /// Gives what is to be written.
    muxed: gst_app::AppSink,
    /// Running time of the clip's first picture, ns.
    start: u64,
    /// How long before it plays the first picture is decoded; known with that.
    lead: Option<gst::ClockTime>,
    /// Streams that have begun, those that are over, and when what each got ends, running time in ns.
    begun: Vec<bool>,
    over: Vec<bool>,
    fed: Vec<u64>,
    written: Written,
}

impl Recorder {
    /// Takes an empty file, at `path`, for streams with these caps, the video first. It begins at `start`, running time in ns.
    ///
    /// # Errors
    /// [`RecordError`]
    pub fn begin(file: File, path: &Path, caps: &[gst::Caps], start: u64) -> Result<Self, RecordError> {
        let missing = |_| RecordError::Element("mp4mux or appsrc".into());
        let muxer = gst::ElementFactory::make("mp4mux")
            .property("fragment-duration", FRAGMENT.mseconds() as u32)
            .property("streamable", true)
            .build()
            .map_err(missing)?;
        // It can't be gone back in: the muxer would write a duration to its head, and to its end an index of the fragments, neither of
        // which holds once it is cut off.
        let muxed = gst_app::AppSink::builder().sync(false).async_(false).build();
        let pipeline = gst::Pipeline::new();
        let unlinked = |e: glib::BoolError| RecordError::Unwritable { path: path.into(), reason: e.to_string() };
        pipeline.add_many([&muxer, muxed.upcast_ref()]).and_then(|()| muxer.link(&muxed)).map_err(unlinked)?;
        let mut recorder = Self {
            path: path.into(),
            file,
            pipeline,
            sources: Vec::new(),
            muxed,
            start,
            lead: None,
            begun: vec![false; caps.len()],
            over: vec![false; caps.len()],
            fed: vec![start; caps.len()],
            written: Written::default(),
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

    /// More of each stream. Writes what the muxer has made of the streams so far. Where a stream falls behind the pictures, the file goes on
    /// without it to its end.
    ///
    /// # Errors
    /// [`RecordError::Unwritable`] or [`RecordError::Stuck`]
    pub fn push(&mut self, streams: Vec<Vec<Packet<gst::Sample>>>) -> Result<(), RecordError> {
        for (i, (source, packets)) in self.sources.iter().zip(streams).enumerate() {
            for packet in packets {
                let Some(mut buffer) = packet.data.buffer_owned() else { continue };
                if self.over[i] {
                    continue;
                }
                self.fed[i] = self.fed[i].max(packet.end());
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
            if !self.over[i] && self.fed[i] + BEHIND < self.fed[0] {
                self.over[i] = true;
                let _ = self.sources[i].end_of_stream();
            }
        }
        while self.sources.iter().map(gst_app::AppSrc::current_level_bytes).sum::<u64>() > WAITING {
            let muxed = self.muxed.try_pull_sample(LAG);
            self.write(&muxed.ok_or_else(|| RecordError::Stuck { path: self.path.clone() })?)?;
        }
        self.write_out()?;
        self.failure().map_or(Ok(()), Err)
    }

    /// Writes what the muxer has ready.
    ///
    /// # Errors
    /// [`RecordError::Unwritable`]
    pub fn write_out(&mut self) -> Result<(), RecordError> {
        while let Some(sample) = self.muxed.try_pull_sample(gst::ClockTime::ZERO) {
            self.write(&sample)?;
        }
        Ok(())
    }

    fn write(&mut self, sample: &gst::Sample) -> Result<(), RecordError> {
        let Some(buffer) = sample.buffer() else { return Ok(()) };
        let bytes = buffer.map_readable().map_err(|e| self.unwritable(&e))?;
        self.file.write_all(&bytes).map_err(|e| self.unwritable(&e))?;
        self.written.note(buffer, &bytes);
        Ok(())
    }

    /// Ends the file at the first end of a fragment at or after `end`; when it ends then. Both running time, ns. Then the file is on the
    /// disk for good.
    ///
    /// # Errors
    /// [`RecordError::Unwritable`] or [`RecordError::Stuck`]
    pub fn finish(&mut self, end: u64) -> Result<u64, RecordError> {
        for source in &self.sources {
            let _ = source.end_of_stream();
        }
        while let Some(sample) = self.muxed.try_pull_sample(PATIENCE) {
            self.write(&sample)?;
        }
        if !self.muxed.is_eos() {
            return Err(self.failure().unwrap_or_else(|| RecordError::Stuck { path: self.path.clone() }));
        }
        let until = self.lead.unwrap_or_default().nseconds() + end.saturating_sub(self.start);
        let stays = self.written.fragments.iter().rposition(|fragment| fragment.start < until);
        self.cut_off(stays.map_or(0, |last| last + 1)).map_err(|e| self.unwritable(&e))?;
        self.file.sync_all().map_err(|e| self.unwritable(&e))?;
        Ok(self.reached())
    }

    /// After a failure: ends the file with what is whole of it, as far as the disk lets it; when that ends, running time in ns.
    pub fn give_up(&mut self) -> u64 {
        // The last fragment may lack a part.
        let whole = self.written.fragments.len().saturating_sub(1);
        let _ = self.cut_off(whole).and_then(|()| self.file.sync_all());
        self.reached()
    }

    /// Keeps as many fragments.
    fn cut_off(&mut self, stay: usize) -> std::io::Result<()> {
        let cut = self.written.fragments.get(stay).map_or(Ok(()), |first| self.file.set_len(first.at));
        self.written.fragments.truncate(stay);
        cut
    }

    /// When what is written ends, running time in ns.
    pub fn reached(&self) -> u64 {
        self.start + self.written.reached().saturating_sub(self.lead.unwrap_or_default().nseconds())
    }

    fn failure(&self) -> Option<RecordError> {
        let message = self.pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
        let gst::MessageView::Error(error) = message.view() else { return None };
        Some(self.unwritable(&error.error()))
    }

    fn unwritable(&self, reason: &dyn std::fmt::Display) -> RecordError {
        RecordError::Unwritable { path: self.path.clone(), reason: reason.to_string() }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // Going down can't fail in a way that matters to anybody.
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}
