//! Methods over a data set: what each of them gives every frame.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use nalgebra::DMatrix;

use super::{
    annotations::{Dataset, Marks, Video},
    methods::{Given, Kind, Labelled, Method, Scorer},
    people::{Person, shot_means},
    protocol::Options,
    results::FrameScores,
    scores::{fit, spread},
    segmentation::NoShots,
    watched::Watched,
};

/// Of the method that draws.
const SEED: u64 = 1;

/// A video with all that methods want to know of it.
struct Material<'a> {
    video: &'a Video,
    shots: Vec<Range<usize>>,
    /// `[shots, features]`
    features: DMatrix<f64>,
    /// Of each shot, [0, 1]: the mean over people.
    importance: Vec<f64>,
    /// The shots that at least half of the people have in their summaries; where there are none, those that most have.
    selected: Vec<bool>,
}

impl<'a> Material<'a> {
    fn new(video: &'a Video, watched: &Watched, options: &Options) -> Result<Self, NoShots> {
        let shots = options.shots.shots(video)?;
        let people: Vec<Person> = video.people.iter().map(|marks| Person::of(marks, &shots, options)).collect();
        let votes: Vec<usize> =
            (0..shots.len()).map(|shot| people.iter().filter(|person| person.relevant[shot]).count()).collect();
        let most = votes.iter().copied().max().unwrap_or(0).min(people.len().div_ceil(2)).max(1);
        let mut importance = vec![0.0; shots.len()];
        for marks in &video.people {
            for (sum, mean) in importance.iter_mut().zip(shot_means(&unit(marks), &shots)) {
                *sum += mean / video.people.len() as f64;
            }
        }
        let importance = importance.into_iter().map(|value| value.clamp(0.0, 1.0)).collect();
        let selected = votes.into_iter().map(|votes| votes >= most).collect();
        Ok(Self { video, features: watched.of_shots(&shots), shots, importance, selected })
    }

    fn labelled(&self) -> Labelled<'_> {
        Labelled {
            features: &self.features,
            category: self.topic(),
            importance: &self.importance,
            selected: &self.selected,
        }
    }

    fn topic(&self) -> &str {
        self.video.topic.as_deref().unwrap_or_default()
    }
}

fn materials<'a>(
    dataset: &'a Dataset,
    watched: &BTreeMap<String, Watched>,
    options: &Options,
) -> Result<Vec<Material<'a>>, NoShots> {
    let of = |video: &'a Video| Some(Material::new(video, watched.get(&video.name)?, options));
    dataset.videos.iter().filter_map(of).collect()
}

/// What a person marked, each frame in [0, 1].
fn unit(marks: &Marks) -> Vec<f64> {
    match marks {
        Marks::Chosen(chosen) => chosen.iter().copied().map(f64::from).collect(),
        Marks::Importance(scores) => {
            let (low, high) = scores.iter().fold((f32::MAX, f32::MIN), |(low, high), s| (low.min(*s), high.max(*s)));
            let range = f64::from((high - low).max(f32::MIN_POSITIVE));
            scores.iter().map(|score| f64::from(score - low) / range).collect()
        }
    }
}

/// Scores of each method for the frames of each video that was watched, and what was left out, for people to read. The network's own
/// scores are rows, too.
///
/// `others` are videos of the same topics, to learn from and to find what a topic's videos share. Where it is empty, methods that
/// learn do so from the data set's other videos (leave-one-out), and the topic's others are the data set's.
///
/// # Errors
/// [`NoShots`]: the options ask for shots that a video does not have.
pub fn compare(
    dataset: &Dataset,
    watched: &BTreeMap<String, Watched>,
    others: (&Dataset, &BTreeMap<String, Watched>),
    methods: &[Method],
    options: &Options,
) -> Result<(BTreeMap<String, FrameScores>, Vec<String>), NoShots> {
    let own = materials(dataset, watched, options)?;
    let others = materials(others.0, others.1, options)?;
    let (mut rows, mut warnings) = (BTreeMap::<String, FrameScores>::new(), BTreeSet::new());
    for Material { video, .. } in &own {
        let watched = &watched[&video.name];
        for (name, scores) in &watched.own {
            let scored = watched.spans.iter().cloned().zip(scores.iter().copied());
            match fit(spread(scored, watched.frames), video) {
                Ok((frames, said)) => {
                    rows.entry((*name).into()).or_default().insert(video.name.clone(), frames);
                    warnings.extend(said);
                }
                Err((scored, annotated)) => drop(warnings.insert(format!(
                    "{}, left out: it has {scored} frames and {annotated} are annotated, so that it is not the same video",
                    video.name
                ))),
            }
        }
    }
    for &method in methods {
        // Learnt once where the videos to learn from are the same for all.
        let mut scorer = None;
        for (i, video) in own.iter().enumerate() {
            let rest = || own.iter().enumerate().filter(|(other, _)| *other != i).map(|(_, other)| other);
            let training =
                || -> Vec<&Material> { if others.is_empty() { rest().collect() } else { others.iter().collect() } };
            let scored = match scorer.take() {
                Some(scorer) if !others.is_empty() || method.kind() != Kind::Supervised => Ok(scorer),
                _ => Scorer::new(method, &training().iter().map(|video| video.labelled()).collect::<Vec<_>>()),
            };
            let topic =
                training().into_iter().filter(|other| video.video.topic.is_some() && other.topic() == video.topic());
            let topic: Vec<&DMatrix<f64>> = topic.map(|other| &other.features).collect();
            let given = Given { features: &video.features, category: video.topic(), others: &topic, seed: SEED };
            let scores = scored.and_then(|learnt| {
                let scores = learnt.score(&given);
                scorer = Some(learnt);
                scores
            });
            match scores {
                Ok(scores) => {
                    let mut frames = vec![0.0; video.video.frames];
                    video.shots.iter().zip(scores).for_each(|(shot, score)| frames[shot.clone()].fill(score));
                    rows.entry(method.to_string()).or_default().insert(video.video.name.clone(), frames);
                }
                Err(error) => drop(warnings.insert(format!("{method}: {error}"))),
            }
        }
    }
    Ok((rows, warnings.into_iter().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::{annotations, results::results};

    /// Ten shots of two frames; the features of shots 2 and 7, which people chose, point another way.
    fn video(name: &str, topic: &str) -> (Video, Watched) {
        let chosen = |shot: usize| shot == 2 || shot == 7;
        let video = Video {
            name: name.into(),
            topic: Some(topic.into()),
            frames: 20,
            fps: Some(1.0),
            shots: (0..10).map(|i| 2 * i..2 * i + 2).collect(),
            people: vec![Marks::Chosen((0..20).map(|frame| chosen(frame / 2)).collect())],
        };
        let axis = if topic == "a" { 0 } else { 1 };
        let features = DMatrix::from_fn(20, 3, |frame, j| {
            let on = if chosen(frame / 2) { axis } else { 2 };
            f64::from(on == j) + (frame / 2 * (j + 3) % 7) as f64 / 100.0
        });
        let own = BTreeMap::from([("desumnet", (0..20).map(|frame| f64::from(chosen(frame / 2))).collect())]);
        let spans = (0..20).map(|frame| f64::from(frame)..f64::from(frame + 1)).collect();
        (video, Watched { frames: 20, spans, features, own })
    }

    fn dataset(of: &[(&str, &str)]) -> (Dataset, BTreeMap<String, Watched>) {
        let (videos, watched): (Vec<Video>, Vec<Watched>) = of.iter().map(|(name, topic)| video(name, topic)).unzip();
        let names = videos.iter().map(|video| video.name.clone());
        let watched = names.zip(watched).collect();
        (Dataset { kind: annotations::Kind::Composites, videos, warnings: Vec::new() }, watched)
    }

    #[test]
    fn every_method_gets_a_row_and_those_that_know_the_truth_find_it() {
        let (set, watched) = dataset(&[("a1", "a"), ("a2", "a"), ("b1", "b"), ("b2", "b")]);
        let none = dataset(&[]);
        let options = Options::usual(annotations::Kind::Composites);
        let (rows, warnings) = compare(&set, &watched, (&none.0, &none.1), &Method::ALL, &options).unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!(rows.len(), Method::ALL.len() + 1);
        let results = results(&set, &rows, &options, warnings).unwrap();
        for method in ["desumnet", "kvs"] {
            assert_eq!(results.methods[method].ap5, Some(1.0), "{method}");
            assert_eq!(results.methods[method].videos, 4);
        }
    }

    #[test]
    fn a_method_that_lacks_what_it_needs_is_left_out_and_said() {
        let (set, watched) = dataset(&[("a1", "a")]);
        let none = dataset(&[]);
        let options = Options::usual(annotations::Kind::Composites);
        let methods = [Method::Mbf, Method::Kvs, Method::Uniform];
        let (rows, warnings) = compare(&set, &watched, (&none.0, &none.1), &methods, &options).unwrap();
        assert_eq!(rows.keys().collect::<Vec<_>>(), ["desumnet", "uniform"]);
        assert!(warnings[0].starts_with("kvs: ") && warnings[1].starts_with("mbf: "), "{warnings:?}");
        // With videos to learn from, both have what they need.
        let others = dataset(&[("a2", "a"), ("b1", "b")]);
        let (rows, warnings) = compare(&set, &watched, (&others.0, &others.1), &methods, &options).unwrap();
        assert_eq!((rows.len(), warnings), (4, Vec::new()));
    }

    #[test]
    fn scores_of_people_lie_in_the_unit_range() {
        assert_eq!(unit(&Marks::Importance(vec![1.0, 3.0, 5.0])), [0.0, 0.5, 1.0]);
        assert_eq!(unit(&Marks::Importance(vec![4.0, 4.0])), [0.0, 0.0]);
    }
}
