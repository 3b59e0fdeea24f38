//! Where results go: settled for all videos before any work.

use std::{
    collections::HashSet,
    error::Error,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use desumnet_files::whole_file::Unfinished;
use desumnet_media::decode::local_path;

/// Refuses a call that would overwrite one of its own videos, write one file twice, or could not write at all.
pub fn settle<'a>(videos: impl IntoIterator<Item = &'a str>, results: &[PathBuf]) -> Result<(), Box<dyn Error>> {
    let inputs: HashSet<Same> = videos.into_iter().filter_map(local_path).filter_map(|path| Same::of(&path)).collect();
    let mut taken = HashSet::new();
    for path in results {
        let Some(same) = Same::of(path) else { continue };
        if inputs.contains(&same) {
            return Err(
                format!("{} is both the input and the output: give another name or folder", path.display()).into()
            );
        }
        if !taken.insert(same) {
            return Err(format!("{} would be written twice: give two names", path.display()).into());
        }
        Unfinished::new(path)
            .map_err(|e| format!("{} can't be written: {e}; check the folder and its permissions", path.display()))?;
    }
    Ok(())
}

/// Makes a folder for the results of several videos. One that is named as a single result would be is refused, unless it is there.
pub fn folder(path: &Path, named_as_a_file: bool) -> Result<(), Box<dyn Error>> {
    if path.is_file() || (named_as_a_file && !path.is_dir()) {
        return Err(format!("{} is the name of a file: of several videos, give a folder", path.display()).into());
    }
    let unmade = |e| format!("{} can't be made: {e}; of several videos, give a folder", path.display());
    Ok(std::fs::create_dir_all(path).map_err(unmade)?)
}

/// A path with this ending after its own name: `clip.v2` becomes `clip.v2.html`.
pub fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

/// Two paths of one file have this in common. There is none of a pipe or a device, which may be written to more than once.
#[derive(PartialEq, Eq, Hash)]
enum Same {
    File {
        device: u64,
        number: u64,
    },
    /// Not there yet.
    Name(PathBuf),
}

impl Same {
    fn of(path: &Path) -> Option<Self> {
        if let Ok(there) = path.metadata() {
            return there.is_file().then(|| Self::File { device: there.dev(), number: there.ino() });
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.into());
        Some(Self::Name(folder.join(path.file_name()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_written_twice_or_over_an_input() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["a.mp4", "b.mp4"] {
            std::fs::write(at(name), name).unwrap();
        }
        std::os::unix::fs::symlink("b.mp4", at("link.mp4")).unwrap();
        std::fs::create_dir(at("sub")).unwrap();
        let videos = ["a.mp4", "b.mp4"].map(|name| at(name).to_str().unwrap().to_owned());
        let videos = || videos.iter().map(String::as_str);
        let refused = |results: &[&str]| {
            let results: Vec<PathBuf> = results.iter().map(|name| at(name)).collect();
            settle(videos(), &results).err().map(|e| e.to_string().replace(folder.path().to_str().unwrap(), ""))
        };
        assert_eq!(refused(&["c.mp4", "sub/c.mp4", "c.html"]), None);
        let over = "is both the input and the output: give another name or folder";
        assert_eq!(refused(&["c.mp4", "sub/../a.mp4"]), Some(format!("/sub/../a.mp4 {over}")));
        assert_eq!(refused(&["link.mp4"]), Some(format!("/link.mp4 {over}")));
        assert_eq!(
            refused(&["c.json", "sub/../c.json"]),
            Some("/sub/../c.json would be written twice: give two names".into())
        );
        assert!(refused(&["no/c.mp4"]).unwrap().starts_with("/no/c.mp4 can't be written: No such file"));
        assert_eq!(settle(videos(), &["/dev/null".into(), "/dev/null".into()]).err().map(|e| e.to_string()), None);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4);
    }

    #[test]
    fn a_file_is_no_folder_for_several() {
        let temporary = tempfile::tempdir().unwrap();
        let [file, named, new] = ["file", "skim.MP4", "new.d/skims"].map(|name| temporary.path().join(name));
        std::fs::write(&file, "").unwrap();
        for (path, named_as_a_file) in [(&file, false), (&named, true)] {
            let error = folder(path, named_as_a_file).unwrap_err().to_string();
            assert!(error.ends_with("is the name of a file: of several videos, give a folder"), "{error}");
        }
        folder(&new, false).unwrap();
        folder(&new, true).unwrap();
        assert!(new.is_dir() && !named.exists());
        assert_eq!(with_ending(Path::new("clip.v2"), "html"), Path::new("clip.v2.html"));
    }
}
