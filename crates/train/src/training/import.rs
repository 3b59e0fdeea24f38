//! Weights of others: a PyTorch state dict in C3D's naming becomes a model file to fine-tune from.
//!
//! C3D (Tran et al., ICCV 2015), whose toolbox the paper trained with, has two convolutions where DeSumNet has one from conv3
//! on: the first of them (conv3a) is taken, the second (conv3b) has no place. What does not fit keeps the random weights that
//! training from scratch begins with.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    path::{Path, PathBuf},
};

use pytorch_reader::{DType, PytorchReader};
use tch::{Device, Kind, TchError, Tensor, nn};
use thiserror::Error;

use super::network::{Fc6, TrainingNetwork};
use crate::foreign;
use desumnet_engine::network::{Array, Header, LAYERS, Model};
use desumnet_torch::{array, telling_line};

/// Why nothing can be imported.
#[derive(Debug, Error)]
pub enum ImportError {
    #[error(
        "{path} can't be read as a state dict: {reason}; make one in Python by torch.save(model.state_dict(), \"weights.pt\")"
    )]
    Unreadable { path: PathBuf, reason: String },
    #[error(
        "{path} has tensor {tensor} twice, as {first} and as {second}; save the one that you mean by itself: torch.save(checkpoint[\"state_dict\"], \"weights.pt\")"
    )]
    Twice { path: PathBuf, tensor: String, first: String, second: String },
    #[error(
        "nothing in {path} fits this network: {reasons}; it takes tensors conv1.weight ... conv5.bias (or conv3a ... conv5a) and fc6.weight ... fc8.bias"
    )]
    NothingFits { path: PathBuf, reasons: String },
    #[error("{path} has no fc8 to count the categories by: name them by --categories")]
    NoCategories { path: PathBuf },
    #[error("{names} categories are named, but fc8 of {path} has {outputs} outputs: name each of them, in their order")]
    OtherCategories { path: PathBuf, names: usize, outputs: i64 },
    #[error("libtorch failed: {}", telling_line(.0))]
    Torch(#[from] TchError),
}

/// What the file's network was trained on, as the file does not say it.
#[derive(Clone, Debug)]
pub struct Input {
    /// Names of fc8's outputs; without them they are "category 1" and so on.
    pub categories: Option<Vec<String>>,
    /// Of pixels 0..255, RGB: x = (pixel - mean) / std.
    pub mean: [f64; 3],
    pub std: [f64; 3],
    /// The network takes blue first: conv1's input channels are turned round.
    pub bgr: bool,
}

/// A model, and where each part of it comes from.
pub struct Import {
    pub model: Model,
    /// Tensors that were taken: name in the file, name in the model.
    pub taken: Vec<(String, String)>,
    /// Tensors of the file that were not taken, each with the reason.
    pub left_out: Vec<(String, String)>,
    /// Layers whose weights are random.
    pub random: Vec<&'static str>,
}

/// Makes a model of these widths (as in [`desumnet_engine::network::WIDTHS`]) from a file: safetensors by its name, else as `torch.save` writes
/// it. Names count by their last two parts, so that `state_dict.module.conv1.weight` is `conv1.weight`.
///
/// # Errors
/// [`ImportError`]: an unreadable file, or one of which nothing fits.
pub fn import(path: &Path, widths: &[i64; 7], input: Input) -> Result<Import, ImportError> {
    let mut left_out = Vec::new();
    let mut found: BTreeMap<String, (String, Tensor)> = BTreeMap::new();
    for (name, tensor) in read(path)? {
        let Some(ours) = our_name(&name) else {
            left_out.push((name, "this network has no such layer".into()));
            continue;
        };
        let Some(tensor) = tensor else {
            left_out.push((name, "its values are not floating-point numbers".into()));
            continue;
        };
        match found.entry(ours) {
            Entry::Vacant(place) => place.insert((name, tensor)),
            Entry::Occupied(first) => {
                let (path, first, tensor) = (path.into(), first.get().0.clone(), first.key().clone());
                return Err(ImportError::Twice { path, tensor, first, second: name });
            }
        };
    }

    if found.is_empty() {
        return Err(nothing_fits(path, &left_out));
    }
    let categories = categories(path, widths, input.categories, found.get("fc8.weight").map(|(_, tensor)| tensor))?;
    let header =
        Header { categories, mean: input.mean, std: input.std, provenance: serde_json::Value::Null, calibration: None };
    let mut model = untrained(widths, header)?;

    let (mut taken, mut random) = (Vec::new(), Vec::new());
    for (layer, place) in LAYERS.iter().zip(&mut model.layers) {
        let mut weight_taken = false;
        for (part, own) in [("weight", &mut place.weight), ("bias", &mut place.bias)] {
            let ours = format!("{layer}.{part}");
            let Some((name, theirs)) = found.remove(&ours) else { continue };
            let fits = if part == "bias" && !weight_taken {
                Err(format!("{layer}.weight was not taken"))
            } else {
                fits(&theirs, own)?
            };
            match fits {
                Ok(()) => {
                    let theirs = theirs.f_to_kind(Kind::Float)?;
                    *own = array(&if input.bgr && ours == "conv1.weight" { theirs.f_flip([1])? } else { theirs })?;
                    weight_taken = true;
                    taken.push((name, ours));
                }
                Err(reason) => left_out.push((name, reason)),
            }
        }
        if !weight_taken {
            random.push(*layer);
        }
    }
    if taken.is_empty() {
        return Err(nothing_fits(path, &left_out));
    }
    left_out.sort();
    model.header.provenance = serde_json::json!({
        "made_by": concat!("desumnet-train import ", env!("CARGO_PKG_VERSION")),
        "file": path.file_name().map(|name| name.to_string_lossy()),
        "taken": taken.iter().map(|(_, ours)| ours).collect::<Vec<_>>(),
        "random_layers": random,
        "bgr": input.bgr,
    });
    Ok(Import { model, taken, left_out, random })
}

/// All tensors of a file, by name; none for one of other than floating-point numbers.
fn read(path: &Path) -> Result<BTreeMap<String, Option<Tensor>>, ImportError> {
    let unreadable = |reason: String| ImportError::Unreadable { path: path.into(), reason };
    if path.extension().is_some_and(|extension| extension == "safetensors") {
        let tensors = foreign::read(|| Tensor::read_safetensors(path)).map_err(unreadable)?;
        let tensors = tensors.map_err(|e| unreadable(e.to_string()))?;
        let tensors = tensors.into_iter().map(|(name, tensor)| (name, Some(tensor).filter(Tensor::is_floating_point)));
        return Ok(tensors.collect());
    }
    let file =
        foreign::read(|| PytorchReader::new(path)).map_err(unreadable)?.map_err(|e| unreadable(e.to_string()))?;
    let tensors = file.into_tensors().into_iter().map(|(name, tensor)| {
        let kind = match tensor.dtype() {
            DType::F64 => Kind::Double,
            DType::F32 => Kind::Float,
            DType::F16 => Kind::Half,
            DType::BF16 => Kind::BFloat16,
            _ => return Ok((name, None)),
        };
        let bytes = foreign::read(|| tensor.read()).map_err(unreadable)?.map_err(|e| unreadable(e.to_string()))?;
        let shape: Vec<i64> = tensor.shape().iter().map(|&n| n as i64).collect();
        // The reader promises as many bytes as the shape has; libtorch would read on past fewer.
        if bytes.len() != tensor.byte_len() {
            return Err(unreadable(format!("{name} is cut short")));
        }
        Ok((name, Some(Tensor::f_from_data_size(&bytes, &shape, kind)?)))
    });
    tensors.collect()
}

/// The model's name for a tensor of C3D, if it has a place for it.
fn our_name(name: &str) -> Option<String> {
    let (path, part) = name.rsplit_once('.')?;
    let layer = path.rsplit('.').next()?;
    let layer = match layer {
        "conv3a" | "conv4a" | "conv5a" => layer.trim_end_matches('a'),
        other => other,
    };
    (LAYERS.contains(&layer) && ["weight", "bias"].contains(&part)).then(|| format!("{layer}.{part}"))
}

/// The names given, if fc8 has an output for each, or one for each of fc8's outputs.
fn categories(
    path: &Path,
    widths: &[i64; 7],
    names: Option<Vec<String>>,
    fc8: Option<&Tensor>,
) -> Result<Vec<String>, ImportError> {
    let fc8 = fc8.map(Tensor::size).filter(|size| size.len() == 2);
    match (names, fc8.as_deref()) {
        (Some(names), Some(&[outputs, inputs])) if inputs == widths[6] && outputs != names.len() as i64 => {
            Err(ImportError::OtherCategories { path: path.into(), names: names.len(), outputs })
        }
        (Some(names), _) => Ok(names),
        (None, Some(&[outputs, _])) if outputs > 0 => Ok((1..=outputs).map(|n| format!("category {n}")).collect()),
        (None, _) => Err(ImportError::NoCategories { path: path.into() }),
    }
}

fn nothing_fits(path: &Path, left_out: &[(String, String)]) -> ImportError {
    let reasons: Vec<String> = left_out.iter().take(4).map(|(name, reason)| format!("{name}: {reason}")).collect();
    let reasons = if reasons.is_empty() { "it has no tensors".into() } else { reasons.join("; ") };
    ImportError::NothingFits { path: path.into(), reasons }
}

/// The network that training from scratch begins with; the same at every import, for which libtorch is seeded. Its biases
/// are 0: a layer that has none in the file is as it was.
fn untrained(widths: &[i64; 7], header: Header) -> Result<Model, TchError> {
    tch::manual_seed(1);
    let vars = nn::VarStore::new(Device::Cpu);
    TrainingNetwork::new(&vars.root(), widths, header.categories.len(), Fc6::Full, Kind::Float)?.to_model(header)
}

/// Whether a tensor can take another's place, or why not.
fn fits(theirs: &Tensor, ours: &Array) -> Result<Result<(), String>, TchError> {
    let shape: Vec<usize> = theirs.size().iter().map(|&size| size as usize).collect();
    if shape != ours.shape {
        return Ok(Err(format!("its shape is {shape:?} where {:?} is needed", ours.shape)));
    }
    let finite = theirs.f_isfinite()?.f_all()?.f_int64_value(&[])? != 0;
    Ok(if finite { Ok(()) } else { Err("it holds values that are not finite numbers".into()) })
}
