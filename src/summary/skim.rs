//! Live skims: each segment is kept or dropped as it begins, within a budget of playing time.

/// Least share of the ratio that is kept: below it, a segment is kept whatever its importance.
const FLOOR: f64 = 0.75;

/// Share of the latest segments, in ratios, that is important enough when the budget is spent.
const HARD: f64 = 0.1;

/// Why a segment is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is among the most important ones.
    Important,
    /// The skim would fall short of its length.
    Due,
}

impl Reason {
    /// The word for it in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Important => "important",
            Self::Due => "due",
        }
    }
}

/// Keeps the most important `ratio` of a stream without knowing what comes.
///
/// A segment is kept when its importance, its rank among the latest, is high enough; how high depends on what is left of
/// the budget, so that an ordinary stretch leaves a reserve for a great moment. Two bounds hold at every moment: the
/// time kept is at most `ratio` of the time gone by plus one segment, and at least 0.75 x `ratio` of it.
#[derive(Debug)]
pub struct Skim {
    ratio: f64,
    /// Time of the segments decided so far, ns.
    seen: u64,
    /// Time of those kept, ns.
    kept: u64,
}

impl Skim {
    /// `ratio` in (0, 1].
    pub fn new(ratio: f64) -> Self {
        Self { ratio, seen: 0, kept: 0 }
    }

    /// Why to keep the segment that begins, of this importance ([0, 1]) and duration (ns); `None`: drop it.
    pub fn keep(&mut self, importance: f64, duration: u64) -> Option<Reason> {
        let budget = self.ratio * (self.seen + duration) as f64;
        let spent = if budget > 0.0 { self.kept as f64 / budget } else { 0.0 };
        // 0 where too little is kept, 1 where the budget is spent.
        let place = (spent - FLOOR) / (1.0 - FLOOR);
        // The share of the latest segments that is important enough: few where the budget is spent, and, before a segment
        // has to be kept whatever it is, more than half.
        let (hard, easy) = (HARD * self.ratio, (1.0 + self.ratio) / 2.0);
        let top = hard + (easy - hard) * (1.0 - place.max(0.0)).powi(2);
        let important = place <= 1.0 && importance >= 1.0 - top;
        let due = place < 0.0 || self.ratio >= 1.0;
        let reason = if important { Some(Reason::Important) } else { due.then_some(Reason::Due) };
        self.seen += duration;
        if reason.is_some() {
            self.kept += duration;
        }
        reason
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::quantile::RunningQuantile;
    use proptest::prelude::*;

    #[test]
    fn a_great_moment_is_kept_whole() {
        let (mut skim, mut quantile) = (Skim::new(0.2), RunningQuantile::default());
        let kept: Vec<u64> = (0..200u64)
            .filter(|i| {
                let score = if (150..154).contains(i) { 10.0 } else { (i * 37 % 101) as f32 / 101.0 };
                skim.keep(f64::from(quantile.add(score)), 500).is_some()
            })
            .collect();
        assert_eq!((150..154).filter(|i| kept.contains(i)).count(), 4, "{kept:?}");
    }

    #[test]
    fn ratio_one_keeps_everything() {
        let mut skim = Skim::new(1.0);
        assert!((0..50).all(|i| skim.keep(f64::from(i % 2), 7).is_some()));
    }

    proptest! {
        #[test]
        fn budget_holds_at_every_moment(
            segments in prop::collection::vec((0.0f64..=1.0, 1u64..2_000), 1..200),
            ratio in 0.05f64..0.95,
        ) {
            let mut skim = Skim::new(ratio);
            let (mut seen, mut kept) = (0u64, 0u64);
            for (importance, duration) in segments {
                seen += duration;
                if skim.keep(importance, duration).is_some() {
                    prop_assert!((kept as f64) <= ratio * seen as f64);
                    kept += duration;
                }
                prop_assert!(kept as f64 >= FLOOR * ratio * seen as f64 - 1e-6);
            }
        }
    }
}
