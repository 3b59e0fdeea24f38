//! Scores a batch: forward, a target for each segment, and the way back where somebody asks for what it tells.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::PoisonError,
    time::Instant,
};

use super::{Category, Job, NoFeatures, Request, Score, ScoreError, Unusual, message_of};
use crate::{
    importance::{Along, Form, Forward},
    maps::Maps,
    network::{ComputeError, Gradients, Network, backend::Prepared},
    unusual::{Departure, Eye, Look, motion},
};
use desumnet_frames::clip::Geometry;

/// The clips of jobs, in their order.
pub fn clips_of(jobs: &[Job]) -> Vec<&[u8]> {
    jobs.iter().map(|job| &*job.clip).collect()
}

/// What a segment is scored for.
#[derive(Clone)]
enum Target {
    Category(usize),
    Unusual(Departure, Look),
    /// Of what a person taught: the probability.
    Taught(f32),
}

/// An answer for each; what is wrong with one does the others no harm.
/// `prepared`: the clips on the device, if they are there already. `look_ahead` is called while the device computes.
pub fn score(
    network: &Network,
    eye: Option<&Eye>,
    batch: &[Job],
    prepared: Option<Prepared>,
    look_ahead: &mut dyn FnMut(),
) -> Vec<Result<Score, ScoreError>> {
    let mut targets = vec![None; batch.len()];
    let mut attempt = |jobs: &[Job], prepared: Option<Prepared>, targets: &mut [Option<Target>]| {
        catch_unwind(AssertUnwindSafe(|| attempt_all(network, eye, jobs, prepared, targets, look_ahead)))
            .unwrap_or_else(|panic| Err(ScoreError::Failed(format!("the engine panicked: {}", message_of(&panic)))))
    };
    match attempt(batch, prepared, &mut targets) {
        Ok(scores) => scores,
        Err(error) if batch.len() == 1 => vec![Err(error)],
        Err(_) => {
            let each = batch.chunks(1).zip(targets.chunks_mut(1));
            each.flat_map(|(job, target)| attempt(job, None, target).unwrap_or_else(|error| vec![Err(error)])).collect()
        }
    }
}

/// Forward, target, backward. The targets are kept for another attempt: a stream counts each of its segments once.
fn attempt_all(
    network: &Network,
    eye: Option<&Eye>,
    jobs: &[Job],
    prepared: Option<Prepared>,
    targets: &mut [Option<Target>],
    look_ahead: &mut dyn FnMut(),
) -> Result<Vec<Result<Score, ScoreError>>, ScoreError> {
    let began = Instant::now();
    let failed = |error: ComputeError| ScoreError::Failed(error.to_string());
    let forward = Forward::of(network.forward(&clips_of(jobs), prepared).map_err(failed)?);
    let probabilities = forward.probabilities.clone();
    let form = jobs[0].request.form;
    let of_features = match form {
        _ if network.head.is_some() => true,
        Form::Unusual => true,
        Form::Auto => network.header.calibration.is_some(),
        Form::Weighted | Form::Logit | Form::Probability => false,
    };
    let features = forward.features().filter(|_| of_features);
    for (number, (job, target)) in jobs.iter().zip(&mut *targets).enumerate() {
        if target.is_none() {
            let features = features.map(|rows| &*rows[number]);
            *target = Some(choose(network, eye, job, features, &probabilities[number])?);
        }
    }
    let targets: Vec<Target> = targets.iter().flatten().cloned().collect();
    let maps = maps(network, forward, jobs, &targets, eye, look_ahead).map_err(failed)?;
    let frame_scores = maps.as_ref().map(Gradients::frame_scores);
    let inference = began.elapsed();
    let answers = targets.into_iter().enumerate().map(|(number, target)| {
        let Request { aggregation, maps: wanted, .. } = jobs[number].request;
        // Of what has no category, only whoever wants the map gets frames by it, whatever others in the batch want.
        let by_map = wanted || matches!(target, Target::Category(_));
        let frame_scores = frame_scores.as_ref().filter(|_| by_map).map(|all| all[number].clone()).unwrap_or_default();
        let maps = maps.as_ref().filter(|_| wanted).map(|maps| Maps::new(maps.of(number)));
        let score = match target {
            Target::Category(category) => Score {
                category: Some(category),
                confidence: probabilities[number][category],
                unusual: None,
                score: aggregation.of(&frame_scores),
                frame_scores,
                maps,
                inference,
            },
            Target::Unusual(Departure { score, hours, .. }, look) => Score {
                category: None,
                confidence: 0.0,
                unusual: Some(Unusual { look, hours }),
                score: score as f32,
                frame_scores: shared_out(score as f32, frame_scores, network.clip.frames),
                maps,
                inference,
            },
            Target::Taught(probability) => Score {
                category: Some(0),
                confidence: probability,
                unusual: None,
                score: probability,
                frame_scores: shared_out(probability, frame_scores, network.clip.frames),
                maps,
                inference,
            },
        };
        if !score.score.is_finite() {
            let reason = "its score is not a finite number; use precision=f32 or another model";
            return Err(ScoreError::Failed(reason.into()));
        }
        Ok(score)
    });
    Ok(answers.collect())
}

/// What a segment is scored for. Its stream counts it.
fn choose(
    network: &Network,
    eye: Option<&Eye>,
    job: &Job,
    features: Option<&[f32]>,
    probabilities: &[f32],
) -> Result<Target, ScoreError> {
    let Request { form, category, usual, seconds, .. } = &job.request;
    let Geometry { frames, crop_width, .. } = network.clip;
    if let (Some(head), Some(features)) = (&network.head, features) {
        return Ok(Target::Taught(head.probability(features, &motion::motion(&job.clip, frames, crop_width))));
    }
    let judge = || {
        let look = eye?.look(features?, &job.clip, frames, crop_width);
        let departure = usual.lock().unwrap_or_else(PoisonError::into_inner).judge(&look, *seconds);
        Some(Target::Unusual(departure, look))
    };
    if *form == Form::Unusual {
        return judge().ok_or_else(|| ScoreError::Failed(NoFeatures.to_string()));
    }
    let mean = match category {
        Category::Fixed(category) => return Ok(Target::Category(*category)),
        Category::Running(mean) => mean,
    };
    let mut mean = mean.lock().unwrap_or_else(PoisonError::into_inner);
    let category = Target::Category(mean.add(probabilities));
    let Some(calibration) = network.header.calibration.filter(|_| *form == Form::Auto) else { return Ok(category) };
    // What fits learns the usual too, for when none does any more.
    let unusual = judge();
    Ok(unusual.filter(|_| !mean.leader_fits(calibration.fits as f32)).unwrap_or(category))
}

/// The importance maps of a batch; `None` where nobody asks for what they tell: the way back through the network costs half as much again
/// as the way there.
fn maps(
    network: &Network,
    forward: Forward,
    jobs: &[Job],
    targets: &[Target],
    eye: Option<&Eye>,
    meanwhile: &mut dyn FnMut(),
) -> Result<Option<Gradients>, ComputeError> {
    let category = |target: &Target| if let Target::Category(category) = target { Some(*category) } else { None };
    if let Some(categories) = targets.iter().map(category).collect::<Option<Vec<usize>>>() {
        return forward.maps(&categories, jobs[0].request.form, meanwhile).map(Some);
    }
    let asks = |(job, target): (&Job, &Target)| job.request.maps || category(target).is_some();
    if !jobs.iter().zip(targets).any(asks) {
        // Nothing is left to do for this batch, and the next one's clips are to be on the device by then.
        meanwhile();
        return Ok(None);
    }
    let along = targets.iter().filter_map(|target| match target {
        Target::Category(category) => Some(Along::Category(*category)),
        Target::Unusual(departure, _) => Some(Along::Features(eye?.direction(&departure.direction))),
        // As in the form `weighted`: the probability's own gradient vanishes where it is sure.
        Target::Taught(probability) => {
            Some(Along::Features(network.head.as_ref()?.features.iter().map(|by| by * probability).collect()))
        }
    });
    forward.maps_of(&along.collect::<Vec<_>>(), meanwhile).map(Some)
}

/// A segment's score on its frames, whose mean it is: in proportion to what their maps tell, or alike where there are none.
fn shared_out(score: f32, of_maps: Vec<f32>, frames: usize) -> Vec<f32> {
    let mean = of_maps.iter().sum::<f32>() / of_maps.len().max(1) as f32;
    if mean > 0.0 { of_maps.into_iter().map(|frame| score * frame / mean).collect() } else { vec![score; frames] }
}
