//! Moments of videos that a person marked: as a line of `marks.jsonl`, which the report page writes, or as words of a command line.
//!
//! | written | means |
//! |---|---|
//! | `FILE` or a URI | the whole video |
//! | `FILE@1:20-1:30` | from 1:20 to 1:30; times are `m:ss`, `h:mm:ss` or seconds, each with decimals or without |
//! | `DIR` | all videos in the folder, each as a whole |
//! | `NAME.jsonl` | the moments in the file: a JSON document a line, as below |
//!
//! ```json
//! {"video": "/videos/yard.mp4", "start": 80.000, "end": 90.500, "like": true}
//! ```
//!
//! Times count from the video's first picture, in seconds. Without `start` and `end` a line means the whole video; without
//! `like` it is for the caller to know whether more or less of it is wanted.

use std::{
    ffi::OsStr,
    ops::Range,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use thiserror::Error;

use desumnet_media::video_files::{FolderError, in_folder, name_of};

/// ns in a second.
const SECOND: f64 = 1e9;
/// Longest time that a mark may have, s: beyond this a float tells no milliseconds.
const LONGEST: f64 = 1e9;

/// A moment that a person marked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// A path or a URI.
    pub video: String,
    /// ns since the first picture; `None`: the whole video.
    pub span: Option<Range<u64>>,
    /// Whether the person wants more or less of it; `None` where it does not say.
    pub like: Option<bool>,
}

/// Why marks can't be read.
#[derive(Debug, Error)]
pub enum MarkError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("{0}: no such file; check the path. A part of a video is written as in {file}@1:20-1:30", file = .0.split('@').next().unwrap_or_default())]
    Missing(String),
    #[error("{argument}: {reason}; write a part of a video as in {video}@1:20-1:30")]
    Span { argument: String, video: String, reason: String },
    #[error("{path} can't be read: {source}; check the path and its permissions", path = path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{path} has no marks: choose \"more of this\" or \"less of this\" in the report page, and save again", path = path.display())]
    Empty { path: PathBuf },
    #[error(
        "{path}, line {line}: {reason}; a line is {{\"video\": PATH, \"start\": SECONDS, \"end\": SECONDS, \"like\": true or false}}",
        path = path.display()
    )]
    Line { path: PathBuf, line: usize, reason: String },
}

/// The marks that a word of the command line stands for: see the [module](self).
///
/// # Errors
/// [`MarkError`]
pub fn read(argument: &OsStr) -> Result<Vec<Mark>, MarkError> {
    let path = Path::new(argument);
    let whole = |video: String| Mark { video, span: None, like: None };
    if path.is_dir() {
        return in_folder(path)?.into_iter().map(|path| Ok(whole(name_of(path)?))).collect();
    }
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("jsonl")) {
        return read_file(path);
    }
    // Whatever its name looks like, a file that is there is meant.
    if path.exists() {
        return Ok(vec![whole(name_of(path.into())?)]);
    }
    // A name that is not UTF-8 comes with a span as it comes without one.
    let bytes = argument.as_bytes();
    let parts = bytes.iter().rposition(|&byte| byte == b'@').map(|at| (&bytes[..at], &bytes[at + 1..]));
    let marked = parts.and_then(|(video, span)| Some((video, times(std::str::from_utf8(span).ok()?)?)));
    let Some((video, (start, end))) = marked else {
        let argument = name_of(path.into())?;
        return if argument.contains("://") { Ok(vec![whole(argument)]) } else { Err(MarkError::Missing(argument)) };
    };
    let video = Path::new(OsStr::from_bytes(video));
    let name = name_of(video.into())?;
    if !name.contains("://") && !video.is_file() {
        return Err(MarkError::Missing(name));
    }
    let argument = argument.to_string_lossy().into_owned();
    let span = span(start, end).map_err(|reason| MarkError::Span { argument, video: name.clone(), reason })?;
    Ok(vec![Mark { video: name, span: Some(span), like: None }])
}

/// The marks in a file of lines, at least one.
fn read_file(path: &Path) -> Result<Vec<Mark>, MarkError> {
    let text = std::fs::read_to_string(path).map_err(|source| MarkError::Unreadable { path: path.into(), source })?;
    let marks = parse(&text).map_err(|(line, reason)| MarkError::Line { path: path.into(), line, reason })?;
    if marks.is_empty() { Err(MarkError::Empty { path: path.into() }) } else { Ok(marks) }
}

/// A line as the report page writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    video: String,
    start: Option<f64>,
    end: Option<f64>,
    like: Option<bool>,
}

/// The marks in a text of lines; empty ones are passed over.
///
/// # Errors
/// The number of the first line that is none, from 1, and why.
pub fn parse(text: &str) -> Result<Vec<Mark>, (usize, String)> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(number, line)| mark(line).map_err(|reason| (number + 1, reason))).collect()
}

fn mark(line: &str) -> Result<Mark, String> {
    let line: Line = serde_json::from_str(line).map_err(|error| {
        // The line that it counts is this one, and always the first.
        error.to_string().replace("at line 1 column", "at column")
    })?;
    if line.video.is_empty() {
        return Err("`video` is empty".into());
    }
    if line.video.contains("://") && line.video.contains("***") {
        return Err(format!("the password of {} was left out when it was written: put it in for ***", line.video));
    }
    let span = match (line.start, line.end) {
        (None, None) => None,
        (Some(start), Some(end)) => Some(span(start, end)?),
        (Some(_), None) => return Err("`start` is there without `end`".into()),
        (None, Some(_)) => return Err("`end` is there without `start`".into()),
    };
    Ok(Mark { video: line.video, span, like: line.like })
}

/// From seconds to ns.
fn span(start: f64, end: f64) -> Result<Range<u64>, String> {
    if let Some(wrong) = [start, end].into_iter().find(|time| !(0.0..=LONGEST).contains(time)) {
        return Err(format!("{wrong} is no time in a video"));
    }
    let ns = |seconds: f64| (seconds * SECOND).round() as u64;
    let span = ns(start)..ns(end);
    if span.is_empty() {
        Err(format!("it ends at {end} s, which is not after its start at {start} s"))
    } else {
        Ok(span)
    }
}

/// Two times in seconds, of `1:20-1:30`; `None` if it is not of that form.
fn times(text: &str) -> Option<(f64, f64)> {
    let (start, end) = text.split_once('-')?;
    Some((time(start)?, time(end)?))
}

/// `1:20`, `1:02:03.5` or `80.25`, in seconds.
fn time(text: &str) -> Option<f64> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = |text: &str| if digits(text) { text.parse::<f64>().ok() } else { None };
    // Of what has something larger before it there are sixty.
    let sixtieth = |text: &str| if text.len() <= 2 { number(text).filter(|&n| n < 60.0) } else { None };
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let fraction = number(decimals).and_then(|_| format!("0.{decimals}").parse::<f64>().ok())?;
    let total = match whole.split(':').collect::<Vec<_>>()[..] {
        [seconds] => number(seconds)?,
        [minutes, seconds] => 60.0 * number(minutes)? + sixtieth(seconds)?,
        [hours, minutes, seconds] => 3_600.0 * number(hours)? + 60.0 * sixtieth(minutes)? + sixtieth(seconds)?,
        _ => return None,
    };
    Some(total + fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let read = ["80", "80.25", "1:20", "1:02:03.5", "90:00", "0:05"].map(|text| time(text).unwrap());
        assert_eq!(read, [80.0, 80.25, 80.0, 3_723.5, 5_400.0, 5.0]);
        for text in ["", "1:60", "1:60:00", ":20", "1:", "1.2.3", "1e3", "-1", "1:2:3:4", "1:+5", " 1", "inf", "1:020"]
        {
            assert_eq!(time(text), None, "{text}");
        }
    }

    #[test]
    fn a_word_is_a_file_a_part_of_one_a_folder_or_lines() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        for name in ["a.mp4", "b@home.mp4", "c.mp4@1-2", "notes.txt"] {
            std::fs::write(place(name), "").unwrap();
        }
        let marks = |name: &str| super::read(place(name).as_ref());
        let one = |name: &str| {
            let mut marks = marks(name).unwrap();
            (marks.remove(0).span, marks.len())
        };
        let second = 1_000_000_000;
        assert_eq!(one("a.mp4"), (None, 0));
        assert_eq!(one("a.mp4@1:20-1:30.5"), (Some(80 * second..90 * second + second / 2), 0));
        // An @ in a name is no span, and what is there by its whole name is meant.
        assert_eq!(one("b@home.mp4"), (None, 0));
        assert_eq!(one("b@home.mp4@3-4"), (Some(3 * second..4 * second), 0));
        assert_eq!(one("c.mp4@1-2"), (None, 0));
        assert_eq!(one("c.mp4@1-2@3-4"), (Some(3 * second..4 * second), 0));
        let all = super::read(folder.path().as_ref()).unwrap();
        assert_eq!(
            all.iter().map(|mark| mark.video.clone()).collect::<Vec<_>>(),
            [place("a.mp4"), place("b@home.mp4")]
        );

        let uri = super::read("https://me@host/a.mp4?x=1@0:10-0:20".as_ref()).unwrap();
        let expected =
            Mark { video: "https://me@host/a.mp4?x=1".into(), span: Some(10 * second..20 * second), like: None };
        assert_eq!(uri, [expected]);
        let whole = super::read("https://me@host/a.mp4".as_ref()).unwrap();
        assert_eq!((whole[0].video.as_str(), &whole[0].span), ("https://me@host/a.mp4", &None));

        let error = |name: &str| marks(name).unwrap_err().to_string().replace(&place(""), "");
        assert_eq!(
            error("a.mp4@0:20-0:10"),
            "a.mp4@0:20-0:10: it ends at 10 s, which is not after its start at 20 s; write a part of a video as in a.mp4@1:20-1:30"
        );
        for name in ["z.mp4", "a.mp4@soon", "z.mp4@1-2"] {
            assert!(
                error(name).contains("no such file; check the path. A part of a video is written as in "),
                "{}",
                error(name)
            );
        }
        assert!(error("none.jsonl").starts_with("none.jsonl can't be read: "), "{}", error("none.jsonl"));
    }

    #[test]
    fn a_name_that_is_not_utf_8_is_a_uri() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(OsStr::from_bytes(b"\xe9.mp4"));
        std::fs::write(&path, "").unwrap();
        let mut argument = path.into_os_string();
        argument.push("@1-2");
        let marks = super::read(&argument).unwrap();
        assert!(marks[0].video.starts_with("file:///") && marks[0].video.ends_with("/%E9.mp4"), "{marks:?}");
        assert_eq!(marks[0].span, Some(1_000_000_000..2_000_000_000));
    }

    #[test]
    fn lines_are_read_and_what_is_wrong_is_said_with_its_line() {
        let good = "{\"video\": \"a b.mp4\", \"start\": 1.500, \"end\": 4.040, \"like\": true}\n\n{\"video\": \"c.mp4\", \"like\": false}\r\n";
        let marks = parse(good).unwrap();
        assert_eq!(
            marks,
            [
                Mark { video: "a b.mp4".into(), span: Some(1_500_000_000..4_040_000_000), like: Some(true) },
                Mark { video: "c.mp4".into(), span: None, like: Some(false) },
            ]
        );
        for (line, reason) in [
            ("{\"video\": \"a.mp4\", \"start\": 1, \"like\": true}", "`start` is there without `end`"),
            ("{\"video\": \"a.mp4\", \"end\": 1}", "`end` is there without `start`"),
            ("{\"video\": \"a.mp4\", \"start\": 2, \"end\": 2}", "it ends at 2 s, which is not after its start at 2 s"),
            ("{\"video\": \"a.mp4\", \"start\": -1, \"end\": 2}", "-1 is no time in a video"),
            ("{\"video\": \"\"}", "`video` is empty"),
            ("{\"start\": 1, \"end\": 2}", "missing field `video` at column 22"),
            ("{\"video\": \"a.mp4\", \"liked\": true}", "unknown field `liked`"),
            ("a.mp4", "expected value at column 1"),
            ("{\"video\": \"https://me:***@host/a.mp4\"}", "the password of https://me:***@host/a.mp4 was left out"),
        ] {
            let (number, said) = parse(&format!("{good}\n{line}")).unwrap_err();
            assert!(number == 5 && said.starts_with(reason), "{line}: {number}, {said}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("marks.jsonl");
        std::fs::write(&path, "\n{}\n").unwrap();
        let said = super::read(path.as_ref()).unwrap_err().to_string();
        assert!(
            said.contains("marks.jsonl, line 2: missing field `video` at column 2; a line is {\"video\": PATH"),
            "{said}"
        );
        std::fs::write(&path, "\n").unwrap();
        assert!(super::read(path.as_ref()).unwrap_err().to_string().contains("marks.jsonl has no marks"));
    }
}
