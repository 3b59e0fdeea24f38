//! CoSum: shots that people chose.

use std::path::{Path, PathBuf};

use super::{AnnotationError, Marks, Video, between, check_frames, entries, matlab::Variables, stem};

/// `shots/TOPIC/NAME_shots.txt`, a shot boundary a line, and `annotation/TOPIC/N__PERSON.mat`, N being the number that NAME ends
/// with: `labels`, whose first column has the numbers of the chosen shots, from 1.
///
/// Frames are counted from 1 in the files. The videos' frame rates are not told, nor their lengths: the last boundary is taken for it.
pub fn read(folder: &Path, warnings: &mut Vec<String>) -> Result<Vec<Video>, AnnotationError> {
    let mut videos = Vec::new();
    for topic in entries(&folder.join("shots"))?.into_iter().filter(|path| path.is_dir()) {
        for file in entries(&topic)? {
            if let Some(name) = stem(&file).strip_suffix("_shots") {
                videos.push(video(folder, &stem(&topic), name, &file, warnings)?);
            }
        }
    }
    if videos.is_empty() {
        let give = "the folder that has shots/TOPIC/NAME_shots.txt and annotation/TOPIC";
        return Err(AnnotationError::Empty { path: folder.into(), what: "lists of shots", give });
    }
    Ok(videos)
}

fn video(
    folder: &Path,
    topic: &str,
    name: &str,
    list: &Path,
    warnings: &mut Vec<String>,
) -> Result<Video, AnnotationError> {
    let wrong = |reason: String| AnnotationError::video(list, name, reason);
    let text = std::fs::read_to_string(list).map_err(|source| AnnotationError::Read { path: list.into(), source })?;
    let boundary = |line: &str| line.parse::<usize>().ok().and_then(|frame| frame.checked_sub(1));
    let boundaries = text.split_whitespace().map(boundary).collect::<Option<Vec<_>>>();
    let shots =
        boundaries.ok_or("a line is not a frame number, from 1".into()).and_then(|b| between(&b)).map_err(wrong)?;
    let frames = shots[shots.len() - 1].end;
    check_frames(frames).map_err(wrong)?;
    let number = &name[name.trim_end_matches(|c: char| c.is_ascii_digit()).len()..];
    let people = annotations(&folder.join("annotation").join(topic), number)?;
    if people.is_empty() {
        return Err(wrong(format!("nobody annotated it: there is no annotation/{topic}/{number}__PERSON.mat")));
    }
    let person = |path: &PathBuf| {
        let labels = Variables::load(path)?.matrix("labels")?;
        let mut chosen = vec![false; frames];
        for &shot in labels.columns().next().unwrap_or_default() {
            match (shot >= 1.0 && shot.fract() == 0.0).then(|| shots.get(shot as usize - 1)).flatten() {
                Some(shot) => chosen[shot.clone()].fill(true),
                None => warnings.push(format!(
                    "{topic}/{}: shot {shot} is left out, the video {name} has {}",
                    stem(path),
                    shots.len()
                )),
            }
        }
        Ok(Marks::Chosen(chosen))
    };
    let people = people.iter().map(person).collect::<Result<_, AnnotationError>>()?;
    Ok(Video { name: name.into(), topic: Some(topic.into()), frames, fps: None, shots, people })
}

/// The files of the people who annotated video `number` of a topic.
fn annotations(folder: &Path, number: &str) -> Result<Vec<PathBuf>, AnnotationError> {
    let of = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "mat")
            && stem(path).split_once("__").is_some_and(|(of, _)| of == number)
    };
    Ok(entries(folder)?.into_iter().filter(of).collect())
}
