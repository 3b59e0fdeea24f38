//! What waits in the scoring element: frames and events in their order, and the segments that they belong to.
//!
//! Pure: frames and events are any `T`, and the time is given. Segments are resolved strictly in order, each with an [`Outcome`]. A frame goes
//! on once its segment is resolved and it is known whether a shot starts with it; an event once everything before it has gone.
//!
//! A live stream's frames have an instant at which they go on whatever they lack, see [`Stay`]. So that their segment has an outcome by
//! then, [`Step::Close`] says in time that an unfinished segment is to be finished as it is, and an unscored one takes the last score.

mod segment;

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

pub use self::segment::{Outcome, Span};
use crate::meta::Flags;
use desumnet_decide::quantile::RunningQuantile;
use desumnet_engine::{Score, ScoreError, unusual::importance_of};
use desumnet_frames::segmenter::Place;

/// Bytes of frames above which a recording's upstream waits, where waiting helps: 172 frames of 1920x1080 (I420), 43 of 3840x2160.
pub const MOST_BYTES: u64 = 512 << 20;
/// How long live frames may wait for downstream after they were due, before upstream waits: as long as in a `queue`.
pub const MOST_OVERDUE: Duration = Duration::from_secs(1);

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
            let importance = match &score.unusual {
                // How rare it is tells more than its rank: on a quiet day the best is nothing.
                Some(unusual) => importance_of(unusual.hours),
                None => self.ranking.1.add(score.score),
            };
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
pub(crate) mod tests;
