//! `desumnet score`: the importance of every segment of a video.

use std::{error::Error, path::PathBuf};

use gstdesumnet::{
    importance::{Aggregation, Form},
    models,
    network::{Device, Precision},
    nick::nick,
    offline::{self, Options, VideoScores},
    report::document,
    segmenter::Stride,
};
use indicatif::{ProgressBar, ProgressStyle};

/// Scores every segment of a video, for the category that it most likely belongs to or for a given one
#[derive(clap::Args)]
pub struct Args {
    /// File or URI
    video: String,
    /// Write one JSON document to this file, or to standard output (-)
    #[arg(long, value_name = "FILE|-")]
    json: Option<PathBuf>,
    /// Model file, or TorchScript with its JSON file beside it [default: the one that comes with the plugin]
    #[arg(long)]
    model: Option<PathBuf>,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: Device,
    /// auto, f32, bf16 or f16
    #[arg(long, default_value = "auto", value_parser = nick::<Precision>)]
    precision: Precision,
    /// Category to score for: auto, or a name of the model's
    #[arg(long, default_value = "auto")]
    category: String,
    /// What is differentiated: weighted, logit or probability
    #[arg(long, default_value = "weighted", value_parser = nick::<Form>)]
    importance: Form,
    /// How frame scores make a segment's: mean or max
    #[arg(long, default_value = "mean", value_parser = nick::<Aggregation>)]
    aggregation: Aggregation,
    /// Sample every n-th frame (0 = so that about 25-30 a second are sampled)
    #[arg(long, default_value_t = 0)]
    frame_stride: u32,
}

pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    gst::init()?;
    let model = args.model.clone().or_else(models::default_model);
    let options = Options {
        model: model
            .ok_or("no model: models/desumnet.safetensors is neither in the source tree nor installed; give --model")?,
        device: args.device,
        precision: args.precision,
        category: args.category.clone(),
        form: args.importance,
        aggregation: args.aggregation,
        stride: Stride::from_setting(args.frame_stride),
    };
    let bar = ProgressBar::new(0)
        .with_style(ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} s of video  {eta} left")?);
    let scores = offline::score(&args.video, &options, |at| {
        let seconds = |ns: u64| ns / 1_000_000_000;
        bar.set_prefix(if at.pass == at.passes { "scoring" } else { "finding the category" });
        bar.set_length(seconds(at.duration.max(at.position)));
        bar.set_position(seconds(at.position));
    })?;
    bar.finish_and_clear();
    match &args.json {
        None => print_table(&scores),
        Some(path) => document::write(path, &scores)?,
    }
    Ok(())
}

fn print_table(scores: &VideoScores) {
    println!("{}: {} (probability {:.2})", scores.video, scores.category, scores.confidence);
    println!("{:>8} {:>9} {:>11} {:>11} {:>11}", "segment", "start s", "score", "importance", "confidence");
    for s in &scores.segments {
        let start = s.start_ns as f64 / 1e9;
        println!("{:>8} {start:>9.2} {:>11.3e} {:>11.3} {:>11.3}", s.index, s.score, s.importance, s.confidence);
    }
}
