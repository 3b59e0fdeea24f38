//! The training loop: batches in, weights out, by stochastic gradient descent.

use std::{str::FromStr, sync::mpsc};

use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use tch::{
    Device, Kind, TchError, Tensor,
    nn::{self, OptimizerConfig},
};

use super::{
    augment::{Colour, View},
    data::Dataset,
    network::{TrainingNetwork, UNDECAYED},
};
use crate::{
    clip::{CROP, FRAMES},
    network::{Header, Model, channels_last},
};

/// Share of the work over which the learning rate rises.
const WARM_UP: f64 = 0.15;
/// Longest gradient, over all weights, that a step takes.
const MAX_GRADIENT: f64 = 5.0;

/// How the learning rate falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// To a tenth after every `--step-epochs` (paper, section 4).
    Step,
    /// Up from 0 over the first part of the run, then down to 0 along half a cosine.
    Cosine,
}

/// What makes a step of a gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    /// Stochastic gradient descent with momentum (paper, section 4).
    Sgd,
    /// Adam with decoupled weight decay: less sensitive to the learning rate where videos are few.
    Adamw,
}

/// Cheap epochs on small clips, `SIDExFRAMES:EPOCHS`: pixels a side, frames a clip (16, or 8 for every second one).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Phase {
    pub side: usize,
    pub frames: usize,
    pub epochs: usize,
}

impl Phase {
    /// What an epoch costs beside others: pixels of a clip.
    fn cost(&self) -> f64 {
        (self.side * self.side * self.frames) as f64
    }
}

impl FromStr for Phase {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (clip, epochs) = text.split_once(':')?;
            let (side, frames) = clip.split_once('x')?;
            Some(Self { side: side.parse().ok()?, frames: frames.parse().ok()?, epochs: epochs.parse().ok()? })
        };
        let phase = parse().ok_or_else(|| format!("`{text}` is not SIDExFRAMES:EPOCHS, for example 56x16:10"))?;
        if !(32..=CROP).contains(&phase.side) || ![8, FRAMES].contains(&phase.frames) {
            return Err(format!("`{text}`: the side must be 32 to {CROP} pixels, the frames 8 or {FRAMES}"));
        }
        Ok(phase)
    }
}

/// Settings of a run; the flags of `desumnet-train pretrain`.
#[derive(Clone, Debug, clap::Args, serde::Serialize)]
pub struct Settings {
    /// Passes over the videos with whole clips (paper, section 4: 15)
    #[arg(long, default_value_t = 15)]
    pub epochs: usize,
    /// Epochs before those on small clips, which cost less: SIDExFRAMES:EPOCHS,... (our choice: progressive resizing)
    #[arg(long, value_delimiter = ',', value_name = "PHASES")]
    pub small: Vec<Phase>,
    /// Clips drawn from each video in an epoch
    #[arg(long, default_value_t = 1, value_parser = positive)]
    pub clips_per_video: usize,
    /// Clips in a minibatch (paper, section 4: 50)
    #[arg(long, default_value_t = 50, value_parser = positive)]
    pub batch: usize,
    #[arg(long, value_enum, default_value_t = Optimizer::Sgd)]
    pub optimizer: Optimizer,
    /// First (step) or highest (cosine) learning rate (paper, section 4: 0.003)
    #[arg(long, default_value_t = 0.003)]
    pub learning_rate: f64,
    #[arg(long, value_enum, default_value_t = Schedule::Step)]
    pub schedule: Schedule,
    /// Epochs between falls of the learning rate (paper, section 4: 4)
    #[arg(long, default_value_t = 4)]
    pub step_epochs: usize,
    /// Momentum of SGD (paper, section 4: 0.9)
    #[arg(long, default_value_t = 0.9)]
    pub momentum: f64,
    /// Weight decay (paper, section 4: 0.005)
    #[arg(long, default_value_t = 0.005)]
    pub weight_decay: f64,
    /// Share of the target that is spread over all categories (our choice)
    #[arg(long, default_value_t = 0.0)]
    pub label_smoothing: f64,
    /// Vary contrast, brightness and colour of whole clips (our choice)
    #[arg(long)]
    pub colour_jitter: bool,
    /// Seed of everything that is random
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&n| n > 0).ok_or_else(|| "give a whole number of at least 1".into())
}

impl Settings {
    /// Small clips first, then whole ones.
    fn phases(&self) -> Vec<Phase> {
        let whole = Phase { side: CROP, frames: FRAMES, epochs: self.epochs };
        self.small.iter().copied().chain([whole]).collect()
    }

    /// Epochs of all phases.
    pub fn all_epochs(&self) -> usize {
        self.phases().iter().map(|phase| phase.epochs).sum()
    }

    /// The clips of an epoch.
    pub fn phase(&self, epoch: usize) -> Phase {
        let mut before = 0;
        let phases = self.phases();
        let found = phases.iter().find(|phase| {
            before += phase.epochs;
            epoch < before
        });
        *found.unwrap_or(&phases[phases.len() - 1])
    }

    /// Learning rate when `done` (0 to [`Self::all_epochs`]) epochs are over, fractions included. The cosine runs over
    /// the work, in which small clips count less.
    pub fn learning_rate_at(&self, done: f64) -> f64 {
        match self.schedule {
            Schedule::Step => self.learning_rate * 0.1f64.powi((done / self.step_epochs.max(1) as f64).floor() as i32),
            Schedule::Cosine => {
                let (mut worked, mut work, mut left) = (0.0, 0.0, done);
                for phase in self.phases() {
                    worked += phase.cost() * left.clamp(0.0, phase.epochs as f64);
                    work += phase.cost() * phase.epochs as f64;
                    left -= phase.epochs as f64;
                }
                let share = worked / work;
                let warm_up = (share / WARM_UP).min(1.0);
                let fall = ((share - WARM_UP) / (1.0 - WARM_UP)).max(0.0);
                self.learning_rate * warm_up * 0.5 * (1.0 + (std::f64::consts::PI * fall).cos())
            }
        }
    }
}

/// What a finished step tells.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub epoch: usize,
    /// Clips seen in this epoch so far, and in all of it.
    pub clips: usize,
    pub of: usize,
    /// Means over the epoch so far.
    pub loss: f64,
    pub accuracy: f64,
}

/// Why training stopped.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    #[error("the loss is no longer a number in epoch {0}: training diverged; start again with a lower --learning-rate")]
    Diverged(usize),
    #[error("libtorch failed: {0}")]
    Torch(#[from] TchError),
}

/// A run in progress.
pub struct Trainer<'a> {
    data: &'a Dataset,
    settings: Settings,
    device: Device,
    store: nn::VarStore,
    network: TrainingNetwork,
    optimizer: nn::Optimizer,
    mean: [f64; 3],
    std: [f64; 3],
}

/// Clips of one minibatch, cut but not yet resized: `[16, side, side, 3]` bytes each.
struct Batch {
    clips: Vec<(Vec<u8>, View, Colour)>,
    labels: Vec<i64>,
}

impl<'a> Trainer<'a> {
    /// # Errors
    /// From libtorch.
    pub fn new(data: &'a Dataset, widths: &[i64; 7], settings: Settings, device: Device) -> Result<Self, TchError> {
        tch::manual_seed(settings.seed as i64);
        let store = nn::VarStore::new(device);
        let network = TrainingNetwork::new(&store.root(), widths, data.categories.len())?;
        let mut optimizer = match settings.optimizer {
            Optimizer::Sgd => nn::Sgd { momentum: settings.momentum, wd: settings.weight_decay, ..Default::default() }
                .build(&store, settings.learning_rate)?,
            Optimizer::Adamw => {
                nn::AdamW { wd: settings.weight_decay, ..Default::default() }.build(&store, settings.learning_rate)?
            }
        };
        optimizer.set_weight_decay_group(UNDECAYED, 0.0);
        let (mean, std) = data.pixel_statistics();
        Ok(Self { data, settings, device, store, network, optimizer, mean, std })
    }

    /// Number of weights that are learned.
    pub fn parameters(&self) -> usize {
        self.store.trainable_variables().iter().map(Tensor::numel).sum()
    }

    /// Runs one epoch; `progress` hears of every step.
    ///
    /// # Errors
    /// [`TrainError`]
    pub fn epoch(&mut self, epoch: usize, mut progress: impl FnMut(Step)) -> Result<(), TrainError> {
        let phase = self.settings.phase(epoch);
        let (data, settings) = (self.data, self.settings.clone());
        let of = data.videos.len() * settings.clips_per_video;
        let (mut clips, mut loss_sum, mut right) = (0, 0.0, 0.0);
        std::thread::scope(|scope| {
            // Two batches ahead, so that the network never waits for pixels.
            let (sender, batches) = mpsc::sync_channel(2);
            scope.spawn(move || {
                for batch in draw(data, &settings, epoch) {
                    if sender.send(batch).is_err() {
                        break;
                    }
                }
            });
            for batch in batches {
                let n = batch.labels.len();
                let done = epoch as f64 + clips as f64 / of as f64;
                self.optimizer.set_lr(self.settings.learning_rate_at(done));
                let (loss, correct) = self.step(&batch, phase)?;
                if !loss.is_finite() {
                    return Err(TrainError::Diverged(epoch + 1));
                }
                clips += n;
                loss_sum += loss * n as f64;
                right += correct;
                let seen = clips as f64;
                progress(Step { epoch, clips, of, loss: loss_sum / seen, accuracy: right / seen });
            }
            Ok(())
        })
    }

    /// One minibatch: mean loss, and how many of its clips were named right.
    fn step(&mut self, batch: &Batch, phase: Phase) -> Result<(f64, f64), TchError> {
        let input = self.input(batch, phase)?;
        let labels = Tensor::f_from_slice(&batch.labels)?.f_to_device(self.device)?;
        let logits = self.network.logits(&input, true)?;
        let loss = logits.f_cross_entropy_loss(
            &labels,
            None::<&Tensor>,
            tch::Reduction::Mean,
            -100,
            self.settings.label_smoothing,
        )?;
        self.optimizer.zero_grad();
        loss.f_backward()?;
        self.optimizer.clip_grad_norm(MAX_GRADIENT);
        self.optimizer.step();
        self.network.keep_monotonic()?;
        let right = logits.f_argmax(-1, false)?.f_eq_tensor(&labels)?.f_sum(Kind::Float)?;
        Ok((loss.f_double_value(&[])?, right.f_double_value(&[])?))
    }

    /// `[N, 3, frames, side, side]`, normalised, channels-last.
    fn input(&self, batch: &Batch, phase: Phase) -> Result<Tensor, TchError> {
        let size = phase.side as i64;
        let step = (FRAMES / phase.frames) as i64;
        let rgb = |v: [f64; 3]| {
            Tensor::f_from_slice(&v)?.f_to_kind(Kind::Float)?.f_to_device(self.device)?.f_view([3, 1, 1, 1])
        };
        let (mean, std) = (rgb(self.mean)?, rgb(self.std)?);
        let clips = batch
            .clips
            .iter()
            .map(|(bytes, view, colour)| {
                let side = view.side as i64;
                let pixels = Tensor::f_from_data_size(bytes, &[FRAMES as i64, side, side, 3], Kind::Uint8)?
                    .f_slice(0, None, None, step)?
                    .f_to_device(self.device)?
                    .f_to_kind(Kind::Float)?
                    .f_permute([0, 3, 1, 2])?;
                let pixels = pixels.f_internal_upsample_bilinear2d_aa([size, size], false, None, None)?;
                let pixels = if view.flip { pixels.f_flip([3])? } else { pixels };
                colour.apply(&pixels.f_permute([1, 0, 2, 3])?.f_sub(&mean)?.f_div(&std)?)
            })
            .collect::<Result<Vec<_>, _>>()?;
        channels_last(&Tensor::f_stack(&clips, 0)?)
    }

    /// The network as it stands, in the form that scores.
    ///
    /// # Errors
    /// From libtorch.
    pub fn model(&self, provenance: serde_json::Value) -> Result<Model, TchError> {
        let categories = self.data.categories.clone();
        self.network.to_model(Header { categories, mean: self.mean, std: self.std, provenance })
    }
}

/// An epoch's minibatches, in the order that the seed and the epoch give. The last, if short, is left out: batch
/// normalisation needs company.
fn draw<'a>(data: &'a Dataset, settings: &'a Settings, epoch: usize) -> impl Iterator<Item = Batch> + 'a {
    let mut rng = StdRng::seed_from_u64(settings.seed.wrapping_mul(0x9E37_79B9).wrapping_add(epoch as u64));
    let mut order: Vec<usize> =
        (0..data.videos.len() * settings.clips_per_video).map(|i| i % data.videos.len()).collect();
    order.shuffle(&mut rng);
    let batch = settings.batch.min(order.len());
    let batches: Vec<Vec<usize>> = order.chunks_exact(batch).map(<[usize]>::to_vec).collect();
    batches.into_iter().map(move |indices| {
        let (mut clips, mut labels) = (Vec::new(), Vec::new());
        for index in indices {
            let video = &data.videos[index];
            let view = View::random(&mut rng);
            let colour = if settings.colour_jitter { Colour::random(&mut rng) } else { Colour::SAME };
            clips.push((video.random_clip(&mut rng).crop(view.left, view.top, view.side), view, colour));
            labels.push(video.category as i64);
        }
        Batch { clips, labels }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        settings: Settings,
    }

    #[test]
    fn defaults_are_the_papers() {
        let s = Flags::parse_from(["test"]).settings;
        assert_eq!((s.epochs, s.batch, s.momentum, s.weight_decay), (15, 50, 0.9, 0.005));
        let rates: Vec<f64> = [0.0, 3.99, 4.0, 8.0, 14.9].iter().map(|&e| s.learning_rate_at(e)).collect();
        for (got, expected) in rates.iter().zip([3e-3, 3e-3, 3e-4, 3e-5, 3e-6]) {
            assert!((got / expected - 1.0).abs() < 1e-12, "{rates:?}");
        }
    }

    #[test]
    fn cosine_rises_and_falls_over_the_work() {
        let flags = ["test", "--schedule", "cosine", "--small", "56x16:60", "--epochs", "5", "--learning-rate", "0.1"];
        let s = Flags::parse_from(flags).settings;
        assert_eq!((s.all_epochs(), s.phase(59).side, s.phase(60).side), (65, 56, 112));
        // Small epochs count a quarter: the work is 60 / 4 + 5 = 20, its first 3 the warm-up.
        let rate = |e| s.learning_rate_at(e);
        assert_eq!(rate(0.0), 0.0);
        assert!((rate(6.0) - 0.05).abs() < 1e-12 && (rate(12.0) - 0.1).abs() < 1e-12);
        assert!((rate(46.0) - 0.05).abs() < 1e-12 && rate(65.0) < 1e-12);
    }

    #[test]
    fn phases_are_checked() {
        assert_eq!("40x8:12".parse::<Phase>().unwrap(), Phase { side: 40, frames: 8, epochs: 12 });
        for wrong in ["40x8", "40:8", "8x16:1", "113x16:1", "56x4:1", "x"] {
            assert!(wrong.parse::<Phase>().is_err(), "{wrong}");
        }
    }
}
