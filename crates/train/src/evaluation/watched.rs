//! Videos as the compared methods see them: features of stretches, and with them the network's own scores.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::{Path, PathBuf},
};

use nalgebra::DMatrix;
use rand::{SeedableRng, rngs::StdRng, seq::index::sample};
use thiserror::Error;

use super::{annotations::Video, methods::LARGEST};
use desumnet_engine::{
    argmax,
    importance::{Aggregation, Form, Forward},
    network::{ComputeError, Network},
    unusual::{Eye, hindsight},
};
use desumnet_frames::segmenter::Stride;
use desumnet_media::decode::{DecodeError, Segments};
use desumnet_offline::SEGMENTS;

/// Clips that pass the network at a time.
const BATCH: usize = 8;

/// What a video's stretches are like.
#[derive(Clone, Debug)]
pub struct Watched {
    /// Frames of the video.
    pub frames: usize,
    /// From where to where each stretch reaches, counted in frames, rising.
    pub spans: Vec<Range<f64>>,
    /// `[stretches, features]`
    pub features: DMatrix<f64>,
    /// The network's own scores of the stretches, by name.
    pub own: BTreeMap<&'static str, Vec<f64>>,
}

/// Why a video was not watched.
#[derive(Debug, Error)]
pub enum WatchError {
    #[error("{folder} holds no video that is called {name}: name the files after the annotations, as in {name}.mp4", folder = .folder.display())]
    Missing { folder: PathBuf, name: String },
    #[error(
        "{path} holds no matrix: {reason}; give a CSV file without a head, a row of numbers for each stretch of the video",
        path = path.display()
    )]
    Matrix { path: PathBuf, reason: String },
    #[error("{0} tells no frame rate, and neither do its annotations: give a video with one")]
    FrameRate(String),
    #[error(
        "the network has no fc6, whose output stands for a clip: give a DeSumNet model, or features of your own (--features)"
    )]
    NoFeatures,
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Compute(#[from] ComputeError),
}

/// The file in `folder` that is called as the video, with any extension but that of a document.
///
/// # Errors
/// [`WatchError::Missing`]
pub fn file_of(folder: &Path, name: &str) -> Result<PathBuf, WatchError> {
    let path = folder.join(name);
    let files = path.parent().and_then(|parent| parent.read_dir().ok()).into_iter().flatten().flatten();
    let is_it = |file: &PathBuf| {
        let document =
            file.extension().is_none_or(|e| ["json", "csv", "mat", "txt", "svg", "html"].iter().any(|d| e == *d));
        !document && file.file_stem() == path.file_name() && file.is_file()
    };
    let mut files: Vec<PathBuf> = files.map(|file| file.path()).filter(is_it).collect();
    files.sort();
    files.into_iter().next().ok_or_else(|| WatchError::Missing { folder: folder.into(), name: name.into() })
}

impl Watched {
    /// Runs a network over a video's segments: fc6 is their features. Its own scores, if they are wanted, are importance for the
    /// category that the network predicts from 10 segments drawn at random (`desumnet`, as in the paper), for the video's topic where
    /// the network knows it (`desumnet-topic`), and the bare probabilities of these two (`confidence`, `confidence-topic`); how far they
    /// depart from what is usual in the video (`unusual`), how little (`typical`), and `motion`.
    ///
    /// The category is known at the video's end. It is decoded once more then, so that none of its pictures need be kept. `progress`
    /// is called with the number of clips that have passed the network.
    ///
    /// # Errors
    /// [`WatchError`]
    pub fn video(
        network: &Network,
        path: &Path,
        video: &Video,
        importance: Option<(Form, Aggregation)>,
        mut progress: impl FnMut(u64),
    ) -> Result<Self, WatchError> {
        let name = path.to_string_lossy();
        let (mut spans, mut after_last) = (Vec::new(), 0);
        let (mut features, mut width) = (Vec::new(), 0);
        let mut probabilities: Vec<Vec<f32>> = Vec::new();
        let eye = Eye::new(network.features.ok_or(WatchError::NoFeatures)?);
        let (mut looks, mut motion, wanted) = (Vec::new(), Vec::new(), importance.is_some());
        let mut source = Segments::open(&name, Stride::Auto, network.clip)?;
        loop {
            let mut clips = Vec::new();
            for segment in source.by_ref().take(BATCH) {
                let segment = segment?;
                let start = segment.start.unwrap_or(after_last);
                after_last = start.saturating_add(segment.duration);
                spans.push(start..after_last);
                motion.extend(wanted.then(|| segment.clip.motion()));
                clips.push(segment.clip.centre_crop());
            }
            if clips.is_empty() {
                break;
            }
            let batch: Vec<&[u8]> = clips.iter().map(Vec::as_slice).collect();
            let forward = Forward::new(network, &batch)?;
            for (row, clip) in forward.features().ok_or(WatchError::NoFeatures)?.iter().zip(&batch) {
                looks.extend(wanted.then(|| eye.look(row, clip, network.clip.frames, network.clip.crop_width)));
                width = row.len();
                features.extend(row.iter().copied().map(f64::from));
            }
            probabilities.extend(forward.probabilities);
            progress(probabilities.len() as u64);
        }
        if probabilities.is_empty() {
            return Err(DecodeError::Empty { video: name.into() }.into());
        }
        let rate = source.told_rate().map(|rate| f64::from(rate.numerator) / f64::from(rate.denominator));
        let fps =
            video.fps.or(rate.filter(|rate| *rate > 0.0)).ok_or_else(|| WatchError::FrameRate(name.clone().into()))?;
        drop(source);
        let at = |ns: u64| ns as f64 / 1e9 * fps;
        let mut watched = Self {
            frames: at(after_last).round() as usize,
            spans: spans.into_iter().map(|span| at(span.start)..at(span.end)).collect(),
            features: DMatrix::from_row_slice(probabilities.len(), width, &features),
            own: BTreeMap::new(),
        };
        let Some((form, aggregation)) = importance else { return Ok(watched) };
        let predicted = predicted(&probabilities);
        let topic = video.topic.as_ref();
        let topic = topic.and_then(|topic| network.header.categories.iter().position(|category| category == topic));
        let confidence = |category: usize| probabilities.iter().map(|row| f64::from(row[category])).collect();
        let unusual = hindsight(&looks);
        watched.own.insert("typical", unusual.iter().map(|score| 1.0 / (1.0 + score)).collect());
        watched.own.extend([("unusual", unusual), ("motion", motion), ("confidence", confidence(predicted))]);
        watched.own.extend(topic.map(|topic| ("confidence-topic", confidence(topic))));
        let wanted: BTreeSet<usize> = [Some(predicted), topic].into_iter().flatten().collect();
        let (mut scores, mut passed) = (BTreeMap::<usize, Vec<f64>>::new(), probabilities.len() as u64);
        for segment in Segments::open(&name, Stride::Auto, network.clip)?.take(probabilities.len()) {
            let clip = segment?.clip.centre_crop();
            for &category in &wanted {
                let frames = Forward::new(network, &[&clip])?.frame_scores(&[category], form)?.remove(0);
                scores.entry(category).or_default().push(f64::from(aggregation.of(&frames)));
                passed += 1;
                progress(passed);
            }
        }
        for (name, category) in [("desumnet", Some(predicted)), ("desumnet-topic", topic)] {
            let scored = category.and_then(|category| scores.get(&category));
            watched.own.extend(scored.map(|scores| (name, scores.clone())));
        }
        Ok(watched)
    }

    /// A matrix of the user's own: a CSV file with a row for each of the stretches of equal length that make up the video.
    ///
    /// # Errors
    /// [`WatchError::Matrix`]
    pub fn matrix(path: &Path, video: &Video) -> Result<Self, WatchError> {
        let wrong = |reason: String| WatchError::Matrix { path: path.into(), reason };
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .trim(csv::Trim::All)
            .from_path(path)
            .map_err(|error| wrong(error.to_string()))?;
        let rows =
            reader.deserialize().collect::<Result<Vec<Vec<f64>>, _>>().map_err(|error| wrong(error.to_string()))?;
        let (count, width) = (rows.len(), rows.first().map_or(0, Vec::len));
        if width == 0 {
            return Err(wrong("it is empty".into()));
        }
        let large = rows
            .iter()
            .enumerate()
            .find_map(|(i, row)| Some((i, row.iter().find(|v| v.is_nan() || v.abs() > LARGEST)?)));
        if let Some((row, value)) = large {
            return Err(wrong(format!("row {} has the value {value}, which is no sensible number", row + 1)));
        }
        let length = video.frames as f64 / count as f64;
        Ok(Self {
            frames: video.frames,
            spans: (0..count).map(|i| i as f64 * length..(i + 1) as f64 * length).collect(),
            features: DMatrix::from_fn(count, width, |i, j| rows[i][j]),
            own: BTreeMap::new(),
        })
    }

    /// `[shots, features]`: the mean of the stretches, by the time that they share with the shot; of the nearest one where none does.
    pub fn of_shots(&self, shots: &[Range<usize>]) -> DMatrix<f64> {
        let mut of = DMatrix::zeros(shots.len(), self.features.ncols());
        for (i, shot) in shots.iter().enumerate() {
            let (from, to) = (shot.start as f64, shot.end as f64);
            let mut weights: Vec<f64> =
                self.spans.iter().map(|span| (span.end.min(to) - span.start.max(from)).max(0.0)).collect();
            if weights.iter().sum::<f64>() <= 0.0 {
                let far = |span: &Range<f64>| (span.start - to).max(from - span.end);
                let nearest = (0..weights.len()).min_by(|&a, &b| far(&self.spans[a]).total_cmp(&far(&self.spans[b])));
                nearest.into_iter().for_each(|nearest| weights[nearest] = 1.0);
            }
            let total: f64 = weights.iter().sum();
            for (weight, row) in weights.iter().zip(self.features.row_iter()).filter(|(weight, _)| **weight > 0.0) {
                let sum = of.row(i) + row * (weight / total);
                of.set_row(i, &sum);
            }
        }
        of
    }
}

/// The category with the highest mean over segments drawn at random, the same at every run.
fn predicted(probabilities: &[Vec<f32>]) -> usize {
    let drawn = sample(&mut StdRng::seed_from_u64(0), probabilities.len(), SEGMENTS.min(probabilities.len()));
    let mut mean = vec![0.0; probabilities[0].len()];
    for segment in drawn {
        mean.iter_mut().zip(&probabilities[segment]).for_each(|(mean, p)| *mean += p);
    }
    argmax(&mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn video(frames: usize) -> Video {
        Video { name: "a".into(), topic: None, frames, fps: Some(25.0), shots: Vec::new(), people: Vec::new() }
    }

    #[test]
    fn a_matrix_stands_for_even_stretches_and_shots_for_their_means() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        std::fs::write(&path, "1, 0\n3, 4\n5, 8\n").unwrap();
        let watched = Watched::matrix(&path, &video(30)).unwrap();
        assert_eq!(watched.spans, [0.0..10.0, 10.0..20.0, 20.0..30.0]);
        // One stretch, half of one and half of the next, all of two; and past the end, the last.
        let of = watched.of_shots(&[0..10, 15..25, 10..30, 30..31]);
        assert_eq!(of, DMatrix::from_row_slice(4, 2, &[1.0, 0.0, 4.0, 6.0, 4.0, 6.0, 5.0, 8.0]));
    }

    #[test]
    fn a_matrix_that_is_none_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        for (text, reason) in
            [("", "it is empty"), ("1,2\n3\n", "record 1"), ("1,x\n", "x"), ("1,2\n3,NaN\n", "row 2 has the value NaN")]
        {
            std::fs::write(&path, text).unwrap();
            let error = Watched::matrix(&path, &video(30)).unwrap_err().to_string();
            assert!(error.contains("a.csv") && error.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_video_is_found_by_its_name_whatever_its_container() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("b")).unwrap();
        for file in ["a.json", "a.webm", "b/1.mp4", "b/1.json"] {
            std::fs::write(folder.path().join(file), "").unwrap();
        }
        assert_eq!(file_of(folder.path(), "a").unwrap(), folder.path().join("a.webm"));
        assert_eq!(file_of(folder.path(), "b/1").unwrap(), folder.path().join("b/1.mp4"));
        let error = file_of(folder.path(), "c").unwrap_err().to_string();
        assert!(error.contains("as in c.mp4"), "{error}");
    }

    #[test]
    fn the_category_is_the_leader_of_all_where_segments_are_few() {
        assert_eq!(predicted(&[vec![0.9, 0.1], vec![0.2, 0.8], vec![0.3, 0.7]]), 1);
    }
}
