//! What waits in the scoring element: frames and events in their order, and the segments that they belong to.
//!
//! Pure: frames and events are any `T`, and the time is given. Segments are resolved strictly in order, each with an [`Outcome`]. A frame goes
//! on once its segment is resolved and it is known whether a shot starts with it; an event once everything before it has gone.
//!
//! A live stream's frames have an instant at which they go on whatever they lack, see [`Stay`]. So that their segment has an outcome by
//! then, [`Step::Close`] says in time that an unfinished segment is to be finished as it is, and an unscored one takes the last score.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    engine::{Score, ScoreError},
    maps::Maps,
    meta::Flags,
    segmenter::{Place, Segment},
    summary::quantile::RunningQuantile,
};

/// Bytes of frames above which a recording's upstream waits, where waiting helps: 172 frames of 1920x1080 (I420), 43 of 3840x2160.
pub const MOST_BYTES: u64 = 512 << 20;
/// How long live frames may wait for downstream after they were due, before upstream waits: as long as in a `queue`.
pub const MOST_OVERDUE: Duration = Duration::from_secs(1);

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
    stride: u32,
    padded: bool,
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

/// The shot of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shot {
    /// Number of the shot, from 0.
    pub number: u64,
    /// The frame is its first.
    pub starts: bool,
}

/// How long a frame waits besides for its segment, and what it takes up meanwhile.
#[derive(Clone, Copy)]
pub struct Stay {
    /// Number of the analysis frame that it is, or else follows.
    pub sample: u64,
    /// When a live frame goes on even though nobody knows yet whether a shot starts with it. A start that is told later is the next
    /// frame's.
    pub due: Option<Instant>,
    /// ns
    pub pts: Option<u64>,
    pub bytes: u64,
}

enum Waiting {
    /// For the engine; in a live pipeline not beyond the instant.
    Engine(Option<Instant>),
    /// For its turn: it takes the last score, with these flags.
    Turn(Flags),
    Scored(Score, f32),
}

enum Item<T> {
    Frame(T, Place, Stay),
    /// A frame that is not scored and waits for nothing.
    Passing(T),
    Other(T),
}

/// What can be done next.
pub enum Step<T> {
    /// A segment has its outcome.
    Resolved(Arc<Outcome>),
    /// This frame of that segment goes on.
    Frame(T, Arc<Outcome>, u32, Shot),
    /// This frame goes on as it is.
    Passing(T),
    /// This event goes on.
    Other(T),
    /// The segment of this number is to be finished as it is, or its frames would be late.
    Close(u64),
    /// Nothing; until that instant, or until something is added.
    Wait(Option<Instant>),
}

/// Importance, [0, 1), of what comes once in so many hours: h / (1 + h).
pub fn importance_of(hours: f64) -> f32 {
    if hours.is_finite() { (hours / (1.0 + hours)) as f32 } else { 1.0 }
}

/// The newest score, which segments without one of their own carry on.
struct Last {
    stream: u64,
    score: Score,
    importance: f32,
}

/// The queue.
pub struct Pending<T> {
    items: VecDeque<Item<T>>,
    /// Frames among them.
    frames: usize,
    /// Bytes that these take up.
    bytes: u64,
    /// PTS of the newest, ns.
    newest: Option<u64>,
    /// The unfinished segment, and when it is to be finished as it is.
    open: Option<(u64, Instant)>,
    /// Not yet resolved, in order.
    waiting: VecDeque<(Span, Waiting)>,
    /// Resolved, with frames still to go.
    resolved: VecDeque<Arc<Outcome>>,
    /// Of the stream of this number.
    ranking: (u64, RunningQuantile),
    last: Option<Last>,
    /// The segment that would have brought the score to carry on failed.
    failed: bool,
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
            frames: 0,
            bytes: 0,
            newest: None,
            open: None,
            waiting: VecDeque::new(),
            resolved: VecDeque::new(),
            ranking: Default::default(),
            last: None,
            failed: false,
            starts: VecDeque::new(),
            settled: 0,
            shot: 0,
        }
    }
}

impl<T> Pending<T> {
    pub fn add_frame(&mut self, frame: T, place: Place, stay: Stay) {
        self.frames += 1;
        self.bytes += stay.bytes;
        self.newest = stay.pts.or(self.newest);
        self.items.push_back(Item::Frame(frame, place, stay));
    }

    /// A frame that is not scored. It keeps its place.
    pub fn add_passing(&mut self, frame: T) {
        self.frames += 1;
        self.items.push_back(Item::Passing(frame));
    }

    /// A segment began. At that instant it is to be finished as it is.
    pub fn open(&mut self, segment: u64, close: Option<Instant>) {
        self.open = close.map(|close| (segment, close));
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
        self.finished(span, Waiting::Engine(deadline));
    }

    /// A finished segment that nobody scores: it takes the score of the one before.
    pub fn carry(&mut self, span: Span, why: Flags) {
        self.finished(span, Waiting::Turn(why | Flags::CARRIED));
    }

    fn finished(&mut self, span: Span, waiting: Waiting) {
        self.open = None;
        self.waiting.push_back((span, waiting));
    }

    /// The engine's answer for a segment of this stream. It may come too late for its segment, and still ranks and is carried from then on.
    pub fn answer(&mut self, stream: u64, index: u64, answer: Result<Score, ScoreError>) {
        let scored = answer.map(|score| {
            if self.ranking.0 != stream {
                self.ranking = (stream, RunningQuantile::default());
            }
            let rank = self.ranking.1.add(score.score);
            // How rare it is tells more than its rank: on a quiet day the best is nothing.
            let importance = score.unusual.as_ref().map_or(rank, |unusual| importance_of(unusual.hours));
            (score, importance)
        });
        match (self.waiting.iter_mut().find(|(span, _)| span.index == index), scored) {
            (Some((_, waiting)), Ok((score, importance))) => *waiting = Waiting::Scored(score, importance),
            (Some((_, waiting)), Err(ScoreError::Shed)) => *waiting = Waiting::Turn(Flags::LATE | Flags::CARRIED),
            (Some((_, waiting)), Err(_)) => *waiting = Waiting::Turn(Flags::FAILED | Flags::CARRIED),
            (None, Ok((score, importance))) => {
                self.last = Some(Last { stream, score, importance });
                self.failed = false;
            }
            (None, Err(ScoreError::Shed)) => {}
            (None, Err(_)) => self.failed = true,
        }
    }

    /// Frames that wait.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Finished segments, with their outcome or not yet, whose frames have not all gone on.
    pub fn finished_segments(&self) -> usize {
        self.waiting.len() + self.resolved.len()
    }

    /// The first frame that waits for its segment, behind events that downstream may not have let go on either.
    fn first_frame(&self) -> Option<(&Place, &Stay)> {
        self.items
            .iter()
            .find_map(|item| if let Item::Frame(_, place, stay) = item { Some((place, stay)) } else { None })
    }

    /// Whether so many bytes of frames wait that upstream should, too. Only where that helps: the first frame needs nothing more of upstream.
    pub fn is_heavy(&self, most: u64) -> bool {
        let Some((place, stay)) = self.first_frame() else { return false };
        let newest = self.waiting.back().map(|(span, _)| span.index);
        let newest = newest.or(self.resolved.back().map(|outcome| outcome.span.index));
        self.bytes > most && newest >= Some(place.segment) && stay.sample < self.settled
    }

    /// Whether downstream keeps live frames that could go on waiting for so long that upstream should wait, too: for [`MOST_OVERDUE`] more
    /// than `latency`, ns, by the clock or by their timestamps. Where they are large, as [`MOST_BYTES`] tells, for no longer than that.
    pub fn is_overdue(&self, now: Instant, latency: u64) -> bool {
        let Some((place, stay)) = self.first_frame() else { return false };
        let grace = if self.bytes > MOST_BYTES { Duration::ZERO } else { MOST_OVERDUE };
        let has_outcome = match self.waiting.front() {
            _ if self.resolved.back().is_some_and(|outcome| outcome.span.index >= place.segment) => true,
            Some((span, Waiting::Engine(deadline))) if span.index == place.segment => {
                deadline.is_some_and(|at| at <= now)
            }
            Some((span, _)) => span.index == place.segment,
            None => false,
        };
        let could_go = has_outcome && stay.sample < self.settled || stay.due.is_some_and(|due| due <= now);
        let waiting = self.newest.zip(stay.pts).map_or(0, |(newest, pts)| newest.saturating_sub(pts));
        could_go && waiting > latency.saturating_add(grace.as_nanos() as u64)
            || stay.due.is_some_and(|due| now.saturating_duration_since(due) > grace)
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.waiting.is_empty()
    }

    /// Forgets what waits; scores so far go on to count. The events that waited, in order.
    pub fn clear(&mut self) -> Vec<T> {
        (self.frames, self.bytes, self.newest, self.open) = (0, 0, None, None);
        self.waiting.clear();
        self.resolved.clear();
        self.starts.clear();
        let others = |item| if let Item::Other(event) = item { Some(event) } else { None };
        self.items.drain(..).filter_map(others).collect()
    }

    /// Downstream wants no more of this: drops the frames before the first event that begins something else, if there is one; whether there is.
    pub fn drop_frames_until(&mut self, begins: impl Fn(&T) -> bool) -> bool {
        let place = self.items.iter().position(|item| matches!(item, Item::Other(event) if begins(event)));
        let mut rest = self.items.split_off(place.unwrap_or(self.items.len()));
        let mut others: VecDeque<_> = std::iter::from_fn(|| self.pop()).collect();
        others.retain(|item| matches!(item, Item::Other(_)));
        others.append(&mut rest);
        self.items = others;
        place.is_some()
    }

    fn pop(&mut self) -> Option<Item<T>> {
        let item = self.items.pop_front();
        match &item {
            Some(Item::Frame(_, _, stay)) => {
                self.frames -= 1;
                self.bytes -= stay.bytes;
            }
            Some(Item::Passing(_)) => self.frames -= 1,
            Some(Item::Other(_)) | None => {}
        }
        item
    }

    /// The next thing to do at the instant `now`.
    pub fn step(&mut self, now: Instant) -> Step<T> {
        if let Some((segment, close)) = self.open
            && close <= now
        {
            self.open = None;
            return Step::Close(segment);
        }
        if let Some(outcome) = self.resolve(now) {
            let outcome = Arc::new(outcome);
            self.resolved.push_back(outcome.clone());
            return Step::Resolved(outcome);
        }
        match self.items.front() {
            Some(Item::Other(_) | Item::Passing(_)) => {}
            Some(Item::Frame(_, place, stay)) => {
                while self.resolved.front().is_some_and(|outcome| outcome.span.index < place.segment) {
                    self.resolved.pop_front();
                }
                if self.resolved.is_empty() {
                    return self.wait(None);
                }
                if stay.sample >= self.settled && stay.due.is_none_or(|due| due > now) {
                    return self.wait(stay.due);
                }
            }
            None => {
                self.resolved.clear();
                return self.wait(None);
            }
        }
        match (self.pop(), self.resolved.front()) {
            (Some(Item::Other(event)), _) => Step::Other(event),
            (Some(Item::Passing(frame)), _) => Step::Passing(frame),
            (Some(Item::Frame(frame, place, stay)), Some(outcome)) => {
                let outcome = outcome.clone();
                if place.frame + 1 == outcome.span.frames {
                    self.resolved.pop_front();
                }
                Step::Frame(frame, outcome, place.frame, self.shot_at(stay.sample))
            }
            _ => Step::Wait(None),
        }
    }

    /// Waits until the first of: this instant, that a waiting segment is late, that the unfinished one is to be finished.
    fn wait(&self, due: Option<Instant>) -> Step<T> {
        let late = match self.waiting.front() {
            Some((_, Waiting::Engine(deadline))) => *deadline,
            _ => None,
        };
        let close = self.open.map(|(_, close)| close);
        Step::Wait([due, late, close].into_iter().flatten().min())
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
                self.last = Some(Last { stream: span.stream, score, importance });
                self.failed = false;
                own
            }
            Waiting::Turn(why) => {
                self.failed |= why.contains(Flags::FAILED);
                flags |= why | if self.failed { Flags::FAILED } else { Flags::empty() };
                (Vec::new(), None)
            }
            Waiting::Engine(_) => return None,
        };
        Some(match &self.last {
            Some(Last { stream, score: last, importance }) if *stream == span.stream => Outcome {
                span,
                score: last.score,
                importance: *importance,
                category: last.category,
                confidence: last.confidence,
                frame_scores,
                maps,
                flags,
            },
            _ => Outcome {
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
pub(crate) mod tests {
    use super::*;
    use crate::{
        clip::{Clip, Frame, Geometry},
        engine::ScoreError,
    };
    use std::time::Duration;

    pub fn span(index: u64, frames: u32) -> Span {
        let segment = Segment {
            index,
            start: Some(index * 640),
            duration: 640,
            frames,
            stride: 1,
            padded: frames < 16,
            clip: Clip::padded(vec![Frame::black(&Geometry::PAPER)]).unwrap(),
        };
        Span::new(&segment, 0, None)
    }

    fn score(value: f32) -> Result<Score, ScoreError> {
        let frame_scores = (0..16).map(|i| value + i as f32).collect();
        Ok(Score {
            category: Some(1),
            confidence: 0.5,
            unusual: None,
            frame_scores,
            score: value,
            maps: None,
            inference: Duration::ZERO,
        })
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
                Step::Other(name) | Step::Passing(name) => name.to_string(),
                Step::Close(segment) => format!("close #{segment}"),
                Step::Wait(_) => return done,
            });
        }
    }

    /// Frames for which it is known that they start no shot.
    fn frames(pending: &mut Pending<&'static str>, segment: u64, names: &[&'static str]) {
        pending.settle(1);
        for (frame, name) in names.iter().enumerate() {
            pending.add_frame(
                name,
                Place { segment, frame: frame as u32 },
                Stay { sample: 0, due: None, pts: None, bytes: 100 },
            );
        }
    }

    /// The first segment, scored: frames that are analysis frames of the same numbers.
    fn scored(names: &[&'static str], due: Option<Instant>) -> Pending<&'static str> {
        let mut pending = Pending::default();
        for (frame, name) in names.iter().enumerate() {
            let pts = Some(frame as u64 * 40_000_000);
            let stay = Stay { sample: frame as u64, due, pts, bytes: 100 };
            pending.add_frame(*name, Place { segment: 0, frame: frame as u32 }, stay);
        }
        pending.await_score(span(0, 16), None);
        pending.answer(0, 0, score(3.0));
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
        pending.answer(0, 1, score(7.0));
        assert!(steps(&mut pending, now).is_empty());
        pending.answer(0, 0, score(3.0));
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
        pending.answer(0, 0, score(3.0));
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
        pending.answer(0, 0, score(9.0));
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
        pending.answer(0, 0, Err(ScoreError::Stopped));
        let failed = Flags::FAILED | Flags::UNSCORED;
        assert_eq!(steps(&mut pending, now), [format!("#0 0 {failed:?}"), "a #0.0 0".into()]);
    }

    #[test]
    fn segments_that_would_carry_a_score_that_failed_have_failed_too() {
        let (mut pending, now) = (Pending::default(), Instant::now());
        for segment in 0..8 {
            match segment {
                0 | 2 | 4 | 6 => pending.await_score(span(segment, 16), None),
                _ => pending.carry(span(segment, 16), Flags::empty()),
            }
        }
        // Answers run ahead of what is resolved.
        pending.answer(0, 0, score(3.0));
        pending.answer(0, 2, Err(ScoreError::Stopped));
        pending.answer(0, 4, Err(ScoreError::Shed));
        pending.answer(0, 6, score(5.0));
        let (own, carried) = (Flags::empty(), Flags::CARRIED);
        let (failed, late) = (Flags::FAILED | carried, Flags::FAILED | Flags::LATE | carried);
        let expected =
            [(3, own), (3, carried), (3, failed), (3, failed), (3, late), (3, failed), (5, own), (5, carried)];
        let expected: Vec<_> = expected
            .iter()
            .enumerate()
            .map(|(number, (score, flags))| format!("#{number} {score} {flags:?}"))
            .collect();
        assert_eq!(steps(&mut pending, now), expected);
        // One that failed after it was given up.
        pending.await_score(span(8, 16), Some(now));
        assert_eq!(steps(&mut pending, now), [format!("#8 5 {:?}", Flags::LATE | carried)]);
        pending.answer(0, 8, Err(ScoreError::Stopped));
        pending.carry(span(9, 16), Flags::empty());
        assert_eq!(steps(&mut pending, now), [format!("#9 5 {failed:?}")]);
    }

    #[test]
    fn scores_of_one_stream_say_nothing_of_the_next() {
        let (mut pending, now) = (Pending::<&str>::default(), Instant::now());
        for (index, stream) in [(0, 0), (1, 0), (2, 1), (3, 1)] {
            pending.await_score(Span { stream, ..span(index, 16) }, None);
        }
        pending.carry(Span { stream: 2, ..span(4, 16) }, Flags::empty());
        for (stream, index, value) in [(0, 0, 5.0), (0, 1, 9.0), (1, 2, 3.0), (1, 3, 1.0)] {
            pending.answer(stream, index, score(value));
        }
        let mut ranks = Vec::new();
        while let Step::Resolved(outcome) = pending.step(now) {
            ranks.push((outcome.score, outcome.importance, outcome.flags));
        }
        let own = Flags::empty();
        assert_eq!(
            ranks,
            [(5.0, 0.5, own), (9.0, 0.75, own), (3.0, 0.5, own), (1.0, 0.25, own), (0.0, 0.0, Flags::UNSCORED)]
        );
        // A flush is none.
        pending.clear();
        pending.carry(Span { stream: 1, ..span(5, 16) }, Flags::empty());
        assert_eq!(steps(&mut pending, now), [format!("#5 1 {:?}", Flags::CARRIED)]);
    }

    #[test]
    fn an_unfinished_segment_is_to_be_finished_in_time() {
        let now = Instant::now();
        let [close, due] = [5, 7].map(|ms| now + Duration::from_millis(ms));
        let mut pending = Pending::default();
        let stay = Stay { sample: 0, due: Some(due), pts: None, bytes: 100 };
        pending.add_frame("a", Place { segment: 0, frame: 0 }, stay);
        pending.open(0, Some(close));
        assert!(matches!(pending.step(now), Step::Wait(Some(until)) if until == close));
        // Once.
        assert_eq!(steps(&mut pending, close), ["close #0"]);
        pending.await_score(span(0, 1), Some(due));
        assert!(matches!(pending.step(close), Step::Wait(Some(until)) if until == due));
        let flags = Flags::LATE | Flags::UNSCORED | Flags::PADDED;
        assert_eq!(steps(&mut pending, due), [format!("#0 0 {flags:?}"), "a #0.0 0".into()]);
        // One that is finished or thrown away is not.
        pending.open(1, Some(close));
        pending.carry(span(1, 16), Flags::empty());
        assert_eq!(steps(&mut pending, due).len(), 1);
        pending.open(2, Some(close));
        pending.clear();
        assert!(steps(&mut pending, due).is_empty());
    }

    #[test]
    fn frames_that_are_not_scored_keep_their_places() {
        let (mut pending, now) = (Pending::default(), Instant::now());
        frames(&mut pending, 0, &["a"]);
        pending.add_passing("b");
        pending.add_event("tag");
        pending.add_passing("c");
        assert_eq!(pending.frames(), 3);
        assert!(steps(&mut pending, now).is_empty());
        pending.carry(span(0, 16), Flags::empty());
        assert_eq!(steps(&mut pending, now)[1..], ["a #0.0 0", "b", "tag", "c"]);
        assert_eq!(pending.frames(), 0);
    }

    #[test]
    fn frames_that_downstream_does_not_want_are_dropped_up_to_the_next_segment() {
        let (mut pending, now) = (Pending::default(), Instant::now());
        frames(&mut pending, 0, &["a"]);
        pending.add_event("tag");
        pending.add_passing("b");
        pending.add_event("segment");
        frames(&mut pending, 1, &["c"]);
        assert!(pending.drop_frames_until(|event| *event == "segment"));
        assert_eq!((pending.frames(), pending.is_heavy(99)), (1, false));
        assert_eq!(steps(&mut pending, now), ["tag", "segment"]);
        pending.carry(span(1, 1), Flags::empty());
        assert!(pending.is_heavy(99) && !pending.is_heavy(100));
        assert!(!pending.drop_frames_until(|event| *event == "segment"));
        assert_eq!((pending.frames(), steps(&mut pending, now).len()), (0, 1));
        assert!(pending.is_empty());
    }

    #[test]
    fn a_recordings_upstream_waits_for_bytes_only_where_that_helps() {
        let (mut pending, now) = (Pending::default(), Instant::now());
        pending.add_event("tag");
        frames(&mut pending, 0, &["a", "b", "c"]);
        // 300 bytes, of a segment that needs more frames.
        assert!(!pending.is_heavy(299));
        pending.await_score(span(0, 3), None);
        assert!(pending.is_heavy(299) && !pending.is_heavy(300));
        pending.settle(0);
        assert!(!pending.is_heavy(299), "a shot may still start");
        pending.settle(1);
        pending.answer(0, 0, score(3.0));
        assert!(matches!(pending.step(now), Step::Resolved(_)) && pending.is_heavy(299));
        assert!(matches!(pending.step(now), Step::Other("tag")) && pending.is_heavy(299));
        assert!(matches!(pending.step(now), Step::Frame("a", ..)) && !pending.is_heavy(299) && pending.is_heavy(199));
    }

    #[test]
    fn live_frames_are_overdue_a_second_after_the_latency() {
        let (now, tick) = (Instant::now(), Duration::from_nanos(1));
        let mut pending = scored(&["a"], Some(now));
        assert!(!pending.is_overdue(now + MOST_OVERDUE, 0));
        assert!(pending.is_overdue(now + MOST_OVERDUE + tick, 0));
        // Large ones at once.
        let large = Stay { sample: 1, due: None, pts: None, bytes: MOST_BYTES };
        pending.add_frame("b", Place { segment: 0, frame: 1 }, large);
        assert!(pending.is_overdue(now + tick, 0) && !pending.is_overdue(now, 0));
        pending.clear();
        assert!(!pending.is_overdue(now + 2 * MOST_OVERDUE, 0));
    }

    #[test]
    fn live_frames_that_come_faster_than_the_clock_are_overdue_by_their_timestamps() {
        let now = Instant::now();
        // 30 frames of 40 ms: from the first to the last, 1.16 s.
        let mut pending = scored(&["a"; 30], Some(now + Duration::from_secs(60)));
        let (less, enough) = (159_999_999, 160_000_000);
        assert!(!pending.is_overdue(now, less), "it is not known yet whether a shot starts");
        pending.settle(1);
        assert!(pending.is_overdue(now, less) && !pending.is_overdue(now, enough));
        // Nor while a frame waits for its segment.
        pending.clear();
        pending.add_event("tag");
        for (frame, pts) in [(0, 0), (1, 5_000_000_000)] {
            let stay = Stay { sample: 0, due: None, pts: Some(pts), bytes: 100 };
            pending.add_frame("a", Place { segment: 1, frame }, stay);
        }
        assert!(!pending.is_overdue(now, 0));
        pending.await_score(span(1, 2), Some(now + Duration::from_millis(5)));
        assert!(!pending.is_overdue(now, 0) && pending.is_overdue(now + Duration::from_millis(5), 0));
    }
}
