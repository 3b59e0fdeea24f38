//! How far a camera's sound is from its pictures, by the sender reports of RTP (RFC 3550, 6.4.1).
//!
//! Packets of both get their times from when they arrive. A camera may send its sound earlier than the pictures that belong to it, and
//! its reports tell: each says which moment of the camera's clock a timestamp stands for. That clock may step, though, between the report
//! of the pictures and that of the sound, and such a pair is wrong by the step. So only the first pair is believed at once; another
//! distance later has to be told twice.
//!
//! Times are ns.

/// Two distances that differ by less are one.
const CLOSE: i64 = 40_000_000;
/// A camera whose reports tell of more has no clock that its streams share.
const FAR: i64 = 3_000_000_000;

/// One RTP stream.
#[derive(Debug)]
struct Lane {
    ssrc: u32,
    /// Ticks a second.
    rate: u32,
    /// The latest packet's timestamp and running time.
    latest: (u32, i64),
    /// When the camera's clock was at 0, in running time, by a report that was not used yet.
    zero: Option<i64>,
}

/// The pictures and the sound of one connection.
#[derive(Debug, Default)]
pub struct LipSync {
    pictures: Option<Lane>,
    sound: Option<Lane>,
    /// The distance that was believed last.
    shift: Option<i64>,
    /// Another distance that one pair of reports told.
    told: Option<i64>,
}

impl LipSync {
    /// A packet came.
    pub fn packet(&mut self, is_video: bool, ssrc: u32, rate: u32, timestamp: u32, running: i64) {
        let lane = if is_video { &mut self.pictures } else { &mut self.sound };
        let zero = lane.as_ref().filter(|lane| lane.ssrc == ssrc).and_then(|lane| lane.zero);
        *lane = Some(Lane { ssrc, rate, latest: (timestamp, running), zero });
    }

    /// A report came: `timestamp` stands for the moment `clock` of the camera's clock, in units of 2^-32 s. The new shift, if there is one.
    pub fn report(&mut self, ssrc: u32, clock: u64, timestamp: u32) -> Option<i64> {
        let lanes = self.pictures.iter_mut().chain(&mut self.sound);
        let lane = lanes.into_iter().find(|lane| lane.ssrc == ssrc)?;
        let ahead = i64::from(timestamp.wrapping_sub(lane.latest.0) as i32);
        let running = lane.latest.1 + ahead * 1_000_000_000 / i64::from(lane.rate.max(1));
        let clock = (u128::from(clock) * 1_000_000_000) >> 32;
        lane.zero = Some(running.wrapping_sub(clock as i64));
        let (pictures, sound) = self.pictures.as_mut().zip(self.sound.as_mut())?;
        // A pair is of two new ones.
        let (zero, of_sound) = pictures.zero.zip(sound.zero)?;
        (pictures.zero, sound.zero) = (None, None);
        self.pair(zero - of_sound)
    }

    /// A pair of reports tells of a shift.
    fn pair(&mut self, shift: i64) -> Option<i64> {
        let close = |other: i64| (other - shift).abs() <= CLOSE;
        let again = self.told.replace(shift).is_some_and(close);
        if shift.abs() > FAR || self.shift.is_some_and(|known| close(known) || !again) {
            return None;
        }
        self.shift = Some(shift);
        self.shift
    }

    /// Added to the sound's times.
    pub fn shift(&self) -> i64 {
        self.shift.unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PICTURES: u32 = 1;
    const SOUND: u32 = 2;
    const MS: i64 = 1_000_000;

    /// Reports every two seconds of a camera whose sound comes `early`, ms. `steps` are what is added to its clock before a report of
    /// the pictures and of the sound, ms. The shift after each pair, ms.
    fn shifts(early: i64, steps: &[(i64, i64)]) -> Vec<i64> {
        let mut lips = LipSync::default();
        let clock = |ms: i64| ((i128::from(1_000_000 + ms) << 32) / 1_000) as u64;
        let mut told = Vec::new();
        for (i, (pictures, sound)) in steps.iter().enumerate() {
            let now = 2_000 * i as i64;
            // Timestamps overflow on the way.
            let ticks = |rate: i64, ms: i64| (rate * ms / 1_000) as u32;
            let stamp = |rate, ms| u32::MAX.wrapping_sub(50_000).wrapping_add(ticks(rate, ms));
            lips.packet(true, PICTURES, 90_000, stamp(90_000, now), (5_000 + now) * MS);
            lips.packet(false, SOUND, 8_000, stamp(8_000, now), (5_000 + now - early) * MS);
            // The reports are of a moment later.
            lips.report(PICTURES, clock(now + 40 + pictures), stamp(90_000, now + 40));
            lips.report(SOUND, clock(now + 20 + sound), stamp(8_000, now + 20));
            told.push(lips.shift() / MS);
        }
        told
    }

    #[test]
    fn sound_that_comes_early_is_moved_to_its_pictures() {
        assert_eq!(shifts(300, &[(0, 0), (0, 0)]), [300, 300]);
        assert_eq!(shifts(-200, &[(0, 0)]), [-200]);
        // A clock that both don't share tells nothing.
        assert_eq!(shifts(0, &[(0, 5_000), (0, 5_000)]), [0, 0]);
    }

    #[test]
    fn a_step_of_the_cameras_clock_between_two_reports_moves_nothing() {
        for step in [360, 2_000, -2_000] {
            assert_eq!(shifts(0, &[(0, 0), (0, step), (step, step), (step, step)]), [0; 4]);
        }
        // Of the first pair it is not known; the next two mend it.
        assert_eq!(shifts(0, &[(0, 360), (360, 360), (360, 360)]), [360, 360, 0]);
        // What differs for good is followed.
        assert_eq!(shifts(0, &[(0, 0), (0, 200), (0, 200)]), [0, 0, 200]);
    }

    #[test]
    fn reports_of_unknown_streams_tell_nothing() {
        let mut lips = LipSync::default();
        assert_eq!(lips.report(7, 1 << 32, 0), None);
        lips.packet(true, PICTURES, 90_000, 0, 0);
        assert_eq!((lips.report(PICTURES, 1 << 32, 0), lips.shift()), (None, 0));
    }
}
