//! Whether 16-bit convolutions give float32's scores. There was a cuDNN whose bf16 convolutions in three dimensions were wrong
//! and said nothing.

use tch::TchError;

use super::Network;
use crate::importance::{Form, Forward};

/// Largest [`deviation`] that rounding explains, with room: bf16 has 8 bits. What is wrong is off by about 1.
pub const LARGEST: f64 = 0.25;

/// How far a network's frame scores lie from another's: the norm of the difference over the norm of the other's, for one clip with
/// edges that move.
///
/// # Errors
/// From libtorch.
pub fn deviation(network: &Network, reference: &Network) -> Result<f64, TchError> {
    let clip = clip(reference);
    let scores = |network: &Network| {
        let scores = Forward::new(network, &[&clip])?.frame_scores(&[0], Form::Logit)?.concat();
        Ok::<Vec<f64>, TchError>(scores.into_iter().map(f64::from).collect())
    };
    let (own, expected) = (scores(network)?, scores(reference)?);
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let away = norm(&mut own.iter().zip(&expected).map(|(own, expected)| own - expected));
    Ok(away / norm(&mut expected.iter().copied()).max(f64::MIN_POSITIVE))
}

/// Squares that walk over a slope.
fn clip(network: &Network) -> Vec<u8> {
    let geometry = network.clip;
    let pixel = |index: usize| {
        let (x, y) = (index % geometry.crop_width, index / geometry.crop_width % geometry.crop_height);
        let time = index / (geometry.crop_width * geometry.crop_height);
        let square = (x + 3 * time) / 16 % 2 == y / 16 % 2;
        [if square { 220 } else { 30 }, (2 * x) as u8, (2 * y) as u8]
    };
    (0..geometry.clip_bytes() / 3).flat_map(pixel).collect()
}
