//! How many frames a second a video has.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Frames per second, as a fraction; 0/1 where they come at no fixed rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct FrameRate {
    pub numerator: u32,
    /// At least 1.
    pub denominator: u32,
}

impl FrameRate {
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
