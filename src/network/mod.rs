//! DeSumNet itself (paper, section 3.2): five 3D convolutions, each with ReLU and max pooling, then three fully
//! connected layers; weights fixed, for scoring. Training has its own form of it, with batch normalisation.

mod device;
mod model;
pub mod tensors;

use std::path::Path;

use tch::{Kind, TchError, Tensor};
use thiserror::Error;

pub use device::{Device, DeviceError, Precision};
pub use model::{CONVS, ClipSize, Header, LAYERS, Layer, Model, ModelError, POOLED};

use crate::clip::{CROP, FRAMES};

/// Filters of conv1 to conv5 and outputs of fc6 and fc7, as in the paper. A model file may have others.
pub const WIDTHS: [i64; 7] = [64, 128, 256, 256, 256, 2048, 2048];
/// Bytes of a clip as the network takes it: `[FRAMES, CROP, CROP, 3]`.
pub const CLIP_BYTES: usize = FRAMES * CROP * CROP * 3;

/// Temporal, vertical and horizontal kernel (and stride) of the pooling after convolution `index`: pool1 keeps time.
pub fn pool_kernel(index: usize) -> [i64; 3] {
    if index == 0 { [1, 2, 2] } else { [2, 2, 2] }
}

/// Why a network can't be made.
#[derive(Debug, Error)]
pub enum NetworkError {
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error("libtorch failed: {0}")]
    Torch(#[from] TchError),
}

/// A model on a device, ready to score.
pub struct Network {
    pub header: Header,
    pub device: tch::Device,
    /// Element type of the convolutions; all else is [`wide`] of it.
    pub kind: Kind,
    layers: Vec<Layer>,
    mean: Tensor,
    std: Tensor,
}

impl Network {
    /// Loads a model file.
    ///
    /// # Errors
    /// [`NetworkError`]: a bad file, or a device or precision that is not to be had.
    pub fn load(path: &Path, device: Device, precision: Precision) -> Result<Self, NetworkError> {
        let device = device.resolve()?;
        Ok(Self::new(Model::load(path)?, device, precision.resolve(device)?)?)
    }

    /// Places a model's weights on a device, convolutions channels-last.
    ///
    /// # Errors
    /// From libtorch: out of memory, for one.
    pub fn new(model: Model, device: tch::Device, kind: Kind) -> Result<Self, TchError> {
        let layers = model
            .layers
            .into_iter()
            .enumerate()
            .map(|(i, layer)| {
                let kind = if i < CONVS { kind } else { wide(kind) };
                let weight = layer.weight.f_to_device(device)?.f_to_kind(kind)?;
                let weight = if i < CONVS { channels_last(&weight)? } else { weight.f_contiguous()? };
                Ok(Layer { weight, bias: layer.bias.f_to_device(device)?.f_to_kind(kind)? })
            })
            .collect::<Result<_, TchError>>()?;
        let rgb = |values: [f64; 3]| Tensor::f_from_slice(&values)?.f_to_device(device)?.f_to_kind(wide(kind));
        Ok(Self {
            mean: rgb(model.header.mean)?,
            std: rgb(model.header.std)?,
            header: model.header,
            device,
            kind,
            layers,
        })
    }

    /// Normalised input `[N, 3, 16, 112, 112]` (channels-last in memory) of N clips' RGB bytes, [`CLIP_BYTES`] each:
    /// x = (pixel - mean) / std.
    ///
    /// # Errors
    /// If a clip is of another size; from libtorch.
    pub fn input(&self, clips: &[&[u8]]) -> Result<Tensor, TchError> {
        // libtorch would read past the end of a short one.
        if let Some(wrong) = clips.iter().find(|clip| clip.len() != CLIP_BYTES) {
            return Err(TchError::Shape(format!("a clip has {} bytes, {CLIP_BYTES} are needed", wrong.len())));
        }
        let shape = [1, FRAMES as i64, CROP as i64, CROP as i64, 3];
        let clips = clips
            .iter()
            .map(|clip| Tensor::f_from_data_size(clip, &shape, Kind::Uint8))
            .collect::<Result<Vec<_>, _>>()?;
        let pixels = Tensor::f_cat(&clips, 0)?.f_to_device(self.device)?.f_to_kind(self.mean.kind())?;
        pixels.f_sub(&self.mean)?.f_div(&self.std)?.f_to_kind(self.kind)?.f_permute([0, 4, 1, 2, 3])
    }

    /// Class scores before the softmax, `[N, C]`, of an input as [`Self::input`] makes it.
    ///
    /// # Errors
    /// From libtorch.
    pub fn logits(&self, input: &Tensor) -> Result<Tensor, TchError> {
        let mut x = input.shallow_clone();
        for (i, layer) in self.layers.iter().enumerate() {
            if i < CONVS {
                let pool = pool_kernel(i);
                x = x
                    .f_conv3d(&layer.weight, Some(&layer.bias), [1, 1, 1], [1, 1, 1], [1, 1, 1], 1)?
                    .f_relu_()?
                    .f_max_pool3d(pool, pool, [0, 0, 0], [1, 1, 1], true)?;
            } else {
                if i == CONVS {
                    x = x.f_flatten(1, -1)?.f_to_kind(wide(self.kind))?;
                }
                x = x.f_linear(&layer.weight, Some(&layer.bias))?;
                if i + 1 < LAYERS.len() {
                    x = x.f_relu()?;
                }
            }
        }
        Ok(x)
    }
}

/// The type for all that is cheap: float32, or float64 where the convolutions run in it. In 16 bits, pixels and their mean
/// would be coarser than what remains of them, and class scores coarser than their probabilities' ranking needs.
pub fn wide(kind: Kind) -> Kind {
    if kind == Kind::Double { Kind::Double } else { Kind::Float }
}

/// The same `[N, C, T, H, W]` tensor with channels innermost in memory (tch has no memory-format argument).
pub fn channels_last(tensor: &Tensor) -> Result<Tensor, TchError> {
    tensor.f_permute([0, 2, 3, 4, 1])?.f_contiguous()?.f_permute([0, 4, 1, 2, 3])
}
