//! The folder that clips go to: their names, and `clips.jsonl`, a line for each.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use serde::Serialize;
use thiserror::Error;

use crate::whole_file;

/// The file with a line for each clip.
pub const LINES: &str = "clips.jsonl";
/// Endings of a clip's video and picture.
pub const VIDEO: &str = "mp4";
pub const PICTURE: &str = "jpg";
/// Characters of `2026-11-23T12-00-00.000Z`.
const TIME: usize = 24;

/// The folder can't be used.
#[derive(Debug, Error)]
#[error("{path}: {source}; see that the folder can be written and its disk has room")]
pub struct FolderError {
    path: PathBuf,
    source: std::io::Error,
}

/// A clip, as its line tells it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    pub camera: String,
    /// When it begins and ends, UTC (RFC 3339).
    pub start: String,
    pub end: String,
    /// The same since the camera was first watched, ns.
    pub start_ns: u64,
    pub end_ns: u64,
    pub score: f64,
    pub category: String,
    /// Probability of the category, in [0, 1].
    pub confidence: f64,
    /// Name of the video in the folder.
    pub file: String,
    /// Name of the picture in the folder, if one could be made.
    pub thumbnail: Option<String>,
}

impl Line {
    /// It ends at `end_ns`, and began at `start`.
    pub fn set_end(&mut self, start: SystemTime, end_ns: u64) {
        let length = Duration::from_nanos(end_ns.saturating_sub(self.start_ns));
        (self.end, self.end_ns) = (utc(start + length), end_ns);
    }
}

/// A time as UTC, to the millisecond (RFC 3339).
pub fn utc(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

/// A folder with clips. Shared by the cameras of a process.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Held by who writes [`LINES`].
    lines: Mutex<()>,
    /// Videos that are being written.
    writing: Mutex<Vec<PathBuf>>,
}

impl Folder {
    /// Makes it if it is not there.
    ///
    /// # Errors
    /// [`FolderError`]
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        std::fs::create_dir_all(path).map_err(|source| FolderError { path: path.into(), source })?;
        Ok(Self { path: path.into(), lines: Mutex::default(), writing: Mutex::default() })
    }

    /// Where a clip of a camera goes that begins at a time; taken until [`Self::release`].
    pub fn claim(&self, camera: &str, start: SystemTime) -> PathBuf {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let stem = format!("{}_{}", utc(start).replace(':', "-"), file_name(camera));
        let free = |path: &PathBuf| !path.exists() && !writing.contains(path);
        let first = self.path.join(format!("{stem}.{VIDEO}"));
        let others = (2u64..).map(|n| self.path.join(format!("{stem}-{n}.{VIDEO}")));
        let path = std::iter::once(first.clone()).chain(others).find(free).unwrap_or(first);
        writing.push(path.clone());
        path
    }

    /// A clip is written.
    pub fn release(&self, video: &Path) {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner).retain(|path| path != video);
    }

    /// Adds a clip's line.
    ///
    /// # Errors
    /// [`FolderError`]
    pub fn add(&self, line: &Line) -> Result<(), FolderError> {
        let path = self.path.join(LINES);
        let _held = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        append(&path, line).map_err(|source| FolderError { path, source })
    }

    /// The finished clips: when each began, its video, and the bytes of that and its picture; the oldest first. Files of other names are
    /// not looked at.
    ///
    /// # Errors
    /// [`FolderError`]
    pub fn clips(&self) -> Result<Vec<(SystemTime, PathBuf, u64)>, FolderError> {
        let failed = |source| FolderError { path: self.path.clone(), source };
        let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut clips = Vec::new();
        for entry in std::fs::read_dir(&self.path).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let Some(start) = start_of(&path).filter(|_| !writing.contains(&path)) else { continue };
            let size = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
            let bytes = size(&path) + size(&path.with_extension(PICTURE));
            clips.push((start, path, bytes));
        }
        clips.sort();
        Ok(clips)
    }

    /// Deletes clips whole: videos, pictures, and their lines.
    ///
    /// # Errors
    /// [`FolderError`]
    pub fn delete(&self, videos: &[PathBuf]) -> Result<(), FolderError> {
        if videos.is_empty() {
            return Ok(());
        }
        let gone = |path: &Path| match std::fs::remove_file(path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(FolderError { path: path.into(), source: e }),
            _ => Ok(()),
        };
        for video in videos {
            gone(&video.with_extension(PICTURE))?;
            gone(video)?;
        }
        let names: Vec<&str> = videos.iter().filter_map(|video| video.file_name()?.to_str()).collect();
        let path = self.path.join(LINES);
        let _held = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |source| FolderError { path: path.clone(), source };
        let text = match std::fs::read_to_string(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            read => read.map_err(failed)?,
        };
        let stays = |line: &&str| {
            let line: Option<serde_json::Value> = serde_json::from_str(line).ok();
            !line.is_some_and(|line| line["file"].as_str().is_some_and(|file| names.contains(&file)))
        };
        let left: String = text.lines().filter(stays).map(|line| format!("{line}\n")).collect();
        whole_file::write(&path, left.as_bytes()).map_err(failed)
    }
}

/// When a clip began, by its name; `None` for other files.
fn start_of(path: &Path) -> Option<SystemTime> {
    let stem = path.extension().filter(|extension| *extension == VIDEO).and_then(|_| path.file_stem()?.to_str())?;
    let (time, rest) = stem.split_at_checked(TIME)?;
    let (day, hour) = time.split_once('T').filter(|_| rest.starts_with('_'))?;
    humantime::parse_rfc3339(&format!("{day}T{}", hour.replace('-', ":"))).ok()
}

/// A camera's name as part of a file's.
fn file_name(camera: &str) -> String {
    let fits = |c: char| if c.is_alphanumeric() || c == '-' || c == '.' { c } else { '_' };
    camera.chars().map(fits).take(60).collect()
}

fn append(path: &Path, line: &Line) -> std::io::Result<()> {
    let mut file: File = OpenOptions::new().create(true).append(true).read(true).open(path)?;
    let mut text = serde_json::to_string(line)? + "\n";
    // A crash may have left half a line.
    if file.seek(SeekFrom::End(-1)).is_ok() {
        let mut last = [0];
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            text.insert(0, '\n');
        }
    }
    file.write_all(text.as_bytes())
}

/// When something was that the running time tells, if it is `now` by both clocks.
pub fn when(time_ns: u64, now_ns: u64, now: SystemTime) -> SystemTime {
    let ago = Duration::from_nanos(now_ns.saturating_sub(time_ns));
    now.checked_sub(ago).unwrap_or(now) + Duration::from_nanos(time_ns.saturating_sub(now_ns))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn line(file: &str) -> Line {
        Line {
            camera: "yard".into(),
            start: "2026-11-23T12:00:00.000Z".into(),
            end: "2026-11-23T12:00:04.000Z".into(),
            start_ns: 5_000_000_000,
            end_ns: 9_000_000_000,
            score: 0.75,
            category: "fall".into(),
            confidence: 0.5,
            file: file.into(),
            thumbnail: None,
        }
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn names_tell_when_and_where_and_are_taken_once() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::open(&temporary.path().join("new/clips")).unwrap();
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        let first = folder.claim("back yard/2", at(0));
        assert_eq!(name(&first), "1970-01-01T00-00-00.000Z_back_yard_2.mp4");
        let second = folder.claim("back yard/2", at(0));
        assert_eq!(name(&second), "1970-01-01T00-00-00.000Z_back_yard_2-2.mp4");
        assert_eq!((start_of(&first), start_of(&second)), (Some(at(0)), Some(at(0))));
        for other in ["holiday.mp4", "1970-01-01T00-00-00.000Z_a.mkv", "1970-01-01T00-00-00.000Z.mp4", "é.mp4"] {
            assert_eq!(start_of(Path::new(other)), None, "{other}");
        }
    }

    #[test]
    fn a_line_that_a_crash_cut_short_harms_no_other() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::open(temporary.path()).unwrap();
        let path = temporary.path().join(LINES);
        folder.add(&line("a.mp4")).unwrap();
        let whole = r#"{"camera":"yard","start":"2026-11-23T12:00:00.000Z","end":"2026-11-23T12:00:04.000Z","start_ns":5000000000,"end_ns":9000000000,"score":0.75,"category":"fall","confidence":0.5,"file":"a.mp4","thumbnail":null}"#;
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{whole}\n"));
        std::fs::write(&path, &whole[..40]).unwrap();
        folder.add(&line("a.mp4")).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{}\n{whole}\n", &whole[..40]));
    }

    #[test]
    fn clips_are_deleted_with_their_pictures_and_lines_and_nothing_else_is() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::open(temporary.path()).unwrap();
        let clips: Vec<PathBuf> = (0..3).map(|i| folder.claim("yard", at(2 - i))).collect();
        for clip in &clips {
            std::fs::write(clip, [0; 10]).unwrap();
            folder.add(&line(clip.file_name().unwrap().to_str().unwrap())).unwrap();
        }
        std::fs::write(clips[2].with_extension(PICTURE), [0; 5]).unwrap();
        std::fs::write(temporary.path().join("holiday.mp4"), [0; 99]).unwrap();
        folder.release(&clips[0]);
        folder.release(&clips[2]);
        // The other one is being written.
        let expected = vec![(at(0), clips[2].clone(), 15), (at(2), clips[0].clone(), 10)];
        assert_eq!(folder.clips().unwrap(), expected);
        folder.delete(&clips[2..]).unwrap();
        let mut left: Vec<_> = std::fs::read_dir(temporary.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        let name = |clip: &PathBuf| clip.file_name().unwrap().to_owned();
        assert_eq!(left, [name(&clips[1]), name(&clips[0]), LINES.into(), "holiday.mp4".into()]);
        let lines = std::fs::read_to_string(temporary.path().join(LINES)).unwrap();
        assert_eq!(lines.lines().count(), 2);
        assert!(!lines.contains(name(&clips[2]).to_str().unwrap()));
        folder.delete(&clips[2..]).unwrap();
    }

    #[test]
    fn running_time_is_told_as_utc() {
        assert_eq!(when(5_000_000_000, 7_000_000_000, at(100)), at(98));
        assert_eq!(when(9_000_000_000, 7_000_000_000, at(100)), at(102));
        assert_eq!(utc(at(98)), "1970-01-01T00:01:38.000Z");
    }
}
