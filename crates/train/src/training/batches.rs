//! Minibatches in an order that the seed gives, cut from the frames on disk ahead of the network's need.

use std::{
    iter::repeat_n,
    sync::mpsc,
    thread::{Scope, available_parallelism},
};

use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};

use super::{
    augment::{Augmentation, Colour, Hole, View},
    data::{CacheError, Dataset},
    mix,
    settings::{ClipsPerVideo, Settings},
};
use desumnet_frames::clip::FRAMES;

/// Most threads that cut clips; each manages some hundred a second.
const THREADS: usize = 4;
/// Clips that show no category, for each one that does, at most.
const OF_NONE: f64 = 0.3;
/// Batches that a thread is ahead by.
const AHEAD: usize = 2;

/// A clip cut but not yet resized.
pub struct Cut {
    /// `[frames, height, width, 3]`
    pub pixels: Vec<u8>,
    pub width: usize,
    pub height: usize,
    pub colour: Colour,
    pub hole: Option<Hole>,
}

/// Clips of one minibatch, and what the network is to give.
pub struct Batch {
    pub clips: Vec<Cut>,
    /// Numbers of their categories; as many as there are categories for those that show none.
    pub labels: Vec<usize>,
    /// What the teacher gives, one clip's after the other; empty without one.
    pub lessons: Vec<f32>,
}

/// A clip of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Number of its video: see [`Dataset::video`].
    pub video: usize,
    /// The segment that it is; `None`: from a random place.
    pub segment: Option<usize>,
}

/// The clips of an epoch's minibatches. The last batch, if short, is left out: batch normalisation needs company.
pub fn order(data: &Dataset, settings: &Settings, epoch: usize) -> Vec<Vec<Draw>> {
    let mut order = Vec::new();
    for (number, video) in data.videos.iter().enumerate() {
        match settings.clips_per_video {
            ClipsPerVideo::All => {
                order.extend(video.clips().into_iter().map(|segment| Draw { video: number, segment: Some(segment) }));
            }
            ClipsPerVideo::Drawn(clips) => {
                order.extend(repeat_n(Draw { video: number, segment: None }, video.draws * clips));
            }
        }
    }
    let mut rng = StdRng::seed_from_u64(mix(settings.seed, 1, epoch as u64));
    if settings.balance {
        order = balanced(order, data.categories.len(), |draw| data.videos[draw.video].category, &mut rng);
    }
    let numbers = data.videos.len()..;
    let clips = if let ClipsPerVideo::Drawn(clips) = settings.clips_per_video { clips } else { 1 };
    let none =
        numbers.zip(&data.none).flat_map(|(video, of)| repeat_n(Draw { video, segment: None }, of.draws * clips));
    let mut none: Vec<Draw> = none.collect();
    none.shuffle(&mut rng);
    none.truncate((OF_NONE * order.len() as f64) as usize);
    order.extend(none);
    order.shuffle(&mut rng);
    order.chunks_exact(settings.batch.min(order.len()).max(1)).map(<[Draw]>::to_vec).collect()
}

/// As many draws of each category, and as many in all as there are, or a few more.
fn balanced(mut draws: Vec<Draw>, categories: usize, category: impl Fn(&Draw) -> usize, rng: &mut StdRng) -> Vec<Draw> {
    draws.shuffle(rng);
    let (all, mut of) = (draws.len(), vec![Vec::new(); categories]);
    draws.into_iter().for_each(|draw| of[category(&draw)].push(draw));
    of.retain(|own| !own.is_empty());
    let each = all.div_ceil(of.len().max(1));
    of.iter().flat_map(|own| own.iter().copied().cycle().take(each)).collect()
}

/// An epoch's batches from number `from` on.
pub fn stream<'scope>(
    scope: &'scope Scope<'scope, '_>,
    data: &'scope Dataset,
    settings: &Settings,
    epoch: usize,
    from: usize,
) -> impl Iterator<Item = Result<Batch, CacheError>> + use<'scope> {
    let batches = order(data, settings, epoch);
    let all = batches.len();
    let threads = available_parallelism().map_or(1, usize::from).min(THREADS);
    // Each thread cuts every n-th batch; taken in turns, they come in order.
    let receivers: Vec<_> = (0..threads)
        .map(|first| {
            let (sender, receiver) = mpsc::sync_channel(AHEAD);
            let (settings, batches) = (settings.clone(), batches.clone());
            scope.spawn(move || {
                for number in (from + first..all).step_by(threads) {
                    if sender.send(cut(data, &settings, epoch, number, &batches[number])).is_err() {
                        break;
                    }
                }
            });
            receiver
        })
        .collect();
    (from..all).map_while(move |number| receivers[(number - from) % threads].recv().ok())
}

fn cut(data: &Dataset, settings: &Settings, epoch: usize, number: usize, draws: &[Draw]) -> Result<Batch, CacheError> {
    let mut rng = StdRng::seed_from_u64(mix(settings.seed, 2 + epoch as u64, number as u64));
    let step = FRAMES / settings.phase(epoch).frames;
    let on = &settings.augment;
    let mut batch = Batch { clips: Vec::new(), labels: Vec::new(), lessons: Vec::new() };
    for draw in draws {
        let (video, label) = data.video(draw.video);
        let place = match draw.segment {
            Some(segment) => video.stored.frames_of(segment),
            None => video.random_place(&mut rng),
        };
        if let Some(lessons) = &data.lessons {
            batch.lessons.extend(lessons.at(draw.video, &video.stored, &place));
        }
        let clip = video.stored.clip(place)?;
        let view = View::random(&mut rng, on);
        let colour = if on.contains(&Augmentation::Colour) { Colour::random(&mut rng) } else { Colour::SAME };
        let hole = on.contains(&Augmentation::Erase).then(|| Hole::random(&mut rng)).flatten();
        let (width, height) = (view.width, view.height);
        batch.clips.push(Cut { pixels: view.cut(&clip, step), width, height, colour, hole });
        batch.labels.push(label);
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_categories_are_drawn_more_often_and_frequent_ones_not_all() {
        // Seven videos of the first category, two of the second, none of the third.
        let draws: Vec<Draw> = (0..9).map(|video| Draw { video, segment: None }).collect();
        let category = |draw: &Draw| usize::from(draw.video >= 7);
        let order = balanced(draws.clone(), 3, category, &mut StdRng::seed_from_u64(1));
        let mut times = [0i32; 9];
        order.iter().for_each(|draw| times[draw.video] += 1);
        let mut frequent = times[..7].to_vec();
        frequent.sort_unstable();
        assert_eq!(frequent, [0, 0, 1, 1, 1, 1, 1]);
        assert_eq!((times[7] + times[8], times[7].abs_diff(times[8])), (5, 1));
        let even = balanced(draws, 1, |_| 0, &mut StdRng::seed_from_u64(1));
        let mut videos: Vec<usize> = even.iter().map(|draw| draw.video).collect();
        videos.sort_unstable();
        assert_eq!(videos, (0..9).collect::<Vec<_>>());
    }
}
