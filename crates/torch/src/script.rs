//! A network of the user's own: a TorchScript module that gives the class scores of clips, and perhaps features beside them.
//!
//! Nothing is known of it but what the file beside it says ([`desumnet_engine::network::Sidecar`]); whether that is true, a clip of black frames
//! shows before anything is scored.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use tch::{CModule, Device, IValue, Kind, TchError, Tensor, jit};
use thiserror::Error;

use desumnet_engine::network::{Layout, sidecar_of};

use crate::network::{OpenError, TorchNetwork, input_gradient, wide};

/// What a module that gives something else is told by.
const NO_TENSOR: &str = "an output is no tensor";

/// Why a TorchScript module can't score. Every message names the file, the reason and the remedy.
#[derive(Debug, Error)]
pub enum ScriptError {
    #[error(
        "model {0} is a state dict (or another object of torch.save), not TorchScript; export the network with \
         examples/export_torchvision.py or torch.jit.trace, or convert the weights with desumnet-train import"
    )]
    StateDict(PathBuf),
    #[error("model {path} can't be loaded as TorchScript ({reason}); export it again, or copy or download it again")]
    Broken { path: PathBuf, reason: String },
    #[error("model {path} can't be converted to {kind:?} on {device:?} ({reason}); set precision=f32 or device=cpu")]
    Place { path: PathBuf, device: Device, kind: Kind, reason: String },
    #[error("model {path} does not take a clip of shape {shape:?} ({reason}); {remedy}")]
    Refuses { path: PathBuf, shape: Vec<i64>, reason: String, remedy: &'static str },
    #[error("model {path} gives {found}, expected class scores [N, C]; export a network whose forward returns them")]
    Output { path: PathBuf, found: String },
    #[error(
        "model {path} gives features of shape {found} as its second output, expected [N, D]; export a network that gives class \
         scores, or class scores and features"
    )]
    Features { path: PathBuf, found: String },
    #[error(
        "{path}: `categories` has {named} names, the network gives {found} class scores; give one name an output, in order"
    )]
    Categories { path: PathBuf, named: usize, found: i64 },
    #[error(
        "model {path} gives scores that are not finite numbers for a black clip; set precision=f32, check `mean` and \
         `std` in {sidecar}, or use another checkpoint"
    )]
    NotFinite { path: PathBuf, sidecar: PathBuf },
    #[error("model {path} can't tell which pixels matter ({reason}); export it without torch.no_grad and detach")]
    NoGradient { path: PathBuf, reason: String },
}

/// A module on a device, in evaluation mode, its weights without gradients.
pub struct Script {
    module: CModule,
    /// The file holds it in another precision.
    converted: bool,
    /// In which order it takes a clip's dimensions.
    layout: Layout,
}

impl Script {
    pub fn load(path: &Path, device: Device, kind: Kind) -> Result<Self, ScriptError> {
        let mut module = CModule::load_on_device(path, device).map_err(|error| {
            let reason = telling_line(&error);
            // What torch.save writes is a zip archive too, without this part.
            if reason.contains("constants.pkl") {
                return ScriptError::StateDict(path.into());
            }
            ScriptError::Broken { path: path.into(), reason }
        })?;
        let place = |reason| ScriptError::Place { path: path.into(), device, kind, reason };
        let mut prepare = || {
            module.f_set_eval()?;
            let parameters = module.named_parameters()?;
            for (_, parameter) in &parameters {
                let _ = parameter.f_set_requires_grad(false)?;
            }
            Ok(parameters.iter().any(|(_, p)| is_floating(p.kind()) && p.kind() != kind))
        };
        // Only where it must be: the conversion takes a module's whole numbers along, tables of indices for example.
        let converted = prepare().map_err(|error| place(telling_line(&error)))?;
        if converted {
            // tch has no other form of `to`, and this one panics.
            catch_unwind(AssertUnwindSafe(|| module.to(device, kind, false)))
                .map_err(|_| place("libtorch failed".into()))?;
        }
        Ok(Self { module, converted, layout: Layout::default() })
    }

    #[must_use]
    pub fn in_order(self, layout: Layout) -> Self {
        Self { layout, ..self }
    }

    /// A clip `[N, 3, T, H, W]` in the network's order.
    fn ordered(&self, clip: &Tensor) -> Result<Tensor, TchError> {
        match self.layout {
            Layout::Ncthw => Ok(clip.shallow_clone()),
            Layout::Ntchw => clip.f_transpose(1, 2),
        }
    }

    /// Features `[N, D]` if the network gives them as a second output, and class scores, of an input `[N, 3, T, H, W]`; both in
    /// [`wide`] of its kind.
    pub fn forward(&self, input: &Tensor) -> Result<(Option<Tensor>, Tensor), TchError> {
        // A setting of the calling thread. The optimiser would compile kernels during the first segments, for seconds, and has
        // nothing to gain where convolutions take nearly all of the time. Others have `view`s in them that only a contiguous
        // input, as it is in Python, passes.
        jit::f_set_graph_executor_optimize(false)?;
        let wide = wide(input.kind());
        let outputs = match self.module.forward_is(&[IValue::Tensor(self.ordered(input)?.f_contiguous()?)])? {
            IValue::Tuple(outputs) => outputs,
            one => vec![one],
        };
        let mut tensors = outputs.into_iter().map(|output| match output {
            IValue::Tensor(tensor) => tensor.f_to_kind(wide),
            _ => Err(TchError::Torch(NO_TENSOR.into())),
        });
        let logits = tensors.next().unwrap_or_else(|| Err(TchError::Torch(NO_TENSOR.into())))?;
        Ok((tensors.next().transpose()?, logits))
    }

    /// Runs a clip of black frames forward and backward, to see whether the network is what its sidecar says; how many features it gives.
    ///
    /// # Errors
    /// [`OpenError::Script`], by what is wrong with it; [`OpenError::Torch`] if the device has no room for a clip.
    pub fn check(&self, network: &TorchNetwork, path: &Path) -> Result<Option<usize>, OpenError> {
        let black = vec![0; network.clip.clip_bytes()];
        let input = network.input(&[&black])?.f_set_requires_grad(true)?;
        let shape = self.ordered(&input)?.size();
        let (features, logits) = self.forward(&input).map_err(|error| {
            let reason = telling_line(&error);
            if reason == NO_TENSOR {
                return ScriptError::Output { path: path.into(), found: "no tensor".into() };
            }
            let remedy = if network.kind != Kind::Float {
                "set precision=f32"
            } else if self.converted {
                "export the network in float32"
            } else {
                "set `clip_length`, `size` and `layout` in the JSON file beside it to what the network was made for"
            };
            ScriptError::Refuses { path: path.into(), shape, reason, remedy }
        })?;
        let named = network.header.categories.len();
        match logits.size()[..] {
            [1, found] if found == named as i64 => {}
            [1, found] => return Err(ScriptError::Categories { path: sidecar_of(path), named, found }.into()),
            _ => return Err(ScriptError::Output { path: path.into(), found: format!("{:?}", logits.size()) }.into()),
        }
        let features = match features.map(|features| features.size()).as_deref() {
            None => None,
            Some([1, width]) => Some(*width as usize),
            Some(found) => return Err(ScriptError::Features { path: path.into(), found: format!("{found:?}") }.into()),
        };
        if logits.f_isfinite()?.f_all()?.f_int64_value(&[])? == 0 {
            return Err(ScriptError::NotFinite { path: path.into(), sidecar: sidecar_of(path) }.into());
        }
        let score = logits.f_sum(logits.kind())?;
        input_gradient(&score, &input)
            .map(|_| features)
            .map_err(|error| ScriptError::NoGradient { path: path.into(), reason: telling_line(&error) }.into())
    }
}

fn is_floating(kind: Kind) -> bool {
    matches!(kind, Kind::Float | Kind::Double | Kind::Half | Kind::BFloat16)
}

/// The line of libtorch's message that says what is wrong: without the interpreter's traceback, the stack, and advice for
/// PyTorch's own developers.
pub fn telling_line(error: &TchError) -> String {
    let text = match error {
        TchError::Torch(text) => text.clone(),
        other => other.to_string(),
    };
    // The interpreter ends with the line that a Python program would end with: `RuntimeError: ...`.
    let raised = text.lines().rev().find_map(|line| line.split_once("Error: ").filter(|(kind, _)| !kind.contains(' ')));
    let line = raised.map_or_else(|| text.lines().next().unwrap_or_default(), |(_, what)| what);
    line.split(" This is an internal miniz error").next().unwrap_or_default().trim_end_matches('.').to_string()
}
