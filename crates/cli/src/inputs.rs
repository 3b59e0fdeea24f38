//! Several videos in one call: files, folders and URIs, one after the other.

use std::{
    collections::HashSet,
    error::Error,
    ffi::{OsStr, OsString},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use clap::ValueEnum;
use desumnet_media::{
    decode::local_path,
    secrets,
    video_files::{in_folder, name_of},
};
use serde::Serialize;

use desumnet_command_line::tell::{print, say};

/// How results are told on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StdoutFormat {
    /// Lines for people
    Human,
    /// One JSON document a line and video
    Json,
}

#[derive(clap::Args)]
pub struct Inputs {
    /// Files, URIs, or folders, of which all videos are taken
    #[arg(required = true, value_name = "VIDEO")]
    videos: Vec<OsString>,
    /// How results are told on standard output
    #[arg(long, value_enum, default_value_t = StdoutFormat::Human)]
    pub stdout_format: StdoutFormat,
}

/// A video of the call.
pub struct Video {
    /// The path as given, or a URI. A path that is not UTF-8 is a URI here: JSON and GStreamer could not tell it otherwise.
    pub name: String,
    /// The name that its results begin with. No other video of the call has the same, whatever its case.
    pub stem: OsString,
}

/// The result for one video.
pub struct Done<T> {
    /// Told as JSON.
    pub document: T,
    /// Told to people.
    pub text: String,
    /// Files beside it that could not be made, and why.
    pub failed: Vec<String>,
}

/// A document with what went wrong beside it.
#[derive(Serialize)]
struct Line<'a, T> {
    #[serde(flatten)]
    document: &'a T,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Inputs {
    /// Every video once, and whether there may be several.
    pub fn videos(&self) -> Result<(Vec<Video>, bool), Box<dyn Error>> {
        let (mut names, mut seen) = (Vec::new(), HashSet::new());
        for video in &self.videos {
            let path = Path::new(video);
            let paths = if path.is_dir() { in_folder(path)? } else { vec![path.into()] };
            for path in paths {
                let name = name_of(path)?;
                if seen.insert(place(&name)) {
                    names.push(name);
                }
            }
        }
        let several = names.len() > 1 || self.videos.iter().any(|video| Path::new(video).is_dir());
        let stems = apart(names.iter().map(|name| stem(name)).collect());
        let videos = names.into_iter().zip(stems).map(|(name, stem)| Video { name, stem });
        Ok((videos.collect(), several))
    }

    /// Does the same with each video and tells what came of it. One that fails is told and does not stop the others; the call
    /// fails in the end.
    pub fn each<T: Serialize>(
        &self,
        videos: &[Video],
        mut work: impl FnMut(&Video) -> Result<Done<T>, Box<dyn Error>>,
    ) -> Result<(), Box<dyn Error>> {
        let json = self.stdout_format == StdoutFormat::Json;
        let mut failed: Vec<(&str, String)> = Vec::new();
        for video in videos {
            let name = video.name.as_str();
            let done = catch_unwind(AssertUnwindSafe(|| work(video))).unwrap_or_else(|panic| Err(bug(name, &*panic)));
            let error = match &done {
                Ok(done) => (!done.failed.is_empty()).then(|| done.failed.join("; ")),
                Err(error) => Some(error.to_string()),
            };
            let error = error.map(|error| secrets::hide(&error));
            match &done {
                Ok(Done { document, .. }) if json => {
                    print(&(serde_json::to_string(&Line { document, error: error.clone() })? + "\n"))?;
                }
                Ok(Done { text, .. }) => print(text)?,
                Err(_) if json => {
                    print(&format!("{}\n", serde_json::json!({ "video": secrets::hide(name), "error": error })))?;
                }
                Err(_) => {}
            }
            if let Some(error) = error {
                if videos.len() > 1 {
                    say(format_args!("desumnet: {error}"));
                }
                failed.push((name, error));
            }
        }
        match failed.len() {
            0 => Ok(()),
            1 if videos.len() == 1 => Err(failed.remove(0).1.into()),
            count => {
                let names: Vec<&str> = failed.iter().map(|(name, _)| *name).collect();
                Err(format!("{count} of {} videos failed: {}", videos.len(), names.join(", ")).into())
            }
        }
    }
}

/// The same path for all names of a file.
fn place(video: &str) -> PathBuf {
    let path = local_path(video).unwrap_or_else(|| video.into());
    let folder = path.parent().map(|p| if p.as_os_str().is_empty() { Path::new(".") } else { p });
    let folder = folder.and_then(|folder| folder.canonicalize().ok());
    folder.zip(path.file_name()).map(|(folder, name)| folder.join(name)).unwrap_or(path)
}

/// A video's name without folder and ending; of a URI, what its path ends in.
pub fn stem(video: &str) -> OsString {
    let path = local_path(video).unwrap_or_else(|| {
        let safe = secrets::hide(video);
        safe.split(['?', '#']).next().unwrap_or_default().into()
    });
    path.file_stem().unwrap_or(OsStr::new("video")).into()
}

/// Numbers the later ones of equal names: `clip`, `clip-2`. Names that differ in case only are equal, as they are on some disks.
pub fn apart(stems: Vec<OsString>) -> Vec<OsString> {
    let key = |stem: &OsStr| stem.to_string_lossy().to_lowercase();
    let mut taken: HashSet<String> = stems.iter().map(|stem| key(stem)).collect();
    let mut first = taken.clone();
    let one = |stem: OsString| {
        if first.remove(&key(&stem)) {
            return stem;
        }
        let numbered = (2..).map(|number| {
            let mut numbered = stem.clone();
            numbered.push(format!("-{number}"));
            numbered
        });
        let mut free = numbered.filter(|numbered| taken.insert(key(numbered)));
        free.next().expect("there is always a higher number")
    };
    stems.into_iter().map(one).collect()
}

/// A panic as an error, so that it ends one video and not all.
fn bug(video: &str, panic: &(dyn std::any::Any + Send)) -> Box<dyn Error> {
    let message = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    format!("{video}: {}; this is a bug in desumnet, please report it", message.unwrap_or("a panic")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_are_numbered_and_numbers_taken_by_others_left_out() {
        let apart = |stems: &[&str]| apart(stems.iter().map(OsString::from).collect());
        assert_eq!(
            apart(&["clip", "other", "clip", "Clip", "clip-2"]),
            ["clip", "other", "clip-3", "Clip-4", "clip-2"]
        );
        assert_eq!(apart(&["a-2", "a", "a", "a-2"]), ["a-2", "a", "a-3", "a-2-2"]);
    }

    #[test]
    fn results_are_called_after_the_file() {
        let stems = ["dir/clip.v2.mp4", "file:///a%20b/%E9t.mov", "https://host/x/y.mp4?token=1#t", "rtsp://host"];
        let latin = std::os::unix::ffi::OsStringExt::from_vec(b"\xe9t".to_vec());
        assert_eq!(stems.map(stem), [OsString::from("clip.v2"), latin, "y".into(), "host".into()]);
    }

    #[test]
    fn a_panic_ends_one_video_and_not_all() {
        let videos = ["a", "b"].map(|name| Video { name: name.into(), stem: name.into() });
        let inputs = Inputs { videos: Vec::new(), stdout_format: StdoutFormat::Human };
        let mut seen = Vec::new();
        let failed = inputs.each(&videos, |video| {
            seen.push(video.name.clone());
            assert_ne!(video.name, "a", "of no use");
            Ok(Done { document: (), text: String::new(), failed: Vec::new() })
        });
        assert_eq!(
            (seen, failed.unwrap_err().to_string()),
            (vec!["a".into(), "b".into()], "1 of 2 videos failed: a".into())
        );
        let told = bug("a", &"out of range").to_string();
        assert_eq!(told, "a: out of range; this is a bug in desumnet, please report it");
    }

    #[test]
    fn two_spellings_of_a_path_are_one_video() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.mp4"), "").unwrap();
        let path = folder.path().display();
        let videos =
            [format!("{path}/a.mp4"), format!("{path}/./a.mp4"), format!("file://{path}/a.mp4"), format!("{path}")];
        let inputs = Inputs { videos: videos.map(OsString::from).into(), stdout_format: StdoutFormat::Human };
        let (found, several) = inputs.videos().unwrap();
        assert_eq!(found.iter().map(|video| video.name.clone()).collect::<Vec<_>>(), [format!("{path}/a.mp4")]);
        assert!(several);
    }
}
