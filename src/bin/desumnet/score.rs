//! `desumnet score`: the importance of every segment of a video.

use std::{
    error::Error,
    path::{Path, PathBuf},
};

use clap::{
    ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use gstdesumnet::{offline::VideoScores, report::document, secrets};

use crate::{
    inputs::{Inputs, StdoutFormat, stem},
    reports::{Kind, Reports},
    scoring::Cached,
};

/// Scores every segment of a video, for the category that it most likely belongs to or for a given one
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    inputs: Inputs,
    /// Write one JSON document to this file, or to standard output (-); of several videos, one each in this folder
    #[arg(long, value_name = "FILE|DIR|-")]
    json: Option<PathBuf>,
    /// Write these into the current folder, named after the video
    #[arg(long, value_parser = kinds(), value_delimiter = ',', value_name = "KIND,..")]
    report: Vec<Kind>,
    #[command(flatten)]
    scoring: Cached,
}

/// The reports that tell more than a skim's cuts.
fn kinds() -> impl TypedValueParser<Value = Kind> {
    PossibleValuesParser::new(["html", "csv"]).try_map(|kind| Kind::from_str(&kind, false))
}

pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    args.inputs.each(|video, several| {
        let scores = args.scoring.scores(video)?;
        if !args.report.is_empty() {
            let reports = Reports { kinds: &args.report, scores: &scores, plan: None, skim: None };
            reports.write(&PathBuf::from(stem(video)))?;
        }
        match &args.json {
            None => print(&scores, args.inputs.stdout_format)?,
            Some(path) => document::write(&place(path, video, several)?, &scores)?,
        }
        Ok(())
    })
}

fn place(path: &Path, video: &str, several: bool) -> Result<PathBuf, Box<dyn Error>> {
    if path == Path::new("-") || !(several || path.is_dir()) {
        return Ok(path.into());
    }
    std::fs::create_dir_all(path).map_err(|e| format!("{} can't be made: {e}; give a folder", path.display()))?;
    Ok(path.join(stem(video) + ".json"))
}

fn print(scores: &VideoScores, format: StdoutFormat) -> Result<(), serde_json::Error> {
    if format == StdoutFormat::Json {
        println!("{}", serde_json::to_string(scores)?);
        return Ok(());
    }
    println!("{}: {} (probability {:.2})", secrets::hide(&scores.video), scores.category, scores.confidence);
    println!("{:>8} {:>9} {:>11} {:>11} {:>11}", "segment", "start s", "score", "importance", "confidence");
    for s in &scores.segments {
        let start = s.start_ns as f64 / 1e9;
        println!("{:>8} {start:>9.2} {:>11.3e} {:>11.3} {:>11.3}", s.index, s.score, s.importance, s.confidence);
    }
    Ok(())
}
