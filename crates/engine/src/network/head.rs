//! A head: a last layer of one output in place of the model's own, taught by what a person marked. It reads the model's features and how
//! much moves where, and gives the probability that a segment is wanted.
//!
//! Its file is safetensors with `features` `[D]`, `motion` `[49]` and `bias` `[1]`, float32, and header metadata, each value JSON: `format`
//! ("desumnet-head"), `version` (1), `name` (of what is wanted), `model` (`{"path": ..., "blake3": ...}`, whose features they read) and
//! `provenance` (object: what it was taught with, and how well it does).

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    model::Array,
    tensors::{Storage, Stored, write},
};
use crate::{models::default_model, unusual::motion::CELLS};

/// Name of the format in the header.
const FORMAT: &str = "desumnet-head";
/// Version of the format that this program writes and reads.
const VERSION: u32 = 1;
/// No header of a head is longer, bytes.
const LONGEST: u64 = 1_000_000;

/// The layer: log of the odds that a segment is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// By how much it rises with each feature of the model.
    pub features: Vec<f32>,
    /// The same of the motion in each cell: see [`crate::unusual::motion`].
    pub motion: Vec<f32>,
    pub bias: f32,
}

/// A head and what is told of it.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadFile {
    /// Of what is wanted: it takes the place of a category's.
    pub name: String,
    pub model: Base,
    pub head: Head,
    /// How it was taught, and how well it does.
    pub provenance: serde_json::Value,
}

/// The model that a head belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    pub path: PathBuf,
    /// Of the file's content.
    blake3: String,
}

/// Why a head can't be used or written.
#[derive(Debug, Error)]
pub enum HeadError {
    #[error("head {path} can't be used: {reason}; make it anew with desumnet teach")]
    Damaged { path: PathBuf, reason: String },
    #[error(
        "head {path} belongs to model {model}, and that is neither there nor beside the head, or has changed: put it beside the head, or teach anew"
    )]
    NoModel { path: PathBuf, model: PathBuf },
    #[error("model {path} can't be read: {source}; check the path and its permissions")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{path} is a head: a head is taught on a model, so give that one")]
    NoBase { path: PathBuf },
    #[error("head {path} can't be written: {reason}; check the folder and the free disk space")]
    Unwritable { path: PathBuf, reason: String },
}

impl Head {
    /// Probability that a segment is wanted, [0, 1].
    pub fn probability(&self, features: &[f32], motion: &[f64]) -> f32 {
        let of_features: f64 = self.features.iter().zip(features).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
        let of_motion: f64 = self.motion.iter().zip(motion).map(|(w, x)| f64::from(*w) * x).sum();
        let odds = of_features + of_motion + f64::from(self.bias);
        (1.0 / (1.0 + (-odds).exp())) as f32
    }
}

impl Base {
    /// Of a model file, which is read through.
    ///
    /// # Errors
    /// [`HeadError`]: it can't be read, or is a head itself.
    pub fn new(path: &Path) -> Result<Self, HeadError> {
        if header(path).is_some() {
            return Err(HeadError::NoBase { path: path.into() });
        }
        let unreadable = |source| HeadError::Unreadable { path: path.into(), source };
        Ok(Self { path: std::path::absolute(path).map_err(unreadable)?, blake3: hash(path).map_err(unreadable)? })
    }

    /// Where it is: at its path, beside the head, or the model that comes with the plugin.
    fn find(&self, head: &Path) -> Option<PathBuf> {
        let beside = self.path.file_name().and_then(|name| Some(head.parent()?.join(name)));
        let places = [Some(self.path.clone()), beside, default_model()];
        places.into_iter().flatten().find(|path| hash(path).is_ok_and(|hash| hash == self.blake3))
    }
}

impl HeadFile {
    /// Reads a head; `None` if the file is another thing, or none.
    ///
    /// # Errors
    /// [`HeadError::Damaged`]
    pub fn read(path: &Path) -> Result<Option<Self>, HeadError> {
        let Some(metadata) = header(path) else { return Ok(None) };
        let damaged = |reason: String| HeadError::Damaged { path: path.into(), reason };
        let field = |name: &str| {
            let text = metadata.get(name).ok_or_else(|| damaged(format!("its header has no `{name}`")))?;
            serde_json::from_str::<serde_json::Value>(text)
                .map_err(|e| damaged(format!("its header's `{name}` can't be read: {e}")))
        };
        let version = field("version")?;
        if version != VERSION {
            return Err(damaged(format!("it has format version {version}, this program reads version {VERSION}")));
        }
        let bytes = std::fs::read(path).map_err(|e| damaged(e.to_string()))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|e| damaged(e.to_string()))?;
        let row = |name: &str| {
            let view = file.tensor(name).map_err(|e| damaged(e.to_string()))?;
            let numbers: Vec<f32> = view.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
            if view.dtype() != Dtype::F32 || view.shape().len() != 1 || numbers.iter().any(|x| !x.is_finite()) {
                return Err(damaged(format!("`{name}` is no row of finite float32")));
            }
            Ok(numbers)
        };
        let (features, motion, bias) = (row("features")?, row("motion")?, row("bias")?);
        let ([bias], CELLS) = (&bias[..], motion.len()) else {
            return Err(damaged(format!("it has {} biases and motion in {} cells", bias.len(), motion.len())));
        };
        let wrong = |name: &str, e: serde_json::Error| damaged(format!("its header's `{name}` can't be read: {e}"));
        Ok(Some(Self {
            name: serde_json::from_value(field("name")?).map_err(|e| wrong("name", e))?,
            model: serde_json::from_value(field("model")?).map_err(|e| wrong("model", e))?,
            provenance: field("provenance")?,
            head: Head { features, motion, bias: *bias },
        }))
    }

    /// Where the model is that the head at `path` belongs to.
    ///
    /// # Errors
    /// [`HeadError::NoModel`]
    pub fn model(&self, path: &Path) -> Result<PathBuf, HeadError> {
        let lost = || HeadError::NoModel { path: path.into(), model: self.model.path.clone() };
        self.model.find(path).ok_or_else(lost)
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// [`HeadError::Unwritable`]
    pub fn save(&self, path: &Path) -> Result<(), HeadError> {
        let unwritable = |reason: String| HeadError::Unwritable { path: path.into(), reason };
        let row = |numbers: &[f32]| {
            Stored::new(&Array { shape: vec![numbers.len()], values: numbers.to_vec() }, Storage::F32)
        };
        let Head { features, motion, bias } = &self.head;
        let tensors = [("features", &features[..]), ("motion", motion), ("bias", &[*bias])];
        let tensors = BTreeMap::from(tensors.map(|(name, numbers)| (name.to_owned(), row(numbers))));
        let fields = serde_json::json!({
            "format": FORMAT,
            "version": VERSION,
            "name": self.name,
            "model": self.model,
            "provenance": self.provenance,
        });
        let fields = fields.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), value.to_string()));
        write(path, tensors, fields.collect()).map_err(unwritable)
    }
}

/// The header's metadata, if the file is a head.
fn header(path: &Path) -> Option<HashMap<String, String>> {
    #[derive(Deserialize)]
    struct Start {
        #[serde(rename = "__metadata__")]
        metadata: HashMap<String, String>,
    }
    let mut file = File::open(path).ok()?;
    let mut length = [0; 8];
    file.read_exact(&mut length).ok()?;
    let length = u64::from_le_bytes(length);
    if length > LONGEST {
        return None;
    }
    let mut text = Vec::new();
    file.take(length).read_to_end(&mut text).ok()?;
    let start: Start = serde_json::from_slice(&text).ok()?;
    (start.metadata.get("format") == Some(&format!("\"{FORMAT}\""))).then_some(start.metadata)
}

fn hash(path: &Path) -> std::io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok(hasher.finalize().to_hex().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(model: &Path) -> HeadFile {
        let motion = (0..CELLS).map(|n| n as f32 / 8.0).collect();
        let head = Head { features: vec![0.5, -0.25, 1.0], motion, bias: -2.0 };
        HeadFile { name: "trains".into(), model: Base::new(model).unwrap(), head, provenance: serde_json::json!({}) }
    }

    #[test]
    fn a_head_is_read_as_it_was_written_and_finds_its_model() {
        let folder = tempfile::tempdir().unwrap();
        let (model, path) = (folder.path().join("m.safetensors"), folder.path().join("heads/trains.head"));
        std::fs::create_dir(folder.path().join("heads")).unwrap();
        std::fs::write(&model, "weights").unwrap();
        let written = file(&model);
        written.save(&path).unwrap();
        let read = HeadFile::read(&path).unwrap().unwrap();
        assert_eq!(read, written);
        assert_eq!(read.model(&path).unwrap(), model);
        // Beside the head it is found, too; another one of that name is not it.
        let beside = folder.path().join("heads/m.safetensors");
        std::fs::rename(&model, &beside).unwrap();
        assert_eq!(read.model(&path).unwrap(), beside);
        std::fs::write(&beside, "others").unwrap();
        let error = read.model(&path).unwrap_err().to_string();
        assert!(error.contains("belongs to model") && error.contains("put it beside the head"), "{error}");
        // Nothing is taught on a head.
        assert!(Base::new(&path).unwrap_err().to_string().contains("is a head"));
    }

    #[test]
    fn what_is_no_head_is_left_to_others_and_a_damaged_one_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let [model, path] = ["m", "x.head"].map(|name| folder.path().join(name));
        std::fs::write(&model, "weights").unwrap();
        assert_eq!(HeadFile::read(&model).unwrap(), None);
        assert_eq!(HeadFile::read(&folder.path().join("none")).unwrap(), None);
        file(&model).save(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for damaged in [&bytes[..bytes.len() - 1], &[&bytes[..bytes.len() - 4], &[0, 0, 192, 127]].concat()] {
            std::fs::write(&path, damaged).unwrap();
            let error = HeadFile::read(&path).unwrap_err().to_string();
            assert!(error.starts_with("head ") && error.contains("make it anew with desumnet teach"), "{error}");
        }
    }

    #[test]
    fn odds_are_the_sum_of_all() {
        let motion = vec![2.0; CELLS];
        let head = Head { features: vec![1.0, -1.0], motion: vec![0.01; CELLS], bias: 0.02 };
        let odds: f64 = 3.0 - 1.0 + 0.01f32 as f64 * 98.0 + 0.02f32 as f64;
        let expected = 1.0 / (1.0 + (-odds).exp());
        assert!((f64::from(head.probability(&[3.0, 1.0], &motion)) - expected).abs() < 1e-7);
    }
}
