//! The network that scores, its weights fixed: DeSumNet from a model file, or a TorchScript module of the user's own.
//! Training has its own form of DeSumNet, with batch normalisation.

mod device;
mod layers;
mod model;
mod script;
mod sidecar;
pub mod tensors;

use std::path::Path;

use tch::{Kind, TchError, Tensor};
use thiserror::Error;

use layers::Layers;
use script::Script;

pub use device::{Device, DeviceError, Precision};
pub use model::{CONVS, Header, LAYERS, Layer, Model, ModelError, POOLED};
pub use script::{ScriptError, telling_line};
pub use sidecar::{Layout, Sidecar, SidecarError, sidecar_of};

use crate::clip::Geometry;

/// Filters of conv1 to conv5 and outputs of fc6 and fc7, as in the paper. A model file may have others.
pub const WIDTHS: [i64; 7] = [64, 128, 256, 256, 256, 2048, 2048];
/// Bytes of a clip as DeSumNet takes it: `[FRAMES, CROP, CROP, 3]`.
pub const CLIP_BYTES: usize = Geometry::PAPER.clip_bytes();

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
    Sidecar(#[from] SidecarError),
    #[error(transparent)]
    Script(#[from] ScriptError),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error("libtorch failed: {}", telling_line(.0))]
    Torch(#[from] TchError),
}

/// A model on a device, ready to score.
pub struct Network {
    pub header: Header,
    /// What a clip is to it.
    pub clip: Geometry,
    pub device: tch::Device,
    /// Element type of the convolutions, or of the whole script; all else is [`wide`] of it.
    pub kind: Kind,
    body: Body,
    mean: Tensor,
    std: Tensor,
}

enum Body {
    Layers(Layers),
    Script(Script, Layout),
}

impl Network {
    /// Loads a model file: safetensors made by desumnet-train, or TorchScript with its [`Sidecar`].
    ///
    /// # Errors
    /// [`NetworkError`]: a bad file, or a device or precision that is not to be had.
    pub fn load(path: &Path, device: Device, precision: Precision) -> Result<Self, NetworkError> {
        let device = device.resolve()?;
        if !script::is_archive(path) {
            return Ok(Self::new(Model::load(path)?, device, precision.resolve(device)?)?);
        }
        // What others have made may not bear fewer bits; who knows that it does, asks for them.
        let precision = if precision == Precision::Auto { Precision::F32 } else { precision };
        let kind = precision.resolve(device)?;
        let script = Script::load(path, device, kind)?;
        let Sidecar { header, clip, layout } = Sidecar::load(&sidecar_of(path))?;
        let network = Self::of(Body::Script(script, layout), header, clip, device, kind)?;
        if let Body::Script(script, layout) = &network.body {
            script.check(&network, *layout, path)?;
        }
        Ok(network)
    }

    /// Places a model's weights on a device, convolutions channels-last.
    ///
    /// # Errors
    /// From libtorch: out of memory, for one.
    pub fn new(model: Model, device: tch::Device, kind: Kind) -> Result<Self, TchError> {
        let layers = Layers::new(model.layers, device, kind)?;
        Self::of(Body::Layers(layers), model.header, Geometry::PAPER, device, kind)
    }

    fn of(body: Body, header: Header, clip: Geometry, device: tch::Device, kind: Kind) -> Result<Self, TchError> {
        let rgb = |values: [f64; 3]| Tensor::f_from_slice(&values)?.f_to_device(device)?.f_to_kind(wide(kind));
        Ok(Self { mean: rgb(header.mean)?, std: rgb(header.std)?, header, clip, device, kind, body })
    }

    /// Normalised input `[N, 3, T, H, W]` (channels-last in memory) of N clips' RGB bytes, [`Geometry::clip_bytes`] each:
    /// x = (pixel - mean) / std.
    ///
    /// # Errors
    /// If a clip is of another size; from libtorch.
    pub fn input(&self, clips: &[&[u8]]) -> Result<Tensor, TchError> {
        // libtorch would read past the end of a short one.
        let bytes = self.clip.clip_bytes();
        if let Some(wrong) = clips.iter().find(|clip| clip.len() != bytes) {
            return Err(TchError::Shape(format!("a clip has {} bytes, {bytes} are needed", wrong.len())));
        }
        let [frames, height, width] =
            [self.clip.frames, self.clip.crop_height, self.clip.crop_width].map(|size| size as i64);
        let clips = clips
            .iter()
            .map(|clip| Tensor::f_from_data_size(clip, &[1, frames, height, width, 3], Kind::Uint8))
            .collect::<Result<Vec<_>, _>>()?;
        let pixels = Tensor::f_cat(&clips, 0)?.f_to_device(self.device)?.f_to_kind(self.mean.kind())?;
        pixels.f_sub(&self.mean)?.f_div(&self.std)?.f_to_kind(self.kind)?.f_permute([0, 4, 1, 2, 3])
    }

    /// Class scores before the softmax, `[N, C]`, of an input as [`Self::input`] makes it.
    ///
    /// # Errors
    /// From libtorch.
    pub fn logits(&self, input: &Tensor) -> Result<Tensor, TchError> {
        match &self.body {
            Body::Layers(layers) => Ok(layers.forward(input)?.1),
            Body::Script(script, layout) => script.forward(&layout.order(input)?),
        }
    }

    /// What fc6 gives after its ReLU, `[N, 2048]`, features that stand for a clip, and the class scores, `[N, C]`. `None` of a network
    /// of the user's own.
    ///
    /// # Errors
    /// From libtorch.
    pub fn features(&self, input: &Tensor) -> Result<Option<(Tensor, Tensor)>, TchError> {
        match &self.body {
            Body::Layers(layers) => layers.forward(input).map(Some),
            Body::Script(..) => Ok(None),
        }
    }
}

/// Gradient of a score with respect to the input that it was computed from. `again`: another backward pass follows.
///
/// # Errors
/// If the score does not depend on the input; from libtorch.
pub fn input_gradient(score: &Tensor, input: &Tensor, again: bool) -> Result<Tensor, TchError> {
    // libtorch would crash.
    if !score.requires_grad() {
        return Err(TchError::Torch("the class scores have no gradient".into()));
    }
    Ok(Tensor::f_run_backward(&[score], &[input], again, false)?.remove(0))
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
