//! Where labelled videos come from: a folder per category, UCF101 with its official split files, or a CSV manifest.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    path::{Path, PathBuf},
};

use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde::Deserialize;
use thiserror::Error;

use super::recording::{Mark, recordings};

/// Why a listing can't be used.
#[derive(Debug, Error)]
pub enum SourceError {
    #[error("{path} can't be read: {source}; {FORMS}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{path} holds no videos; {FORMS}")]
    Empty { path: PathBuf },
    #[error("{path}: the category `{category}` has no videos to train on; add some or remove it")]
    EmptyCategory { path: PathBuf, category: String },
    #[error("{path} holds no videos for training; mark some rows with the split `train`")]
    NoTraining { path: PathBuf },
    #[error("{path} has only the category `{category}`; a network learns to tell at least two apart: add another")]
    OneCategory { path: PathBuf, category: String },
    #[error("{path}, line {line}: {reason}")]
    Line { path: PathBuf, line: u64, reason: String },
    #[error(
        "{training} is in training and {validation} in validation, and {shared}: that would measure memory; leave one of them out"
    )]
    Shared { training: PathBuf, validation: PathBuf, shared: String },
    #[error("{path} can't be read: {source}; --split-list takes one of UCF101's own lists, with the others beside it")]
    List { path: PathBuf, source: std::io::Error },
    #[error("{path} has the categories {found:?}, {expected:?} are needed; use the same names in both")]
    Categories { path: PathBuf, found: Vec<String>, expected: Vec<String> },
}

const FORMS: &str =
    "give a folder that holds a folder of videos per category, or a CSV file with the columns path,category,split";

/// A labelled video.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub path: PathBuf,
    /// Number of its category in [`Listing::categories`].
    pub category: usize,
    /// Videos that share one are of one recording, and must not be split.
    pub marks: Vec<Mark>,
}

impl Item {
    /// A video; `group` names the recording that it is a cut of, if the file's name does not.
    pub fn new(path: PathBuf, category: usize, group: Option<String>) -> Self {
        Self { marks: Mark::of(&path, group), path, category }
    }
}

/// Labelled videos, not decoded yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    pub categories: Vec<String>,
    pub items: Vec<Item>,
}

/// What a source lists: videos for training, and those that it sets apart for validation, if it does.
#[derive(Clone, Debug)]
pub struct Split {
    pub training: Listing,
    pub validation: Option<Listing>,
}

/// Reads a source: a folder with a folder of videos per category, or a manifest whose name ends in `.csv`.
///
/// # Errors
/// [`SourceError`]
pub fn read(path: &Path) -> Result<Split, SourceError> {
    if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv")) { manifest(path) } else { folder(path) }
}

/// `<path>/<category>/<video>`; categories sorted by name.
fn folder(path: &Path) -> Result<Split, SourceError> {
    let mut listing = Listing::default();
    for folder in entries(path)?.into_iter().filter(|entry| entry.is_dir()) {
        let category = name_of(&folder);
        // What other tools leave beside the videos, as `compose` does, is no video.
        let videos: Vec<PathBuf> =
            entries(&folder)?.into_iter().filter(|file| file.is_file() && !is_sidecar(file)).collect();
        if videos.is_empty() {
            return Err(SourceError::EmptyCategory { path: path.into(), category });
        }
        let number = listing.categories.len();
        listing.items.extend(videos.into_iter().map(|path| Item::new(path, number, None)));
        listing.categories.push(category);
    }
    if listing.items.is_empty() {
        return Err(SourceError::Empty { path: path.into() });
    }
    Ok(Split { training: listing, validation: None })
}

/// The one category of videos that have none.
pub const ANYTHING: &str = "anything";

/// All videos of folders, however deep, and of manifests, whatever their categories; a recording once.
///
/// # Errors
/// [`SourceError`]
pub fn unlabelled(sources: &[PathBuf]) -> Result<Listing, SourceError> {
    let (mut paths, mut left) = (Vec::new(), Vec::new());
    for source in sources {
        if source.is_dir() {
            left.push(source.clone());
        } else if source.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv")) {
            let Split { training, validation } = manifest(source)?;
            let listings = [Some(training), validation].into_iter().flatten();
            paths.extend(listings.flat_map(|listing| listing.items).map(|item| item.path));
        } else {
            paths.push(source.clone());
        }
    }
    while let Some(folder) = left.pop() {
        for entry in entries(&folder)? {
            if entry.is_dir() {
                left.push(entry);
            } else if !is_sidecar(&entry) {
                paths.push(entry);
            }
        }
    }
    paths.sort();
    let items: Vec<Item> = paths.into_iter().map(|path| Item::new(path, 0, None)).collect();
    if items.is_empty() {
        return Err(SourceError::Empty { path: sources.first().cloned().unwrap_or_default() });
    }
    Ok(Listing { categories: vec![ANYTHING.into()], items })
}

fn is_sidecar(path: &Path) -> bool {
    const KNOWN: [&str; 10] = ["json", "txt", "csv", "md", "srt", "vtt", "jpg", "png", "db", "ini"];
    path.extension().is_some_and(|extension| KNOWN.iter().any(|known| extension.eq_ignore_ascii_case(known)))
}

#[derive(Deserialize)]
struct Row {
    path: PathBuf,
    category: String,
    #[serde(default)]
    split: String,
    group: Option<String>,
}

/// A CSV file with the columns `path` (relative to the file), `category`, `split` (`train`; `val`, `validation` or `test`) and
/// perhaps `group`: the name of a recording, whatever the categories of its cuts.
fn manifest(path: &Path) -> Result<Split, SourceError> {
    let wrong = |line: u64, reason: String| SourceError::Line { path: path.into(), line, reason };
    let text = std::fs::read(path).map_err(|source| SourceError::Unreadable { path: path.into(), source })?;
    // Spreadsheets write a byte order mark.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text);
    let base = path.parent().unwrap_or(Path::new(""));
    let mut rows = Vec::new();
    for row in reader.deserialize::<Row>() {
        let row = row.map_err(|e| {
            let line = e.position().map_or(1, csv::Position::line);
            wrong(line, format!("{e}; the columns are path,category,split and perhaps group"))
        })?;
        let line = rows.len() as u64 + 2;
        if row.path.as_os_str().is_empty() {
            return Err(wrong(line, "it has no path; give that of a video, from the CSV file's folder on".into()));
        }
        // Categories name folders and files.
        if row.category.is_empty() || row.category.contains('/') || row.category.starts_with('.') {
            let (video, category) = (row.path.display(), &row.category);
            return Err(wrong(line, format!("{video} has the category `{category}`; give it a name without slashes")));
        }
        let validates = match row.split.as_str() {
            "" | "train" | "training" => false,
            "val" | "validation" | "test" => true,
            other => return Err(wrong(line, format!("the split `{other}` is not known; use train, val or test"))),
        };
        rows.push((row, validates));
    }
    let categories: Vec<String> =
        rows.iter().map(|(row, _)| row.category.clone()).collect::<BTreeSet<_>>().into_iter().collect();
    let (mut training, mut validation) = (Vec::new(), Vec::new());
    for (row, validates) in rows {
        let category = categories.iter().position(|c| *c == row.category).unwrap_or_default();
        let file = base.join(&row.path);
        let part = if validates { &mut validation } else { &mut training };
        part.push(Item::new(file, category, row.group.filter(|group| !group.is_empty())));
    }
    if training.is_empty() && validation.is_empty() {
        return Err(SourceError::Empty { path: path.into() });
    }
    split(categories, training, validation)
}

/// UCF101: `videos/<Category>/<video>`, split by an official list such as `trainlist01.txt`; beside it stand `classInd.txt` with
/// the categories' numbers and `testlist01.txt` with the videos for validation.
///
/// # Errors
/// [`SourceError`]
pub fn ucf101(videos: &Path, train_list: &Path) -> Result<Split, SourceError> {
    let beside = train_list.parent().unwrap_or(Path::new(""));
    let class_file = beside.join("classInd.txt");
    let mut numbered = BTreeMap::new();
    for (line, text) in lines(&class_file)? {
        let parsed =
            text.split_once(' ').and_then(|(n, name)| Some((n.parse::<usize>().ok()?, name.trim().to_owned())));
        let (number, name) = parsed.ok_or_else(|| SourceError::Line {
            path: class_file.clone(),
            line,
            reason: format!("`{text}` is not a number and a category; use UCF101's own file"),
        })?;
        if numbered.contains_key(&number) || numbered.values().any(|known| *known == name) {
            let reason = format!("`{text}` has a number or a category that an earlier line has; use UCF101's own file");
            return Err(SourceError::Line { path: class_file, line, reason });
        }
        numbered.insert(number, name);
    }
    let categories: Vec<String> = numbered.into_values().collect();
    let read_list = |list: &Path| -> Result<Vec<Item>, SourceError> {
        lines(list)?
            .into_iter()
            .map(|(line, text)| {
                // The training lists have the category's number behind the name.
                let name = text.split(' ').next().unwrap_or_default();
                let category = name.split_once('/').and_then(|(c, _)| categories.iter().position(|known| known == c));
                let category = category.ok_or_else(|| SourceError::Line {
                    path: list.into(),
                    line,
                    reason: format!(
                        "`{text}` is not Category/video of a category in classInd.txt; use UCF101's own files"
                    ),
                })?;
                Ok(Item::new(videos.join(name), category, None))
            })
            .collect()
    };
    let training = read_list(train_list)?;
    let validation = read_list(&beside.join(name_of(train_list).replace("train", "test")))?;
    split(categories, training, validation)
}

fn split(categories: Vec<String>, training: Vec<Item>, validation: Vec<Item>) -> Result<Split, SourceError> {
    let training = Listing { categories: categories.clone(), items: training };
    let validation = (!validation.is_empty()).then_some(Listing { categories, items: validation });
    if let Some(validation) = &validation {
        training.shares_nothing_with(validation)?;
    }
    Ok(Split { training, validation })
}

impl Split {
    /// All of its videos.
    pub fn whole(mut self) -> Listing {
        self.training.items.extend(self.validation.into_iter().flat_map(|listing| listing.items));
        self.training
    }
}

impl Listing {
    /// # Errors
    /// [`SourceError::Shared`] if a video of the other listing is of the recording of one of these, whatever their categories.
    pub fn shares_nothing_with(&self, other: &Self) -> Result<(), SourceError> {
        let ours: HashMap<&Mark, &Item> =
            self.items.iter().rev().flat_map(|item| item.marks.iter().map(move |mark| (mark, item))).collect();
        for theirs in &other.items {
            if let Some((mark, item)) = theirs.marks.iter().find_map(|mark| ours.get_key_value(mark)) {
                let (training, validation) = (item.path.clone(), theirs.path.clone());
                return Err(SourceError::Shared { training, validation, shared: mark.shared() });
            }
        }
        Ok(())
    }

    /// Leaves out the videos that are of a recording of the other listing; how many those were.
    pub fn leave_out(&mut self, other: &Self) -> usize {
        let theirs: HashSet<&Mark> = other.items.iter().flat_map(|item| &item.marks).collect();
        let before = self.items.len();
        self.items.retain(|item| item.marks.iter().all(|mark| !theirs.contains(mark)));
        before - self.items.len()
    }

    /// Whether a network can learn from them.
    ///
    /// # Errors
    /// [`SourceError`]: no videos, a category without one, or only one category, so that there is nothing to tell apart.
    pub fn for_training(self, path: &Path) -> Result<Self, SourceError> {
        if self.items.is_empty() {
            return Err(SourceError::NoTraining { path: path.into() });
        }
        let without = |&(number, _): &(usize, &String)| self.items.iter().all(|item| item.category != number);
        match (self.categories.iter().enumerate().find(without), self.categories.as_slice()) {
            (Some((_, category)), _) => {
                Err(SourceError::EmptyCategory { path: path.into(), category: category.clone() })
            }
            (None, [only]) => Err(SourceError::OneCategory { path: path.into(), category: only.clone() }),
            _ => Ok(self),
        }
    }

    /// The same videos, their categories numbered as in `expected`; it may have more.
    ///
    /// # Errors
    /// [`SourceError::Categories`] if one is not among the expected.
    pub fn numbered_as(self, expected: &[String], path: &Path) -> Result<Self, SourceError> {
        let numbers: Option<Vec<usize>> =
            self.categories.iter().map(|c| expected.iter().position(|known| known == c)).collect();
        let Some(numbers) = numbers else {
            let (found, expected) = (self.categories, expected.to_vec());
            return Err(SourceError::Categories { path: path.into(), found, expected });
        };
        let items = self.items.into_iter().map(|item| Item { category: numbers[item.category], ..item }).collect();
        Ok(Self { categories: expected.to_vec(), items })
    }

    /// Sets a share of every category apart, whole recordings at a time and in an order that the seed gives; at least one recording
    /// of every category stays. The set-apart part may come out empty.
    pub fn hold_out(self, share: f64, seed: u64) -> (Self, Self) {
        let mut rng = StdRng::seed_from_u64(seed);
        let of = recordings(&self.items);
        // Of each category, how many of its videos each recording has; most recordings are of one category.
        let mut videos: Vec<BTreeMap<usize, usize>> = vec![BTreeMap::new(); self.categories.len()];
        for (item, recording) in self.items.iter().zip(&of) {
            *videos[item.category].entry(*recording).or_default() += 1;
        }
        let wanted = videos.iter().map(|of| (share * of.values().sum::<usize>() as f64).round() as usize);
        let wanted: Vec<usize> = wanted.collect();
        let mut left: Vec<usize> = videos.iter().map(BTreeMap::len).collect();
        let (mut taken, mut out) = (vec![0; videos.len()], BTreeSet::new());
        for of_category in &videos {
            let mut order: Vec<usize> = of_category.keys().copied().collect();
            order.shuffle(&mut rng);
            for recording in order.into_iter().skip(1) {
                let parts = videos.iter().enumerate().filter_map(|(of, videos)| Some((of, *videos.get(&recording)?)));
                let parts: Vec<(usize, usize)> = parts.collect();
                let fits = |&(of, videos): &(usize, usize)| left[of] > 1 && taken[of] + videos <= wanted[of];
                if !out.contains(&recording) && parts.iter().all(fits) {
                    out.insert(recording);
                    for (of, videos) in parts {
                        left[of] -= 1;
                        taken[of] += videos;
                    }
                }
            }
        }
        let mut number = of.iter();
        let (held, kept) = self.items.into_iter().partition(|_| number.next().is_some_and(|of| out.contains(of)));
        (Self { categories: self.categories.clone(), items: kept }, Self { categories: self.categories, items: held })
    }
}

pub(super) fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What is in a folder, sorted; hidden files left out.
///
/// # Errors
/// [`SourceError::Unreadable`]
pub fn entries(folder: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let unreadable = |source| SourceError::Unreadable { path: folder.into(), source };
    let mut paths = std::fs::read_dir(folder)
        .map_err(unreadable)?
        .map(|entry| entry.map(|e| e.path()).map_err(unreadable))
        .collect::<Result<Vec<_>, _>>()?;
    paths.retain(|path| !name_of(path).starts_with('.'));
    paths.sort();
    Ok(paths)
}

/// The lines of a text file that are not empty, with their numbers.
fn lines(path: &Path) -> Result<Vec<(u64, String)>, SourceError> {
    let text = std::fs::read_to_string(path).map_err(|source| SourceError::Unreadable { path: path.into(), source })?;
    // Editors on Windows begin a file with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let numbered = (1..).zip(text.lines().map(|line| line.trim().to_owned()));
    Ok(numbered.filter(|(_, line)| !line.is_empty()).collect())
}
