//! Turns decisions into clips: each cut from the ring while it is still being decided how long it gets.
//!
//! Until that is known, a clip gets all that comes: what nobody decided on yet is in its file when there is a crash, and what turns out to
//! be too much is cut off at its end.
//!
//! A clip begins with a key frame, and some cameras send one in minutes. Where the next moment can only be decoded from a key frame that
//! the clip before has long had, that clip goes on to there, so that no more than `OVERLAP` is in two clips, unless a break ends one
//! before all is decided. It is cut off at the key frame instead where it would become longer than it may, and is long enough without.

use std::collections::VecDeque;

use super::ring::{Cursor, Limits, Packet, Pushed, Ring};

/// How much more of the video may come while a clip's last sound is waited for, ns.
const PATIENCE: u64 = 2_000_000_000;

/// As much that nothing was decided on belongs to what is kept before it, ns: between two segments, whose times follow the arrival of
/// packets, and before a break, where the last segment is scored late.
const SLACK: u64 = 2_000_000_000;

/// As much may be in two clips, of two moments, ns: between key frames that come as often as is usual.
const OVERLAP: u64 = 4_000_000_000;

/// What a moment is kept for.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    pub score: f64,
    pub category: String,
    /// Probability of the category, in [0, 1].
    pub confidence: f64,
}

/// What was decided of a stretch of running time, ns. Decisions come in the order of time; pre-roll and post-roll are in them.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    pub start: u64,
    pub end: u64,
    /// `None`: it need not be kept.
    pub kept: Option<Kept>,
}

/// What is known of a clip so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Clip {
    /// Counts from 0.
    pub number: u64,
    /// When its first picture plays, a key frame: at or before what was asked for, where the ring had that. Running time, ns.
    pub start: u64,
    /// When what was asked for ends; what it got of later is to be cut off.
    pub end: u64,
    /// Of its best stretch.
    pub kept: Kept,
    /// The middle of that stretch.
    pub best: u64,
}

/// What is to be done with a clip's file.
#[derive(Debug)]
pub enum Step<T> {
    Begin(Clip),
    /// By stream, in the order of decoding.
    Packets(Vec<Vec<Packet<T>>>),
    /// It goes on, or something better was found.
    Update(Clip),
    End(Clip),
    /// The ring has nothing left of what was to be kept: the decision came too late, or the camera was away.
    Missed(Decision),
}

struct Open {
    clip: Clip,
    cursor: Cursor,
    /// When what was asked for begins.
    asked: u64,
    /// The latest end of a picture that it got.
    reached: u64,
    /// Up to when it was decided that nothing more need be kept.
    over: Option<u64>,
    /// No decision carries it on.
    ending: bool,
}

/// Whether a clip goes on or another begins, when something more is to be kept.
enum Next {
    GoesOn,
    Ends,
    /// It gives up what comes from this key frame on, which begins the next one.
    EndsAt(u64),
}

struct Waiting {
    decision: Decision,
    /// What is left of one that a clip was begun for, before a break.
    rest: bool,
}

/// A ring, and the clip that is being cut from it.
pub struct Cutter<T> {
    ring: Ring<T>,
    open: Option<Open>,
    /// Decided while the clip before still waits for its last packets, or of what is still to come.
    waiting: VecDeque<Waiting>,
    next: u64,
    /// The last clip that has all up to a break: from when, until when.
    whole: Option<(u64, u64)>,
    /// What is kept for longer is cut into several clips, ns.
    longest: u64,
    finished: bool,
}

impl<T: Clone> Cutter<T> {
    /// For video and as many `others`. What is kept for longer than `longest`, ns, becomes several clips.
    pub fn new(limits: Limits, others: usize, longest: u64) -> Self {
        let ring = Ring::new(limits, others);
        Self { ring, open: None, waiting: VecDeque::new(), next: 0, whole: None, longest, finished: false }
    }

    /// What comes now does not go on from what is there.
    pub fn begin_epoch(&mut self) -> Vec<Step<T>> {
        self.ring.begin_epoch();
        self.go_on()
    }

    /// A packet comes: of the video, or of another stream, counted from 0.
    pub fn push(&mut self, other: Option<usize>, packet: Packet<T>) -> (Pushed, Vec<Step<T>>) {
        let pushed = match other {
            Some(stream) => self.ring.push_other(stream, packet),
            None => self.ring.push_video(packet),
        };
        let awaited = self.open.is_some() || !self.waiting.is_empty();
        (pushed, if awaited { self.go_on() } else { Vec::new() })
    }

    /// A decision comes.
    pub fn decide(&mut self, decision: Decision) -> Vec<Step<T>> {
        self.waiting.push_back(Waiting { decision, rest: false });
        self.go_on()
    }

    /// Nothing more comes.
    pub fn finish(&mut self) -> Vec<Step<T>> {
        self.finished = true;
        let mut steps = self.begin_epoch();
        steps.extend(self.open.take().map(|open| Step::End(open.clip)));
        steps
    }

    fn go_on(&mut self) -> Vec<Step<T>> {
        let mut steps = Vec::new();
        loop {
            self.end_what_is_over();
            self.read(&mut steps);
            let ending = self.open.as_ref().is_some_and(|open| open.ending);
            let reached = self.ring.reached();
            let due = |decision: &Decision| decision.start < reached || decision.kept.is_none() || self.finished;
            if ending || !self.waiting.front().is_some_and(|waiting| due(&waiting.decision)) {
                return steps;
            }
            if let Some(next) = self.waiting.pop_front() {
                self.carry_out(next, &mut steps);
            }
        }
    }

    /// The open clip ends once no other one will need more than a little of it.
    fn end_what_is_over(&mut self) {
        if let Some(open) = &mut self.open
            && let Some(over) = open.over
        {
            open.ending |= self.ring.open(over).is_none_or(|cursor| cursor.start() + OVERLAP >= open.clip.end);
        }
    }

    /// Hands on what is there of the open clip, and ends it with its last packet.
    fn read(&mut self, steps: &mut Vec<Step<T>>) {
        let Some(open) = &mut self.open else { return };
        let growing = !open.ending && !self.finished;
        let read = self.ring.read(&mut open.cursor, if growing { u64::MAX } else { open.clip.end });
        open.reached = read.streams[0].iter().map(Packet::end).fold(open.reached, u64::max);
        if read.streams.iter().any(|packets| !packets.is_empty()) {
            steps.push(Step::Packets(read.streams));
        }
        let done = open.ending && self.ring.has_all(&open.cursor, open.clip.end, PATIENCE);
        if (done || read.over)
            && let Some(mut open) = self.open.take()
        {
            if read.over && open.reached < open.clip.end {
                let rest = Decision { start: open.reached, end: open.clip.end, kept: Some(open.clip.kept.clone()) };
                self.waiting.push_front(Waiting { decision: rest, rest: true });
            }
            if read.over && growing && open.over.is_none() {
                open.clip.end = open.reached.min(open.clip.end + SLACK);
                self.whole = Some((open.clip.start, open.clip.end));
            }
            steps.push(Step::End(open.clip));
        }
    }

    fn carry_out(&mut self, waiting: Waiting, steps: &mut Vec<Step<T>>) {
        let Waiting { mut decision, mut rest } = waiting;
        if let Some((from, until)) = self.whole
            && (from..until).contains(&decision.start)
        {
            (decision.start, rest) = (until, true);
        }
        match (&mut self.open, decision.kept.clone()) {
            (Some(open), Some(kept)) => {
                let next = next(open, &decision, &self.ring, self.longest);
                if matches!(next, Next::GoesOn) {
                    open.over = None;
                    open.clip.end = open.clip.end.max(decision.end);
                    if kept.score > open.clip.kept.score {
                        open.clip.kept = kept;
                        open.clip.best = middle(&decision);
                    }
                    steps.push(Step::Update(open.clip.clone()));
                    return;
                }
                if let Next::EndsAt(key) = next {
                    open.clip.end = key;
                    open.clip.best = open.clip.best.min(key.saturating_sub(1));
                }
                open.ending = true;
                self.waiting.push_front(Waiting { decision, rest });
            }
            (Some(open), None) => open.over = Some(decision.end),
            (None, Some(kept)) => match self.ring.open(decision.start).filter(|cursor| cursor.start() < decision.end) {
                Some(cursor) => {
                    let (number, start, end) = (self.next, cursor.start(), decision.end);
                    let clip = Clip { number, start, end, kept, best: middle(&decision).max(start) };
                    self.next += 1;
                    steps.push(Step::Begin(clip.clone()));
                    let asked = decision.start;
                    self.open = Some(Open { clip, cursor, asked, reached: start, over: None, ending: false });
                }
                None if rest => {}
                None => steps.push(Step::Missed(decision)),
            },
            (None, None) => {}
        }
    }
}

fn next<T: Clone>(open: &Open, decision: &Decision, ring: &Ring<T>, longest: u64) -> Next {
    let fits = decision.end.saturating_sub(open.asked) <= longest;
    let is_near = open.over.is_none() && decision.start <= open.clip.end + SLACK;
    if fits && is_near {
        return Next::GoesOn;
    }
    // Of what goes on, nothing is in both.
    let overlap = if is_near { 0 } else { OVERLAP };
    match ring.open(decision.start).map(|cursor| cursor.start()) {
        Some(key) if key + overlap >= open.clip.end => Next::Ends,
        None => Next::Ends,
        Some(key) if !fits && key >= open.clip.start + longest / 2 => Next::EndsAt(key),
        Some(_) => Next::GoesOn,
    }
}

fn middle(decision: &Decision) -> u64 {
    decision.start.midpoint(decision.end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FRAME: u64 = 40_000_000;
    const SECOND: u64 = 1_000_000_000;
    const LIMITS: Limits = Limits { time: 20 * SECOND, bytes: 1 << 20 };

    const LONGEST: u64 = 60 * SECOND;

    fn packet(time: u64) -> Packet<u64> {
        Packet { time, decode: time, duration: FRAME, key: time.is_multiple_of(SECOND), bytes: 1, data: time }
    }

    fn decision(start: u64, end: u64, score: f64) -> Decision {
        let kept = (score > 0.0).then(|| Kept { score, category: "fall".into(), confidence: 0.5 });
        Decision { start, end, kept }
    }

    /// In words: `begin START`, first and last packet with their count, `update END SCORE`, `end START END SCORE`.
    fn told(steps: Vec<Step<u64>>) -> Vec<String> {
        let ms = |time: u64| time / 1_000_000;
        let tell = |step| match step {
            Step::Begin(clip) => format!("begin {}", ms(clip.start)),
            Step::Packets(streams) => {
                let video = &streams[0];
                format!("{} to {}: {}", ms(video[0].time), ms(video[video.len() - 1].time), video.len())
            }
            Step::Update(clip) => format!("update {} {}", ms(clip.end), clip.kept.score),
            Step::End(clip) => format!("end {} {} {}", ms(clip.start), ms(clip.end), clip.kept.score),
            Step::Missed(decision) => format!("missed {}", ms(decision.start)),
        };
        steps.into_iter().map(tell).collect()
    }

    fn filled(seconds: u64) -> Cutter<u64> {
        let mut cutter = Cutter::new(LIMITS, 0, LONGEST);
        for time in (0..seconds * SECOND).step_by(FRAME as usize) {
            assert!(cutter.push(None, packet(time)).1.is_empty());
        }
        cutter
    }

    #[test]
    fn decisions_in_a_row_are_one_clip_with_the_best_score_and_all_that_came() {
        let mut cutter = filled(6);
        let mut steps = told(cutter.decide(decision(0, SECOND, 0.0)));
        for (end, score) in [(2, 0.25), (3, 0.75), (4, 0.5), (5, 0.0)] {
            steps.extend(told(cutter.decide(decision((end - 1) * SECOND, end * SECOND, score))));
        }
        assert_eq!(
            steps,
            ["begin 1000", "1000 to 5960: 125", "update 3000 0.75", "update 4000 0.75", "end 1000 4000 0.75"]
        );
    }

    #[test]
    fn a_clip_ends_with_its_last_packet_and_what_was_decided_meanwhile_follows() {
        let mut cutter = filled(3);
        assert_eq!(told(cutter.decide(decision(2_500_000_000, 4 * SECOND, 1.0)))[0], "begin 2000");
        assert!(cutter.decide(decision(4 * SECOND, 5 * SECOND, 0.0)).is_empty());
        assert!(cutter.decide(decision(5 * SECOND, 6 * SECOND, 2.0)).is_empty());
        let steps = (75..150).flat_map(|i| told(cutter.push(None, packet(i * FRAME)).1));
        let steps: Vec<String> = steps.filter(|step| !step.ends_with(": 1")).collect();
        assert_eq!(steps, ["end 2000 4000 1", "begin 5000"]);
        assert_eq!(told(cutter.finish()), ["end 5000 6000 2"]);
    }

    #[test]
    fn a_break_ends_the_clip_and_what_follows_is_another() {
        let mut cutter = filled(3);
        assert_eq!(told(cutter.decide(decision(2 * SECOND, 8 * SECOND, 1.0))).len(), 2);
        assert_eq!(told(cutter.begin_epoch()), ["end 2000 3000 1"]);
        let steps: Vec<String> =
            (0..50).flat_map(|i| told(cutter.push(None, packet(7 * SECOND + i * FRAME)).1)).collect();
        assert_eq!((steps.len(), &*steps[0], &*steps[25]), (51, "begin 7000", "7960 to 7960: 1"));
        let steps = told(cutter.decide(decision(8 * SECOND, 9 * SECOND, 0.5)));
        assert_eq!(steps, ["update 9000 1"]);
        assert_eq!(told(cutter.finish()), ["end 7000 9000 1"]);
    }

    #[test]
    fn a_gap_that_nothing_was_decided_on_is_bridged() {
        let mut cutter = filled(9);
        cutter.decide(decision(SECOND, 2 * SECOND, 1.0));
        assert_eq!(told(cutter.decide(decision(2_040_000_000, 3 * SECOND, 1.0)))[0], "update 3000 1");
        assert_eq!(
            told(cutter.decide(decision(5_040_000_000, 6 * SECOND, 1.0)))[..2],
            ["end 1000 3000 1", "begin 5000"]
        );
    }

    #[test]
    fn what_is_kept_for_too_long_goes_on_in_another_clip() {
        let mut cutter = Cutter::new(LIMITS, 0, 2 * SECOND);
        for time in (0..8 * SECOND).step_by(FRAME as usize) {
            assert!(cutter.push(None, packet(time)).1.is_empty());
        }
        let half = SECOND / 2;
        let steps: Vec<String> =
            (1..11).flat_map(|i| told(cutter.decide(decision(i * half, (i + 1) * half, 1.0)))).collect();
        let ends: Vec<&String> =
            steps.iter().filter(|step| step.starts_with("end") || step.starts_with("begin")).collect();
        // Each begins at the key frame before what was asked for, where the one before ends: none of it is lost, and none there twice.
        assert_eq!(ends, ["begin 0", "end 0 2000 1", "begin 2000", "end 2000 4000 1", "begin 4000"]);
        assert_eq!(told(cutter.finish()), ["end 4000 5500 1"]);
    }

    /// What begins and ends, of a camera with key frames at these times, s. Each moment is decided on a second after it.
    fn clips(keys: &[u64], seconds: u64, longest: u64, kept: impl Fn(u64) -> bool) -> Vec<String> {
        let mut cutter = Cutter::new(LIMITS, 0, longest * SECOND);
        let mut steps = Vec::new();
        for time in (0..seconds * SECOND).step_by(FRAME as usize) {
            let key = time % SECOND == 0 && keys.contains(&(time / SECOND));
            steps.extend(cutter.push(None, Packet { key, ..packet(time) }).1);
            if time % SECOND == 0 && time > SECOND {
                let start = time / SECOND - 2;
                let score = f64::from(u8::from(kept(start)));
                steps.extend(cutter.decide(decision(start * SECOND, (start + 1) * SECOND, score)));
            }
        }
        steps.extend(cutter.finish());
        let steps = told(steps).into_iter();
        steps
            .filter(|step| step.starts_with("begin") || step.starts_with("end") || step.starts_with("missed"))
            .collect()
    }

    #[test]
    fn a_camera_with_one_key_frame_in_minutes_is_written_once() {
        // There is nothing else that what follows could begin with.
        assert_eq!(clips(&[0], 80, 60, |_| true), ["begin 0", "end 0 78000 1"]);
        assert_eq!(clips(&[0, 70], 90, 60, |_| true), ["begin 0", "end 0 70000 1", "begin 70000", "end 70000 88000 1"]);
        // Two moments that need the same key frame are one clip; the third one has its own.
        let moments = |time| [10, 11, 30, 31, 50].contains(&time);
        let expected = ["begin 0", "end 0 32000 1", "begin 45000", "end 45000 51000 1"];
        assert_eq!(clips(&[0, 45], 60, 60, moments), expected);
        // The key frame comes while the moment before it still goes on.
        let moments = |time| (10..20).contains(&time) || time == 30;
        assert_eq!(clips(&[0, 15], 40, 60, moments), ["begin 0", "end 0 31000 1"]);
        assert_eq!(clips(&[0, 15], 40, 20, moments), ["begin 0", "end 0 15000 1", "begin 15000", "end 15000 31000 1"]);
    }

    #[test]
    fn what_is_decided_of_the_last_moments_before_a_break_is_in_its_clip_already() {
        let mut cutter = filled(3);
        cutter.decide(decision(0, 2 * SECOND, 1.0));
        assert_eq!(told(cutter.begin_epoch()), ["end 0 3000 1"]);
        assert!(cutter.decide(decision(2 * SECOND, 2_500_000_000, 1.0)).is_empty());
        cutter.push(None, packet(7 * SECOND));
        assert_eq!(told(cutter.decide(decision(2_500_000_000, 8 * SECOND, 1.0)))[0], "begin 7000");
    }

    #[test]
    fn what_the_ring_no_longer_has_is_missed() {
        let mut cutter = filled(2);
        cutter.begin_epoch();
        cutter.push(None, packet(60 * SECOND));
        assert_eq!(told(cutter.decide(decision(5 * SECOND, 6 * SECOND, 1.0))), ["missed 5000"]);
        let mut empty = Cutter::<u64>::new(LIMITS, 0, LONGEST);
        assert!(empty.decide(decision(0, SECOND, 1.0)).is_empty());
        assert_eq!(told(empty.finish()), ["missed 0"]);
    }

    proptest! {
        #[test]
        fn whatever_is_decided_clips_hold_it_once_and_in_order(
            lengths in prop::collection::vec((1u64..3_000, 0u8..3), 1..40), lag in 0u64..8, breaks in prop::collection::vec(0u64..60, 0..3),
        ) {
            let mut cutter = Cutter::new(LIMITS, 0, LONGEST);
            let (mut decided, mut decisions) = (0, Vec::new());
            for (length, score) in lengths {
                let end = decided + length * 1_000_000;
                decisions.push(decision(decided, end, f64::from(score)));
                decided = end;
            }
            let (mut steps, mut due) = (Vec::new(), decisions.clone().into_iter().peekable());
            for time in (0..decided + 10 * SECOND).step_by(FRAME as usize) {
                if time % SECOND == 0 && breaks.contains(&(time / SECOND)) {
                    steps.extend(cutter.begin_epoch());
                }
                steps.extend(cutter.push(None, packet(time)).1);
                while let Some(decision) = due.next_if(|decision| decision.end + lag * SECOND <= time) {
                    steps.extend(cutter.decide(decision));
                }
            }
            steps.extend(cutter.finish());
            let (mut open, mut last, mut ended) = (None::<u64>, None::<u64>, 0);
            let mut held = Vec::new();
            for step in steps {
                match step {
                    Step::Begin(clip) => {
                        prop_assert!(open.is_none() && clip.start % SECOND == 0);
                        // Little is in two clips, but where a break ended one before all was decided.
                        prop_assert!(clip.start + OVERLAP >= ended || !breaks.is_empty());
                        (open, last) = (Some(clip.start), None);
                    }
                    Step::Packets(streams) => for packet in &streams[0] {
                        // Every packet from the key frame on, none twice.
                        prop_assert_eq!(Some(packet.time), last.map_or(open, |last| Some(last + FRAME)));
                        last = Some(packet.time);
                        held.push(packet.time);
                    },
                    Step::Update(clip) => prop_assert_eq!(Some(clip.start), open),
                    Step::End(clip) => {
                        // Some of it was asked for. What came later is cut off.
                        prop_assert_eq!(open.take(), Some(clip.start));
                        ended = clip.end;
                        held.retain(|time| *time < clip.end);
                    }
                    Step::Missed(decision) => prop_assert!(false, "{:?}", decision),
                }
            }
            prop_assert!(open.is_none());
            for kept in decisions.iter().filter(|decision| decision.kept.is_some()) {
                for time in (kept.start.next_multiple_of(FRAME)..kept.end).step_by(FRAME as usize) {
                    prop_assert!(held.contains(&time), "{}", time);
                }
            }
        }
    }
}
