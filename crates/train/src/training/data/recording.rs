//! Which videos are of one recording. A recording must not be in training and in validation: what is measured on it is memory.

use std::{
    collections::{BTreeSet, HashMap},
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf, absolute},
};

use super::source::{Item, name_of};

/// A video's content is told by so many pieces of it, evenly spread, of so many bytes each: enough to tell videos apart, and little
/// to read of a large one.
const PIECES: u64 = 16;
const PIECE: u64 = 16 << 10;
/// Hexadecimal digits that stand for a video in a model file.
const DIGITS: usize = 12;

/// By what a recording is known. Two videos with one mark in common are of one recording.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mark {
    /// Videos of one group are cuts of one recording: the column `group` of a manifest, or UCF101's `v_Category_gNN`.
    Group(String),
    /// The file, whatever path leads to it.
    File(PathBuf),
    /// By the file's content, whatever its name.
    Content([u8; 16]),
}

impl Mark {
    /// All marks of a video. A file that is not there, or is empty, has no content.
    pub fn of(video: &Path, group: Option<String>) -> Vec<Self> {
        let group = group.or_else(|| ucf_group(video)).map(Self::Group);
        let file = video.canonicalize().or_else(|_| absolute(video)).unwrap_or_else(|_| video.into());
        let content = content(&file).map(Self::Content);
        [group, Some(Self::File(file)), content].into_iter().flatten().collect()
    }

    /// What two videos with this mark have in common, for people to read.
    pub fn shared(&self) -> String {
        match self {
            Self::Group(name) => format!("both are of the group {name}"),
            Self::File(path) => format!("both are the file {}", path.display()),
            Self::Content(_) => "both have the same content".into(),
        }
    }

    /// What stands for it in a model file: nothing for names, which mean other videos elsewhere.
    fn digits(&self) -> Option<String> {
        let Self::Content(content) = self else { return None };
        Some(content.iter().take(DIGITS / 2).map(|byte| format!("{byte:02x}")).collect())
    }
}

fn content(file: &Path) -> Option<[u8; 16]> {
    // Opening another thing than a file, a pipe for one, might wait for ever.
    let size = file.metadata().ok().filter(|metadata| metadata.is_file())?.len();
    if size == 0 {
        return None;
    }
    let (file, mut hasher, mut piece) =
        (File::open(file).ok()?, blake3::Hasher::new(), vec![0; PIECE.min(size) as usize]);
    hasher.update(&size.to_le_bytes());
    for number in 0..PIECES {
        let last = size - piece.len() as u64;
        file.read_exact_at(&mut piece, (u128::from(last) * u128::from(number) / u128::from(PIECES - 1)) as u64).ok()?;
        hasher.update(&piece);
    }
    hasher.finalize().as_bytes()[..16].try_into().ok()
}

/// `v_Category_gNN` of UCF101's `v_Category_gNN_cMM`.
fn ucf_group(path: &Path) -> Option<String> {
    let name = name_of(path);
    let stem = name.rsplit_once('.').map_or(name.as_str(), |(stem, _)| stem);
    let number = |part: &str, letter: char| {
        part.strip_prefix(letter).is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    let (group, cut) = stem.rsplit_once('_')?;
    let (_, recording) = group.rsplit_once('_')?;
    (stem.starts_with("v_") && number(cut, 'c') && number(recording, 'g')).then(|| group.into())
}

/// The number of each video's recording: that of its first video.
pub fn recordings(items: &[Item]) -> Vec<usize> {
    fn first(of: &mut [usize], mut item: usize) -> usize {
        while of[item] != item {
            of[item] = of[of[item]];
            item = of[item];
        }
        item
    }
    let (mut of, mut with) = ((0..items.len()).collect::<Vec<_>>(), HashMap::new());
    for (number, item) in items.iter().enumerate() {
        for mark in &item.marks {
            let earlier = first(&mut of, *with.entry(mark).or_insert(number));
            let own = first(&mut of, number);
            of[earlier.max(own)] = earlier.min(own);
        }
    }
    (0..items.len()).map(|item| first(&mut of, item)).collect()
}

/// Videos that a model was trained on, by their content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen(BTreeSet<String>);

impl Seen {
    /// Those of these videos' marks.
    pub fn of<'a>(videos: impl IntoIterator<Item = &'a [Mark]>) -> Self {
        Self(videos.into_iter().flatten().filter_map(Mark::digits).collect())
    }

    /// What a model's provenance tells: of its own training, and of that of the models that it began from. `None` if it tells nothing.
    pub fn told(provenance: &serde_json::Value) -> Option<Self> {
        let digits = provenance["data"]["recordings"].as_str().filter(|digits| digits.is_ascii());
        let own = digits.map(|digits| {
            digits.as_bytes().chunks(DIGITS).map(|digits| String::from_utf8_lossy(digits).into_owned()).collect()
        });
        let before = provenance.get("from").and_then(|from| Self::told(from.get("provenance")?));
        match (own, before) {
            (None, None) => None,
            (own, before) => {
                let mut all: BTreeSet<String> = own.unwrap_or_default();
                all.extend(before.into_iter().flat_map(|seen| seen.0));
                Some(Self(all))
            }
        }
    }

    /// As a provenance has it, in `data.recordings`: one after the other.
    pub fn digits(&self) -> String {
        self.0.iter().map(String::as_str).collect()
    }

    /// Whether a video with these marks is one of them.
    pub fn has(&self, marks: &[Mark]) -> bool {
        marks.iter().filter_map(Mark::digits).any(|digits| self.0.contains(&digits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_every_path_and_every_copy() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("other")).unwrap();
        // Longer than the pieces together, and one byte of a piece apart.
        let mut bytes: Vec<u8> = (0..400_000u32).map(|i| (i / 7) as u8).collect();
        std::fs::write(at("a.mp4"), &bytes).unwrap();
        std::fs::write(at("copy.avi"), &bytes).unwrap();
        bytes[399_999] ^= 1;
        std::fs::write(at("b.mp4"), &bytes).unwrap();
        std::os::unix::fs::symlink(at("a.mp4"), at("other/link.mp4")).unwrap();
        for name in ["empty1.mp4", "empty2.mp4"] {
            std::fs::write(at(name), "").unwrap();
        }
        let item = |name: &str| Item::new(at(name), 0, None);
        let names =
            ["a.mp4", "b.mp4", "other/../a.mp4", "other/link.mp4", "copy.avi", "empty1.mp4", "empty2.mp4", "none"];
        assert_eq!(recordings(&names.map(item)), [0, 1, 0, 0, 0, 5, 6, 7]);
    }

    #[test]
    fn groups_join_what_they_name() {
        let item = |name: &str, group: Option<&str>| Item::new(name.into(), 0, group.map(Into::into));
        let items = [
            item("v_Zoom_g01_c01.avi", None),
            item("v_Archery_g01_c01.avi", None),
            item("x/v_Zoom_g01_c02.avi", None),
            // Through the second, the first and the third are of one recording.
            item("1.mp4", Some("x")),
            item("2.mp4", Some("y")),
            item("./1.mp4", Some("y")),
            item("v_Zoom_c01.avi", None),
        ];
        assert_eq!(recordings(&items), [0, 1, 0, 3, 3, 3, 6]);
    }

    #[test]
    fn a_model_knows_what_it_and_its_forebears_saw() {
        let folder = tempfile::tempdir().unwrap();
        let marks = |content: &str| {
            let path = folder.path().join("video.mp4");
            std::fs::write(&path, content).unwrap();
            Mark::of(&path, Some("x".into()))
        };
        let (a, b, c) = (marks("a"), marks("b"), marks("c"));
        let told = |marks: &[&[Mark]]| Seen::of(marks.iter().copied()).digits();
        assert_eq!(told(&[&a, &b]).len(), 24);
        let provenance = serde_json::json!({
            "data": { "recordings": told(&[&a]) },
            "from": { "provenance": { "data": { "recordings": told(&[&b]) } } },
        });
        let seen = Seen::told(&provenance).unwrap();
        assert_eq!([&a, &b, &c].map(|marks| seen.has(marks)), [true, true, false]);
        assert_eq!(Seen::told(&serde_json::json!({ "made_by": "tests" })), None);
        assert_eq!(Seen::told(&serde_json::Value::Null), None);
    }
}
