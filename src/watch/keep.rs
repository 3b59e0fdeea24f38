//! How much of the clips stays: the oldest go, whole.

use std::{
    path::PathBuf,
    str::FromStr,
    time::{Duration, SystemTime},
};

use thiserror::Error;

use super::folder::{Folder, FolderError};

/// Bytes by the units that are known.
const UNITS: [(&str, u64); 8] = [
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// What can't be read as [`Keep`].
#[derive(Debug, Error)]
#[error("{0} is neither a size nor an age: give one like 50GB, 500MiB, 30d or 12h, over 0")]
pub struct KeepError(String);

/// What stays of the clips.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The latest, up to as many bytes with their pictures.
    Bytes(u64),
    /// Those that began no longer ago.
    Age(Duration),
}

impl FromStr for Keep {
    type Err = KeepError;

    fn from_str(text: &str) -> Result<Self, KeepError> {
        let wrong = || KeepError(text.into());
        let size = UNITS.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?.trim().parse::<f64>(), bytes)));
        let keep = match size {
            Some((number, unit)) => Self::Bytes((number.map_err(|_| wrong())? * *unit as f64) as u64),
            None => Self::Age(humantime::parse_duration(text).map_err(|_| wrong())?),
        };
        if keep == Self::Bytes(0) || keep == Self::Age(Duration::ZERO) { Err(wrong()) } else { Ok(keep) }
    }
}

impl Keep {
    /// Deletes what is too much at a time. One that is being written stays.
    ///
    /// # Errors
    /// [`FolderError`]
    pub fn enforce(self, folder: &Folder, now: SystemTime) -> Result<(), FolderError> {
        let clips = folder.clips()?;
        folder.delete(&self.too_many(clips, now))
    }

    /// Of clips in the order of time.
    fn too_many(self, clips: Vec<(SystemTime, PathBuf, u64)>, now: SystemTime) -> Vec<PathBuf> {
        let mut all: u64 = clips.iter().map(|(_, _, bytes)| bytes).sum();
        let goes = |(start, _, bytes): &(SystemTime, PathBuf, u64)| match self {
            Self::Bytes(most) => {
                let goes = all > most;
                all -= bytes;
                goes
            }
            Self::Age(most) => now.duration_since(*start).is_ok_and(|age| age > most),
        };
        clips.into_iter().take_while(goes).map(|(_, path, _)| path).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn sizes_and_ages_are_read() {
        let read = |text: &str| text.parse::<Keep>().unwrap();
        assert_eq!(read("50GB"), Keep::Bytes(50_000_000_000));
        assert_eq!(read("1.5 GiB"), Keep::Bytes(3 << 29));
        assert_eq!(read("30d"), Keep::Age(Duration::from_secs(30 * 86_400)));
        assert_eq!(read("12h"), Keep::Age(Duration::from_secs(12 * 3_600)));
        for wrong in ["", "50", "GB", "0GB", "-1GB", "0s", "NaNGB", "50 G", "many"] {
            let error = wrong.parse::<Keep>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("{wrong} is neither a size nor an age")), "{error}");
        }
    }

    #[test]
    fn what_is_too_old_goes() {
        let clips = |starts: &[u64]| starts.iter().map(|s| (at(*s), PathBuf::from(s.to_string()), 1)).collect();
        let gone = Keep::Age(Duration::from_secs(10)).too_many(clips(&[80, 89, 90, 95, 120]), at(100));
        assert_eq!(gone, [PathBuf::from("80"), PathBuf::from("89")]);
    }

    proptest! {
        #[test]
        fn the_latest_stay_as_long_as_they_fit(sizes in prop::collection::vec(1u64..50, 0..20), most in 1u64..300) {
            let clips: Vec<_> =
                sizes.iter().enumerate().map(|(i, size)| (at(i as u64), PathBuf::from(i.to_string()), *size)).collect();
            let gone = Keep::Bytes(most).too_many(clips, at(99)).len();
            prop_assert!(sizes[gone..].iter().sum::<u64>() <= most);
            prop_assert!(gone == 0 || sizes[gone - 1..].iter().sum::<u64>() > most);
        }
    }
}
