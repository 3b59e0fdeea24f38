//! SumMe: parts that people chose.

use std::path::Path;

use super::{AnnotationError, Marks, Video, entries, matlab::Variables, stem};

/// A `.mat` file a video: `user_score` (frames x people: which of the person's parts a frame belongs to, 0 where none), `FPS`
/// and `nFrames`. There are no shots.
pub fn read(folder: &Path) -> Result<Vec<Video>, AnnotationError> {
    let files =
        entries(folder)?.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "mat"));
    let videos = files.map(|path| video(&path)).collect::<Result<Vec<_>, _>>()?;
    if videos.is_empty() {
        let (what, give) = ("MATLAB files", "the folder GT of the data set");
        return Err(AnnotationError::Empty { path: folder.into(), what, give });
    }
    Ok(videos)
}

fn video(path: &Path) -> Result<Video, AnnotationError> {
    let name = stem(path);
    let wrong = |reason: String| AnnotationError::video(path, &name, reason);
    let file = Variables::load(path)?;
    let number = |variable: &str| match file.matrix(variable)?.values[..] {
        [number] if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err(wrong(format!("{variable} is not one number above 0"))),
    };
    let (frames, fps) = (number("nFrames")?, number("FPS")?);
    if frames.fract() != 0.0 {
        return Err(wrong(format!("nFrames is {frames}, which is no whole number")));
    }
    let frames = frames as usize;
    let marks = file.matrix("user_score")?;
    if marks.rows != frames || marks.values.is_empty() {
        return Err(wrong(format!("user_score has {} rows and nFrames is {frames}", marks.rows)));
    }
    let people = marks.columns().map(|column| Marks::Chosen(column.iter().map(|&mark| mark > 0.0).collect()));
    Ok(Video { people: people.collect(), topic: None, frames, fps: Some(fps), shots: Vec::new(), name })
}
