//! What people marked in the videos of the published data sets.

mod composites;
mod cosum;
mod matlab;
mod summe;
mod tvsum;

use std::{
    collections::HashSet,
    fmt,
    ops::{Range, RangeInclusive},
    path::{Path, PathBuf},
};

use clap::ValueEnum;
use serde::Serialize;
use thiserror::Error;

use crate::training::compose::{MOST_FRAMES, ReadError};

/// Frames of a video and frames a second: with others a file is damaged, and would ask for more memory than there is.
pub(super) const FRAMES: RangeInclusive<usize> = 1..=MOST_FRAMES as usize;
pub(super) const RATES: RangeInclusive<f64> = 0.01..=1_000.0;

/// The published data sets that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// 50 videos, 20 people who gave every two seconds a score (Song et al., CVPR 2015).
    Tvsum,
    /// 25 videos, 15 to 18 people who chose parts (Gygli et al., ECCV 2014).
    Summe,
    /// 51 videos, three people who chose shots (Chu et al., CVPR 2015).
    Cosum,
    /// Of `desumnet-train compose`: the truth is known, and takes the place of people.
    Composites,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Tvsum => "TVSum",
            Self::Summe => "SumMe",
            Self::Cosum => "CoSum",
            Self::Composites => "composites",
        })
    }
}

/// A data set's annotations.
#[derive(Clone, Debug)]
pub struct Dataset {
    pub kind: Kind,
    /// In the order of the files; at least one.
    pub videos: Vec<Video>,
    /// What was wrong with the files and left out, for people to read.
    pub warnings: Vec<String>,
}

/// A video and what people marked in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Video {
    /// By which its scores are found; each of a data set has its own.
    pub name: String,
    /// What the video is about, where the data set says so.
    pub topic: Option<String>,
    /// At least 1.
    pub frames: usize,
    /// Frames a second, where known.
    pub fps: Option<f64>,
    /// Frames of each shot, rising, none empty, all below `frames`; nothing where the data set has no shots.
    pub shots: Vec<Range<usize>>,
    /// A person each.
    pub people: Vec<Marks>,
}

impl Video {
    /// Whether it is what its fields promise.
    ///
    /// # Errors
    /// Which is not.
    fn check(&self) -> Result<(), String> {
        check_frames(self.frames)?;
        if let Some(fps) = self.fps.filter(|fps| !RATES.contains(fps)) {
            let (low, high) = (RATES.start(), RATES.end());
            return Err(format!(
                "{fps} frames a second are not within {low} to {high}; give the file as it was published"
            ));
        }
        let mut end = 0;
        for shot in &self.shots {
            if shot.start < end || shot.is_empty() || shot.end > self.frames {
                let Range { start, end } = shot;
                return Err(format!(
                    "the shot from frame {start} to {end} is empty, or not within the video and after the others"
                ));
            }
            end = shot.end;
        }
        let marks = |marks: &Marks| match marks {
            Marks::Importance(scores) => scores.len(),
            Marks::Chosen(chosen) => chosen.len(),
        };
        match self.people.iter().map(marks).find(|marks| *marks != self.frames) {
            Some(marks) => Err(format!("someone marked {marks} frames, and it has {}", self.frames)),
            None => Ok(()),
        }
    }

    /// What files about it are called, without their extension.
    pub fn file_stem(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or_default()
    }
}

/// What a person marked in a video, frame by frame: `frames` of them.
#[derive(Clone, Debug, PartialEq)]
pub enum Marks {
    /// How much each frame matters, on the data set's scale.
    Importance(Vec<f32>),
    /// The frames of the person's summary.
    Chosen(Vec<bool>),
}

/// Why annotations can't be read.
#[derive(Debug, Error)]
pub enum AnnotationError {
    #[error("{path} can't be read: {source}", path = path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path} is not {expected}: {reason}", path = path.display())]
    Format { path: PathBuf, expected: &'static str, reason: String },
    #[error("{path} has no {kind} {variable}: give the file as it was published", path = path.display())]
    Variable { path: PathBuf, kind: &'static str, variable: String },
    #[error("{path}, video {video}: {reason}", path = path.display())]
    Video { path: PathBuf, video: String, reason: String },
    #[error("{path} has no {what}: give {give}", path = path.display())]
    Empty { path: PathBuf, what: &'static str, give: &'static str },
    #[error(transparent)]
    Composites(#[from] ReadError),
}

impl AnnotationError {
    fn video(path: &Path, video: &str, reason: impl Into<String>) -> Self {
        Self::Video { path: path.into(), video: video.into(), reason: reason.into() }
    }
}

/// Reads a data set as it was published. `path` is
/// - TVSum: `ydata-tvsum50.mat`, or `ydata-tvsum50-anno.tsv` (with `ydata-tvsum50-info.tsv` beside it the frame rates are known
///   too), or a folder with one of them;
/// - SumMe: the folder `GT` of `.mat` files;
/// - CoSum: the folder that has `shots` and `annotation`;
/// - composites: the folder as `desumnet-train compose` writes it.
///
/// `shots` is a file for TVSum as `shot_TVSum.mat`: the variable `shot_boundaries`, a cell for each video in the order of
/// `ydata-tvsum50.mat`, with its boundaries from 0 to the number of frames. Without it, the one beside the annotations is taken, if there.
///
/// # Errors
/// [`AnnotationError`]: a file that is missing or is not what it should be, a folder without annotations, or a video, by its name,
/// whose annotations contradict themselves.
pub fn read(kind: Kind, path: &Path, shots: Option<&Path>) -> Result<Dataset, AnnotationError> {
    let mut warnings = Vec::new();
    let videos = match kind {
        Kind::Tvsum => tvsum::read(path, shots)?,
        Kind::Summe => summe::read(path)?,
        Kind::Cosum => cosum::read(path, &mut warnings)?,
        Kind::Composites => composites::read(path)?,
    };
    let mut names = HashSet::new();
    for video in &videos {
        let wrong = |reason: String| AnnotationError::video(&file_of(kind, path, video), &video.name, reason);
        video.check().map_err(wrong)?;
        if !names.insert(&video.name) {
            return Err(wrong("another has the same name; leave one of them out".into()));
        }
    }
    Ok(Dataset { kind, videos, warnings })
}

/// The file of a data set that a video's marks are in.
fn file_of(kind: Kind, path: &Path, video: &Video) -> PathBuf {
    let Video { name, topic, .. } = video;
    match kind {
        Kind::Tvsum => tvsum::file(path).unwrap_or_else(|_| path.into()),
        Kind::Summe => path.join(format!("{name}.mat")),
        Kind::Cosum => path.join("shots").join(topic.as_deref().unwrap_or_default()).join(format!("{name}_shots.txt")),
        Kind::Composites => path.join(format!("{name}.json")),
    }
}

/// Whether a video can have so many frames: before room is made for their marks.
///
/// # Errors
/// If not.
fn check_frames(frames: usize) -> Result<(), String> {
    if FRAMES.contains(&frames) {
        return Ok(());
    }
    Err(format!(
        "{frames} frames are not within {} to {}; give the file as it was published",
        FRAMES.start(),
        FRAMES.end()
    ))
}

/// The ranges between neighbouring boundaries.
///
/// # Errors
/// Says which boundary does not rise, or that there are not two.
fn between(boundaries: &[usize]) -> Result<Vec<Range<usize>>, String> {
    if boundaries.len() < 2 {
        return Err(format!("{} shot boundaries; at least 2 are needed", boundaries.len()));
    }
    match boundaries.windows(2).find(|pair| pair[0] >= pair[1]) {
        Some(pair) => Err(format!("shot boundary {} does not lie after {}", pair[1], pair[0])),
        None => Ok(boundaries.windows(2).map(|pair| pair[0]..pair[1]).collect()),
    }
}

/// What lies in a folder, by name.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, AnnotationError> {
    let read = |source| AnnotationError::Read { path: folder.into(), source };
    let entries = folder.read_dir().map_err(read)?.map(|entry| entry.map(|entry| entry.path()));
    let mut entries = entries.collect::<Result<Vec<_>, _>>().map_err(read)?;
    entries.sort();
    Ok(entries)
}

/// A file's name without its extension.
fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
