//! Labelled videos in memory: a folder per category, decoded through the element's own clip code.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use rand::{Rng, RngExt};
use thiserror::Error;

use crate::{
    clip::{Clip, FRAMES, Frame},
    decode::Decoder,
};

/// Share of videos that may be broken before the run stops.
const BROKEN_LIMIT: f64 = 0.05;

/// Why a data set can't be used.
#[derive(Debug, Error)]
pub enum DataError {
    #[error("{path} can't be read: {source}; give a folder that holds a folder of videos per category")]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("{path} holds no videos; give a folder that holds a folder of videos per category")]
    Empty { path: PathBuf },
    #[error("{path} has the categories {found:?}, the training set {expected:?}; use the same folder names in both")]
    Categories { path: PathBuf, found: Vec<String>, expected: Vec<String> },
    #[error("{broken} of {all} videos can't be decoded, more than 1 in 20:\n{list}\nmend or remove them")]
    Broken { broken: usize, all: usize, list: String },
}

/// A decoded video.
pub struct Video {
    pub path: PathBuf,
    /// Number of its category in [`Dataset::categories`].
    pub category: usize,
    frames: Vec<Frame>,
}

impl Video {
    /// 16 consecutive frames from a random place.
    pub fn random_clip(&self, rng: &mut impl Rng) -> Clip {
        let start = rng.random_range(0..=self.frames.len().saturating_sub(FRAMES));
        let end = (start + FRAMES).min(self.frames.len());
        Clip::padded(self.frames[start..end].to_vec()).expect("a video has at least one frame")
    }
}

/// Videos with a category each.
pub struct Dataset {
    /// Names of the folders, sorted.
    pub categories: Vec<String>,
    pub videos: Vec<Video>,
    /// What could not be decoded, and why.
    pub broken: Vec<String>,
}

impl Dataset {
    /// Decodes every video under `folder/<category>/`. `progress` is called with the numbers of videos done and to do.
    ///
    /// # Errors
    /// [`DataError`]; a few broken videos are left out and listed, more than 5 % are an error.
    pub fn load(folder: &Path, progress: impl Fn(usize, usize) + Sync) -> Result<Self, DataError> {
        let mut listing = BTreeMap::new();
        for category in entries(folder)?.into_iter().filter(|path| path.is_dir()) {
            let name = category.file_name().unwrap_or_default().to_string_lossy().into_owned();
            listing.insert(name, entries(&category)?);
        }
        let categories: Vec<String> = listing.keys().cloned().collect();
        let files: Vec<(usize, PathBuf)> =
            listing.into_values().enumerate().flat_map(|(c, files)| files.into_iter().map(move |f| (c, f))).collect();
        if files.is_empty() {
            return Err(DataError::Empty { path: folder.into() });
        }
        let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some((category, path)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let video = read(path, *category);
                        let mut done = done.lock().unwrap_or_else(|e| e.into_inner());
                        done.push(video);
                        progress(done.len(), files.len());
                    }
                });
            }
        });
        let (mut videos, mut broken) = (Vec::new(), Vec::new());
        for video in done.into_inner().unwrap_or_else(|e| e.into_inner()) {
            match video {
                Ok(video) => videos.push(video),
                Err(reason) => broken.push(reason),
            }
        }
        if broken.len() as f64 > BROKEN_LIMIT * files.len() as f64 {
            broken.sort();
            return Err(DataError::Broken { broken: broken.len(), all: files.len(), list: broken.join("\n") });
        }
        // Threads finish in any order; a run with the same seed is to see the same one.
        videos.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { categories, videos, broken })
    }

    /// The same, for a set that must have the given categories.
    ///
    /// # Errors
    /// [`DataError`]
    pub fn load_like(
        folder: &Path,
        expected: &[String],
        progress: impl Fn(usize, usize) + Sync,
    ) -> Result<Self, DataError> {
        let set = Self::load(folder, progress)?;
        if set.categories == expected {
            return Ok(set);
        }
        Err(DataError::Categories { path: folder.into(), found: set.categories, expected: expected.to_vec() })
    }

    /// Mean and standard deviation of the pixels, RGB, over every tenth frame.
    pub fn pixel_statistics(&self) -> ([f64; 3], [f64; 3]) {
        let (mut sum, mut squares, mut count) = ([0u64; 3], [0u64; 3], 0u64);
        for frame in self.videos.iter().flat_map(|video| video.frames.iter().step_by(10)) {
            for pixel in frame.pixels().chunks_exact(3) {
                for channel in 0..3 {
                    let value = u64::from(pixel[channel]);
                    sum[channel] += value;
                    squares[channel] += value * value;
                }
                count += 1;
            }
        }
        let mean = sum.map(|s| s as f64 / count as f64);
        let std = std::array::from_fn(|c| (squares[c] as f64 / count as f64 - mean[c] * mean[c]).sqrt().max(1.0));
        (mean, std)
    }
}

/// Names in a folder, sorted; hidden ones left out.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let unreadable = |source| DataError::Folder { path: folder.into(), source };
    let mut paths = std::fs::read_dir(folder)
        .map_err(unreadable)?
        .map(|entry| entry.map(|e| e.path()).map_err(unreadable))
        .collect::<Result<Vec<_>, _>>()?;
    paths.retain(|p| !p.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.')));
    paths.sort();
    Ok(paths)
}

fn read(path: &Path, category: usize) -> Result<Video, String> {
    let decode = || {
        let mut decoder = Decoder::open(&path.to_string_lossy())?;
        let mut frames = Vec::new();
        while let Some(picture) = decoder.next_picture()? {
            frames.push(decoder.scale(&picture)?);
        }
        Ok(frames)
    };
    let frames = decode().map_err(|e: crate::decode::DecodeError| e.to_string())?;
    if frames.is_empty() {
        Err(format!("{}: no frame in it", path.display()))
    } else {
        Ok(Video { path: path.into(), category, frames })
    }
}
