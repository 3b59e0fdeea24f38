//! Output times: what is kept runs on without holes.
//!
//! All times are running times, ns, so that new segments and changes of rate upstream do no harm.

/// Times for clips that keep their own pace: skims.
#[derive(Debug, Default)]
pub struct Splice {
    /// Where the next clip begins; known from the first frame on.
    next: Option<u64>,
    /// The clip that plays: where it began in the input and in the output.
    clip: Option<(u64, u64)>,
}

impl Splice {
    /// A frame at `time` is kept; its time in the output.
    pub fn keep(&mut self, time: u64) -> u64 {
        let (from, to) = *self.clip.get_or_insert((time, self.next.unwrap_or(time)));
        to + time.saturating_sub(from)
    }

    /// A frame at `time` is dropped; the clip before it, if one was playing, ended there.
    pub fn drop(&mut self, time: u64) {
        if let Some((from, to)) = self.clip.take() {
            self.next = Some(to + time.saturating_sub(from));
        }
        self.next.get_or_insert(time);
    }

    /// Whether a clip is playing.
    pub fn playing(&self) -> bool {
        self.clip.is_some()
    }
}

/// Times for single frames that follow each other: time-lapses.
#[derive(Debug, Default)]
pub struct Row {
    next: Option<u64>,
}

impl Row {
    /// A frame at `time` goes by, kept or not: the first one sets where the output begins.
    pub fn pass(&mut self, time: u64) {
        self.next.get_or_insert(time);
    }

    /// Time of the frame, which lasts `duration`, if it `keeps` a place in the row.
    pub fn keep(&mut self, duration: u64, keeps: bool) -> Option<u64> {
        let time = self.next.filter(|_| keeps)?;
        self.next = Some(time + duration);
        Some(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clips_follow_each_other_without_holes() {
        let mut splice = Splice::default();
        let mut out = Vec::new();
        // Uneven steps, as in a stream of variable rate; the second and the fourth pair are kept.
        for (time, keep) in
            [(100, false), (140, false), (180, true), (230, true), (270, false), (300, false), (310, true), (350, true)]
        {
            if keep {
                out.push(splice.keep(time));
            } else {
                splice.drop(time);
            }
        }
        // 180 and 230 last until 270: 90 in all, then 310 goes on.
        assert_eq!(out, [100, 150, 190, 230]);
        assert!(splice.playing());
    }

    #[test]
    fn frames_in_a_row_start_where_the_input_did() {
        let mut row = Row::default();
        row.pass(500);
        row.pass(540);
        assert_eq!(
            [row.keep(40, true), row.keep(30, true), row.keep(40, false), row.keep(40, true)],
            [Some(500), Some(540), None, Some(570)]
        );
    }
}
