//! What waits in the scoring element: frames and events in their order, and the segments that they belong to.
//!
//! Pure: frames and events are any `T`. Segments are resolved strictly in order, each with a [`Outcome`]; a frame is
//! released once its segment is and it is known whether a shot starts with it, an event once everything before it is.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use crate::{
    engine::{Score, ScoreError},
    maps::Maps,
    meta::Flags,
    segmenter::{Place, Segment},
    summary::quantile::RunningQuantile,
};

/// What is known of a segment's frames besides their score.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    pub index: u64,
    /// ns; `None` where the frames carry no timestamps.
    pub start: Option<u64>,
    /// Running time of the first frame, ns.
    pub running_time: Option<u64>,
    /// ns
    pub duration: u64,
    pub frames: u32,
    stride: u32,
    padded: bool,
}

impl Span {
    pub fn new(segment: &Segment, running_time: Option<u64>) -> Self {
        let Segment { index, start, duration, frames, stride, padded, .. } = *segment;
        Self { index, start, running_time, duration, frames, stride, padded }
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
    /// Number of the category; `None` if nothing was scored yet.
    pub category: Option<usize>,
    pub confidence: f32,
    pub frame_scores: Vec<f32>,
    /// If asked for, and the score is its own.
    pub maps: Option<Maps>,
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

/// The shot of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shot {
    /// Number of the shot, from 0.
    pub number: u64,
    /// The frame is its first.
    pub starts: bool,
}

/// What a frame waits for, besides its segment.
#[derive(Clone, Copy)]
pub struct Decision {
    /// Number of the analysis frame that it is, or else follows.
    pub sample: u64,
    /// When it goes on even though nobody knows yet whether a shot starts with it. A start that is told later is the next
    /// frame's.
    pub due: Option<Instant>,
}

enum Waiting {
    /// For the engine; in a live pipeline not beyond the instant.
    Engine(Option<Instant>),
    /// For its turn: it takes the last score, with these flags.
    Turn(Flags),
    Scored(Score, f32),
}

enum Item<T> {
    Frame(T, Place, Decision),
    Other(T),
}

/// What can be done next.
pub enum Step<T> {
    /// A segment has its outcome.
    Resolved(Arc<Outcome>),
    /// This frame of that segment goes on.
    Frame(T, Arc<Outcome>, u32, Shot),
    /// This event goes on.
    Other(T),
    /// Nothing; until that instant, or until something is added.
    Wait(Option<Instant>),
}

/// The queue.
pub struct Pending<T> {
    items: VecDeque<Item<T>>,
    /// Not yet resolved, in order.
    waiting: VecDeque<(Span, Waiting)>,
    /// Resolved, with frames still to go.
    resolved: VecDeque<Arc<Outcome>>,
    quantile: RunningQuantile,
    last: Option<(Score, f32)>,
    /// Starts of shots that no frame has taken yet: analysis frame and number of the shot.
    starts: VecDeque<(u64, u64)>,
    /// Analysis frames below this number are known to start a shot or not.
    settled: u64,
    /// Number of the shot of the last frame that went on.
    shot: u64,
}

impl<T> Default for Pending<T> {
    fn default() -> Self {
        Self {
            items: VecDeque::new(),
            waiting: VecDeque::new(),
            resolved: VecDeque::new(),
            quantile: RunningQuantile::default(),
            last: None,
            starts: VecDeque::new(),
            settled: 0,
            shot: 0,
        }
    }
}

impl<T> Pending<T> {
    pub fn add_frame(&mut self, frame: T, place: Place, decision: Decision) {
        self.items.push_back(Item::Frame(frame, place, decision));
    }

    /// Shot `number` starts with this analysis frame; in order.
    pub fn add_shot(&mut self, sample: u64, number: u64) {
        self.starts.push_back((sample, number));
    }

    /// No start is to come of an analysis frame below this number.
    pub fn settle(&mut self, below: u64) {
        self.settled = below;
    }

    pub fn add_event(&mut self, event: T) {
        self.items.push_back(Item::Other(event));
    }

    /// A finished segment that the engine scores, by `deadline` if there is one.
    pub fn await_score(&mut self, span: Span, deadline: Option<Instant>) {
        self.waiting.push_back((span, Waiting::Engine(deadline)));
    }

    /// A finished segment that nobody scores: it takes the score of the one before.
    pub fn carry(&mut self, span: Span, why: Flags) {
        self.waiting.push_back((span, Waiting::Turn(why | Flags::CARRIED)));
    }

    /// The engine's answer. It may come too late for its segment, and still ranks and is carried from then on.
    pub fn answer(&mut self, index: u64, answer: Result<Score, ScoreError>) {
        let scored = answer.map(|score| {
            let importance = self.quantile.add(score.score);
            (score, importance)
        });
        match (self.waiting.iter_mut().find(|(span, _)| span.index == index), scored) {
            (Some((_, waiting)), Ok((score, importance))) => *waiting = Waiting::Scored(score, importance),
            (Some((_, waiting)), Err(ScoreError::Shed)) => *waiting = Waiting::Turn(Flags::LATE | Flags::CARRIED),
            (Some((_, waiting)), Err(_)) => *waiting = Waiting::Turn(Flags::FAILED | Flags::CARRIED),
            (None, Ok(scored)) => self.last = Some(scored),
            (None, Err(_)) => {}
        }
    }

    /// Segments that have their outcome, and whose frames have not all gone on.
    pub fn resolved_segments(&self) -> usize {
        self.resolved.len()
    }

    /// Finished segments, with their outcome or not yet, whose frames have not all gone on.
    pub fn finished_segments(&self) -> usize {
        self.waiting.len() + self.resolved.len()
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.waiting.is_empty()
    }

    /// Forgets what waits; scores so far go on to count. The events that waited, in order.
    pub fn clear(&mut self) -> Vec<T> {
        self.waiting.clear();
        self.resolved.clear();
        self.starts.clear();
        let others = |item| if let Item::Other(event) = item { Some(event) } else { None };
        self.items.drain(..).filter_map(others).collect()
    }

    /// Drops the frames before the next event: downstream wants no more of them.
    pub fn drop_frames(&mut self) {
        while let Some(Item::Frame(..)) = self.items.front() {
            self.items.pop_front();
        }
    }

    /// The next thing to do at the instant `now`.
    pub fn step(&mut self, now: Instant) -> Step<T> {
        if let Some(outcome) = self.resolve(now) {
            let outcome = Arc::new(outcome);
            self.resolved.push_back(outcome.clone());
            return Step::Resolved(outcome);
        }
        match self.items.front() {
            Some(Item::Other(_)) => {}
            Some(Item::Frame(_, place, decision)) => {
                while self.resolved.front().is_some_and(|outcome| outcome.span.index < place.segment) {
                    self.resolved.pop_front();
                }
                if self.resolved.is_empty() {
                    return Step::Wait(self.next_deadline());
                }
                if decision.sample >= self.settled && decision.due.is_none_or(|due| due > now) {
                    return Step::Wait([self.next_deadline(), decision.due].into_iter().flatten().min());
                }
            }
            None => {
                self.resolved.clear();
                return Step::Wait(self.next_deadline());
            }
        }
        match (self.items.pop_front(), self.resolved.front()) {
            (Some(Item::Other(event)), _) => Step::Other(event),
            (Some(Item::Frame(frame, place, decision)), Some(outcome)) => {
                let outcome = outcome.clone();
                if place.frame + 1 == outcome.span.frames {
                    self.resolved.pop_front();
                }
                Step::Frame(frame, outcome, place.frame, self.shot_at(decision.sample))
            }
            _ => Step::Wait(None),
        }
    }

    /// The shot of a frame that goes on.
    fn shot_at(&mut self, sample: u64) -> Shot {
        let mut starts = false;
        while let Some(&(start, number)) = self.starts.front()
            && start <= sample
        {
            (self.shot, starts) = (number, true);
            self.starts.pop_front();
        }
        Shot { number: self.shot, starts }
    }

    /// When the first waiting segment is late, if it can be.
    fn next_deadline(&self) -> Option<Instant> {
        match self.waiting.front() {
            Some((_, Waiting::Engine(deadline))) => *deadline,
            _ => None,
        }
    }

    fn resolve(&mut self, now: Instant) -> Option<Outcome> {
        if let Some((_, waiting @ Waiting::Engine(Some(_)))) = self.waiting.front_mut()
            && matches!(waiting, Waiting::Engine(Some(deadline)) if *deadline <= now)
        {
            *waiting = Waiting::Turn(Flags::LATE | Flags::CARRIED);
        }
        if let (_, Waiting::Engine(_)) = self.waiting.front()? {
            return None;
        }
        let (span, waiting) = self.waiting.pop_front()?;
        let mut flags = if span.padded { Flags::PADDED } else { Flags::empty() };
        let (frame_scores, maps) = match waiting {
            Waiting::Scored(mut score, importance) => {
                let own = (score.frame_scores.clone(), score.maps.take());
                self.last = Some((score, importance));
                own
            }
            Waiting::Turn(why) => {
                flags |= why;
                (Vec::new(), None)
            }
            Waiting::Engine(_) => return None,
        };
        Some(match &self.last {
            Some((last, importance)) => Outcome {
                span,
                score: last.score,
                importance: *importance,
                category: Some(last.category),
                confidence: last.confidence,
                frame_scores,
                maps,
                flags,
            },
            None => Outcome {
                span,
                score: 0.0,
                importance: 0.0,
                category: None,
                confidence: 0.0,
                frame_scores,
                maps,
                flags: (flags - Flags::CARRIED) | Flags::UNSCORED,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clip::{Clip, Frame, Geometry},
        engine::ScoreError,
    };
    use std::time::Duration;

    fn span(index: u64, frames: u32) -> Span {
        let segment = Segment {
            index,
            start: Some(index * 640),
            duration: 640,
            frames,
            stride: 1,
            padded: frames < 16,
            clip: Clip::padded(vec![Frame::black(&Geometry::PAPER)]).unwrap(),
        };
        Span::new(&segment, None)
    }

    fn score(value: f32) -> Result<Score, ScoreError> {
        let frame_scores = (0..16).map(|i| value + i as f32).collect();
        Ok(Score { category: 1, confidence: 0.5, frame_scores, score: value, maps: None, inference: Duration::ZERO })
    }

    /// Everything that can be done now, in words.
    fn steps(pending: &mut Pending<&'static str>, now: Instant) -> Vec<String> {
        let mut done = Vec::new();
        loop {
            done.push(match pending.step(now) {
                Step::Resolved(outcome) => format!("#{} {} {:?}", outcome.span.index, outcome.score, outcome.flags),
                Step::Frame(name, outcome, frame, shot) => {
                    let shot = if shot.starts { format!(" shot {}", shot.number) } else { String::new() };
                    format!("{name} #{}.{frame} {}{shot}", outcome.span.index, outcome.frame_score(frame))
                }
                Step::Other(name) => name.to_string(),
                Step::Wait(_) => return done,
            });
        }
    }

    /// Frames for which it is known that they start no shot.
    fn frames(pending: &mut Pending<&'static str>, segment: u64, names: &[&'static str]) {
        pending.settle(1);
        for (frame, name) in names.iter().enumerate() {
            pending.add_frame(name, Place { segment, frame: frame as u32 }, Decision { sample: 0, due: None });
        }
    }

    /// The first segment, scored: frames that are analysis frames of the same numbers.
    fn scored(names: &[&'static str], due: Option<Instant>) -> Pending<&'static str> {
        let mut pending = Pending::default();
        for (frame, name) in names.iter().enumerate() {
            let decision = Decision { sample: frame as u64, due };
            pending.add_frame(*name, Place { segment: 0, frame: frame as u32 }, decision);
        }
        pending.await_score(span(0, 16), None);
        pending.answer(0, score(3.0));
        pending
    }

    #[test]
    fn frames_wait_until_it_is_known_which_start_shots() {
        let (mut pending, now) = (scored(&["a", "b", "c"], None), Instant::now());
        pending.add_shot(0, 0);
        pending.settle(1);
        assert_eq!(steps(&mut pending, now)[1..], ["a #0.0 3 shot 0"]);
        pending.add_event("tag");
        assert!(steps(&mut pending, now).is_empty());
        pending.add_shot(2, 1);
        pending.settle(3);
        assert_eq!(steps(&mut pending, now), ["b #0.1 4", "c #0.2 5 shot 1", "tag"]);
        // What a flush throws away is no start of what comes after it.
        pending.add_shot(3, 2);
        pending.clear();
        frames(&mut pending, 1, &["d"]);
        pending.add_shot(4, 3);
        pending.carry(span(1, 16), Flags::empty());
        assert_eq!(steps(&mut pending, now)[1..], ["d #1.0 3"]);
    }

    #[test]
    fn a_frame_that_is_due_goes_on_and_a_start_told_later_is_the_next_ones() {
        let now = Instant::now();
        let due = now + Duration::from_millis(5);
        let mut pending = scored(&["a", "b", "c"], Some(due));
        pending.add_shot(0, 0);
        pending.settle(1);
        assert_eq!(steps(&mut pending, now)[1..], ["a #0.0 3 shot 0"]);
        assert!(matches!(pending.step(now), Step::Wait(Some(until)) if until == due));
        let Step::Frame("b", _, 1, shot) = pending.step(due) else { panic!("it is due") };
        assert_eq!(shot, Shot { number: 0, starts: false });
        pending.add_shot(1, 1);
        assert_eq!(steps(&mut pending, due), ["c #0.2 5 shot 1"]);
    }

    #[test]
    fn frames_and_events_wait_for_their_segment_and_keep_their_order() {
        let (mut pending, now) = (Pending::default(), Instant::now());
        pending.add_event("caps");
        frames(&mut pending, 0, &["a", "b"]);
        assert_eq!(steps(&mut pending, now), ["caps"]);
        pending.await_score(span(0, 2), None);
        pending.add_event("tag");
        frames(&mut pending, 1, &["c"]);
        pending.await_score(span(1, 1), None);
        pending.add_event("eos");
        assert!(steps(&mut pending, now).is_empty());
        // The second answer alone releases nothing.
        pending.answer(1, score(7.0));
        assert!(steps(&mut pending, now).is_empty());
        pending.answer(0, score(3.0));
        let padded = Flags::PADDED;
        assert_eq!(
            steps(&mut pending, now),
            [
                format!("#0 3 {padded:?}"),
                format!("#1 7 {padded:?}"),
                "a #0.0 3".into(),
                "b #0.1 4".into(),
                "tag".into(),
                "c #1.0 7".into(),
                "eos".into()
            ]
        );
        assert!(pending.is_empty());
    }

    #[test]
    fn carried_segments_take_the_last_score_when_their_turn_comes() {
        let (mut pending, now) = (Pending::default(), Instant::now());
        frames(&mut pending, 0, &["a"]);
        pending.await_score(span(0, 16), None);
        frames(&mut pending, 1, &["b"]);
        pending.carry(span(1, 16), Flags::empty());
        assert!(steps(&mut pending, now).is_empty());
        pending.answer(0, score(3.0));
        let carried = Flags::CARRIED;
        let none = Flags::empty();
        assert_eq!(
            steps(&mut pending, now),
            [format!("#0 3 {none:?}"), format!("#1 3 {carried:?}"), "a #0.0 3".into(), "b #1.0 3".into()]
        );
    }

    #[test]
    fn a_late_segment_goes_on_and_its_answer_counts_for_the_next() {
        let (mut pending, now) = (Pending::default(), Instant::now());
        frames(&mut pending, 0, &["a"]);
        pending.await_score(span(0, 16), Some(now + Duration::from_millis(5)));
        let Step::Wait(Some(until)) = pending.step(now) else { panic!("nothing can be done yet") };
        let late = Flags::LATE | Flags::UNSCORED;
        assert_eq!(steps(&mut pending, until), [format!("#0 0 {late:?}"), "a #0.0 0".into()]);
        pending.answer(0, score(9.0));
        frames(&mut pending, 1, &["b"]);
        pending.carry(span(1, 16), Flags::LATE);
        let late = Flags::LATE | Flags::CARRIED;
        assert_eq!(steps(&mut pending, now), [format!("#1 9 {late:?}"), "b #1.0 9".into()]);
    }

    #[test]
    fn failed_scoring_holds_nothing_back() {
        let (mut pending, now) = (Pending::default(), Instant::now());
        frames(&mut pending, 0, &["a"]);
        pending.await_score(span(0, 16), None);
        pending.answer(0, Err(ScoreError::Stopped));
        let failed = Flags::FAILED | Flags::UNSCORED;
        assert_eq!(steps(&mut pending, now), [format!("#0 0 {failed:?}"), "a #0.0 0".into()]);
    }
}
