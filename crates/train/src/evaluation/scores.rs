//! Scores of videos as files, to be measured.

use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use thiserror::Error;

use super::{
    annotations::{self, Video},
    methods::LARGEST,
    results::FrameScores,
};
use desumnet_decide::shot_scores::Scored;
use desumnet_frames::frame_rate::FrameRate;

/// By how many frames scores and annotations may differ: a segment's, or where that is more, this share of the video. Containers
/// and decoders do not agree on the last frames.
const FRAMES: usize = 16;
const SHARE: f64 = 0.005;

/// Why scores can't be read.
#[derive(Debug, Error)]
pub enum ScoresError {
    #[error("{path} can't be read: {source}", path = .0.display(), source = .1)]
    Read(PathBuf, std::io::Error),
    #[error("{path} holds no scores: {reason}; write it with desumnet score --json, or as a list of one number a frame", path = .0.display(), reason = .1)]
    Format(PathBuf, serde_json::Error),
    #[error("{path}: {reason}; write it anew with desumnet score --json, or as a list of one number a frame", path = path.display())]
    Value { path: PathBuf, reason: String },
    #[error("{path}: the frame rate is told neither by the annotations nor by the scores", path = .0.display())]
    FrameRate(PathBuf),
    #[error(
        "{path} scores {scored} frames and {annotated} are annotated: it is not the same video, or not all of it",
        path = path.display()
    )]
    Length { path: PathBuf, scored: usize, annotated: usize },
    #[error("{path} has scores of none of the annotated videos: name the files after them, as in {example}.json", path = path.display())]
    None { path: PathBuf, example: String },
}

/// What `desumnet score --json` writes, as far as it counts here.
#[derive(Deserialize)]
struct Document {
    duration_ns: u64,
    frame_rate: FrameRate,
    segments: Vec<Scored>,
}

/// A score for each frame of each video that has a file `NAME.json` in the folder, and what was left out, for people to read. A
/// file is the document that `desumnet score --json` writes, or a list with a number for each frame.
///
/// Frames get their scores by [`spread`]. Scores of a few frames more than are annotated are cut; where a few are missing, the last
/// one holds. It is said then.
///
/// # Errors
/// [`ScoresError`]: a file that is no such document or is of another length, or no file for any video.
pub fn read(folder: &Path, videos: &[Video]) -> Result<(FrameScores, Vec<String>), ScoresError> {
    let failed = |error| ScoresError::Read(folder.into(), error);
    let mut files = BTreeMap::new();
    for entry in folder.read_dir().map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            files.insert(path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), path);
        }
    }
    let (mut scores, mut warnings, mut without) = (BTreeMap::new(), Vec::new(), Vec::new());
    for video in videos {
        let Some(path) = files.remove(video.file_stem()) else {
            without.push(video.name.as_str());
            continue;
        };
        let (frames, said) = fit(frame_scores(&path, video)?, video)
            .map_err(|(scored, annotated)| ScoresError::Length { path, scored, annotated })?;
        warnings.extend(said);
        scores.insert(video.name.clone(), frames);
    }
    if scores.is_empty() {
        let example = videos.first().map_or_else(String::new, |video| video.file_stem().into());
        return Err(ScoresError::None { path: folder.into(), example });
    }
    if !files.is_empty() {
        let names: Vec<&str> = files.keys().map(String::as_str).collect();
        warnings.push(format!("not annotated, left out ({}): {}", names.len(), names.join(", ")));
    }
    if !without.is_empty() {
        warnings.push(format!(
            "without scores, left out ({} of {}): {}",
            without.len(),
            videos.len(),
            without.join(", ")
        ));
    }
    Ok((scores, warnings))
}

/// A score for each frame that the file scores.
fn frame_scores(path: &Path, video: &Video) -> Result<Vec<f64>, ScoresError> {
    let format = |error| ScoresError::Format(path.into(), error);
    let text = std::fs::read_to_string(path).map_err(|error| ScoresError::Read(path.into(), error))?;
    let wrong = |reason: String| ScoresError::Value { path: path.into(), reason };
    // Sums of others leave the range of numbers.
    let sensible = |place: usize, score: f64| {
        if score.abs() <= LARGEST {
            return Ok(());
        }
        Err(wrong(format!("score {place} is {score}, which is no sensible number")))
    };
    if text.trim_start().starts_with('[') {
        let scores: Vec<f64> = serde_json::from_str(&text).map_err(format)?;
        scores.iter().enumerate().try_for_each(|(place, score)| sensible(place, *score))?;
        return Ok(scores);
    }
    let document: Document = serde_json::from_str(&text).map_err(format)?;
    for (place, segment) in document.segments.iter().enumerate() {
        sensible(place, segment.score)?;
        if segment.start_ns.checked_add(segment.duration_ns).is_none() {
            return Err(wrong(format!("segment {place} ends later than 64 bits of nanoseconds can tell")));
        }
    }
    let rate = f64::from(document.frame_rate.numerator) / f64::from(document.frame_rate.denominator);
    let fps = video.fps.or((rate > 0.0).then_some(rate)).ok_or_else(|| ScoresError::FrameRate(path.into()))?;
    let at = |ns: u64| ns as f64 / 1e9 * fps;
    let frames = at(document.duration_ns).round() as usize;
    if frames > *annotations::FRAMES.end() {
        return Err(wrong(format!("`duration_ns` is {}, which makes {frames} frames", document.duration_ns)));
    }
    let segments = document.segments.iter().map(|s| (at(s.start_ns)..at(s.end_ns()), s.score));
    Ok(spread(segments, frames))
}

/// A score for each frame, from those of segments, whose ends are counted in frames. A frame has the score of the segment in which its
/// middle lies; where segments overlap, their mean; where there is none, 0.
pub fn spread(segments: impl Iterator<Item = (Range<f64>, f64)>, frames: usize) -> Vec<f64> {
    let (mut sums, mut counts) = (vec![0.0; frames], vec![0.0f64; frames]);
    for (segment, score) in segments {
        let first = |at: f64| ((at - 0.5).ceil().max(0.0) as usize).min(frames);
        for frame in first(segment.start)..first(segment.end) {
            sums[frame] += score;
            counts[frame] += 1.0;
        }
    }
    sums.into_iter().zip(counts).map(|(sum, count)| sum / count.max(1.0)).collect()
}

/// Scores for as many frames as are annotated, and what was done to them, for people to read. The two lengths, scored and annotated,
/// where they differ by too much.
pub fn fit(mut scores: Vec<f64>, video: &Video) -> Result<(Vec<f64>, Option<String>), (usize, usize)> {
    let (scored, annotated) = (scores.len(), video.frames);
    let most = FRAMES.max((annotated as f64 * SHARE) as usize);
    let last = scores.last().copied().filter(|_| scored.abs_diff(annotated) <= most);
    scores.resize(annotated, last.ok_or((scored, annotated))?);
    let said = (scored != annotated).then(|| {
        let done = if scored > annotated { "the rest is cut" } else { "the last score holds for the rest" };
        format!("{}: {scored} frames are scored and {annotated} annotated; {done}", video.name)
    });
    Ok((scores, said))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn video(name: &str, frames: usize, fps: Option<f64>) -> Video {
        Video { name: name.into(), topic: None, frames, fps, shots: Vec::new(), people: Vec::new() }
    }

    /// A folder with these files.
    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    /// Two segments of 2 frames at 25 a second and one of 1; the second and the third overlap.
    const DOCUMENT: &str = r#"{"video": "a.mp4", "duration_ns": 200000000, "frame_rate": "25/1", "segments": [
        {"index": 0, "start_ns": 0, "duration_ns": 80000000, "score": 1.0},
        {"index": 1, "start_ns": 80000000, "duration_ns": 80000000, "score": 2.0},
        {"index": 2, "start_ns": 120000000, "duration_ns": 80000000, "score": 4.0}]}"#;

    #[test]
    fn a_segment_scores_its_frames() {
        let folder = folder(&[("a.json", DOCUMENT)]);
        let (scores, warnings) = read(folder.path(), &[video("a", 5, None)]).unwrap();
        assert_eq!((&scores["a"][..], warnings), (&[1.0, 1.0, 2.0, 3.0, 4.0][..], Vec::new()));
        // The annotations' frame rate counts: it is time that the two share.
        let (scores, _) = read(folder.path(), &[video("a", 10, Some(50.0))]).unwrap();
        assert_eq!(scores["a"], [1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0]);
    }

    #[test]
    fn a_few_frames_more_or_less_are_said() {
        let folder = folder(&[("a.json", "[1, 2, 3.5]"), ("b.json", "[1, 2, 3.5]")]);
        let (scores, warnings) = read(folder.path(), &[video("a", 2, None), video("b", 5, None)]).unwrap();
        assert_eq!((&scores["a"][..], &scores["b"][..]), (&[1.0, 2.0][..], &[1.0, 2.0, 3.5, 3.5, 3.5][..]));
        assert_eq!(
            warnings,
            [
                "a: 3 frames are scored and 2 annotated; the rest is cut",
                "b: 3 frames are scored and 5 annotated; the last score holds for the rest"
            ]
        );
    }

    #[test]
    fn many_frames_more_or_less_are_an_error_that_names_both_lengths() {
        let folder = folder(&[("a.json", &format!("{:?}", [0; 1_000]))]);
        let length =
            |annotated: usize| read(folder.path(), &[video("a", annotated, None)]).map(|(scores, _)| scores["a"].len());
        assert_eq!((length(1_016).unwrap(), length(984).unwrap()), (1_016, 984));
        for annotated in [1_017, 983] {
            let error = length(annotated).unwrap_err().to_string();
            assert!(error.contains(&format!("scores 1000 frames and {annotated} are annotated")), "{error}");
        }
        // Half a percent of a long video is more than 16 frames.
        std::fs::write(folder.path().join("a.json"), format!("{:?}", vec![0; 9_950])).unwrap();
        assert_eq!(length(10_000).unwrap(), 10_000);
        assert!(length(10_001).is_err());
        // An empty list is no score at all.
        std::fs::write(folder.path().join("a.json"), "[]").unwrap();
        assert!(length(5).is_err());
    }

    #[test]
    fn videos_without_scores_and_scores_without_annotations_are_counted_and_left_out() {
        let folder = folder(&[("b.json", "[1, 2]"), ("x.json", "not read"), ("y.json", ""), ("note.txt", "")]);
        let videos = [video("a", 2, None), video("b", 2, None), video("c", 2, None)];
        let (scores, warnings) = read(folder.path(), &videos).unwrap();
        assert_eq!(scores.keys().collect::<Vec<_>>(), ["b"]);
        assert_eq!(warnings, ["not annotated, left out (2): x, y", "without scores, left out (2 of 3): a, c"]);
        let error = read(folder.path(), &videos[..1]).unwrap_err().to_string();
        assert!(
            error.ends_with("has scores of none of the annotated videos: name the files after them, as in a.json"),
            "{error}"
        );
    }

    #[test]
    fn figures_beyond_reason_are_named_and_make_no_room() {
        let long = DOCUMENT.replace("\"duration_ns\": 200000000,", "\"duration_ns\": 18446744073709551615,");
        let late = DOCUMENT.replace("\"start_ns\": 120000000", "\"start_ns\": 18446744073709551615");
        let large = DOCUMENT.replace("4.0", "1e300");
        let folder = folder(&[("a.json", &long), ("b.json", &late), ("c.json", &large), ("d.json", "[1, -1e31]")]);
        for (name, reason) in [
            ("a", "`duration_ns` is 18446744073709551615, which makes 461168601843 frames"),
            ("b", "segment 2 ends later than 64 bits of nanoseconds can tell"),
            ("c", "score 2 is 1000"),
            ("d", "score 1 is -1000"),
        ] {
            let error = read(folder.path(), &[video(name, 5, None)]).unwrap_err().to_string();
            assert!(error.contains(&format!("{name}.json: {reason}")) && error.contains("write it anew"), "{error}");
        }
    }

    #[test]
    fn what_holds_no_scores_is_named_with_the_remedy() {
        let variable = DOCUMENT.replace("25/1", "0/1");
        let folder = folder(&[("a.json", "{}"), ("b.json", "[1, \"x\"]"), ("c.json", &variable), ("d.json", "")]);
        let error = |name: &str| read(folder.path(), &[video(name, 5, None)]).unwrap_err().to_string();
        for name in ["a", "b", "d"] {
            let error = error(name);
            assert!(
                error.contains(&format!("{name}.json holds no scores")) && error.contains("desumnet score --json"),
                "{error}"
            );
        }
        assert!(error("c").contains("c.json: the frame rate is told neither"));
        assert!(read(&folder.path().join("none"), &[]).unwrap_err().to_string().contains("can't be read"));
        // Variable frame rates in the video are no trouble where the annotations tell theirs.
        assert_eq!(read(folder.path(), &[video("c", 5, Some(25.0))]).unwrap().0["c"], [1.0, 1.0, 2.0, 3.0, 4.0]);
    }
}
