//! `desumnet teach`: what a person marked becomes a head, which scores by that.

use std::{
    error::Error,
    ffi::OsString,
    fmt::Write,
    path::{Path, PathBuf},
};

use desumnet_engine::{
    importance::{Aggregation, Form},
    network::{
        Network,
        head::{Base, HeadFile},
    },
    taught::{Example, Lesson, teach},
};
use desumnet_media::secrets;
use desumnet_offline::{
    gather::gather,
    marks::{self, Mark},
    {self, Options, VideoScores},
};
use desumnet_report::clock::clock;
use indicatif::ProgressBar;
use serde_json::json;

use crate::{
    inputs::{apart, stem},
    reports::{Kind, Reports},
    results,
    scoring::{self, Looking, MS},
};
use desumnet_command_line::tell::print;

/// How much better than a random order a head has to rank for it to be worth using: so much of what is left up to a perfect one.
const WORTH: f64 = 0.2;
/// Shots that are told of each video.
const TOLD: usize = 5;

/// Teaches what is wanted by examples: the head that comes of it is a model for all verbs and elements
///
/// The examples are videos, parts of them as in FILE@1:20-1:30, folders of videos, or the marks.jsonl that a report page saves, whose lines say
/// themselves what is wanted. Without any that are not wanted, other moments of the same videos are taken for that.
#[derive(clap::Args)]
pub struct Args {
    /// Videos, parts of them or marks that are wanted
    #[arg(long, required = true, num_args = 1.., value_name = "WHERE")]
    like: Vec<OsString>,
    /// The same of what is not wanted
    #[arg(long, num_args = 1.., value_name = "WHERE")]
    unlike: Vec<OsString>,
    /// File to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Of what is wanted, told where a category would be [default: the file's]
    #[arg(long)]
    name: Option<String>,
    /// Score the videos of --like by what was learned, tell the best moments, and write a page of each into this folder
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    #[command(flatten)]
    looking: Looking,
}

pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let name = args.name()?;
    let marks = [read(&args.like, true)?, read(&args.unlike, false)?].concat();
    let model = Base::new(&args.looking.model()?)?;
    let folder = args.output.parent().filter(|folder| !folder.as_os_str().is_empty());
    for folder in folder.into_iter().chain(args.report.as_deref()) {
        std::fs::create_dir_all(folder)
            .map_err(|e| format!("folder {} can't be made: {e}; check its path and permissions", folder.display()))?;
    }
    results::settle(marks.iter().map(|mark| &*mark.video), std::slice::from_ref(&args.output))?;
    let network = Network::load(&model.path, args.looking.device, args.looking.precision)?;
    let bar = ProgressBar::new(0);
    let examples = gather(&marks, &network, args.looking.stride(), |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    drop(network);
    let lesson = teach(&examples);
    let provenance = json!({
        "wanted": segments(&examples, true),
        "unwanted": segments(&examples, false),
        "average_precision": lesson.average_precision,
        "chance": lesson.chance,
        "marks": marks.iter().map(written).collect::<Vec<_>>(),
    });
    HeadFile { name, model, head: lesson.head.clone(), provenance }.save(&args.output)?;
    print(&text(&args.output, &examples, &lesson)?)?;
    let Some(folder) = &args.report else { return Ok(()) };
    let mut videos: Vec<&str> = marks.iter().filter(|mark| mark.like == Some(true)).map(|mark| &*mark.video).collect();
    videos.sort_unstable();
    videos.dedup();
    let mut failed = Vec::new();
    let stems = apart(videos.iter().map(|video| stem(video)).collect());
    for (video, stem) in videos.into_iter().zip(stems) {
        let bar = scoring::bar();
        let scores = desumnet_offline::score(video, &args.options()?, |at| {
            bar.set_length(at.duration.max(at.position) / MS);
            bar.set_position(at.position / MS);
        })?;
        bar.finish_and_clear();
        print(&best(&scores))?;
        let reports = Reports { kinds: &[Kind::Html], scores: &scores, plan: None, skim: None };
        failed.extend(reports.write(&folder.join(stem)));
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("; ").into()) }
}

impl Args {
    fn name(&self) -> Result<String, Box<dyn Error>> {
        let of_file = || self.output.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let name = self.name.clone().or_else(of_file).filter(|name| !name.trim().is_empty());
        name.ok_or_else(|| "what is wanted has no name: give --name, or a file name with --output".into())
    }

    /// Scoring by what was learned.
    fn options(&self) -> Result<Options, Box<dyn Error>> {
        Ok(Options {
            model: self.output.clone(),
            device: self.looking.device,
            precision: self.looking.precision,
            category: "auto".into(),
            form: Form::default(),
            aggregation: Aggregation::default(),
            stride: self.looking.stride(),
            interval: 1,
        })
    }
}

/// The marks; those that do not say whether they are wanted are as they are called.
fn read(words: &[OsString], like: bool) -> Result<Vec<Mark>, Box<dyn Error>> {
    let mut all = Vec::new();
    for word in words {
        all.extend(marks::read(word)?.into_iter().map(|mark| Mark { like: mark.like.or(Some(like)), ..mark }));
    }
    Ok(all)
}

/// A mark as the head tells it.
fn written(mark: &Mark) -> serde_json::Value {
    let span = mark.span.as_ref().map(|span| [span.start, span.end].map(|ns| ns as f64 / 1e9));
    json!({
        "video": secrets::hide(&mark.video),
        "start": span.map(|[start, _]| start),
        "end": span.map(|[_, end]| end),
        "like": mark.like,
    })
}

fn segments(examples: &[Example], wanted: bool) -> usize {
    examples.iter().filter(|example| example.wanted == wanted).count()
}

/// The lesson, told to people.
fn text(output: &Path, examples: &[Example], lesson: &Lesson) -> Result<String, std::fmt::Error> {
    let mut text = format!(
        "{}: learned from {} segments that are wanted and {} that are not\n",
        output.display(),
        segments(examples, true),
        segments(examples, false)
    );
    match lesson.average_precision {
        Some(precision) => {
            writeln!(
                text,
                "Of moments that it was not shown it ranks what is wanted with an average precision of {precision:.2} (a random order: {:.2})",
                lesson.chance
            )?;
            if precision < lesson.chance + WORTH * (1.0 - lesson.chance) {
                writeln!(
                    text,
                    "That is hardly better than chance: mark more moments, or what looks and moves more alike"
                )?;
            }
        }
        None => writeln!(text, "How well it does can't be told of so few: mark more moments")?,
    }
    writeln!(text, "It is a model: desumnet skim VIDEO --model {} -o skim.mp4", output.display())?;
    Ok(text)
}

/// The shots that it would pick first.
fn best(scores: &VideoScores) -> String {
    let mut shots = scores.shots.clone();
    shots.sort_by(|a, b| b.score.total_cmp(&a.score));
    let told = shots.iter().take(TOLD).map(|shot| {
        let [from, until] = [shot.start_ns, shot.start_ns + shot.duration_ns].map(clock);
        format!("  {from} to {until}: {:.2}\n", shot.score)
    });
    format!("{}\n{}", secrets::hide(&scores.video), told.collect::<String>())
}
