//! Minibatches in an order that the seed gives, cut from the frames on disk ahead of the network's need.

use std::{
    sync::mpsc,
    thread::{Scope, available_parallelism},
};

use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};

use super::{
    augment::{Augmentation, Colour, View},
    data::{CacheError, Dataset},
    mix,
    settings::{ClipsPerVideo, Settings},
};
use crate::clip::FRAMES;

/// Most threads that cut clips; each manages some hundred a second.
const THREADS: usize = 4;
/// Batches that a thread is ahead by.
const AHEAD: usize = 2;

/// A clip cut but not yet resized.
pub struct Cut {
    /// `[frames, height, width, 3]`
    pub pixels: Vec<u8>,
    pub width: usize,
    pub height: usize,
    pub colour: Colour,
}

/// Clips of one minibatch, and what the network is to give.
pub struct Batch {
    pub clips: Vec<Cut>,
    /// Numbers of their categories.
    pub labels: Vec<i64>,
    /// What the teacher gives, one clip's after the other; empty without one.
    pub lessons: Vec<f32>,
}

/// A clip of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Number of its video.
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
                order.extend(std::iter::repeat_n(Draw { video: number, segment: None }, video.draws * clips));
            }
        }
    }
    order.shuffle(&mut StdRng::seed_from_u64(mix(settings.seed, 1, epoch as u64)));
    order.chunks_exact(settings.batch.min(order.len()).max(1)).map(<[Draw]>::to_vec).collect()
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
        let video = &data.videos[draw.video];
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
        batch.clips.push(Cut { pixels: view.cut(&clip, step), width: view.width, height: view.height, colour });
        batch.labels.push(video.category as i64);
    }
    Ok(batch)
}
