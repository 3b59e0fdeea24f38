//! Composites as a data set: the one person is the truth.

use std::path::Path;

use super::{AnnotationError, Marks, Video};
use crate::training::compose;

/// Videos are called CATEGORY/NAME; a shot is a part, and the parts of the category are chosen.
pub fn read(folder: &Path) -> Result<Vec<Video>, AnnotationError> {
    let composites = compose::read(folder)?;
    let video = |(path, composite): (std::path::PathBuf, compose::Composite)| {
        let path = path.with_extension("");
        let range = |part: &compose::Part| {
            let first = part.first_frame as usize;
            first..first + part.frames as usize
        };
        let frames = composite.frames as usize;
        let mut chosen = vec![false; frames];
        for part in composite.parts.iter().filter(|part| part.relevant) {
            chosen[range(part)].fill(true);
        }
        let [numerator, denominator] = composite.frame_rate.map(f64::from);
        Video {
            name: path.strip_prefix(folder).unwrap_or(&path).display().to_string(),
            topic: Some(composite.category.clone()),
            frames,
            fps: Some(numerator / denominator),
            shots: composite.parts.iter().map(range).collect(),
            people: vec![Marks::Chosen(chosen)],
        }
    };
    Ok(composites.into_iter().map(video).collect())
}
