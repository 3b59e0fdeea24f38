//! The model file: safetensors with the tensors as PyTorch shapes them, and a header that says what they are.
//!
//! Header metadata, each value JSON: `format` ("desumnet"), `version` (1), `categories` (list of names), `clip`
//! (`{"frames": 16, "width": 171, "height": 128, "crop": 112}`), `mean` and `std` (RGB, of pixel values 0..255),
//! `provenance` (object: where the weights come from) and, if measured, `calibration` (`{"temperature": ..., "fits": ...}`:
//! [`Calibration`]). Batch normalisation is folded into the convolutions.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use thiserror::Error;

use super::tensors::{Storage, Stored, numbers, write};
use desumnet_frames::clip;

/// Name of the format in the header.
const FORMAT: &str = "desumnet";
/// Version of the format that this program writes and reads.
const VERSION: u32 = 1;
/// Mean of pixel values 0..255, and what can be meant by their standard deviation: 1 for pixels as they are. Beyond this, a network sees
/// numbers too large or too small to tell anything.
pub const MEANS: RangeInclusive<f64> = 0.0..=255.0;
pub const DEVIATIONS: RangeInclusive<f64> = 0.01..=10_000.0;
/// Convolutional layers, conv1 to conv5.
pub const CONVS: usize = 5;
/// Positions of pool5's output, 1 x 4 x 4, that fc6 reads for each of conv5's filters.
pub const POOLED: usize = 16;
/// Names of the layers, in order of the forward pass.
pub const LAYERS: [&str; 8] = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"];

/// Why a model can't be used. Every message names the file, the reason and the remedy.
#[derive(Debug, Error)]
pub enum ModelError {
    #[error("model {path} can't be read: {source}; set `model` to a file made by desumnet-train")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error(
        "model {path} is not a safetensors file ({reason}), and no TorchScript; set `model` to a file made by desumnet-train, or export your own network to TorchScript"
    )]
    NotSafetensors { path: PathBuf, reason: String },
    #[error("model {path} is cut short ({reason}); copy or download it again")]
    Truncated { path: PathBuf, reason: String },
    #[error("model {path} is not a DeSumNet model: {reason}; set `model` to a file made by desumnet-train")]
    Header { path: PathBuf, reason: String },
    #[error(
        "model {path} has tensor {tensor} of shape {found:?}, expected {expected}; it belongs to another network: use a file made by desumnet-train"
    )]
    Shape { path: PathBuf, tensor: String, found: Vec<usize>, expected: String },
    #[error("model {path} lacks tensor {tensor}; it belongs to another network: use a file made by desumnet-train")]
    Missing { path: PathBuf, tensor: String },
    #[error(
        "model {path} holds values in tensor {tensor} that are not finite numbers; its training diverged: use another checkpoint"
    )]
    NotFinite { path: PathBuf, tensor: String },
    #[error("model {path} can't be written: {reason}; check the folder and the free disk space")]
    Unwritable { path: PathBuf, reason: String },
}

/// What a clip is to the model: the header's `clip`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ClipSize {
    frames: usize,
    width: usize,
    height: usize,
    crop: usize,
}

impl ClipSize {
    /// The one size that the network is built for.
    const PAPER: Self = Self { frames: clip::FRAMES, width: clip::WIDTH, height: clip::HEIGHT, crop: clip::CROP };
}

/// The header: everything about a model but its weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Names of the categories, in the order of fc8's outputs.
    pub categories: Vec<String>,
    /// Mean of the training pixels, RGB, 0..255.
    pub mean: [f64; 3],
    /// Standard deviation of the training pixels, RGB, 0..255.
    pub std: [f64; 3],
    /// Where the weights come from: data, settings, accuracy.
    pub provenance: serde_json::Value,
    /// If it was measured.
    pub calibration: Option<Calibration>,
}

/// How far the probabilities can be trusted, measured on videos that the network has not learned from (`desumnet-train calibrate`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// What fc8 has been divided by, so that the probabilities are right as often as they say (Guo et al., 2017: temperature scaling).
    pub temperature: f64,
    /// Least mean probability, over a video's segments, of a category that fits it: with less, it shows none of them.
    pub fits: f64,
}

impl Calibration {
    /// Whether it can be meant.
    pub fn is_sound(&self) -> bool {
        self.temperature.is_finite() && self.temperature > 0.0 && (0.0..=1.0).contains(&self.fits)
    }
}

/// Numbers, the last dimension's next to each other, and their shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Convolutions `[out, in, 3, 3, 3]`, fully connected layers `[out, in]`.
    pub weight: Array,
    /// `[out]`
    pub bias: Array,
}

/// A model file in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    pub header: Header,
    /// As in [`LAYERS`].
    pub layers: Vec<Layer>,
    /// How its file holds the numbers.
    pub storage: Storage,
}

impl Model {
    /// Reads and checks a model file.
    ///
    /// # Errors
    /// [`ModelError`], by what is wrong with the file.
    pub fn load(path: &Path) -> Result<Self, ModelError> {
        let bytes = std::fs::read(path).map_err(|source| ModelError::Unreadable { path: path.into(), source })?;
        let header = read_header(path, &bytes)?;
        let file = SafeTensors::deserialize(&bytes).map_err(|error| safetensors_error(path, bytes.len(), error))?;
        let tensor = |name: String| read_tensor(path, &file, name);
        let layers = LAYERS
            .iter()
            .map(|layer| {
                Ok(Layer { weight: tensor(format!("{layer}.weight"))?, bias: tensor(format!("{layer}.bias"))? })
            })
            .collect::<Result<Vec<_>, ModelError>>()?;
        check_shapes(path, &layers, header.categories.len())?;
        let storage = match file.tensor("conv1.weight").map(|view| view.dtype()) {
            Ok(Dtype::BF16) => Storage::Bf16,
            Ok(Dtype::F16) => Storage::F16,
            _ => Storage::F32,
        };
        Ok(Self { header, layers, storage })
    }

    /// Tells two models apart: by weights, categories and normalisation.
    pub fn fingerprint(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        self.header.categories.hash(&mut hasher);
        for value in self.header.mean.iter().chain(&self.header.std) {
            value.to_bits().hash(&mut hasher);
        }
        for array in self.layers.iter().flat_map(|layer| [&layer.weight, &layer.bias]) {
            safetensors::View::data(&Stored::new(array, Storage::F32)).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// The model with its weights rounded, as [`Self::save`] writes it.
    #[must_use]
    pub fn rounded(mut self, storage: Storage) -> Self {
        let arrays = self.layers.iter_mut().flat_map(|layer| [&mut layer.weight, &mut layer.bias]);
        arrays.flat_map(|array| &mut array.values).for_each(|value| *value = storage.rounded(*value));
        self
    }

    /// Divides fc8 by the temperature, and notes what was found.
    pub fn calibrate(&mut self, found: Calibration) {
        for array in self.layers.last_mut().into_iter().flat_map(|fc8| [&mut fc8.weight, &mut fc8.bias]) {
            array.values.iter_mut().for_each(|value| *value = (f64::from(*value) / found.temperature) as f32);
        }
        let before = self.header.calibration.map_or(1.0, |calibration| calibration.temperature);
        self.header.calibration = Some(Calibration { temperature: before * found.temperature, ..found });
    }

    /// Writes the model, its weights as asked, whole or not at all.
    ///
    /// # Errors
    /// [`ModelError::Unwritable`]
    pub fn save(&self, path: &Path, storage: Storage) -> Result<(), ModelError> {
        let mut tensors = BTreeMap::new();
        for (name, layer) in LAYERS.iter().zip(&self.layers) {
            tensors.insert(format!("{name}.weight"), Stored::new(&layer.weight, storage));
            tensors.insert(format!("{name}.bias"), Stored::new(&layer.bias, storage));
        }
        write(path, tensors, self.header.to_metadata())
            .map_err(|reason| ModelError::Unwritable { path: path.into(), reason })
    }
}

impl Header {
    fn to_metadata(&self) -> HashMap<String, String> {
        let json = |value: serde_json::Value| value.to_string();
        let mut metadata = HashMap::from([
            ("format".into(), json(FORMAT.into())),
            ("version".into(), json(VERSION.into())),
            ("categories".into(), json(self.categories.clone().into())),
            ("clip".into(), json(serde_json::json!(ClipSize::PAPER))),
            ("mean".into(), json(serde_json::json!(self.mean))),
            ("std".into(), json(serde_json::json!(self.std))),
            ("provenance".into(), json(self.provenance.clone())),
        ]);
        metadata
            .extend(self.calibration.map(|calibration| ("calibration".into(), json(serde_json::json!(calibration)))));
        metadata
    }

    fn from_metadata(metadata: &HashMap<String, String>) -> Result<Self, String> {
        fn field<T: DeserializeOwned>(metadata: &HashMap<String, String>, name: &str) -> Result<T, String> {
            let text = metadata.get(name).ok_or_else(|| format!("its header has no `{name}`"))?;
            serde_json::from_str(text).map_err(|e| format!("its header's `{name}` can't be read: {e}"))
        }
        let format: String = field(metadata, "format")?;
        if format != FORMAT {
            return Err(format!("its format is `{format}`, not `{FORMAT}`"));
        }
        let version: u32 = field(metadata, "version")?;
        if version != VERSION {
            return Err(format!("it has format version {version}, this program reads version {VERSION}"));
        }
        let clip: ClipSize = field(metadata, "clip")?;
        if clip != ClipSize::PAPER {
            return Err(format!("its clips are {clip:?}, this network takes {:?}", ClipSize::PAPER));
        }
        let header = Self {
            categories: field(metadata, "categories")?,
            mean: field(metadata, "mean")?,
            std: field(metadata, "std")?,
            provenance: field(metadata, "provenance")?,
            calibration: metadata.get("calibration").map(|_| field(metadata, "calibration")).transpose()?,
        };
        header.check().map(|()| header)
    }

    /// Whether a network can score with it.
    ///
    /// # Errors
    /// The field that is wrong, and why.
    pub fn check(&self) -> Result<(), String> {
        let mut seen = HashSet::new();
        if self.categories.is_empty() {
            return Err("its header's `categories` is empty".into());
        }
        if self.categories.iter().any(|name| name.trim().is_empty()) {
            return Err("its header's `categories` has one without a name".into());
        }
        if let Some(twice) = self.categories.iter().find(|name| !seen.insert(*name)) {
            return Err(format!("its header's `categories` has `{twice}` twice"));
        }
        if let Some(calibration) = self.calibration.filter(|calibration| !calibration.is_sound()) {
            return Err(format!(
                "its header's `calibration` is {calibration:?}, not a temperature above 0 and a probability"
            ));
        }
        for (field, values, usable) in [("mean", self.mean, MEANS), ("std", self.std, DEVIATIONS)] {
            if values.iter().any(|value| !usable.contains(value)) {
                let (low, high) = (usable.start(), usable.end());
                return Err(format!("its header's `{field}` is {values:?}, and pixels have {low} to {high}"));
            }
        }
        Ok(())
    }
}

fn read_header(path: &Path, bytes: &[u8]) -> Result<Header, ModelError> {
    let (_, metadata) =
        SafeTensors::read_metadata(bytes).map_err(|error| safetensors_error(path, bytes.len(), error))?;
    let invalid = |reason| ModelError::Header { path: path.into(), reason };
    let metadata = metadata.metadata().as_ref().ok_or_else(|| invalid("it has no header metadata".into()))?;
    Header::from_metadata(metadata).map_err(invalid)
}

/// Sorts what the reader says: a file that ends early is another case than one that never was a safetensors file.
fn safetensors_error(path: &Path, size: usize, error: SafeTensorError) -> ModelError {
    let path = path.to_path_buf();
    match error {
        SafeTensorError::HeaderTooSmall
        | SafeTensorError::InvalidHeaderLength
        | SafeTensorError::MetadataIncompleteBuffer => {
            ModelError::Truncated { path, reason: format!("it has {size} bytes: {error}") }
        }
        error => ModelError::NotSafetensors { path, reason: error.to_string() },
    }
}

fn read_tensor(path: &Path, file: &SafeTensors, name: String) -> Result<Array, ModelError> {
    let Ok(view) = file.tensor(&name) else {
        return Err(ModelError::Missing { path: path.into(), tensor: name });
    };
    let Some(values) = numbers(view.dtype(), view.data()) else {
        let reason = format!("tensor {name} holds {:?}, not floating-point numbers", view.dtype());
        return Err(ModelError::Header { path: path.into(), reason });
    };
    if values.iter().any(|value| !value.is_finite()) {
        return Err(ModelError::NotFinite { path: path.into(), tensor: name });
    }
    Ok(Array { shape: view.shape().to_vec(), values })
}

/// Layer by layer: each takes what the one before gives, and fc8 has an output a category. Widths are the file's own.
fn check_shapes(path: &Path, layers: &[Layer], categories: usize) -> Result<(), ModelError> {
    let mut inputs = 3;
    for (i, (name, layer)) in LAYERS.iter().zip(layers).enumerate() {
        let (weight, bias) = (layer.weight.shape.clone(), layer.bias.shape.clone());
        if i == CONVS {
            inputs *= POOLED;
        }
        let tail: &[usize] = if i < CONVS { &[inputs, 3, 3, 3] } else { &[inputs] };
        let last = i + 1 == LAYERS.len();
        let outputs = weight.first().copied().unwrap_or(0);
        let wrong = |tensor: &str, found: Vec<usize>, expected: String| {
            Err(ModelError::Shape { path: path.into(), tensor: format!("{name}.{tensor}"), found, expected })
        };
        if weight.get(1..) != Some(tail) || outputs == 0 || (last && outputs != categories) {
            let first = if last { format!("{categories} (one a category)") } else { "any number".into() };
            return wrong("weight", weight, format!("[{first}, {}]", join(tail)));
        }
        if bias != [outputs] {
            return wrong("bias", bias, format!("[{outputs}]"));
        }
        inputs = outputs;
    }
    Ok(())
}

fn join(sizes: &[usize]) -> String {
    sizes.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
}
