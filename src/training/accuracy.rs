//! The paper's protocol (section 4): a video's category is the one with the highest mean prediction over 10 of its segments,
//! drawn at random; accuracy is the mean over five such draws.

use std::collections::BTreeMap;

use rand::{SeedableRng, rngs::StdRng, seq::index};
use serde::Serialize;
use tch::TchError;

use super::data::{CacheError, Dataset, Video};
use crate::{
    clip::Geometry,
    engine::argmax,
    evaluation::Spread,
    importance::Forward,
    network::{Network, telling_line},
    offline::SEGMENTS,
};

/// Draws that the paper averages over.
pub const DRAWS: usize = 5;
/// Clips that go through the network at once.
const BATCH: usize = 4;

/// Why accuracy could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum AccuracyError {
    #[error(
        "accuracy is measured on clips of 16 frames, 112x112 of 171x128 pixels; this model takes others: give a model of desumnet-train"
    )]
    Geometry,
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error("libtorch failed: {}", telling_line(.0))]
    Torch(#[from] TchError),
}

/// A category's share.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OfCategory {
    pub videos: usize,
    /// Mean over the draws; `null` if there are no videos.
    pub video_accuracy: Option<f64>,
    pub clip_accuracy: Option<f64>,
}

/// How well a model names the categories of a set of videos. Accuracies are shares, [0, 1].
#[derive(Clone, Debug, Serialize)]
pub struct Accuracy {
    /// Of videos named right by the mean prediction.
    pub video_accuracy: Spread,
    /// Of single segments named right.
    pub clip_accuracy: f64,
    /// Mean over videos and draws of -ln p(right category), p from the mean prediction.
    pub loss: f64,
    pub videos: usize,
    /// Segments of the videos that were named.
    pub clips: usize,
    /// [`OfCategory`] by name.
    pub per_category: BTreeMap<String, OfCategory>,
    /// Videos by their category (row) and the one they were named (column), over all draws.
    pub confusion: Vec<Vec<u32>>,
}

/// Probabilities `[C]` of the given segments of a video.
///
/// # Errors
/// [`AccuracyError`]
pub fn predict(network: &Network, video: &Video, segments: &[usize]) -> Result<Vec<Vec<f32>>, AccuracyError> {
    if network.clip != Geometry::PAPER {
        return Err(AccuracyError::Geometry);
    }
    let mut rows = Vec::new();
    for numbers in segments.chunks(BATCH) {
        let clips = numbers.iter().map(|&n| Ok(video.stored.segment(n)?.centre_crop()));
        let clips = clips.collect::<Result<Vec<_>, CacheError>>()?;
        let views: Vec<&[u8]> = clips.iter().map(Vec::as_slice).collect();
        rows.extend(Forward::new(network, &views)?.probabilities);
    }
    Ok(rows)
}

/// Measures a model on every video of a set whose categories are the model's. `progress` is called with the number of videos
/// done.
///
/// # Errors
/// [`AccuracyError`]
pub fn measure(
    network: &Network,
    set: &Dataset,
    draws: usize,
    seed: u64,
    mut progress: impl FnMut(usize),
) -> Result<Accuracy, AccuracyError> {
    let mut rng = StdRng::seed_from_u64(seed);
    let categories = set.categories.len();
    let mut right = vec![0.0; draws];
    let mut confusion = vec![vec![0u32; categories]; categories];
    let mut clips_of = vec![(0usize, 0usize); categories];
    let mut loss = 0.0;
    for (done, video) in set.videos.iter().enumerate() {
        // Segments that several draws share are named once.
        let all = video.stored.segments();
        let drawn: Vec<Vec<usize>> =
            (0..draws).map(|_| index::sample(&mut rng, all, SEGMENTS.min(all)).into_vec()).collect();
        let mut named: Vec<usize> = drawn.iter().flatten().copied().collect();
        named.sort_unstable();
        named.dedup();
        let rows = predict(network, video, &named)?;
        let (hits, seen) = &mut clips_of[video.category];
        *hits += rows.iter().filter(|row| argmax(row) == video.category).count();
        *seen += rows.len();
        for (draw, segments) in drawn.iter().enumerate() {
            let rows = segments.iter().filter_map(|n| Some(&rows[named.binary_search(n).ok()?]));
            let mut mean = vec![0.0; categories];
            rows.for_each(|row| mean.iter_mut().zip(row).for_each(|(m, p)| *m += p / segments.len() as f32));
            let answer = argmax(&mean);
            right[draw] += f64::from(u8::from(answer == video.category));
            confusion[video.category][answer] += 1;
            loss -= f64::from(mean[video.category].max(f32::MIN_POSITIVE)).ln();
        }
        progress(done + 1);
    }
    let videos = set.videos.len();
    let shares: Vec<f64> = right.iter().map(|right| right / videos as f64).collect();
    let per_category = set.categories.iter().enumerate().map(|(c, name)| {
        let named: u32 = confusion[c].iter().sum();
        let share = |part: f64, all: usize| (all > 0).then(|| part / all as f64);
        let of = OfCategory {
            videos: named as usize / draws,
            video_accuracy: share(f64::from(confusion[c][c]), named as usize),
            clip_accuracy: share(clips_of[c].0 as f64, clips_of[c].1),
        };
        (name.clone(), of)
    });
    let (hits, clips) = clips_of.iter().fold((0, 0), |(h, s), (hits, seen)| (h + hits, s + seen));
    Ok(Accuracy {
        video_accuracy: Spread::of(&shares),
        clip_accuracy: hits as f64 / clips as f64,
        loss: loss / (videos * draws) as f64,
        videos,
        clips,
        per_category: per_category.collect(),
        confusion,
    })
}
