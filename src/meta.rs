//! `DeSumNetImportanceMeta`: what the scoring element says of every buffer, and the message that it posts per segment.
//!
//! A custom meta is a GstStructure, so that C, Python and Rust read it with no header of ours:
//! `buffer.get_custom_meta("DeSumNetImportanceMeta").get_structure()`. It has no tags, so that elements which change the
//! picture (videoconvert, videoscale, ...) keep it.

use glib::prelude::*;

use crate::pending::{Outcome, Shot};
use desumnet_frames::clip::Geometry;

/// Name of the meta, and of the structure in it.
pub const META_NAME: &str = "DeSumNetImportanceMeta";
/// Name of the structure of the element message per segment.
pub const MESSAGE_NAME: &str = "desumnet-segment";
/// Name of the structure of the element message per shot.
pub const SHOT_MESSAGE_NAME: &str = "desumnet-shot";

/// How a segment came by its score. With `FAILED` or `UNSCORED`, nobody knows how much it matters: who chooses by importance keeps it.
/// The names are single words because GstStructure writes names and reads words.
#[glib::flags(name = "DeSumNetImportanceFlags")]
pub enum Flags {
    /// The segment was short (end of stream, gap, new caps; live, a pause) and its last frame repeated.
    #[flags_value(name = "padded", nick = "padded")]
    PADDED = 1 << 0,
    /// The score is the last one before, not its own: by `interval`, or because its own is missing.
    #[flags_value(name = "carried", nick = "carried")]
    CARRIED = 1 << 1,
    /// Its own score did not come in time (live pipelines only).
    #[flags_value(name = "late", nick = "late")]
    LATE = 1 << 2,
    /// Scoring failed: its own, or that of the segment whose score it would carry.
    #[flags_value(name = "failed", nick = "failed")]
    FAILED = 1 << 3,
    /// There is no score at all: nothing was scored so far. Scores and importance are 0.
    #[flags_value(name = "unscored", nick = "unscored")]
    UNSCORED = 1 << 4,
}

/// The meta's content.
#[derive(Clone, Debug, PartialEq)]
pub struct ImportanceMeta {
    /// Number of the segment since the element started.
    pub segment: u64,
    /// PTS of the segment's first frame.
    pub segment_start: Option<gst::ClockTime>,
    pub segment_duration: gst::ClockTime,
    /// Frames in the segment.
    pub segment_frames: u32,
    /// Number of this frame in its segment, from 0.
    pub frame: u32,
    /// Mean of the importance map over this frame, at least 0. A frame that was not sampled has its predecessor's.
    pub frame_score: f64,
    /// Frame scores aggregated, at least 0.
    pub segment_score: f64,
    /// Rank of the segment's score among the latest, [0, 1]; of one that was scored as unusual, h / (1 + h) where its like comes about once
    /// in h hours.
    pub importance: f64,
    /// The category that the segment was scored for; empty if nothing was scored yet, and where it was scored as unusual.
    pub category: String,
    /// The segment's probability of that category, [0, 1].
    pub confidence: f64,
    /// Number of the shot since the element started.
    pub shot: u64,
    /// This frame is the first of its shot.
    pub shot_start: bool,
    pub flags: Flags,
}

/// The importance map of a frame, in the meta where `desumnet` has `map=true` and the frame's score is its own.
#[derive(Clone, Debug)]
pub struct ImportanceMap {
    /// A picture of caps `video/x-raw,format=GRAY8` that covers all of the frame's, however small it is itself. It is black
    /// around the part that the network sees.
    pub picture: gst::Sample,
    /// The importance that 255 stands for, the same in all of a segment; the few pixels that have more are 255, too. A pixel p
    /// has about p / 255 x peak, and their mean over the part that the network sees is about the frame's score.
    pub peak: f64,
}

/// Makes the meta known to GStreamer; needed once before any other use.
pub fn register() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        Flags::static_type();
        gst::meta::CustomMeta::register_simple(META_NAME);
    });
}

impl ImportanceMeta {
    /// Of a frame in a resolved segment.
    pub fn new(outcome: &Outcome, frame: u32, shot: Shot, categories: &[String]) -> Self {
        Self {
            segment: outcome.span.index,
            segment_start: outcome.span.start.map(gst::ClockTime::from_nseconds),
            segment_duration: gst::ClockTime::from_nseconds(outcome.span.duration),
            segment_frames: outcome.span.frames,
            frame,
            frame_score: outcome.frame_score(frame).into(),
            segment_score: outcome.score.into(),
            importance: outcome.importance.into(),
            category: outcome.category.map(|c| categories[c].clone()).unwrap_or_default(),
            confidence: outcome.confidence.into(),
            shot: shot.number,
            shot_start: shot.starts,
            flags: outcome.flags,
        }
    }

    /// Puts it on a buffer.
    ///
    /// # Errors
    /// If [`register`] was not called.
    pub fn add(&self, buffer: &mut gst::BufferRef) -> Result<(), glib::BoolError> {
        let mut meta = gst::meta::CustomMeta::add(buffer, META_NAME)?;
        let structure = meta.mut_structure();
        structure.set("segment", self.segment);
        structure.set("segment-start", self.segment_start);
        structure.set("segment-duration", self.segment_duration);
        structure.set("segment-frames", self.segment_frames);
        structure.set("frame", self.frame);
        structure.set("frame-score", self.frame_score);
        structure.set("segment-score", self.segment_score);
        structure.set("importance", self.importance);
        structure.set("category", &self.category);
        structure.set("confidence", self.confidence);
        structure.set("shot", self.shot);
        structure.set("shot-start", self.shot_start);
        structure.set("flags", self.flags);
        Ok(())
    }

    /// From a buffer; `None` if it carries none, or one without the fields.
    pub fn of(buffer: &gst::BufferRef) -> Option<Self> {
        let meta = gst::meta::CustomMeta::from_buffer(buffer, META_NAME).ok()?;
        let structure = meta.structure();
        Some(Self {
            segment: structure.get("segment").ok()?,
            segment_start: structure.get("segment-start").ok()?,
            segment_duration: structure.get("segment-duration").ok()?,
            segment_frames: structure.get("segment-frames").ok()?,
            frame: structure.get("frame").ok()?,
            frame_score: structure.get("frame-score").ok()?,
            segment_score: structure.get("segment-score").ok()?,
            importance: structure.get("importance").ok()?,
            category: structure.get("category").ok()?,
            confidence: structure.get("confidence").ok()?,
            shot: structure.get("shot").ok()?,
            shot_start: structure.get("shot-start").ok()?,
            flags: structure.get("flags").ok()?,
        })
    }
}

impl ImportanceMap {
    /// Of a frame in a resolved segment; `None` if the segment has no maps.
    ///
    /// # Errors
    /// If the geometry is none of a picture.
    pub fn new(outcome: &Outcome, frame: u32, geometry: &Geometry) -> Result<Option<Self>, glib::BoolError> {
        let Some(maps) = &outcome.maps else { return Ok(None) };
        let (width, height) = (geometry.width as u32, geometry.height as u32);
        let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::Gray8, width, height).build()?;
        let stride = info.stride()[0] as usize;
        let mut pixels = vec![0; info.size()];
        let seen = maps.frame(outcome.sample_of(frame), geometry.crop_width * geometry.crop_height);
        let rows = pixels.chunks_exact_mut(stride).skip(geometry.top());
        for (row, seen) in rows.zip(seen.chunks_exact(geometry.crop_width)) {
            row[geometry.left()..][..seen.len()].copy_from_slice(seen);
        }
        let picture =
            gst::Sample::builder().caps(&info.to_caps()?).buffer(&gst::Buffer::from_mut_slice(pixels)).build();
        Ok(Some(Self { picture, peak: maps.peak.into() }))
    }

    /// Puts it into the meta that [`ImportanceMeta::add`] put on a buffer.
    ///
    /// # Errors
    /// If there is none.
    pub fn add(&self, buffer: &mut gst::BufferRef) -> Result<(), glib::BoolError> {
        let mut meta = gst::meta::CustomMeta::from_mut_buffer(buffer, META_NAME)?;
        let structure = meta.mut_structure();
        structure.set("map", &self.picture);
        structure.set("map-peak", self.peak);
        Ok(())
    }

    /// From a buffer; `None` if it carries none.
    pub fn of(buffer: &gst::BufferRef) -> Option<Self> {
        let meta = gst::meta::CustomMeta::from_buffer(buffer, META_NAME).ok()?;
        Some(Self { picture: meta.structure().get("map").ok()?, peak: meta.structure().get("map-peak").ok()? })
    }
}

/// The message per shot: its number (`shot`), and `start` (PTS) and `running-time` of its first frame.
pub fn shot_message(
    number: u64,
    start: Option<gst::ClockTime>,
    running_time: Option<gst::ClockTime>,
) -> gst::Structure {
    gst::Structure::builder(SHOT_MESSAGE_NAME)
        .field("shot", number)
        .field("start", start)
        .field("running-time", running_time)
        .build()
}

/// The message per segment: `segment`, `start` (PTS), `running-time`, `duration`, `frames`, `score`, `importance`,
/// `category`, `confidence`, `flags` as in the meta, and `frame-scores` (one a frame of the clip; empty if carried).
pub fn segment_message(outcome: &Outcome, categories: &[String]) -> gst::Structure {
    let category = outcome.category.map_or("", |c| &categories[c]);
    gst::Structure::builder(MESSAGE_NAME)
        .field("segment", outcome.span.index)
        .field("start", outcome.span.start.map(gst::ClockTime::from_nseconds))
        .field("running-time", outcome.span.running_time.map(gst::ClockTime::from_nseconds))
        .field("duration", gst::ClockTime::from_nseconds(outcome.span.duration))
        .field("frames", outcome.span.frames)
        .field("score", f64::from(outcome.score))
        .field("importance", f64::from(outcome.importance))
        .field("category", category)
        .field("confidence", f64::from(outcome.confidence))
        .field("flags", outcome.flags)
        .field("frame-scores", gst::Array::new(outcome.frame_scores.iter().map(|&s| f64::from(s))))
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_survive_being_written_and_read() {
        gst::init().unwrap();
        for flags in [Flags::empty(), Flags::PADDED, Flags::LATE | Flags::CARRIED, Flags::all()] {
            let text = gst::Structure::builder("a").field("flags", flags).build().to_string();
            let read: gst::Structure = text.parse().unwrap();
            assert_eq!(read.get::<Flags>("flags"), Ok(flags), "{text}");
        }
    }

    #[test]
    fn a_buffer_gives_back_the_meta_that_it_got() {
        gst::init().unwrap();
        register();
        for start in [None, Some(gst::ClockTime::from_mseconds(640))] {
            let meta = ImportanceMeta {
                segment: 7,
                segment_start: start,
                segment_duration: gst::ClockTime::from_mseconds(533),
                segment_frames: 16,
                frame: 3,
                frame_score: 0.25,
                segment_score: 0.5,
                importance: 0.75,
                category: "sailing, fast".into(),
                confidence: 0.875,
                shot: 2,
                shot_start: true,
                flags: Flags::PADDED,
            };
            let mut buffer = gst::Buffer::new();
            assert_eq!(ImportanceMeta::of(&buffer), None);
            meta.add(buffer.get_mut().unwrap()).unwrap();
            assert_eq!(ImportanceMeta::of(&buffer.copy()), Some(meta));
        }
    }
}
