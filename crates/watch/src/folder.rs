//! The folder that clips go to: their names, and `clips.jsonl`, a line for each.
//!
//! All here may wait for a disk, and so may whoever calls it.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs::{File, OpenOptions},
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use serde::Serialize;
use thiserror::Error;

use super::{keep::Steadiness, lines};
use desumnet_files::whole_file;

/// The file with a line for each clip.
pub const LINES: &str = "clips.jsonl";
/// Endings of a clip's video and picture.
pub const VIDEO: &str = "mp4";
pub const PICTURE: &str = "jpg";
/// The file of lines is written anew when lines of deleted clips are one in so many of it.
const DEAD_SHARE: usize = 4;
/// Lines that may wait for a disk that is full.
const WAITING: usize = 1_000;
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
    /// It was not there before.
    made: bool,
    /// Held by who writes [`LINES`].
    lines: Mutex<Lines>,
    /// Videos that are being written.
    writing: Mutex<Vec<PathBuf>>,
    /// Whether the clock can be believed. Held by who deletes by age.
    pub(super) steadiness: Mutex<Steadiness>,
}

/// What is known of [`LINES`].
#[derive(Debug, Default)]
struct Lines {
    /// Lines that the disk had no room for.
    waiting: Vec<String>,
    /// Lines in the file, and those of them whose clips are gone; `None` before it is looked.
    counted: Option<(usize, usize)>,
}

impl Folder {
    /// Makes it if it is not there.
    ///
    /// # Errors
    /// [`FolderError`]
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let made = !path.exists();
        std::fs::create_dir_all(path).map_err(|source| FolderError { path: path.into(), source })?;
        Ok(Self {
            path: path.into(),
            made,
            lines: Mutex::default(),
            writing: Mutex::default(),
            steadiness: Mutex::default(),
        })
    }

    /// Takes it away again where it was not there before and nothing came into it.
    pub fn close(&self) {
        if self.made {
            // Refused where there is something in it.
            let _ = std::fs::remove_dir(&self.path);
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sees that no power cut takes away the names of the files that are there.
    ///
    /// # Errors
    /// [`FolderError`]
    pub fn sync(&self) -> Result<(), FolderError> {
        match File::open(&self.path).and_then(|folder| folder.sync_all()) {
            // Not every file system does it, or has to.
            Err(e) if matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
            synced => synced.map_err(|source| FolderError { path: self.path.clone(), source }),
        }
    }

    /// Where a clip of a camera goes that begins at a time; taken until [`Self::release`].
    pub fn claim(&self, camera: &str, start: SystemTime) -> PathBuf {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let stem = format!("{}_{}", utc(start).replace(':', "-"), file_name(camera));
        let free = |path: &PathBuf| path.symlink_metadata().is_err() && !writing.contains(path);
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

    /// Adds a clip's line, which no power cut takes away then. Where the disk has no room, it comes with the next one.
    ///
    /// # Errors
    /// [`FolderError`]
    pub fn add(&self, line: &Line) -> Result<(), FolderError> {
        let path = self.path.join(LINES);
        let failed = |source| FolderError { path: path.clone(), source };
        let line = serde_json::to_string(line).map_err(|e| failed(e.into()))? + "\n";
        let mut known = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        known.waiting.push(line);
        let text = known.waiting.concat();
        let is_new = path.symlink_metadata().is_err();
        let opened = OpenOptions::new().create(true).append(true).read(true).open(&path);
        let added = opened.and_then(|mut file| lines::append(&mut file, &text).and_then(|()| file.sync_data()));
        match added {
            Ok(()) => {
                let more = known.waiting.drain(..).count();
                known.counted = known.counted.map(|(all, dead)| (all + more, dead));
            }
            Err(e) => {
                let too_many = known.waiting.len().saturating_sub(WAITING);
                known.waiting.drain(..too_many);
                return Err(failed(e));
            }
        }
        if is_new { self.sync() } else { Ok(()) }
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
            if path.is_dir() {
                continue;
            }
            let size = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
            let bytes = size(&path) + size(&path.with_extension(PICTURE));
            clips.push((start, path, bytes));
        }
        clips.sort();
        Ok(clips)
    }

    /// Deletes clips: videos and pictures. Their lines go later, when there are enough of them. One that can't be deleted does not stop the
    /// others.
    ///
    /// # Errors
    /// [`FolderError`] of the first that can't be deleted.
    pub fn delete(&self, videos: &[PathBuf]) -> Result<(), FolderError> {
        if videos.is_empty() {
            return Ok(());
        }
        let gone = |path: &Path| match std::fs::remove_file(path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(FolderError { path: path.into(), source: e }),
            _ => Ok(()),
        };
        let each = videos.iter().map(|video| gone(&video.with_extension(PICTURE)).and_then(|()| gone(video)));
        let failed: Vec<FolderError> = each.filter_map(Result::err).collect();
        let path = self.path.join(LINES);
        let tidied = self.tidy(videos.len() - failed.len()).map_err(|source| FolderError { path, source });
        failed.into_iter().next().map_or(tidied, Err)
    }

    /// As many clips more are gone: writes the lines anew without those of clips that are not there, if they are enough.
    fn tidy(&self, gone: usize) -> std::io::Result<()> {
        let path = self.path.join(LINES);
        let mut known = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let mut there = None;
        let (all, dead) = match known.counted {
            Some((all, dead)) => (all, dead + gone),
            None => {
                let there: &HashSet<OsString> = there.insert(self.names()?);
                let text = read(&path)?;
                (text.lines().count(), text.lines().filter(|line| !stays(line, there)).count())
            }
        };
        known.counted = Some((all, dead));
        if dead == 0 || dead * DEAD_SHARE < all {
            return Ok(());
        }
        let there = there.map_or_else(|| self.names(), Ok)?;
        let left: Vec<String> =
            read(&path)?.lines().filter(|line| stays(line, &there)).map(|line| format!("{line}\n")).collect();
        known.counted = Some((left.len(), 0));
        whole_file::write(&path, left.concat().as_bytes())
    }

    fn names(&self) -> std::io::Result<HashSet<OsString>> {
        std::fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name())).collect()
    }
}

/// A file's text; none where it is not there.
fn read(path: &Path) -> std::io::Result<String> {
    match std::fs::read(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(String::new()),
        // A power cut may have left anything.
        read => read.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    }
}

/// Whether a line is of a clip that is there.
fn stays(line: &str, there: &HashSet<OsString>) -> bool {
    let line: Option<serde_json::Value> = serde_json::from_str(line).ok();
    line.is_none_or(|line| line["file"].as_str().is_none_or(|file| there.contains(std::ffi::OsStr::new(file))))
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
    fn a_folder_that_was_made_for_nothing_goes_again() {
        let temporary = tempfile::tempdir().unwrap();
        let [made, used, other] = ["made", "used", "other"].map(|name| temporary.path().join(name));
        std::fs::create_dir(&other).unwrap();
        let folders = [&made, &used, &other].map(|path| Folder::open(path).unwrap());
        folders[1].add(&line("a.mp4")).unwrap();
        folders.iter().for_each(Folder::close);
        assert_eq!([made, used, other].map(|path| path.exists()), [false, true, true]);
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
    fn lines_of_deleted_clips_go_when_they_are_a_quarter() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::open(temporary.path()).unwrap();
        let clips: Vec<PathBuf> = (0..9).map(|i| folder.claim("yard", at(i))).collect();
        for clip in &clips {
            std::fs::write(clip, [0; 10]).unwrap();
            folder.add(&line(clip.file_name().unwrap().to_str().unwrap())).unwrap();
        }
        let path = temporary.path().join(LINES);
        let counts = clips.iter().map(|clip| {
            folder.delete(std::slice::from_ref(clip)).unwrap();
            std::fs::read_to_string(&path).unwrap().lines().count()
        });
        assert_eq!(counts.collect::<Vec<_>>(), [9, 9, 6, 6, 4, 3, 2, 1, 0]);
        // What another process left is counted.
        let other = Folder::open(temporary.path()).unwrap();
        for clip in &clips[..3] {
            std::fs::write(clip, [0; 10]).unwrap();
            other.add(&line(clip.file_name().unwrap().to_str().unwrap())).unwrap();
        }
        std::fs::remove_file(&clips[0]).unwrap();
        Folder::open(temporary.path()).unwrap().delete(&clips[1..2]).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1);
    }

    #[test]
    fn what_cannot_be_deleted_does_not_stop_the_others() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::open(temporary.path()).unwrap();
        let clips: Vec<PathBuf> = (0..3).map(|i| folder.claim("yard", at(i))).collect();
        for clip in &clips {
            std::fs::write(clip, [0; 10]).unwrap();
            folder.release(clip);
        }
        // A folder is no file that can be deleted.
        std::fs::create_dir(clips[0].with_extension(PICTURE)).unwrap();
        let error = folder.delete(&clips[..2]).unwrap_err().to_string();
        assert!(error.starts_with(clips[0].with_extension(PICTURE).to_str().unwrap()), "{error}");
        assert_eq!(clips.iter().map(|clip| clip.exists()).collect::<Vec<_>>(), [true, false, true]);
        std::fs::create_dir(temporary.path().join("1970-01-01T00-00-09.000Z_yard.mp4")).unwrap();
        assert_eq!(folder.clips().unwrap().len(), 2);
    }

    #[test]
    fn a_line_that_the_disk_has_no_room_for_comes_later() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::open(temporary.path()).unwrap();
        let path = temporary.path().join(LINES);
        std::fs::create_dir(&path).unwrap();
        folder.add(&line("a.mp4")).unwrap_err();
        std::fs::remove_dir(&path).unwrap();
        folder.add(&line("b.mp4")).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let files: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(files.iter().map(|line| line["file"].as_str().unwrap()).collect::<Vec<_>>(), ["a.mp4", "b.mp4"]);
    }

    #[test]
    fn running_time_is_told_as_utc() {
        assert_eq!(when(5_000_000_000, 7_000_000_000, at(100)), at(98));
        assert_eq!(when(9_000_000_000, 7_000_000_000, at(100)), at(102));
        assert_eq!(utc(at(98)), "1970-01-01T00:01:38.000Z");
    }
}
