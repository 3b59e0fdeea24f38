//! The network that scores, its weights fixed: DeSumNet from a model file, or a TorchScript module of the user's own.
//! Training has its own form of DeSumNet, with batch normalisation.

pub mod check;
mod device;
pub mod head;
pub mod kernels;
mod layers;
mod model;
mod script;
mod sidecar;
pub mod tensors;
mod upload;

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
};

use tch::{Kind, TchError, Tensor};
use thiserror::Error;

use head::{Head, HeadError, HeadFile};
use kernels::Convolutions;
use layers::Layers;
use script::Script;

pub use device::{Device, DeviceError, Precision};
pub use model::{CONVS, Calibration, DEVIATIONS, Header, LAYERS, Layer, MEANS, Model, ModelError, POOLED};
pub use script::{ScriptError, telling_line};
pub use sidecar::{Layout, Sidecar, SidecarError, sidecar_of};

use desumnet_frames::clip::Geometry;

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
    Head(#[from] HeadError),
    #[error(transparent)]
    Sidecar(#[from] SidecarError),
    #[error(transparent)]
    Script(#[from] ScriptError),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(
        "{precision:?} scores wrongly on this GPU, {:.0} % away from float32: use precision=f32, or another version of NVIDIA's driver",
        deviation * 100.0
    )]
    Inexact { precision: Kind, deviation: f64 },
    #[error("libtorch failed: {}", telling_line(.0))]
    Torch(#[from] TchError),
}

/// A model on a device, ready to score.
pub struct Network {
    pub header: Header,
    /// Size of a clip, as it takes it.
    pub clip: Geometry,
    pub device: tch::Device,
    /// Element type of the convolutions, or of the whole script; all else is [`wide`] of it.
    pub kind: Kind,
    /// How many features it gives of a clip, if any.
    pub features: Option<usize>,
    /// The layer that a person taught; the header has a single category then, which is what it was taught.
    pub head: Option<Head>,
    body: Body,
    mean: Tensor,
    std: Tensor,
}

enum Body {
    Layers(Layers),
    /// The convolutions by our own kernels: float32 on a CPU. Those that no pass holds.
    Kernels(Layers, Mutex<Vec<Convolutions>>),
    Script(Script, Layout),
}

impl Network {
    /// A model file, or a head with the model that it belongs to.
    ///
    /// # Errors
    /// [`NetworkError`]: as of [`Self::load`]; a head without its model.
    pub fn open(path: &Path, device: Device, precision: Precision) -> Result<Self, NetworkError> {
        match HeadFile::read(path)? {
            Some(taught) => Self::load(&taught.model(path)?, device, precision)?.taught(taught, path),
            None => Self::load(path, device, precision),
        }
    }

    /// Loads a model file: safetensors made by desumnet-train, or TorchScript with its [`Sidecar`].
    ///
    /// # Errors
    /// [`NetworkError`]: a bad file, or a device or precision that is not to be had.
    pub fn load(path: &Path, device: Device, precision: Precision) -> Result<Self, NetworkError> {
        let device = device.resolve()?;
        if !script::is_archive(path) {
            let kind = precision.resolve(device)?;
            // The kernels' float32 is faster than libtorch's bf16 by far, and more exact.
            let kind = if device == tch::Device::Cpu { Kind::Float } else { kind };
            let network = Self::new(Model::load(path)?, device, kind)?;
            if kind == Kind::Float {
                return Ok(network);
            }
            let exact = Self::new(Model::load(path)?, device, Kind::Float)?;
            return match check::deviation(&network, &exact)? {
                deviation if deviation <= check::LARGEST => Ok(network),
                _ if precision == Precision::Auto => Ok(exact),
                deviation => Err(NetworkError::Inexact { precision: kind, deviation }),
            };
        }
        // What others have made may not bear fewer bits; who knows that it does, asks for them.
        let precision = if precision == Precision::Auto { Precision::F32 } else { precision };
        let kind = precision.resolve(device)?;
        let script = Script::load(path, device, kind)?;
        let Sidecar { header, clip, layout } = Sidecar::load(&sidecar_of(path))?;
        let mut network = Self::of(Body::Script(script, layout), header, clip, device, kind)?;
        if let Body::Script(script, layout) = &network.body {
            network.features = script.check(&network, *layout, path)?;
        }
        Ok(network)
    }

    fn taught(mut self, taught: HeadFile, path: &Path) -> Result<Self, NetworkError> {
        let features = taught.head.features.len();
        if self.features != Some(features) {
            let reason = format!("it reads {features} features, and the model gives {:?}", self.features);
            return Err(HeadError::Damaged { path: path.into(), reason }.into());
        }
        self.header.categories = vec![taught.name];
        self.head = Some(taught.head);
        Ok(self)
    }

    /// Places a model's weights on a device, convolutions channels-last.
    ///
    /// # Errors
    /// From libtorch: out of memory, for one.
    pub fn new(model: Model, device: tch::Device, kind: Kind) -> Result<Self, TchError> {
        let layers = Layers::new(model.layers, device, kind)?;
        let features = Some(layers.feature_width());
        let body = if device == tch::Device::Cpu && kind == Kind::Float {
            let convolutions = layers.kernels()?;
            Body::Kernels(layers, Mutex::new(vec![convolutions]))
        } else {
            Body::Layers(layers)
        };
        Ok(Self { features, ..Self::of(body, model.header, Geometry::PAPER, device, kind)? })
    }

    fn of(body: Body, header: Header, clip: Geometry, device: tch::Device, kind: Kind) -> Result<Self, TchError> {
        let rgb = |values: [f64; 3]| Tensor::f_from_slice(&values)?.f_to_device(device)?.f_to_kind(wide(kind));
        Ok(Self {
            mean: rgb(header.mean)?,
            std: rgb(header.std)?,
            header,
            clip,
            device,
            kind,
            features: None,
            head: None,
            body,
        })
    }

    /// Runs N clips of RGB bytes, [`Geometry::clip_bytes`] each, and keeps what the way back needs.
    ///
    /// # Errors
    /// If a clip is of another size; from libtorch: out of memory, for one.
    pub fn forward(&self, clips: &[&[u8]]) -> Result<Pass<'_>, TchError> {
        let Body::Kernels(layers, idle) = &self.body else { return self.forward_input(self.input(clips)?) };
        self.check_size(clips)?;
        let waiting = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut convolutions = waiting.map_or_else(|| layers.kernels(), Ok)?;
        let pooled = convolutions.forward(&self.pixels(clips));
        let pooled = Tensor::f_from_slice(&pooled)?.f_view([clips.len() as i64, -1])?.f_set_requires_grad(true)?;
        let (features, logits) = layers.head(&pooled)?;
        let Geometry { frames, crop_height, crop_width, .. } = self.clip;
        let shape = [clips.len(), frames, crop_height, crop_width].map(|size| size as i64);
        let lent = Box::new(Lent { convolutions: Some(convolutions), idle });
        let from = Leaf::Pooled { pooled, lent, shape };
        Ok(Pass { features: Some(features), logits, from })
    }

    /// Features that stand for clips of RGB bytes, [`Geometry::clip_bytes`] each: [`Pass::features`], with no way back.
    ///
    /// # Errors
    /// If a clip is of another size; from libtorch: out of memory, for one.
    pub fn features_of(&self, clips: &[&[u8]]) -> Result<Option<Vec<Vec<f32>>>, TchError> {
        let _guard = tch::no_grad_guard();
        self.forward(clips)?.features.as_ref().map(rows_of).transpose()
    }

    /// The same of an input as [`Self::input`] makes it, by libtorch alone.
    ///
    /// # Errors
    /// From libtorch.
    pub fn forward_input(&self, input: Tensor) -> Result<Pass<'_>, TchError> {
        let input = input.f_set_requires_grad(true)?;
        let (features, logits) = self.outputs(&input)?;
        Ok(Pass { features, logits, from: Leaf::Input(input) })
    }

    /// Whether the convolutions are our own kernels, which take no input of libtorch's.
    pub fn has_kernels(&self) -> bool {
        matches!(self.body, Body::Kernels(..))
    }

    /// Code would read past the end of a short clip.
    fn check_size(&self, clips: &[&[u8]]) -> Result<(), TchError> {
        let bytes = self.clip.clip_bytes();
        match clips.iter().find(|clip| clip.len() != bytes) {
            Some(wrong) => Err(TchError::Shape(format!("a clip has {} bytes, {bytes} are needed", wrong.len()))),
            None => Ok(()),
        }
    }

    /// Normalised pixels `[N, T, H, W, 3]`: x = (pixel - mean) / std.
    fn pixels(&self, clips: &[&[u8]]) -> Vec<f32> {
        let ([mean, std], mut table) = ([self.header.mean, self.header.std], [[0.0; 256]; 3]);
        for (colour, table) in table.iter_mut().enumerate() {
            for (byte, value) in table.iter_mut().enumerate() {
                *value = ((byte as f64 - mean[colour]) / std[colour]) as f32;
            }
        }
        let rgb = clips.iter().flat_map(|clip| clip.as_chunks::<3>().0);
        rgb.flat_map(|&[r, g, b]| [table[0][usize::from(r)], table[1][usize::from(g)], table[2][usize::from(b)]])
            .collect()
    }

    /// The same as a tensor `[N, 3, T, H, W]`, channels-last in memory. A GPU gets it while it is at something else.
    ///
    /// # Errors
    /// If a clip is of another size; from libtorch: out of memory, for one.
    pub fn input(&self, clips: &[&[u8]]) -> Result<Tensor, TchError> {
        self.check_size(clips)?;
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

    /// Class scores before the softmax, `[N, C]`, of an input as [`Self::input`] makes it, by libtorch alone.
    ///
    /// # Errors
    /// From libtorch.
    pub fn logits(&self, input: &Tensor) -> Result<Tensor, TchError> {
        Ok(self.outputs(input)?.1)
    }

    /// Features, and the class scores.
    fn outputs(&self, input: &Tensor) -> Result<(Option<Tensor>, Tensor), TchError> {
        match &self.body {
            Body::Layers(layers) | Body::Kernels(layers, _) => {
                let (features, logits) = layers.head(&layers.convolve(input)?)?;
                Ok((Some(features), logits))
            }
            Body::Script(script, layout) => script.forward(&layout.order(input)?),
        }
    }
}

/// A forward pass.
pub struct Pass<'a> {
    /// Features that stand for a clip: what fc6 gives after its ReLU, `[N, 2048]`; the second output of a network of the user's own, `None`
    /// if it has none.
    pub features: Option<Tensor>,
    /// Class scores before the softmax, `[N, C]`.
    pub logits: Tensor,
    from: Leaf<'a>,
}

/// Where libtorch's graph begins.
enum Leaf<'a> {
    /// Normalised pixels, `[N, 3, T, H, W]`.
    Input(Tensor),
    /// What the convolutions gave, `[N, C T H W]`, they themselves, and the shape of the maps.
    Pooled { pooled: Tensor, lent: Box<Lent<'a>>, shape: [i64; 4] },
}

/// Convolutions that go back when the pass is over.
struct Lent<'a> {
    convolutions: Option<Convolutions>,
    idle: &'a Mutex<Vec<Convolutions>>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).extend(self.convolutions.take());
    }
}

impl Pass<'_> {
    /// Largest absolute value over the colours of the gradient of a score with respect to the pixels, `[N, T, H, W]`. `again`:
    /// another backward pass follows.
    ///
    /// # Errors
    /// If the score does not depend on the pixels; from libtorch.
    pub fn map(&mut self, score: &Tensor, again: bool) -> Result<Tensor, TchError> {
        match &mut self.from {
            Leaf::Input(input) => input_gradient(score, input, again)?.f_abs()?.f_amax([1], false),
            Leaf::Pooled { pooled, lent, shape } => {
                let gradient =
                    Vec::<f32>::try_from(input_gradient(score, pooled, again)?.f_contiguous()?.f_view([-1])?)?;
                let maps: Vec<f32> = lent.convolutions.iter_mut().flat_map(|c| c.backward(&gradient)).collect();
                Tensor::f_from_slice(&maps)?.f_view(*shape)
            }
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

/// A tensor `[N, D]` as numbers.
///
/// # Errors
/// From libtorch.
pub fn rows_of(tensor: &Tensor) -> Result<Vec<Vec<f32>>, TchError> {
    Vec::<Vec<f32>>::try_from(tensor.f_to_device(tch::Device::Cpu)?.f_to_kind(Kind::Float)?)
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
