//! Several videos in one call: files, folders and URIs, one after the other.

use std::{
    error::Error,
    path::{Path, PathBuf},
};

use clap::ValueEnum;
use gstdesumnet::secrets;

/// What a folder's files must end in to count as videos.
const VIDEOS: [&str; 18] = [
    "3gp", "asf", "avi", "flv", "m2ts", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "mts", "mxf", "ogv", "ts", "vob",
    "webm", "wmv",
];

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
    videos: Vec<String>,
    /// How results are told on standard output
    #[arg(long, value_enum, default_value_t = StdoutFormat::Human)]
    pub stdout_format: StdoutFormat,
}

impl Inputs {
    /// Every video, and whether there may be several.
    pub fn videos(&self) -> Result<(Vec<String>, bool), Box<dyn Error>> {
        let mut videos = Vec::new();
        for video in &self.videos {
            if !Path::new(video).is_dir() {
                videos.push(video.clone());
                continue;
            }
            let before = videos.len();
            let entries = std::fs::read_dir(video).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
            let entries = entries.map_err(|e| format!("{video} can't be read: {e}; check its permissions"))?;
            let paths = entries.into_iter().map(|entry| entry.path());
            let known = |path: &PathBuf| {
                let extension = path.extension().unwrap_or_default();
                VIDEOS.iter().any(|known| extension.eq_ignore_ascii_case(known)) && path.is_file()
            };
            videos.extend(paths.filter(known).map(|path| path.to_string_lossy().into_owned()));
            if videos.len() == before {
                return Err(format!("{video} holds no videos: give files by name").into());
            }
            videos[before..].sort();
        }
        let several = videos.len() > 1 || self.videos.iter().any(|video| Path::new(video).is_dir());
        Ok((videos, several))
    }

    /// Does the same with each video. One that fails is told and does not stop the others; the call fails in the end.
    pub fn each(&self, mut work: impl FnMut(&str, bool) -> Result<(), Box<dyn Error>>) -> Result<(), Box<dyn Error>> {
        let (videos, several) = self.videos()?;
        let mut failed = Vec::new();
        for video in &videos {
            match work(video, several) {
                Ok(()) => {}
                Err(error) if several => {
                    let error = secrets::hide(&error.to_string());
                    eprintln!("desumnet: {error}");
                    if self.stdout_format == StdoutFormat::Json {
                        println!("{}", serde_json::json!({ "video": secrets::hide(video), "error": error }));
                    }
                    failed.push(video.as_str());
                }
                Err(error) => return Err(error),
            }
        }
        match failed.len() {
            0 => Ok(()),
            count => Err(format!("{count} of {} videos failed: {}", videos.len(), failed.join(", ")).into()),
        }
    }
}

/// The video's name without folder and ending; of a URI, what its path ends in.
pub fn stem(video: &str) -> String {
    let video = &secrets::hide(video);
    let path = video.split(['?', '#']).next().filter(|_| video.contains("://")).unwrap_or(video);
    let stem = Path::new(path).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    stem.unwrap_or_else(|| "video".into())
}
