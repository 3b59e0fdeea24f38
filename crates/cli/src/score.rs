//! `desumnet score`: the importance of every segment of a video.

use std::{
    error::Error,
    fmt::Write,
    path::{Path, PathBuf},
};

use clap::{
    ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use desumnet_media::secrets;
use desumnet_offline::VideoScores;
use desumnet_report::document;

use crate::{
    inputs::{Done, Inputs, StdoutFormat, Video},
    reports::{Kind, Reports, paths},
    results::{self, with_ending},
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
    PossibleValuesParser::new(["html", "csv", "svg"]).try_map(|kind| Kind::from_str(&kind, false))
}

pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let (videos, several) = args.inputs.videos()?;
    let file = args.json.as_deref().filter(|path| *path != Path::new("-"));
    if let Some(path) = file.filter(|_| several) {
        results::folder(path, path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json")))?;
    }
    let in_folder = file.is_some_and(Path::is_dir);
    let document = |video: &Video| {
        let name = with_ending(Path::new(&video.stem), "json");
        file.map(|path| if in_folder { path.join(name) } else { path.into() })
    };
    let written = |video: &Video| -> Vec<PathBuf> {
        document(video).into_iter().chain(paths(&args.report, Path::new(&video.stem))).collect()
    };
    results::settle(videos.iter().map(|video| &*video.name), &videos.iter().flat_map(written).collect::<Vec<_>>())?;
    args.inputs.each(&videos, |video| {
        let scores = args.scoring.scores(&video.name)?;
        let reports = Reports { kinds: &args.report, scores: &scores, plan: None, skim: None };
        let mut failed = reports.write(Path::new(&video.stem));
        let mut text = String::new();
        match (document(video), &args.json) {
            (Some(path), _) => failed.extend(document::write(&path, &scores).err().map(|e| e.to_string())),
            (None, None) => text = table(&scores)?,
            // Of both ways to have it on standard output, a document a line is the stricter one.
            (None, Some(_)) if args.inputs.stdout_format == StdoutFormat::Json => {}
            (None, Some(_)) => text = serde_json::to_string_pretty(&scores)? + "\n",
        }
        Ok(Done { document: scores, text, failed })
    })
}

/// For people.
fn table(scores: &VideoScores) -> Result<String, std::fmt::Error> {
    let video = secrets::hide(&scores.video);
    let mut table = match scores.category.as_str() {
        "" => format!("{video}: of no category\n"),
        category => format!("{video}: {category} (probability {:.2})\n", scores.confidence),
    };
    writeln!(table, "{:>8} {:>9} {:>11} {:>11} {:>11}", "segment", "start s", "score", "importance", "confidence")?;
    for s in &scores.segments {
        let start = s.start_ns as f64 / 1e9;
        writeln!(
            table,
            "{:>8} {start:>9.2} {:>11.3e} {:>11.3} {:>11.3}",
            s.index, s.score, s.importance, s.confidence
        )?;
    }
    Ok(table)
}
