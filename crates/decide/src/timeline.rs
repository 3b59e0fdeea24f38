//! Where the kept parts of a stream play: input times to output times, decided bit by bit.
//!
//! All streams of a pipeline share the running time, and so they share a timeline: what it tells of the video's time holds
//! for the sound's as well. Times are running times, ns. An output position is exact, not rounded to frames or samples, so
//! that no error adds up from part to part.

use std::collections::VecDeque;

/// A kept stretch of the input and where it plays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Piece {
    /// In the input.
    pub from: u64,
    /// In the input, exclusive; an open piece grows.
    pub until: u64,
    /// Output position of `from`.
    pub to: f64,
    /// How many times faster it plays, at least 1.
    pub speed: f64,
}

impl Piece {
    /// Output position of an input time; of one before the piece too, as if the piece began earlier.
    pub fn output(&self, time: u64) -> f64 {
        let since = if time >= self.from { (time - self.from) as f64 } else { -((self.from - time) as f64) };
        self.to + since / self.speed
    }

    /// Output position of its end.
    pub fn end(&self) -> f64 {
        self.output(self.until)
    }
}

/// A piece, and what is known of its two ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stretch {
    pub piece: Piece,
    /// What comes before it in the input is not what plays before it.
    pub cut_in: bool,
    /// It grows no more.
    pub closed: bool,
    /// It is closed, and what comes after it in the input is not what plays after it.
    pub cut_out: bool,
}

/// What becomes of an input time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate {
    Undecided,
    /// So is everything before `until`.
    Dropped {
        until: u64,
    },
    Kept(Piece),
    /// The video has ended before it.
    Over,
}

/// Pieces that are remembered at most: those of a day and a half of a skim, of half a day of a time-lapse. No stream is as far behind the video.
const MOST_PIECES: usize = 1 << 16;

/// What is kept of everything up to `decided`.
#[derive(Debug, Default)]
pub struct Timeline {
    pieces: VecDeque<Piece>,
    /// Longest hole of the stream that is played through, ns; `None`: every one.
    longest_pause: Option<u64>,
    /// Number of the first of `pieces` among all.
    first: u64,
    decided: u64,
    /// Where the video began in the input, and the output position there.
    start: Option<(u64, u64)>,
    ended: bool,
}

impl Timeline {
    /// The video begins at the input time `from`, and the output at `to`; only the first call counts.
    pub fn begin(&mut self, from: u64, to: u64) {
        self.start.get_or_insert((from, to));
    }

    /// A hole of the stream in what is kept is a cut if it is longer than this, ns. Without this, every hole is played through.
    pub fn set_longest_pause(&mut self, longest: u64) {
        self.longest_pause = Some(longest);
    }

    /// Everything before this is decided.
    pub fn decided(&self) -> u64 {
        self.decided
    }

    /// A stretch is kept. Where nothing was dropped since the last one, and the speed is the same, both are one piece, with
    /// the hole that the stream may have between them unless that is too long.
    pub fn keep(&mut self, from: u64, until: u64, speed: f64) -> Piece {
        let longest = self.longest_pause.unwrap_or(u64::MAX);
        let joins = |last: &Piece| from <= last.until.saturating_add(longest);
        let to = match self.pieces.back_mut() {
            Some(last) if last.until >= self.decided && last.speed == speed && joins(last) => {
                last.until = last.until.max(until);
                self.decided = self.decided.max(until);
                return *last;
            }
            Some(last) => last.end(),
            None => self.start.get_or_insert((from, from)).1 as f64,
        };
        let piece = Piece { from, until: until.max(from), to, speed };
        self.pieces.push_back(piece);
        self.decided = self.decided.max(until);
        piece
    }

    /// Everything undecided before `until` is dropped.
    pub fn drop_until(&mut self, until: u64) {
        self.decided = self.decided.max(until);
    }

    /// Nothing more comes.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// More comes after all.
    pub fn resume(&mut self) {
        self.ended = false;
    }

    pub fn ended(&self) -> bool {
        self.ended
    }

    /// What becomes of an input time.
    pub fn fate(&self, time: u64) -> Fate {
        let place = self.pieces.partition_point(|piece| piece.from <= time);
        match place.checked_sub(1).and_then(|place| self.pieces.get(place)) {
            Some(piece) if time < piece.until => Fate::Kept(*piece),
            _ if time < self.decided => {
                Fate::Dropped { until: self.pieces.get(place).map_or(self.decided, |next| next.from) }
            }
            _ if self.ended => Fate::Over,
            _ => Fate::Undecided,
        }
    }

    /// The end of the last that is kept from `from` on and before `until`, or `until` if it is kept beyond that.
    pub fn last_kept(&self, from: u64, until: u64) -> Option<u64> {
        let last = self.pieces.iter().rev().find(|piece| piece.from < until)?;
        (last.until > from).then(|| last.until.min(until))
    }

    /// The numbers that pieces have; those before are forgotten.
    pub fn numbers(&self) -> std::ops::Range<u64> {
        self.first..self.first + self.pieces.len() as u64
    }

    /// The piece of this number, which may be in [`Self::numbers`].
    pub fn stretch(&self, number: u64) -> Option<Stretch> {
        let place = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let piece = *self.pieces.get(place)?;
        let cut_out = place + 1 < self.pieces.len() || self.decided > piece.until;
        let cut_in = self.start.is_none_or(|(from, _)| piece.from > from);
        Some(Stretch { piece, cut_in, closed: cut_out || self.ended, cut_out })
    }

    /// Pieces that ended before the input time `before` are needed no more, nor those before the latest 65,536. The last one always is.
    pub fn forget(&mut self, before: u64) {
        while self.pieces.len() > MOST_PIECES || (self.pieces.len() > 1 && self.pieces[0].until < before) {
            self.pieces.pop_front();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pieces_follow_each_other_without_holes() {
        let mut timeline = Timeline::default();
        timeline.begin(100, 7);
        timeline.drop_until(180);
        assert_eq!(timeline.keep(180, 230, 1.0).to, 7.0);
        // Nothing was dropped: the hole from 230 to 240 is the stream's own.
        timeline.keep(240, 270, 1.0);
        timeline.drop_until(310);
        assert_eq!(timeline.keep(310, 350, 4.0), Piece { from: 310, until: 350, to: 97.0, speed: 4.0 });
        assert_eq!(timeline.keep(350, 351, 1.0).to, 107.0);
        let Fate::Kept(first) = timeline.fate(235) else { panic!("kept") };
        assert_eq!((first.from, first.until, first.output(200), first.output(170)), (180, 270, 27.0, -3.0));
        assert_eq!([179, 270].map(|time| timeline.fate(time)), [180, 310].map(|until| Fate::Dropped { until }));
        assert_eq!(timeline.fate(351), Fate::Undecided);
        timeline.end();
        assert_eq!(timeline.fate(351), Fate::Over);
    }

    #[test]
    fn only_where_something_is_missing_is_a_cut() {
        let mut timeline = Timeline::default();
        timeline.begin(5, 0);
        timeline.keep(5, 10, 1.0);
        let ends = |timeline: &Timeline, number| {
            let stretch = timeline.stretch(number).unwrap();
            (stretch.cut_in, stretch.closed, stretch.cut_out)
        };
        assert_eq!(ends(&timeline, 0), (false, false, false));
        timeline.drop_until(12);
        assert_eq!(ends(&timeline, 0), (false, true, true));
        timeline.keep(12, 20, 1.0);
        timeline.end();
        assert_eq!(ends(&timeline, 1), (true, true, false));
        timeline.forget(30);
        assert_eq!((timeline.numbers(), timeline.stretch(0)), (1..2, None));
    }

    #[test]
    fn a_hole_that_is_too_long_is_a_cut() {
        let mut timeline = Timeline::default();
        timeline.set_longest_pause(50);
        timeline.begin(0, 0);
        timeline.keep(0, 100, 1.0);
        assert_eq!(timeline.keep(150, 200, 1.0), Piece { from: 0, until: 200, to: 0.0, speed: 1.0 });
        assert_eq!(timeline.keep(251, 300, 1.0), Piece { from: 251, until: 300, to: 200.0, speed: 1.0 });
        assert_eq!(timeline.fate(220), Fate::Dropped { until: 251 });
        assert!(timeline.stretch(0).unwrap().cut_out && timeline.stretch(1).unwrap().cut_in);
    }

    #[test]
    fn pieces_that_nobody_asks_for_are_not_kept_for_ever() {
        let mut timeline = Timeline::default();
        for i in 0..100_000 {
            timeline.keep(2 * i, 2 * i + 1, 1.0);
            timeline.drop_until(2 * i + 2);
            timeline.forget(0);
        }
        assert_eq!(timeline.numbers(), 34_464..100_000);
        assert_eq!(timeline.stretch(99_999).unwrap().piece.to, 99_999.0);
    }

    proptest! {
        #[test]
        fn output_rises_with_the_input_and_lasts_as_long_as_what_is_kept(
            steps in prop::collection::vec((1u64..2_000_000_000, prop::option::of(1.0f64..30.0)), 1..80),
        ) {
            let mut timeline = Timeline::default();
            timeline.begin(0, 0);
            let (mut time, mut played, mut last) = (0, 0.0, 0.0f64);
            for (duration, speed) in steps {
                match speed {
                    Some(speed) => {
                        let piece = timeline.keep(time, time + duration, speed);
                        prop_assert!((piece.output(time) - played).abs() < 1e-3);
                        prop_assert!(piece.output(time) >= last - 1e-3);
                        played += duration as f64 / speed;
                        last = piece.output(time + duration);
                    }
                    None => timeline.drop_until(time + duration),
                }
                time += duration;
                prop_assert_eq!(timeline.decided(), time);
                prop_assert_eq!(timeline.fate(time), Fate::Undecided);
                prop_assert_eq!(matches!(timeline.fate(time - 1), Fate::Kept(_)), speed.is_some());
            }
            let pieces: Vec<Piece> = timeline.numbers().map(|n| timeline.stretch(n).unwrap().piece).collect();
            prop_assert!(pieces.windows(2).all(|w| w[0].until <= w[1].from && w[0].end() == w[1].to));
        }
    }
}
