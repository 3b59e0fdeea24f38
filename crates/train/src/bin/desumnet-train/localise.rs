//! `desumnet-train localise`: whether importance finds a category's moments in composites.

use std::{error::Error, path::PathBuf};

use desumnet_engine::{
    importance::Aggregation,
    named::named,
    network::{Device, Precision},
};
use desumnet_report::document;
use desumnet_train::training::localise::{self, Localisation, Method, Options};
use indicatif::{ProgressBar, ProgressStyle};

/// Measures how well importance finds a category's moments: average precision of ranking the segments of composites
#[derive(clap::Args)]
pub struct Args {
    /// Model file; it must know the composites' categories
    #[arg(long)]
    model: PathBuf,
    /// Folder of composites, as `desumnet-train compose` writes it; or a JSON file of one video, {"video": NAME, "relevant":
    /// [{"start_s": 1.5, "end_s": 9}]}, which has no category: it is scored for the one that leads so far
    #[arg(long, value_name = "DIR|JSON")]
    composites: PathBuf,
    /// Rank only what begins after so many seconds of a video: what is usual in it is learned there
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0)]
    from: f64,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: Device,
    /// auto, f32, bf16 or f16
    #[arg(long, default_value = "auto", value_parser = named::<Precision>)]
    precision: Precision,
    /// How frame scores become a segment's score: mean or max (G in the paper's section 3.1)
    #[arg(long, default_value = "mean", value_parser = named::<Aggregation>)]
    aggregation: Aggregation,
    /// Score every n-th segment only
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    interval: u64,
    /// Write one JSON document to this file, or to standard output (-)
    #[arg(long, value_name = "FILE|-")]
    json: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let options = Options {
        model: args.model.clone(),
        composites: args.composites.clone(),
        device: args.device,
        precision: args.precision,
        interval: args.interval,
        aggregation: args.aggregation,
        from: (args.from.max(0.0) * 1e9) as u64,
    };
    let bar = ProgressBar::new(0)
        .with_style(ProgressStyle::with_template("scoring {wide_bar} {pos}/{len} s of video  {eta} left")?);
    let result = localise::localise(&options, |done, all| {
        bar.set_length(all / 1_000_000_000);
        bar.set_position(done / 1_000_000_000);
    })?;
    bar.finish_and_clear();
    match &args.json {
        None => desumnet_command_line::tell::print(&table(&result))?,
        Some(path) => document::write(path, &result)?,
    }
    Ok(())
}

/// Average precision by video and method.
fn table(result: &Localisation) -> String {
    let width = result.per_video.iter().map(|video| video.video.len()).max().unwrap_or(0).max(5);
    let row = |name: &str, segments: String, relevant: String, cells: Vec<String>| {
        let cells: String = cells.iter().map(|cell| format!(" {cell:>11}")).collect();
        format!("{name:width$} {segments:>8} {relevant:>8}{cells}\n")
    };
    let figure = |value: f64| format!("{value:.3}");
    let methods = Method::ALL.iter().map(|method| format!("{method:?}").to_lowercase()).collect();
    let mut table = row("video", "segments".into(), "relevant".into(), methods);
    for video in &result.per_video {
        let of = |method| video.ap.as_ref().map_or("-".into(), |ap| figure(ap[method]));
        let cells = Method::ALL.iter().map(of).collect();
        table += &row(&video.video, video.segments.to_string(), figure(video.relevant_share), cells);
    }
    let means = result.ap.values().map(|spread| figure(spread.mean)).collect();
    table += &row("mean", result.segments.to_string(), figure(result.relevant_share), means);
    table + &row("std", String::new(), String::new(), result.ap.values().map(|spread| figure(spread.std)).collect())
}
