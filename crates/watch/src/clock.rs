//! Times that run on: over a camera's timestamps that jump, and from one connection to the next.

/// Time without pictures that is taken for a jump of the timestamps, ns.
const JUMP: i64 = 60_000_000_000;
/// Pictures that go back by as much are out of order; by more, it is a jump, ns.
const LAG: i64 = 2_000_000_000;
/// Sound that is this far from the pictures does not belong to them, ns.
const APART: i64 = 10_000_000_000;
/// Put between what was before a jump and what comes after it, ns.
const GAP: i64 = 1_000_000;

/// Maps the running times of one connection after another to one that only grows. The pictures lead; the sound is shifted as they are,
/// so that what was in step stays so.
#[derive(Debug, Default)]
pub struct Clock {
    /// Added to what comes.
    shift: i64,
    /// The latest picture's time as it came; `None` before a connection's first.
    latest: Option<i64>,
    /// The latest end that went out; `None` before all.
    end: Option<i64>,
}

impl Clock {
    /// There is a new connection.
    pub fn connect(&mut self) {
        self.latest = None;
    }

    /// The time that goes out for a picture, and whether it does not go on from the one before. `now` is the pipeline's running time:
    /// the first picture of another connection is taken to be filmed then. All ns.
    pub fn picture(&mut self, time: i64, duration: u64, now: u64) -> (i64, bool) {
        let breaks = match (self.latest, self.end) {
            (_, None) => false,
            (None, Some(end)) => {
                self.shift = i64::try_from(now).unwrap_or(i64::MAX).max(end + GAP) - time;
                true
            }
            (Some(latest), Some(end)) if time < latest - LAG || time > latest + JUMP => {
                self.shift = end + GAP - time;
                true
            }
            _ => false,
        };
        self.latest = Some(if breaks { time } else { self.latest.map_or(time, |latest| latest.max(time)) });
        let out = time + self.shift;
        let end = out + i64::try_from(duration).unwrap_or(0);
        self.end = Some(self.end.map_or(end, |latest| latest.max(end)));
        (out, breaks)
    }

    /// Whether a picture came on this connection.
    pub fn has_pictures(&self) -> bool {
        self.latest.is_some()
    }

    /// The time that goes out for sound; `None` for what belongs to no picture: before a connection's first one, or far away.
    pub fn sound(&self, time: i64) -> Option<i64> {
        let latest = self.latest?;
        ((time - latest).abs() < APART).then_some(time + self.shift)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn the_first_connection_keeps_its_times() {
        let mut clock = Clock::default();
        assert_eq!(clock.sound(0), None);
        assert_eq!(clock.picture(7, 40, 99), (7, false));
        assert_eq!(clock.picture(0, 40, 99), (0, false));
        assert_eq!(clock.sound(5), Some(5));
    }

    #[test]
    fn another_connection_goes_on_by_the_clock_but_never_before_what_was() {
        let mut clock = Clock::default();
        clock.picture(10 * SECOND, 40, 0);
        clock.connect();
        assert_eq!(clock.sound(0), None);
        assert_eq!(clock.picture(5, 40, 30_000_000_000), (30 * SECOND, true));
        assert_eq!(clock.picture(45, 40, 31_000_000_000), (30 * SECOND + 40, false));
        assert_eq!(clock.sound(25), Some(30 * SECOND + 20));
        clock.connect();
        assert_eq!(clock.picture(0, 40, 0), (30 * SECOND + 80 + GAP, true));
    }

    #[test]
    fn a_jump_is_a_break_and_sound_that_has_not_jumped_yet_is_left_out() {
        let mut clock = Clock::default();
        clock.picture(100 * SECOND, 40, 0);
        assert_eq!(clock.picture(99 * SECOND, 40, 0), (99 * SECOND, false));
        assert_eq!(clock.picture(0, 40, 0), (100 * SECOND + 40 + GAP, true));
        assert_eq!((clock.sound(100 * SECOND), clock.sound(SECOND)), (None, Some(101 * SECOND + 40 + GAP)));
        assert!(!clock.picture(59 * SECOND, 40, 0).1);
        let (out, breaks) = clock.picture(9_000 * SECOND, 40, 0);
        assert_eq!((out, breaks), (159 * SECOND + 80 + 2 * GAP, true));
    }

    proptest! {
        #[test]
        fn pictures_go_out_in_order_but_for_small_steps_back(
            times in prop::collection::vec((0i64..100_000, prop::bool::weighted(0.1)), 1..60),
        ) {
            let mut clock = Clock::default();
            let mut end = None::<i64>;
            for (time, connects) in times {
                if connects {
                    clock.connect();
                }
                let (out, breaks) = clock.picture(time * 10_000_000, 40, 0);
                let before = end.unwrap_or(out);
                prop_assert!(out >= if breaks { before } else { before - LAG - 40 }, "{} after {}", out, before);
                prop_assert!(out <= before + JUMP);
                end = Some(before.max(out + 40));
            }
        }
    }
}
