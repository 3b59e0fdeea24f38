//! What another network makes of clips, for the trunk to learn: distillation (Hinton et al., 2015, of features instead of probabilities).
//!
//! The teacher looks at every segment once, at the part of the picture that scoring takes. Its features are standardised over all videos, so
//! that none outweighs the others, and so that a loss of 1 is that of a network that has learned nothing.

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use super::data::{CacheError, Dataset, Stored};
use desumnet_engine::network::{ComputeError, Network};
use desumnet_files::whole_file;
use desumnet_frames::clip::Geometry;

/// Segments that go through the teacher at once.
const BATCH: usize = 4;

/// Why a network can't teach.
#[derive(Debug, thiserror::Error)]
pub enum TeacherError {
    #[error(
        "{0} takes other clips than the trunk, which sees 16 frames of 112x112 pixels cut from 171x128; export it to take those \
         (`clip_length` 16, `size` 112)"
    )]
    Geometry(PathBuf),
    #[error("{0} gives no features; export it with features [N, D] as a second output")]
    NoFeatures(PathBuf),
    #[error("{path} can't be written: {source}; free disk space or give another --cache")]
    Unwritable { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(transparent)]
    Compute(#[from] ComputeError),
}

/// The teacher's features of every segment of every video, standardised.
pub struct Lessons {
    /// Digits that tell teachers apart.
    pub teacher: String,
    /// Features of a segment.
    pub width: usize,
    /// Of each video, in the order of [`Dataset::video`], its segments' one after the other.
    of: Vec<Vec<f32>>,
}

impl Lessons {
    /// Asks the teacher about what it was not asked before: its answers are kept beside the videos' frames. `progress` is called with the
    /// number of videos done.
    ///
    /// # Errors
    /// [`TeacherError`]
    pub fn of(
        teacher: &Network,
        path: &Path,
        data: &Dataset,
        mut progress: impl FnMut(usize),
    ) -> Result<Self, TeacherError> {
        if teacher.clip != Geometry::PAPER {
            return Err(TeacherError::Geometry(path.into()));
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(&std::fs::read(path).map_err(|source| CacheError::Damaged { path: path.into(), source })?);
        // TorchScript's description of what it takes.
        hasher.update(&std::fs::read(path.with_extension("json")).unwrap_or_default());
        let digits = hasher.finalize().to_hex()[..12].to_owned();
        let name = format!("{digits}.features");
        let (mut width, mut of) = (0, Vec::new());
        for (done, video) in data.videos.iter().chain(&data.none).enumerate() {
            let features = features_of(teacher, path, &video.stored, &name)?;
            width = features.len() / video.stored.segments();
            of.push(features);
            progress(done + 1);
        }
        let mut lessons = Self { teacher: digits, width, of };
        lessons.standardise();
        Ok(lessons)
    }

    /// What the trunk is to give for these frames of a video: that of the segments that they are of, each by its share.
    pub fn at(&self, video: usize, stored: &Stored, frames: &Range<usize>) -> Vec<f32> {
        let mut sum = vec![0.0; self.width];
        for (segment, features) in self.of[video].chunks_exact(self.width).enumerate() {
            let of = stored.frames_of(segment);
            let shared = of.end.min(frames.end).saturating_sub(of.start.max(frames.start));
            if shared > 0 {
                let share = shared as f32 / frames.len() as f32;
                sum.iter_mut().zip(features).for_each(|(sum, feature)| *sum += share * feature);
            }
        }
        sum
    }

    /// To mean 0 and deviation 1, over all segments. What never changes becomes 0.
    fn standardise(&mut self) {
        let (mut count, mut sum, mut squares) = (0.0, vec![0.0f64; self.width], vec![0.0f64; self.width]);
        for features in self.of.iter().flat_map(|of| of.chunks_exact(self.width)) {
            count += 1.0;
            for (i, &feature) in features.iter().enumerate() {
                sum[i] += f64::from(feature);
                squares[i] += f64::from(feature).powi(2);
            }
        }
        for features in self.of.iter_mut().flat_map(|of| of.chunks_exact_mut(self.width)) {
            for (i, feature) in features.iter_mut().enumerate() {
                let mean = sum[i] / count;
                let deviation = (squares[i] / count - mean * mean).max(0.0).sqrt();
                *feature = if deviation > 1e-6 { ((f64::from(*feature) - mean) / deviation) as f32 } else { 0.0 };
            }
        }
    }
}

/// A video's features, one segment's after the other.
fn features_of(teacher: &Network, path: &Path, stored: &Stored, name: &str) -> Result<Vec<f32>, TeacherError> {
    let kept = stored.path().with_extension(name);
    if let Ok(bytes) = std::fs::read(&kept) {
        let features: Vec<f32> = bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        if !features.is_empty() && features.len().is_multiple_of(stored.segments()) {
            return Ok(features);
        }
    }
    let segments: Vec<usize> = (0..stored.segments()).collect();
    let mut features = Vec::new();
    for batch in segments.chunks(BATCH) {
        let clips = batch.iter().map(|&segment| Ok(stored.segment(segment)?.centre_crop()));
        let clips = clips.collect::<Result<Vec<_>, CacheError>>()?;
        let clips: Vec<&[u8]> = clips.iter().map(Vec::as_slice).collect();
        let rows = teacher.features_of(&clips)?.ok_or_else(|| TeacherError::NoFeatures(path.into()))?;
        features.extend(rows.into_iter().flatten());
    }
    let bytes: Vec<u8> = features.iter().flat_map(|feature| feature.to_le_bytes()).collect();
    whole_file::write(&kept, &bytes).map_err(|source| TeacherError::Unwritable { path: kept, source })?;
    Ok(features)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_standardised_over_all_segments() {
        // Of two videos, three segments in all; the second feature never changes.
        let mut lessons =
            Lessons { teacher: String::new(), width: 2, of: vec![vec![1.0, 7.0, 2.0, 7.0], vec![6.0, 7.0]] };
        lessons.standardise();
        let deviation = (14.0f64 / 3.0).sqrt();
        let expected = [-2.0, 0.0, -1.0, 0.0, 3.0, 0.0].map(|off| (off / deviation) as f32);
        for (got, expected) in lessons.of.concat().iter().zip(expected) {
            assert!((got - expected).abs() < 1e-6, "{got} {expected}");
        }
    }
}
