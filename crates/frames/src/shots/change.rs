//! Whether a frame is the first of a shot, from the frames before it and a few after it.
//!
//! A cut is a step that is large, changes the pattern and stands out from the steps around it, as in PySceneDetect's adaptive
//! detector; and nothing a moment later looks like the time before, as it does after a flash. A dissolve is a stretch whose
//! frames are mixtures of its two ends, ever more of the second, which moving pictures are not. The thresholds were set on 20
//! composites of UCF101 and other clips; around them, the result on these hardly changes.

use std::collections::VecDeque;

use super::{Change, look::Look};

/// Frames that a decision looks ahead.
pub(super) const AHEAD: usize = 5;
/// Frames that a decision looks back.
pub(super) const PAST: usize = SPANS[SPANS.len() - 1];

/// Lengths of the stretches, frames, that may be a dissolve's.
const SPANS: [usize; 6] = [6, 10, 16, 24, 36, 48];

/// Least score of a cut: its step times its unlikeness, times how often its step is that of its surroundings.
const CUT: f32 = 20.0;
/// Least ratio of a cut's step to the largest other around it.
const OUTSTANDING: f32 = 1.5;
/// Added to the surroundings' step, so that the slightest movement is not a cut between still pictures.
const STILL: f32 = 3.0;
/// Added to the unlikeness, so that a step between two patterns that are the same, but in colour, counts a little.
const ALIKE: f32 = 0.05;
/// A picture that is nearer to one on the other side of the cut than this share of the step: a flash.
const FLASH: f32 = 0.35;
/// Fewest blank frames between two shots, where there is no cut across them.
const BLANKS: usize = 3;
/// So many blank frames part two shots whatever was before them.
const LONG_BLANK: usize = PAST / 2;
/// Least distance and unlikeness of the two ends of a dissolve.
const DISSOLVED: f32 = 40.0;
const DISSOLVED_UNLIKE: f32 = 0.3;
/// How much of a frame is of the new shot where the dissolve has ended.
const ENDED: f32 = 0.9;
/// Largest mean deviation of a dissolve's frames from mixtures of its ends.
const OFF: f32 = 0.18;
/// Largest share of a dissolve that can happen in one step.
const STEEP: f32 = 0.45;

/// A frame as decisions see it.
pub(super) struct Seen {
    pub number: u64,
    pub pts: Option<u64>,
    /// ns, never less than the frame's before.
    pub time: u64,
    pub look: Look,
    /// See [`step`].
    pub step: f32,
}

/// How far a picture is from the last one that is not blank; 0 for a blank one, so that black frames between two shots don't
/// count.
pub(super) fn step(seen: &VecDeque<Seen>, look: &Look) -> f32 {
    let last = seen.iter().rev().find(|s| !s.look.is_blank());
    last.filter(|_| !look.is_blank()).map_or(0.0, |last| last.look.distance(look))
}

/// What starts at the frame `here`, if anything; the open shot began with the frame of number `first`.
pub(super) fn at(seen: &VecDeque<Seen>, here: usize, first: u64) -> Option<Change> {
    if seen[here].look.is_blank() {
        None
    } else if is_cut(seen, here) || ends_blank(seen, here) {
        Some(Change::Cut)
    } else {
        ends_dissolve(seen, here, first).then_some(Change::Gradual)
    }
}

/// The frame up to which a decision on `here` looks.
fn horizon(seen: &VecDeque<Seen>, here: usize) -> usize {
    (here + AHEAD).min(seen.len() - 1)
}

fn is_cut(seen: &VecDeque<Seen>, here: usize) -> bool {
    let pictures = |from: usize, to: usize| seen.range(from..to).filter(|s| !s.look.is_blank()).map(|s| &s.look);
    let Some(last) = (0..here).rfind(|&i| !seen[i].look.is_blank()) else { return false };
    let (before, after) = (last.saturating_sub(AHEAD), horizon(seen, here) + 1);
    let (old, new, step) = (&seen[last].look, &seen[here].look, seen[here].step);
    let steps = seen.range(before..here).chain(seen.range(here + 1..after)).map(|s| s.step);
    let around = steps.fold(0.0, f32::max);
    let score = step * (old.unlikeness(new) + ALIKE) * step / (around + STILL);
    score >= CUT
        && step >= OUTSTANDING * around
        && pictures(here, after).all(|look| old.distance(look) >= FLASH * step)
        && pictures(before, last).all(|look| new.distance(look) >= FLASH * step)
}

/// The first picture after black or white. A picture that is itself nearly black may come and go without a new shot.
fn ends_blank(seen: &VecDeque<Seen>, here: usize) -> bool {
    let blanks = seen.range(..here).rev().take_while(|s| s.look.is_blank()).count();
    let mut before = seen.range(..here - blanks).filter(|s| !s.look.is_blank()).peekable();
    blanks >= BLANKS && (blanks >= LONG_BLANK || before.peek().is_none() || before.any(|s| s.look.is_lit()))
}

fn ends_dissolve(seen: &VecDeque<Seen>, here: usize, first: u64) -> bool {
    let end = horizon(seen, here);
    let possible = |&span: &usize| {
        let start = here.checked_sub(span).filter(|&start| seen[start].number >= first);
        start.is_some_and(|start| seen.range(start..=end).all(|s| !s.look.is_blank()))
    };
    SPANS.iter().take_while(|span| possible(span)).any(|&span| is_dissolve(seen, here - span, here, end))
}

/// Whether the frames from `start` on dissolve into that of `end`, and have done so at `here`.
fn is_dissolve(seen: &VecDeque<Seen>, start: usize, here: usize, end: usize) -> bool {
    let (from, to) = (&seen[start].look, &seen[end].look);
    if from.distance(to) < DISSOLVED || from.unlikeness(to) < DISSOLVED_UNLIKE {
        return false;
    }
    let (shares, off): (Vec<f32>, Vec<f32>) = seen.range(start..=end).map(|s| s.look.between(from, to)).unzip();
    let steepest = shares.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f32::max);
    shares[here - start] >= ENDED && steepest < STEEP && off.iter().sum::<f32>() / (off.len() as f32) < OFF
}
