//! The paper's protocol (section 4): a video's category is the one with the highest mean prediction over 10 of its segments,
//! drawn at random; accuracy is the mean over five random splits into 80 % of the videos, on which a model is trained, and 20 %, on
//! which it is measured.
//!
//! **Our choice**, where there is one model only: several draws of the segments, whose spread says how much the draw decides.

use std::collections::BTreeMap;

use rand::{SeedableRng, rngs::StdRng, seq::index};
use serde::Serialize;

use super::data::{CacheError, Dataset, Video};
use crate::evaluation::Spread;
use desumnet_engine::{
    argmax,
    importance::Forward,
    network::{ComputeError, Network},
};
use desumnet_frames::clip::Geometry;
use desumnet_offline::SEGMENTS;

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
    #[error(transparent)]
    Compute(#[from] ComputeError),
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
    /// Of videos named right by the mean prediction; over the models, and each one's draws.
    pub video_accuracy: Spread,
    /// Of single segments named right.
    pub clip_accuracy: f64,
    /// Mean over videos and draws of -ln p(right category), p from the mean prediction.
    pub loss: f64,
    /// That were measured, by each model its own.
    pub videos: usize,
    /// Segments of the videos that were named.
    pub clips: usize,
    /// [`OfCategory`] by name.
    pub per_category: BTreeMap<String, OfCategory>,
    /// Videos by their category (row) and the one they were named (column), over all draws.
    pub confusion: Vec<Vec<u32>>,
}

/// Counts so far.
pub struct Tally {
    categories: Vec<String>,
    /// Of each model and draw.
    shares: Vec<f64>,
    confusion: Vec<Vec<u32>>,
    /// Of each category: segments named right, and segments.
    clips: Vec<(usize, usize)>,
    /// Of each category.
    videos: Vec<usize>,
    loss: f64,
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

impl Tally {
    /// Of nothing yet.
    pub fn new(categories: &[String]) -> Self {
        let count = categories.len();
        Self {
            categories: categories.into(),
            shares: Vec::new(),
            confusion: vec![vec![0; count]; count],
            clips: vec![(0, 0); count],
            videos: vec![0; count],
            loss: 0.0,
        }
    }

    /// Measures a model on every video of a set; the categories of both are the tally's. `progress` is called with the number of
    /// videos done.
    ///
    /// # Errors
    /// [`AccuracyError`]
    pub fn add(
        &mut self,
        network: &Network,
        set: &Dataset,
        draws: usize,
        seed: u64,
        mut progress: impl FnMut(usize),
    ) -> Result<(), AccuracyError> {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut right = vec![0.0; draws];
        for (done, video) in set.videos.iter().enumerate() {
            // Segments that several draws share are named once.
            let all = video.stored.segments();
            let drawn: Vec<Vec<usize>> =
                (0..draws).map(|_| index::sample(&mut rng, all, SEGMENTS.min(all)).into_vec()).collect();
            let mut named: Vec<usize> = drawn.iter().flatten().copied().collect();
            named.sort_unstable();
            named.dedup();
            let rows = predict(network, video, &named)?;
            let (hits, seen) = &mut self.clips[video.category];
            *hits += rows.iter().filter(|row| argmax(row) == video.category).count();
            *seen += rows.len();
            self.videos[video.category] += 1;
            for (right, segments) in right.iter_mut().zip(&drawn) {
                let rows = segments.iter().filter_map(|n| Some(&rows[named.binary_search(n).ok()?]));
                let mut mean = vec![0.0; self.categories.len()];
                rows.for_each(|row| mean.iter_mut().zip(row).for_each(|(m, p)| *m += p / segments.len() as f32));
                let answer = argmax(&mean);
                *right += f64::from(u8::from(answer == video.category));
                self.confusion[video.category][answer] += 1;
                self.loss -= f64::from(mean[video.category].max(f32::MIN_POSITIVE)).ln();
            }
            progress(done + 1);
        }
        self.shares.extend(right.iter().map(|right| right / set.videos.len() as f64));
        Ok(())
    }

    /// What it comes to.
    pub fn accuracy(self) -> Accuracy {
        let share = |part: f64, all: f64| (all > 0.0).then(|| part / all);
        let named = |category: usize| f64::from(self.confusion[category].iter().sum::<u32>());
        let per_category = self.categories.iter().enumerate().map(|(c, name)| {
            let (hits, clips) = self.clips[c];
            let of = OfCategory {
                videos: self.videos[c],
                video_accuracy: share(f64::from(self.confusion[c][c]), named(c)),
                clip_accuracy: share(hits as f64, clips as f64),
            };
            (name.clone(), of)
        });
        let (hits, clips) = self.clips.iter().fold((0, 0), |(h, s), (hits, seen)| (h + hits, s + seen));
        Accuracy {
            video_accuracy: Spread::of(&self.shares),
            clip_accuracy: hits as f64 / clips as f64,
            loss: self.loss / (0..self.categories.len()).map(named).sum::<f64>(),
            videos: self.videos.iter().sum(),
            clips,
            per_category: per_category.collect(),
            confusion: self.confusion,
        }
    }
}

/// One model's [`Accuracy`], by [`Tally::add`].
///
/// # Errors
/// [`AccuracyError`]
pub fn measure(
    network: &Network,
    set: &Dataset,
    draws: usize,
    seed: u64,
    progress: impl FnMut(usize),
) -> Result<Accuracy, AccuracyError> {
    let mut tally = Tally::new(&set.categories);
    tally.add(network, set, draws, seed, progress)?;
    Ok(tally.accuracy())
}
