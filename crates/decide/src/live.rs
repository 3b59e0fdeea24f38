//! What becomes of every segment of a live stream: dropped, or kept at a speed.
//!
//! A pure function of what went by. Times are running times, ns.

use std::collections::VecDeque;

use super::{
    online::{self, Online},
    timelapse::TimeLapse,
};

/// Importance that a segment without a score is taken for in a time-lapse: the middle.
const UNKNOWN_IMPORTANCE: f64 = 0.5;

/// What the scorer says of a frame's segment.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Number of the segment.
    pub segment: u64,
    /// Of the segment, ns.
    pub duration: u64,
    /// `None` if it is not scored: [`online::counted`].
    pub scored: Option<Scored>,
}

/// How much a segment matters.
#[derive(Clone, Copy, Debug)]
pub struct Scored {
    /// Finite.
    pub score: f64,
    /// Its running rank, [0, 1].
    pub importance: f64,
    /// Whether the score is for a category: [`online::Segment::of_category`].
    pub of_category: bool,
}

/// Why something is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is among what matters most.
    Important,
    /// Nobody knows how much it matters.
    Unscored,
}

impl Reason {
    /// The word for it in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Important => "important",
            Self::Unscored => "unscored",
        }
    }
}

/// What becomes of a group of frames that share their fate: a segment, or a frame without one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// Number of the group.
    pub group: u64,
    /// The stretch that it stands for.
    pub from: u64,
    pub until: u64,
    /// Speed and reason; `None`: it is dropped.
    pub keep: Option<(f64, Reason)>,
}

/// A group that waits for its verdict.
#[derive(Clone, Copy, Debug)]
struct Group {
    number: u64,
    from: u64,
    duration: u64,
}

/// Decides group by group, in their order.
#[derive(Debug)]
pub struct Live {
    mode: Mode,
    waiting: VecDeque<Group>,
    /// Groups so far.
    groups: u64,
    /// Number of the segment that the last frame belonged to.
    segment: Option<u64>,
}

#[derive(Debug)]
enum Mode {
    Skim(Online),
    TimeLapse(TimeLapse),
}

impl Live {
    /// Keeps what matters most, at normal speed.
    pub fn skim(settings: online::Settings) -> Self {
        Self::new(Mode::Skim(Online::new(settings)))
    }

    /// Keeps everything, the faster the less it matters.
    pub fn time_lapse(lapse: TimeLapse) -> Self {
        Self::new(Mode::TimeLapse(lapse))
    }

    fn new(mode: Mode) -> Self {
        Self { mode, waiting: VecDeque::new(), groups: 0, segment: None }
    }

    /// A frame comes, at `time` and for `duration`: the number of its group, and the verdicts that it brings. A frame without a
    /// place is kept, and so is a segment without a score: nothing is lost because nothing is known. Each gets its verdict in its turn.
    pub fn frame(&mut self, time: u64, duration: u64, place: Option<&Place>) -> (u64, Vec<Verdict>) {
        let segment = place.map(|place| place.segment);
        if segment.is_some() && segment == self.segment {
            return (self.groups - 1, Vec::new());
        }
        self.segment = segment;
        let number = self.groups;
        self.groups += 1;
        let duration = place.map_or(duration, |place| place.duration);
        self.waiting.push_back(Group { number, from: time, duration });
        let verdicts = match &mut self.mode {
            Mode::Skim(online) => {
                let scored = place.and_then(|place| place.scored);
                let (score, of_category) = (scored.map(|s| s.score), scored.is_some_and(|s| s.of_category));
                // The shortest of segments still is one.
                let segment = online::Segment { start: time, duration: duration.max(1), score, of_category };
                let decisions = online.push(segment);
                self.settle(decisions)
            }
            Mode::TimeLapse(lapse) => {
                let importance = |place: &Place| place.scored.map_or(UNKNOWN_IMPORTANCE, |scored| scored.importance);
                let speed = place.map_or(1.0, |place| lapse.speed(importance(place), place.duration));
                self.verdict(Some((speed, Reason::Important))).into_iter().collect()
            }
        };
        (number, verdicts)
    }

    /// No more frames come for what is not decided yet.
    pub fn finish(&mut self) -> Vec<Verdict> {
        let decisions = match &mut self.mode {
            Mode::Skim(online) => online.finish(),
            Mode::TimeLapse(_) => Vec::new(),
        };
        self.settle(decisions)
    }

    fn settle(&mut self, decisions: Vec<online::Decision>) -> Vec<Verdict> {
        let reason = |score: Option<f64>| if score.is_some() { Reason::Important } else { Reason::Unscored };
        let keep = |decision: online::Decision| decision.keep.then(|| (1.0, reason(decision.segment.score)));
        decisions.into_iter().filter_map(|decision| self.verdict(keep(decision))).collect()
    }

    /// Of the group that has waited longest.
    fn verdict(&mut self, keep: Option<(f64, Reason)>) -> Option<Verdict> {
        let Group { number, from, duration } = self.waiting.pop_front()?;
        // A segment may last a little longer by its frames' durations than by the next one's time.
        let next = self.waiting.front().map_or(u64::MAX, |next| next.from);
        Some(Verdict { group: number, from, until: (from + duration).min(next).max(from), keep })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    fn skim(look_ahead: u64) -> Live {
        Live::skim(online::Settings { look_ahead, ..Default::default() })
    }

    fn scored(importance: Option<f64>) -> Option<Scored> {
        importance.map(|importance| Scored { score: importance, importance, of_category: true })
    }

    fn place(segment: u64, importance: Option<f64>) -> Place {
        Place { segment, duration: SECOND, scored: scored(importance) }
    }

    #[test]
    fn what_is_not_scored_is_kept_in_its_turn() {
        let mut live = skim(2 * SECOND);
        // Nothing waits: each frame without a place is a group of its own.
        for number in 0..2 {
            let time = number * SECOND;
            let keep = Some((1.0, Reason::Unscored));
            let alone = Verdict { group: number, from: time, until: time + 40, keep };
            assert_eq!(live.frame(time, 40, None), (number, vec![alone]));
        }
        assert_eq!(live.frame(2 * SECOND, 1, Some(&place(0, Some(0.5)))), (2, vec![]));
        assert_eq!(live.frame(2 * SECOND + 1, 1, Some(&place(0, Some(0.5)))), (2, vec![]));
        assert_eq!(live.frame(3 * SECOND, 1, Some(&place(1, None))), (3, vec![]));
        let (group, verdicts) = live.frame(4 * SECOND, 1, Some(&place(2, Some(0.5))));
        let told: Vec<_> = verdicts.iter().map(|v| (v.group, v.from, v.until, v.keep.map(|keep| keep.1))).collect();
        assert_eq!(group, 4);
        assert_eq!((told.len(), told[0].0, told[0].1, told[0].2), (2, 2, 2 * SECOND, 3 * SECOND));
        assert_eq!(told[1], (3, 3 * SECOND, 4 * SECOND, Some(Reason::Unscored)));
        assert_eq!(live.finish().len(), 1);
    }

    #[test]
    fn a_time_lapse_decides_at_once() {
        let mut live = Live::time_lapse(TimeLapse::new(8.0, 1.0, 100.0));
        let (_, verdicts) = live.frame(7, 1, Some(&place(0, Some(0.5))));
        assert_eq!(verdicts[0].keep, Some((8.0, Reason::Important)));
        assert_eq!((verdicts[0].from, verdicts[0].until), (7, 7 + SECOND));
    }

    proptest! {
        #[test]
        fn every_group_gets_one_verdict_in_order_and_none_overlap(
            segments in prop::collection::vec((0u64..2_000, prop::option::of(0.0f64..1.0), prop::bool::ANY), 1..60),
            look_ahead in 0u64..10_000,
        ) {
            let mut live = skim(look_ahead);
            let (mut verdicts, mut groups) = (Vec::new(), Vec::new());
            for (i, (step, importance, placed)) in segments.iter().enumerate() {
                let place = Place { segment: i as u64, duration: 1_000, scored: scored(*importance) };
                let time = groups.last().map_or(0, |&(_, time)| time + step);
                let (group, due) = live.frame(time, 1_000, placed.then_some(&place));
                groups.push((group, time));
                verdicts.extend(due);
                if look_ahead == 0 {
                    prop_assert_eq!(verdicts.len(), groups.len());
                }
            }
            verdicts.extend(live.finish());
            let decided: Vec<(u64, u64)> = verdicts.iter().map(|v| (v.group, v.from)).collect();
            prop_assert_eq!(decided, groups);
            for (verdict, (_, importance, placed)) in verdicts.iter().zip(&segments) {
                let unscored = !placed || importance.is_none();
                prop_assert_eq!(verdict.keep.is_some_and(|keep| keep.1 == Reason::Unscored), unscored);
            }
            if look_ahead > 0 {
                prop_assert!(verdicts.windows(2).all(|w| w[0].until <= w[1].from || w[0].keep.is_none_or(|k| k.1 == Reason::Unscored)));
            }
        }
    }
}
