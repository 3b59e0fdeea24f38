//! What people gave: the files that the page saves, and the table that comes of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    Key, Shown,
    agreement::{BEST, alpha},
};
use crate::evaluation::Spread;

pub(super) const FORMAT: &str = "desumnet-ratings";

/// A file that the page saved.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sheet {
    format: String,
    page: String,
    /// Drawn when the person began: who saves twice has one sitting.
    sitting: String,
    /// The person's name, if it was given. Nothing reads it; it is for who looks into the file.
    #[serde(rename = "rater")]
    _rater: Option<String>,
    videos: Vec<Rated>,
}

/// A video of a sheet, in the order of the sitting.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rated {
    video: String,
    /// The versions in the order in which they were shown.
    #[serde(rename = "shown")]
    _shown: Vec<String>,
    /// By version. Any number: what is not a rating is to be told.
    ratings: BTreeMap<String, serde_json::Number>,
}

/// Why files of ratings can't be counted.
#[derive(Debug, Error)]
pub enum ResultsError {
    #[error("{path} is no file of ratings: {reason}; give files that the page saved", path = path.display())]
    Format { path: PathBuf, reason: String },
    #[error("{path} rates the page {found}, and the key is of the page {expected}: give the key.json of that page, or leave the file out", path = path.display())]
    Page { path: PathBuf, found: String, expected: String },
    #[error("{path} is of the same sitting as {first}: give one of them", path = path.display(), first = first.display())]
    Twice { path: PathBuf, first: PathBuf },
    #[error("{path} rates the video {video}, which the page does not show: leave the file out, or ask for it as the page saved it", path = path.display())]
    Video { path: PathBuf, video: String },
    #[error("{path}, {video}: {reason}; leave the file out, or ask for it as the page saved it", path = path.display())]
    Rating { path: PathBuf, video: String, reason: String },
}

/// The table; field names as in the JSON document.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Results {
    pub page: String,
    pub raters: usize,
    pub videos: usize,
    /// Krippendorff's alpha over all versions of all videos; `None` of a single rater.
    pub agreement: Option<f64>,
    /// By name.
    pub methods: BTreeMap<String, Row>,
}

/// What a method's time-lapses got.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Over all ratings.
    #[serde(flatten)]
    pub spread: Spread,
    pub ratings: usize,
    /// Krippendorff's alpha over its versions of all videos.
    pub agreement: Option<f64>,
}

/// Counts the ratings of these files.
///
/// # Errors
/// [`ResultsError`]: nothing is counted of a file that is not whole.
pub fn results(key: &Key, files: &[PathBuf]) -> Result<Results, ResultsError> {
    // A unit is a version of a video: what everybody rated once.
    let mut units: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    let mut sittings: BTreeMap<String, &Path> = BTreeMap::new();
    for path in files {
        let sheet = read(path)?;
        if sheet.page != key.page {
            return Err(ResultsError::Page { path: path.clone(), found: sheet.page, expected: key.page.clone() });
        }
        if let Some(first) = sittings.insert(sheet.sitting.clone(), path) {
            return Err(ResultsError::Twice { path: path.clone(), first: first.into() });
        }
        for (version, rating) in ratings(key, &sheet, path)? {
            units.entry(version).or_default().push(rating);
        }
    }
    let mut by_method: BTreeMap<&str, Vec<Vec<u8>>> = BTreeMap::new();
    for (version, method) in key.videos.iter().flat_map(|shown| &shown.versions) {
        by_method.entry(method).or_default().push(units.get(version.as_str()).cloned().unwrap_or_default());
    }
    let row = |units: &Vec<Vec<u8>>| {
        let ratings: Vec<f64> = units.iter().flatten().copied().map(f64::from).collect();
        Row { spread: Spread::of(&ratings), ratings: ratings.len(), agreement: alpha(units) }
    };
    Ok(Results {
        page: key.page.clone(),
        raters: files.len(),
        videos: key.videos.len(),
        agreement: alpha(&units.into_values().collect::<Vec<_>>()),
        methods: by_method.iter().map(|(method, units)| ((*method).to_owned(), row(units))).collect(),
    })
}

fn read(path: &Path) -> Result<Sheet, ResultsError> {
    let wrong = |reason: String| ResultsError::Format { path: path.into(), reason };
    let text = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
    let sheet: Sheet = serde_json::from_slice(&text).map_err(|e| wrong(e.to_string()))?;
    if sheet.format == FORMAT { Ok(sheet) } else { Err(wrong(format!("its format is {}", sheet.format))) }
}

/// The ratings of a sheet: every version of the page's, once.
fn ratings<'a>(key: &'a Key, sheet: &Sheet, path: &Path) -> Result<Vec<(&'a str, u8)>, ResultsError> {
    let (mut ratings, mut seen) = (Vec::new(), BTreeSet::new());
    for rated in &sheet.videos {
        let wrong = |reason: String| ResultsError::Rating { path: path.into(), video: rated.video.clone(), reason };
        let shown = key.videos.iter().find(|shown| shown.video == rated.video);
        let shown = shown.ok_or_else(|| ResultsError::Video { path: path.into(), video: rated.video.clone() })?;
        if !seen.insert(&rated.video) {
            return Err(wrong("it is rated twice".into()));
        }
        if let Some(version) = rated.ratings.keys().find(|version| !shown.versions.contains_key(*version)) {
            return Err(wrong(format!("the page does not show a version {version} of it")));
        }
        for version in shown.versions.keys() {
            let rating = rated.ratings.get(version).ok_or_else(|| wrong(format!("version {version} is not rated")))?;
            let whole = rating.as_u64().and_then(|rating| u8::try_from(rating).ok());
            let whole = whole.filter(|rating| (1..=BEST).contains(rating));
            let rating = whole.ok_or_else(|| wrong(format!("{rating} is no rating from 1 to {BEST}")))?;
            ratings.push((version.as_str(), rating));
        }
    }
    match key.videos.iter().find(|shown| !seen.contains(&shown.video)) {
        Some(Shown { video, .. }) => {
            Err(ResultsError::Rating { path: path.into(), video: video.clone(), reason: "it is not rated".into() })
        }
        None => Ok(ratings),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Two videos with two versions each: a1 and b1 are of `cvs`.
    fn key() -> Key {
        let key = json!({
            "format": "desumnet-rating-key", "page": "p",
            "videos": [
                { "video": "a", "original": "a0", "versions": { "a1": "cvs", "a2": "weighted" } },
                { "video": "b", "original": "b0", "versions": { "b1": "cvs", "b2": "weighted" } },
            ],
        });
        serde_json::from_value(key).unwrap()
    }

    fn sheet(sitting: &str, ratings: [Value; 4]) -> Value {
        let [a1, a2, b1, b2] = ratings;
        json!({
            "format": FORMAT, "page": "p", "sitting": sitting, "rater": null,
            "videos": [
                { "video": "b", "shown": ["b2", "b1"], "ratings": { "b2": b2, "b1": b1 } },
                { "video": "a", "shown": ["a1", "a2"], "ratings": { "a1": a1, "a2": a2 } },
            ],
        })
    }

    fn counted(sheets: &[Value]) -> Result<Results, String> {
        let folder = tempfile::tempdir().unwrap();
        let write = |(i, sheet): (usize, &Value)| {
            let path = folder.path().join(format!("{i}.json"));
            std::fs::write(&path, sheet.to_string()).unwrap();
            path
        };
        let files: Vec<PathBuf> = sheets.iter().enumerate().map(write).collect();
        let place = format!("{}/", folder.path().display());
        results(&key(), &files).map_err(|error| error.to_string().replace(&place, ""))
    }

    #[test]
    fn every_method_gets_mean_spread_and_agreement() {
        let sheets = [sheet("x", [1, 5, 3, 4].map(Value::from)), sheet("y", [1, 5, 3, 3].map(Value::from))];
        let results = counted(&sheets).unwrap();
        assert_eq!((results.raters, results.videos), (2, 2));
        let cvs = &results.methods["cvs"];
        assert_eq!((cvs.spread.mean, cvs.ratings, cvs.agreement), (2.0, 4, Some(1.0)));
        assert!((cvs.spread.std - (4.0f64 / 3.0).sqrt()).abs() < 1e-12);
        let ours = &results.methods["weighted"];
        assert_eq!((ours.spread.mean, ours.ratings), (4.25, 4));
        // Counts: one 3, one 4, two 5. Distances: 3-4 1, 4-5 2.25, 3-5 6.25. Expected 1 + 4.5 + 12.5 = 18, observed 1.
        assert!((ours.agreement.unwrap() - (1.0 - 3.0 / 18.0)).abs() < 1e-12, "{:?}", ours.agreement);
        // Of one rater there is none.
        let alone = counted(&sheets[..1]).unwrap();
        assert_eq!((alone.agreement, alone.methods["cvs"].agreement, alone.methods["cvs"].ratings), (None, None, 2));
    }

    #[test]
    fn a_file_that_is_not_the_pages_is_refused_by_name() {
        let good = || sheet("x", [1, 2, 3, 4].map(Value::from));
        let with = |path: &str, value: Value| {
            let mut sheet = good();
            *sheet.pointer_mut(path).unwrap() = value;
            counted(&[sheet]).unwrap_err()
        };
        assert_eq!(
            with("/page", "q".into()),
            "0.json rates the page q, and the key is of the page p: give the key.json of that page, or leave the file out"
        );
        let ask = "leave the file out, or ask for it as the page saved it";
        for wrong in [json!(0), json!(6), json!(3.5), json!(-1)] {
            let said = with("/videos/1/ratings/a1", wrong.clone());
            assert_eq!(said, format!("0.json, a: {wrong} is no rating from 1 to 5; {ask}"));
        }
        assert_eq!(
            with("/videos/0/video", "c".into()),
            format!("0.json rates the video c, which the page does not show: {ask}")
        );
        assert_eq!(
            with("/videos/0/video", "a".into()),
            format!("0.json, a: the page does not show a version b1 of it; {ask}")
        );
        assert_eq!(with("/videos/0/ratings", json!({"b1": 1})), format!("0.json, b: version b2 is not rated; {ask}"));
        assert_eq!(with("/videos", json!([])), format!("0.json, a: it is not rated; {ask}"));
        assert!(with("/videos", json!(1)).starts_with("0.json is no file of ratings: "));
        assert!(with("/format", "plan".into()).contains("its format is plan"));
        let twice = counted(&[good(), sheet("y", [1, 2, 3, 4].map(Value::from)), good()]).unwrap_err();
        assert_eq!(twice, "2.json is of the same sitting as 0.json: give one of them");
    }
}
