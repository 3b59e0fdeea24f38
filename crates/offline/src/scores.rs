//! Whole videos, as the paper scores them: the category first, from segments drawn at random, then every segment for it.

use std::{collections::VecDeque, path::PathBuf, sync::mpsc};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use desumnet_decide::{
    quantile,
    shot_scores::{Scored, score_shots},
};
use desumnet_engine::{
    Batching, Category, Engine, NoFeatures, Request, RunningMean, Score, ScoreError, Stream, UnknownCategory,
    importance::{Aggregation, Form},
    network::{Device, NetworkError, Precision},
    unusual::{Look, hindsight},
};
use desumnet_frames::{
    clip::Clip,
    frame_rate::FrameRate,
    segmenter::{Segment, Stride},
};
use desumnet_media::{
    decode::{DecodeError, Segments},
    secrets,
    timecode::Number,
};

/// Segments whose mean prediction names a video's category (paper, section 4).
pub const SEGMENTS: usize = 10;
/// A video of more segments than this is drawn from without decoding all of it.
const LONG: u64 = 100;

/// How much pictures may lack of the length that a file tells without a word, ns.
const NOTED: u64 = 1_000_000_000;

/// What to score with.
#[derive(Clone, Debug)]
pub struct Options {
    pub model: PathBuf,
    pub device: Device,
    pub precision: Precision,
    /// `auto` or a category's name.
    pub category: String,
    pub form: Form,
    pub aggregation: Aggregation,
    pub stride: Stride,
    /// Every how many segments one is scored, at least 1.
    pub interval: u64,
}

/// Why a video got no scores.
#[derive(Debug, Error)]
pub enum OfflineError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error(transparent)]
    Category(#[from] UnknownCategory),
    #[error(transparent)]
    NoFeatures(#[from] NoFeatures),
    #[error(transparent)]
    Score(#[from] ScoreError),
}

/// A segment's scores; field names as in the JSON document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SegmentScores {
    pub index: u64,
    /// Time of the first frame in the video, ns; the end of the segment before where frames carry no time.
    pub start_ns: u64,
    pub duration_ns: u64,
    /// Frame scores aggregated, at least 0.
    pub score: f32,
    /// Rank of the score in the video, [0, 1].
    pub importance: f32,
    /// The category scored for: the video's.
    pub category: String,
    /// The segment's probability of it, [0, 1].
    pub confidence: f32,
    /// Of the sampled frames, as many as a clip of the model has, at least 0.
    pub frame_scores: Vec<f32>,
    /// The segment was short and its last frame repeated.
    pub padded: bool,
    /// Not scored itself, by the interval: it has the scores of the one before.
    pub carried: bool,
}

/// A video's scores; field names as in the JSON document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VideoScores {
    /// A file or a URI; the document does not tell the URI's secrets.
    #[serde(serialize_with = "safe")]
    pub video: String,
    pub model: String,
    pub category: String,
    /// Mean probability of the category: over the segments drawn to choose it, or over all where it was named.
    pub confidence: f32,
    /// From the first picture to the end of the last one, ns.
    pub duration_ns: u64,
    /// Time of the first picture as the container counts, and players that go by it, ns. All other times count from that picture.
    pub first_ns: u64,
    /// Of the first picture, where the file has timecode and a fixed frame rate.
    pub timecode: Option<Number>,
    /// The length that the file tells, ns; 0: it tells none.
    #[serde(default)]
    pub told_ns: u64,
    /// As a fraction, `30000/1001`; `0/1` where frames come at no fixed rate.
    pub frame_rate: FrameRate,
    /// It has a sound track.
    pub sound: bool,
    pub segments: Vec<SegmentScores>,
    /// In the order of time, one after the other; a shot's score is the mean of its segments'.
    pub shots: Vec<Scored>,
}

fn safe<S: serde::Serializer>(video: &str, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&secrets::hide(video))
}

impl VideoScores {
    /// The segments as what skims and time-lapses are chosen by.
    pub fn scored(&self) -> Vec<Scored> {
        let scored =
            |s: &SegmentScores| Scored { start_ns: s.start_ns, duration_ns: s.duration_ns, score: s.score.into() };
        self.segments.iter().map(scored).collect()
    }

    /// How much earlier the pictures end than the file tells, ns, where it is worth a word: lengths are often rounded or estimated.
    pub fn lack_ns(&self) -> Option<u64> {
        let lack = self.told_ns.saturating_sub(self.duration_ns);
        (lack > NOTED && lack > self.told_ns / 50).then_some(lack)
    }
}

/// How far a run is: which pass of how many, and the time in the video, ns, of all (0 = unknown).
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    pub pass: u32,
    pub passes: u32,
    pub position: u64,
    pub duration: u64,
}

/// Scores every segment of a video.
///
/// # Errors
/// [`OfflineError`]
pub fn score(video: &str, options: &Options, mut progress: impl FnMut(Progress)) -> Result<VideoScores, OfflineError> {
    let engine = Engine::shared(&options.model, options.device, options.precision)?;
    engine.check(options.form)?;
    let stream = engine.stream(Batching::default());
    let categories = &engine.header.categories;
    let named = Category::named(&options.category, categories)?;
    let is_judged = engine.is_taught || options.form == Form::Unusual;
    let chosen = match named {
        Category::Running(_) if !is_judged => {
            let chosen = choose(&stream, video, options, |position, duration| {
                progress(Progress { pass: 1, passes: 2, position, duration });
            });
            Some(chosen?)
        }
        _ => None,
    };
    let passes = 1 + u32::from(chosen.is_some());
    let form = match (options.form, chosen) {
        (Form::Auto, Some((_, confidence))) if !engine.fits(confidence) => Form::Unusual,
        (Form::Auto, _) => Form::Weighted,
        (form, _) => form,
    };
    let number = match (named, chosen) {
        (Category::Fixed(number), _) | (_, Some((number, _))) => number,
        _ => 0,
    };
    let request = Request { category: Category::Fixed(number), ..request(form, options.aggregation) };
    let name = |category: Option<usize>| category.map(|number| categories[number].clone()).unwrap_or_default();
    let mut segments: Vec<SegmentScores> = Vec::new();
    // Of segments with a score of their own: number, and what they show.
    let mut looks: Vec<(usize, Look)> = Vec::new();
    let mut waiting = VecDeque::new();
    let mut take = |segment: Segment, answer: Option<mpsc::Receiver<Result<Score, ScoreError>>>| {
        let last = segments.last();
        let after_last = last.map_or(0, |last| last.start_ns + last.duration_ns);
        let mut scores = match (answer, last) {
            (None, Some(last)) => SegmentScores { carried: true, ..last.clone() },
            (answer, _) => {
                let answer = answer.and_then(|answer| answer.recv().ok());
                let score = answer.unwrap_or(Err(ScoreError::Stopped))?;
                looks.extend(score.unusual.map(|unusual| (segments.len(), unusual.look)));
                SegmentScores {
                    index: 0,
                    start_ns: 0,
                    duration_ns: 0,
                    score: score.score,
                    importance: 0.0,
                    category: name(score.category),
                    confidence: score.confidence,
                    frame_scores: score.frame_scores,
                    padded: false,
                    carried: false,
                }
            }
        };
        scores.index = segment.index;
        scores.start_ns = segment.start.unwrap_or(after_last);
        scores.duration_ns = segment.duration;
        scores.padded = segment.padded;
        segments.push(scores);
        Ok::<_, ScoreError>(())
    };
    let mut source = Segments::open(video, options.stride, engine.clip)?.with_shots();
    while let Some(segment) = source.next().transpose()? {
        let duration = source.duration().unwrap_or(0);
        progress(Progress { pass: passes, passes, position: segment.start.unwrap_or(0), duration });
        let answer = segment.index.is_multiple_of(options.interval).then(|| {
            let (sender, answer) = mpsc::channel();
            let reply = Box::new(move |score| drop(sender.send(score)));
            stream.submit(segment.clip.centre_crop(), request.clone(), None, reply);
            answer
        });
        waiting.push_back((segment, answer));
        if waiting.len() > stream.ahead()
            && let Some((segment, answer)) = waiting.pop_front()
        {
            take(segment, answer)?;
        }
    }
    for (segment, answer) in waiting {
        take(segment, answer)?;
    }
    // Where frames come sooner than the one before should end, the next segment counts.
    for i in 1..segments.len() {
        let next = segments[i].start_ns;
        let segment = &mut segments[i - 1];
        if next > segment.start_ns {
            segment.duration_ns = segment.duration_ns.min(next - segment.start_ns);
        }
    }
    let Some(last) = segments.last() else { return Err(DecodeError::Empty { video: video.into() }.into()) };
    let duration_ns = last.start_ns + last.duration_ns;
    if duration_ns == 0 {
        return Err(DecodeError::Still { video: video.into() }.into());
    }
    with_hindsight(&mut segments, looks);
    let scores: Vec<f32> = segments.iter().map(|s| s.score).collect();
    for (segment, importance) in segments.iter_mut().zip(quantile::ranks(&scores)) {
        segment.importance = importance;
    }
    let shots = source.take_shots(duration_ns);
    let mean = segments.iter().map(|s| s.confidence).sum::<f32>() / segments.len() as f32;
    let mut scores = VideoScores {
        video: video.into(),
        model: options.model.display().to_string(),
        category: name(Some(number).filter(|_| engine.is_taught || form != Form::Unusual)),
        confidence: match chosen {
            _ if form == Form::Unusual && !engine.is_taught => 0.0,
            Some((_, confidence)) => confidence,
            None => mean,
        },
        duration_ns,
        first_ns: source.first_ns(),
        told_ns: source.duration().unwrap_or(0),
        timecode: source.timecode(),
        frame_rate: source.frame_rate(),
        sound: source.has_sound(),
        segments,
        shots: Vec::new(),
    };
    // Of a video whose frames carry no time, the whole is one shot.
    let shots = if shots.is_empty() { vec![(0, duration_ns)] } else { shots };
    scores.shots = score_shots(&shots, &scores.scored());
    Ok(scores)
}

/// Scores what is unusual anew, by all of the video: segment and frames, and those that carry its score on.
fn with_hindsight(segments: &mut [SegmentScores], looks: Vec<(usize, Look)>) {
    let (numbers, looks): (Vec<usize>, Vec<Look>) = looks.into_iter().unzip();
    let ends = numbers.iter().skip(1).copied().chain([segments.len()]);
    for ((&begin, end), score) in numbers.iter().zip(ends).zip(hindsight(&looks)) {
        for segment in &mut segments[begin..end] {
            segment.score = score as f32;
            segment.frame_scores.fill(score as f32);
        }
    }
}

/// What the engine is asked for each segment, but for the category.
fn request(form: Form, aggregation: Aggregation) -> Request {
    Request { form, aggregation, ..Request::default() }
}

/// The category with the highest mean prediction over 10 segments drawn at random, and that mean. The draw is the same
/// for the same video at every run.
fn choose(
    stream: &Stream,
    video: &str,
    options: &Options,
    mut progress: impl FnMut(u64, u64),
) -> Result<(usize, f32), OfflineError> {
    let mut rng = StdRng::seed_from_u64(0);
    let open = || Segments::open(video, options.stride, stream.engine.clip);
    let drawn = match draw_by_seeking(open()?, &mut rng, &mut progress)? {
        drawn if drawn.len() == SEGMENTS => drawn,
        _ => draw_of_all(open()?, &mut rng, &mut progress)?,
    };
    if drawn.is_empty() {
        return Err(DecodeError::Empty { video: video.into() }.into());
    }
    let mean = std::sync::Arc::new(std::sync::Mutex::new(RunningMean::default()));
    let category = Category::Running(mean.clone());
    for clip in drawn {
        let request = Request { category: category.clone(), ..request(Form::Weighted, options.aggregation) };
        stream.score(clip.centre_crop(), request)?;
    }
    let mean = mean.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let leader = mean.leader();
    Ok((leader, mean.probabilities()[leader]))
}

/// Clips from random places of a long video, without decoding what lies between; none of a short one, and fewer than asked for where
/// the source can't seek.
fn draw_by_seeking(
    mut source: Segments,
    rng: &mut StdRng,
    progress: &mut impl FnMut(u64, u64),
) -> Result<Vec<Clip>, DecodeError> {
    let Some(first) = source.next().transpose()? else { return Ok(Vec::new()) };
    let duration = source.duration().unwrap_or(0);
    if first.duration == 0 || duration < LONG.saturating_mul(first.duration) {
        return Ok(Vec::new());
    }
    let mut times: Vec<u64> = (0..SEGMENTS).map(|_| rng.random_range(0..duration - 2 * first.duration)).collect();
    times.sort_unstable();
    let mut drawn = Vec::new();
    for time in times {
        progress(time, duration);
        if !source.seek(time) {
            break;
        }
        drawn.extend(source.next().transpose()?.map(|segment| segment.clip));
    }
    Ok(drawn)
}

/// Clips drawn while all of a video is decoded: each so far is among them with the same probability, however many are still to come.
fn draw_of_all(
    mut source: Segments,
    rng: &mut StdRng,
    progress: &mut impl FnMut(u64, u64),
) -> Result<Vec<Clip>, DecodeError> {
    let (mut drawn, mut seen) = (Vec::new(), 0);
    while let Some(segment) = source.next().transpose()? {
        progress(segment.start.unwrap_or(0), source.duration().unwrap_or(0));
        seen += 1;
        if drawn.len() < SEGMENTS {
            drawn.push(segment.clip);
        } else if let Some(place) = drawn.get_mut(rng.random_range(0..seen)) {
            *place = segment.clip;
        }
    }
    Ok(drawn)
}
