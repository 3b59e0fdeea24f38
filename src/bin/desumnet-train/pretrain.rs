//! `desumnet-train pretrain`: a model from scratch, from a folder of videos per category (paper, section 3.2).

use std::{error::Error, path::PathBuf};

use gstdesumnet::{
    clip::CROP,
    network::{Device, Network, WIDTHS},
    offline::SEGMENTS,
    training::{
        accuracy,
        data::Dataset,
        trainer::{Settings, Trainer},
    },
};
use indicatif::{ProgressBar, ProgressStyle};
use tch::Kind;

/// Trains a model from scratch on a folder that holds a folder of videos per category
#[derive(clap::Args)]
pub struct Args {
    /// Folder of training videos: DATA/CATEGORY/VIDEO
    #[arg(long)]
    data: PathBuf,
    /// Folder of validation videos of the same categories; measured after every epoch of whole clips
    #[arg(long)]
    validation: Option<PathBuf>,
    /// The model file; written after every epoch, so that a run that is stopped leaves its last one
    #[arg(long)]
    output: PathBuf,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: Device,
    #[command(flatten)]
    settings: Settings,
}

pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    gst::init()?;
    if args.settings.all_epochs() == 0 {
        return Err("nothing to train: give --epochs or --small at least one epoch".into());
    }
    // Found out now and not after the first epoch.
    let folder = args.output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(".".as_ref());
    tempfile::tempfile_in(folder).map_err(|e| {
        format!("{} can't be written: {e}; make the folder or give another --output", args.output.display())
    })?;
    let device = args.device.resolve()?;
    let data = load(&args.data, None)?;
    let validation = args.validation.as_ref().map(|folder| load(folder, Some(&data.categories))).transpose()?;
    let mut trainer = Trainer::new(&data, &WIDTHS, args.settings.clone(), device)?;
    eprintln!(
        "{} videos in {} categories, {} weights, on {device:?}",
        data.videos.len(),
        data.categories.len(),
        trainer.parameters()
    );
    let epochs = args.settings.all_epochs();
    for epoch in 0..epochs {
        let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template(
            "{prefix} {wide_bar} {pos}/{len} clips  {msg}  {per_sec}  {eta} left",
        )?);
        bar.set_prefix(format!("epoch {}/{epochs}", epoch + 1));
        let mut last = None;
        trainer.epoch(epoch, |step| {
            bar.set_length(step.of as u64);
            bar.set_position(step.clips as u64);
            bar.set_message(format!("loss {:.3} accuracy {:.3}", step.loss, step.accuracy));
            last = Some(step);
        })?;
        let seconds = bar.elapsed().as_secs_f64();
        bar.finish_and_clear();
        let mut line = format!("epoch {}/{epochs}", epoch + 1);
        if let Some(step) = last {
            let rate = step.clips as f64 / seconds;
            line += &format!("  loss {:.3}  accuracy {:.3}  {rate:.1} clips/s", step.loss, step.accuracy);
        }
        let mut provenance = serde_json::json!({
            "made_by": concat!("desumnet-train pretrain ", env!("CARGO_PKG_VERSION")),
            "data": { "videos": data.videos.len(), "categories": data.categories.len() },
            "settings": args.settings,
            "epochs_done": epoch + 1,
        });
        // Small clips say little of how whole ones will do, and measuring those takes longer than a small epoch.
        let whole = args.settings.phase(epoch).side == CROP;
        if let Some(set) = validation.as_ref().filter(|_| whole) {
            // Of the network that scores, normalisation folded in: what the element will run.
            let network = Network::new(trainer.model(serde_json::Value::Null)?, device, Kind::Float)?;
            let measured = accuracy::measure(&network, set, args.settings.seed)?;
            line += &format!(
                "  |  validation: videos {:.3}  clips {:.3}  loss {:.3}",
                measured.video, measured.clip, measured.loss
            );
            provenance["validation"] = serde_json::json!({
                "videos": set.videos.len(),
                "segments_per_video": SEGMENTS,
                "video_accuracy": measured.video,
                "clip_accuracy": measured.clip,
                "loss": measured.loss,
            });
        }
        trainer.model(provenance)?.save(&args.output, Kind::BFloat16)?;
        eprintln!("{line}");
    }
    eprintln!("model written to {}", args.output.display());
    Ok(())
}

/// Decodes a folder of videos, with a progress bar; names what was left out.
fn load(folder: &std::path::Path, categories: Option<&[String]>) -> Result<Dataset, Box<dyn Error>> {
    let bar = ProgressBar::new(0)
        .with_style(ProgressStyle::with_template("decoding {msg} {wide_bar} {pos}/{len} videos  {eta} left")?)
        .with_message(folder.display().to_string());
    let progress = |done: usize, all: usize| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    };
    let set = match categories {
        None => Dataset::load(folder, progress)?,
        Some(categories) => Dataset::load_like(folder, categories, progress)?,
    };
    bar.finish_and_clear();
    for broken in &set.broken {
        eprintln!("left out: {broken}");
    }
    Ok(set)
}
