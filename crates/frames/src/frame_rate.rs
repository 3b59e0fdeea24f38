//! How many frames a second a video has.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Rates that videos are made at.
const COMMON: [(u32, u32); 23] = [
    (1, 1),
    (2, 1),
    (5, 1),
    (15, 2),
    (8, 1),
    (10, 1),
    (12, 1),
    (25, 2),
    (15_000, 1_001),
    (15, 1),
    (20, 1),
    (24_000, 1_001),
    (24, 1),
    (25, 1),
    (30_000, 1_001),
    (30, 1),
    (48, 1),
    (50, 1),
    (60_000, 1_001),
    (60, 1),
    (100, 1),
    (120_000, 1_001),
    (120, 1),
];
/// How far from its place a frame may be, of a frame: containers round times, and soft telecine shows frames for two fields or three.
const OFF: f64 = 0.3;
/// Of ten frames so many follow the one before at the next place: some may be missing.
const STEADY: usize = 9;
/// Of twenty frames so many may be off their places: of program streams, GStreamer's demuxer takes some times for other frames'.
const STRAY: usize = 1;

/// Frames per second, as a fraction; 0/1 where they come at no fixed rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct FrameRate {
    pub numerator: u32,
    /// At least 1.
    pub denominator: u32,
}

impl FrameRate {
    /// None is fixed.
    pub const VARIABLE: Self = Self { numerator: 0, denominator: 1 };

    /// Of frames at these times, ns, from 0 on: the common rate that they keep to, or else the one that the file tells if they keep
    /// to that, or else [`Self::VARIABLE`]. Where several common ones fit, the one that the file tells, or else the nearest to their
    /// number.
    pub fn of(times: &[u64], told: Option<Self>) -> Self {
        let told = told.filter(|rate| rate.numerator > 0 && rate.denominator > 0);
        let [.., _, last] = times else { return told.unwrap_or(Self::VARIABLE) };
        let mean = (times.len() - 1) as f64 / (*last).max(1) as f64 * 1e9;
        let distance = |rate: &Self| (rate.per_second() / mean).ln().abs();
        let mut common = COMMON.map(|(numerator, denominator)| Self { numerator, denominator });
        common.sort_by(|a, b| distance(a).total_cmp(&distance(b)));
        let first = told.filter(|told| common.contains(told));
        first.into_iter().chain(common).chain(told).find(|rate| rate.is_kept(times)).unwrap_or(Self::VARIABLE)
    }

    fn per_second(self) -> f64 {
        f64::from(self.numerator) / f64::from(self.denominator)
    }

    /// Whether nearly every frame is near a place of its own, and nearly all are at the next one.
    fn is_kept(self, times: &[u64]) -> bool {
        let (mut last, mut steps, mut stray): (Option<f64>, usize, usize) = (None, 0, 0);
        for at in times.iter().map(|&time| time as f64 / 1e9 * self.per_second()) {
            let place = at.round();
            if (at - place).abs() <= OFF && last.is_none_or(|last| last < place) {
                steps += usize::from(last == Some(place - 1.0));
                last = Some(place);
            } else {
                stray += 1;
            }
        }
        20 * stray <= STRAY * times.len() && 10 * steps >= STEADY * (times.len() - 1)
    }

    /// The frame that begins nearest to a time (ns).
    pub fn frame(self, ns: u64) -> u64 {
        let second = 1_000_000_000 * u128::from(self.denominator);
        ((u128::from(ns) * u128::from(self.numerator) + second / 2) / second) as u64
    }
}

impl fmt::Display for FrameRate {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}/{}", self.numerator, self.denominator)
    }
}

impl From<FrameRate> for String {
    fn from(rate: FrameRate) -> Self {
        rate.to_string()
    }
}

impl FromStr for FrameRate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text} is no frame rate: write a fraction, as in 30000/1001");
        let (numerator, denominator) = text.split_once('/').ok_or_else(wrong)?;
        let rate = Self {
            numerator: numerator.parse().map_err(|_| wrong())?,
            denominator: denominator.parse().map_err(|_| wrong())?,
        };
        if rate.denominator == 0 { Err(wrong()) } else { Ok(rate) }
    }
}

impl TryFrom<String> for FrameRate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Frames after steps of so many ms.
    fn times(steps: impl IntoIterator<Item = f64>) -> Vec<u64> {
        let mut time = 0.0;
        std::iter::once(0)
            .chain(steps.into_iter().map(|step| {
                time += step * 1e6;
                time.round() as u64
            }))
            .collect()
    }

    #[test]
    fn the_rate_is_the_one_that_frames_keep_to_whatever_is_told() {
        let rate = |numerator, denominator| Some(FrameRate { numerator, denominator });
        let of = |times: &[u64], told| FrameRate::of(times, told).to_string();
        let ntsc = times(vec![1_001.0 / 30.0; 900]);
        // Matroska rounds to ms.
        let rounded: Vec<u64> = ntsc.iter().map(|time| (time + 500_000) / 1_000_000 * 1_000_000).collect();
        for told in [rate(30_000, 1_001), None, rate(2_997, 100), rate(90_000, 1), rate(60, 1), rate(30, 1)] {
            assert_eq!([of(&ntsc, told), of(&rounded, told)], ["30000/1001", "30000/1001"], "{told:?}");
        }
        // So few cannot tell 30 from 29.97.
        assert_eq!(of(&rounded[..5], rate(30, 1)), "30/1");
        let missing: Vec<u64> = ntsc.iter().enumerate().filter(|(i, _)| i % 20 != 7).map(|(_, time)| *time).collect();
        let outage: Vec<u64> =
            ntsc.iter().enumerate().filter(|(i, _)| !(100..800).contains(i)).map(|(_, time)| *time).collect();
        assert_eq!([of(&missing, None), of(&outage, None)], ["30000/1001", "30000/1001"]);
        let (slow, quarter) = (times(vec![80.0; 12]), times(vec![400.0 / 3.0; 40]));
        assert_eq!([of(&slow, rate(25, 1)), of(&quarter, rate(30, 1))], ["25/2", "15/2"]);
        assert_eq!(of(&times(vec![1e3 / 17.0; 40]), rate(17, 1)), "17/1");
        // Soft telecine: fields of 59.94 a second, three and two to a frame.
        let film = times([1_501.5 / 30.0, 1_001.0 / 30.0].repeat(50));
        assert_eq!(of(&film, rate(30_000, 1_001)), "24000/1001");
        assert_eq!([of(&[], None), of(&[0], rate(25, 1)), of(&[0, 0, 0], None)], ["0/1", "25/1", "0/1"]);
    }

    #[test]
    fn few_frames_that_are_misplaced_change_nothing() {
        // One comes with the time of the second next, and those after it until that is made up for at half a step.
        let misplaced = |frames: usize| {
            let steps = (1..frames).map(|i| match i {
                30 => 120.0,
                31 | 32 => 40.0,
                33..=36 => 20.0,
                _ => 40.0,
            });
            FrameRate::of(&times(steps), Some(FrameRate { numerator: 25, denominator: 1 })).to_string()
        };
        assert_eq!([misplaced(200), misplaced(39)], ["25/1", "0/1"]);
    }

    #[test]
    fn uneven_frames_have_no_rate() {
        let uneven = times([40.0, 200.0, 120.0, 33.0, 140.0, 90.0].repeat(5));
        assert_eq!(FrameRate::of(&uneven, Some(FrameRate { numerator: 28, denominator: 3 })), FrameRate::VARIABLE);
        // Half of them are missing for half of the time.
        let halved = times([vec![1e3 / 30.0; 90], vec![2e3 / 30.0; 45]].concat());
        assert_eq!(FrameRate::of(&halved, Some(FrameRate { numerator: 30, denominator: 1 })), FrameRate::VARIABLE);
        let phone = times([33.3, 33.3, 50.0, 33.3, 133.0, 41.0].repeat(9));
        assert_eq!(FrameRate::of(&phone, Some(FrameRate { numerator: 144, denominator: 5 })), FrameRate::VARIABLE);
    }

    #[test]
    fn it_is_written_as_a_fraction() {
        let rate = FrameRate { numerator: 30_000, denominator: 1_001 };
        assert_eq!(serde_json::to_string(&rate).unwrap(), "\"30000/1001\"");
        assert_eq!(serde_json::from_str::<FrameRate>("\"30000/1001\"").unwrap(), rate);
        for wrong in ["", "25", "25/0", "-1/1", "a/b"] {
            assert!(wrong.parse::<FrameRate>().unwrap_err().contains("is no frame rate"), "{wrong}");
        }
    }

    #[test]
    fn the_nearest_frame_is_exact_for_an_hour_of_29_97() {
        let rate = FrameRate { numerator: 30_000, denominator: 1_001 };
        assert_eq!(rate.frame(3_600_000_000_000), 107_892);
        assert_eq!((rate.frame(16_683_332), rate.frame(16_683_334)), (0, 1));
        assert_eq!(FrameRate { numerator: 60, denominator: 1 }.frame(u64::MAX), 1_106_804_644_423);
    }

    proptest! {
        /// A frame's timestamp, rounded either way as containers do, is that frame again.
        #[test]
        fn a_frame_is_found_by_its_timestamp(
            numerator in 1_u32..300_000, denominator in 1_u32..2_000, frame in 0_u64..10_000_000, up in any::<bool>()
        ) {
            prop_assume!(numerator / denominator <= 1_000);
            let rate = FrameRate { numerator, denominator };
            let exact = u128::from(frame) * 1_000_000_000 * u128::from(denominator);
            let ns = exact / u128::from(numerator) + u128::from(up);
            prop_assume!(u64::try_from(ns).is_ok());
            prop_assert_eq!(rate.frame(ns as u64), frame);
        }
    }
}
