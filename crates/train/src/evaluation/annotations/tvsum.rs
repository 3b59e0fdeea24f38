//! TVSum: scores that people gave, from 1 to 5.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use hdf5_pure::mat::{Matrix, from_bytes};
use serde::Deserialize;

use super::{AnnotationError, Marks, Video, between, matlab::Variables};
use crate::foreign;

/// The release's files.
const MATLAB: &str = "ydata-tvsum50.mat";
const SCORES: &str = "ydata-tvsum50-anno.tsv";
const INFO: &str = "ydata-tvsum50-info.tsv";
const SHOTS: &str = "shot_TVSum.mat";

/// The videos, in the order of the file, with their shots where there is a list of them.
pub fn read(path: &Path, shots: Option<&Path>) -> Result<Vec<Video>, AnnotationError> {
    let path = file(path)?;
    let mut videos =
        if path.extension().is_some_and(|extension| extension == "tsv") { tsv(&path) } else { mat(&path) }?;
    let beside = path.with_file_name(SHOTS);
    if let Some(shots) = shots.or(beside.is_file().then_some(beside.as_path())) {
        add_shots(&mut videos, shots)?;
    }
    Ok(videos)
}

/// Of the annotations.
pub fn file(path: &Path) -> Result<PathBuf, AnnotationError> {
    if !path.is_dir() {
        return Ok(path.into());
    }
    let found = [MATLAB, SCORES].map(|name| path.join(name)).into_iter().find(|path| path.is_file());
    let (what, give) = ("annotations of TVSum", "ydata-tvsum50.mat or ydata-tvsum50-anno.tsv");
    found.ok_or_else(|| AnnotationError::Empty { path: path.into(), what, give })
}

/// A MATLAB file of version 7.3.
#[derive(Deserialize)]
struct Release {
    tvsum50: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    video: String,
    category: String,
    /// s
    length: f64,
    nframes: f64,
    /// Frames x people.
    user_anno: Matrix<f64>,
}

fn mat(path: &Path) -> Result<Vec<Video>, AnnotationError> {
    let format = |reason: String| AnnotationError::Format {
        path: path.into(),
        expected: "TVSum's ydata-tvsum50.mat (MATLAB 7.3)",
        reason,
    };
    let bytes = std::fs::read(path).map_err(|source| AnnotationError::Read { path: path.into(), source })?;
    if !bytes.starts_with(b"MATLAB 7.3") {
        return Err(format("it does not begin as a MATLAB file of version 7.3".into()));
    }
    let broken = |reason: String| format(format!("{reason}; give the file as it was published"));
    let release: Result<Release, _> = foreign::read(|| from_bytes(&bytes)).map_err(broken)?;
    let release = release.map_err(|e| broken(e.to_string()))?;
    let video = |entry: Entry| {
        if entry.user_anno.rows() as f64 != entry.nframes {
            let reason = format!("{} frames have scores and nframes is {}", entry.user_anno.rows(), entry.nframes);
            return Err(AnnotationError::video(path, &entry.video, reason));
        }
        let (scores, people) = (entry.user_anno.data(), entry.user_anno.cols());
        let person = |person| scores.iter().skip(person).step_by(people).map(|&score| score as f32).collect();
        video(path, entry.video, entry.category, Some(entry.length), (0..people).map(person).collect())
    };
    release.tvsum50.into_iter().map(video).collect()
}

/// A line a video and person: the video's id, the code of its category, a score for each frame with commas between.
fn tsv(path: &Path) -> Result<Vec<Video>, AnnotationError> {
    let lengths = path.with_file_name(INFO);
    let lengths = if lengths.is_file() { seconds(&lengths)? } else { HashMap::new() };
    let mut videos: Vec<(String, String, Vec<Vec<f32>>)> = Vec::new();
    for record in rows(path, false)?.into_records() {
        let record = record.map_err(|e| table(path, &e))?;
        let (Some(id), Some(category), Some(scores)) = (record.get(0), record.get(1), record.get(2)) else {
            let reason = format!("a line has {} columns; an id, a category and scores are needed", record.len());
            return Err(AnnotationError::Format { path: path.into(), expected: "TVSum's scores", reason });
        };
        let scores = scores.split(',').map(|score| score.trim().parse().ok()).collect::<Option<Vec<f32>>>();
        let scores = scores.ok_or_else(|| AnnotationError::video(path, id, "a score is not a number"))?;
        match videos.iter_mut().find(|(video, ..)| video == id) {
            Some((.., people)) => people.push(scores),
            None => videos.push((id.into(), category.into(), vec![scores])),
        }
    }
    if videos.is_empty() {
        return Err(AnnotationError::Empty { path: path.into(), what: "scores", give: SCORES });
    }
    let made = videos.into_iter().map(|(id, category, people)| {
        let seconds = lengths.get(&id).copied();
        video(path, id, category, seconds, people)
    });
    made.collect()
}

/// The lengths of the videos, s, from a table with the columns `video_id` and `length` (`5:54`, or seconds).
fn seconds(path: &Path) -> Result<HashMap<String, f64>, AnnotationError> {
    let mut table_rows = rows(path, true)?;
    let titles = table_rows.headers().map_err(|e| table(path, &e))?.clone();
    let column = |title: &str| {
        let found = titles.iter().position(|column| column == title);
        found.ok_or_else(|| AnnotationError::Variable { path: path.into(), kind: "column", variable: title.into() })
    };
    let (id, length) = (column("video_id")?, column("length")?);
    let mut lengths = HashMap::new();
    for record in table_rows.into_records() {
        let record = record.map_err(|e| table(path, &e))?;
        let (id, length) = (record.get(id).unwrap_or_default(), record.get(length).unwrap_or_default());
        let parts = length.split(':').map(|part| part.parse::<f64>().ok());
        let seconds = parts.reduce(|sum, part| Some(sum? * 60.0 + part?)).flatten();
        let seconds = seconds.ok_or_else(|| AnnotationError::video(path, id, format!("{length} is not a length")))?;
        lengths.insert(id.into(), seconds);
    }
    Ok(lengths)
}

fn rows(path: &Path, headers: bool) -> Result<csv::Reader<std::fs::File>, AnnotationError> {
    let mut builder = csv::ReaderBuilder::new();
    // Titles have quotation marks in them.
    builder.delimiter(b'\t').quoting(false).flexible(true).has_headers(headers);
    builder.from_path(path).map_err(|e| table(path, &e))
}

fn table(path: &Path, error: &csv::Error) -> AnnotationError {
    AnnotationError::Format { path: path.into(), expected: "a table with tabs", reason: error.to_string() }
}

fn video(
    path: &Path,
    name: String,
    category: String,
    seconds: Option<f64>,
    people: Vec<Vec<f32>>,
) -> Result<Video, AnnotationError> {
    let frames = people.first().map_or(0, Vec::len);
    let reason = if frames == 0 {
        "nobody scored it".into()
    } else if let Some(other) = people.iter().find(|scores| scores.len() != frames) {
        format!("one person scored {frames} frames and another {}", other.len())
    } else if let Some(score) = people.iter().flatten().find(|score| !(1.0..=5.0).contains(*score)) {
        format!("the score {score} is not within 1 to 5")
    } else if seconds.is_some_and(|seconds| !(seconds.is_finite() && seconds > 0.0)) {
        "its length is not above 0 s".into()
    } else {
        let people = people.into_iter().map(Marks::Importance).collect();
        let fps = seconds.map(|seconds| frames as f64 / seconds);
        return Ok(Video { name, topic: Some(category), frames, fps, shots: Vec::new(), people });
    };
    Err(AnnotationError::video(path, &name, reason))
}

/// Boundaries of a video's shots in each cell, from 0 to its number of frames.
fn add_shots(videos: &mut [Video], path: &Path) -> Result<(), AnnotationError> {
    let cells = Variables::load(path)?.cells("shot_boundaries")?;
    if cells.len() != videos.len() {
        let reason = format!("it has shots of {} videos and {} are annotated", cells.len(), videos.len());
        return Err(AnnotationError::Format { path: path.into(), expected: "these videos' list of shots", reason });
    }
    for (video, cell) in videos.iter_mut().zip(cells) {
        let wrong = |reason: String| AnnotationError::video(path, &video.name, reason);
        let whole = |frame: &f64| frame.fract() == 0.0 && (0.0..=1e15).contains(frame);
        if let Some(frame) = cell.values.iter().find(|frame| !whole(frame)) {
            return Err(wrong(format!("the shot boundary {frame} is no frame number, from 0")));
        }
        let boundaries: Vec<usize> = cell.values.iter().map(|&frame| frame as usize).collect();
        let shots = between(&boundaries).map_err(wrong)?;
        let end = shots[shots.len() - 1].end;
        if end != video.frames {
            return Err(wrong(format!("its shots end at frame {end} and it has {} frames", video.frames)));
        }
        video.shots = shots;
    }
    Ok(())
}
