//! Untrimmed videos whose relevant moments are known, of labelled clips: in each, clips of one category, its topic, stand
//! among clips of others. They take the place of the paper's noisy web videos (section 4), and tell whether importance
//! finds a category's moments.

mod plan;
mod render;

use std::{
    fs::Permissions,
    ops::RangeInclusive,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    BROKEN_LIMIT,
    data::source::{self, SourceError},
    in_parallel,
};
use desumnet_media::{decode::DecodeError, film::time_of};

/// What the videos are to be; the flags of `desumnet-train compose`.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// Videos to make of each category (paper, section 4: about 30)
    #[arg(long, default_value_t = 30, value_name = "N")]
    pub per_category: u32,
    /// Length of a video, or the range it is drawn from
    #[arg(long, default_value = "60-300", value_name = "SECONDS", value_parser = range)]
    pub length: RangeInclusive<u32>,
    /// Share of the time that is of the video's category, 0.05 to 0.95
    #[arg(long, default_value_t = 0.25, value_name = "SHARE", value_parser = share)]
    pub relevant: f64,
    /// Size of the picture, even numbers; clips of another shape get borders
    #[arg(long, default_value = "320x240", value_name = "WIDTHxHEIGHT", value_parser = size)]
    pub size: (u32, u32),
    /// Frames a second
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..=240))]
    pub rate: u32,
    /// Seed of everything that is random
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

fn range(text: &str) -> Result<RangeInclusive<u32>, String> {
    let wrong = "use seconds from 1 to 36000, as in 90 or 60-300";
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let range = from.parse().map_err(|_| wrong)?..=to.parse().map_err(|_| wrong)?;
    if *range.start() > 0 && range.start() <= range.end() && *range.end() <= 36_000 {
        Ok(range)
    } else {
        Err(wrong.into())
    }
}

fn share(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|share| (0.05..=0.95).contains(share))
        .ok_or_else(|| "use a share from 0.05 to 0.95".into())
}

fn size(text: &str) -> Result<(u32, u32), String> {
    let side = |text: &str| text.parse().ok().filter(|side| (16..=8192).contains(side) && side % 2 == 0);
    let sides = text.split_once('x').and_then(|(width, height)| Some((side(width)?, side(height)?)));
    sides.ok_or_else(|| "use WIDTHxHEIGHT, even numbers from 16 to 8192, as in 320x240".into())
}

/// Most frames of a composite: of the longest, at the highest rate, that can be made.
pub const MOST_FRAMES: u32 = 36_000 * 240;

/// A composite: the JSON document beside the video. Times are from the first frame on; part i begins at frame
/// `first_frame` exactly, with a key frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Composite {
    /// Name of the video file, in the document's folder.
    pub video: String,
    /// The topic: category of the clips that are relevant.
    pub category: String,
    /// Frames a second, numerator and denominator.
    pub frame_rate: [u32; 2],
    pub frames: u32,
    pub duration_ns: u64,
    /// What follows on what, without gaps.
    pub parts: Vec<Part>,
    /// Spans of the topic, in order; parts that follow on one another are one span.
    pub relevant: Vec<Span>,
}

/// A piece of a clip in a [`Composite`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// The clip: CATEGORY/FILE in the folder of clips (`--data` or `--others`).
    pub source: String,
    pub category: String,
    pub first_frame: u32,
    pub frames: u32,
    pub start_ns: u64,
    pub duration_ns: u64,
    /// It is of the topic.
    pub relevant: bool,
}

/// A stretch of time, ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    pub start_ns: u64,
    pub duration_ns: u64,
}

impl Composite {
    /// Whether it is what its fields promise.
    ///
    /// # Errors
    /// The field that is not, and why.
    fn check(&self) -> Result<(), String> {
        let [numerator, denominator] = self.frame_rate;
        let rate = f64::from(numerator) / f64::from(denominator);
        if !(0.01..=1_000.0).contains(&rate) {
            return Err(format!("`frame_rate` is {numerator}/{denominator}, which is not within 0.01 to 1000"));
        }
        if Path::new(&self.video).file_name() != Some(self.video.as_ref()) {
            return Err(format!("`video` is {:?}, which is not the name of a file beside it", self.video));
        }
        if self.category.is_empty() {
            return Err("`category` is empty".into());
        }
        if !(1..=MOST_FRAMES).contains(&self.frames) {
            return Err(format!("`frames` is {}, which is not within 1 to {MOST_FRAMES}", self.frames));
        }
        let frame_ns = 1e9 / rate;
        let at = |ns: u64, frame: u32| (ns as f64 - f64::from(frame) * frame_ns).abs() <= frame_ns;
        if !at(self.duration_ns, self.frames) {
            return Err(format!(
                "`duration_ns` is {}, and {} frames are another length",
                self.duration_ns, self.frames
            ));
        }
        let mut next = 0u32;
        for (i, part) in self.parts.iter().enumerate() {
            if part.frames == 0 {
                return Err(format!("part {i} has 0 frames"));
            }
            if part.first_frame != next {
                return Err(format!("part {i} has the `first_frame` {}, and {next} is the next one", part.first_frame));
            }
            if !at(part.start_ns, next) || !at(part.duration_ns, part.frames) {
                return Err(format!("part {i} has another `start_ns` or `duration_ns` than its frames"));
            }
            next = next.saturating_add(part.frames);
        }
        if next != self.frames {
            return Err(format!("its parts have {next} frames together, and `frames` is {}", self.frames));
        }
        let mut end = 0;
        for (i, span) in self.relevant.iter().enumerate() {
            let span_end = span.start_ns.checked_add(span.duration_ns).filter(|end| *end <= self.duration_ns);
            match span_end {
                Some(span_end) if span.start_ns >= end && span.duration_ns > 0 => end = span_end,
                _ => {
                    return Err(format!(
                        "span {i} of `relevant` is empty, or not within the video and after the others"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Share of the time that is of the topic, [0, 1].
    pub fn relevant_share(&self) -> f64 {
        self.relevant.iter().map(|span| span.duration_ns).sum::<u64>() as f64 / self.duration_ns as f64
    }
}

/// Why composites can't be read.
#[derive(Debug, Error)]
pub enum ReadError {
    #[error(transparent)]
    Folder(#[from] SourceError),
    #[error("{0} holds no composites; make some with `desumnet-train compose`")]
    Empty(PathBuf),
    #[error("{path} does not describe a composite: {source}; make it anew with `desumnet-train compose`")]
    Document { path: PathBuf, source: serde_json::Error },
    #[error("{path} contradicts itself: {reason}; make it anew with `desumnet-train compose`")]
    Contradiction { path: PathBuf, reason: String },
    #[error("{path} can't be read: {source}; check its permissions")]
    Unreadable { path: PathBuf, source: std::io::Error },
}

/// The composites in a folder as [`write()`] makes it, each with its document's path; at least one.
///
/// # Errors
/// [`ReadError`]
pub fn read(folder: &Path) -> Result<Vec<(PathBuf, Composite)>, ReadError> {
    let mut composites = Vec::new();
    let folders = source::entries(folder)?.into_iter().filter(|entry| entry.is_dir());
    let files = folders.map(|category| source::entries(&category)).collect::<Result<Vec<_>, _>>()?;
    for path in files.into_iter().flatten().filter(|path| path.extension().is_some_and(|e| e == "json")) {
        let text = std::fs::read(&path).map_err(|source| ReadError::Unreadable { path: path.clone(), source })?;
        let composite: Composite =
            serde_json::from_slice(&text).map_err(|source| ReadError::Document { path: path.clone(), source })?;
        composite.check().map_err(|reason| ReadError::Contradiction { path: path.clone(), reason })?;
        composites.push((path, composite));
    }
    if composites.is_empty() { Err(ReadError::Empty(folder.into())) } else { Ok(composites) }
}

/// Why videos can't be composed.
#[derive(Debug, Error)]
pub enum ComposeError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("{broken} of {all} clips can't be decoded, more than 1 in 20:\n{list}\nmend or remove them")]
    Broken { broken: usize, all: usize, list: String },
    #[error(
        "{video} needs {needed:.0} s of categories other than {topic}, and their clips fill {found:.0} s (each stands once, for \
         8 s at most): give more clips with --others, or a shorter --length"
    )]
    TooFew { video: String, topic: String, needed: f64, found: f64 },
    #[error("{0} is there already: give --force to make it anew, or another --output")]
    Exists(PathBuf),
    #[error("{path} can't be written: {reason}; check the folder and the free disk space")]
    Unwritable { path: PathBuf, reason: String },
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("{0} has fewer frames than when it was first read: leave the clips alone while videos are made of them")]
    Changed(PathBuf),
    #[error("GStreamer can't scale and convert pictures: {0}; run `make setup`, which installs its plugins")]
    Plugins(String),
    #[error("{video} can't be encoded: {reason}; check the free disk space, and `make setup` for GStreamer's plugins")]
    Encode { video: String, reason: String },
}

/// A labelled clip that can be decoded.
#[derive(Clone, Debug)]
struct Clip {
    path: PathBuf,
    /// CATEGORY/FILE
    source: String,
    category: String,
    /// It may be a video's topic; else it only stands among others.
    own: bool,
    /// At the videos' frame rate.
    frames: u32,
}

/// The clips to compose from.
pub struct Clips {
    clips: Vec<Clip>,
    /// Categories that get videos, sorted.
    topics: Vec<String>,
    /// What could not be decoded, and why.
    pub broken: Vec<String>,
}

/// A video to be made: what its document will say, and where the pictures come from.
#[derive(Clone, Debug)]
pub struct Planned {
    pub composite: Composite,
    pieces: Vec<Piece>,
}

/// Frames of a clip: `skip` are left out, then `frames` taken.
#[derive(Clone, Debug)]
struct Piece {
    path: PathBuf,
    skip: u32,
    frames: u32,
}

impl Clips {
    /// Decodes every clip under `data/<category>/` and `others/<category>/` and counts its frames at the rate of `settings`.
    /// Only the categories of `data` become topics. `progress` is called with the numbers of clips done and to do.
    ///
    /// # Errors
    /// [`ComposeError`]; a few broken clips are left out and listed, more than 5 % are an error.
    pub fn read(
        data: &Path,
        others: Option<&Path>,
        settings: &Settings,
        progress: impl Fn(usize, usize) + Sync,
    ) -> Result<Self, ComposeError> {
        // What no clip is to blame for is said once.
        render::filter(settings)?;
        let own = source::read(data)?.whole();
        let others = others.map(source::read).transpose()?.map(source::Split::whole);
        let listings = [(Some(&own), true), (others.as_ref(), false)];
        let files: Vec<_> = listings
            .into_iter()
            .filter_map(|(listing, own)| Some((listing?, own)))
            .flat_map(|(listing, own)| {
                listing.items.iter().map(move |item| (&listing.categories[item.category], &item.path, own))
            })
            .collect();
        let done = AtomicUsize::new(0);
        let counted = in_parallel(&files, |(category, path, own)| {
            let counted = render::count(path, settings);
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, files.len());
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            counted.map(|frames| Clip {
                path: path.to_path_buf(),
                source: format!("{category}/{name}"),
                category: category.to_string(),
                own: *own,
                frames,
            })
        });
        let (mut clips, mut broken) = (Vec::new(), Vec::new());
        for clip in counted {
            match clip {
                Ok(clip) if clip.frames == 0 => broken.push(format!("{}: no frame in it", clip.path.display())),
                Ok(clip) => clips.push(clip),
                Err(error) => broken.push(error.to_string()),
            }
        }
        if broken.len() as f64 > BROKEN_LIMIT * files.len() as f64 {
            return Err(ComposeError::Broken { broken: broken.len(), all: files.len(), list: broken.join("\n") });
        }
        Ok(Self { clips, topics: own.categories, broken })
    }

    /// Plans every video; the same at every run with the same clips and settings.
    ///
    /// # Errors
    /// [`ComposeError::TooFew`]
    pub fn plan(&self, settings: &Settings) -> Result<Vec<Planned>, ComposeError> {
        let mut rng = StdRng::seed_from_u64(settings.seed);
        let (shortest, longest) = (settings.length.start() * settings.rate, settings.length.end() * settings.rate);
        let mut videos = Vec::new();
        for topic in &self.topics {
            let clips: Vec<&Clip> = self.clips.iter().filter(|clip| clip.own || clip.category != *topic).collect();
            let choice: Vec<plan::Clip> =
                clips.iter().map(|clip| plan::Clip { category: &clip.category, frames: clip.frames }).collect();
            for number in 1..=settings.per_category {
                let name = name_of(topic, number);
                let frames = rng.random_range(shortest..=longest);
                let wish = plan::Wish { topic, frames, share: settings.relevant, rate: settings.rate };
                let parts = plan::plan(&choice, &wish, &mut rng).map_err(|few| ComposeError::TooFew {
                    video: name.clone(),
                    topic: topic.clone(),
                    needed: f64::from(few.needed) / f64::from(settings.rate),
                    found: f64::from(few.found) / f64::from(settings.rate),
                })?;
                videos.push(planned(&name, topic, &clips, &parts, settings.rate));
            }
        }
        Ok(videos)
    }
}

fn planned(name: &str, topic: &str, clips: &[&Clip], parts: &[plan::Part], rate: u32) -> Planned {
    let (mut documented, mut pieces, mut relevant) = (Vec::new(), Vec::new(), Vec::<Span>::new());
    let mut first_frame = 0;
    for part in parts {
        let clip = clips[part.clip];
        let start_ns = time_of(first_frame, rate);
        let duration_ns = time_of(first_frame + part.frames, rate) - start_ns;
        let of_topic = clip.category == topic;
        if of_topic {
            match relevant.last_mut().filter(|last| last.start_ns + last.duration_ns == start_ns) {
                Some(last) => last.duration_ns += duration_ns,
                None => relevant.push(Span { start_ns, duration_ns }),
            }
        }
        documented.push(Part {
            source: clip.source.clone(),
            category: clip.category.clone(),
            first_frame,
            frames: part.frames,
            start_ns,
            duration_ns,
            relevant: of_topic,
        });
        pieces.push(Piece { path: clip.path.clone(), skip: part.skip, frames: part.frames });
        first_frame += part.frames;
    }
    let composite = Composite {
        video: format!("{name}.mp4"),
        category: topic.into(),
        frame_rate: [rate, 1],
        frames: first_frame,
        duration_ns: time_of(first_frame, rate),
        parts: documented,
        relevant,
    };
    Planned { composite, pieces }
}

/// What a video is called, without `.mp4`.
fn name_of(topic: &str, number: u32) -> String {
    format!("{topic}_{number:02}")
}

/// Refuses to go on where a video of this name is there already. Reading the clips takes long, so this comes before it.
///
/// # Errors
/// [`ComposeError::Exists`], [`ComposeError::Source`]
pub fn refuse_existing(data: &Path, output: &Path, settings: &Settings) -> Result<(), ComposeError> {
    let topics = source::read(data)?.whole().categories;
    let mut paths = topics.iter().flat_map(|topic| {
        (1..=settings.per_category).map(move |number| output.join(topic).join(name_of(topic, number) + ".mp4"))
    });
    paths.find(|path| path.exists()).map_or(Ok(()), |path| Err(ComposeError::Exists(path)))
}

/// Makes the planned videos as `output/CATEGORY/CATEGORY_NN.mp4`, with the document beside each as `.json`; a video that is
/// there is whole. `progress` is called with the numbers of frames done and to do.
///
/// # Errors
/// [`ComposeError`]
pub fn write(
    videos: &[Planned],
    output: &Path,
    settings: &Settings,
    progress: impl Fn(usize, usize) + Sync,
) -> Result<(), ComposeError> {
    let all = videos.iter().map(|video| video.composite.frames as usize).sum();
    let done = AtomicUsize::new(0);
    let written = in_parallel(videos, |video| {
        let path = output.join(&video.composite.category).join(&video.composite.video);
        let folder = path.parent().unwrap_or(output);
        let unwritable = |e: std::io::Error| ComposeError::Unwritable { path: path.clone(), reason: e.to_string() };
        std::fs::create_dir_all(folder).map_err(unwritable)?;
        // A temporary file is its maker's alone; these become videos for everybody.
        let temporary = |suffix| {
            let readable = Permissions::from_mode(0o666);
            tempfile::Builder::new().prefix(".compose-").suffix(suffix).permissions(readable).tempfile_in(folder)
        };
        let (file, mut document) = (temporary(".mp4").map_err(unwritable)?, temporary(".json").map_err(unwritable)?);
        render::encode(video, file.path(), settings, || {
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, all);
        })?;
        serde_json::to_writer_pretty(&mut document, &video.composite).map_err(|e| unwritable(e.into()))?;
        document.persist(path.with_extension("json")).map_err(|e| unwritable(e.error))?;
        file.persist(&path).map_err(|e| unwritable(e.error))?;
        Ok(())
    });
    written.into_iter().collect()
}
