//! Timecode: frames counted as hours, minutes, seconds and frames, as editors do (SMPTE ST 12-1).

pub mod quicktime;
pub mod stream;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use desumnet_frames::frame_rate::FrameRate;

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

    /// The number of a frame; the first is 0. It begins again after 24 hours.
    pub fn of(self, frame: u64) -> Number {
        let Self { second, dropped } = self;
        let (minute, ten_minutes) = (60 * second - dropped, 600 * second - 9 * dropped);
        let frame = frame % (144 * ten_minutes);
        let (tens, rest) = (frame / ten_minutes, frame % ten_minutes);
        // The first minute of ten is longer: nothing is dropped in it.
        let minutes_with_drop = rest.saturating_sub(dropped) / minute;
        let number = frame + dropped * (9 * tens + minutes_with_drop);
        let seconds = number / second;
        Number {
            hours: seconds / 3_600,
            minutes: seconds / 60 % 60,
            seconds: seconds % 60,
            frames: number % second,
            drop: dropped > 0,
        }
    }

    /// The frame that has a number.
    pub fn frame(self, number: Number) -> u64 {
        let minutes = 60 * number.hours + number.minutes;
        let frames = (60 * minutes + number.seconds) * self.second + number.frames;
        frames - self.dropped * (minutes - minutes / 10)
    }
}

/// The number of a frame: `01:02:03:04`, with `;` before the frames where numbers are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Number {
    pub hours: u64,
    pub minutes: u64,
    pub seconds: u64,
    pub frames: u64,
    /// Numbers are left out, so that the count keeps up with the clock.
    pub drop: bool,
}

/// The number of a video's first frame, as the file tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    pub number: Number,
    /// Frames that a second is counted as, where the file tells.
    pub second: Option<u64>,
}

impl Start {
    /// The number as frames of this rate are counted: a file may count every second one of 59.94. `None` for a rate without
    /// timecode, and for a number that there is not.
    pub fn at(self, rate: FrameRate) -> Option<Number> {
        let count = Timecode::new(rate, false).ok()?;
        let (number, own) = (self.number, self.second.filter(|&second| second > 0).unwrap_or(count.second));
        let possible =
            number.hours < 24 && number.minutes < 60 && number.seconds < 60 && number.frames < own && own <= MOST;
        let drop = number.drop && Timecode::new(rate, true).is_ok();
        possible.then(|| Number { frames: number.frames * count.second / own, drop, ..number })
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let separator = if self.drop { ';' } else { ':' };
        write!(f, "{:02}:{:02}:{:02}{separator}{:02}", self.hours, self.minutes, self.seconds, self.frames)
    }
}

impl From<Number> for String {
    fn from(number: Number) -> Self {
        number.to_string()
    }
}

impl FromStr for Number {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text} is no timecode: write it as 10:00:00:00, or 10:00:00;00 where numbers are dropped");
        let parts = text.split([':', ';', '.']).map(|part| part.parse().ok()).collect::<Option<Vec<u64>>>();
        let [hours, minutes, seconds, frames] = parts.ok_or_else(wrong)?.try_into().map_err(|_| wrong())?;
        Ok(Self { hours, minutes, seconds, frames, drop: text.contains([';', '.']) })
    }
}

impl TryFrom<String> for Number {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
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
            let numbers = [second - 1, second, 3_600 * second].map(|frame| count.of(frame).to_string());
            let expected = [format!("00:00:00:{}", second - 1), "00:00:01:00".into(), "01:00:00:00".into()];
            assert_eq!(numbers, expected, "{n}/{d}");
        }
    }

    #[test]
    fn the_first_numbers_of_a_minute_are_dropped_save_in_every_tenth() {
        let count = timecode(30_000, 1_001, true);
        let numbers = [1_799, 1_800, 3_597, 3_598, 17_981, 17_982, 19_781, 19_782, 107_892];
        let numbers = numbers.map(|frame| count.of(frame).to_string());
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
        let numbers = [3_599, 3_600, 35_963, 35_964, 215_784].map(|frame| count.of(frame).to_string());
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
        assert_eq!(timecode(10, 1, false).of(36_009).to_string(), "01:00:00:09");
    }

    #[test]
    fn a_number_is_read_and_counted_at_the_rate_of_the_video() {
        let start = |text: &str, second| Start { number: text.parse().unwrap(), second };
        let at = |start: Start, n, d| start.at(rate(n, d)).map(|number| number.to_string());
        let [ten, drop] = [start("10:00:00:12", None), start("10:00:00;12", Some(30))];
        assert_eq!(at(ten, 24, 1).as_deref(), Some("10:00:00:12"));
        assert_eq!(at(drop, 30_000, 1_001).as_deref(), Some("10:00:00;12"));
        // Twice as many frames; and a rate that drops nothing.
        assert_eq!(at(drop, 60_000, 1_001).as_deref(), Some("10:00:00;24"));
        assert_eq!(at(drop, 25, 1).as_deref(), Some("10:00:00:10"));
        assert_eq!((at(ten, 0, 1), at(start("10:00:00:30", None), 25, 1)), (None, None));
        assert_eq!((at(start("24:00:00:00", None), 25, 1), at(start("00:60:00:00", None), 25, 1)), (None, None));
        assert_eq!(timecode(24_000, 1_001, false).frame("10:00:00:00".parse().unwrap()), 864_000);
        assert_eq!(timecode(30_000, 1_001, true).frame("10:00:00;00".parse().unwrap()), 1_078_920);
        for wrong in ["", "10:00:00", "10:00:00:00:00", "a:00:00:00", "-1:00:00:00"] {
            assert!(wrong.parse::<Number>().unwrap_err().contains("is no timecode"), "{wrong}");
        }
        // A day is over.
        let (day, dropping) = (timecode(25, 1, false), timecode(30_000, 1_001, true));
        assert_eq!(
            (day.of(86_400 * 25 + 1).to_string(), dropping.of(2_589_408).to_string()),
            ("00:00:00:01".into(), "00:00:00;00".into())
        );
    }

    proptest! {
        /// Counted one by one, as the standard says: two (or four) numbers are left out at a minute that is no tenth.
        #[test]
        fn dropping_is_skipping_numbers(fast in any::<bool>(), frame in 0_u64..400_000) {
            let (second, dropped) = if fast { (60, 4) } else { (30, 2) };
            let count = timecode(second as u32 * 1_000, 1_001, true);
            let read = |number: Number| (number.hours, number.minutes, number.seconds, number.frames);
            prop_assert_eq!(count.frame(count.of(frame)), frame);
            let (h, m, s, f) = read(count.of(frame));
            let next = match (h, m, s, f + 1) {
                (h, m, s, f) if f < second => (h, m, s, f),
                (h, m, s, _) if s < 59 => (h, m, s + 1, 0),
                (h, m, _, _) if m < 59 => (h, m + 1, 0, if (m + 1) % 10 == 0 { 0 } else { dropped }),
                (h, ..) => (h + 1, 0, 0, 0),
            };
            prop_assert_eq!(read(count.of(frame + 1)), next);
        }
    }
}
