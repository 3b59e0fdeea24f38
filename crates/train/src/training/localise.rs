//! Whether importance finds a category's moments: in composites, whose relevant spans are known, every segment is scored for
//! the video's category, and the ranking by those scores is measured. Simpler scores are ranked beside it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::compose::{self, Composite, ReadError, Span};
use crate::evaluation::Spread;
use desumnet_engine::average_precision;
use desumnet_engine::{
    NoFeatures, RunningMean,
    importance::{Aggregation, Forward},
    network::{ComputeError, Device, Network, NetworkError, Precision},
    unusual::{Eye, Usual, hindsight},
};
use desumnet_frames::{clip::Geometry, segmenter::Stride};
use desumnet_media::decode::{DecodeError, Segments};

/// What segments are ranked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Importance of the form [`desumnet_engine::importance::Form::Weighted`].
    Weighted,
    /// Of the form [`desumnet_engine::importance::Form::Logit`].
    Logit,
    /// Of the form [`desumnet_engine::importance::Form::Probability`].
    Probability,
    /// The category's probability itself.
    Confidence,
    /// Importance of the form [`desumnet_engine::importance::Form::Unusual`], from the past alone.
    Unusual,
    /// The same with hindsight, as files are scored.
    Hindsight,
    /// Mean absolute difference between consecutive analysis frames; the frames that fill up a short last segment are still.
    Motion,
    /// Nothing: the exact mean over all orders.
    Random,
}

impl Method {
    pub const ALL: [Self; 8] = [
        Self::Weighted,
        Self::Logit,
        Self::Probability,
        Self::Confidence,
        Self::Unusual,
        Self::Hindsight,
        Self::Motion,
        Self::Random,
    ];
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    pub model: PathBuf,
    /// Folder as [`super::compose::write`] makes it, or a JSON file of one video: its name (`video`) and the spans (`relevant`: `start_s`, `end_s`).
    pub composites: PathBuf,
    /// What begins before this time of a video is not ranked, ns: what is usual is learned there.
    pub from: u64,
    pub device: Device,
    pub precision: Precision,
    /// Every how many segments one is scored, at least 1.
    pub interval: u64,
    /// What makes a segment's score of its frames'.
    pub aggregation: Aggregation,
}

/// Why nothing was measured.
#[derive(Debug, Error)]
pub enum LocaliseError {
    #[error(transparent)]
    Composites(#[from] ReadError),
    #[error(
        "{path} is of the category `{category}`, which the model does not know: leave it out, or give a model of it (this one \
         knows {})", known.join(", ")
    )]
    Category { path: PathBuf, category: String, known: Vec<String> },
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Compute(#[from] ComputeError),
    #[error("a score of {0} is not a finite number; use --precision f32 or another model")]
    NotFinite(PathBuf),
    #[error(
        "{path} can't be read: {reason}; give a folder of composites, or a JSON file {{\"video\": NAME, \"relevant\": [{{\"start_s\": 1.5, \"end_s\": 9}}]}}"
    )]
    Document { path: PathBuf, reason: String },
    #[error(transparent)]
    NoFeatures(#[from] NoFeatures),
    #[error("none of the scored segments is relevant: give a smaller --interval or other composites")]
    NoneRelevant,
}

/// The result; field names as in the JSON document.
#[derive(Clone, Debug, Serialize)]
pub struct Localisation {
    pub model: String,
    pub composites: String,
    pub videos: usize,
    /// Segments that were scored.
    pub segments: usize,
    /// Share of them that is relevant, [0, 1].
    pub relevant_share: f64,
    /// Average precision, [0, 1], over the videos that have one.
    pub ap: BTreeMap<Method, Spread>,
    pub per_video: Vec<VideoResult>,
}

/// A video's part in the result.
#[derive(Clone, Debug, Serialize)]
pub struct VideoResult {
    /// CATEGORY/FILE
    pub video: String,
    /// What the segments were scored for; `null`: whatever led so far.
    pub category: Option<String>,
    pub segments: usize,
    pub relevant_share: f64,
    /// Average precision, [0, 1]; `null` where no scored segment is relevant.
    pub ap: Option<BTreeMap<Method, f64>>,
}

/// Scores of a segment, and the truth.
struct Scored {
    relevant: bool,
    /// As in [`Method::ALL`].
    scores: [f64; Method::ALL.len()],
}

/// A video whose relevant spans are known.
struct Marked {
    path: PathBuf,
    /// The topic's number; `None`: whatever leads the segments so far, as live.
    category: Option<usize>,
    duration_ns: u64,
    relevant: Vec<Span>,
}

/// A JSON file of one video: its name, from the file's folder on, and the spans in which something happens, seconds.
#[derive(Deserialize)]
struct Document {
    video: PathBuf,
    relevant: Vec<Seconds>,
}

#[derive(Deserialize)]
struct Seconds {
    start_s: f64,
    end_s: f64,
}

impl Marked {
    fn of_document(path: &Path) -> Result<Self, LocaliseError> {
        let wrong = |reason: String| LocaliseError::Document { path: path.into(), reason };
        let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
        let Document { video, relevant } = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        let span = |&Seconds { start_s, end_s }: &Seconds| Span {
            start_ns: (start_s.max(0.0) * 1e9) as u64,
            duration_ns: ((end_s - start_s).max(0.0) * 1e9) as u64,
        };
        let relevant = relevant.iter().map(span).collect();
        Ok(Self { path: path.with_file_name(video), category: None, duration_ns: 0, relevant })
    }

    fn of_composite(path: &Path, composite: Composite, known: &[String]) -> Result<Self, LocaliseError> {
        let Composite { category, video, duration_ns, relevant, .. } = composite;
        let Some(number) = known.iter().position(|name| *name == category) else {
            return Err(LocaliseError::Category { path: path.into(), category, known: known.into() });
        };
        Ok(Self { path: path.with_file_name(video), category: Some(number), duration_ns, relevant })
    }
}

/// Scores all composites of a folder. `progress` is called with the time done, ns, and of all.
///
/// # Errors
/// [`LocaliseError`]
pub fn localise(options: &Options, mut progress: impl FnMut(u64, u64)) -> Result<Localisation, LocaliseError> {
    let network = Network::load(&options.model, options.device, options.precision)?;
    let known = &network.header.categories;
    // All are looked at before the first is scored.
    let videos = if options.composites.is_file() {
        vec![Marked::of_document(&options.composites)?]
    } else {
        let composites = compose::read(&options.composites)?.into_iter();
        composites
            .map(|(path, composite)| Marked::of_composite(&path, composite, known))
            .collect::<Result<Vec<_>, _>>()?
    };
    let all = videos.iter().map(|video| video.duration_ns).sum();
    let (mut per_video, mut before, mut relevant) = (Vec::new(), 0, 0);
    for video in &videos {
        let scored = score(&network, video, options, |at| progress(before + at, all))?;
        before += video.duration_ns;
        let hits = scored.iter().filter(|segment| segment.relevant).count();
        relevant += hits;
        per_video.push(VideoResult {
            video: video.path.strip_prefix(&options.composites).unwrap_or(&video.path).display().to_string(),
            category: video.category.map(|number| known[number].clone()),
            segments: scored.len(),
            relevant_share: hits as f64 / scored.len() as f64,
            ap: precisions(&scored),
        });
    }
    let segments = per_video.iter().map(|video| video.segments).sum();
    let ap = Method::ALL.into_iter().map(|method| {
        let values: Vec<f64> = per_video.iter().filter_map(|video| Some(video.ap.as_ref()?[&method])).collect();
        (!values.is_empty()).then(|| (method, Spread::of(&values)))
    });
    Ok(Localisation {
        model: options.model.display().to_string(),
        composites: options.composites.display().to_string(),
        videos: per_video.len(),
        segments,
        relevant_share: relevant as f64 / segments as f64,
        ap: ap.collect::<Option<_>>().ok_or(LocaliseError::NoneRelevant)?,
        per_video,
    })
}

/// Every `interval`-th segment of a video, by every method.
fn score(
    network: &Network,
    video: &Marked,
    options: &Options,
    mut progress: impl FnMut(u64),
) -> Result<Vec<Scored>, LocaliseError> {
    let eye = Eye::new(network.features.ok_or(NoFeatures)?);
    let Geometry { frames, crop_width, .. } = network.clip;
    let (mut mean, mut usual, mut looks) = (RunningMean::default(), Usual::default(), Vec::new());
    let (mut scored, mut starts, mut after_last) = (Vec::new(), Vec::new(), 0);
    let name = video.path.to_string_lossy();
    for segment in Segments::open(&name, Stride::Auto, network.clip)? {
        let segment = segment?;
        let start = segment.start.unwrap_or(after_last);
        after_last = start + segment.duration;
        progress(start);
        if !segment.index.is_multiple_of(options.interval) {
            continue;
        }
        let clip = segment.clip.centre_crop();
        let forward = Forward::new(network, &[&clip])?;
        let features = forward.features().ok_or(NoFeatures)?;
        let look = eye.look(&features[0], &clip, frames, crop_width);
        let seconds = segment.duration as f64 * options.interval as f64 / 1e9;
        let unusual = usual.judge(&look, seconds).score;
        looks.push(look);
        let leads = mean.add(&forward.probabilities[0]);
        let category = video.category.unwrap_or(leads);
        let confidence = f64::from(forward.probabilities[0][category]);
        let [weighted, logit, probability] = forward
            .frame_scores_in_every_form(&[category])?
            .map(|clips| clips.iter().map(|frames| f64::from(options.aggregation.of(frames))).sum());
        let scores = [weighted, logit, probability, confidence, unusual, 0.0, segment.clip.motion(), 0.0];
        if !scores.iter().all(|score| score.is_finite()) {
            return Err(LocaliseError::NotFinite(video.path.clone()));
        }
        scored.push(Scored { relevant: relevant(start, segment.duration, &video.relevant), scores });
        starts.push(start);
    }
    for (scored, score) in scored.iter_mut().zip(hindsight(&looks)) {
        scored.scores[Method::Hindsight as usize] = score;
    }
    let ranked = scored.into_iter().zip(starts).filter(|(_, start)| *start >= options.from);
    let ranked: Vec<Scored> = ranked.map(|(scored, _)| scored).collect();
    if ranked.is_empty() { Err(DecodeError::NoVideo { video: name.into() }.into()) } else { Ok(ranked) }
}

/// Whether at least half of a segment's time lies in the spans.
fn relevant(start: u64, duration: u64, spans: &[Span]) -> bool {
    let inside = spans.iter().map(|span| {
        let (from, to) = (start.max(span.start_ns), (start + duration).min(span.start_ns + span.duration_ns));
        to.saturating_sub(from)
    });
    duration > 0 && 2 * inside.sum::<u64>() >= duration
}

/// Average precision by every method; `None` where no segment is relevant.
fn precisions(scored: &[Scored]) -> Option<BTreeMap<Method, f64>> {
    let relevant: Vec<bool> = scored.iter().map(|segment| segment.relevant).collect();
    let of = |(i, method): (usize, Method)| {
        let scores: Vec<f64> = scored.iter().map(|segment| segment.scores[i]).collect();
        Some((method, average_precision(&scores, &relevant)?))
    };
    Method::ALL.into_iter().enumerate().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_a_segment_in_relevant_time_makes_it_relevant() {
        let span = |start_ns, duration_ns| Span { start_ns, duration_ns };
        let spans = [span(100, 50), span(200, 10), span(215, 10)];
        for (start, duration, expected) in [
            (100, 50, true),
            (75, 50, true),
            (74, 50, false),
            (125, 50, true),
            (126, 50, false),
            (0, 1000, false),
            // Two spans together.
            (195, 40, true),
            (150, 50, false),
            (120, 0, false),
        ] {
            assert_eq!(relevant(start, duration, &spans), expected, "{start} {duration}");
        }
    }
}
