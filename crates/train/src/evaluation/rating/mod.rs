//! People rate time-lapses: the study of the paper's Table 4 (section 4.2).
//!
//! [`versions`] gives every way of scoring a number for each segment, [`lapses`] makes time-lapses of them that are alike in all but what they
//! show, [`page`] shows them to a person without their names, and [`results`] reads what people gave. Which version of a video is
//! whose only the [`Key`] tells, a file that stays with who made the page.
//!
//! **Our choices**, where the paper says no more than "rate the overall quality": versions come in an order drawn for each person, are
//! silent as the original is, and can't be rated before they were watched.

pub mod agreement;
pub mod lapses;
pub mod page;
pub mod results;
pub mod versions;

use std::{collections::BTreeMap, path::Path};

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

const FORMAT: &str = "desumnet-rating-key";

/// What a page shows, with the names that it does not tell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    format: String,
    /// The page's own name, which files of ratings repeat.
    pub page: String,
    pub videos: Vec<Shown>,
}

/// A video of the page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    pub video: String,
    /// The page's name for its original.
    pub original: String,
    /// What made each version, by the name that the page has for it. As these are drawn at random, their order says nothing.
    pub versions: BTreeMap<String, String>,
}

impl Key {
    /// Of videos that each have a version of each method.
    pub fn draw(videos: impl IntoIterator<Item = String>, methods: &[String], rng: &mut impl Rng) -> Self {
        let shown = |video, rng: &mut _| {
            let versions = methods.iter().map(|method| (random_name(rng), method.clone())).collect();
            Shown { video, original: random_name(rng), versions }
        };
        let page = random_name(rng);
        Self { format: FORMAT.into(), page, videos: videos.into_iter().map(|video| shown(video, rng)).collect() }
    }

    /// # Errors
    /// Why the file is no key.
    pub fn read(path: &Path) -> Result<Self, String> {
        let wrong = |reason: String| {
            format!(
                "{} is no key of a rating page: {reason}; give the key.json that was written with the page (--key)",
                path.display()
            )
        };
        let text = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
        let key: Self = serde_json::from_slice(&text).map_err(|e| wrong(e.to_string()))?;
        if key.format == FORMAT { Ok(key) } else { Err(wrong(format!("its format is {}", key.format))) }
    }
}

/// Sixteen letters and digits: that two are the same need not be thought of.
fn random_name(rng: &mut impl Rng) -> String {
    format!("{:016x}", rng.random::<u64>())
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn a_key_names_each_version_once_and_is_read_back() {
        let methods = ["weighted", "cvs", "kvs"].map(String::from);
        let key = Key::draw(["a".into(), "b".into()], &methods, &mut StdRng::seed_from_u64(1));
        let names: std::collections::BTreeSet<_> = key.videos.iter().flat_map(|shown| shown.versions.keys()).collect();
        assert_eq!((names.len(), key.page.len()), (6, 16));
        for shown in &key.videos {
            let made: std::collections::BTreeSet<_> = shown.versions.values().collect();
            assert_eq!(made, methods.iter().collect());
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.json");
        std::fs::write(&path, serde_json::to_vec(&key).unwrap()).unwrap();
        assert_eq!(Key::read(&path), Ok(key));
        std::fs::write(&path, "{}").unwrap();
        let said = Key::read(&path).unwrap_err();
        assert!(said.contains("key.json is no key of a rating page: missing field `format`"), "{said}");
    }
}
