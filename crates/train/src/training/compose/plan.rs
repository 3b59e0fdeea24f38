//! Which clips stand where: pure, in frames of the video to be made.
//!
//! A part is a clip, or a piece of 2 to 8 s at a random place in it; a shorter clip is taken whole, and the last part may be
//! shorter to fill what is left. No clip stands twice in a video. Clips of other categories are taken in turn from each, so
//! that a large category does not crowd out the small ones. The topic's clips come in runs of one to three.

use std::{collections::BTreeMap, ops::RangeInclusive};

use rand::{
    Rng, RngExt,
    seq::{SliceRandom, index},
};

/// Length of a part, seconds, where its clip is long enough.
pub const PART: RangeInclusive<u32> = 2..=8;
/// Most clips of the topic in a row, unless the others are too few to part them.
const RUN: usize = 3;

/// A clip to choose from.
#[derive(Clone, Copy, Debug)]
pub struct Clip<'a> {
    pub category: &'a str,
    /// How long it is at the video's frame rate, at least 1.
    pub frames: u32,
}

/// A piece of a clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Number of the clip.
    pub clip: usize,
    /// Frames of the clip before the piece.
    pub skip: u32,
    /// At least 1.
    pub frames: u32,
}

/// What a video is to be.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    pub topic: &'a str,
    /// Length of the video, at least 1.
    pub frames: u32,
    /// Share of it that is to be of the topic.
    pub share: f64,
    /// Frames a second.
    pub rate: u32,
}

/// The other categories' clips are too few.
#[derive(Debug, PartialEq, Eq)]
pub struct TooFew {
    /// Frames that they have to fill.
    pub needed: u32,
    /// Frames that they can fill, 8 s each at most.
    pub found: u32,
}

/// The parts of a video in order, exactly as long together as wished. The topic has less than its share only where its
/// clips are too few.
///
/// # Errors
/// [`TooFew`]
pub fn plan(clips: &[Clip], wish: &Wish, rng: &mut impl Rng) -> Result<Vec<Part>, TooFew> {
    let mut queues: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (number, clip) in clips.iter().enumerate() {
        queues.entry(clip.category).or_default().push(number);
    }
    let mut own = queues.remove(wish.topic).unwrap_or_default();
    own.shuffle(rng);
    let share = (f64::from(wish.frames) * wish.share).round() as u32;
    let own = fill(clips, &own, share, wish.rate, rng);
    let needed = wish.frames - length(&own);
    let others = fill(clips, &in_turn(queues.into_values().collect(), rng), needed, wish.rate, rng);
    match length(&others) {
        found if found == needed => Ok(mix(own, others, rng)),
        found => Err(TooFew { needed, found }),
    }
}

fn length(parts: &[Part]) -> u32 {
    parts.iter().map(|part| part.frames).sum()
}

/// All clips, shuffled, one from each category in turn.
fn in_turn(mut queues: Vec<Vec<usize>>, rng: &mut impl Rng) -> Vec<usize> {
    for queue in &mut queues {
        queue.shuffle(rng);
    }
    let mut clips = Vec::new();
    while !queues.is_empty() {
        queues.shuffle(rng);
        clips.extend(queues.iter_mut().filter_map(Vec::pop));
        queues.retain(|queue| !queue.is_empty());
    }
    clips
}

/// Parts of the first clips of `queue` that last `target` frames together, or as long as the clips allow.
fn fill(clips: &[Clip], queue: &[usize], target: u32, rate: u32, rng: &mut impl Rng) -> Vec<Part> {
    let [shortest, longest] = [PART.start() * rate, PART.end() * rate];
    let (mut parts, mut left) = (Vec::new(), target);
    for &clip in queue {
        if left == 0 {
            break;
        }
        let most = clips[clip].frames.min(longest);
        let mut frames = rng.random_range(shortest.min(most)..=most);
        if left.saturating_sub(frames) < shortest {
            // The last part would be short: this one leaves it enough, or takes all.
            frames = if left >= 2 * shortest { frames.min(left - shortest) } else { left };
        }
        let frames = frames.min(most).min(left);
        left -= frames;
        parts.push(Part { clip, skip: 0, frames });
    }
    for part in &mut parts {
        // All clips are in use, and more of each is needed.
        let more = (clips[part.clip].frames.min(longest) - part.frames).min(left);
        part.frames += more;
        left -= more;
        part.skip = rng.random_range(0..=clips[part.clip].frames - part.frames);
    }
    parts
}

/// `own` in runs, each at another place among `others`.
fn mix(own: Vec<Part>, others: Vec<Part>, rng: &mut impl Rng) -> Vec<Part> {
    if own.is_empty() {
        return others;
    }
    let gaps = others.len() + 1;
    let runs = rng.random_range(own.len().div_ceil(RUN)..=own.len()).min(gaps);
    let most = RUN.max(own.len().div_ceil(runs));
    let mut sizes = vec![1; runs];
    for _ in runs..own.len() {
        let open: Vec<usize> = (0..runs).filter(|&run| sizes[run] < most).collect();
        sizes[open[rng.random_range(0..open.len())]] += 1;
    }
    let mut places = index::sample(rng, gaps, runs).into_vec();
    places.sort_unstable();
    let mut runs = places.into_iter().zip(sizes).peekable();
    let (mut own, mut parts) = (own.into_iter(), Vec::new());
    for (gap, other) in others.into_iter().map(Some).chain([None]).enumerate() {
        if let Some((_, size)) = runs.next_if(|&(place, _)| place == gap) {
            parts.extend(own.by_ref().take(size));
        }
        parts.extend(other);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};

    const CATEGORIES: [&str; 4] = ["archery", "juggling", "rowing", "sailing"];

    fn clips(lengths: &[(usize, u32)]) -> Vec<Clip<'static>> {
        lengths.iter().map(|&(category, frames)| Clip { category: CATEGORIES[category], frames }).collect()
    }

    /// Frames that clips can fill, 8 s each at most.
    fn material(clips: &[Clip], rate: u32, of: impl Fn(&str) -> bool) -> u32 {
        clips.iter().filter(|clip| of(clip.category)).map(|clip| clip.frames.min(8 * rate)).sum()
    }

    proptest! {
        #[test]
        fn plan_is_as_long_as_wished_and_uses_no_clip_twice(
            lengths in prop::collection::vec((0usize..4, 1u32..400), 0..60),
            frames in 1u32..3000,
            share in 0.05f64..0.95,
            rate in 5u32..31,
            seed in any::<u64>(),
        ) {
            let clips = clips(&lengths);
            let wish = Wish { topic: "archery", frames, share, rate };
            let planned = plan(&clips, &wish, &mut StdRng::seed_from_u64(seed));
            let share = (f64::from(frames) * share).round() as u32;
            let relevant = share.min(material(&clips, rate, |c| c == "archery"));
            let found = material(&clips, rate, |c| c != "archery");
            if found < frames - relevant {
                prop_assert_eq!(planned, Err(TooFew { needed: frames - relevant, found }));
                return Ok(());
            }
            let parts = planned.unwrap();
            prop_assert_eq!(length(&parts), frames);
            let own = |part: &Part| clips[part.clip].category == "archery";
            prop_assert_eq!(parts.iter().filter(|p| own(p)).map(|p| p.frames).sum::<u32>(), relevant);
            let mut used: Vec<usize> = parts.iter().map(|part| part.clip).collect();
            used.sort_unstable();
            used.dedup();
            prop_assert_eq!(used.len(), parts.len());
            for part in &parts {
                prop_assert!(part.frames >= 1 && part.frames <= 8 * rate);
                prop_assert!(part.skip + part.frames <= clips[part.clip].frames);
            }
            // Of either kind, only the one that fills what is left may be a short piece of a longer clip.
            for kind in [true, false] {
                let short = |p: &&Part| own(p) == kind && p.frames < clips[p.clip].frames.min(2 * rate);
                prop_assert!(parts.iter().filter(short).count() <= 1);
            }
            let runs: Vec<usize> = parts.chunk_by(|a, b| own(a) == own(b)).filter(|r| own(&r[0])).map(<[_]>::len).collect();
            let (own, others) = (runs.iter().sum::<usize>(), parts.len() - runs.iter().sum::<usize>());
            let most = RUN.max(own.div_ceil(others + 1));
            prop_assert!(runs.iter().all(|&run| run <= most), "{:?}, {} others", runs, others);
            prop_assert_eq!(plan(&clips, &wish, &mut StdRng::seed_from_u64(seed)).unwrap(), parts);
        }
    }

    #[test]
    fn others_are_taken_from_each_category_in_turn() {
        // Forty clips of one category, two of each other one; six parts of 2 s are needed.
        let mut lengths = vec![(1, 50); 40];
        lengths.extend([(2, 50), (2, 50), (3, 50), (3, 50), (0, 100)]);
        let clips = clips(&lengths);
        let wish = Wish { topic: "archery", frames: 400, share: 0.25, rate: 25 };
        for seed in 0..20 {
            let parts = plan(&clips, &wish, &mut StdRng::seed_from_u64(seed)).unwrap();
            let count = |name| parts.iter().filter(|part| clips[part.clip].category == name).count();
            assert_eq!(CATEGORIES.map(count), [1, 2, 2, 2], "seed {seed}");
        }
    }

    #[test]
    fn seeds_differ() {
        let clips = clips(&(0..40).map(|i| (i % 4, 100)).collect::<Vec<_>>());
        let wish = Wish { topic: "rowing", frames: 1500, share: 0.25, rate: 25 };
        let of = |seed| plan(&clips, &wish, &mut StdRng::seed_from_u64(seed)).unwrap();
        assert_ne!(of(1), of(2));
    }
}
