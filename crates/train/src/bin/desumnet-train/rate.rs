//! `desumnet-train rate`: a page on which people rate time-lapses, and the table of what they gave.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use clap::ArgGroup;
use desumnet_decide::{
    pace::{Target, by_score},
    shot_scores::Scored,
};
use desumnet_engine::{
    importance::{Aggregation, Form},
    models,
    network::{Device, Precision},
};
use desumnet_files::whole_file;
use desumnet_frames::segmenter::Stride;
use desumnet_offline::Options;
use desumnet_report::document;
use desumnet_train::{
    evaluation::rating::{
        Key, Shown, lapses,
        page::{self, Film},
        results::{Results, results},
        versions::{self, Studied, Version},
    },
    training::data::source,
};
use indicatif::{ProgressBar, ProgressStyle};

/// Most bytes of films that lie in the page itself: one file is easily sent and never lacks a part, but phones can't open
/// a page of hundreds of megabytes. More lie beside it.
const INSIDE: u64 = 64 << 20;

/// Makes a page on which people rate time-lapses of different methods without knowing which is whose (paper, section 4.2, table
/// 4), and counts the ratings
#[derive(clap::Args)]
#[command(group = ArgGroup::new("task").required(true).args(["videos", "results"]))]
pub struct Args {
    /// Videos to make time-lapses of: a folder of them, and of folders whose names are the topics of the videos in them
    #[arg(long, value_name = "DIR", requires = "output")]
    videos: Option<PathBuf>,
    /// Folder to write page.html to, which people get, and key.json, which they don't: it tells what made each time-lapse
    #[arg(long, value_name = "DIR", conflicts_with = "results")]
    output: Option<PathBuf>,
    /// What makes the time-lapses, each given by a flag of its own: a form of our importance (weighted, logit, probability), or a
    /// method (uniform, random, difference, smrs, quasi, mbf, cvs, kvs) [default: the paper's: weighted, cvs and kvs]
    #[arg(long, value_name = "NAME", conflicts_with = "results", hide_possible_values = true)]
    method: Vec<Version>,
    /// More videos of the topics, for the methods that learn or look across videos: a folder of videos per topic, or a CSV file with
    /// the columns path,category,split [default: each video's others]
    #[arg(long, value_name = "DIR|CSV", requires = "videos")]
    training: Option<PathBuf>,
    /// How many times faster than its video each time-lapse is
    #[arg(long, value_name = "TIMES", default_value_t = 8.0, value_parser = speed)]
    speed: f64,
    /// Model [default: the one that comes with the plugin]
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: Device,
    /// auto, f32, bf16 or f16
    #[arg(long, default_value = "auto", value_parser = desumnet_engine::named::named::<Precision>)]
    precision: Precision,
    /// Files that the page saved, one a person: prints mean, spread and number of the ratings of each method, and how well the people
    /// agree (Krippendorff's alpha)
    #[arg(long, value_name = "FILE", num_args = 1..)]
    results: Vec<PathBuf>,
    /// The key of the page that was rated [default: key.json beside the first file]
    #[arg(long, value_name = "FILE", requires = "results")]
    key: Option<PathBuf>,
    /// Write the table as one JSON document to this file, or to standard output (-)
    #[arg(long, value_name = "FILE|-", requires = "results")]
    json: Option<PathBuf>,
}

fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse().ok().filter(|speed: &f64| *speed > 1.0 && speed.is_finite());
    speed.ok_or_else(|| "a time-lapse is faster than its video: use a number over 1".into())
}

pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    match (&args.videos, &args.output) {
        (Some(videos), Some(output)) => make(args, videos, output),
        _ => count(args),
    }
}

/// Counts the ratings.
fn count(args: &Args) -> Result<(), Box<dyn Error>> {
    let beside = args.results.first().map(|first| first.with_file_name("key.json"));
    let key = Key::read(args.key.as_ref().or(beside.as_ref()).ok_or("no file of ratings is given")?)?;
    let results = results(&key, &args.results)?;
    match &args.json {
        None => print_table(&results),
        Some(path) => document::write(path, &results)?,
    }
    Ok(())
}

fn print_table(results: &Results) {
    let Results { raters, videos, agreement, methods, .. } = results;
    let alpha = |alpha: &Option<f64>| alpha.map_or("-".into(), |alpha| format!("{alpha:.2}"));
    let people = if *raters == 1 { "person" } else { "people" };
    println!("{raters} {people}, {videos} video{}\n", if *videos == 1 { "" } else { "s" });
    println!("| | mean rating | spread | ratings | agreement |\n|---|---|---|---|---|");
    let mut rows: Vec<_> = methods.iter().collect();
    rows.sort_by(|(_, a), (_, b)| b.spread.mean.total_cmp(&a.spread.mean));
    for (name, row) in rows {
        let (mean, std) = (row.spread.mean, row.spread.std);
        println!("| {name} | {mean:.2} | {std:.2} | {} | {} |", row.ratings, alpha(&row.agreement));
    }
    println!("\nAgreement over all time-lapses: {}", alpha(agreement));
}

/// Makes the page.
fn make(args: &Args, folder: &Path, output: &Path) -> Result<(), Box<dyn Error>> {
    let (page, key_file) = (output.join("page.html"), output.join("key.json"));
    if let Some(there) = [&page, &key_file].into_iter().find(|path| path.exists()) {
        let there = there.display();
        return Err(
            format!("{there} is there already, and ratings of that page need its key: give another --output").into()
        );
    }
    let versions = versions(&args.method)?;
    let videos = versions::studied(folder)?;
    if let Some(name) = twice(videos.iter().map(|video| &video.name)) {
        return Err(format!("two videos in {} are called {name}: rename one of them", folder.display()).into());
    }
    let training = args.training.as_deref().map(source::read).transpose()?.map(|split| split.training);
    let options = options(args)?;
    // What can't be written is found out before an hour of scoring. Films that are too large to lie in the page stay in this folder, for everybody
    // whom the umask allows.
    fs::create_dir_all(output).map_err(unwritable(output))?;
    let making = tempfile::Builder::new()
        .prefix(whole_file::WRITING)
        .permissions(fs::Permissions::from_mode(0o777))
        .tempdir_in(output)
        .map_err(unwritable(output))?;

    let bar = ProgressBar::new_spinner().with_style(ProgressStyle::with_template("{prefix} {msg}  {elapsed}")?);
    bar.set_prefix("scoring");
    let say = |name: &str| bar.set_message(name.to_owned());
    let scores = versions::scores(&videos, training.as_ref(), &versions, &options, say)?;
    bar.set_prefix("encoding");
    let names: Vec<String> = versions.iter().map(Version::to_string).collect();
    let key = Key::draw(videos.iter().map(|video| video.name.clone()), &names, &mut rand::rng());
    let mut seconds = 0.0;
    for ((video, scores), shown) in videos.iter().zip(&scores).zip(&key.videos) {
        say(&video.name);
        seconds += write_films(video, scores, shown, args.speed, making.path())?;
    }
    bar.finish_and_clear();
    let (films, inside) = films(&key, making.path()).map_err(unwritable(making.path()))?;
    let html = page::html(&key, &films, seconds)?;
    if !inside {
        let beside = output.join("videos");
        fs::rename(making.keep(), &beside).map_err(unwritable(&beside))?;
    }
    document::write(&key_file, &key)?;
    whole_file::write(&page, html.as_bytes()).map_err(unwritable(&page))?;
    let with = if inside { "" } else { " with its folder videos, as the films are too large to lie in it" };
    println!("{} is for the raters{with}; {} stays here.", page.display(), key_file.display());
    println!("Count their files with: desumnet-train rate --key {} --results FILE...", key_file.display());
    Ok(())
}

fn unwritable(path: &Path) -> impl Fn(std::io::Error) -> String + use<> {
    let path = path.display().to_string();
    move |e| format!("{path} can't be written: {e}; check the folder and the free disk space")
}

/// How our importance is had, but for its form: as the paper has it.
fn options(args: &Args) -> Result<Options, Box<dyn Error>> {
    let model = args.model.clone().or_else(models::default_model);
    Ok(Options {
        model: model.ok_or("no model is to be found: give one with --model")?,
        device: args.device,
        precision: args.precision,
        category: "auto".into(),
        form: Form::default(),
        aggregation: Aggregation::default(),
        stride: Stride::Auto,
        interval: 1,
    })
}

/// The file of a film in the folder of films.
fn file(name: &str) -> String {
    format!("{name}.mp4")
}

/// The films of the folder as the page has them, and whether they lie inside it.
fn films(key: &Key, folder: &Path) -> std::io::Result<(BTreeMap<String, Film>, bool)> {
    let names = key.videos.iter().flat_map(|shown| std::iter::once(&shown.original).chain(shown.versions.keys()));
    let size = names.clone().map(|name| Ok(folder.join(file(name)).metadata()?.len())).sum::<std::io::Result<u64>>()?;
    let inside = size <= INSIDE;
    let film = |name: &String| {
        let bytes = || fs::read(folder.join(file(name)));
        let film = if inside { Film::Inside(bytes()?) } else { Film::Beside(format!("videos/{}", file(name))) };
        Ok((name.clone(), film))
    };
    Ok((names.map(film).collect::<std::io::Result<_>>()?, inside))
}

/// What makes the time-lapses.
fn versions(given: &[Version]) -> Result<Vec<Version>, String> {
    if given.is_empty() {
        return ["weighted", "cvs", "kvs"].into_iter().map(str::parse).collect();
    }
    match twice(given.iter().map(|version| &version.name)) {
        Some(name) => Err(format!("{name} is given twice: leave one of them out")),
        None => Ok(given.into()),
    }
}

fn twice<'a>(names: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    let mut seen = BTreeSet::new();
    names.into_iter().find(|name| !seen.insert(*name))
}

/// Writes the small original and the time-lapses of a video into the folder. Tells for how many seconds all of them play.
fn write_films(
    video: &Studied,
    scores: &BTreeMap<String, Vec<Scored>>,
    shown: &Shown,
    speed: f64,
    folder: &Path,
) -> Result<f64, Box<dyn Error>> {
    let place = |name: &str| folder.join(file(name));
    let look = lapses::look(&video.path)?;
    let told = |e: &dyn Error| format!("{}: {e}", video.path.display());
    lapses::write_original(&video.path, &look, &place(&shown.original)).map_err(|e| told(&e))?;
    let ends = scores.values().filter_map(|segments| segments.last()).map(|last| last.start_ns + last.duration_ns);
    let duration = ends.max().unwrap_or(0);
    let count = lapses::count(duration, speed, &look);
    // By their drawn names: the times of the files tell nothing then.
    for (name, method) in &shown.versions {
        let plan = by_score(&scores[method], Target::Speed(speed), 1.0, f64::INFINITY).map_err(|e| told(&e))?;
        lapses::write_lapse(&video.path, &look, lapses::picks(&plan, count, &look), &place(name))
            .map_err(|e| told(&e))?;
    }
    let lapses = scores.len() as f64 * f64::from(count) / f64::from(look.rate);
    Ok(duration as f64 / 1e9 + lapses)
}
