//! A run's whole state in a file, so that it can be stopped at any moment and go on exactly.
//!
//! Safetensors, float32: `network.NAME` (weights, the normalisations' statistics, and the running means of both under `average.`),
//! `first.NAME` and `second.NAME` (the optimizer's averages); the header metadata `checkpoint` is the JSON of [`Progress`].

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use tch::{Kind, TchError, Tensor};
use thiserror::Error;

use super::optimizer::Optimizer;
use desumnet_engine::network::{
    Storage,
    tensors::{Stored, write},
};
use desumnet_torch::{array, telling_line};

/// Name of the header metadata.
const HEADER: &str = "checkpoint";

/// Why a checkpoint can't be written or gone on from.
#[derive(Debug, Error)]
pub enum CheckpointError {
    #[error("checkpoint {path} can't be written: {reason}; free disk space or check the folder")]
    Unwritable { path: PathBuf, reason: String },
    #[error("checkpoint {path} can't be read: {reason}; start the run again without --resume")]
    Unreadable { path: PathBuf, reason: String },
    #[error("checkpoint {path} is of another network: {reason}; resume with the command that began the run")]
    OtherNetwork { path: PathBuf, reason: String },
    #[error("checkpoint {path} is of a run with other settings: {}; resume with the command that began the run", .differ.join(", "))]
    OtherSettings { path: PathBuf, differ: Vec<String> },
    #[error(
        "checkpoint {path} is of a run on other videos, or of other parts of them; resume with the command that began the run, and the videos as they were"
    )]
    OtherData { path: PathBuf },
    #[error("libtorch failed: {}", telling_line(.0))]
    Torch(#[from] TchError),
}

/// How far a run is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Whole epochs done.
    pub epoch: usize,
    /// Batches done of the next one, clips in them, those of a category, the sum of their losses, and how many were named right.
    pub batches: usize,
    pub clips: usize,
    pub nameable: usize,
    pub loss_sum: f64,
    pub right: f64,
    /// Steps of the optimizer.
    pub steps: u64,
    /// What the run is; must be the same to go on.
    pub settings: serde_json::Value,
    /// Of the data set.
    pub fingerprint: u64,
}

/// Writes a checkpoint, whole or not at all.
///
/// # Errors
/// [`CheckpointError::Unwritable`]; what was there before is kept.
pub fn save(
    path: &Path,
    variables: &HashMap<String, Tensor>,
    optimizer: &Optimizer,
    progress: &Progress,
) -> Result<(), CheckpointError> {
    let unwritable = |reason: String| CheckpointError::Unwritable { path: path.into(), reason };
    let mut tensors = BTreeMap::new();
    for (name, tensor) in named(variables, optimizer) {
        tensors.insert(name, Stored::new(&array(tensor)?, Storage::F32));
    }
    let json = serde_json::to_string(progress).map_err(|e| unwritable(e.to_string()))?;
    write(path, tensors, HashMap::from([(HEADER.into(), json)])).map_err(unwritable)
}

/// Reads a checkpoint into the network's variables and the optimizer of the same run, begun anew.
///
/// # Errors
/// [`CheckpointError`]; the variables are then not to be used.
pub fn load(
    path: &Path,
    variables: &HashMap<String, Tensor>,
    optimizer: &mut Optimizer,
    begun: &Progress,
) -> Result<Progress, CheckpointError> {
    let _guard = tch::no_grad_guard();
    let unreadable = |reason: String| CheckpointError::Unreadable { path: path.into(), reason };
    let bytes = std::fs::read(path).map_err(|e| unreadable(e.to_string()))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| unreadable(format!("it is damaged ({e})")))?;
    let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|e| unreadable(format!("it is damaged ({e})")))?;
    let header = metadata.metadata().as_ref().and_then(|fields| fields.get(HEADER));
    let header = header.ok_or_else(|| unreadable("it is not a checkpoint of desumnet-train".into()))?;
    let progress: Progress =
        serde_json::from_str(header).map_err(|e| unreadable(format!("its header can't be read: {e}")))?;
    let differ = differences(&progress.settings, &begun.settings);
    if !differ.is_empty() {
        return Err(CheckpointError::OtherSettings { path: path.into(), differ });
    }
    let other = |reason: String| CheckpointError::OtherNetwork { path: path.into(), reason };
    let wanted = named(variables, optimizer);
    if file.len() != wanted.len() {
        return Err(other(format!("it has {} tensors, this one {}", file.len(), wanted.len())));
    }
    for (name, tensor) in wanted {
        let view = file.tensor(&name).map_err(|_| other(format!("it has no tensor {name}")))?;
        let shape: Vec<i64> = view.shape().iter().map(|&n| n as i64).collect();
        if shape != tensor.size() || view.dtype() != Dtype::F32 {
            let (found, expected) = (shape, tensor.size());
            return Err(other(format!("tensor {name} has the shape {found:?}, this one's {expected:?}")));
        }
        tensor.shallow_clone().f_copy_(&Tensor::f_from_data_size(view.data(), &shape, Kind::Float)?)?;
    }
    if progress.fingerprint != begun.fingerprint {
        return Err(CheckpointError::OtherData { path: path.into() });
    }
    optimizer.steps = progress.steps;
    Ok(progress)
}

/// Every tensor of a run by its name in the file.
fn named<'a>(variables: &'a HashMap<String, Tensor>, optimizer: &'a Optimizer) -> Vec<(String, &'a Tensor)> {
    let network = variables.iter().map(|(name, tensor)| (format!("network.{name}"), tensor));
    let averages = optimizer.parameters.iter().flat_map(|p| {
        let second = p.second.as_ref().map(|second| (format!("second.{}", p.name), second));
        [(format!("first.{}", p.name), &p.first)].into_iter().chain(second)
    });
    network.chain(averages).collect()
}

/// `name: old, now new` for each setting that is not the same.
fn differences(old: &serde_json::Value, new: &serde_json::Value) -> Vec<String> {
    let empty = serde_json::Map::new();
    let (old, new) = (old.as_object().unwrap_or(&empty), new.as_object().unwrap_or(&empty));
    let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let text = |value: Option<&serde_json::Value>| value.map_or_else(|| "nothing".into(), ToString::to_string);
    names
        .into_iter()
        .filter(|&name| old.get(name) != new.get(name))
        .map(|name| format!("{name} was {} and is {}", text(old.get(name)), text(new.get(name))))
        .collect()
}
