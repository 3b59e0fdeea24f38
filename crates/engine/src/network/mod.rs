//! The network that scores, its weights fixed: DeSumNet from a model file, by our own [`kernels`]; or, on a GPU, or of the user's own, by a
//! [`backend`]. Training has its own form of DeSumNet, with batch normalisation.

pub mod backend;
mod device;
pub mod head;
pub mod kernels;
pub mod loaded;
mod model;
mod own;
mod sidecar;
pub mod tensors;

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use thiserror::Error;

use backend::{About, Computer, ComputerPass, Guide, Prepared};
use head::{Head, HeadError, HeadFile};
use own::{Own, OwnPass};

pub use device::{Device, DeviceError, Precision};
pub use model::{Array, CONVS, Calibration, DEVIATIONS, Header, LAYERS, Layer, MEANS, Model, ModelError, POOLED};
pub use sidecar::{Layout, Sidecar, SidecarError, sidecar_of};
pub use tensors::Storage;

use desumnet_frames::clip::Geometry;

/// Filters of conv1 to conv5 and outputs of fc6 and fc7, as in the paper. A model file may have others.
pub const WIDTHS: [i64; 7] = [64, 128, 256, 256, 256, 2048, 2048];
/// Bytes of a clip as DeSumNet takes it: `[FRAMES, CROP, CROP, 3]`.
pub const CLIP_BYTES: usize = Geometry::PAPER.clip_bytes();
/// First bytes of a zip archive, which TorchScript files are and safetensors files are not.
const ZIP: [u8; 4] = *b"PK\x03\x04";

/// Temporal, vertical and horizontal kernel (and stride) of the pooling after convolution `index`: pool1 keeps time.
pub fn pool_kernel(index: usize) -> [i64; 3] {
    if index == 0 { [1, 2, 2] } else { [2, 2, 2] }
}

/// Whether a model file is TorchScript: a zip archive, by its content.
pub fn is_script(path: &Path) -> bool {
    let mut start = [0; ZIP.len()];
    File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == ZIP
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
    Device(#[from] DeviceError),
    #[error(transparent)]
    Compute(#[from] ComputeError),
    /// A message of libtorch's part of the engine: file, reason and remedy.
    #[error("{0}")]
    Torch(String),
    #[error(
        "a GPU, and a model in TorchScript, need libtorch, which is not there ({reason}): install the package gst-plugin-desumnet-torch, or, in \
         the source tree, run `make build`; the model that comes with the plugin needs none of it on a processor (device=cpu)"
    )]
    NoTorch { reason: String },
}

/// Why a clip can't be computed.
#[derive(Clone, Debug, Error)]
pub enum ComputeError {
    #[error("a clip has {found} bytes, {needed} are needed")]
    Size { found: usize, needed: usize },
    #[error("there are no features")]
    NoFeatures,
    #[error("what is unusual is of no category")]
    NoCategory,
    #[error("the threads of the convolutions can't be started: {0}")]
    Threads(String),
    #[error("libtorch failed: {0}")]
    Torch(String),
}

/// A model on a device, ready to score.
pub struct Network {
    pub header: Header,
    /// Size of a clip, as it takes it.
    pub clip: Geometry,
    /// How many features it gives of a clip, if any.
    pub features: Option<usize>,
    pub is_gpu: bool,
    /// The layer that a person taught; the header has a single category then, which is what it was taught.
    pub head: Option<Head>,
    body: Body,
}

enum Body {
    Own(Box<Own>),
    Other(Box<dyn Computer>),
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
        let on_gpu = match device {
            Device::Cpu => false,
            // Of a machine with a GPU, but without what computes on it, the processor is what there is.
            Device::Auto => backend::gpus().is_ok_and(|count| count > 0),
            Device::Cuda(asked) => match backend::gpus()? {
                found if asked < found => true,
                found => return Err(DeviceError::NoSuchGpu { asked, found }.into()),
            },
        };
        if !on_gpu && precision == Precision::F16 {
            return Err(DeviceError::F16OnCpu.into());
        }
        if on_gpu || is_script(path) {
            let device = if on_gpu { device } else { Device::Cpu };
            return Ok(Self::of(backend::backend()?.open(path, device, precision)?));
        }
        // The kernels' float32 is faster than libtorch's bf16 by far, and more exact.
        Ok(Self::new(Model::load(path)?)?)
    }

    fn taught(mut self, taught: HeadFile, path: &Path) -> Result<Self, NetworkError> {
        let features = taught.head.features.len();
        if self.features != Some(features) {
            let reason = format!("it reads {features} features, and the model gives {:?}", self.features);
            return Err(HeadError::Damaged { path: PathBuf::from(path), reason }.into());
        }
        self.header.categories = vec![taught.name];
        self.head = Some(taught.head);
        Ok(self)
    }

    /// DeSumNet on the processor.
    ///
    /// # Errors
    /// [`ComputeError::Threads`]
    pub fn new(model: Model) -> Result<Self, ComputeError> {
        let header = model.header.clone();
        let own = Own::new(model)?;
        let (clip, features) = (Geometry::PAPER, Some(own.features()));
        Ok(Self { header, clip, features, is_gpu: false, head: None, body: Body::Own(Box::new(own)) })
    }

    /// A network that a [`backend`] computes.
    pub fn of(computer: Box<dyn Computer>) -> Self {
        let About { header, clip, features, is_gpu } = computer.about();
        Self { header, clip, features, is_gpu, head: None, body: Body::Other(computer) }
    }

    /// Brings clips to the device while that is at something else; `None` where there is nothing to bring.
    pub fn prepare(&self, clips: &[&[u8]]) -> Option<Prepared> {
        match &self.body {
            Body::Own(_) => None,
            // What fails here fails again in its turn, and is told then.
            Body::Other(computer) => self.check_size(clips).and_then(|()| computer.prepare(clips)).ok(),
        }
    }

    /// Whether [`Self::prepare`] has something to do.
    pub fn prepares(&self) -> bool {
        matches!(self.body, Body::Other(_))
    }

    /// Runs N clips of RGB bytes, [`Geometry::clip_bytes`] each, and keeps what the way back needs. `prepared`: the same clips, where that was done.
    ///
    /// # Errors
    /// [`ComputeError`]
    pub fn forward(&self, clips: &[&[u8]], prepared: Option<Prepared>) -> Result<Pass<'_>, ComputeError> {
        self.check_size(clips)?;
        let from = match &self.body {
            Body::Own(own) => From::Own(Box::new(own.forward(clips)?)),
            Body::Other(computer) => {
                let prepared = prepared.map_or_else(|| computer.prepare(clips), Ok)?;
                From::Other(computer.forward(prepared)?)
            }
        };
        let rows = |values: &[f32]| values.chunks((values.len() / clips.len()).max(1)).map(<[f32]>::to_vec).collect();
        let (logits, features) = match &from {
            From::Own(pass) => (rows(&pass.logits), Some(rows(&pass.features))),
            From::Other(pass) => (rows(pass.logits()), pass.features().map(rows)),
        };
        Ok(Pass { logits, features, clip: self.clip, from })
    }

    /// Features that stand for clips of RGB bytes, [`Geometry::clip_bytes`] each: [`Pass::features`], with no way back.
    ///
    /// # Errors
    /// [`ComputeError`]
    pub fn features_of(&self, clips: &[&[u8]]) -> Result<Option<Vec<Vec<f32>>>, ComputeError> {
        Ok(self.forward(clips, None)?.features)
    }

    /// Code would read past the end of a short clip.
    fn check_size(&self, clips: &[&[u8]]) -> Result<(), ComputeError> {
        let needed = self.clip.clip_bytes();
        match clips.iter().map(|clip| clip.len()).find(|&found| found != needed) {
            Some(found) => Err(ComputeError::Size { found, needed }),
            None => Ok(()),
        }
    }
}

/// A forward pass.
pub struct Pass<'a> {
    /// Class scores before the softmax, one row a clip.
    pub logits: Vec<Vec<f32>>,
    /// Features that stand for a clip: what fc6 gives after its ReLU, 2,048 of them; the second output of a network of the user's own, `None`
    /// if it has none.
    pub features: Option<Vec<Vec<f32>>>,
    clip: Geometry,
    from: From<'a>,
}

enum From<'a> {
    Own(Box<OwnPass<'a>>),
    Other(Box<dyn ComputerPass + 'a>),
}

impl Pass<'_> {
    /// The importance maps, `[N, T, H, W]`: the largest absolute value over the colours of the gradient of what `guide` says with respect to the
    /// pixels. `meanwhile` is done while another device computes.
    ///
    /// # Errors
    /// [`ComputeError`]
    pub fn map(&mut self, guide: &Guide, meanwhile: &mut dyn FnMut()) -> Result<Gradients, ComputeError> {
        let values = match &mut self.from {
            From::Own(pass) => pass.map(guide),
            From::Other(pass) => {
                pass.begin(guide)?;
                meanwhile();
                pass.finish()?
            }
        };
        let Geometry { frames, crop_height, crop_width, .. } = self.clip;
        Ok(Gradients { values, frames, frame: crop_height * crop_width })
    }
}

/// Importance maps of clips, at least 0.
pub struct Gradients {
    /// `[N, T, H, W]`
    pub values: Vec<f32>,
    /// T
    frames: usize,
    /// H W
    frame: usize,
}

impl Gradients {
    /// Those of a clip.
    pub fn of(&self, clip: usize) -> &[f32] {
        let size = self.frames * self.frame;
        &self.values[clip * size..][..size]
    }

    /// Times a number a clip.
    pub fn scale(&mut self, by: impl IntoIterator<Item = f32>) {
        for (clip, by) in self.values.chunks_mut(self.frames * self.frame).zip(by) {
            clip.iter_mut().for_each(|value| *value *= by);
        }
    }

    /// The mean of every frame's, one row a clip.
    pub fn frame_scores(&self) -> Vec<Vec<f32>> {
        let mean =
            |frame: &[f32]| (frame.iter().map(|&value| f64::from(value)).sum::<f64>() / frame.len() as f64) as f32;
        let clips = self.values.chunks(self.frames * self.frame);
        clips.map(|clip| clip.chunks(self.frame).map(mean).collect()).collect()
    }
}
