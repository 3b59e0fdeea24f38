//! How well people and methods agree with people: the rows of the paper's tables 1 and 2, and the field's later measures.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    annotations::{Dataset, Kind, Marks, Video},
    f_score::f_score,
    people::{Contestant, Person, mean},
    precision_at::average_precision_at,
    protocol::{Against, Options},
    segmentation::NoShots,
};

/// The first places that average precision is measured in (paper, section 4.1).
const PLACES: [usize; 2] = [5, 15];

/// The tables; field names as in the JSON document.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Results {
    pub dataset: Kind,
    /// How many are annotated.
    pub videos: usize,
    pub options: Options,
    pub humans: Humans,
    /// What a random order of the shots gets on average, exactly. It has no F-score.
    pub random: Row,
    /// By name.
    pub methods: BTreeMap<String, Row>,
    /// What was left out, for people to read.
    pub warnings: Vec<String>,
}

/// People against people. In every video, and for every measure, another person may be the worst or the best.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Humans {
    pub worst: Row,
    pub mean: Row,
    pub best: Row,
}

/// Means over people, then over videos; `None` where no video has the measure.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Row {
    /// Average precision in the top 5 shots, [0, 1].
    pub ap5: Option<f64>,
    /// In the top 15.
    pub ap15: Option<f64>,
    /// `ap5` over that of the mean human in the same videos.
    pub ap5_relative: Option<f64>,
    /// `ap15` over that of the mean human in the same videos.
    pub ap15_relative: Option<f64>,
    /// [0, 1]
    pub f_score: Option<f64>,
    /// Kendall's tau-b of the frame scores, [-1, 1].
    pub tau: Option<f64>,
    /// Spearman's rho of the frame scores, [-1, 1].
    pub rho: Option<f64>,
    /// How many were measured.
    pub videos: usize,
}

/// Scores of a method: for each video, by name, a score for each frame. As [`super::scores::read`] gives them.
pub type FrameScores = BTreeMap<String, Vec<f64>>;

/// Of one contestant in one video.
#[derive(Clone, Copy, Debug, Default)]
struct Measures {
    ap: [Option<f64>; PLACES.len()],
    f_score: Option<f64>,
    tau: Option<f64>,
    rho: Option<f64>,
}

/// One video's measures.
struct Measured {
    /// Each person against the others.
    people: Vec<Measures>,
    random: Measures,
    /// In the order of the methods; `None` without scores.
    methods: Vec<Option<Measures>>,
}

/// Measures people, chance and methods in all videos of a data set. `warnings` stand before those that it finds itself.
///
/// # Errors
/// [`NoShots`]: the options ask for shots that a video does not have.
///
/// # Panics
/// If a method has not as many scores as a video has frames, or one that is not a number.
pub fn results(
    dataset: &Dataset,
    methods: &BTreeMap<String, FrameScores>,
    options: &Options,
    warnings: Vec<String>,
) -> Result<Results, NoShots> {
    let mut warnings = [dataset.warnings.clone(), warnings].concat();
    let mut measured = Vec::new();
    for video in &dataset.videos {
        let shots = options.shots.shots(video)?;
        let people: Vec<Person> = video.people.iter().map(|marks| Person::of(marks, &shots, options)).collect();
        warnings.extend(unmeasured(video, &people));
        measured.push(Measured {
            people: (0..people.len()).map(|person| against_people(&people, person, options)).collect(),
            random: random(&people, options),
            methods: methods
                .values()
                .map(|videos| {
                    let scores = videos.get(&video.name)?;
                    assert_eq!(scores.len(), video.frames, "{}", video.name);
                    Some(measures(&Contestant::of(scores, &shots, options), people.iter(), options))
                })
                .collect(),
        });
    }
    let mean_human: Vec<Measures> =
        measured.iter().map(|video| over(&video.people, |values| mean(values.into_iter()))).collect();
    let human = |of: fn(Vec<f64>) -> Option<f64>| {
        let videos: Vec<_> = measured.iter().map(|video| Some(over(&video.people, of))).collect();
        row(&videos, &mean_human)
    };
    let random: Vec<_> = measured.iter().map(|video| Some(video.random)).collect();
    let method =
        |number: usize| row(&measured.iter().map(|video| video.methods[number]).collect::<Vec<_>>(), &mean_human);
    Ok(Results {
        dataset: dataset.kind,
        videos: dataset.videos.len(),
        options: *options,
        humans: Humans {
            worst: human(|values| values.into_iter().reduce(f64::min)),
            mean: human(|values| mean(values.into_iter())),
            best: human(|values| values.into_iter().reduce(f64::max)),
        },
        random: row(&random, &mean_human),
        methods: methods.keys().enumerate().map(|(number, name)| (name.clone(), method(number))).collect(),
        warnings,
    })
}

/// Whom a measure leaves out.
fn unmeasured(video: &Video, people: &[Person]) -> Vec<String> {
    let flat = |marks: &&Marks| match marks {
        Marks::Importance(scores) => scores.iter().all(|score| *score == scores[0]),
        Marks::Chosen(chosen) => chosen.iter().all(|frame| *frame == chosen[0]),
    };
    let without = people.iter().filter(|person| !person.relevant.contains(&true)).count();
    let flat = video.people.iter().filter(flat).count();
    let say = |count: usize, what: &str| (count > 0).then(|| format!("{}: {what}: {count}", video.name));
    let summary = say(without, "people without a shot in their summary, left out of average precision");
    summary.into_iter().chain(say(flat, "people who gave all frames one score, left out of tau and rho")).collect()
}

fn against_people(people: &[Person], person: usize, options: &Options) -> Measures {
    let references = people.iter().enumerate().filter(|&(other, _)| options.against == Against::All || other != person);
    measures(&people[person].contestant, references.map(|(_, person)| person), options)
}

fn measures<'a>(
    contestant: &Contestant,
    people: impl Iterator<Item = &'a Person> + Clone,
    options: &Options,
) -> Measures {
    let f_scores: Vec<f64> =
        people.clone().map(|person| f_score(&contestant.frames, &person.contestant.frames)).collect();
    let with = |correlation: fn(&Contestant, &Contestant) -> Option<f64>| {
        mean(people.clone().filter_map(|person| correlation(contestant, &person.contestant)))
    };
    Measures {
        ap: PLACES.map(|k| {
            let ap = |person: &Person| average_precision_at(k, &contestant.ranking, &person.relevant, options.depth);
            mean(people.clone().filter_map(ap))
        }),
        f_score: options.f_score.of(&f_scores),
        tau: with(|one, other| one.ranked.kendall(&other.ranked)),
        rho: with(|one, other| one.ranked.spearman(&other.ranked)),
    }
}

fn random(people: &[Person], options: &Options) -> Measures {
    let ap = |k: usize| {
        let ap = |person: &Person| {
            average_precision_at(k, &vec![0.0; person.relevant.len()], &person.relevant, options.depth)
        };
        mean(people.iter().filter_map(ap))
    };
    Measures { ap: PLACES.map(ap), f_score: None, tau: Some(0.0), rho: Some(0.0) }
}

/// Each measure over those who have it.
fn over(all: &[Measures], of: impl Fn(Vec<f64>) -> Option<f64>) -> Measures {
    let of = |measure: &dyn Fn(&Measures) -> Option<f64>| of(all.iter().filter_map(measure).collect());
    Measures {
        ap: std::array::from_fn(|i| of(&|measures| measures.ap[i])),
        f_score: of(&|measures| measures.f_score),
        tau: of(&|measures| measures.tau),
        rho: of(&|measures| measures.rho),
    }
}

/// The row of what was measured, or not, in each video.
fn row(videos: &[Option<Measures>], mean_human: &[Measures]) -> Row {
    let (measured, human): (Vec<Measures>, Vec<Measures>) =
        videos.iter().zip(mean_human).filter_map(|(video, human)| Some(((*video)?, *human))).unzip();
    let of = |all: &[Measures]| over(all, |values| mean(values.into_iter()));
    let (means, human) = (of(&measured), of(&human));
    let relative = |i: usize| Some(means.ap[i]? / human.ap[i].filter(|ap| *ap > 0.0)?);
    Row {
        ap5: means.ap[0],
        ap15: means.ap[1],
        ap5_relative: relative(0),
        ap15_relative: relative(1),
        f_score: means.f_score,
        tau: means.tau,
        rho: means.rho,
        videos: measured.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::protocol::ShareOf;

    fn near(got: Option<f64>, expected: f64) {
        assert!((got.unwrap() - expected).abs() < 1e-12, "{got:?}, {expected} expected");
    }

    fn frames(pattern: &str) -> Vec<bool> {
        pattern.chars().map(|c| c == '1').collect()
    }

    /// A video of four shots of one frame each; three people choose 1 and 2, 1 and 3, 1 and 2.
    fn dataset() -> Dataset {
        let video = |name: &str, people: &[&str]| Video {
            name: name.into(),
            topic: None,
            frames: 4,
            fps: None,
            shots: (0..4).map(|shot| shot..shot + 1).collect(),
            people: people.iter().map(|people| Marks::Chosen(frames(people))).collect(),
        };
        let videos = vec![video("a", &["1100", "1010", "1100"]), video("b", &["0001", "0001"])];
        Dataset { kind: Kind::Cosum, videos, warnings: vec!["first".into()] }
    }

    #[test]
    fn people_are_measured_against_the_others() {
        let results =
            results(&dataset(), &BTreeMap::new(), &Options::usual(Kind::Cosum), vec!["second".into()]).unwrap();
        assert_eq!((results.videos, results.warnings), (2, vec!["first".into(), "second".into()]));
        // In a, a ranking 11|00 against the same set is 1. Against the set that shares one of two, each of two orders (10|.., 01|..)
        // and of the rest (10, 01): the mean of 1 + 2/3, 1 + 2/4, 1/2 + 2/3, 1/2 + 2/4, halved.
        let apart = (5.0 / 3.0 + 3.0 / 2.0 + 7.0 / 6.0 + 1.0) / 8.0;
        near(results.humans.worst.ap5, (apart + 1.0) / 2.0);
        near(results.humans.best.ap5, ((1.0 + apart) / 2.0 + 1.0) / 2.0);
        near(results.humans.mean.ap5, ((2.0 * (1.0 + apart) / 2.0 + apart) / 3.0 + 1.0) / 2.0);
        near(results.humans.mean.ap5_relative, 1.0);
        // F-scores: 1 and 1/2. Kendall: 1 and 0, four untied pairs of six.
        near(results.humans.mean.f_score, ((2.0 * 0.75 + 0.5) / 3.0 + 1.0) / 2.0);
        near(results.humans.worst.tau, (0.0 + 1.0) / 2.0);
        near(results.humans.best.tau, (0.5 + 1.0) / 2.0);
        near(results.humans.best.rho, (0.5 + 1.0) / 2.0);
        // One relevant shot of four: its place is 1, 2, 3 or 4.
        let one = (1.0 + 1.0 / 2.0 + 1.0 / 3.0 + 1.0 / 4.0) / 4.0;
        let two = desumnet_engine::average_precision(&[0.0; 4], &frames("1100")).unwrap();
        near(results.random.ap5, (one + two) / 2.0);
        assert_eq!((results.random.f_score, results.random.tau, results.random.videos), (None, Some(0.0), 2));
    }

    #[test]
    fn against_all_people_each_agrees_with_itself() {
        let options = Options { against: Against::All, ..Options::usual(Kind::Cosum) };
        let results = results(&dataset(), &BTreeMap::new(), &options, Vec::new()).unwrap();
        near(
            results.humans.mean.f_score,
            ((2.0 * (1.0 + 0.5 + 1.0) / 3.0 + (0.5 + 1.0 + 0.5) / 3.0) / 3.0 + 1.0) / 2.0,
        );
    }

    #[test]
    fn a_method_is_compared_with_the_mean_human_in_its_own_videos() {
        let scores = BTreeMap::from([("b".to_string(), vec![0.0, 0.1, 0.9, 0.5])]);
        let methods = BTreeMap::from([("m".to_string(), scores), ("none".to_string(), BTreeMap::new())]);
        let results = results(&dataset(), &methods, &Options::usual(Kind::Cosum), Vec::new()).unwrap();
        let row = &results.methods["m"];
        near(row.ap5, 0.5);
        // People agree fully in b.
        near(row.ap5_relative, 0.5);
        // Of three pairs with the chosen frame two are concordant; six untied pairs and three.
        near(row.tau, (2.0 - 1.0) / 18f64.sqrt());
        assert_eq!((row.videos, &results.methods["none"]), (1, &Row::default()));
    }

    #[test]
    fn what_can_not_be_measured_is_left_out_and_said() {
        let mut dataset = dataset();
        dataset.videos[0].people[1] = Marks::Chosen(frames("0000"));
        dataset.videos[1].people[0] = Marks::Importance(vec![3.0; 4]);
        let options = Options { share_of: ShareOf::Shots, ..Options::usual(Kind::Cosum) };
        let results = results(&dataset, &BTreeMap::new(), &options, Vec::new()).unwrap();
        assert_eq!(
            results.warnings[1..],
            [
                "a: people without a shot in their summary, left out of average precision: 1",
                "a: people who gave all frames one score, left out of tau and rho: 1",
                "b: people who gave all frames one score, left out of tau and rho: 1"
            ]
        );
        // Of b, nobody has both series; of a, persons 1 and 3 agree.
        assert_eq!(results.humans.mean.tau, Some(1.0));
    }

    #[test]
    fn the_document_has_the_names_that_it_should() {
        let results = results(&dataset(), &BTreeMap::new(), &Options::usual(Kind::Cosum), Vec::new()).unwrap();
        let document = serde_json::to_value(&results).unwrap();
        assert_eq!(document["dataset"], "cosum");
        assert_eq!(document["options"]["shots"], "file");
        assert_eq!(document["options"]["against"], "others");
        assert_eq!(document["humans"]["worst"]["videos"], 2);
        assert!(document["random"]["ap15"].is_f64() && document["random"]["f_score"].is_null());
    }
}
