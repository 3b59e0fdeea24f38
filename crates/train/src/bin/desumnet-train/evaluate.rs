//! `desumnet-train evaluate`: people, methods and scores of any kind against human summaries.

use std::{
    collections::BTreeMap,
    error::Error,
    path::{Path, PathBuf},
};

use desumnet_engine::{
    importance::{Aggregation, Form},
    models,
    named::named,
    network::{Device, Network, Precision},
};
use desumnet_report::document;
use desumnet_train::{
    evaluation::{
        annotations::{self, Dataset, Kind, Video},
        compare::compare,
        f_score::Over,
        methods::Method,
        precision_at::Depth,
        protocol::{Against, Options, Order, ShareOf, Ties},
        results::{Results, Row, results},
        scores,
        segmentation::Segmentation,
        watched::{WatchError, Watched, file_of},
    },
    training::data::{Mark, Seen},
};
use indicatif::{ProgressBar, ProgressStyle};

/// Measures scores against human summaries: average precision in the top 5 and top 15 shots (paper, section 4.1), F-score, Kendall's
/// tau and Spearman's rho
///
/// Without videos and scores it measures people against each other. Where the paper leaves a rule open, it is a flag; docs/EVALUATION.md
/// shows what each makes of the result.
#[derive(clap::Args)]
pub struct Args {
    /// Whose annotations
    #[arg(long)]
    dataset: Kind,
    /// The annotations as published: TVSum's .mat or .tsv file, SumMe's folder GT, CoSum's folder with `shots` and `annotation`, or
    /// a folder of composites
    #[arg(long, value_name = "PATH")]
    annotations: PathBuf,
    /// TVSum's list of shot boundaries [default: shot_TVSum.mat beside the annotations]
    #[arg(long, value_name = "FILE")]
    shots: Option<PathBuf>,
    /// Scores to measure: a folder of NAME.json as `desumnet score --json` writes them, or of lists with a number for each frame
    #[arg(long, value_name = "DIR", conflicts_with = "videos")]
    scores: Option<PathBuf>,
    /// The videos, NAME.mp4 or the like: DeSumNet and the compared methods are measured on them
    #[arg(long, value_name = "DIR")]
    videos: Option<PathBuf>,
    /// Features of your own for the compared methods, in place of the network's fc6: a folder of NAME.csv, a row for each of the
    /// stretches of equal length that make up a video
    #[arg(long, value_name = "DIR", conflicts_with = "videos")]
    features: Option<PathBuf>,
    /// Composites to learn from, for the methods that learn or look across videos [default: the data set's other videos]
    #[arg(long, value_name = "DIR", requires = "videos")]
    training: Option<PathBuf>,
    /// Only these methods [default: all but `random`, whose exact mean is a row of its own]
    #[arg(long, value_name = "METHOD")]
    method: Vec<Method>,
    /// Model for --videos [default: the one that comes with the plugin]
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// What is differentiated: logit or probability (the paper's Equation 1), or weighted (our choice: the category's probability
    /// times the logit's gradient)
    #[arg(long, default_value = "weighted", value_parser = named::<Form>)]
    importance: Form,
    /// How frame scores become a segment's score: mean or max (G in the paper's section 3.1)
    #[arg(long, default_value = "mean", value_parser = named::<Aggregation>)]
    aggregation: Aggregation,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: Device,
    /// auto, f32, bf16 or f16
    #[arg(long, default_value = "auto", value_parser = named::<Precision>)]
    precision: Precision,
    #[command(flatten)]
    rules: Rules,
    /// Write one JSON document to this file, or to standard output (-)
    #[arg(long, value_name = "FILE|-")]
    json: Option<PathBuf>,
}

/// What the paper leaves open.
#[derive(clap::Args)]
#[command(next_help_heading = "Rules that the paper leaves open")]
struct Rules {
    /// Shots that are ranked: `file`, those of the data set, or a length in seconds for even ones [default: file; summe: 2, as it
    /// has no shots]
    #[arg(long, value_name = "file|SECONDS")]
    segmentation: Option<Segmentation>,
    /// Share of the video that a person's summary has, where people gave scores (paper: half)
    #[arg(long, default_value_t = 0.5, value_parser = share)]
    share: f64,
    /// What it is a share of
    #[arg(long, default_value = "time")]
    share_of: ShareOf,
    /// How a person's own shots are ranked
    #[arg(long, default_value = "summary")]
    order: Order,
    /// How shots of equal score are ranked
    #[arg(long, default_value = "exact")]
    ties: Ties,
    /// Against whom a person is measured
    #[arg(long, default_value = "others")]
    against: Against,
    /// What average precision at K is divided by
    #[arg(long, default_value = "relevant")]
    depth: Depth,
    /// Longest summary for the F-score, as a share of the video (the field's 15 %)
    #[arg(long, default_value_t = 0.15, value_parser = share)]
    length: f64,
    /// A video's F-score: by whom [default: mean; summe: max, as each data set's authors do]
    #[arg(long)]
    f_score: Option<Over>,
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| *share > 0.0 && *share <= 1.0);
    share.ok_or_else(|| "use a share over 0, up to 1".into())
}

impl Rules {
    fn options(&self, kind: Kind) -> Options {
        let usual = Options::usual(kind);
        Options {
            shots: self.segmentation.unwrap_or(usual.shots),
            share: self.share,
            share_of: self.share_of,
            order: self.order,
            ties: self.ties,
            against: self.against,
            depth: self.depth,
            length: self.length,
            f_score: self.f_score.unwrap_or(usual.f_score),
        }
    }
}

pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let dataset = annotations::read(args.dataset, &args.annotations, args.shots.as_deref())?;
    let options = args.rules.options(args.dataset);
    let (mut rows, mut warnings) = (BTreeMap::new(), Vec::new());
    if let Some(folder) = &args.scores {
        let (scores, said) = scores::read(folder, &dataset.videos)?;
        rows.insert("scores".to_string(), scores);
        warnings.extend(said);
    }
    let none = || (Dataset { kind: args.dataset, videos: Vec::new(), warnings: Vec::new() }, BTreeMap::new());
    let (watched, (training, others)) = if let Some(folder) = &args.features {
        let path = |video: &Video| folder.join(format!("{}.csv", video.file_stem()));
        (each(&dataset, &mut warnings, |video| Watched::matrix(&path(video), video))?, none())
    } else if let Some(folder) = &args.videos {
        let model = args
            .model
            .clone()
            .or_else(models::default_model)
            .ok_or("no model is to be found: give one with --model")?;
        let network = Network::load(&model, args.device, args.precision)?;
        let seen = Seen::told(&network.header.provenance);
        let mut remembered = Vec::new();
        let bar = ProgressBar::no_length()
            .with_style(ProgressStyle::with_template("{msg}: segment {pos}  {per_sec}  {elapsed}")?);
        let watch = |file: &Path, video: &Video, importance| {
            bar.set_message(video.name.clone());
            Watched::video(&network, file, video, importance, |done| bar.set_position(done))
        };
        let watched = each(&dataset, &mut warnings, |video| {
            let file = file_of(folder, &video.name)?;
            if seen.as_ref().is_some_and(|seen| seen.has(&Mark::of(&file, None))) {
                remembered.push(video.name.clone());
            }
            watch(&file, video, Some((args.importance, args.aggregation)))
        })?;
        if !remembered.is_empty() {
            let (count, names) = (remembered.len(), remembered.join(", "));
            warnings.push(format!("the model was trained on these videos, and remembers them ({count}): {names}"));
        }
        let others = match &args.training {
            None => none(),
            Some(folder) => {
                let training = annotations::read(Kind::Composites, folder, None)?;
                let watched =
                    each(&training, &mut warnings, |video| watch(&file_of(folder, &video.name)?, video, None))?;
                (training, watched)
            }
        };
        bar.finish_and_clear();
        (watched, others)
    } else {
        (BTreeMap::new(), none())
    };
    if !watched.is_empty() {
        let usual = Method::ALL.into_iter().filter(|method| *method != Method::Random).collect();
        let methods = if args.method.is_empty() { usual } else { args.method.clone() };
        let (compared, said) = compare(&dataset, &watched, (&training, &others), &methods, &options)?;
        rows.extend(compared);
        warnings.extend(said);
    }
    let results = results(&dataset, &rows, &options, warnings)?;
    match &args.json {
        None => print_table(&results)?,
        Some(path) => document::write(path, &results)?,
    }
    Ok(())
}

/// Watches all videos of a data set; one that can't be watched is left out and said.
///
/// # Errors
/// The reason of the first, if there is none left.
fn each(
    dataset: &Dataset,
    warnings: &mut Vec<String>,
    mut watch: impl FnMut(&Video) -> Result<Watched, WatchError>,
) -> Result<BTreeMap<String, Watched>, WatchError> {
    let (mut all, mut failed) = (BTreeMap::new(), None);
    for video in &dataset.videos {
        match watch(video) {
            Ok(watched) => drop(all.insert(video.name.clone(), watched)),
            Err(error) => {
                warnings.push(format!("{}, left out: {error}", video.name));
                failed.get_or_insert(error);
            }
        }
    }
    failed.filter(|_| all.is_empty()).map_or(Ok(all), Err)
}

/// The rows as people read them; what was left out goes to standard error.
fn print_table(results: &Results) -> Result<(), Box<dyn Error>> {
    for warning in &results.warnings {
        say!("desumnet-train: {warning}");
    }
    let mut table = format!("{}, {} videos\n\n", results.dataset, results.videos);
    table += "| | AP@5 | AP@15 | of the mean human | F-score | Kendall's tau | Spearman's rho | videos |\n";
    table += "|---|---|---|---|---|---|---|---|\n";
    let Results { humans, random, methods, .. } = results;
    let people = [("worst human", &humans.worst), ("mean human", &humans.mean), ("best human", &humans.best)];
    let rows = people.into_iter().chain([("random", random)]);
    for (name, row) in rows.chain(methods.iter().map(|(name, row)| (name.as_str(), row))) {
        let Row { ap5, ap15, ap5_relative, ap15_relative, f_score, tau, rho, videos } = row;
        let figure = |value: &Option<f64>| value.map_or("-".into(), |value| format!("{value:.3}"));
        let relative = format!("{} / {}", figure(ap5_relative), figure(ap15_relative));
        let cells = [figure(ap5), figure(ap15), relative, figure(f_score), figure(tau), figure(rho)];
        table += &format!("| {name} | {} | {videos} |\n", cells.join(" | "));
    }
    desumnet_command_line::tell::print(&table)
}
