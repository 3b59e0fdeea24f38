//! Labelled videos: where they are ([`source`]), which of them are of one [`recording`], their frames on disk ([`cache`]), and clips
//! drawn from them.

pub mod cache;
pub mod recording;
pub mod source;

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use rand::{Rng, RngExt};
use thiserror::Error;

pub use cache::{Cache, CacheError, Stored};
pub use recording::{Mark, Seen};
pub use source::{Item, Listing, SourceError};

use super::{BROKEN_LIMIT, in_parallel, teacher::Lessons};
use desumnet_frames::clip::FRAMES;

/// Why a data set can't be used.
#[derive(Debug, Error)]
pub enum DataError {
    #[error("{broken} of {all} videos can't be decoded, more than 1 in 20:\n{list}\nmend or remove them")]
    Broken { broken: usize, all: usize, list: String },
    #[error("of the category `{0}` no video is left, those there are broken; mend them or remove the category")]
    Emptied(String),
    #[error(
        "the category `{category}` is none of the model's ({known}); remove it, or fine-tune the model to it first"
    )]
    Category { category: String, known: String },
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// A decoded video.
pub struct Video {
    pub path: PathBuf,
    /// Number of its category in [`Dataset::categories`].
    pub category: usize,
    /// Its frames, on disk.
    pub stored: Stored,
    /// How many times `--clips-per-video` random clips it has in an epoch.
    pub draws: usize,
    /// By which its recording is known.
    pub marks: Vec<Mark>,
    /// Segments that clips are of, and their frames: all, unless adaptation kept only a part.
    kept: Vec<usize>,
    spans: Vec<Range<usize>>,
}

impl Video {
    fn new(item: &Item, stored: Stored) -> Self {
        let (kept, spans) = ((0..stored.segments()).collect(), Vec::from_iter(Some(0..stored.frames())));
        let Item { path, category, marks } = item.clone();
        Self { path, category, stored, draws: 1, marks, kept, spans }
    }

    /// Takes clips of these segments alone, from now on. Neighbours become one span.
    ///
    /// # Panics
    /// If a number is not that of a segment.
    pub fn keep_segments(&mut self, segments: &[usize]) {
        self.kept = segments.into();
        self.spans.clear();
        for &segment in segments {
            let frames = self.stored.frames_of(segment);
            match self.spans.last_mut() {
                Some(last) if last.end == frames.start => last.end = frames.end,
                _ => self.spans.push(frames),
            }
        }
    }

    /// Its clips that share no frame: the segments of 16 frames. Where none has as many, the longest, which [`Stored::segment`] fills up.
    pub fn clips(&self) -> Vec<usize> {
        let frames = |segment: &usize| self.stored.frames_of(*segment).len();
        let most = self.kept.iter().map(frames).max();
        let mut clips = self.kept.clone();
        clips.retain(|segment| Some(frames(segment)) == most);
        clips.truncate(if most == Some(FRAMES) { clips.len() } else { 1 });
        clips
    }

    /// Numbers of 16 consecutive frames from a random place; fewer where a span is shorter.
    ///
    /// # Panics
    /// If no segment was kept.
    pub fn random_place(&self, rng: &mut impl Rng) -> Range<usize> {
        // Every place where a clip can begin is as likely as any other.
        let places = |span: &Range<usize>| span.len().saturating_sub(FRAMES) + 1;
        let mut place = rng.random_range(0..self.spans.iter().map(places).sum());
        for span in &self.spans {
            if place < places(span) {
                let start = span.start + place;
                return start..(start + FRAMES).min(span.end);
            }
            place -= places(span);
        }
        unreachable!("the place is in one of the spans")
    }
}

/// Videos with a category each.
pub struct Dataset {
    pub categories: Vec<String>,
    pub videos: Vec<Video>,
    /// Videos that show none of the categories, to learn that they don't.
    pub none: Vec<Video>,
    /// What could not be decoded, and why.
    pub broken: Vec<String>,
    /// Features of a teacher that the network is to give beside its categories.
    pub lessons: Option<Lessons>,
}

impl Dataset {
    /// Decodes the videos that the cache does not hold yet, on all processors. `progress` is called with the numbers of
    /// videos done and to do.
    ///
    /// # Errors
    /// [`DataError`]; a few broken videos are left out and listed, more than 5 % are an error.
    pub fn open(listing: Listing, cache: &Path, progress: impl Fn(usize, usize) + Sync) -> Result<Self, DataError> {
        let cache = Cache::open(cache)?;
        let items = &listing.items;
        let (done, full) = (AtomicUsize::new(0), AtomicBool::new(false));
        let stored = in_parallel(items, |item| {
            // Once the disk is full, the others need not be decoded.
            let stored = (!full.load(Ordering::Relaxed)).then(|| cache.frames_of(&item.path))?;
            full.fetch_or(matches!(stored, Err(CacheError::Unwritable { .. })), Ordering::Relaxed);
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, items.len());
            Some(stored)
        });
        let (mut videos, mut broken) = (Vec::new(), Vec::new());
        for (item, stored) in items.iter().zip(stored) {
            match stored {
                Some(Ok(stored)) => videos.push(Video::new(item, stored)),
                Some(Err(CacheError::Decode(reason))) => broken.push(reason.to_string()),
                Some(Err(error)) => return Err(error.into()),
                None => {}
            }
        }
        broken.sort();
        if broken.len() as f64 > BROKEN_LIMIT * items.len() as f64 {
            return Err(DataError::Broken { broken: broken.len(), all: items.len(), list: broken.join("\n") });
        }
        // However the listing has them, a run with the same seed is to see the same order.
        videos.sort_by(|a, b| a.path.cmp(&b.path));
        for (number, name) in listing.categories.iter().enumerate() {
            let here = items.iter().any(|item| item.category == number);
            if here && videos.iter().all(|video| video.category != number) {
                return Err(DataError::Emptied(name.clone()));
            }
        }
        Ok(Self { categories: listing.categories, videos, none: Vec::new(), broken, lessons: None })
    }

    /// Video number `n`, those without a category after the others, and the number of what it shows: one more than there are for none.
    ///
    /// # Panics
    /// If there are not as many.
    pub fn video(&self, n: usize) -> (&Video, usize) {
        match self.videos.get(n) {
            Some(video) => (video, video.category),
            None => (&self.none[n - self.videos.len()], self.categories.len()),
        }
    }

    /// Outputs of the network that learns from it: of the categories, then of the lessons.
    pub fn outputs(&self) -> usize {
        self.categories.len() + self.lessons.as_ref().map_or(0, |lessons| lessons.width)
    }

    /// Mean and standard deviation of the pixels, RGB, 0..255, over every tenth frame.
    pub fn pixel_statistics(&self) -> ([f64; 3], [f64; 3]) {
        let mut all = cache::PixelSums::default();
        for video in &self.videos {
            all.add(video.stored.pixel_sums());
        }
        all.mean_and_std()
    }

    /// Tells two data sets apart: the videos' names, categories and lengths, in order, and the teacher.
    pub fn fingerprint(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        self.categories.hash(&mut hasher);
        (self.outputs(), self.videos.len(), self.lessons.as_ref().map(|lessons| &lessons.teacher)).hash(&mut hasher);
        for video in self.videos.iter().chain(&self.none) {
            (video.path.file_name(), video.category, video.stored.frames(), video.draws, &video.spans)
                .hash(&mut hasher);
        }
        hasher.finish()
    }
}
