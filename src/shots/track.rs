//! The shots of a whole video: what the detector's starts come to.

use super::{Detector, Limits, Start};
use crate::clip::{Frame, Geometry};

/// Collects where shots start; frames that carry no time start none.
pub struct Track {
    detector: Detector,
    /// PTS, ns, rising.
    starts: Vec<u64>,
    /// PTS of the frame before, ns.
    last: Option<u64>,
}

impl Track {
    /// For frames of this geometry's width and height.
    pub fn new(geometry: Geometry) -> Self {
        Self { detector: Detector::new(geometry, Limits::default(), 0), starts: Vec::new(), last: None }
    }

    /// Takes the next frame and its PTS, ns. One whose time runs back starts a shot, but what was there before stands.
    pub fn push(&mut self, frame: &Frame, pts: Option<u64>) {
        let back = self.last.zip(pts).is_some_and(|(last, pts)| pts < last);
        let before = if back { self.detector.finish() } else { Vec::new() };
        let start = self.detector.push(frame, pts);
        self.last = pts.or(self.last);
        self.keep(before.into_iter().chain(start));
    }

    /// Start and duration, ns, of every shot: each lasts until the next one starts, the last one until `end`, ns.
    pub fn finish(mut self, end: u64) -> Vec<(u64, u64)> {
        let last = self.detector.finish();
        self.keep(last);
        let ends = self.starts.iter().skip(1).copied().chain([end]);
        let spans = self.starts.iter().zip(ends).filter(|&(&start, end)| end > start);
        spans.map(|(&start, end)| (start, end - start)).collect()
    }

    fn keep(&mut self, starts: impl IntoIterator<Item = Start>) {
        for pts in starts.into_iter().filter_map(|start| start.pts) {
            if self.starts.last().is_none_or(|&last| pts > last) {
                self.starts.push(pts);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn track(frames: impl IntoIterator<Item = (u8, Option<u64>)>) -> Track {
        let mut track = Track::new(Geometry::PAPER);
        for (value, pts) in frames {
            track.push(&Frame::new(vec![value; Geometry::PAPER.frame_bytes()]), pts);
        }
        track
    }

    #[test]
    fn shots_follow_each_other_to_the_end() {
        let frames = (0..60).map(|i| (if i < 25 { 60 } else { 200 }, Some(i * 40 * MS)));
        assert_eq!(track(frames).finish(2_400 * MS), [(0, 1_000 * MS), (1_000 * MS, 1_400 * MS)]);
    }

    #[test]
    fn where_time_runs_back_what_was_there_before_stands() {
        let frames = (0..20).map(|i| (60, Some(i * 40 * MS)));
        let back = [(200, Some(100 * MS)), (200, None), (200, Some(3_000 * MS))];
        let shots = track(frames.chain(back)).finish(6_000 * MS);
        assert_eq!(shots, [(0, 6_000 * MS)]);
        assert!(track([]).finish(5).is_empty());
        assert!(track([(60, None)]).finish(5).is_empty());
    }
}
