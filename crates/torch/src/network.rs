//! A network on libtorch: DeSumNet's own layers, or a TorchScript module.

use std::path::Path;

use desumnet_engine::network::{
    ComputeError, Device, Header, Model, NetworkError, Precision, Sidecar,
    backend::{About, Computer, ComputerPass, Guide, Prepared},
    is_script, sidecar_of,
};
use desumnet_frames::clip::Geometry;
use tch::{Kind, TchError, Tensor};
use thiserror::Error;

use crate::{
    check,
    device::{resolve, resolve_precision},
    layers::Layers,
    script::{Script, ScriptError, telling_line},
    upload,
};

/// Why a network can't be made.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error(transparent)]
    Engine(#[from] NetworkError),
    #[error(transparent)]
    Script(#[from] ScriptError),
    #[error(
        "{precision:?} scores wrongly on this GPU, {:.0} % away from float32: use precision=f32, or another version of NVIDIA's driver",
        deviation * 100.0
    )]
    Inexact { precision: Kind, deviation: f64 },
    #[error("libtorch failed: {}", telling_line(.0))]
    Torch(#[from] TchError),
}

/// A model on a device.
pub struct TorchNetwork {
    pub header: Header,
    /// Size of a clip, as it takes it.
    pub clip: Geometry,
    pub device: tch::Device,
    /// Element type of the convolutions, or of the whole script; all else is [`wide`] of it.
    pub kind: Kind,
    /// How many features it gives of a clip, if any.
    features: Option<usize>,
    body: Body,
    mean: Tensor,
    std: Tensor,
}

enum Body {
    Layers(Layers),
    Script(Script),
}

impl TorchNetwork {
    /// Loads a model file: safetensors made by desumnet-train, or TorchScript with its [`Sidecar`].
    ///
    /// # Errors
    /// [`OpenError`]: a bad file, or a device or precision that is not to be had.
    pub fn load(path: &Path, device: Device, precision: Precision) -> Result<Self, OpenError> {
        let device = resolve(device).map_err(NetworkError::from)?;
        if !is_script(path) {
            let kind = resolve_precision(precision, device).map_err(NetworkError::from)?;
            let model = Model::load(path).map_err(NetworkError::from)?;
            let network = Self::new(&model, device, kind)?;
            if kind == Kind::Float {
                return Ok(network);
            }
            let exact = Self::new(&model, device, Kind::Float)?;
            return match check::deviation(&network, &exact)? {
                deviation if deviation <= check::LARGEST => Ok(network),
                _ if precision == Precision::Auto => Ok(exact),
                deviation => Err(OpenError::Inexact { precision: kind, deviation }),
            };
        }
        // What others have made may not bear fewer bits; who knows that it does, asks for them.
        let precision = if precision == Precision::Auto { Precision::F32 } else { precision };
        let kind = resolve_precision(precision, device).map_err(NetworkError::from)?;
        let module = Script::load(path, device, kind)?;
        let Sidecar { header, clip, layout } = Sidecar::load(&sidecar_of(path)).map_err(NetworkError::from)?;
        let mut network = Self::of(Body::Script(module.in_order(layout)), header, clip, device, kind)?;
        if let Body::Script(script) = &network.body {
            network.features = script.check(&network, path)?;
        }
        Ok(network)
    }

    /// Places a model's weights on a device, convolutions channels-last.
    ///
    /// # Errors
    /// From libtorch: out of memory, for one.
    pub fn new(model: &Model, device: tch::Device, kind: Kind) -> Result<Self, TchError> {
        let layers = Layers::new(&model.layers, device, kind)?;
        let features = Some(layers.feature_width());
        Ok(Self { features, ..Self::of(Body::Layers(layers), model.header.clone(), Geometry::PAPER, device, kind)? })
    }

    fn of(body: Body, header: Header, clip: Geometry, device: tch::Device, kind: Kind) -> Result<Self, TchError> {
        let rgb = |values: [f64; 3]| Tensor::f_from_slice(&values)?.f_to_device(device)?.f_to_kind(wide(kind));
        let (mean, std) = (rgb(header.mean)?, rgb(header.std)?);
        Ok(Self { mean, std, header, clip, device, kind, features: None, body })
    }

    /// Clips of RGB bytes as a tensor `[N, 3, T, H, W]`, normalised, channels-last in memory. A GPU gets it while it is at something else.
    ///
    /// # Errors
    /// From libtorch: out of memory, for one.
    pub fn input(&self, clips: &[&[u8]]) -> Result<Tensor, TchError> {
        let [frames, height, width] =
            [self.clip.frames, self.clip.crop_height, self.clip.crop_width].map(|size| size as i64);
        let clips = clips
            .iter()
            .map(|clip| Tensor::f_from_data_size(clip, &[1, frames, height, width, 3], Kind::Uint8))
            .collect::<Result<Vec<_>, _>>()?;
        let mut pixels = Tensor::f_cat(&clips, 0)?;
        if let tch::Device::Cuda(index) = self.device {
            pixels = upload::upload(&pixels.f_pin_memory(self.device)?, index)?;
        }
        let pixels = pixels.f_to_kind(self.mean.kind())?;
        pixels.f_sub(&self.mean)?.f_div(&self.std)?.f_to_kind(self.kind)?.f_permute([0, 4, 1, 2, 3])
    }

    /// Runs an input as [`Self::input`] makes it, and keeps what the way back needs.
    ///
    /// # Errors
    /// From libtorch.
    pub fn pass(&self, input: Tensor) -> Result<TorchPass, TchError> {
        let input = input.f_set_requires_grad(true)?;
        let (of_features, of_logits) = self.outputs(&input)?;
        let numbers = |tensor: &Tensor| {
            let flat = tensor.f_detach()?.f_to_device(tch::Device::Cpu)?.f_to_kind(Kind::Float)?.f_contiguous()?;
            Vec::<f32>::try_from(flat.f_view([-1])?)
        };
        let (logits, features) = (numbers(&of_logits)?, of_features.as_ref().map(numbers).transpose()?);
        Ok(TorchPass { input, of_logits, of_features, logits, features, kind: self.kind, map: None })
    }

    /// Class scores before the softmax, `[N, C]`, of an input as [`Self::input`] makes it.
    ///
    /// # Errors
    /// From libtorch.
    pub fn logits(&self, input: &Tensor) -> Result<Tensor, TchError> {
        Ok(self.outputs(input)?.1)
    }

    /// Features, and the class scores.
    fn outputs(&self, input: &Tensor) -> Result<(Option<Tensor>, Tensor), TchError> {
        match &self.body {
            Body::Layers(layers) => {
                let (features, logits) = layers.head(&layers.convolve(input)?)?;
                Ok((Some(features), logits))
            }
            Body::Script(script) => script.forward(input),
        }
    }
}

fn failed(error: TchError) -> ComputeError {
    ComputeError::Torch(telling_line(&error))
}

impl Computer for TorchNetwork {
    fn about(&self) -> About {
        let (header, clip) = (self.header.clone(), self.clip);
        About { header, clip, features: self.features, is_gpu: self.device.is_cuda() }
    }

    fn prepare(&self, clips: &[&[u8]]) -> Result<Prepared, ComputeError> {
        Ok(Box::new(self.input(clips).map_err(failed)?))
    }

    fn forward(&self, input: Prepared) -> Result<Box<dyn ComputerPass + '_>, ComputeError> {
        let input = input.downcast::<Tensor>();
        let input = input.map_err(|_| ComputeError::Torch("the input is not of this network".into()))?;
        Ok(Box::new(self.pass(*input).map_err(failed)?))
    }
}

/// A forward pass.
pub struct TorchPass {
    /// Where libtorch's graph begins: normalised pixels, `[N, 3, T, H, W]`.
    input: Tensor,
    of_logits: Tensor,
    of_features: Option<Tensor>,
    logits: Vec<f32>,
    features: Option<Vec<f32>>,
    /// Of the convolutions.
    kind: Kind,
    /// That is being computed.
    map: Option<Tensor>,
}

impl TorchPass {
    fn start(&mut self, guide: &Guide) -> Result<(), TchError> {
        let wide = wide(self.kind);
        // Half precision has no room for gradients of 1e-8: they are scaled up on the way and down again after it.
        let scale = if self.kind == Kind::Half { 4096.0 } else { 1.0 };
        let mut score = guided(&self.of_logits, &guide.logits)?;
        if let (Some(features), Some(along)) = (&self.of_features, &guide.features) {
            score = score.f_add(&guided(features, along)?)?;
        }
        let gradient = input_gradient(&score.f_mul_scalar(scale)?, &self.input)?;
        self.map = Some(gradient.f_abs()?.f_amax([1], false)?.f_to_kind(wide)?.f_div_scalar(scale)?);
        Ok(())
    }
}

impl ComputerPass for TorchPass {
    fn logits(&self) -> &[f32] {
        &self.logits
    }

    fn features(&self) -> Option<&[f32]> {
        self.features.as_deref()
    }

    fn begin(&mut self, guide: &Guide) -> Result<(), ComputeError> {
        if guide.features.is_some() && self.features.is_none() {
            return Err(ComputeError::NoFeatures);
        }
        self.start(guide).map_err(failed)
    }

    fn finish(&mut self) -> Result<Vec<f32>, ComputeError> {
        let map = self.map.take().ok_or_else(|| ComputeError::Torch("no way back has begun".into()))?;
        let numbers = || {
            let flat = map.f_to_device(tch::Device::Cpu)?.f_to_kind(Kind::Float)?.f_contiguous()?.f_view([-1])?;
            Vec::<f32>::try_from(flat)
        };
        numbers().map_err(failed)
    }
}

/// Each output of `[N, D]` times its number, and their sum.
fn guided(outputs: &Tensor, guide: &[f32]) -> Result<Tensor, TchError> {
    let guide = Tensor::f_from_slice(guide)?.f_view(&*outputs.size())?;
    let guide = guide.f_to_device(outputs.device())?.f_to_kind(outputs.kind())?;
    outputs.f_mul(&guide)?.f_sum(outputs.kind())
}

/// Gradient of a score with respect to the input that it was computed from, which may be asked for again.
///
/// # Errors
/// If the score does not depend on the input; from libtorch.
pub fn input_gradient(score: &Tensor, input: &Tensor) -> Result<Tensor, TchError> {
    // libtorch would crash.
    if !score.requires_grad() {
        return Err(TchError::Torch("the class scores have no gradient".into()));
    }
    Ok(Tensor::f_run_backward(&[score], &[input], true, false)?.remove(0))
}

/// The type for all that is cheap: float32, or float64 where the convolutions run in it. In 16 bits, pixels and their mean
/// would be coarser than what remains of them, and class scores coarser than their probabilities' ranking needs.
pub fn wide(kind: Kind) -> Kind {
    if kind == Kind::Double { Kind::Double } else { Kind::Float }
}

/// The same `[N, C, T, H, W]` tensor with channels innermost in memory (tch has no memory-format argument).
///
/// # Errors
/// From libtorch.
pub fn channels_last(tensor: &Tensor) -> Result<Tensor, TchError> {
    tensor.f_permute([0, 2, 3, 4, 1])?.f_contiguous()?.f_permute([0, 4, 1, 2, 3])
}
