//! The training loop: batches in, weights out, by gradient descent.

use std::{collections::HashMap, path::Path};

use tch::{Device, Kind, TchError, Tensor, nn};

use super::{
    average::Average,
    batches::{self, Batch},
    checkpoint::{self, CheckpointError, Progress},
    data::{CacheError, Dataset},
    mix, mixing,
    network::{DROPOUT, Fc6, TrainingNetwork},
    optimizer::Optimizer,
    settings::{Phase, Settings},
};
use desumnet_engine::network::{Array, Header, LAYERS, Model};
use desumnet_frames::clip::CROP;
use desumnet_torch::{channels_last, telling_line};

/// Clips that a model's normalisation is measured on before it is trained further.
const MEASURED: usize = 48;
/// Weight of a lesson's loss beside that of the categories that are learned with it.
const LESSON: f64 = 3.0;
/// A mean loss over this many times that of guessing has diverged: no data set is that much worse than unknown.
const HOPELESS: f64 = 4.0;
/// Steps of an epoch before its mean loss is judged.
const PATIENCE: usize = 20;

impl Settings {
    /// Whether the clips of every phase fit this form of fc6.
    ///
    /// # Errors
    /// [`TrainError::FullFc6`]
    pub fn check_fc6(&self, fc6: Fc6) -> Result<(), TrainError> {
        let small = self.small.iter().any(|phase| phase.epochs > 0 && phase.side != CROP);
        if fc6 == Fc6::Full && small { Err(TrainError::FullFc6) } else { Ok(()) }
    }
}

/// Where the weights come from.
pub enum Start<'a> {
    /// Random, of these widths and with this form of fc6.
    Scratch { widths: [i64; 7], fc6: Fc6 },
    /// A model, with a new fc8 for the data's categories that learns at a rate of its own (paper, section 4: fine-tuning).
    NewCategories { model: &'a Model, fc8_learning_rate: f64 },
    /// A model of the same categories (paper, section 4: adaptation).
    SameCategories { model: &'a Model },
}

/// What a finished step tells.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Steps of the run so far.
    pub steps: u64,
    /// Clips seen in this epoch so far, and in all of it.
    pub clips: usize,
    pub of: usize,
    pub learning_rate: f64,
    /// Of this step's clips.
    pub step_loss: f64,
    /// Means over the epoch so far; the accuracy, of clips that show a category.
    pub loss: f64,
    pub accuracy: f64,
}

/// What an epoch came to, steps before a resumption included.
#[derive(Clone, Copy, Debug)]
pub struct Epoch {
    /// Steps of the run so far.
    pub steps: u64,
    /// Means over the epoch.
    pub loss: f64,
    pub accuracy: f64,
}

/// Why training stopped.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    #[error(
        "training diverged in epoch {epoch}: the loss is {loss}; start again with --learning-rate {lower:.0e}, or with a --batch of more clips"
    )]
    Diverged { epoch: usize, loss: f64, lower: f64 },
    #[error(
        "--small needs a fc6 that shares its weights over the picture, a full one takes 112x112 pixels only: leave out --small, or pretrain with `--fc6 shared`"
    )]
    FullFc6,
    #[error(
        "the network holds values that are not finite numbers after epoch {0}: training diverged; start again with a lower --learning-rate, or with a --batch of more clips"
    )]
    NotFinite(usize),
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error("libtorch failed: {}", telling_line(.0))]
    Torch(#[from] TchError),
}

/// A run in progress.
pub struct Trainer<'a> {
    data: &'a Dataset,
    settings: Settings,
    device: Device,
    store: nn::VarStore,
    network: TrainingNetwork,
    optimizer: Optimizer,
    mean: [f64; 3],
    std: [f64; 3],
    progress: Progress,
    average: Option<Average>,
}

impl<'a> Trainer<'a> {
    /// A new run, whose convolutions run in `kind`.
    ///
    /// # Errors
    /// [`TrainError`]
    pub fn new(
        data: &'a Dataset,
        start: &Start,
        settings: Settings,
        device: Device,
        kind: Kind,
    ) -> Result<Self, TrainError> {
        tch::manual_seed(settings.seed as i64);
        let store = nn::VarStore::new(device);
        let root = store.root();
        let outputs = data.outputs();
        let network = match start {
            Start::Scratch { widths, fc6 } => TrainingNetwork::new(&root, widths, outputs, *fc6, kind)?,
            Start::NewCategories { model, .. } => TrainingNetwork::of_model(&root, model, Some(outputs), kind)?,
            Start::SameCategories { model } => TrainingNetwork::of_model(&root, model, None, kind)?,
        };
        settings.check_fc6(network.fc6())?;
        let fc8 = match start {
            Start::NewCategories { fc8_learning_rate, .. } => fc8_learning_rate / settings.learning_rate,
            _ => 1.0,
        };
        let mut variables: Vec<_> = store.variables().into_iter().filter(|(_, v)| v.requires_grad()).collect();
        variables.sort_by(|a, b| a.0.cmp(&b.0));
        let optimizer = Optimizer::new(
            settings.optimizer,
            settings.momentum,
            settings.weight_decay,
            variables,
            // Not of biases, nor of the normalisations' scale and shift.
            |name| name.ends_with(".weight"),
            |name| if name.starts_with("fc8.") { fc8 } else { 1.0 },
        )?;
        // A network that has learned goes on seeing pixels as it did.
        let (mean, std) = match start {
            Start::Scratch { .. } => data.pixel_statistics(),
            Start::NewCategories { model, .. } | Start::SameCategories { model } => {
                (model.header.mean, model.header.std)
            }
        };
        let mut identity = serde_json::json!(settings);
        identity["begins"] = match start {
            Start::Scratch { widths, .. } => serde_json::json!({ "widths": widths }),
            Start::NewCategories { model, fc8_learning_rate } => {
                serde_json::json!({ "model": model.fingerprint(), "fc8_learning_rate": fc8_learning_rate })
            }
            Start::SameCategories { model } => serde_json::json!({ "model": model.fingerprint() }),
        };
        identity["fc6"] = serde_json::json!(network.fc6());
        identity["precision"] = format!("{kind:?}").into();
        let progress = Progress { settings: identity, fingerprint: data.fingerprint(), ..Default::default() };
        let average = None;
        let mut trainer = Self { data, settings, device, store, network, optimizer, mean, std, progress, average };
        if !matches!(start, Start::Scratch { .. }) {
            trainer.measure_normalisation()?;
        }
        if let Some(keep) = trainer.settings.average {
            let average = Average::new(keep, &trainer.network, &trainer.store.variables(), device, kind)?;
            trainer.average = Some(average);
        }
        Ok(trainer)
    }

    fn measure_normalisation(&self) -> Result<(), TrainError> {
        let settings = Settings { batch: MEASURED.min(self.data.videos.len()), ..self.settings.clone() };
        std::thread::scope(|scope| {
            if let Some(batch) = batches::stream(scope, self.data, &settings, 0, 0).next() {
                self.network.measure_normalisation(&self.input(&batch?, settings.phase(0))?)?;
            }
            Ok(())
        })
    }

    /// Number of weights that are learned.
    pub fn parameters(&self) -> usize {
        self.store.trainable_variables().iter().map(Tensor::numel).sum()
    }

    /// Clips seen of the epoch that is under way.
    pub fn clips_done(&self) -> usize {
        self.progress.clips
    }

    /// Whole epochs done.
    pub fn epochs_done(&self) -> usize {
        self.progress.epoch
    }

    /// Steps done, over all epochs.
    pub fn steps(&self) -> u64 {
        self.progress.steps
    }

    /// Whether the last epoch is done.
    pub fn finished(&self) -> bool {
        self.progress.epoch >= self.settings.all_epochs()
    }

    /// Writes the whole state.
    ///
    /// # Errors
    /// [`CheckpointError`]
    pub fn save(&self, path: &Path) -> Result<(), CheckpointError> {
        checkpoint::save(path, &self.variables(), &self.optimizer, &self.progress)
    }

    /// All of the network and its average.
    fn variables(&self) -> HashMap<String, Tensor> {
        let mut variables = self.store.variables();
        variables.extend(self.average.iter().flat_map(Average::variables));
        variables
    }

    /// Goes on from a checkpoint of the same run.
    ///
    /// # Errors
    /// [`CheckpointError`]; the trainer is then not to be used.
    pub fn resume(&mut self, path: &Path) -> Result<(), CheckpointError> {
        let variables = self.variables();
        self.progress = checkpoint::load(path, &variables, &mut self.optimizer, &self.progress)?;
        Ok(())
    }

    /// Runs to the end of the epoch: what it came to. `after_step` hears of every step, with the state as it is then.
    ///
    /// # Errors
    /// [`TrainError`]
    pub fn epoch(&mut self, mut after_step: impl FnMut(&Self, Step)) -> Result<Epoch, TrainError> {
        let (data, settings) = (self.data, self.settings.clone());
        let epoch = self.progress.epoch;
        let order = batches::order(data, &settings, epoch);
        let of = order.iter().map(Vec::len).sum();
        std::thread::scope(|scope| {
            for batch in batches::stream(scope, data, &settings, epoch, self.progress.batches) {
                let batch = batch?;
                let done = epoch as f64 + self.progress.clips as f64 / of as f64;
                let learning_rate = settings.learning_rate_at(done);
                let (loss, right) = self.step(&batch, settings.phase(epoch), learning_rate)?;
                let progress = &mut self.progress;
                progress.batches += 1;
                progress.clips += batch.labels.len();
                progress.nameable += batch.labels.iter().filter(|&&label| label < data.categories.len()).count();
                progress.loss_sum += loss * batch.labels.len() as f64;
                progress.right += right;
                progress.steps = self.optimizer.steps;
                let clips = progress.clips as f64;
                let mean = progress.loss_sum / clips;
                let guessing = match (&data.lessons, (data.categories.len() as f64).ln()) {
                    (Some(_), 0.0) => 1.0,
                    (Some(_), of_categories) => LESSON + of_categories,
                    (None, of_categories) => of_categories.max(1.0),
                };
                if !loss.is_finite() || (progress.batches >= PATIENCE && mean > HOPELESS * guessing) {
                    let lower = settings.learning_rate / 10.0;
                    return Err(TrainError::Diverged { epoch: epoch + 1, loss, lower });
                }
                let (steps, accuracy) = (progress.steps, progress.right / progress.nameable.max(1) as f64);
                let clips = progress.clips;
                after_step(self, Step { steps, clips, of, learning_rate, step_loss: loss, loss: mean, accuracy });
            }
            Ok(())
        })?;
        let whole = std::mem::take(&mut self.progress);
        let (steps, loss) = (whole.steps, whole.loss_sum / whole.clips.max(1) as f64);
        let summary = Epoch { steps, loss, accuracy: whole.right / whole.nameable.max(1) as f64 };
        let Progress { settings, fingerprint, .. } = whole;
        self.progress = Progress { epoch: epoch + 1, steps, settings, fingerprint, ..Default::default() };
        Ok(summary)
    }

    /// One minibatch: mean loss (not a number if the gradient is not), and how many of its clips were named right.
    fn step(&mut self, batch: &Batch, phase: Phase, learning_rate: f64) -> Result<(f64, f64), TchError> {
        // Dropout's choices follow from the step's number alone, so that a resumed run makes the same.
        tch::manual_seed(mix(self.settings.seed, 0, self.optimizer.steps) as i64);
        let share = mixing::share(self.settings.mixup, mix(self.settings.seed, u64::MAX, self.optimizer.steps));
        let input = channels_last(&mixing::mixed(&self.input(batch, phase)?, share)?)?;
        let convolved = self.network.convolved(&input, true)?;
        let (loss, right) = match &self.data.lessons {
            None => self.naming(&convolved, batch, share)?,
            // With nothing to name, the lesson is all.
            Some(_) if self.data.categories.len() == 1 => self.lesson(&convolved, batch, share)?,
            Some(_) => {
                let (naming, right) = self.naming(&convolved, batch, share)?;
                (naming.f_add(&self.lesson(&convolved, batch, share)?.0.f_mul_scalar(LESSON)?)?, right)
            }
        };
        loss.f_backward()?;
        let length = self.optimizer.step(learning_rate, self.settings.clip_norm)?;
        self.network.keep_monotonic()?;
        if let Some(average) = &mut self.average {
            average.add(&self.store.variables(), self.optimizer.steps)?;
        }
        Ok((if length.is_finite() { loss.f_double_value(&[])? } else { f64::NAN }, right))
    }

    /// Mean cross entropy of what the clips show, of which the one before has this share, and how many were named right.
    fn naming(&self, convolved: &Tensor, batch: &Batch, share: f64) -> Result<(Tensor, f64), TchError> {
        let categories = self.data.categories.len();
        let targets = mixing::targets(&batch.labels, categories, self.settings.label_smoothing);
        let targets = Tensor::f_from_slice(&targets)?.f_view([-1, categories as i64])?.f_to_device(self.device)?;
        let outputs = self.network.connected(convolved, true, DROPOUT)?;
        let logits = outputs.f_narrow(1, 0, categories as i64)?;
        let each = logits.f_log_softmax(-1, Kind::Float)?.f_mul(&mixing::mixed(&targets, share)?)?;
        let loss = each.f_sum(Kind::Float)?.f_div_scalar(-(batch.labels.len() as f64))?;
        let labels: Vec<i64> = batch.labels.iter().map(|&label| label as i64).collect();
        let labels = Tensor::f_from_slice(&labels)?.f_to_device(self.device)?;
        let right = logits.f_argmax(-1, false)?.f_eq_tensor(&labels)?.f_sum(Kind::Float)?;
        Ok((loss, right.f_double_value(&[])?))
    }

    /// Mean squared difference from what the teacher gives, and of how many clips that is nearer than that of any other in the batch.
    fn lesson(&self, convolved: &Tensor, batch: &Batch, share: f64) -> Result<(Tensor, f64), TchError> {
        let clips = batch.clips.len() as i64;
        let taught = Tensor::f_from_slice(&batch.lessons)?.f_view([clips, -1])?.f_to_device(self.device)?;
        let taught = mixing::mixed(&taught, share)?;
        let outputs = self.network.connected(convolved, true, 0.0)?;
        let given = outputs.f_narrow(1, self.data.categories.len() as i64, taught.size()[1])?;
        let loss = given.f_mse_loss(&taught, tch::Reduction::Mean)?;
        let alike = given.f_detach()?.f_matmul(&taught.f_t_copy()?)?;
        let lengths = taught.f_square()?.f_sum_dim_intlist([1].as_slice(), false, Kind::Float)?.f_mul_scalar(0.5)?;
        let nearest = alike.f_sub(&lengths)?.f_argmax(-1, false)?;
        let own = Tensor::f_arange(clips, (Kind::Int64, self.device))?;
        Ok((loss, nearest.f_eq_tensor(&own)?.f_sum(Kind::Float)?.f_double_value(&[])?))
    }

    /// `[N, 3, frames, side, side]`, normalised, channels-last.
    fn input(&self, batch: &Batch, phase: Phase) -> Result<Tensor, TchError> {
        let rgb = |v: [f64; 3]| {
            Tensor::f_from_slice(&v)?.f_to_kind(Kind::Float)?.f_to_device(self.device)?.f_view([3, 1, 1, 1])
        };
        let (mean, std) = (rgb(self.mean)?, rgb(self.std)?);
        let clips = batch
            .clips
            .iter()
            .map(|cut| {
                let pixels = super::augment::resized(&cut.pixels, (cut.width, cut.height), phase.side, self.device)?;
                let clip = cut.colour.apply(&pixels.f_sub(&mean)?.f_div(&std)?)?;
                cut.hole.map_or(Ok(()), |hole| hole.cut(&clip)).map(|()| clip)
            })
            .collect::<Result<Vec<_>, _>>()?;
        channels_last(&Tensor::f_stack(&clips, 0)?)
    }

    /// The network as it stands, in the form that scores.
    ///
    /// # Errors
    /// [`TrainError::NotFinite`]; from libtorch.
    pub fn model(&self, provenance: serde_json::Value) -> Result<Model, TrainError> {
        let categories = self.data.categories.clone();
        let (mean, std) = (self.mean, self.std);
        let network = self.average.as_ref().map_or(&self.network, |average| &average.network);
        let mut model = network.to_model(Header { categories, mean, std, provenance, calibration: None })?;
        // The outputs that learned to give the teacher's features have done their work.
        let fc8 = &mut model.layers[LAYERS.len() - 1];
        for array in [&mut fc8.weight, &mut fc8.bias] {
            let Array { shape, values } = array;
            values.truncate(values.len() / shape[0] * self.data.categories.len());
            shape[0] = self.data.categories.len();
        }
        let mut values = model.layers.iter().flat_map(|layer| layer.weight.values.iter().chain(&layer.bias.values));
        if !values.all(|value| value.is_finite()) {
            return Err(TrainError::NotFinite(self.progress.epoch));
        }
        Ok(model)
    }
}
