//! What a live skim knows before a decision, and what the clips that could be laid over it would show.

use super::{Online, Settings};

/// Time over which the budget is planned, ns.
pub const HORIZON: f64 = 60e9;
/// What the budget is counted in, ns.
pub const CELL: f64 = 0.25e9;

/// What is known before a decision.
pub struct Look<'a> {
    settings: &'a Settings,
    last: bool,
    /// Time from the first undecided segment's start to each scored one's start, and to the end of all.
    ends: Vec<u64>,
    /// Importance times time, likewise.
    worths: Vec<f64>,
    /// Of the segment before the first.
    importance_before: f64,
    /// Worth that each number of cells, from 0 up to what is left of the budget, shows after what is seen.
    later: Vec<f64>,
}

impl<'a> Look<'a> {
    /// `last`: nothing comes after what is seen.
    pub fn new(online: &'a Online, last: bool) -> Self {
        let known = &online.known;
        let rank = |score: f64| {
            let (below, up_to) = (known.partition_point(|k| k.0 < score), known.partition_point(|k| k.0 <= score));
            (below + up_to) as f64 / (2 * known.len()) as f64
        };
        let (mut ends, mut worths) = (vec![0], vec![0.0]);
        let scored = online.ahead.iter().filter_map(|segment| Some((segment.score?, segment.duration)));
        for (i, (score, duration)) in scored.enumerate() {
            ends.push(ends[i] + duration);
            worths.push(worths[i] + rank(score) * duration as f64);
        }
        let seen = ends[ends.len() - 1] as f64;
        let future = if last { 0.0 } else { (HORIZON - seen).max(0.0) };
        // Of a clip to come, all but its ends.
        let rolls = (online.settings.pre_roll + online.settings.post_roll) as f64;
        let shown = 1.0 - rolls / (2.0 * rolls.max(online.settings.min_clip as f64)).max(1.0);
        let time = seen + future;
        // More than all of it can't be kept, each clip rounded up to a cell.
        let all = time + (ends.len() - 1) as f64 * CELL;
        let room = (online.left() + online.settings.ratio * time).min(all);
        Self {
            settings: &online.settings,
            last,
            ends,
            worths,
            importance_before: online.past.back().and_then(|decision| decision.segment.score).map_or(0.0, rank),
            later: worth_later(known, future, (room / CELL).max(0.0) as usize).map(|worth| worth * shown).collect(),
        }
    }

    /// Scored segments that are seen.
    pub fn count(&self) -> usize {
        self.ends.len() - 1
    }

    /// Cells of the budget, for what is seen and what comes.
    pub fn cells(&self) -> usize {
        self.later.len() - 1
    }

    /// Cells that a clip from segment `first` to the one before `end` takes.
    pub fn cells_of(&self, first: usize, end: usize) -> usize {
        ((self.ends[end] - self.ends[first]) as f64 / CELL).round() as usize
    }

    /// The most that clips from each segment on show, with what comes later, by the number of cells that are left.
    pub fn best_from_each(&self) -> Vec<Vec<f64>> {
        let count = self.count();
        let mut best = vec![self.later.clone(); count + 1];
        for first in (0..count).rev() {
            let mut here = best[first + 1].clone();
            for end in first + 1..=count {
                let cells = self.cells_of(first, end);
                let Some(shown) = self.shown(first, end, 0).filter(|_| cells <= self.cells()) else { continue };
                let after = &best[self.next(end)];
                for (here, after) in here[cells..].iter_mut().zip(after) {
                    *here = here.max(shown + after);
                }
            }
            best[first] = here;
        }
        best
    }

    /// Where the next clip may begin after one that ended here; between two there is a segment at least.
    pub fn next(&self, end: usize) -> usize {
        let gap_over = self.ends.partition_point(|&at| at < self.ends[end] + self.settings.merge_gap);
        (end + 1).max(gap_over).min(self.ends.len() - 1)
    }

    /// What a clip from segment `first` to the one before `end` shows, of which `before` has been kept already; `None` if it may
    /// not end there.
    pub fn shown(&self, first: usize, end: usize, before: u64) -> Option<f64> {
        let Settings { min_clip, max_clip, pre_roll, post_roll, .. } = *self.settings;
        let time = self.ends[end] - self.ends[first];
        let begun = before > 0;
        let too_long = before + time > max_clip && (begun || end > first + 1);
        // One that reaches the last segment seen may go on.
        let open = end + 1 == self.ends.len() && (begun || !self.last);
        if too_long || (before + time < min_clip && !open) {
            return None;
        }
        let start = self.ends[first] as f64 - before as f64;
        let to = self.ends[end] as f64 - post_roll as f64;
        // Of what has been kept, only the end, which shows nothing if the clip ends here, makes a difference.
        let from = if begun { (start + pre_roll as f64).max(-(post_roll as f64)) } else { start + pre_roll as f64 };
        Some(if to > from { self.worth_until(to) - self.worth_until(from) } else { 0.0 })
    }

    /// Importance times time from the first segment's start until `place`; negative before it.
    fn worth_until(&self, place: f64) -> f64 {
        let i = self.ends.partition_point(|&end| end as f64 <= place);
        if i == 0 {
            return place * self.importance_before;
        }
        match (self.ends.get(i), self.worths.get(i)) {
            (Some(&end), Some(worth)) => {
                let share = (place - self.ends[i - 1] as f64) / (end - self.ends[i - 1]) as f64;
                self.worths[i - 1] + (worth - self.worths[i - 1]) * share
            }
            _ => self.worths[i - 1],
        }
    }
}

/// Worth that each number of cells up to `cells` buys in the time to come, `future`, if that is like what is known: importance and
/// time of segments, by score.
fn worth_later(known: &[(f64, u64)], future: f64, cells: usize) -> impl Iterator<Item = f64> {
    let stretch = future / known.iter().map(|&(_, time)| time as f64).sum::<f64>();
    let mut up_to = known.len();
    let ranked = known.chunk_by(|a, b| a.0 == b.0).rev().flat_map(move |alike| {
        let below = up_to - alike.len();
        let importance = (below + up_to) as f64 / (2 * known.len()) as f64;
        up_to = below;
        alike.iter().rev().map(move |&(_, time)| (importance, time as f64 * stretch))
    });
    let mut best = ranked.peekable();
    let mut bought = 0.0;
    let rest = (0..cells).map(move |_| {
        let mut need = CELL;
        while let Some((importance, rest)) = best.peek_mut().filter(|_| need > 0.0) {
            let time = rest.min(need);
            bought += *importance * time;
            need -= time;
            *rest -= time;
            if *rest <= 0.0 {
                best.next();
            }
        }
        bought
    });
    std::iter::once(0.0).chain(rest)
}
