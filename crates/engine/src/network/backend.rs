//! The interface to what computes networks that our own kernels don't: those on a GPU, and the user's own. It is libtorch, by the crate `desumnet-torch`: linked by programs
//! that need it anyhow, and else loaded when a device or a model asks for it ([`super::loaded`]).

use std::{any::Any, path::Path};

use once_cell::sync::OnceCell;
use serde::{Deserialize, Serialize};

use super::{ComputeError, Device, Header, NetworkError, Precision, loaded::Loaded};
use desumnet_frames::clip::Geometry;

/// Opens networks.
pub trait Backend: Send + Sync {
    /// GPUs of this machine; the error says why there are none.
    ///
    /// # Errors
    /// [`NetworkError::Device`]
    fn gpus(&self) -> Result<usize, NetworkError>;

    /// A model file, or TorchScript with the description beside it.
    ///
    /// # Errors
    /// [`NetworkError`]
    fn open(&self, path: &Path, device: Device, precision: Precision) -> Result<Box<dyn Computer>, NetworkError>;
}

/// A network on a device.
pub trait Computer: Send {
    fn about(&self) -> About;

    /// Brings whole clips of RGB bytes to the device, while that may be at something else.
    ///
    /// # Errors
    /// [`ComputeError`]
    fn prepare(&self, clips: &[&[u8]]) -> Result<Prepared, ComputeError>;

    /// Runs what [`Self::prepare`] made.
    ///
    /// # Errors
    /// [`ComputeError`]
    fn forward(&self, input: Prepared) -> Result<Box<dyn ComputerPass + '_>, ComputeError>;
}

/// Clips on a device: only who made them knows how.
pub type Prepared = Box<dyn Any + Send>;

/// A network's description.
#[derive(Clone, Serialize, Deserialize)]
pub struct About {
    pub header: Header,
    pub clip: Geometry,
    /// Features that a clip has, if any.
    pub features: Option<usize>,
    pub is_gpu: bool,
}

/// A forward pass, kept for the way back.
pub trait ComputerPass {
    /// Class scores before the softmax, one clip's after the other.
    fn logits(&self) -> &[f32];

    /// Features, likewise, if there are any.
    fn features(&self) -> Option<&[f32]>;

    /// Begins the way back; the device may be at it still when this returns.
    ///
    /// # Errors
    /// [`ComputeError`]
    fn begin(&mut self, guide: &Guide) -> Result<(), ComputeError>;

    /// The end of the way back: the largest absolute value over the colours of the gradient of what the guide says with respect to the pixels,
    /// `[N, T, H, W]`.
    ///
    /// # Errors
    /// [`ComputeError`]
    fn finish(&mut self) -> Result<Vec<f32>, ComputeError>;
}

/// The score that is differentiated: each output times its number, and their sum.
pub struct Guide {
    /// `[N, C]`
    pub logits: Vec<f32>,
    /// `[N, D]`
    pub features: Option<Vec<f32>>,
}

static LINKED: OnceCell<Box<dyn Backend>> = OnceCell::new();

/// For programs that link libtorch themselves: none is loaded.
pub fn link(backend: Box<dyn Backend>) {
    // A second one is the same.
    let _ = LINKED.set(backend);
}

/// The one that is linked, or else can be loaded.
///
/// # Errors
/// [`NetworkError::NoTorch`]
pub fn backend() -> Result<&'static dyn Backend, NetworkError> {
    static LOADED: OnceCell<Loaded> = OnceCell::new();
    match LINKED.get() {
        Some(linked) => Ok(linked.as_ref()),
        None => LOADED.get_or_try_init(Loaded::find).map(|loaded| loaded as &dyn Backend),
    }
}

/// GPUs that networks can run on. Without NVIDIA's driver there are none, and nothing is loaded to find that out.
///
/// # Errors
/// Why there are none.
pub fn gpus() -> Result<usize, NetworkError> {
    // SAFETY: the driver's library, whose initialisers have no conditions.
    let driver = unsafe { libloading::Library::new("libcuda.so.1") };
    driver.map_err(|_| super::DeviceError::NoCuda("there is no libcuda.so.1, NVIDIA's driver".into()))?;
    backend()?.gpus()
}
