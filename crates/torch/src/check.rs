//! Whether 16-bit convolutions give float32's scores. There was a cuDNN whose bf16 convolutions in three dimensions were wrong
//! and said nothing.

use tch::TchError;

use desumnet_engine::network::{
    ComputeError,
    backend::{ComputerPass, Guide},
};

use crate::network::TorchNetwork;

/// Largest [`deviation`] that rounding explains, with room: bf16 has 8 bits. What is wrong is off by about 1.
pub const LARGEST: f64 = 0.25;

/// How far a network's frame scores lie from another's: the norm of the difference over the norm of the other's, for one clip with
/// edges that move.
///
/// # Errors
/// From libtorch.
pub fn deviation(network: &TorchNetwork, reference: &TorchNetwork) -> Result<f64, TchError> {
    let clip = clip(reference);
    // The first category's class score, and the mean of each frame's map.
    let scores = |network: &TorchNetwork| {
        let mut pass = network.pass(network.input(&[&clip])?)?;
        let logits = (0..pass.logits().len()).map(|category| f32::from(u8::from(category == 0))).collect();
        let failed = |error: ComputeError| TchError::Torch(error.to_string());
        pass.begin(&Guide { logits, features: None }).map_err(failed)?;
        let frame = network.clip.crop_width * network.clip.crop_height;
        let map = pass.finish().map_err(failed)?;
        let mean = |frame: &[f32]| frame.iter().map(|&value| f64::from(value)).sum::<f64>() / frame.len() as f64;
        Ok::<Vec<f64>, TchError>(map.chunks(frame).map(mean).collect())
    };
    let (own, expected) = (scores(network)?, scores(reference)?);
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let away = norm(&mut own.iter().zip(&expected).map(|(own, expected)| own - expected));
    Ok(away / norm(&mut expected.iter().copied()).max(f64::MIN_POSITIVE))
}

/// Squares that walk over a slope.
fn clip(network: &TorchNetwork) -> Vec<u8> {
    let geometry = network.clip;
    let pixel = |index: usize| {
        let (x, y) = (index % geometry.crop_width, index / geometry.crop_width % geometry.crop_height);
        let time = index / (geometry.crop_width * geometry.crop_height);
        let square = (x + 3 * time) / 16 % 2 == y / 16 % 2;
        [if square { 220 } else { 30 }, (2 * x) as u8, (2 * y) as u8]
    };
    (0..geometry.clip_bytes() / 3).flat_map(pixel).collect()
}
