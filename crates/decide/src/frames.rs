//! Which frames of a kept piece play, and when.

use super::timeline::Piece;
use desumnet_frames::times::{Moment, Spacing, USUAL_SPACING};

/// When a frame plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Output time, ns.
    pub time: u64,
    /// ns
    pub duration: u64,
}

/// Places frames: those of a piece at normal speed where they belong; of a faster one, so many as come at the input's rate.
///
/// A frame of a faster piece is never further from its own place than half the time between the frames there, so that
/// nothing adds up over many pieces. At a cut, a frame that would come less than half a frame after the last one comes half a frame after it,
/// unless its piece is over by then.
#[derive(Debug, Default)]
pub struct Frames {
    /// Input time of the last frame, kept or not.
    last: Option<u64>,
    spacing: Spacing,
    /// Output position of the last frame that plays, and where its piece begins in the input.
    played: Option<(f64, u64)>,
}

impl Frames {
    /// A frame goes by, kept or not.
    pub fn pass(&mut self, frame: Moment) {
        let step = match self.last {
            None => Some(frame.lasts),
            Some(last) => frame.time.checked_sub(last).filter(|&since| since > 0),
        };
        if let Some(step) = step {
            self.spacing.add(step);
        }
        self.last = Some(frame.time);
    }

    /// Where the frame that has just passed plays in its piece; `None` if it doesn't.
    pub fn place(&mut self, piece: &Piece, frame: Moment) -> Option<Slot> {
        let spacing = self.spacing.usual().unwrap_or(USUAL_SPACING) as f64;
        let own = piece.output(frame.time).max(piece.to);
        let position = match self.played {
            None => own,
            // 1 ns: the first one may have come later.
            Some((last, of)) if piece.speed == 1.0 && of == piece.from => own.max(last + 1.0),
            Some((last, _)) if piece.speed == 1.0 => {
                let soonest = last + spacing / 2.0;
                Some(own.max(soonest)).filter(|&at| at == own || at < piece.end())?
            }
            Some((last, _)) => {
                let (next, reach) = (last + spacing, spacing / piece.speed / 2.0);
                if own + reach < next {
                    return None;
                }
                // After a hole in the stream there is nothing to join on to; 1 ns is for the rounding of floats.
                if own - reach <= next + 1.0 { next } else { own }
            }
        };
        self.played = Some((position, piece.from));
        let lasts = frame.lasts as f64 / piece.speed;
        let duration = if piece.speed == 1.0 { lasts } else { lasts.max(spacing) };
        Some(Slot { time: position.round() as u64, duration: duration.round() as u64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::Timeline;
    use proptest::prelude::*;

    const FRAME: u64 = 40;

    /// Frames of these times that play, of the kept parts `(from, until, speed)`: number and output time.
    fn play(times: &[u64], parts: &[(u64, u64, f64)]) -> Vec<(usize, u64)> {
        let (mut timeline, mut frames) = (Timeline::default(), Frames::default());
        timeline.begin(0, 0);
        let mut played = Vec::new();
        for (i, &time) in times.iter().enumerate() {
            let frame = Moment { time, lasts: FRAME };
            frames.pass(frame);
            let Some(&(from, until, speed)) = parts.iter().find(|part| (part.0..part.1).contains(&time)) else {
                timeline.drop_until(time + 1);
                continue;
            };
            timeline.drop_until(from);
            let piece = timeline.keep(from, until, speed);
            played.extend(frames.place(&piece, frame).map(|slot| (i, slot.time)));
        }
        played
    }

    fn every(spacing: u64, count: u64) -> Vec<u64> {
        (0..count).map(|i| i * spacing).collect()
    }

    #[test]
    fn frames_of_a_fast_piece_are_spread_evenly_and_come_at_the_rate_of_the_input() {
        let played = play(&every(FRAME, 80), &[(0, 80 * FRAME, 8.0)]);
        assert_eq!(played, (0..10).map(|i| (8 * i as usize, i * FRAME)).collect::<Vec<_>>());
        // Two in five.
        let played = play(&every(FRAME, 20), &[(0, 20 * FRAME, 2.5)]);
        let numbers: Vec<usize> = played.iter().map(|p| p.0).collect();
        assert_eq!(numbers, [0, 2, 5, 7, 10, 12, 15, 17]);
        assert_eq!(played.iter().map(|p| p.1).collect::<Vec<_>>(), every(FRAME, 8));
    }

    #[test]
    fn frames_at_normal_speed_keep_their_own_pace() {
        let uneven = [0, 50, 80, 130, 160, 210, 240];
        assert_eq!(play(&uneven, &[(0, 300, 1.0)]), uneven.iter().copied().enumerate().collect::<Vec<_>>());
        // 80 and 130 last until 160; 210 follows at once, 50 after 130.
        assert_eq!(play(&uneven, &[(80, 160, 1.0), (210, 300, 1.0)]), [(2, 0), (3, 50), (5, 80), (6, 110)]);
    }

    #[test]
    fn no_frame_flashes_by_at_a_cut() {
        // The frame at 80 belongs to the first part by 5, the one at 200 would follow it by 10.
        let played = play(&every(FRAME, 8), &[(0, 85, 1.0), (195, 320, 1.0)]);
        assert_eq!(played, [(0, 0), (1, 40), (2, 80), (5, 100), (6, 130), (7, 170)]);
        // Where the part is over by then, it does not come.
        let played = play(&every(FRAME, 8), &[(0, 85, 1.0), (195, 205, 1.0), (270, 320, 1.0)]);
        assert_eq!(played, [(0, 0), (1, 40), (2, 80), (7, 105)]);
    }

    #[test]
    fn the_frame_after_a_hole_is_played() {
        // One stays for 10 s, and a part begins with the one after it, which stays for 4 s.
        let times = [0, 40, 80, 10_000, 14_000, 14_040, 14_080];
        let played = play(&times, &[(0, 120, 1.0), (10_000, 14_120, 1.0)]);
        assert_eq!(played, [(0, 0), (1, 40), (2, 80), (3, 120), (4, 4_120), (5, 4_160), (6, 4_200)]);
        // However close it is to the last one.
        let played = play(&times, &[(0, 81, 1.0), (10_000, 14_120, 1.0)]);
        assert_eq!(played[2..5], [(2, 80), (3, 100), (4, 4_081)]);
        // At eight times the speed, too: it comes after 1250 ns.
        let played = play(&times, &[(0, 14_120, 8.0)]);
        assert_eq!(played, [(0, 0), (3, 1_250), (4, 1_750)]);
    }

    proptest! {
        #[test]
        fn output_is_as_long_as_the_parts_within_a_frame_and_no_frame_comes_twice(
            parts in prop::collection::vec((0u64..400, 20u64..600, prop::bool::ANY, 1.0f64..40.0), 1..60),
        ) {
            let mut end = 0;
            // On the frames' times, as plans of segments and shots are.
            let parts: Vec<(u64, u64, f64)> = parts.into_iter().map(|(gap, length, normal, speed)| {
                let from = end + gap * FRAME;
                end = from + length * FRAME;
                (from, end, if normal { 1.0 } else { speed })
            }).collect();
            let total: f64 = parts.iter().map(|&(from, until, speed)| (until - from) as f64 / speed).sum();
            let played = play(&every(FRAME, end / FRAME + 3), &parts);
            prop_assert!(played.windows(2).all(|w| w[0].0 < w[1].0 && w[1].1 - w[0].1 >= FRAME / 2));
            prop_assert!(played.windows(2).all(|w| w[1].1 - w[0].1 <= 2 * FRAME));
            let length = (played[played.len() - 1].1 + FRAME) as f64;
            prop_assert!((length - total).abs() <= FRAME as f64, "{length} of {total}");
        }
    }
}
