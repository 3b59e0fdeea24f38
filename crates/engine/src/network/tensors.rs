//! Numbers in safetensors files: of models, heads and checkpoints.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    path::Path,
};

use desumnet_files::whole_file;
use half::{bf16, f16};
use safetensors::{Dtype, View};

use super::model::Array;
use crate::named::Named;

/// How a file holds numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    F32,
    Bf16,
    F16,
}

impl Named for Storage {
    const NAMES: &'static [(&'static str, Self)] = &[("f32", Self::F32), ("bf16", Self::Bf16), ("f16", Self::F16)];
}

impl Storage {
    /// The number as it is read back.
    pub fn rounded(self, value: f32) -> f32 {
        match self {
            Self::F32 => value,
            Self::Bf16 => bf16::from_f32(value).to_f32(),
            Self::F16 => f16::from_f32(value).to_f32(),
        }
    }
}

/// Writes a file, whole or not at all: what was there before stays if it fails. The reason if it does.
///
/// # Errors
/// Why it can't be written.
pub fn write<V: View>(
    path: &Path,
    tensors: BTreeMap<String, V>,
    metadata: HashMap<String, String>,
) -> Result<(), String> {
    let bytes = safetensors::serialize(tensors, Some(metadata)).map_err(|e| e.to_string())?;
    whole_file::write(path, &bytes).map_err(|e| e.to_string())
}

/// A file's numbers; `None` if they are no floats.
pub fn numbers(dtype: Dtype, data: &[u8]) -> Option<Vec<f32>> {
    Some(match dtype {
        Dtype::F32 => data.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect(),
        Dtype::BF16 => data.as_chunks().0.iter().map(|&bytes| bf16::from_le_bytes(bytes).to_f32()).collect(),
        Dtype::F16 => data.as_chunks().0.iter().map(|&bytes| f16::from_le_bytes(bytes).to_f32()).collect(),
        Dtype::F64 => data.as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes) as f32).collect(),
        _ => return None,
    })
}

/// Numbers on their way into the file.
pub struct Stored {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Stored {
    pub fn new(array: &Array, storage: Storage) -> Self {
        let values = array.values.iter();
        let (dtype, bytes) = match storage {
            Storage::F32 => (Dtype::F32, values.flat_map(|value| value.to_le_bytes()).collect()),
            Storage::Bf16 => (Dtype::BF16, values.flat_map(|&value| bf16::from_f32(value).to_le_bytes()).collect()),
            Storage::F16 => (Dtype::F16, values.flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect()),
        };
        Self { dtype, shape: array.shape.clone(), bytes }
    }
}

impl View for Stored {
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
