//! Networks by libtorch, for what the engine's own kernels don't compute: GPUs, and TorchScript of the user's own.
//!
//! Programs that link libtorch anyhow call [`link`]; the others load this crate as `libdesumnet_torch.so`, by its C functions ([`export`]), when a device or a
//! model asks for it.

mod check;
mod device;
pub mod export;
mod layers;
mod network;
mod script;
mod upload;

use std::path::Path;

use desumnet_engine::network::{
    Array, Device, NetworkError, Precision,
    backend::{self, Backend, Computer},
};
use tch::{Kind, TchError, Tensor};

pub use check::{LARGEST, deviation};
pub use device::{resolve, resolve_precision};
pub use network::{OpenError, TorchNetwork, TorchPass, channels_last, input_gradient, wide};
pub use script::{ScriptError, telling_line};

/// libtorch in this program.
struct Linked;

impl Backend for Linked {
    fn gpus(&self) -> Result<usize, NetworkError> {
        Ok(device::gpus()?)
    }

    fn open(&self, path: &Path, device: Device, precision: Precision) -> Result<Box<dyn Computer>, NetworkError> {
        match TorchNetwork::load(path, device, precision) {
            Ok(network) => Ok(Box::new(network)),
            Err(OpenError::Engine(error)) => Err(error),
            Err(error) => Err(NetworkError::Torch(error.to_string())),
        }
    }
}

/// The engine's networks run on libtorch, as it is linked here, where its own kernels don't do.
pub fn link() {
    backend::link(Box::new(Linked));
}

/// A tensor of an array's numbers, float32 on the CPU.
///
/// # Errors
/// From libtorch.
pub fn tensor(array: &Array) -> Result<Tensor, TchError> {
    let shape: Vec<i64> = array.shape.iter().map(|&size| size as i64).collect();
    Tensor::f_from_slice(&array.values)?.f_view(&*shape)
}

/// The numbers of a tensor.
///
/// # Errors
/// From libtorch.
pub fn array(tensor: &Tensor) -> Result<Array, TchError> {
    let shape = tensor.size().iter().map(|&size| size as usize).collect();
    let flat = tensor.f_detach()?.f_to_device(tch::Device::Cpu)?.f_to_kind(Kind::Float)?.f_contiguous()?;
    Ok(Array { shape, values: Vec::try_from(flat.f_view([-1])?)? })
}
