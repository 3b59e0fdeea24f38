//! Timecode: frames counted as hours, minutes, seconds and frames, as editors do (SMPTE ST 12-1).

use thiserror::Error;

use crate::frame_rate::FrameRate;

/// Frames that a second is counted as, at most: a timecode has two digits for them.
const MOST: u64 = 100;

/// A frame rate has no such timecode.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum TimecodeError {
    #[error("{0} frames a second can't be counted as timecode; convert the video to a constant 24, 25, 30, 50 or 60")]
    Rate(FrameRate),
    #[error(
        "{0} frames a second has no drop-frame timecode, only 30000/1001 and 60000/1001 have; count without dropping"
    )]
    Drop(FrameRate),
}

/// How frames are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timecode {
    /// Numbers of frames in a second.
    second: u64,
    /// Numbers left out at the beginning of a minute, save every tenth, so that the count keeps up with the clock.
    dropped: u64,
}

impl Timecode {
    /// Counts frames of a whole rate, or of one 1000/1001 as fast (23.976, 29.97, 59.94), which is counted as the whole
    /// one. `drop` leaves out numbers so that 29.97 and 59.94 do not fall behind the clock by 3.6 s in an hour.
    ///
    /// # Errors
    /// [`TimecodeError`], for another rate, or one that drops nothing.
    pub fn new(rate: FrameRate, drop: bool) -> Result<Self, TimecodeError> {
        let (n, d) = (u64::from(rate.numerator), u64::from(rate.denominator));
        let whole = |n: u64, d: u64| (n.checked_rem(d) == Some(0)).then(|| n / d);
        let (second, slowed) = match (whole(n, d), whole(n * 1_001, d * 1_000)) {
            (Some(second), _) => (second, false),
            (None, Some(second)) => (second, true),
            (None, None) => (0, false),
        };
        if !(1..=MOST).contains(&second) {
            return Err(TimecodeError::Rate(rate));
        }
        let dropped = match (drop, second) {
            (false, _) => 0,
            (true, 30) if slowed => 2,
            (true, 60) if slowed => 4,
            _ => return Err(TimecodeError::Drop(rate)),
        };
        Ok(Self { second, dropped })
    }

    /// The number of a frame (the first is 0): `01:02:03:04`, with `;` before the frames where numbers are dropped.
    pub fn of(self, frame: u64) -> String {
        let Self { second, dropped } = self;
        let (minute, ten_minutes) = (60 * second - dropped, 600 * second - 9 * dropped);
        let (tens, rest) = (frame / ten_minutes, frame % ten_minutes);
        // The first minute of ten is longer: nothing is dropped in it.
        let minutes_with_drop = rest.saturating_sub(dropped) / minute;
        let number = frame + dropped * (9 * tens + minutes_with_drop);
        let seconds = number / second;
        let separator = if dropped > 0 { ';' } else { ':' };
        let (h, m, s, f) = (seconds / 3_600, seconds / 60 % 60, seconds % 60, number % second);
        format!("{h:02}:{m:02}:{s:02}{separator}{f:02}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(numerator: u32, denominator: u32) -> FrameRate {
        FrameRate { numerator, denominator }
    }

    fn timecode(numerator: u32, denominator: u32, drop: bool) -> Timecode {
        Timecode::new(rate(numerator, denominator), drop).unwrap()
    }

    #[test]
    fn every_rate_counts_its_frames() {
        let ntsc = [(24_000, 1_001, 24), (30_000, 1_001, 30), (60_000, 1_001, 60)];
        for (n, d, second) in [(24, 1, 24), (25, 1, 25), (30, 1, 30), (50, 1, 50), (60, 1, 60)].into_iter().chain(ntsc)
        {
            let count = timecode(n, d, false);
            let numbers = [second - 1, second, 3_600 * second].map(|frame| count.of(frame));
            let expected = [format!("00:00:00:{}", second - 1), "00:00:01:00".into(), "01:00:00:00".into()];
            assert_eq!(numbers, expected, "{n}/{d}");
        }
    }

    #[test]
    fn the_first_numbers_of_a_minute_are_dropped_save_in_every_tenth() {
        let count = timecode(30_000, 1_001, true);
        let numbers = [1_799, 1_800, 3_597, 3_598, 17_981, 17_982, 19_781, 19_782, 107_892].map(|f| count.of(f));
        assert_eq!(
            numbers,
            [
                "00:00:59;29",
                "00:01:00;02",
                "00:01:59;29",
                "00:02:00;02",
                "00:09:59;29",
                "00:10:00;00",
                "00:10:59;29",
                "00:11:00;02",
                "01:00:00;00"
            ]
        );
        let count = timecode(60_000, 1_001, true);
        let numbers = [3_599, 3_600, 35_963, 35_964, 215_784].map(|f| count.of(f));
        assert_eq!(numbers, ["00:00:59;59", "00:01:00;04", "00:09:59;59", "00:10:00;00", "01:00:00;00"]);
    }

    #[test]
    fn other_rates_have_none() {
        for other in [rate(0, 1), rate(25, 2), rate(101, 1), rate(30, 0), rate(2_997, 100), rate(1_000, 1)] {
            assert_eq!(Timecode::new(other, false), Err(TimecodeError::Rate(other)));
        }
        for whole in [rate(24_000, 1_001), rate(25, 1), rate(30, 1), rate(60, 1)] {
            assert_eq!(Timecode::new(whole, true), Err(TimecodeError::Drop(whole)));
        }
        let error = TimecodeError::Rate(rate(25, 2)).to_string();
        assert!(error.starts_with("25/2 frames a second can't be counted as timecode; convert"), "{error}");
        // The same rate, not reduced; and slow cameras.
        assert_eq!(timecode(50, 2, false), timecode(25, 1, false));
        assert_eq!(timecode(10, 1, false).of(36_009), "01:00:00:09");
    }

    proptest! {
        /// Counted one by one, as the standard says: two (or four) numbers are left out at a minute that is no tenth.
        #[test]
        fn dropping_is_skipping_numbers(fast in any::<bool>(), frame in 0_u64..400_000) {
            let (second, dropped) = if fast { (60, 4) } else { (30, 2) };
            let count = timecode(second as u32 * 1_000, 1_001, true);
            let read = |text: &str| {
                let part = |i: usize| text[3 * i..3 * i + 2].parse::<u64>().unwrap();
                (part(0), part(1), part(2), part(3))
            };
            let (h, m, s, f) = read(&count.of(frame));
            let next = match (h, m, s, f + 1) {
                (h, m, s, f) if f < second => (h, m, s, f),
                (h, m, s, _) if s < 59 => (h, m, s + 1, 0),
                (h, m, _, _) if m < 59 => (h, m + 1, 0, if (m + 1) % 10 == 0 { 0 } else { dropped }),
                (h, ..) => (h + 1, 0, 0, 0),
            };
            prop_assert_eq!(read(&count.of(frame + 1)), next);
        }
    }
}
