//! Segments: what is known of one before and after it is scored.

use crate::meta::Flags;
use desumnet_engine::maps::Maps;
use desumnet_frames::segmenter::Segment;

/// What is known of a segment's frames besides their score.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    pub index: u64,
    /// Number of the stream that it is of. Scores rank among those of their own stream, and are carried only within it.
    pub stream: u64,
    /// ns; `None` where the frames carry no timestamps.
    pub start: Option<u64>,
    /// Running time of the first frame, ns.
    pub running_time: Option<u64>,
    /// ns
    pub duration: u64,
    pub frames: u32,
    pub(super) stride: u32,
    pub(super) padded: bool,
}

impl Span {
    pub fn new(segment: &Segment, stream: u64, running_time: Option<u64>) -> Self {
        let Segment { index, start, duration, frames, stride, padded, .. } = *segment;
        Self { index, stream, start, running_time, duration, frames, stride, padded }
    }
}

/// How a segment ended up.
#[derive(Debug, PartialEq)]
pub struct Outcome {
    pub span: Span,
    /// Its own, or the last one carried on, as the flags say.
    pub score: f32,
    /// [0, 1]
    pub importance: f32,
    /// Number of the category; `None` if nothing was scored yet, or for none.
    pub category: Option<usize>,
    pub confidence: f32,
    pub frame_scores: Vec<f32>,
    /// If asked for, and the score is its own.
    pub maps: Option<Maps>,
    /// `FAILED` or `UNSCORED`: nobody knows how much the segment matters, whatever `score` and `importance` are. See [`Flags`].
    pub flags: Flags,
}

impl Outcome {
    /// Score of the segment's frame of this number; a carried segment has the same for all.
    pub fn frame_score(&self, frame: u32) -> f32 {
        self.frame_scores.get(self.sample_of(frame)).copied().unwrap_or(self.score)
    }

    /// Which of the clip's frames stands for the segment's frame of this number.
    pub fn sample_of(&self, frame: u32) -> usize {
        ((frame / self.span.stride) as usize).min(self.frame_scores.len().saturating_sub(1))
    }
}
