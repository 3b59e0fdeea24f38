//! A training run, whatever it begins from: epochs, validation, checkpoints, the run's log and the model file.

use std::{
    error::Error,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use gstdesumnet::{
    clip::CROP,
    network::{Device, Network, Precision},
    training::{
        accuracy,
        data::Dataset,
        log::{EpochMetrics, RunLog, Validation},
        settings::Settings,
        trainer::{Start, Step, Trainer},
    },
};
use indicatif::{ProgressBar, ProgressStyle};
use tch::Kind;

/// Flags that all training verbs have.
#[derive(clap::Args)]
pub struct Flags {
    /// The model file; written after every epoch
    #[arg(long)]
    output: PathBuf,
    /// Folder for the run's checkpoint, TensorBoard events, metrics.csv and curves.svg [default: OUTPUT with .run for its
    /// extension]
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
    /// Go on from the run's checkpoint, exactly as if it had never stopped; begins anew where there is none
    #[arg(long)]
    resume: bool,
    /// Minutes between checkpoints within an epoch; there is one after every epoch too
    #[arg(long, value_name = "MINUTES", default_value_t = 10.0)]
    checkpoint_minutes: f64,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: Device,
    /// Of the convolutions: auto, f32 or bf16 (mixed precision: weights and sums stay float32)
    #[arg(long, default_value = "auto", value_parser = precision)]
    precision: Precision,
    #[command(flatten)]
    pub settings: Settings,
}

fn precision(text: &str) -> Result<Precision, String> {
    match text {
        "auto" => Ok(Precision::Auto),
        "f32" => Ok(Precision::F32),
        "bf16" => Ok(Precision::Bf16),
        _ => Err("use auto, f32 or bf16".into()),
    }
}

/// A verb's own defaults for these flags: name, value, help.
pub fn with_defaults(
    mut command: clap::Command,
    defaults: &[(&'static str, &'static str, &'static str)],
) -> clap::Command {
    for &(name, value, help) in defaults {
        command = command.mut_arg(name, |arg| arg.default_value(value).help(help));
    }
    command
}

impl Flags {
    /// # Errors
    /// If the device is not there.
    pub fn device(&self) -> Result<(tch::Device, Kind), Box<dyn Error>> {
        let device = self.device.resolve()?;
        Ok((device, self.precision.resolve(device)?))
    }

    fn folder(&self) -> PathBuf {
        self.run.clone().unwrap_or_else(|| self.output.with_extension("run"))
    }

    /// What can be found out before the videos are decoded.
    ///
    /// # Errors
    /// If there is nothing to train, the output can't be written, or another run's state would be lost.
    pub fn check(&self) -> Result<(), Box<dyn Error>> {
        if self.settings.all_epochs() == 0 {
            return Err("nothing to train: give --epochs or --small at least one epoch".into());
        }
        let folder = self.output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(".".as_ref());
        tempfile::tempfile_in(folder).map_err(|e| {
            format!("{} can't be written: {e}; make the folder or give another --output", self.output.display())
        })?;
        let checkpoint = self.folder().join(CHECKPOINT);
        if checkpoint.exists() && !self.resume {
            return Err(format!(
                "{} is of a run that did not end; go on with --resume, or remove it to begin anew",
                checkpoint.display()
            )
            .into());
        }
        Ok(())
    }
}

/// Name of the checkpoint in a run's folder; it is there from the first to the last epoch.
const CHECKPOINT: &str = "checkpoint.safetensors";

/// Trains from the first epoch, or the checkpoint, to the last.
///
/// # Errors
/// If training fails, or the model can't be written in the end.
pub fn train(
    args: &Flags,
    data: &Dataset,
    validation: Option<&Dataset>,
    start: &Start,
    provenance: &serde_json::Value,
) -> Result<(), Box<dyn Error>> {
    let (device, kind) = args.device()?;
    let mut trainer = Trainer::new(data, start, args.settings.clone(), device, kind)?;
    let folder = args.folder();
    std::fs::create_dir_all(&folder)
        .map_err(|e| format!("{} can't be made: {e}; give another --run", folder.display()))?;
    let checkpoint = folder.join(CHECKPOINT);
    let resumes = args.resume && checkpoint.exists();
    if resumes {
        trainer.resume(&checkpoint)?;
        eprintln!("going on after {} epochs, at step {}", trainer.epochs_done(), trainer.steps());
    }
    let mut log = RunLog::open(&folder, trainer.epochs_done(), trainer.steps())?;
    eprintln!(
        "{} videos in {} categories, {} weights, on {device:?} in {kind:?}; {} videos for validation",
        data.videos.len(),
        data.categories.len(),
        trainer.parameters(),
        validation.map_or(0, |set| set.videos.len()),
    );
    let epochs = args.settings.all_epochs();
    while !trainer.finished() {
        let epoch = trainer.epochs_done();
        let meter = Meter::new(epoch + 1, epochs)?;
        let (mut first, mut rate, mut saved) = (None, 0.0, Instant::now());
        let done = trainer.epoch(|state, step| {
            // The first step waits for the first clips, and is not counted.
            let (clips, began) = *first.get_or_insert((step.clips, Instant::now()));
            rate = (step.clips - clips) as f64 / began.elapsed().as_secs_f64().max(1e-9);
            meter.show(&step);
            warn(log.step(step.steps, step.step_loss, step.learning_rate));
            if saved.elapsed().as_secs_f64() >= 60.0 * args.checkpoint_minutes {
                warn(state.save(&checkpoint));
                saved = Instant::now();
            }
        })?;
        let seconds = meter.finish();
        let mut provenance = provenance.clone();
        provenance["settings"] = serde_json::json!(args.settings);
        provenance["epochs_done"] = trainer.epochs_done().into();
        provenance["data"] = serde_json::json!({ "videos": data.videos.len(), "categories": data.categories.len() });
        let mut line = format!("epoch {}/{epochs}", epoch + 1);
        line += &format!("  loss {:.3}  accuracy {:.3}  {rate:.1} clips/s", done.loss, done.accuracy);
        // Small clips say little of how whole ones will do, and measuring those takes longer than a small epoch.
        let whole = args.settings.phase(epoch).side == CROP || trainer.finished();
        let mut measured = None;
        if let Some(set) = validation.filter(|_| whole) {
            // Of the network that scores, normalisation folded in: what the element will run.
            let network = Network::new(trainer.model(serde_json::Value::Null)?, device, Kind::Float)?;
            let found = accuracy::measure(&network, set, 1, args.settings.seed, |_| {})?;
            let (video, clip, loss) = (found.video_accuracy.mean, found.clip_accuracy, found.loss);
            line += &format!("  |  validation: videos {video:.3}  clips {clip:.3}  loss {loss:.3}");
            provenance["validation"] = serde_json::json!({
                "videos": set.videos.len(), "video_accuracy": video, "clip_accuracy": clip, "loss": loss,
            });
            measured = Some(Validation { video, clip, loss });
        }
        warn(log.epoch(&EpochMetrics {
            epoch: epoch + 1,
            step: done.steps,
            learning_rate: args.settings.learning_rate_at((epoch + 1) as f64),
            loss: done.loss,
            accuracy: done.accuracy,
            validation: measured,
            clips_per_second: rate,
            seconds,
        }));
        let written = trainer.model(provenance)?.save(&args.output, Kind::BFloat16);
        eprintln!("{line}");
        if trainer.finished() {
            // The checkpoint of the epoch before stays if this fails: --resume then runs the last epoch again.
            written?;
            let _ = std::fs::remove_file(&checkpoint);
        } else {
            warn(written);
            warn(trainer.save(&checkpoint));
        }
    }
    eprintln!(
        "model written to {}, the run's curves to {}",
        args.output.display(),
        folder.join("curves.svg").display()
    );
    Ok(())
}

/// What a run can do without is said and not its end: a full disk may have room again at the next epoch.
fn warn<T, E: std::fmt::Display>(result: Result<T, E>) {
    if let Err(error) = result {
        eprintln!("desumnet-train: warning: {error}");
    }
}

/// Progress of an epoch: a bar on a terminal, a line a minute elsewhere.
struct Meter {
    bar: ProgressBar,
    said: std::cell::Cell<Instant>,
}

impl Meter {
    fn new(epoch: usize, of: usize) -> Result<Self, Box<dyn Error>> {
        let style =
            ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} clips  {msg}  {per_sec}  {eta} left")?;
        let bar = ProgressBar::new(0).with_style(style).with_prefix(format!("epoch {epoch}/{of}"));
        Ok(Self { bar, said: Instant::now().into() })
    }

    fn show(&self, step: &Step) {
        self.bar.set_length(step.of as u64);
        self.bar.set_position(step.clips as u64);
        self.bar.set_message(format!("loss {:.3} accuracy {:.3}", step.loss, step.accuracy));
        if self.bar.is_hidden() && self.said.get().elapsed() > Duration::from_secs(60) {
            self.said.set(Instant::now());
            let (per_second, left) = (self.bar.per_sec(), self.bar.eta().as_secs());
            let (clips, of, loss) = (step.clips, step.of, step.loss);
            eprintln!(
                "{}: {clips}/{of} clips  loss {loss:.3}  {per_second:.1} clips/s  {left} s left",
                self.bar.prefix()
            );
        }
    }

    /// Seconds that the epoch took.
    fn finish(&self) -> f64 {
        self.bar.finish_and_clear();
        self.bar.elapsed().as_secs_f64()
    }
}

/// What a model file says of its making.
pub fn made_by(verb: &str) -> serde_json::Value {
    serde_json::json!({ "made_by": format!("desumnet-train {verb} {}", env!("CARGO_PKG_VERSION")) })
}

/// The name of a model's file, and where that came from: for the provenance of what is made from it.
pub fn origin(path: &Path, model: &gstdesumnet::network::Model) -> serde_json::Value {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    serde_json::json!({ "file": name, "provenance": model.header.provenance })
}
