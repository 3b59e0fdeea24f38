//! How much of the clips stays: the oldest go, whole.
//!
//! An age is as good as the clock that it is told by, and clocks are wrong: a small computer has none until the network tells it the time;
//! another's is years ahead. So nothing goes by its age before the clock has run steadily for an hour ([`Steadiness`]), then no more than a
//! day's clips every ten minutes, and clips from before this program existed go no earlier than the oldest that is dated rightly.

use std::{
    path::PathBuf,
    str::FromStr,
    sync::PoisonError,
    time::{Duration, Instant, SystemTime},
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

/// Time by which a clock that is set may be off from one that only runs.
const STEP: Duration = Duration::from_secs(60);
/// How long a clock must have run without a step to be believed.
const STEADY: Duration = Duration::from_secs(3_600);
/// How often clips go by their age, and how much of them then.
const PAUSE: Duration = Duration::from_secs(600);
const AT_ONCE: Duration = Duration::from_secs(86_400);
/// 1 January 2026, since 1970: no clip is older.
const FIRST: Duration = Duration::from_secs(1_767_225_600);

/// Whether the clock that tells the time of day has run as one does that only runs.
#[derive(Debug, Default)]
pub struct Steadiness {
    /// What both said when the clock was last set, as far as is known.
    since: Option<(SystemTime, Instant)>,
    /// When clips went by their age.
    deleted: Option<Instant>,
}

impl Steadiness {
    /// Whether clips may go by their age, if the clocks say this.
    fn lets_go(&mut self, now: SystemTime, running: Instant) -> bool {
        let (wall, steady) = *self.since.get_or_insert((now, running));
        let ran = running.saturating_duration_since(steady);
        let expected = wall + ran;
        let off = now.duration_since(expected).unwrap_or_else(|earlier| earlier.duration());
        if off > STEP {
            self.since = Some((now, running));
            return false;
        }
        let paused = self.deleted.is_none_or(|deleted| running.saturating_duration_since(deleted) >= PAUSE);
        if ran < STEADY || !paused {
            return false;
        }
        // A clock that is kept right runs a little faster or slower.
        self.since = Some((now - STEADY, running.checked_sub(STEADY).unwrap_or(steady)));
        self.deleted = Some(running);
        true
    }
}

impl Keep {
    /// Deletes what is too much at a time. One that is being written stays.
    ///
    /// # Errors
    /// [`FolderError`]
    pub fn enforce(self, folder: &Folder, now: SystemTime) -> Result<(), FolderError> {
        let lets_go = || folder.steadiness.lock().unwrap_or_else(PoisonError::into_inner).lets_go(now, Instant::now());
        if matches!(self, Self::Age(_)) && !lets_go() {
            return Ok(());
        }
        let clips = folder.clips()?;
        folder.delete(&self.too_many(clips, now))
    }

    /// Of clips in the order of time.
    fn too_many(self, clips: Vec<(SystemTime, PathBuf, u64)>, now: SystemTime) -> Vec<PathBuf> {
        match self {
            Self::Bytes(most) => {
                let mut all: u64 = clips.iter().map(|(_, _, bytes)| bytes).sum();
                let goes = |(_, _, bytes): &(SystemTime, PathBuf, u64)| {
                    let goes = all > most;
                    all -= bytes;
                    goes
                };
                clips.into_iter().take_while(goes).map(|(_, path, _)| path).collect()
            }
            Self::Age(most) => {
                let dated = |start: &SystemTime| *start >= SystemTime::UNIX_EPOCH + FIRST;
                let oldest = clips.iter().map(|(start, ..)| *start).find(dated);
                let oldest = oldest.filter(|oldest| now.duration_since(*oldest).is_ok_and(|age| age > most));
                let Some(oldest) = oldest else { return Vec::new() };
                let goes = |start: SystemTime| {
                    now.duration_since(start).is_ok_and(|age| age > most) && start < oldest + AT_ONCE
                };
                clips.into_iter().take_while(|(start, ..)| goes(*start)).map(|(_, path, _)| path).collect()
            }
        }
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

    const DAY: u64 = 86_400;
    /// 1 November 2026.
    const NOVEMBER: u64 = 1_793_491_200;

    fn gone(starts: &[u64], now: u64) -> Vec<u64> {
        let clips = starts.iter().map(|start| (at(*start), PathBuf::from(start.to_string()), 1)).collect();
        let gone = Keep::Age(Duration::from_secs(10 * DAY)).too_many(clips, at(now));
        gone.iter().map(|path| path.to_str().unwrap().parse().unwrap()).collect()
    }

    #[test]
    fn what_is_too_old_goes_a_day_at_a_time() {
        let clips = [0, 1, 20, 22, 30].map(|day| NOVEMBER + day * DAY / 2);
        assert_eq!(gone(&clips, NOVEMBER + 20 * DAY), clips[..2]);
        assert!(gone(&clips[2..], NOVEMBER + 20 * DAY).is_empty());
        assert_eq!(gone(&clips[2..], NOVEMBER + 20 * DAY + 1), clips[2..3]);
        // A clock that is years ahead takes a day's clips, not all.
        assert_eq!(gone(&clips, NOVEMBER + 4_000 * DAY), clips[..2]);
    }

    #[test]
    fn clips_from_before_the_clock_was_set_go_with_the_oldest_of_after() {
        let clips = [5, 500, NOVEMBER, NOVEMBER + 5 * DAY];
        assert!(gone(&clips, NOVEMBER + 9 * DAY).is_empty());
        assert!(gone(&clips[..2], NOVEMBER + 900 * DAY).is_empty());
        assert_eq!(gone(&clips, NOVEMBER + 11 * DAY), clips[..3]);
    }

    #[test]
    fn nothing_goes_by_age_before_the_clock_has_run_steadily_for_an_hour() {
        let (begun, mut steadiness) = (Instant::now(), Steadiness::default());
        let mut lets_go = |wall: u64, running: u64| steadiness.lets_go(at(wall), begun + Duration::from_secs(running));
        // From 1970 to now, half an hour after the start; then it runs a second an hour too fast.
        let told = [(0, 0), (600, 600), (NOVEMBER, 1_800), (NOVEMBER + 3_599, 5_399), (NOVEMBER + 3_601, 5_400)];
        assert_eq!(told.map(|(wall, running)| lets_go(wall, running)), [false, false, false, false, true]);
        // Not twice in ten minutes.
        assert_eq!([5_999, 6_000].map(|running| lets_go(NOVEMBER + running - 1_799, running)), [false, true]);
        // A year on it has gained two hours, and no step was among them.
        let year = (0..8_760).map(|hour| lets_go(NOVEMBER + 4_201 + hour * 3_601, 6_000 + hour * 3_600));
        assert_eq!(year.filter(|lets_go| !lets_go).count(), 1);
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
