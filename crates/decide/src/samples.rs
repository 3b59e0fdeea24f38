//! Which samples of the sound play, and as which samples of the output.
//!
//! The output is one row of samples without holes: sample n plays at n / rate. Where a piece begins and ends in that row follows
//! from its exact position on the [`Timeline`], so that each cut is right within half a sample and nothing adds up over an hour.
//! Within a piece samples are counted; their timestamps, which are often rounded, only place the first of them, and those after
//! a jump. What is missing in a kept piece is silence, and so is all of a piece that does not play at normal speed; unless sound is
//! to be scaled: then pieces up to [`FASTEST`] go through a [`Stretch`](super::stretch::Stretch), those that touch through the
//! same one, without a cut between them.

use std::ops::Range;

use super::timeline::{Piece, Stretch, Timeline};

/// Length of a fade at a cut, ns: long enough to click no more, too short to be heard as a fade.
const FADE: u64 = 5_000_000;
/// Timestamps that are further off than this, ns, are a jump.
const JUMP: u64 = 20_000_000;
/// Highest speed at which sound is scaled: faster, speech is not understood any more.
pub const FASTEST: f64 = 2.0;
/// Pieces this close, ns, touch: timestamps in whole milliseconds leave such holes.
const TOUCH: u64 = 2_000_000;

/// Samples that came together.
#[derive(Clone, Copy, Debug)]
pub struct Chunk {
    /// Running time of the first one, ns.
    pub time: u64,
    /// How many of each channel.
    pub samples: u64,
}

/// What to do next with a chunk.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// These samples of the chunk play, as output samples from `at` on.
    Play { samples: Range<u64>, at: u64, fade: Fade },
    /// This goes into the stretch, which is made when the first does.
    Scale(Scaled),
    /// All that is in the stretch goes out, up to [`Cutter::sent`].
    Finish,
    /// These output samples are silent.
    Silence { at: Range<u64> },
    /// These samples of the chunk do not play.
    Drop { samples: Range<u64> },
    /// The chunk is used up.
    Done,
    /// The rest of the chunk is not decided yet.
    Wait,
    /// The video ends before the rest of the chunk.
    Over,
}

/// What goes into a stretch.
#[derive(Clone, Debug, PartialEq)]
pub struct Scaled {
    /// Of the chunk; `None`: silence.
    pub samples: Option<Range<u64>>,
    /// How many they are.
    pub count: u64,
    /// From this output sample on, the present piece plays at this speed.
    pub at: u64,
    pub speed: f64,
    /// Up to this output sample, what is made may go out, faded so.
    pub ready: u64,
    pub fade: Fade,
}

/// Pieces that go through one stretch.
#[derive(Clone, Copy, Debug)]
struct Series {
    /// Output sample where it fades in, if it does.
    fades_in: Option<u64>,
    /// Of the present piece: where it begins in the input, ns, with the hole before it if there is one,
    from: u64,
    /// the output sample that it begins with, or that came next when it was come to,
    at: u64,
    /// and the input sample that goes into the stretch next, as if all played at its own time.
    next: u64,
}

/// Where the sound of a piece fades, in output samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fade {
    /// The first sample after a cut, and the end before one.
    from: Option<u64>,
    until: Option<u64>,
    length: u64,
}

impl Fade {
    /// How loud an output sample is, in (0, 1].
    pub fn gain(&self, sample: u64) -> f64 {
        let edge = |distance: u64| ((distance as f64 + 0.5) / self.length as f64).min(1.0);
        let [rise, fall] = [self.from.map(|from| sample - from), self.until.map(|until| until - 1 - sample)];
        rise.map_or(1.0, edge) * fall.map_or(1.0, edge)
    }

    /// Whether it changes none of these output samples.
    pub fn spares(&self, samples: &Range<u64>) -> bool {
        self.from.is_none_or(|from| samples.start >= from + self.length)
            && self.until.is_none_or(|until| samples.end + self.length <= until)
    }
}

/// Cuts the sound of one stream, chunk by chunk.
#[derive(Debug)]
pub struct Cutter {
    /// Samples a second.
    rate: u64,
    /// Kept sound keeps its input times: output samples count from running time 0, and between pieces there are none.
    in_place: bool,
    /// Pieces up to [`FASTEST`] are scaled.
    scales: bool,
    /// Those that are being scaled.
    series: Option<Series>,
    /// The sound begins with its first chunk: what comes before that is not missing.
    begins_late: bool,
    /// Number of the piece that plays or comes next.
    piece: u64,
    /// Output sample that comes next.
    sent: u64,
    /// Samples of the present chunk that are dealt with.
    used: u64,
    /// Of the piece of this number: the output sample that the present chunk's first sample is, or would be.
    base: Option<(u64, i64)>,
    /// Likewise of the next chunk, if it goes on where the last one ended.
    goes_on: Option<(u64, i64)>,
}

impl Cutter {
    /// Of sound at `rate` samples a second, from the piece of this number on.
    pub fn new(rate: u32, in_place: bool, piece: u64) -> Self {
        Self {
            rate: rate.max(1).into(),
            in_place,
            scales: false,
            series: None,
            begins_late: false,
            piece,
            sent: 0,
            used: 0,
            base: None,
            goes_on: None,
        }
    }

    /// Whether pieces that are faster, but not too fast, are scaled; sound in place never is.
    pub fn scaling(self, scales: bool) -> Self {
        Self { scales: scales && !self.in_place, ..self }
    }

    /// Whether the stream came while the video went on already.
    pub fn beginning_late(self, late: bool) -> Self {
        Self { begins_late: late, ..self }
    }

    /// Output sample that comes next; while sound is scaled, the one that comes after all that went into the stretch.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Goes on where another one, perhaps at another rate, has come to.
    pub fn after(rate: u32, before: &Self) -> Self {
        let sent = before.time_of(before.sent);
        let mut cutter = Self::new(rate, before.in_place, before.piece).beginning_late(before.begins_late);
        cutter.sent = cutter.sample_at(sent as f64);
        cutter
    }

    /// The chunk that was begun is gone.
    pub fn forget_chunk(&mut self) {
        (self.used, self.base, self.goes_on, self.series) = (0, None, None, None);
    }

    /// The timeline begins anew.
    pub fn begin_anew(&mut self) {
        self.forget_chunk();
        (self.piece, self.sent, self.begins_late) = (0, 0, false);
    }

    /// Output time of an output sample, ns.
    pub fn time_of(&self, sample: u64) -> u64 {
        let ns = (u128::from(sample) * 1_000_000_000 + u128::from(self.rate) / 2) / u128::from(self.rate);
        ns as u64
    }

    /// How many samples last so long, rounded up.
    pub fn samples_in(&self, duration: u64) -> u64 {
        (u128::from(duration) * u128::from(self.rate)).div_ceil(1_000_000_000) as u64
    }

    /// Output sample at an output position.
    fn position(&self, output: f64) -> i64 {
        (output * self.rate as f64 / 1e9).round() as i64
    }

    /// The same, or the first one.
    fn sample_at(&self, output: f64) -> u64 {
        self.position(output).max(0) as u64
    }

    /// Whether the video has ended and all of its sound has gone.
    pub fn is_over(&self, timeline: &Timeline) -> bool {
        let numbers = timeline.numbers();
        let last = || Some(self.seen(timeline.stretch(numbers.end.checked_sub(1)?)?));
        let played = |last: Stretch| self.sent as i64 >= self.position(last.piece.end());
        timeline.ended() && (self.piece >= numbers.end || self.piece + 1 == numbers.end && last().is_some_and(played))
    }

    /// A piece as this stream plays it.
    fn seen(&self, stretch: Stretch) -> Stretch {
        let to = if self.in_place { stretch.piece.from as f64 } else { stretch.piece.to };
        Stretch { piece: Piece { to, ..stretch.piece }, ..stretch }
    }

    /// The next step with this chunk, to be called until it is done.
    pub fn step(&mut self, timeline: &Timeline, chunk: &Chunk) -> Step {
        self.piece = self.piece.max(timeline.numbers().start);
        loop {
            let Some(stretch) = timeline.stretch(self.piece).map(|stretch| self.seen(stretch)) else {
                // Behind the last piece, all that is decided is dropped.
                return match self.drop_before(timeline.decided(), chunk) {
                    Step::Wait if timeline.ended() => Step::Over,
                    step => step,
                };
            };
            if self.begins_late && chunk.time >= stretch.piece.until {
                if stretch.closed {
                    self.next_piece();
                    continue;
                }
                return Step::Wait;
            }
            if std::mem::take(&mut self.begins_late) {
                self.sent = self.sample_at(stretch.piece.output(chunk.time.max(stretch.piece.from)));
            }
            let step = if self.scales && stretch.piece.speed <= FASTEST {
                self.scale(timeline, &stretch, chunk)
            } else if stretch.piece.speed == 1.0 {
                self.play(&stretch, chunk)
            } else if self.in_place {
                match self.drop_before(stretch.piece.until, chunk) {
                    Step::Wait if stretch.closed => None,
                    step => Some(step),
                }
            } else {
                self.pass_silently(&stretch, chunk)
            };
            match step {
                Some(Step::Finish) => {
                    self.next_piece();
                    return Step::Finish;
                }
                Some(step) => return step,
                None => self.next_piece(),
            }
        }
    }

    fn next_piece(&mut self) {
        self.piece += 1;
        // Into one stretch go samples without holes: they are counted on.
        let on = |(_, sample)| (self.piece, sample);
        let base = self.base.filter(|_| self.series.is_some()).map(on);
        let goes_on = self.goes_on.filter(|_| self.series.is_some()).map(on);
        (self.base, self.goes_on) = (base, goes_on);
    }

    /// A step through a piece that is scaled: it is cut as if it played in its place, and squeezed afterwards. With
    /// [`Step::Finish`] or `None` the piece is over.
    fn scale(&mut self, timeline: &Timeline, stretch: &Stretch, chunk: &Chunk) -> Option<Step> {
        let piece = stretch.piece;
        let [start, end] = [piece.to, piece.end()].map(|output| self.sample_at(output));
        let touched = self.is_touched(timeline, &piece);
        self.sent = self.sent.max(start);
        let mut series = self.series.unwrap_or_else(|| Series {
            fades_in: (stretch.cut_in && self.sent == start).then_some(start),
            from: piece.from,
            at: self.sent,
            next: self.sample_at(piece.from as f64) + ((self.sent - start) as f64 * piece.speed).round() as u64,
        });
        let begin = self.sample_at(series.from as f64);
        let in_place = Piece { from: series.from, to: series.from as f64, speed: 1.0, ..piece };
        let in_place = Stretch { piece: in_place, closed: touched.is_some(), ..*stretch };
        let sent = std::mem::replace(&mut self.sent, series.next);
        let step = self.play(&in_place, chunk);
        series.next = self.sent;
        self.sent = (start + ((series.next - begin) as f64 / piece.speed).round() as u64).min(end).max(sent);
        let (samples, count) = match step {
            Some(Step::Play { samples, .. }) => (Some(samples.clone()), samples.end - samples.start),
            Some(Step::Silence { at }) => (None, at.end - at.start),
            None => {
                self.sent = end.max(sent);
                let goes_on = touched == Some(true);
                self.series = goes_on.then_some(Series { from: piece.until, at: self.sent, ..series });
                return (!goes_on).then_some(Step::Finish);
            }
            step => {
                self.series = Some(series);
                return step;
            }
        };
        self.series = Some(series);
        let length = self.samples_in(FADE);
        let cut_out = stretch.cut_out && touched == Some(false);
        let fade = Fade { from: series.fades_in, until: cut_out.then_some(end), length };
        let ready = if touched.is_some() { end } else { end.saturating_sub(length) };
        Some(Step::Scale(Scaled { samples, count, at: series.at, speed: piece.speed, ready, fade }))
    }

    /// Whether another piece that is scaled follows this one without a cut; `None`: it is not known yet.
    fn is_touched(&self, timeline: &Timeline, piece: &Piece) -> Option<bool> {
        match timeline.stretch(self.piece + 1) {
            Some(Stretch { piece: next, .. }) => Some(next.from <= piece.until + TOUCH && next.speed <= FASTEST),
            None if timeline.ended() || timeline.decided() > piece.until + TOUCH => Some(false),
            None => None,
        }
    }

    /// A step at normal speed; `None`: the piece is over.
    fn play(&mut self, stretch: &Stretch, chunk: &Chunk) -> Option<Step> {
        let Stretch { piece, cut_in, closed, cut_out } = *stretch;
        let [start, end] = [piece.to, piece.end()].map(|output| self.sample_at(output));
        let fade = self.samples_in(FADE);
        // What may have to fade waits until that is known.
        let ready = if closed { end } else { end.saturating_sub(fade) };
        self.sent = self.sent.max(start);
        let base = self.base_in(&piece, chunk);
        let before = (self.sent as i64 - base).clamp(0, chunk.samples as i64) as u64;
        if before > self.used {
            let samples = self.used..before;
            self.used = before;
            return Some(Step::Drop { samples });
        }
        if self.used == chunk.samples {
            // What came before the piece places none of its samples.
            let end = base + chunk.samples as i64;
            self.goes_on = (end > start as i64).then_some((self.piece, end));
            return Some(self.done());
        }
        // Not before `sent`: what is, was dropped.
        let place = (base + self.used as i64).max(0) as u64;
        if place > self.sent {
            let until = place.min(ready);
            if until > self.sent {
                return Some(self.silence(until));
            }
        } else {
            let until = ready.min(place + chunk.samples - self.used);
            if until > self.sent {
                let (at, first) = (self.sent, self.used);
                self.used += until - self.sent;
                self.sent = until;
                let fade = Fade { from: cut_in.then_some(start), until: cut_out.then_some(end), length: fade };
                return Some(Step::Play { samples: first..self.used, at, fade });
            }
        }
        if closed { None } else { Some(Step::Wait) }
    }

    /// The output sample that the chunk's first one is in this piece.
    fn base_in(&mut self, piece: &Piece, chunk: &Chunk) -> i64 {
        if let Some((of, base)) = self.base
            && of == self.piece
        {
            return base;
        }
        let stamped = self.position(piece.output(chunk.time));
        let jump = self.samples_in(JUMP);
        let base = match self.goes_on {
            Some((of, counted)) if of == self.piece && counted.abs_diff(stamped) <= jump => counted,
            _ => stamped,
        };
        self.base = Some((self.piece, base));
        base
    }

    /// A step through a faster piece, as far as the chunk reaches; `None`: the piece is over.
    fn pass_silently(&mut self, stretch: &Stretch, chunk: &Chunk) -> Option<Step> {
        let piece = stretch.piece;
        let chunk_end = chunk.time + self.time_of(chunk.samples);
        let reached = self.sample_at(piece.output(chunk_end.clamp(piece.from, piece.until)));
        self.sent = self.sent.max(self.sample_at(piece.to));
        if reached > self.sent {
            return Some(self.silence(reached));
        }
        match self.drop_before(piece.until, chunk) {
            Step::Wait if stretch.closed => None,
            step => Some(step),
        }
    }

    /// Drops the chunk's samples before an input time; waits with the rest.
    fn drop_before(&mut self, time: u64, chunk: &Chunk) -> Step {
        let before = self.samples_in(time.saturating_sub(chunk.time)).min(chunk.samples);
        if before > self.used {
            let samples = self.used..before;
            self.used = before;
            return Step::Drop { samples };
        }
        if self.used == chunk.samples { self.done() } else { Step::Wait }
    }

    /// Silence up to an output sample, a second at most at a time.
    fn silence(&mut self, until: u64) -> Step {
        let at = self.sent..until.min(self.sent + self.rate);
        self.sent = at.end;
        Step::Silence { at }
    }

    fn done(&mut self) -> Step {
        self.used = 0;
        self.base = None;
        Step::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: u64 = 1_000_000;

    /// Output samples, numbered as in the input; `None`: silence. Chunks of `chunk` samples whose times are rounded to `round` ns.
    struct Run {
        cutter: Cutter,
        input: u64,
        chunk: u64,
        round: u64,
        output: Vec<Option<u64>>,
    }

    impl Run {
        fn new(rate: u32, chunk: u64, round: u64) -> Self {
            Self { cutter: Cutter::new(rate, false, 0), input: 0, chunk, round, output: Vec::new() }
        }

        /// Goes as far as is decided, or until input sample `end`.
        fn go(&mut self, timeline: &Timeline, end: u64) -> Step {
            while self.input < end {
                let time = (self.cutter.time_of(self.input) + self.round / 2) / self.round * self.round;
                let chunk = Chunk { time, samples: self.chunk.min(end - self.input) };
                match self.cutter.step(timeline, &chunk) {
                    Step::Play { samples, at, .. } => {
                        assert_eq!(at, self.output.len() as u64);
                        self.output.extend(samples.map(|sample| Some(self.input + sample)));
                    }
                    Step::Silence { at } => {
                        assert_eq!(at.start, self.output.len() as u64);
                        self.output.extend(at.map(|_| None));
                    }
                    Step::Drop { samples } => assert!(!samples.is_empty()),
                    Step::Done => self.input += chunk.samples,
                    step => return step,
                }
            }
            Step::Done
        }
    }

    /// Kept parts of a stream, ms, that has ended.
    fn timeline(parts: &[(u64, u64, f64)], end: u64) -> Timeline {
        let mut timeline = Timeline::default();
        timeline.begin(0, 0);
        for &(from, until, speed) in parts {
            timeline.drop_until(from * MS);
            timeline.keep(from * MS, until * MS, speed);
        }
        timeline.drop_until(end * MS);
        timeline.end();
        timeline
    }

    #[test]
    fn cuts_are_at_the_exact_sample() {
        let timeline = timeline(&[(10, 20, 1.0), (105, 107, 1.0)], 200);
        let mut run = Run::new(48_000, 1_000, 1);
        assert_eq!(run.go(&timeline, 20_000), Step::Over);
        let expected: Vec<_> = (480..960).chain(5_040..5_136).map(Some).collect();
        assert_eq!(run.output, expected);
        assert!(run.cutter.is_over(&timeline));
    }

    #[test]
    fn what_is_missing_is_silence() {
        let timeline = timeline(&[(0, 10, 1.0), (30, 40, 1.0)], 50);
        let mut cutter = Cutter::new(1_000, false, 0);
        let mut steps = |time: u64, samples| {
            let chunk = Chunk { time: time * MS, samples };
            let steps =
                std::iter::repeat_with(|| cutter.step(&timeline, &chunk)).take_while(|step| *step != Step::Done);
            let words = steps.map(|step| match step {
                Step::Play { samples, at, .. } => format!("play {samples:?} at {at}"),
                Step::Silence { at } => format!("silence {at:?}"),
                Step::Drop { samples } => format!("drop {samples:?}"),
                step => panic!("{step:?}"),
            });
            words.collect::<Vec<_>>()
        };
        // 3 ms late, and the next chunk is the last one.
        assert_eq!(steps(3, 2), ["silence 0..3", "play 0..2 at 3"]);
        assert_eq!(steps(34, 8), ["silence 5..10", "silence 10..14", "play 0..6 at 14", "drop 6..8"]);
    }

    #[test]
    fn the_end_of_an_open_piece_waits_for_its_fade() {
        let mut timeline = Timeline::default();
        timeline.begin(0, 0);
        timeline.keep(0, 40 * MS, 1.0);
        let mut run = Run::new(1_000, 100, 1);
        assert_eq!(run.go(&timeline, 100), Step::Wait);
        assert_eq!(run.output.len(), 35);
        timeline.keep(40 * MS, 60 * MS, 1.0);
        assert_eq!(run.go(&timeline, 100), Step::Wait);
        assert_eq!(run.output.len(), 55);
        timeline.drop_until(80 * MS);
        assert_eq!(run.go(&timeline, 100), Step::Wait);
        assert_eq!(run.output.len(), 60);
        assert!(!run.cutter.is_over(&timeline));
        timeline.end();
        assert!(run.cutter.is_over(&timeline));
    }

    #[test]
    fn sound_fades_at_cuts_only() {
        let timeline = timeline(&[(0, 20, 1.0), (40, 60, 1.0)], 60);
        let mut cutter = Cutter::new(1_000, false, 0);
        let chunk = Chunk { time: 0, samples: 60 };
        let mut gains = Vec::new();
        loop {
            match cutter.step(&timeline, &chunk) {
                Step::Play { samples, at, fade } => {
                    let out = at..at + samples.end - samples.start;
                    assert!(!fade.spares(&out) && fade.spares(&(at + 5..out.end - 5)));
                    gains.extend(out.map(|sample| fade.gain(sample)));
                }
                Step::Done => break,
                _ => {}
            }
        }
        let rise = [0.1, 0.3, 0.5, 0.7, 0.9];
        assert!(gains[..15].iter().chain(&gains[25..]).all(|&gain| gain == 1.0));
        assert_eq!(gains[15..20].iter().rev().copied().collect::<Vec<_>>(), rise);
        assert_eq!(gains[20..25], rise);
    }

    #[test]
    fn parts_that_touch_are_scaled_in_one_go_and_others_are_not() {
        let timeline = timeline(&[(10, 20, 1.5), (20, 30, 2.0), (31, 41, 1.0), (41, 50, 3.0), (60, 70, 2.0)], 80);
        let mut cutter = Cutter::new(1_000, false, 0).scaling(true);
        let mut words = Vec::new();
        for start in (0..80).step_by(16) {
            let chunk = Chunk { time: start * MS, samples: 16 };
            loop {
                match cutter.step(&timeline, &chunk) {
                    Step::Scale(Scaled { samples: Some(samples), at, speed, ready, fade, .. }) => {
                        let [from, until] = [samples.start + start, samples.end + start];
                        let fades = [fade.from, fade.until].map(|at| at.map_or(String::from("-"), |at| at.to_string()));
                        words.push(format!("{from}..{until} at {at} x{speed} to {ready} fades {}", fades.join(" ")));
                    }
                    Step::Finish => words.push(format!("ends {}", cutter.sent())),
                    Step::Silence { at } => words.push(format!("silence {at:?}")),
                    Step::Drop { .. } => {}
                    Step::Done | Step::Over => break,
                    step => panic!("{step:?}"),
                }
            }
        }
        let expected = [
            "10..16 at 0 x1.5 to 7 fades 0 -",
            "16..20 at 0 x1.5 to 7 fades 0 -",
            // With the hole of a millisecond; what is faster than twice is silent.
            "20..30 at 7 x2 to 12 fades 0 -",
            "30..32 at 12 x1 to 22 fades 0 22",
            "32..41 at 12 x1 to 22 fades 0 22",
            "ends 22",
            "silence 22..24",
            "silence 24..25",
            "60..64 at 25 x2 to 30 fades 25 30",
            "64..70 at 25 x2 to 30 fades 25 30",
            "ends 30",
        ];
        assert_eq!(words, expected);
    }

    #[test]
    fn sound_that_comes_late_begins_where_it_is() {
        let first = |parts: &[(u64, u64, f64)], start: u64, scales| {
            let timeline = timeline(parts, 4_000_000);
            let mut cutter = Cutter::new(1_000, false, 0).scaling(scales).beginning_late(true);
            loop {
                match cutter.step(&timeline, &Chunk { time: start * MS, samples: 100 }) {
                    Step::Play { samples, at, .. } => return Some((samples, at)),
                    Step::Scale(Scaled { samples, at, .. }) => return samples.map(|samples| (samples, at)),
                    Step::Drop { .. } => {}
                    Step::Done => return None,
                    step => panic!("{step:?}"),
                }
            }
        };
        let hour = (0, 3_600_000, 1.0);
        assert_eq!(first(&[hour], 3_599_000, false), Some((0..100, 3_599_000)));
        assert_eq!(first(&[hour, (3_700_000, 3_800_000, 1.0)], 3_699_950, false), Some((50..100, 3_600_000)));
        assert_eq!(first(&[hour], 3_650_000, false), None);
        assert_eq!(first(&[(0, 3_600_000, 2.0)], 3_599_000, true), Some((0..100, 1_799_500)));
    }

    #[test]
    fn sound_in_place_keeps_its_times() {
        let timeline = timeline(&[(10, 20, 1.0), (30, 40, 2.0), (50, 60, 1.0)], 60);
        let mut cutter = Cutter::new(1_000, true, 0);
        let chunk = Chunk { time: 0, samples: 70 };
        let mut steps = Vec::new();
        loop {
            match cutter.step(&timeline, &chunk) {
                Step::Play { samples, at, .. } => {
                    assert_eq!(samples.start, at);
                    steps.push((true, samples));
                }
                Step::Drop { samples } => steps.push((false, samples)),
                step => {
                    assert_eq!(step, Step::Over);
                    break;
                }
            }
        }
        assert_eq!(steps, [(false, 0..10), (true, 10..20), (false, 20..40), (false, 40..50), (true, 50..60)]);
    }

    proptest! {
        #[test]
        fn output_is_as_long_as_what_is_kept_and_every_sample_where_it_belongs(
            parts in prop::collection::vec((1u64..200, 1u64..200, 1u64..4), 1..40),
            chunk in 1u64..3_000, fine in prop::bool::ANY, rate in prop::sample::select(vec![8_000u32, 44_100, 48_000]),
        ) {
            let mut end = 0;
            let parts: Vec<(u64, u64, f64)> = parts.into_iter().map(|(gap, length, speed)| {
                end += gap + length;
                (end - length, end, speed as f64)
            }).collect();
            let timeline = timeline(&parts, end + 10);
            let round = if fine { 1 } else { MS };
            let mut run = Run::new(rate, chunk, round);
            run.go(&timeline, u64::from(rate) * (end + 30) / 1_000);
            let played: f64 = parts.iter().map(|&(from, until, speed)| (until - from) as f64 / speed).sum();
            let expected = played * f64::from(rate) / 1e3;
            prop_assert!((run.output.len() as f64 - expected).abs() <= 1.0, "{} of {expected}", run.output.len());
            let known: Vec<u64> = run.output.iter().flatten().copied().collect();
            prop_assert!(known.windows(2).all(|w| w[0] < w[1]));
            // Off by the rounding of timestamps, which are at most half of it off, and of samples.
            let tolerance = round as f64 / 2.0 * f64::from(rate) / 1e9 + 1.01;
            let mut at = 0.0;
            for &(from, until, speed) in &parts {
                let next = at + (until - from) as f64 / speed;
                let samples = |ms: f64| ms * f64::from(rate) / 1e3;
                // Which part a sample on the border belongs to is a matter of rounding.
                for k in samples(at).round() as usize + 1..(samples(next).round() as usize - 1).min(run.output.len()) {
                    match run.output[k] {
                        Some(input) => {
                            prop_assert!(speed == 1.0);
                            let right = samples(from as f64) + (k as f64 - samples(at));
                            prop_assert!((input as f64 - right).abs() <= tolerance, "{input} {right}");
                        }
                        // Of a piece at normal speed, only what a timestamp rounded up leaves open.
                        None => prop_assert!(speed != 1.0 || k as f64 <= samples(at) + tolerance),
                    }
                }
                at = next;
            }
        }
    }
}
