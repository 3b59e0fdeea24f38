//! `desumnet-train accuracy`: how well a model names the categories of videos (paper, section 4).

use std::{error::Error, path::PathBuf};

use gstdesumnet::{
    network::{Device, Network, Precision},
    nick::nick,
    report::{confusion, document},
    training::{
        accuracy::{DRAWS, measure},
        settings::positive,
    },
    whole_file,
};

use crate::data::{self, progress_bar};

/// Measures how well a model names the categories of videos: the mean prediction of 10 random segments, over five such sets (paper,
/// section 4)
#[derive(clap::Args)]
pub struct Args {
    /// The model
    #[arg(long)]
    model: PathBuf,
    #[command(flatten)]
    source: data::Source,
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
    #[arg(long, default_value = "auto", value_parser = nick::<Precision>)]
    precision: Precision,
    /// Random sets of segments (paper, section 4: 5)
    #[arg(long, default_value_t = DRAWS, value_parser = positive)]
    sets: usize,
    /// Seed of the sets
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let network = Network::load(&args.model, args.device, args.precision)?;
    let set = args.source.for_measuring(&network.header.categories)?;
    let bar = progress_bar("naming", "videos")?;
    bar.set_length(set.videos.len() as u64);
    let found = measure(&network, &set, args.sets, args.seed, |done| bar.set_position(done as u64))?;
    bar.finish_and_clear();
    if let Some(path) = &args.confusion {
        let picture = confusion::svg(&set.categories, &found.confusion)?;
        whole_file::write(path, picture.as_bytes()).map_err(|e| {
            format!("{} can't be written: {e}; check the folder and the free disk space", path.display())
        })?;
    }
    match &args.json {
        Some(path) => document::write(path, &found)?,
        None => {
            let (videos, sets) = (found.videos, args.sets);
            println!(
                "{:>6.3} +- {:.3}  of {videos} videos, {sets} sets",
                found.video_accuracy.mean, found.video_accuracy.std
            );
            println!("{:>6.3}           of {} segments", found.clip_accuracy, found.clips);
            for (category, of) in &found.per_category {
                if let Some(share) = of.video_accuracy {
                    println!("{share:>6.3}           of {} videos of {category}", of.videos);
                }
            }
        }
    }
    Ok(())
}
