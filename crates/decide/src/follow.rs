//! Following a plan while its video goes by.

use super::{
    plan::{Part, Plan},
    timeline::Timeline,
};

/// Lays the parts of a plan on a timeline, no further than the video has come.
#[derive(Debug)]
pub struct Follower {
    /// At their stream times.
    parts: Vec<Part>,
    /// The part that plays or comes next; unknown where the video has jumped.
    next: Option<usize>,
}

impl Follower {
    /// Nothing of the video has come yet.
    pub fn new(plan: &Plan) -> Self {
        Self { parts: plan.in_stream_time(), next: None }
    }

    /// The video may go on anywhere.
    pub fn jump(&mut self) {
        self.next = None;
    }

    /// Decides the stretch from `from` to `until` of the video's own time, ns; `running` makes a running time of one.
    pub fn advance(&mut self, from: u64, until: u64, running: impl Fn(u64) -> u64, timeline: &mut Timeline) {
        let parts = &self.parts;
        let mut next = self.next.unwrap_or_else(|| parts.partition_point(|part| part.end_ns() <= from));
        while let Some(part) = parts.get(next).filter(|part| part.start_ns < until) {
            // Of a part that the video jumps into, the rest; of one that it comes to, all, whether or not a frame stands there.
            let start = if self.next.is_none() { part.start_ns.max(from) } else { part.start_ns };
            timeline.drop_until(running(start));
            timeline.keep(running(start), running(part.end_ns().min(until)), part.speed);
            if part.end_ns() > until {
                break;
            }
            next += 1;
        }
        self.next = Some(next);
        timeline.drop_until(running(until));
    }

    /// The part that a time of the video's own lies in.
    pub fn part(&self, time: u64) -> Option<&Part> {
        let parts = &self.parts;
        parts.get(parts.partition_point(|part| part.end_ns() <= time)).filter(|part| part.start_ns <= time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::Piece;

    fn plan() -> Plan {
        let part = |start_ns, duration_ns, speed| Part { start_ns, duration_ns, score: 0.5, speed };
        Plan::new(vec![part(10, 20, 1.0), part(30, 20, 2.0), part(55, 5, 2.0), part(61, 100, 1.0)]).unwrap()
    }

    /// Pieces after frames of 8 ns from `from` on, running times 1000 later.
    fn pieces(from: u64, until: u64) -> Vec<(u64, u64, f64)> {
        let (mut follower, mut timeline) = (Follower::new(&plan()), Timeline::default());
        timeline.begin(from + 1000, 0);
        for time in (from..until).step_by(8) {
            follower.advance(time, time + 8, |time| time + 1000, &mut timeline);
            assert_eq!(timeline.decided(), time + 1008);
        }
        let piece = |n| timeline.stretch(n).unwrap().piece;
        timeline.numbers().map(piece).map(|Piece { from, until, to, .. }| (from, until, to)).collect()
    }

    #[test]
    fn parts_are_laid_as_the_video_comes_to_them() {
        assert_eq!(pieces(0, 24), [(1010, 1024, 0.0)]);
        let all = [(1010, 1030, 0.0), (1030, 1050, 20.0), (1055, 1060, 30.0), (1061, 1120, 32.5)];
        assert_eq!(pieces(0, 120), all);
        assert_eq!(pieces(0, 800)[3], (1061, 1161, 32.5));
    }

    #[test]
    fn a_video_that_starts_inside_a_part_plays_the_rest_of_it() {
        assert_eq!(pieces(40, 64), [(1040, 1050, 0.0), (1055, 1060, 5.0), (1061, 1064, 7.5)]);
    }

    #[test]
    fn parts_are_where_the_first_picture_is() {
        let follower = Follower::new(&plan().counted_from(700));
        let starts = [709, 710, 730].map(|t| follower.part(t).map(|part| part.start_ns));
        assert_eq!(starts, [None, Some(710), Some(730)]);
    }

    #[test]
    fn a_frame_belongs_to_the_part_that_it_starts_in() {
        let follower = Follower::new(&plan());
        let starts = [9, 10, 29, 30, 50, 55, 60, 160, 161].map(|t| follower.part(t).map(|part| part.start_ns));
        assert_eq!(starts, [None, Some(10), Some(10), Some(30), None, Some(55), None, Some(61), None]);
    }
}
