//! Tensors on their way into a safetensors file: for models and checkpoints.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    path::Path,
};

use desumnet_files::whole_file;
use safetensors::Dtype;
use tch::{Kind, Tensor};

/// Writes a file, whole or not at all: what was there before stays if it fails. The reason if it does.
pub fn write(path: &Path, tensors: BTreeMap<String, Stored>, metadata: HashMap<String, String>) -> Result<(), String> {
    let bytes = safetensors::serialize(tensors, Some(metadata)).map_err(|e| e.to_string())?;
    whole_file::write(path, &bytes).map_err(|e| e.to_string())
}

/// A tensor on its way into the file.
pub struct Stored {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Stored {
    /// Stored as float32, float16 or bfloat16.
    ///
    /// # Errors
    /// From libtorch.
    pub fn new(tensor: &Tensor, kind: Kind) -> Result<Self, tch::TchError> {
        let dtype = match kind {
            Kind::Half => Dtype::F16,
            Kind::BFloat16 => Dtype::BF16,
            _ => Dtype::F32,
        };
        let kind = if dtype == Dtype::F32 { Kind::Float } else { kind };
        let tensor = tensor.f_detach()?.f_to_device(tch::Device::Cpu)?.f_to_kind(kind)?.f_contiguous()?;
        let shape = tensor.size().iter().map(|&n| n as usize).collect();
        let mut bytes = vec![0; tensor.numel() * kind.elt_size_in_bytes()];
        tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
        Ok(Self { dtype, shape, bytes })
    }
}

impl safetensors::View for Stored {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        (&self.bytes).into()
    }
    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}
