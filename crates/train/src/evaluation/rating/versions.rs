//! What the time-lapses of a video are made by: our importance in any form, and the compared methods.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use clap::ValueEnum;
use thiserror::Error;

use crate::{
    evaluation::{
        annotations::{self, Dataset, Video},
        compare::compare,
        methods::{Kind, Method},
        protocol::Options as Rules,
        segmentation::Segmentation,
        watched::{WatchError, Watched},
    },
    training::data::Listing,
};
use desumnet_decide::{quantile, shot_scores::Scored};
use desumnet_engine::{importance::Form, named::named, network::Network};
use desumnet_media::video_files::{FolderError, in_folder};
use desumnet_offline::{self, OfflineError, Options};

/// The frames that the compared methods count in, a second: fine enough for any segment.
const FINE: f64 = 1_000.0;

/// A way to score a video's segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// Our importance.
    Importance(Form),
    Method(Method),
}

/// A [`By`] and its name on the command line and in results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub name: String,
    pub by: By,
}

impl FromStr for Version {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let by = match (named::<Form>(name), <Method as ValueEnum>::from_str(name, false)) {
            (Ok(form), _) => By::Importance(form),
            // What these two learn from, a folder of videos does not have.
            (_, Ok(method @ (Method::SeqDpp | Method::SubMod))) => {
                return Err(format!("{method} learns from people's summaries, which a folder of videos has none of"));
            }
            (_, Ok(method)) => By::Method(method),
            (Err(forms), Err(_)) => {
                let methods = Method::ALL.iter().filter(|method| !matches!(method, Method::SeqDpp | Method::SubMod));
                let methods: Vec<String> = methods.map(Method::to_string).collect();
                return Err(format!("{forms}, {}", methods.join(", ")));
            }
        };
        Ok(Self { name: name.into(), by })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Why videos have no scores.
#[derive(Debug, Error)]
pub enum VersionError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Offline(#[from] OfflineError),
    #[error(transparent)]
    Watch(#[from] WatchError),
    #[error(
        "{0}; the videos of a topic lie in a folder of its name: --videos FOLDER/TOPIC/VIDEO, or more of them by --training"
    )]
    Method(String),
}

/// A video to make time-lapses of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Studied {
    pub path: PathBuf,
    /// `VIDEO` or `TOPIC/VIDEO`, without the file's ending.
    pub name: String,
    pub topic: Option<String>,
}

impl Studied {
    fn new(path: PathBuf, topic: Option<&str>) -> Self {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let name = topic.map_or(stem.clone().into_owned(), |topic| format!("{topic}/{stem}"));
        Self { name, topic: topic.map(String::from), path }
    }

    fn video(&self) -> Video {
        let Self { name, topic, .. } = self.clone();
        Video { name, topic, frames: 1, fps: Some(FINE), shots: Vec::new(), people: Vec::new() }
    }
}

/// The videos of a folder, and of the folders in it, whose names are topics.
///
/// # Errors
/// [`FolderError`]: there is none.
pub fn studied(folder: &Path) -> Result<Vec<Studied>, FolderError> {
    let own = in_folder(folder);
    if let Err(FolderError::Unreadable { .. }) = own {
        return Ok(own?.into_iter().map(|path| Studied::new(path, None)).collect());
    }
    let mut videos: Vec<Studied> = own.into_iter().flatten().map(|path| Studied::new(path, None)).collect();
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut topics: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    topics.sort();
    for topic in topics {
        let name = topic.file_name().unwrap_or_default().to_string_lossy().into_owned();
        videos.extend(in_folder(&topic).into_iter().flatten().map(|path| Studied::new(path, Some(&name))));
    }
    if videos.is_empty() { Err(FolderError::Empty(folder.into())) } else { Ok(videos) }
}

/// The segments of each video with what each version gives them, by the version's name: ranks within the video, [0, 1], so that only the
/// order counts, as the scales of the methods are their own. `uniform` gives all the same: it plays at one speed.
///
/// `training` are more videos of the topics, for the methods that learn or look across videos; without them these do so from the other
/// videos of the study. `progress` is called with the name of the video that is looked at.
///
/// # Errors
/// [`VersionError`]
pub fn scores(
    videos: &[Studied],
    training: Option<&Listing>,
    versions: &[Version],
    options: &Options,
    progress: impl Fn(&str),
) -> Result<Vec<BTreeMap<String, Vec<Scored>>>, VersionError> {
    let topics =
        training.map(|listing| listing.items.iter().map(|item| listing.categories[item.category].as_str()).collect());
    let methods: Vec<Method> = versions
        .iter()
        .filter_map(|version| if let By::Method(method) = version.by { Some(method) } else { None })
        .collect();
    // Not after hours of scoring.
    if let Some(lack) = methods.iter().find_map(|&method| lack(method, videos, topics.as_ref())) {
        return Err(VersionError::Method(lack));
    }
    let mut scored = vec![BTreeMap::new(); videos.len()];
    for Version { name, by } in versions {
        let By::Importance(form) = by else { continue };
        for (video, scored) in videos.iter().zip(&mut scored) {
            progress(&video.name);
            let options = Options { form: *form, ..options.clone() };
            let segments = desumnet_offline::score(&video.path.to_string_lossy(), &options, |_| {})?.scored();
            scored.insert(name.clone(), ranked(segments));
        }
    }
    if methods.is_empty() {
        return Ok(scored);
    }
    let network = Network::open(&options.model, options.device, options.precision).map_err(OfflineError::from)?;
    let watch = |videos: &[Studied]| -> Result<(Dataset, BTreeMap<String, Watched>), VersionError> {
        let (mut told, mut watched) = (Vec::new(), BTreeMap::new());
        for studied in videos {
            progress(&studied.name);
            let mut video = studied.video();
            let seen = Watched::video(&network, &studied.path, &video, None, |_| {})?;
            // A segment is the unit: a time-lapse consists of all of them, whatever the shots (paper, section 4.2).
            video.frames = seen.frames;
            video.shots =
                seen.spans.iter().map(|span| span.start.round() as usize..span.end.round() as usize).collect();
            watched.insert(video.name.clone(), seen);
            told.push(video);
        }
        Ok((Dataset { kind: annotations::Kind::Composites, videos: told, warnings: Vec::new() }, watched))
    };
    let (own, watched) = watch(videos)?;
    let of = |listing: &Listing| -> Vec<Studied> {
        let item = |item: &crate::training::data::Item| {
            Studied::new(item.path.clone(), Some(&listing.categories[item.category]))
        };
        listing.items.iter().map(item).collect()
    };
    let (others, watched_others) = watch(&training.map(of).unwrap_or_default())?;
    let rules = Rules { shots: Segmentation::File, ..Rules::usual(annotations::Kind::Composites) };
    let compared = compare(&own, &watched, (&others, &watched_others), &methods, &rules);
    let (rows, lacks) = compared.map_err(|error| VersionError::Method(error.to_string()))?;
    // A version that is missing of one video would tell the raters that it is one of a kind.
    if let Some(lack) = lacks.into_iter().next() {
        return Err(VersionError::Method(lack));
    }
    for method in methods {
        for (video, scored) in own.videos.iter().zip(&mut scored) {
            let ns = |frame: usize| (frame as f64 / FINE * 1e9).round() as u64;
            let frames = &rows[&method.to_string()][&video.name];
            let segment = |span: &std::ops::Range<usize>| Scored {
                start_ns: ns(span.start),
                duration_ns: ns(span.len()),
                score: if method == Method::Uniform { 1.0 } else { frames[span.start] },
            };
            let segments = video.shots.iter().filter(|span| !span.is_empty()).map(segment).collect();
            scored.insert(method.to_string(), ranked(segments));
        }
    }
    Ok(scored)
}

/// What a method needs of other videos and does not have, of the first video that lacks it. `training` are the topics of those
/// videos; without them, they are the study's.
fn lack(method: Method, videos: &[Studied], training: Option<&Vec<&str>>) -> Option<String> {
    videos.iter().enumerate().find_map(|(i, video)| {
        let rest = videos.iter().enumerate().filter(|(other, _)| *other != i);
        let topics =
            training.cloned().unwrap_or_else(|| rest.filter_map(|(_, other)| other.topic.as_deref()).collect());
        let same = topics.iter().any(|topic| Some(*topic) == video.topic.as_deref());
        let other = topics.iter().any(|topic| Some(*topic) != video.topic.as_deref());
        let name = &video.name;
        match method.kind() {
            Kind::AcrossVideos if !same => Some(format!(
                "{method} looks for what videos of a topic share, and there is no other of the topic of {name}"
            )),
            Kind::Supervised if !same => {
                Some(format!("{method} learns from videos of the topic, and there is no other of that of {name}"))
            }
            Kind::Supervised if !other => {
                Some(format!("{method} tells a topic from others, and beside {name} there is no video of another one"))
            }
            _ => None,
        }
    })
}

/// Segments with their rank in place of the score.
fn ranked(mut segments: Vec<Scored>) -> Vec<Scored> {
    let scores: Vec<f32> = segments.iter().map(|segment| segment.score as f32).collect();
    for (segment, rank) in segments.iter_mut().zip(quantile::ranks(&scores)) {
        segment.score = rank.into();
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_forms_and_methods_that_need_no_people() {
        let by = |name: &str| name.parse::<Version>().map(|version| version.by);
        assert_eq!(by("logit"), Ok(By::Importance(Form::Logit)));
        assert_eq!(by("kvs"), Ok(By::Method(Method::Kvs)));
        assert!(by("submod").unwrap_err().starts_with("submod learns from people's summaries"));
        let said = by("best").unwrap_err();
        assert!(
            said.starts_with("use one of weighted, logit, ")
                && said.ends_with(", uniform, random, difference, smrs, quasi, mbf, cvs, kvs"),
            "{said}"
        );
    }

    #[test]
    fn a_folder_in_the_folder_is_a_topic() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        assert!(matches!(studied(&root.join("none")), Err(FolderError::Unreadable { .. })));
        assert!(matches!(studied(root), Err(FolderError::Empty(_))));
        std::fs::create_dir_all(root.join("dogs")).unwrap();
        for file in ["b.mp4", "dogs/a.mkv", "dogs/a.json"] {
            std::fs::write(root.join(file), "").unwrap();
        }
        let found: Vec<_> = studied(root).unwrap().into_iter().map(|video| (video.name, video.topic)).collect();
        assert_eq!(found, [("b".into(), None), ("dogs/a".into(), Some("dogs".into()))]);
    }

    #[test]
    fn what_a_method_lacks_is_known_before_anything_is_scored() {
        let video = |topic: &str, name: &str| Studied::new(name.into(), Some(topic).filter(|topic| !topic.is_empty()));
        let lack = |method, videos: &[Studied], training: Option<Vec<&str>>| lack(method, videos, training.as_ref());
        let (two, mixed) = ([video("a", "1"), video("a", "2")], [video("a", "1"), video("a", "2"), video("b", "3")]);
        assert_eq!(lack(Method::Cvs, &two, None), None);
        assert_eq!(
            lack(Method::Cvs, &mixed, None).unwrap(),
            "cvs looks for what videos of a topic share, and there is no other of the topic of b/3"
        );
        assert_eq!(
            lack(Method::Kvs, &two, None).unwrap(),
            "kvs tells a topic from others, and beside a/1 there is no video of another one"
        );
        assert_eq!(
            lack(Method::Kvs, &mixed, None).unwrap(),
            "kvs learns from videos of the topic, and there is no other of that of b/3"
        );
        for method in [Method::Cvs, Method::Mbf, Method::Kvs] {
            assert_eq!(lack(method, &mixed, Some(vec!["b", "a"])), None);
            assert!(lack(method, &[video("", "1"), video("", "2")], None).is_some());
        }
        assert_eq!(lack(Method::Smrs, &[video("", "1")], None), None);
    }

    #[test]
    fn only_the_order_of_scores_counts() {
        let row = |scores: &[f64]| -> Vec<Scored> {
            scores.iter().map(|&score| Scored { start_ns: 0, duration_ns: 1, score }).collect()
        };
        assert_eq!(ranked(row(&[-3.0, 1e9, 0.5])), ranked(row(&[0.1, 0.3, 0.2])));
        let same = ranked(row(&[7.0, 7.0]));
        assert_eq!(same[0].score, same[1].score);
    }
}
