//! `desumnet-train accuracy`: how well a model names the categories of videos (paper, section 4).

use std::{
    error::Error,
    path::{Path, PathBuf},
};

use desumnet_engine::{
    named::named,
    network::{Device, Network, Precision},
};
use desumnet_files::whole_file;
use desumnet_report::{confusion, document};
use desumnet_train::{
    evaluation::Spread,
    training::{
        accuracy::{Accuracy, Tally},
        settings::positive,
    },
};

use serde::Serialize;

use crate::data::{self, Measured, progress_bar};

/// Measures how well models name the categories of videos: by the mean prediction of 10 random segments of each (paper, section 4)
///
/// Each model is measured on the videos that it was not trained on. The paper's accuracy is the mean over five models, each of another
/// random split of the videos: train them with --split 1 to 5, and give all five.
#[derive(clap::Args)]
pub struct Args {
    /// The model; or several, each of another --split of the same videos
    #[arg(long, required = true, num_args = 1.., value_name = "MODEL")]
    model: Vec<PathBuf>,
    #[command(flatten)]
    source: data::Source,
    /// Measure on videos that a model was trained on, too: of those it tells what it remembers
    #[arg(long)]
    all: bool,
    /// Write one JSON document to this file, or to standard output (-)
    #[arg(long, value_name = "FILE|-")]
    json: Option<PathBuf>,
    /// Write the confusion matrix to this SVG file
    #[arg(long, value_name = "FILE")]
    confusion: Option<PathBuf>,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: Device,
    /// auto, f32, bf16 or f16
    #[arg(long, default_value = "auto", value_parser = named::<Precision>)]
    precision: Precision,
    /// Random sets of 10 segments of each video, for each model (paper, section 4: 1; more are our choice, where there is one model)
    #[arg(long, default_value_t = 1, value_parser = positive)]
    sets: usize,
    /// Seed of the sets
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// The JSON document.
#[derive(Serialize)]
struct Document {
    #[serde(flatten)]
    accuracy: Accuracy,
    sets: usize,
    models: Vec<OfModel>,
}

/// The videos that a model was measured on.
#[derive(Serialize)]
struct OfModel {
    model: String,
    videos: usize,
    /// Videos left out, as it was trained on them.
    left_out: usize,
    /// Of `videos`, those that it was trained on; `null` where its file does not tell.
    trained_on: Option<usize>,
}

pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let (mut tally, mut models) = (None, Vec::new());
    let mut categories: Vec<String> = Vec::new();
    for path in &args.model {
        let network = Network::load(path, args.device, args.precision)?;
        if tally.is_some() && network.header.categories != categories {
            let (first, path) = (args.model[0].display(), path.display());
            return Err(
                format!("{path} has other categories than {first}: measure models of the same ones together").into()
            );
        }
        categories.clone_from(&network.header.categories);
        let Measured { set, left_out, trained_on } = args.source.for_measuring(path, &network.header, args.all)?;
        say(path, set.videos.len(), left_out, trained_on);
        let bar = progress_bar("naming", "videos")?;
        bar.set_length(set.videos.len() as u64);
        let tally = tally.get_or_insert_with(|| Tally::new(&categories));
        tally.add(&network, &set, args.sets, args.seed, |done| bar.set_position(done as u64))?;
        bar.finish_and_clear();
        models.push(OfModel { model: path.display().to_string(), videos: set.videos.len(), left_out, trained_on });
    }
    let found = tally.unwrap_or_else(|| Tally::new(&[])).accuracy();
    if let Some(path) = &args.confusion {
        let picture = confusion::svg(&categories, &found.confusion)?;
        whole_file::write(path, picture.as_bytes()).map_err(|e| {
            format!("{} can't be written: {e}; check the folder and the free disk space", path.display())
        })?;
    }
    match &args.json {
        Some(path) => document::write(path, &Document { accuracy: found, sets: args.sets, models })?,
        None => desumnet_command_line::tell::print(&text(&found, args))?,
    }
    Ok(())
}

fn say(model: &Path, videos: usize, left_out: usize, trained_on: Option<usize>) {
    let model = model.display();
    if left_out > 0 {
        say!("{model} was trained on {left_out} of {} videos: left out, {videos} remain", left_out + videos);
    }
    match trained_on {
        None => {
            say!("{model} does not tell which videos it was trained on: if these are, this measures its memory")
        }
        Some(0) => {}
        Some(seen) => say!("{model} was trained on {seen} of these {videos} videos, which measures its memory"),
    }
}

fn text(found: &Accuracy, args: &Args) -> String {
    let (videos, models, sets) = (found.videos, args.model.len(), args.sets);
    let Spread { mean, std } = found.video_accuracy;
    let mut text = format!("{mean:>6.3} +- {std:.3}  of {videos} videos, {models} models, {sets} sets of segments\n");
    text += &format!("{:>6.3}           of {} segments\n", found.clip_accuracy, found.clips);
    for (category, of) in &found.per_category {
        if let Some(share) = of.video_accuracy {
            text += &format!("{share:>6.3}           of {} videos of {category}\n", of.videos);
        }
    }
    text
}
