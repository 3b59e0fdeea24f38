//! A training run, whatever it begins from: epochs, validation, checkpoints, the run's log and the model file.

use std::{
    error::Error,
    fs::File,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use desumnet_engine::network::{Device, Model, Network, Precision, Storage};
use desumnet_files::whole_file::WRITING;
use desumnet_frames::clip::CROP;
use desumnet_torch::TorchNetwork;
use desumnet_train::training::{
    accuracy,
    data::{Dataset, Seen},
    log::{EpochMetrics, RunLog, Validation},
    network::Fc6,
    settings::Settings,
    trainer::{Start, Step, Trainer},
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
    #[arg(long, value_name = "MINUTES", default_value_t = 10.0, value_parser = minutes)]
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

fn minutes(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|n: &f64| *n >= 0.0).ok_or_else(|| "give a number of minutes, 0 for every step".into())
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
        let device = desumnet_torch::resolve(self.device)?;
        Ok((device, desumnet_torch::resolve_precision(self.precision, device)?))
    }

    /// A model file on the device that was given.
    ///
    /// # Errors
    /// A bad file, or no such device.
    pub fn network(&self, model: &Path) -> Result<Network, Box<dyn Error>> {
        Ok(Network::load(model, self.device, self.precision)?)
    }

    /// As it was given.
    pub fn device_name(&self) -> Device {
        self.device
    }

    fn folder(&self) -> PathBuf {
        self.run.clone().unwrap_or_else(|| self.output.with_extension("run"))
    }

    /// Finds out what can be found out before the videos are decoded; whether there is anything to do. The network's fc6
    /// has this form, and begins or learns from these files.
    ///
    /// # Errors
    /// If there is nothing to train, the device is not there, the output can't be written, or work would be lost.
    pub fn begins<'a>(&self, fc6: Fc6, from: impl IntoIterator<Item = &'a PathBuf>) -> Result<bool, Box<dyn Error>> {
        let (settings, output) = (&self.settings, self.output.display());
        if settings.all_epochs() == 0 {
            return Err("nothing to train: give --epochs or --small at least one epoch".into());
        }
        settings.check_fc6(fc6)?;
        self.device()?;
        check_writable(&self.output)?;
        let (folder, same) =
            (self.folder(), |a: &Path, b: &Path| Some(a.canonicalize().ok()? == b.canonicalize().ok()?));
        std::fs::create_dir_all(&folder)
            .map_err(|e| format!("{} can't be made: {e}; give another --run", folder.display()))?;
        if from.into_iter().any(|from| same(from, &self.output) == Some(true)) {
            return Err(format!("{output} is the model to begin or learn from; give another --output").into());
        }
        let checkpoint = folder.join(CHECKPOINT);
        match (checkpoint.exists(), self.resume) {
            (true, true) => Ok(true),
            (true, false) => Err(format!(
                "{} is of a run that did not end; go on with --resume, or remove it to begin anew",
                checkpoint.display()
            )
            .into()),
            (false, _) if !self.output.exists() => Ok(true),
            (false, true) if self.finished() => {
                say!("{output} is finished already");
                Ok(false)
            }
            (false, true) => Ok(true),
            (false, false) => Err(format!("{output} is there already; remove it or give another --output").into()),
        }
    }

    /// Whether the output is of a whole run.
    fn finished(&self) -> bool {
        let done = Model::load(&self.output).ok().and_then(|model| model.header.provenance["epochs_done"].as_u64());
        done.is_some_and(|done| done as usize >= self.settings.all_epochs())
    }
}

/// Name of the checkpoint in a run's folder; it is there from the first to the last epoch.
const CHECKPOINT: &str = "checkpoint.safetensors";

/// Type of the weights in a model file: half as large as float32, and scored as well.
const WRITTEN: Storage = Storage::Bf16;

/// A model ready to score on a device: by our own kernels, unless that is a GPU.
fn network(model: &Model, device: tch::Device) -> Result<Network, Box<dyn Error>> {
    Ok(match device {
        tch::Device::Cpu => Network::new(model.clone())?,
        gpu => Network::of(Box::new(TorchNetwork::new(model, gpu, Kind::Float)?)),
    })
}

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
    let _alone = lock(&folder)?;
    let checkpoint = folder.join(CHECKPOINT);
    let resumes = args.resume && checkpoint.exists();
    if resumes {
        trainer.resume(&checkpoint)?;
        say!("going on after {} epochs, at step {}", trainer.epochs_done(), trainer.steps());
    }
    let mut log = RunLog::open(&folder, trainer.epochs_done(), trainer.steps())?;
    say!(
        "{} videos in {} categories, {} weights, on {device:?} in {kind:?}; {} videos for validation",
        data.videos.len(),
        data.categories.len(),
        trainer.parameters(),
        validation.map_or(0, |set| set.videos.len()),
    );
    let epochs = args.settings.all_epochs();
    let (began, share) = (Instant::now(), |done: usize| args.settings.share_done(done as f64));
    let before = share(trainer.epochs_done());
    while !trainer.finished() {
        let epoch = trainer.epochs_done();
        let meter = Meter::new(epoch + 1, epochs, trainer.clips_done())?;
        let (mut rate, mut saved, mut logs) = (0.0, Instant::now(), true);
        let done = trainer.epoch(|state, step| {
            rate = meter.show(&step);
            // A disk without room is said once an epoch.
            if logs {
                logs = warn(log.step(step.steps, step.step_loss, step.learning_rate));
            }
            if saved.elapsed().as_secs_f64() >= 60.0 * args.checkpoint_minutes {
                warn(state.save(&checkpoint));
                saved = Instant::now();
            }
        })?;
        let seconds = meter.finish();
        let mut provenance = provenance.clone();
        provenance["settings"] = serde_json::json!(args.settings);
        provenance["epochs_done"] = trainer.epochs_done().into();
        provenance["data"] = serde_json::json!({
            "videos": data.videos.len(),
            "categories": data.categories.len(),
            "recordings": Seen::of(data.videos.iter().chain(&data.none).map(|video| video.marks.as_slice())).digits(),
        });
        let mut line = format!("epoch {}/{epochs}", epoch + 1);
        line += &format!("  loss {:.3}  accuracy {:.3}  {rate:.1} clips/s", done.loss, done.accuracy);
        // By the work, of which whole clips are most.
        let (over, left) = (share(epoch + 1) - before, 1.0 - share(epoch + 1));
        line += &format!("  {:.0} min left", began.elapsed().as_secs_f64() * left / over / 60.0);
        // Small clips say little of how whole ones will do, and measuring those takes longer than a small epoch.
        let whole = args.settings.phase(epoch).side == CROP || trainer.finished();
        let mut measured = None;
        // What is measured is what is written: normalisation folded in, weights rounded.
        let mut model = trainer.model(provenance)?.rounded(WRITTEN);
        if let Some(set) = validation.filter(|_| whole) {
            let network = network(&model, device)?;
            let found = accuracy::measure(&network, set, 1, args.settings.seed, |_| {})?;
            let (video, clip, loss) = (found.video_accuracy.mean, found.clip_accuracy, found.loss);
            line += &format!("  |  validation: videos {video:.3}  clips {clip:.3}  loss {loss:.3}");
            model.header.provenance["validation"] = serde_json::json!({
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
        say!("{line}");
        if trainer.finished() {
            // The checkpoint of the epoch before stays if this fails: --resume then runs the last epoch again.
            model.save(&args.output, WRITTEN)?;
            let _ = std::fs::remove_file(&checkpoint);
        } else {
            warn(trainer.save(&checkpoint));
            warn(model.save(&args.output, WRITTEN));
        }
    }
    say!("model written to {}, the run's curves to {}", args.output.display(), folder.join("curves.svg").display());
    Ok(())
}

/// What a run can do without is said and not its end: a full disk may have room again at the next epoch. Whether all is well.
fn warn<T, E: std::fmt::Display>(result: Result<T, E>) -> bool {
    result.inspect_err(|error| say!("desumnet-train: warning: {error}")).is_ok()
}

/// Keeps other runs out of a run's folder, and removes what a killed one was writing.
fn lock(folder: &Path) -> Result<File, Box<dyn Error>> {
    let unusable = |e: std::io::Error| format!("{} can't be written: {e}; give another --run", folder.display());
    let file = File::create(folder.join("lock")).map_err(unusable)?;
    if file.try_lock().is_err() {
        return Err(format!("another run uses {}; wait for its end, or give another --run", folder.display()).into());
    }
    for entry in folder.read_dir().map_err(unusable)?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(WRITING) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
    Ok(file)
}

/// Progress of an epoch: a bar on a terminal, a line a minute elsewhere.
struct Meter {
    bar: ProgressBar,
    began: Instant,
    /// Clips that an earlier process has seen.
    before: usize,
    said: std::cell::Cell<Instant>,
}

impl Meter {
    fn new(epoch: usize, of: usize, before: usize) -> Result<Self, Box<dyn Error>> {
        let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} clips  {msg}  {eta} left")?;
        let bar = ProgressBar::new(0).with_style(style).with_prefix(format!("epoch {epoch}/{of}"));
        bar.set_position(before as u64);
        bar.reset_eta();
        let now = Instant::now();
        Ok(Self { bar, began: now, before, said: now.into() })
    }

    /// Clips a second so far.
    fn show(&self, step: &Step) -> f64 {
        let seconds = self.began.elapsed().as_secs_f64();
        let rate = (step.clips - self.before) as f64 / seconds.max(1e-9);
        self.bar.set_length(step.of as u64);
        self.bar.set_position(step.clips as u64);
        let message = format!("loss {:.3}  accuracy {:.3}  {rate:.1} clips/s", step.loss, step.accuracy);
        if self.bar.is_hidden() && self.said.get().elapsed() > Duration::from_secs(60) {
            self.said.set(Instant::now());
            let left = (step.of - step.clips) as f64 / rate;
            say!("{}: {}/{} clips  {message}  {left:.0} s left", self.bar.prefix(), step.clips, step.of);
        }
        self.bar.set_message(message);
        rate
    }

    /// Seconds that the epoch took.
    fn finish(&self) -> f64 {
        self.bar.finish_and_clear();
        self.began.elapsed().as_secs_f64()
    }
}

/// Finds out before the work whether a file can be written after it.
///
/// # Errors
/// If it can't.
pub fn check_writable(output: &Path) -> Result<(), Box<dyn Error>> {
    let parent = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(".".as_ref());
    tempfile::tempfile_in(parent)
        .map_err(|e| format!("{} can't be written: {e}; make the folder or give another --output", output.display()))?;
    Ok(())
}

/// What a model file says of its making.
pub fn made_by(verb: &str) -> serde_json::Value {
    serde_json::json!({ "made_by": format!("desumnet-train {verb} {}", env!("CARGO_PKG_VERSION")) })
}

/// The name of a model's file, and where that came from: for the provenance of what is made from it.
pub fn origin(path: &Path, model: &Model) -> serde_json::Value {
    serde_json::json!({ "file": file_name(path), "provenance": model.header.provenance })
}

/// The last part of a path.
pub fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
