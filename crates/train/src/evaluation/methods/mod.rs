//! The methods that the paper (section 4.1) compares itself with, and simpler ones. Each takes a video as a matrix of
//! features, a row a unit (a shot or a segment) in time order, and gives a score a unit; higher is more important. The
//! score's scale is the method's own: only the order counts.
//!
//! Each file states what its method solves and, where the paper yields a set or coefficients, how a ranking is made of them.
//! **Our choice** marks what the paper leaves open, or bases on more than one vector of features a unit. None was compared with
//! its authors' program or checked against their figures.

mod cvs;
mod difference;
mod kvs;
mod mbf;
mod principal;
mod quasi;
mod random;
mod row_sparse;
mod seqdpp;
mod smrs;
mod submod;
mod uniform;

use std::{collections::BTreeSet, fmt};

use clap::ValueEnum;
use nalgebra::DMatrix;
use serde::Serialize;
use thiserror::Error;

/// Principal components that are kept where a method works on a basis of the features, at the most. **Our choice**, for the
/// cost: of the 2,048 features of fc6 they keep nearly all that tells a video's units apart, and a step of an iterative
/// method takes a millisecond.
const COMPONENTS: usize = 100;

/// Features beyond this, plus or minus, are taken for errors: their products would leave the range of numbers.
pub(super) const LARGEST: f64 = 1e30;

/// What units are scored by. Names on the command line and in JSON are in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[value(rename_all = "lower")]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Evenly spaced units first
    Uniform,
    /// Drawn at random
    Random,
    /// Difference from the units before and after
    Difference,
    /// Sparse modelling representative selection (Elhamifar et al., CVPR 2012)
    Smrs,
    /// Quasi-real-time sparse coding (Zhao and Xing, CVPR 2014)
    Quasi,
    /// Maximal biclique finding across videos (Chu et al., CVPR 2015)
    Mbf,
    /// Collaborative sparse selection across videos (Panda and Roy-Chowdhury, CVPR 2017)
    Cvs,
    /// A linear SVM a category (Potapov et al., ECCV 2014)
    Kvs,
    /// Sequential determinantal point process (Gong et al., NIPS 2014)
    SeqDpp,
    /// Learnt mixture of submodular objectives (Gygli et al., CVPR 2015)
    SubMod,
}

/// What a method needs beside the video.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Unsupervised,
    /// Other videos of the same topic.
    AcrossVideos,
    /// Training videos with labels.
    Supervised,
}

impl Method {
    pub const ALL: [Self; 10] = [
        Self::Uniform,
        Self::Random,
        Self::Difference,
        Self::Smrs,
        Self::Quasi,
        Self::Mbf,
        Self::Cvs,
        Self::Kvs,
        Self::SeqDpp,
        Self::SubMod,
    ];

    pub fn kind(self) -> Kind {
        match self {
            Self::Uniform | Self::Random | Self::Difference | Self::Smrs | Self::Quasi => Kind::Unsupervised,
            Self::Mbf | Self::Cvs => Kind::AcrossVideos,
            Self::Kvs | Self::SeqDpp | Self::SubMod => Kind::Supervised,
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No method is hidden from the command line, so that each has a value.
        self.to_possible_value().map_or(Ok(()), |value| f.write_str(value.get_name()))
    }
}

/// A video to learn from. [`Method::Kvs`] reads the category, [`Method::SeqDpp`] what was selected, [`Method::SubMod`]
/// importance and what was selected; what a method doesn't read may be empty.
#[derive(Clone, Copy, Debug)]
pub struct Labelled<'a> {
    /// `[units, features]`
    pub features: &'a DMatrix<f64>,
    pub category: &'a str,
    /// Of each unit, [0, 1]; the mean over humans, for one.
    pub importance: &'a [f64],
    /// Whether each unit is in the summary to learn: the oracle summary of the humans.
    pub selected: &'a [bool],
}

/// A video to score.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// `[units, features]`
    pub features: &'a DMatrix<f64>,
    /// Read by [`Method::Kvs`].
    pub category: &'a str,
    /// The other videos of its topic, read by the methods of the kind [`Kind::AcrossVideos`]: `[units, features]` each.
    pub others: &'a [&'a DMatrix<f64>],
    /// Read by [`Method::Random`].
    pub seed: u64,
}

/// Why there are no scores.
#[derive(Debug, Error, PartialEq)]
pub enum MethodError {
    #[error("{video} has no units: give at least one shot or segment")]
    NoUnits { video: String },
    #[error("{video} has no features: give a column for each")]
    NoFeatures { video: String },
    #[error("unit {unit} of {video} has the feature {value}, which is no sensible number: extract its features anew")]
    Feature { video: String, unit: usize, value: f64 },
    #[error("{video} has {found} features a unit, where {expected} are expected: extract all with one model")]
    Features { video: String, found: usize, expected: usize },
    #[error("{video} has {units} units and {found} values of {what}: give one for each unit")]
    Labels { video: String, units: usize, what: &'static str, found: usize },
    #[error("unit {unit} of {video} has the importance {value}: it must lie in [0, 1]")]
    Importance { video: String, unit: usize, value: f64 },
    #[error("{method} learns from people's choices: give training videos with labels")]
    NoTraining { method: Method },
    #[error(
        "no unit of the training videos is selected, so that {method} has no summary to learn: give the humans' selections"
    )]
    NothingSelected { method: Method },
    #[error(
        "{method} tells a category from others, and all training videos are of `{category}`: give some of another one"
    )]
    OneCategory { method: Method, category: String },
    #[error(
        "no training video is of the category `{category}`: give some, or a video of a category that was learnt ({})",
        known.join(", ")
    )]
    Category { category: String, known: Vec<String> },
    #[error("{method} looks for what videos of a topic share: give at least one other video of the topic")]
    NoOthers { method: Method },
}

/// A method, after it has learnt what it learns.
#[derive(Debug)]
pub struct Scorer {
    method: Method,
    learnt: Learnt,
    /// Features a unit in training.
    expected: Option<usize>,
}

#[derive(Debug)]
enum Learnt {
    Nothing,
    Kvs(kvs::Machines),
    SeqDpp(seqdpp::Process),
    SubMod(submod::Mixture),
}

impl Scorer {
    /// Learns from the training videos if the method is supervised; others don't look at them.
    ///
    /// # Errors
    /// [`MethodError`]
    pub fn new(method: Method, training: &[Labelled]) -> Result<Self, MethodError> {
        if method.kind() != Kind::Supervised {
            return Ok(Self { method, learnt: Learnt::Nothing, expected: None });
        }
        let expected = training.first().ok_or(MethodError::NoTraining { method })?.features.ncols();
        for (i, video) in training.iter().enumerate() {
            let name = format!("training video {}", i + 1);
            check(&name, video.features, expected)?;
            check_labels(method, &name, video)?;
        }
        if method != Method::Kvs && !training.iter().any(|video| video.selected.contains(&true)) {
            return Err(MethodError::NothingSelected { method });
        }
        let learnt = match method {
            Method::Kvs => {
                let categories: BTreeSet<&str> = training.iter().map(|video| video.category).collect();
                if categories.len() == 1 {
                    return Err(MethodError::OneCategory { method, category: training[0].category.into() });
                }
                Learnt::Kvs(kvs::Machines::learn(training, &categories))
            }
            Method::SeqDpp => Learnt::SeqDpp(seqdpp::Process::learn(training)),
            _ => Learnt::SubMod(submod::Mixture::learn(training)),
        };
        Ok(Self { method, learnt, expected: Some(expected) })
    }

    /// A score a unit, finite; higher is more important. The same video gets the same scores at every run.
    ///
    /// # Errors
    /// [`MethodError`]
    pub fn score(&self, given: &Given) -> Result<Vec<f64>, MethodError> {
        let features = given.features;
        check("the video", features, self.expected.unwrap_or(features.ncols()))?;
        if self.method.kind() == Kind::AcrossVideos {
            if given.others.is_empty() {
                return Err(MethodError::NoOthers { method: self.method });
            }
            for (i, other) in given.others.iter().enumerate() {
                check(&format!("other video {}", i + 1), other, features.ncols())?;
            }
        }
        Ok(match (&self.learnt, self.method) {
            (Learnt::Kvs(machines), _) => machines.score(features, given.category)?,
            (Learnt::SeqDpp(process), _) => process.score(features),
            (Learnt::SubMod(mixture), _) => mixture.score(features),
            (_, Method::Random) => random::score(features.nrows(), given.seed),
            (_, Method::Difference) => difference::score(features),
            (_, Method::Smrs) => smrs::score(features),
            (_, Method::Quasi) => quasi::score(features),
            (_, Method::Mbf) => mbf::score(features, given.others),
            (_, Method::Cvs) => cvs::score(features, given.others),
            _ => uniform::score(features.nrows()),
        })
    }
}

fn check(video: &str, features: &DMatrix<f64>, expected: usize) -> Result<(), MethodError> {
    let video = || video.to_owned();
    if features.nrows() == 0 {
        return Err(MethodError::NoUnits { video: video() });
    }
    if features.ncols() == 0 {
        return Err(MethodError::NoFeatures { video: video() });
    }
    if features.ncols() != expected {
        return Err(MethodError::Features { video: video(), found: features.ncols(), expected });
    }
    // Down a column the units go by, in the order of memory.
    match features.iter().enumerate().find(|(_, value)| value.is_nan() || value.abs() > LARGEST) {
        Some((at, &value)) => Err(MethodError::Feature { video: video(), unit: at % features.nrows(), value }),
        None => Ok(()),
    }
}

/// The labels that the method reads.
fn check_labels(method: Method, name: &str, video: &Labelled) -> Result<(), MethodError> {
    let units = video.features.nrows();
    let labels = [("importance", video.importance.len()), ("selection", video.selected.len())];
    let read = match method {
        Method::SubMod => &labels[..],
        Method::SeqDpp => &labels[1..],
        _ => &[],
    };
    if let Some(&(what, found)) = read.iter().find(|(_, found)| *found != units) {
        return Err(MethodError::Labels { video: name.into(), units, what, found });
    }
    match video.importance.iter().position(|value| !(0.0..=1.0).contains(value)) {
        Some(unit) => Err(MethodError::Importance { video: name.into(), unit, value: video.importance[unit] }),
        None => Ok(()),
    }
}

/// Numbers of the units by falling score, ties in time order.
#[cfg(test)]
fn ranking(scores: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    order
}

/// Scores in (0, 1] that put units in this order: the first gets 1.
fn by_order(order: &[usize]) -> Vec<f64> {
    let mut scores = vec![0.0; order.len()];
    for (place, &unit) in order.iter().enumerate() {
        scores[unit] = 1.0 - place as f64 / order.len() as f64;
    }
    scores
}

/// Each row at length 1; one of zeros stays.
fn normalised(features: &DMatrix<f64>) -> DMatrix<f64> {
    let mut features = features.clone();
    for mut row in features.row_iter_mut() {
        let norm = row.norm();
        if norm > 0.0 {
            row /= norm;
        }
    }
    features
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_the_same_everywhere() {
        for (method, name) in Method::ALL.into_iter().zip([
            "uniform",
            "random",
            "difference",
            "smrs",
            "quasi",
            "mbf",
            "cvs",
            "kvs",
            "seqdpp",
            "submod",
        ]) {
            assert_eq!(method.to_string(), name);
            assert_eq!(<Method as ValueEnum>::from_str(name, false), Ok(method));
            assert_eq!(serde_json::to_value(method).unwrap(), name);
        }
    }

    fn matrix(units: usize, features: usize, values: &[f64]) -> DMatrix<f64> {
        DMatrix::from_fn(units, features, |i, j| values[(i * features + j) % values.len()])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(30))]

        /// Of one unit, of equal units, of more units than features and of videos of very different scales too.
        #[test]
        fn every_method_scores_whatever_is_sound(
            units in prop::array::uniform4(1usize..25), features in 1usize..8,
            scale in prop::sample::select(vec![1e-200, 1e-3, 1.0, 1e23]),
            scales in prop::array::uniform4(prop::sample::select(vec![1e-7, 1.0, 1.0, 1e7])),
            values in prop::collection::vec(prop_oneof![Just(0.0), -1.0f64..1.0], 1..200), seed in any::<u64>(),
        ) {
            let values: Vec<f64> = values.into_iter().map(|value| value * scale).collect();
            let videos: [_; 4] = std::array::from_fn(|i| matrix(units[i], features, &values) * scales[i]);
            let [video, a, b, other] = videos;
            let labels = |units: usize| -> (Vec<f64>, Vec<bool>) {
                (0..units).map(|i| ((i % 4) as f64 / 3.0, i % 4 == 0)).unzip()
            };
            let ((a_importance, a_selected), (b_importance, b_selected)) = (labels(a.nrows()), labels(b.nrows()));
            let training = [
                Labelled { features: &a, category: "surfing", importance: &a_importance, selected: &a_selected },
                Labelled { features: &b, category: "cooking", importance: &b_importance, selected: &b_selected },
            ];
            let given = Given { features: &video, category: "surfing", others: &[&a, &other], seed };
            for method in Method::ALL {
                let scores = Scorer::new(method, &training).unwrap().score(&given).unwrap();
                prop_assert_eq!(scores.len(), video.nrows());
                prop_assert!(scores.iter().all(|score| score.is_finite()), "{}: {:?}", method, scores);
                prop_assert_eq!(scores, Scorer::new(method, &training).unwrap().score(&given).unwrap());
            }
        }
    }

    const SMALL: [f64; 6] = [0.5, 1.0, 0.0, 2.0, -1.0, 3.0];

    #[test]
    fn a_video_that_cant_be_scored_is_refused() {
        let (sound, none, wide) = (matrix(3, 2, &SMALL), DMatrix::zeros(0, 2), matrix(2, 3, &SMALL));
        let mut broken = sound.clone();
        broken[(1, 1)] = f64::NAN;
        let score = |method, features, others: &[&DMatrix<f64>]| {
            let given = Given { features, category: "", others, seed: 1 };
            Scorer::new(method, &[]).unwrap().score(&given).unwrap_err().to_string()
        };
        for (got, expected) in [
            (score(Method::Uniform, &none, &[]), "the video has no units: give at least one shot or segment"),
            (score(Method::Smrs, &DMatrix::zeros(2, 0), &[]), "the video has no features: give a column for each"),
            (
                score(Method::Quasi, &broken, &[]),
                "unit 1 of the video has the feature NaN, which is no sensible number: extract its features anew",
            ),
            (
                score(Method::Mbf, &sound, &[]),
                "mbf looks for what videos of a topic share: give at least one other video of the topic",
            ),
            (
                score(Method::Cvs, &sound, &[&sound, &wide]),
                "other video 2 has 3 features a unit, where 2 are expected: extract all with one model",
            ),
            (
                score(Method::Cvs, &sound, &[&broken]),
                "unit 1 of other video 1 has the feature NaN, which is no sensible number: extract its features anew",
            ),
        ] {
            assert_eq!(got, expected);
        }
    }

    #[test]
    fn training_videos_that_teach_nothing_are_refused() {
        let (sound, wide) = (matrix(3, 2, &SMALL), matrix(2, 3, &SMALL));
        let some = [true, false, false];
        let video = Labelled { features: &sound, category: "surfing", importance: &[0.0, 1.0, 0.5], selected: &some };
        let other = Labelled { category: "cooking", ..video };
        for (method, training, expected) in [
            (Method::SeqDpp, vec![], "seqdpp learns from people's choices: give training videos with labels"),
            (
                Method::SubMod,
                vec![Labelled { selected: &[false; 3], ..video }],
                "no unit of the training videos is selected, so that submod has no summary to learn: give the humans' selections",
            ),
            (
                Method::Kvs,
                vec![video, video],
                "kvs tells a category from others, and all training videos are of `surfing`: give some of another one",
            ),
            (
                Method::SubMod,
                vec![other, Labelled { selected: &some[..2], ..video }],
                "training video 2 has 3 units and 2 values of selection: give one for each unit",
            ),
            (
                Method::SubMod,
                vec![Labelled { importance: &[0.5; 4], ..video }],
                "training video 1 has 3 units and 4 values of importance: give one for each unit",
            ),
            (
                Method::SubMod,
                vec![Labelled { importance: &[0.5, 1.5, 0.0], ..video }],
                "unit 1 of training video 1 has the importance 1.5: it must lie in [0, 1]",
            ),
            (
                Method::SeqDpp,
                vec![video, Labelled { importance: &[], selected: &[true], ..other }],
                "training video 2 has 3 units and 1 values of selection: give one for each unit",
            ),
            (
                Method::Kvs,
                vec![video, Labelled { features: &wide, ..other }],
                "training video 2 has 3 features a unit, where 2 are expected: extract all with one model",
            ),
        ] {
            assert_eq!(Scorer::new(method, &training).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn the_video_must_have_the_features_that_were_learnt() {
        let (sound, wide) = (matrix(3, 2, &SMALL), matrix(2, 3, &SMALL));
        let selected = [true, false, false];
        let video =
            Labelled { features: &sound, category: "surfing", importance: &[0.0, 1.0, 0.5], selected: &selected };
        let scorer = Scorer::new(Method::SeqDpp, &[video]).unwrap();
        let error = scorer.score(&Given { features: &wide, category: "", others: &[], seed: 1 }).unwrap_err();
        assert_eq!(error, MethodError::Features { video: "the video".into(), found: 3, expected: 2 });
    }
}
