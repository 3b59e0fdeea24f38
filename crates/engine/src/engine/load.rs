//! How many of their segments the live streams of an engine may have scored, when there are more of them than it has time for.
//!
//! Giving segments up as they get late (see [`super::queue`]) keeps the engine at its limit, and every score near its deadline. So whenever
//! a segment was given up, each live stream has only every n-th scored from then on, evenly spaced; and more again when there is time for
//! them. Pure: the time is given.

use std::time::{Duration, Instant};

/// What waits when the interval rises was submitted before: what of that is given up yet says nothing new.
const SETTLE: Duration = Duration::from_secs(3);
/// How long nothing may be given up before more is let through.
const CALM: Duration = Duration::from_secs(10);
/// The same, after that was too much several times.
const MOST_CALM: Duration = Duration::from_secs(160);
/// Share of the time that the engine may be busy with live streams when it lets more through.
const BUSY: f64 = 0.9;
/// Largest interval.
const MOST: u32 = 64;

/// The load of an engine by live streams.
pub struct Load {
    interval: u32,
    /// When that changed, or was last found to be right; `None`: never yet.
    since: Option<Instant>,
    /// Spent on live streams since then.
    busy: Duration,
    /// How long it must be calm before the interval falls.
    calm: Duration,
    /// The interval fell last, and it has not yet shown whether rightly.
    on_trial: bool,
}

impl Default for Load {
    fn default() -> Self {
        Self { interval: 1, since: None, busy: Duration::ZERO, calm: CALM, on_trial: false }
    }
}

impl Load {
    /// Segments of live streams took this long to score.
    pub fn worked(&mut self, time: Duration) {
        self.busy += time;
    }

    /// A segment of a live stream was given up.
    pub fn gave_up(&mut self, now: Instant) {
        let within = |time| self.since.is_some_and(|since| now < since + time);
        if !self.on_trial && within(SETTLE) {
            return;
        }
        self.calm = if self.on_trial && within(self.calm) { (2 * self.calm).min(MOST_CALM) } else { CALM };
        self.change((self.interval + (self.interval / 2).max(1)).min(MOST), now);
        self.on_trial = false;
    }

    /// Every how manieth segment is to be scored, of those that a stream would have scored.
    pub fn interval(&mut self, now: Instant) -> u32 {
        let time = self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        if self.interval > 1 && time >= self.calm {
            // Were all of them scored, the engine would be busy for this many times the time there is.
            let demand = f64::from(self.interval) * self.busy.as_secs_f64() / time.as_secs_f64();
            let fitting = (demand / BUSY).ceil().max(1.0) as u32;
            self.on_trial = fitting < self.interval;
            self.change(fitting.min(self.interval), now);
        }
        self.interval
    }

    fn change(&mut self, interval: u32, now: Instant) {
        (self.interval, self.since, self.busy) = (interval, Some(now), Duration::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// An engine that works for `demand` of the time at interval 1, and gives up what it has no time for: the interval after each second.
    fn run(load: &mut Load, start: Instant, seconds: std::ops::Range<u32>, demand: f64) -> Vec<u32> {
        seconds
            .map(|second| {
                let now = start + second * SECOND;
                let asked = demand / f64::from(load.interval(now));
                load.worked(SECOND.mul_f64(asked.min(1.0)));
                if asked > 1.0 {
                    load.gave_up(now);
                }
                load.interval(now)
            })
            .collect()
    }

    #[test]
    fn what_fits_is_scored() {
        assert_eq!(run(&mut Load::default(), Instant::now(), 0..100, 0.99), [1; 100]);
    }

    #[test]
    fn the_interval_rises_until_all_fits_and_falls_when_there_is_time_again() {
        let (mut load, start) = (Load::default(), Instant::now());
        let rising = run(&mut load, start, 0..60, 5.5);
        // Each is given time to show.
        assert_eq!(rising[..10], [2, 2, 2, 3, 3, 3, 4, 4, 4, 6]);
        // At 6 it is busy for nine tenths: 5 would be too much.
        assert_eq!(rising[10..], [6; 50]);
        let falling = run(&mut load, start, 60..100, 1.5);
        assert_eq!((falling[0], falling[39]), (6, 2));
        assert_eq!(*run(&mut load, start, 100..140, 0.7).last().unwrap(), 1);
    }

    #[test]
    fn what_was_submitted_before_it_rose_does_not_make_it_rise_again() {
        let (mut load, start) = (Load::default(), Instant::now());
        for ms in [4_000, 4_001, 5_000, 6_999] {
            load.gave_up(start + Duration::from_millis(ms));
        }
        assert_eq!(load.interval(start + 7 * SECOND), 2);
        load.gave_up(start + 7 * SECOND);
        assert_eq!(load.interval(start + 7 * SECOND), 3);
    }

    #[test]
    fn letting_more_through_in_vain_is_tried_ever_more_seldom() {
        let (mut load, start) = (Load::default(), Instant::now());
        let mut rises = Vec::new();
        for second in 0..1_000 {
            let now = start + second * SECOND;
            // Busy for half of the time, and yet too late at interval 1: somebody else uses the engine, too.
            let before = load.interval(now);
            load.worked(SECOND / 4);
            if before == 1 && second > 3 {
                load.gave_up(now);
                rises.push(second);
            }
        }
        assert_eq!(rises, [4, 14, 34, 74, 154, 314, 474, 634, 794, 954]);
    }

    #[test]
    fn it_does_not_rise_without_end() {
        let (mut load, start) = (Load::default(), Instant::now());
        (0..1_000).for_each(|second| load.gave_up(start + second * SECOND));
        assert_eq!(load.interval(start), MOST);
    }
}
