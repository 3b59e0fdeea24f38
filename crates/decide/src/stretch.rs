//! Sound sped up with its pitch kept: WSOLA (Verhelst and Roelands, ICASSP 1993), overlap-add by the similarity of waveforms.
//!
//! The output is made block by block. Within a block the sound passes over from where it would simply go on to where the input
//! is by then, give or take what makes the two most alike, so that no period breaks. Where the input is by then follows from
//! the speed and the block's number, not from the block before: no error adds up. At normal speed the input passes unchanged.

use std::{collections::VecDeque, f64::consts::PI};

/// Length of a block, blocks a second: the window, two blocks, is 24 ms.
const BLOCKS: usize = 83;
/// How far a block may be from where the input is, as parts of a second: 10 ms, a period of the deepest voices.
const REACH: usize = 100;

/// From an input sample on, the input plays from an output sample on at a speed.
#[derive(Clone, Copy, Debug)]
struct Knot {
    input: u64,
    output: u64,
    speed: f64,
}

/// Samples in, and fewer samples out, of all channels together. Input counts from 0; output is numbered as the caller likes.
#[derive(Debug)]
pub struct Stretch {
    channels: usize,
    block: usize,
    reach: usize,
    /// Input that may still be needed, interleaved.
    input: Vec<f64>,
    /// The sum of its channels.
    mono: Vec<f32>,
    /// Input sample that is the first of these.
    first: u64,
    knots: VecDeque<Knot>,
    /// Input sample where the last block would simply go on.
    goes_on: u64,
    /// What was made and not taken yet, interleaved.
    made: Vec<f64>,
    /// Output sample that is made next.
    at: u64,
}

impl Stretch {
    /// Of sound at `rate` samples a second, that plays from the output sample `at` on.
    pub fn new(rate: u32, channels: usize, at: u64) -> Self {
        let rate = rate as usize;
        Self {
            channels: channels.max(1),
            block: (rate / BLOCKS).max(1),
            reach: rate / REACH,
            input: Vec::new(),
            mono: Vec::new(),
            first: 0,
            knots: VecDeque::new(),
            goes_on: 0,
            made: Vec::new(),
            at,
        }
    }

    /// What is pushed from now on plays from the output sample `at` on, so many times faster, at least 1. The same once more
    /// changes nothing.
    pub fn play(&mut self, at: u64, speed: f64) {
        match self.knots.back_mut() {
            Some(last) if last.output == at => last.speed = speed,
            _ => self.knots.push_back(Knot { input: self.arrived(), output: at, speed }),
        }
    }

    /// Samples come, interleaved.
    pub fn push(&mut self, samples: &[f64]) {
        self.input.extend_from_slice(samples);
        self.mono.extend(samples.chunks_exact(self.channels).map(|frame| frame.iter().sum::<f64>() as f32));
        self.make(None);
    }

    /// What can be told by what has come, interleaved, up to the output sample `until`; and the number of its first sample.
    pub fn take(&mut self, until: u64) -> (u64, Vec<f64>) {
        let start = self.at - (self.made.len() / self.channels) as u64;
        let count = (until.min(self.at).saturating_sub(start) as usize) * self.channels;
        (start, self.made.drain(..count).collect())
    }

    /// Nothing more comes: all that was not taken, up to exactly the output sample `until`.
    pub fn finish(mut self, until: u64) -> (u64, Vec<f64>) {
        self.make(Some(until));
        self.take(until)
    }

    fn arrived(&self) -> u64 {
        self.first + self.mono.len() as u64
    }

    /// Makes the blocks for which enough has come; all before `until`, if that is the end.
    fn make(&mut self, until: Option<u64>) {
        loop {
            while self.knots.get(1).is_some_and(|next| next.output <= self.at) {
                self.knots.pop_front();
            }
            let Some(knot) = self.knots.front() else { return };
            let nominal = knot.input + (self.at.saturating_sub(knot.output) as f64 * knot.speed).round() as u64;
            let reach = if knot.speed == 1.0 { 0 } else { self.reach };
            let needed = (nominal + reach as u64).max(self.goes_on) + self.block as u64;
            let length = match until {
                Some(until) => self.block.min(until.saturating_sub(self.at) as usize),
                None if needed <= self.arrived() => self.block,
                None => 0,
            };
            if length == 0 {
                return;
            }
            self.add_block(nominal, reach, length);
            // The next block lies after this one, by its nominal place.
            let unneeded =
                self.goes_on.min(nominal.saturating_sub(self.reach as u64)).saturating_sub(self.first) as usize;
            let unneeded = unneeded.min(self.mono.len());
            self.mono.drain(..unneeded);
            self.input.drain(..unneeded * self.channels);
            self.first += unneeded as u64;
        }
    }

    /// Makes a block of `length` samples, from `reach` or less around the input sample `nominal`.
    fn add_block(&mut self, nominal: u64, reach: usize, length: usize) {
        let arrived = self.mono.len();
        let place = |sample: u64| sample.saturating_sub(self.first) as usize;
        let last = arrived.saturating_sub(length);
        let (old, near) = (place(self.goes_on).min(arrived), place(nominal).min(last));
        // Less than all of it only at the end.
        let overlap = length.min(arrived - old);
        let new =
            self.most_alike(&self.mono[old..old + overlap], near, near.saturating_sub(reach)..=last.min(near + reach));
        for i in 0..length {
            let weight = 0.5 - 0.5 * (PI * (i as f64 + 0.5) / overlap.max(1) as f64).cos();
            for channel in 0..self.channels {
                let sample =
                    |start: usize| self.input.get((start + i) * self.channels + channel).copied().unwrap_or(0.0);
                let (from, to) = (sample(old), sample(new));
                self.made.push(if i < overlap { from + (to - from) * weight } else { to });
            }
        }
        self.goes_on = self.first + (new + length) as u64;
        self.at += length as u64;
    }

    /// Of these places in the input, the one that looks most like the sound `wanted`; of equal ones `near`.
    fn most_alike(&self, wanted: &[f32], near: usize, places: std::ops::RangeInclusive<usize>) -> usize {
        // Normalised cross-correlation, less what is the same for all.
        let likeness = |place: usize| {
            let Some(found) = self.mono.get(place..place + wanted.len()) else { return 0.0 };
            let energy = dot(found, found);
            if energy > 0.0 { dot(wanted, found) / energy.sqrt() } else { 0.0 }
        };
        let mut best = (near, likeness(near));
        for place in places {
            let likeness = likeness(place);
            if likeness > best.1 {
                best = (place, likeness);
            }
        }
        best.0
    }
}

/// In eight sums, which a processor adds to at once.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RATE: u32 = 16_000;

    /// A second and a half, of a tone on the left, and of the same on the right, half as loud.
    fn tone(frequency: f64) -> Vec<f64> {
        let value = |n: u32| 0.5 * (2.0 * PI * frequency * f64::from(n) / f64::from(RATE)).sin();
        (0..RATE * 3 / 2).flat_map(|n| [value(n), value(n) / 2.0]).collect()
    }

    /// Speech-like: a buzz whose pitch glides, in bursts.
    fn voice() -> Vec<f64> {
        let value = |n: u32| {
            let t = f64::from(n) / f64::from(RATE);
            (0.5 + 0.5 * (2.0 * PI * 3.0 * t).sin()) * (2.0 * PI * (120.0 + 60.0 * t) * t).sin().powi(3)
        };
        (0..RATE).flat_map(|n| [value(n), value(n + 5)]).collect()
    }

    /// Stereo sound as one speed plays it, pushed in chunks of these sizes.
    fn played(sound: &[f64], speed: f64, chunks: &[usize]) -> Vec<f64> {
        let length = (sound.len() as f64 / 2.0 / speed).round() as u64;
        let (mut stretch, mut out) = (Stretch::new(RATE, 2, 70), Vec::new());
        let (mut rest, mut sizes) = (sound, chunks.iter().cycle());
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(2 * sizes.next().unwrap()));
            stretch.play(70, speed);
            stretch.push(now);
            let (at, samples) = stretch.take(70 + length);
            assert_eq!(at, 70 + out.len() as u64 / 2);
            out.extend(samples);
            rest = later;
        }
        let (at, samples) = stretch.finish(70 + length);
        assert_eq!(at, 70 + out.len() as u64 / 2);
        out.extend(samples);
        assert_eq!(out.len() as u64, 2 * length);
        out
    }

    /// Of the left channel, by its crossings of zero.
    fn frequency(sound: &[f64]) -> f64 {
        let left: Vec<f64> = sound.iter().step_by(2).copied().collect();
        let rising: Vec<usize> = (1..left.len()).filter(|&i| left[i - 1] < 0.0 && left[i] >= 0.0).collect();
        (rising.len() - 1) as f64 * f64::from(RATE) / (rising[rising.len() - 1] - rising[0]) as f64
    }

    #[test]
    fn a_tone_keeps_its_pitch_and_its_loudness() {
        for (pitch, speed) in [(440.0, 1.25), (440.0, 1.5), (440.0, 2.0), (97.0, 1.3), (3_000.0, 1.7)] {
            let out = played(&tone(pitch), speed, &[1_000]);
            let got = frequency(&out);
            assert!((got / pitch - 1.0).abs() < 0.01, "{pitch} Hz at {speed}: {got}");
            // In every 20 ms, periods that don't fit would cancel out.
            for part in out.chunks_exact(640) {
                let power = part.iter().step_by(2).map(|value| value * value).sum::<f64>() / 320.0;
                assert!((0.09..0.16).contains(&power), "{pitch} Hz at {speed}: {power}");
            }
        }
    }

    #[test]
    fn channels_stay_together() {
        let out = played(&tone(440.0), 1.5, &[777]);
        assert!(out.as_chunks::<2>().0.iter().all(|[left, right]| (left / 2.0 - right).abs() < 1e-12));
    }

    #[test]
    fn normal_speed_changes_no_sample() {
        assert_eq!(played(&voice(), 1.0, &[1_234]), voice());
    }

    #[test]
    fn a_moment_stays_within_reach_of_its_place_however_the_speed_changes() {
        // A click every 100 ms, in ten minutes of parts of 700 ms at ever other speeds.
        let (part, every) = (11_200, 1_600);
        let mut stretch = Stretch::new(RATE, 1, 0);
        let (mut to, mut out, mut expected) = (0.0f64, Vec::new(), Vec::new());
        for n in 0..850 {
            let speed = 1.0 + f64::from(n % 7) / 6.0;
            stretch.play(to.round() as u64, speed);
            stretch.push(&(0..part).map(|i| if i % every == 800 { 1.0 } else { 0.0 }).collect::<Vec<_>>());
            expected.extend((800..part).step_by(every).map(|i| to + f64::from(i as u32) / speed));
            to += f64::from(part as u32) / speed;
            out.extend(stretch.take(u64::MAX).1);
        }
        let end = to.round() as u64;
        out.extend(stretch.finish(end).1);
        assert_eq!(out.len() as u64, end);
        let clicks: Vec<usize> = (0..out.len()).filter(|&i| out[i] > 0.3).collect();
        for &click in &clicks {
            let near = expected.partition_point(|&at| at < click as f64);
            let off =
                [near.saturating_sub(1), near.min(expected.len() - 1)].map(|i| (expected[i] - click as f64).abs());
            // Twice as fast, a block's end is a block further on than its beginning.
            assert!(off[0].min(off[1]) <= 160.0 + 192.0 + 2.0, "{click} {off:?}");
        }
        assert!(clicks.len() > 5_000, "{}", clicks.len());
    }

    #[test]
    fn a_part_that_is_shorter_than_a_block_is_as_long_as_asked() {
        let mut stretch = Stretch::new(RATE, 1, 5);
        stretch.play(5, 1.5);
        stretch.push(&[0.25; 30]);
        assert_eq!(stretch.finish(25), (5, vec![0.25; 20]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn output_is_the_same_however_the_input_is_cut(
            chunks in prop::collection::vec(1usize..3_000, 1..20), speed in 1.0f64..2.0,
        ) {
            prop_assert_eq!(played(&voice(), speed, &chunks), played(&voice(), speed, &[RATE as usize]));
        }
    }
}
