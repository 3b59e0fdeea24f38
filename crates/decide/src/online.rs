//! Live skims that look a little ahead: each segment is kept or dropped a bounded time after it came.
//!
//! The decision is that of a small offline skim. Over the segments that are seen but undecided, clips are laid that show the most
//! important moments, and what they leave of the budget counts as what it would show later. Only the first segment's fate is
//! settled by it; the next segment brings a new look. In detail:
//!
//! - **Importance** is a score's rank among the segments that are known: what went by within the window, and what is seen ahead.
//! - **Budget.** It is what is left, and the share of the time to come, up to `look::HORIZON`; clips take from it cell by cell
//!   (`look::CELL`). The time to come is taken to be like what is known: the best of it is bought first, by clips of twice the least
//!   length.
//! - **Hysteresis.** A clip's first and last moments, the pre-roll and the post-roll, take of the budget and show nothing of worth:
//!   a dip too short to pay for another clip's is played through, and a spark is no clip.
//! - **Merging.** Two clips that would be less than `merge_gap` apart are one, or one of them is not.
//! - **Scales.** The score for a category and that for what is unusual are on scales of their own. Where one follows the other, what is
//!   undecided is decided, and ranks begin anew; the budget goes on.
//! - **Unscored.** A segment that nobody could score is kept: nothing is lost because nothing is known. It takes nothing of the budget,
//!   and the segments on its two sides are laid out as if it were not there.
//!
//! Times are ns. Scores may be on any scale: only their order within the stream counts.

mod look;

use std::collections::VecDeque;

use self::look::Look;

/// How a stream is cut. The look-ahead should hold the shortest clip at least.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Share of the time to keep, in (0, 1]; 1 keeps everything.
    pub ratio: f64,
    /// Of any stretch this long, and of the stream so far where it is shorter, at most `ratio` and one clip is kept.
    pub window: u64,
    /// A segment is decided with the first one that ends this much after it, or at the end of the stream.
    pub look_ahead: u64,
    /// Shortest clip, but for one that the end of the stream cuts, or `max_clip` before a long segment.
    pub min_clip: u64,
    /// Longest clip, but for one of a single segment that is longer.
    pub max_clip: u64,
    /// Kept of what comes before an important moment, and after it; part of the clip.
    pub pre_roll: u64,
    pub post_roll: u64,
    /// Least time between two clips.
    pub merge_gap: u64,
}

impl Default for Settings {
    fn default() -> Self {
        let second = 1_000_000_000;
        Self {
            ratio: 0.2,
            window: 300 * second,
            look_ahead: 10 * second,
            min_clip: 2 * second,
            max_clip: 15 * second,
            pre_roll: second / 2,
            post_roll: second / 2,
            merge_gap: second,
        }
    }
}

/// A segment that came.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Segment {
    pub start: u64,
    /// Over 0.
    pub duration: u64,
    /// How much it matters, finite; `None`: nobody knows ([`counted`]).
    pub score: Option<f64>,
    /// Whether that is a score for a category: one for what is unusual is on another scale.
    pub of_category: bool,
}

/// The score of a segment that counts for what is kept. There is none where scoring `failed` or the segment is `unscored`, nor where the
/// score is no number: then the segment is kept. One whose score is late or carried counts with the last score.
pub fn counted(score: f64, failed: bool, unscored: bool) -> Option<f64> {
    Some(score).filter(|score| score.is_finite() && !failed && !unscored)
}

/// What becomes of a segment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    pub segment: Segment,
    pub keep: bool,
}

/// What is being done since when, in decided time.
#[derive(Clone, Copy, Debug)]
struct Run {
    keeping: bool,
    /// Time of its segments so far.
    time: u64,
}

/// Decides segment by segment, in their order.
#[derive(Debug)]
pub struct Online {
    settings: Settings,
    /// Seen, not decided.
    ahead: VecDeque<Segment>,
    /// Time of the segments in `ahead`.
    ahead_time: u64,
    /// Decided and scored, the latest `window` of them.
    past: VecDeque<Decision>,
    past_time: u64,
    kept_time: u64,
    /// Score and duration of all scored ones in `ahead` and `past`, by score: a window may be a day, and is not to be sorted for each
    /// decision.
    known: Vec<(f64, u64)>,
    /// Whether they are for a category; `None` before the first.
    of_category: Option<bool>,
    run: Run,
}

impl Online {
    /// Nothing is seen yet.
    pub fn new(settings: Settings) -> Self {
        // As if the last clip had ended long enough ago.
        let run = Run { keeping: false, time: settings.merge_gap };
        Self {
            settings,
            ahead: VecDeque::new(),
            ahead_time: 0,
            past: VecDeque::new(),
            past_time: 0,
            kept_time: 0,
            known: Vec::new(),
            of_category: None,
            run,
        }
    }

    /// A segment comes; the decisions that are due.
    pub fn push(&mut self, segment: Segment) -> Vec<Decision> {
        let mut due = Vec::new();
        if let Some(score) = segment.score {
            if self.of_category.replace(segment.of_category).is_some_and(|before| before != segment.of_category) {
                due.extend(std::iter::from_fn(|| self.decide(true)));
                self.known.clear();
                self.past.iter_mut().for_each(|past| past.segment.score = None);
            }
            self.known.insert(self.known.partition_point(|known| known.0 < score), (score, segment.duration));
        }
        self.ahead.push_back(segment);
        self.ahead_time += segment.duration;
        while let Some(first) = self.ahead.front()
            && (first.score.is_none() || self.ahead_time - first.duration >= self.settings.look_ahead)
        {
            due.extend(self.decide(false));
        }
        due
    }

    /// The stream ends, or nothing comes for a while; the decisions that are left.
    pub fn finish(&mut self) -> Vec<Decision> {
        let nothing = self.kept_time == 0 && self.past_time < self.settings.window;
        let mut decisions: Vec<Decision> = std::iter::from_fn(|| self.decide(true)).collect();
        // A short stream in which nothing stands out: a skim of something is more use than none.
        if nothing && decisions.iter().all(|decision| !decision.keep) {
            for i in best_stretch(&decisions, self.settings.min_clip) {
                decisions[i].keep = true;
            }
            self.book(&decisions);
        }
        decisions
    }

    /// The latest decisions, all of which were to drop, are these after all.
    fn book(&mut self, decisions: &[Decision]) {
        for (past, decision) in self.past.iter_mut().rev().zip(decisions.iter().rev()) {
            past.keep = decision.keep;
            self.kept_time += if decision.keep { decision.segment.duration } else { 0 };
        }
        let Some(keeping) = decisions.last().map(|last| last.keep) else { return };
        let run = decisions.iter().rev().take_while(|decision| decision.keep == keeping);
        let time = run.map(|decision| decision.segment.duration).sum();
        if keeping || decisions.iter().any(|decision| decision.keep) {
            self.run = Run { keeping, time };
        }
    }

    /// Settles the first segment. `last`: nothing comes after the ones that are seen.
    fn decide(&mut self, last: bool) -> Option<Decision> {
        let segment = *self.ahead.front()?;
        let keep = segment.score.is_none() || self.keeps_first(last);
        self.ahead.pop_front();
        self.ahead_time -= segment.duration;
        let before = if self.run.keeping == keep { self.run.time } else { 0 };
        self.run = Run { keeping: keep, time: before + segment.duration };
        let decision = Decision { segment, keep };
        if segment.score.is_none() {
            // It is long enough as it is: no clip has to go on because of it.
            self.run.time = if before > 0 { self.run.time } else { self.run.time.max(self.settings.min_clip) };
            return Some(decision);
        }
        self.past.push_back(decision);
        self.past_time += segment.duration;
        self.kept_time += if keep { segment.duration } else { 0 };
        // What reaches into the window stays whole: rather a little too much is counted than too little.
        while self.past.front().is_some_and(|first| self.past_time - first.segment.duration >= self.settings.window) {
            if let Some(gone) = self.past.pop_front() {
                self.past_time -= gone.segment.duration;
                self.kept_time -= if gone.keep { gone.segment.duration } else { 0 };
                let Segment { score: Some(score), duration, .. } = gone.segment else { continue };
                let alike = self.known.partition_point(|known| known.0 < score);
                if let Some(place) = self.known[alike..].iter().position(|known| known.1 == duration) {
                    self.known.remove(alike + place);
                }
            }
        }
        Some(decision)
    }

    /// Time left of the budget, before the first undecided segment.
    fn left(&self) -> f64 {
        self.settings.ratio * self.past_time.min(self.settings.window) as f64 - self.kept_time as f64
    }

    fn keeps_first(&self, last: bool) -> bool {
        if self.settings.ratio >= 1.0 {
            return true;
        }
        let look = Look::new(self, last);
        let best = look.best_from_each();
        // What is shown in all if the clip ends before segment `end`; `None` if that can't be paid.
        let sum = |shown: f64, end: usize| {
            let cells = look.cells().checked_sub(look.cells_of(0, end))?;
            Some(shown + best[look.next(end)][cells])
        };
        if self.run.keeping {
            let stop = look.shown(0, 0, self.run.time).and_then(|shown| sum(shown, 0));
            let mut on = (1..=look.count()).filter_map(|end| Some((look.shown(0, end, self.run.time)?, end)));
            // One that may not end yet goes on, paid or not.
            on.any(|(shown, end)| stop.is_none_or(|stop| sum(shown, end) > Some(stop)))
        } else {
            let wait = best[1][look.cells()];
            let mut begin = (1..=look.count()).filter_map(|end| sum(look.shown(0, end, 0)?, end));
            self.run.time >= self.settings.merge_gap && self.left() >= 0.0 && begin.any(|sum| sum > wait)
        }
    }
}

/// Numbers of the segments in a row that last `least`, ns, if they can, and are the most important; the first of equals.
fn best_stretch(decisions: &[Decision], least: u64) -> std::ops::Range<usize> {
    let time =
        |range: &std::ops::Range<usize>| decisions[range.clone()].iter().map(|d| d.segment.duration).sum::<u64>();
    let stretches = (0..decisions.len()).filter_map(|first| {
        let range = (first + 1..=decisions.len()).map(|end| first..end).find(|range| time(range) >= least)?;
        let worth = |d: &Decision| d.segment.score.unwrap_or_default() * d.segment.duration as f64;
        Some((decisions[range.clone()].iter().map(worth).sum::<f64>() / time(&range) as f64, range))
    });
    let best = stretches.reduce(|a, b| if b.0 > a.0 { b } else { a });
    best.map_or(0..decisions.len(), |(_, range)| range)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        choose::{Choice, value},
        shot_scores::{Scored, score_shots},
    };
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    const SECOND: u64 = 1_000_000_000;

    /// Importance of 139 s of a street camera's video in segments of 1.6 s, by the model that comes with the plugin.
    const STREET: [f64; 88] = [
        0.90, 0.94, 0.93, 0.97, 0.31, 0.64, 0.57, 0.46, 0.45, 0.48, 0.47, 0.26, 0.76, 0.95, 0.61, 0.13, 0.06, 0.07,
        0.04, 0.05, 0.10, 0.09, 0.03, 0.02, 0.01, 0.11, 0.12, 0.14, 0.81, 0.89, 0.91, 0.69, 0.28, 0.24, 0.19, 0.16,
        0.20, 0.30, 0.40, 0.35, 0.51, 0.41, 0.27, 0.70, 0.86, 0.99, 0.80, 0.66, 0.23, 0.18, 0.22, 0.21, 0.29, 0.15,
        0.74, 0.96, 0.98, 0.82, 0.62, 0.59, 0.36, 0.32, 0.39, 0.44, 0.52, 0.37, 0.43, 0.60, 0.38, 0.49, 0.56, 0.53,
        0.54, 0.55, 0.65, 0.84, 0.85, 0.34, 0.68, 0.73, 0.71, 0.77, 0.78, 0.72, 0.63, 0.79, 0.88, 0.87,
    ];

    /// No rolls, so that what is kept is what is chosen.
    fn bare(ratio: f64) -> Settings {
        Settings { ratio, pre_roll: 0, post_roll: 0, ..Settings::default() }
    }

    fn row(scores: impl IntoIterator<Item = f64>, duration: u64) -> Vec<Segment> {
        let segment =
            |(i, score)| Segment { start: i as u64 * duration, duration, score: Some(score), of_category: true };
        scores.into_iter().enumerate().map(segment).collect()
    }

    fn decide(settings: Settings, segments: &[Segment]) -> Vec<Decision> {
        let mut online = Online::new(settings);
        let mut decisions: Vec<Decision> = segments.iter().flat_map(|&segment| online.push(segment)).collect();
        decisions.extend(online.finish());
        decisions
    }

    fn kept(settings: Settings, segments: &[Segment]) -> Vec<usize> {
        let decisions = decide(settings, segments);
        (0..decisions.len()).filter(|&i| decisions[i].keep).collect()
    }

    /// Score that is kept, as a share of what the best shots of 4 s show: within the budget, or within the time that is kept
    /// where that is more.
    fn caught(settings: Settings, segments: &[Segment]) -> f64 {
        let scored: Vec<Scored> = segments
            .iter()
            .map(|s| Scored { start_ns: s.start, duration_ns: s.duration, score: s.score.unwrap() })
            .collect();
        let kept = kept(settings, segments);
        let time: u64 = kept.iter().map(|&i| segments[i].duration).sum();
        let whole: u64 = segments.iter().map(|s| s.duration).sum();
        let shot = 4 * SECOND;
        let shots = (0..whole).step_by(shot as usize).map(|start| (start, shot.min(whole - start)));
        let shots = score_shots(&shots.collect::<Vec<_>>(), &scored);
        let budget = time.max((settings.ratio * whole as f64) as u64);
        value(&scored, &kept) / value(&shots, &Choice::Knapsack.of(&shots, budget))
    }

    /// The mean over eight streams of two to six minutes, half a second a segment, drawn by `next` from the generator and the last
    /// score.
    fn caught_of(ratio: f64, next: impl Fn(&mut StdRng, f64) -> f64) -> f64 {
        let of = |seed: u64| {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut last = 0.2;
            let segments = (0..240 + 60 * seed).map(|_| {
                last = next(&mut rng, last);
                last
            });
            caught(bare(ratio), &row(segments.collect::<Vec<_>>(), SECOND / 2))
        };
        (0..8).map(of).sum::<f64>() / 8.0
    }

    #[test]
    fn scores_of_another_scale_are_ranked_among_themselves() {
        // Peaks of 4 s every half a minute; from 130 s on, between two of them, all scores are a thousand times as large.
        let score = |i: u64| if i % 30 < 4 { 2.0 } else { 1.0 + (i % 7) as f64 / 10.0 };
        let kept = |told: bool| {
            let segment = |i: u64| {
                let (first, score) = (i < 130, Some(if i < 130 { 1e-3 } else { 1.0 } * score(i)));
                Segment { start: i * SECOND, duration: SECOND, score, of_category: first || !told }
            };
            let decisions = decide(bare(0.15), &(0..240).map(segment).collect::<Vec<_>>());
            let starts: Vec<u64> = decisions.iter().map(|decision| decision.segment.start / SECOND).collect();
            assert_eq!(starts, (0..240).collect::<Vec<_>>());
            let kept = decisions.iter().filter(|decision| decision.keep);
            kept.map(|decision| decision.segment.start / SECOND).collect::<Vec<_>>()
        };
        let (told, untold) = (kept(true), kept(false));
        let peaks = |kept: &[u64]| kept.iter().filter(|&&second| second >= 60 && second % 30 < 4).count();
        let dull = |kept: &[u64]| kept.iter().filter(|second| (130..150).contains(*second)).count();
        assert_eq!((peaks(&told), dull(&told) < dull(&untold)), (24, true), "{told:?} {untold:?}");
    }

    #[test]
    fn it_catches_most_of_what_an_offline_skim_does() {
        let noise = caught_of(0.2, |rng, _| rng.random());
        // A burst lasts 4 s on average and comes every 25 s.
        let bursts = caught_of(0.2, |rng, last| {
            let goes_on = rng.random_bool(if last >= 0.6 { 0.875 } else { 0.02 });
            if goes_on { rng.random_range(0.6..1.0) } else { rng.random_range(0.0..0.3) }
        });
        // It wanders within its range about once in 20 s: what is the peak of its minutes shows only after them.
        let smooth =
            caught_of(0.2, |rng, last| (last + rng.random_range(-0.2..0.2) - 0.05 * (last - 0.5)).clamp(0.0, 1.0));
        let street = caught(bare(0.2), &row(STREET, SECOND * 8 / 5));
        let all = [noise, bursts, smooth, street];
        println!("caught of noise, bursts, a smooth stream and a street camera's: {all:.3?}");
        assert!(all.iter().all(|&caught| caught >= 0.9), "{all:.3?}");
    }

    #[test]
    fn a_great_moment_is_kept_whole_with_what_leads_to_it() {
        let segments = row(
            (0..240).map(|i| if (150..158).contains(&i) { 1.0 } else { f64::from(i * 37 % 101) / 200.0 }),
            SECOND / 2,
        );
        let kept = kept(Settings::default(), &segments);
        assert!((149..159).all(|i| kept.contains(&i)), "{kept:?}");
    }

    #[test]
    fn of_a_short_stream_in_which_nothing_stands_out_something_is_kept() {
        assert_eq!(kept(Settings::default(), &row(vec![0.5; 10], SECOND)).len(), 2);
        assert_eq!(kept(Settings::default(), &row(vec![0.5; 3], SECOND / 2)), [0, 1, 2]);
    }

    #[test]
    fn a_short_dip_is_played_through() {
        let importance = |i: usize| match i {
            100..=105 | 107..=112 => 1.0,
            _ => (i * 37 % 101) as f64 / 500.0,
        };
        let settings = Settings { min_clip: 3 * SECOND, ..bare(0.2) };
        let kept = kept(settings, &row((0..160).map(importance), SECOND / 2));
        assert!((100..113).all(|i| kept.contains(&i)), "{kept:?}");
    }

    #[test]
    fn where_all_is_alike_the_ratio_is_kept_all_the_same() {
        let kept = kept(bare(0.2), &row(vec![0.5; 1200], SECOND / 2)).len();
        assert!((200..=250).contains(&kept), "{kept}");
        assert_eq!(decide(bare(1.0), &row(vec![0.5; 90], SECOND / 2)).iter().filter(|d| d.keep).count(), 90);
    }

    #[test]
    fn what_is_not_scored_is_kept_and_takes_nothing_of_the_budget() {
        // From a minute on nothing is scored for a minute, as when a GPU dies; after it all is as it was.
        let mut segments = row((0..240).map(|i| f64::from(i * 37 % 101)), SECOND);
        let scored = kept(bare(0.1), &[&segments[..60], &segments[120..]].concat());
        segments[60..120].iter_mut().for_each(|segment| segment.score = None);
        let kept = kept(bare(0.1), &segments);
        assert!((60..120).all(|i| kept.contains(&i)), "{kept:?}");
        let others: Vec<usize> = kept.iter().copied().filter(|i| !(60..120).contains(i)).collect();
        // A clip may begin a little later, or last a little less, next to what is kept.
        assert!(others.len().abs_diff(scored.len()) <= 3, "{others:?} {scored:?}");
    }

    #[test]
    fn what_is_not_scored_waits_for_what_comes_before_it_only() {
        let mut online = Online::new(Settings { look_ahead: 3 * SECOND, ..bare(0.2) });
        let mut due = |i: u64, score| {
            online.push(Segment { start: i * SECOND, duration: SECOND, score, of_category: true }).len()
        };
        assert_eq!([due(0, None), due(1, None), due(2, Some(0.5)), due(3, None), due(4, None)], [1, 1, 0, 0, 0]);
        // The scored one, and the two behind it with it.
        assert_eq!([due(5, Some(0.5)), due(6, None)], [3, 0]);
    }

    #[test]
    fn what_is_kept_at_the_end_of_a_short_stream_is_booked() {
        // Nothing stands out, and the stream pauses every 3.2 s.
        let mut online = Online::new(Settings { look_ahead: 5 * SECOND, ..bare(0.05) });
        let (mut kept, mut whole) = (0, 0);
        for i in 0..375 {
            let segment =
                Segment { start: i * SECOND * 4 / 5, duration: SECOND * 4 / 5, score: Some(0.5), of_category: true };
            let mut decisions = online.push(segment);
            if i % 4 == 3 {
                decisions.extend(online.finish());
            }
            whole += decisions.iter().map(|d| d.segment.duration).sum::<u64>();
            kept += decisions.iter().filter(|d| d.keep).map(|d| d.segment.duration).sum::<u64>();
        }
        // Of 300 s 15, and a clip.
        assert_eq!(whole / SECOND, 297);
        assert!((12..=15 + 3).contains(&(kept / SECOND)), "{kept}");
    }

    #[test]
    fn only_a_score_of_its_own_or_of_the_last_one_counts() {
        let all = [(false, false), (true, false), (false, true), (true, true)];
        assert_eq!(all.map(|(failed, unscored)| counted(0.5, failed, unscored)), [Some(0.5), None, None, None]);
        assert_eq!([f64::NAN, f64::INFINITY].map(|score| counted(score, false, false)), [None, None]);
    }

    prop_compose! {
        fn some_settings()(
            ratio in 0.05f64..0.95, window in 5u64..60, look_ahead in 0u64..12, min_clip in 0u64..30, rest in 15u64..70,
            rolls in (0u64..10, 0u64..10), merge_gap in 0u64..20,
        ) -> Settings {
            let tenth = SECOND / 10;
            Settings {
                ratio,
                window: window * SECOND,
                look_ahead: look_ahead * SECOND,
                min_clip: min_clip * tenth,
                // With room for one segment more than the shortest clip.
                max_clip: (min_clip + rest) * tenth,
                pre_roll: rolls.0 * tenth,
                post_roll: rolls.1 * tenth,
                merge_gap: merge_gap * tenth,
            }
        }
    }

    prop_compose! {
        fn some_segments()(of in prop::collection::vec((SECOND / 5..SECOND * 3 / 2, 0.0f64..1.0), 1..80)) -> Vec<Segment> {
            let mut end = 0;
            of.into_iter().map(|(duration, score)| {
                end += duration;
                Segment { start: end - duration, duration, score: Some(score), of_category: true }
            }).collect()
        }
    }

    proptest! {
        #[test]
        fn every_segment_is_decided_once_in_order_and_in_time(settings in some_settings(), segments in some_segments()) {
            let mut online = Online::new(settings);
            let mut decided = Vec::new();
            for (i, &segment) in segments.iter().enumerate() {
                decided.extend(online.push(segment).into_iter().map(|decision| decision.segment));
                let end = segment.start + segment.duration;
                let due = segments[..=i].iter().filter(|s| s.start + s.duration + settings.look_ahead <= end).count();
                prop_assert_eq!(decided.len(), due);
            }
            decided.extend(online.finish().into_iter().map(|decision| decision.segment));
            prop_assert_eq!(decided, segments);
        }

        #[test]
        fn what_is_not_scored_is_kept_in_its_turn(settings in some_settings(), segments in some_segments(), every in 1usize..9) {
            let mut segments = segments;
            segments.iter_mut().step_by(every).for_each(|segment| segment.score = None);
            let decisions = decide(settings, &segments);
            prop_assert_eq!(decisions.iter().map(|d| d.segment).collect::<Vec<_>>(), segments);
            prop_assert!(decisions.iter().all(|d| d.keep || d.segment.score.is_some()));
        }

        #[test]
        fn no_stretch_is_overspent_by_more_than_a_clip(settings in some_settings(), segments in some_segments()) {
            let decisions = decide(settings, &segments);
            for (i, until) in segments.iter().enumerate() {
                let end = until.start + until.duration;
                let from = end.saturating_sub(settings.window);
                let kept: u64 = decisions[..=i].iter().filter(|d| d.keep).map(|d| {
                    (d.segment.start + d.segment.duration).saturating_sub(d.segment.start.max(from))
                }).sum();
                let budget = settings.ratio * settings.window.min(end) as f64;
                prop_assert!(kept as f64 <= budget + settings.max_clip as f64 + 1.0);
            }
        }

        #[test]
        fn clips_are_neither_too_short_nor_too_long_nor_too_close(settings in some_settings(), segments in some_segments()) {
            let decisions = decide(settings, &segments);
            let runs: Vec<(bool, u64)> = decisions
                .chunk_by(|a, b| a.keep == b.keep)
                .map(|run| (run[0].keep, run.iter().map(|d| d.segment.duration).sum()))
                .collect();
            for (i, &(keep, time)) in runs.iter().enumerate() {
                let (first, last) = (i == 0, i + 1 == runs.len());
                if keep {
                    prop_assert!(time <= settings.max_clip, "{runs:?}");
                    prop_assert!(last || time >= settings.min_clip, "{runs:?}");
                } else {
                    prop_assert!(first || last || time >= settings.merge_gap, "{runs:?}");
                }
            }
        }
    }
}
