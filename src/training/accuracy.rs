//! The paper's protocol: a video's category is the one with the highest mean prediction over 10 random segments.

use rand::{SeedableRng, rngs::StdRng};
use tch::{Kind, TchError};

use super::data::Dataset;
use crate::{engine::argmax, network::Network, offline::SEGMENTS};

/// How well a model names the categories of a set of videos.
#[derive(Clone, Copy, Debug)]
pub struct Accuracy {
    /// Share of videos named right by the mean prediction.
    pub video: f64,
    /// Share of single segments named right.
    pub clip: f64,
    /// Mean over videos of -ln p(right category), p from the mean prediction.
    pub loss: f64,
}

/// Measures a model on every video of a set, 10 random segments each.
///
/// # Errors
/// From libtorch.
pub fn measure(network: &Network, set: &Dataset, seed: u64) -> Result<Accuracy, TchError> {
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut videos, mut clips, mut loss) = (0, 0, 0.0);
    for video in &set.videos {
        let crops: Vec<Vec<u8>> = (0..SEGMENTS).map(|_| video.random_clip(&mut rng).centre_crop()).collect();
        let views: Vec<&[u8]> = crops.iter().map(Vec::as_slice).collect();
        let rows = tch::no_grad(|| network.logits(&network.input(&views)?)?.f_softmax(-1, Kind::Float))?;
        let rows = Vec::<Vec<f32>>::try_from(rows.f_to_device(tch::Device::Cpu)?)?;
        clips += rows.iter().filter(|row| argmax(row) == video.category).count();
        let mean: Vec<f32> =
            (0..set.categories.len()).map(|c| rows.iter().map(|row| row[c]).sum::<f32>() / SEGMENTS as f32).collect();
        videos += usize::from(argmax(&mean) == video.category);
        loss -= f64::from(mean[video.category].max(f32::MIN_POSITIVE)).ln();
    }
    let n = set.videos.len() as f64;
    Ok(Accuracy { video: videos as f64 / n, clip: clips as f64 / (n * SEGMENTS as f64), loss: loss / n })
}
