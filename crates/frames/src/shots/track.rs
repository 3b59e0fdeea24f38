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
    /// How far time had come before it ran back, ns: until there, what was there before stands.
    from: u64,
}

impl Track {
    /// For frames of this geometry's width and height.
    pub fn new(geometry: Geometry) -> Self {
        Self { detector: Detector::new(geometry, Limits::default(), 0), starts: Vec::new(), last: None, from: 0 }
    }

    /// Takes the next frame and its PTS, ns.
    pub fn push(&mut self, frame: &Frame, pts: Option<u64>) {
        if let (Some(last), Some(pts)) = (self.last, pts)
            && pts < last
        {
            let before = self.detector.finish();
            self.keep(before);
            self.from = self.from.max(last);
        }
        self.last = pts.or(self.last);
        let start = self.detector.push(frame, pts);
        self.keep(start);
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
            if pts >= self.from && self.starts.last().is_none_or(|&last| pts > last) {
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
        // Back to 0.1 s, a cut at 0.5 s and another at 2.1 s.
        let colour = |i| {
            if i < 10 {
                200
            } else if i < 50 {
                60
            } else {
                130
            }
        };
        let back = (0..80).map(|i| (colour(i), Some((100 + i as u64 * 40) * MS)));
        let shots = track(frames.chain(back)).finish(6_000 * MS);
        assert_eq!(shots, [(0, 2_100 * MS), (2_100 * MS, 3_900 * MS)]);
        assert!(track([]).finish(5).is_empty());
        assert!(track([(60, None)]).finish(5).is_empty());
    }
}
