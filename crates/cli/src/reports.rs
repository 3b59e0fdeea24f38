//! What people look at or import, beside a skim or of the scores alone.

use std::{
    collections::BTreeMap,
    error::Error,
    path::{Component, Path, PathBuf},
};

use clap::ValueEnum;
use desumnet_decide::plan::Plan;
use desumnet_files::whole_file;
use desumnet_media::{
    decode::{DecodeError, local_path},
    secrets,
    stills::stills,
};
use desumnet_offline::VideoScores;
use desumnet_report::{Files, Shot, Summary, chapters, csv, edl, otio, page, picture};
use once_cell::unsync::OnceCell;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use crate::results::with_ending;
use desumnet_command_line::tell::say;

/// A kind of report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// A page with the scores, the shots and both videos
    Html,
    /// A table of the segments
    Csv,
    /// OpenTimelineIO
    Otio,
    /// CMX 3600 edit decision list
    Edl,
    /// Chapters for ffmpeg
    Ffmetadata,
    /// WebVTT chapters
    Vtt,
    /// A picture: the scores over a strip of frames
    Svg,
}

impl Kind {
    fn extension(self) -> &'static str {
        match self {
            Self::Html => "html",
            Self::Csv => "csv",
            Self::Otio => "otio",
            Self::Edl => "edl",
            Self::Ffmetadata => "ffmetadata",
            Self::Vtt => "vtt",
            Self::Svg => "svg",
        }
    }
}

/// Where reports of these kinds go: `base` with an ending each.
pub fn paths(kinds: &[Kind], base: &Path) -> impl Iterator<Item = PathBuf> {
    each(kinds).map(move |kind| with_ending(base, kind.extension()))
}

/// Every kind once.
fn each(kinds: &[Kind]) -> impl Iterator<Item = Kind> {
    kinds.iter().enumerate().filter(|(i, kind)| !kinds[..*i].contains(kind)).map(|(_, kind)| *kind)
}

/// Small JPEG pictures by their times in the video, ns; `None` where it has none.
type Pictures = BTreeMap<u64, Option<Vec<u8>>>;

/// The time of the picture that stands for a shot, ns.
fn middle(shot: &Shot) -> u64 {
    shot.start_ns + shot.duration_ns / 2
}

/// Of one video.
pub struct Reports<'a> {
    pub kinds: &'a [Kind],
    pub scores: &'a VideoScores,
    pub plan: Option<&'a Plan>,
    /// The skim's file.
    pub skim: Option<&'a Path>,
}

impl Reports<'_> {
    /// Writes each to its place ([`paths`]). What could not be written is told; the others are.
    pub fn write(&self, base: &Path) -> Vec<String> {
        if self.kinds.is_empty() {
            return Vec::new();
        }
        let mut summary = match self.summary(base) {
            Ok(summary) => summary,
            Err(error) => return vec![format!("the reports on {} can't be made: {error}", self.scores.video)],
        };
        let pictures = OnceCell::new();
        let write = |kind: Kind| {
            let path = with_ending(base, kind.extension());
            let unwritable =
                |e| format!("{} can't be written: {e}; check the folder and the free disk space", path.display());
            let text = self.text(kind, &mut summary, &pictures).map_err(|e| e.to_string())?;
            whole_file::write(&path, text.as_bytes()).map_err(unwritable)?;
            say(format_args!("{} is written", path.display()));
            Ok(())
        };
        each(self.kinds).map(write).filter_map(Result::err).collect()
    }

    fn text(&self, kind: Kind, summary: &mut Summary, pictures: &OnceCell<Pictures>) -> Result<String, Box<dyn Error>> {
        // Chapters are those of the skim where there is one.
        let of = if self.skim.is_some() { chapters::Of::Skim } else { chapters::Of::Video };
        Ok(match kind {
            Kind::Html => {
                let pictures = pictures.get_or_try_init(|| self.pictures(summary))?;
                for shot in &mut summary.shots {
                    shot.thumbnail = pictures.get(&middle(shot)).cloned().flatten();
                }
                page::html(summary)?
            }
            Kind::Svg => {
                let pictures = pictures.get_or_try_init(|| self.pictures(summary))?;
                picture::svg(summary, |time| pictures.get(&time).cloned().flatten())?
            }
            Kind::Csv => csv::text(summary),
            Kind::Otio => otio::text(summary),
            Kind::Edl => edl::text(summary)?,
            Kind::Ffmetadata => chapters::ffmetadata(summary, of),
            Kind::Vtt => chapters::webvtt(summary, of),
        })
    }

    fn summary(&self, base: &Path) -> std::io::Result<Summary> {
        let video = secrets::hide(&self.scores.video);
        let path = local_path(&self.scores.video);
        let name = path.as_deref().unwrap_or(Path::new(&video)).file_name().unwrap_or_default();
        let files = Files {
            name: name.to_string_lossy().into_owned(),
            url: match &path {
                Some(path) => url(path, base.parent().unwrap_or(Path::new("")))?,
                None => video.clone(),
            },
            // It lies beside the reports.
            skim_url: self.skim.and_then(Path::file_name).map(|name| encoded(Path::new(name))),
        };
        Ok(Summary::new(self.scores, self.plan, files))
    }

    /// Small pictures of the video by their times, ns: those that the reports show. It is decoded once for all of them.
    fn pictures(&self, summary: &Summary) -> Result<Pictures, DecodeError> {
        let mut times = Vec::new();
        if self.kinds.contains(&Kind::Html) {
            times.extend(summary.shots.iter().map(middle));
        }
        if self.kinds.contains(&Kind::Svg) {
            let shots: Vec<_> = summary.shots.iter().map(Shot::span).collect();
            times.extend(picture::tiles(summary.duration_ns, &shots).iter().map(picture::frame_time));
        }
        times.sort_unstable();
        let stills = stills(&self.scores.video, &times)?;
        Ok(times.into_iter().zip(stills.into_iter().map(|still| still.jpeg)).collect())
    }
}

/// What a path in a URL is written as it is with.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_').remove(b'~');

/// Byte for byte: a browser opens a name that is not UTF-8 by its bytes, and no other spelling of it.
fn encoded(path: &Path) -> String {
    percent_encode(path.as_os_str().as_encoded_bytes(), PATH).to_string()
}

/// How a page in `folder` calls a file: by the way from there, so that both can be moved together. Where a link leads to the folder,
/// by the whole path: `..` behind a link is one place to a browser and another to the system.
fn url(file: &Path, folder: &Path) -> std::io::Result<String> {
    let named = plain(&std::path::absolute(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })?);
    let real = named.canonicalize()?;
    let file = std::path::absolute(file)?;
    let file = match (file.parent(), file.file_name()) {
        (Some(folder), Some(name)) => folder.canonicalize()?.join(name),
        _ => file,
    };
    let way = pathdiff::diff_paths(&file, &real).filter(|_| real == named);
    Ok(way.map_or_else(|| format!("file://{}", encoded(&file)), |way| encoded(&way)))
}

/// An absolute path without `.` and `..`, as browsers have it.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    use super::*;

    #[test]
    fn links_lead_from_the_page_to_the_video() {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path().canonicalize().unwrap();
        for folder in ["videos", "skims", "far/skims"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        std::os::unix::fs::symlink(root.join("far/skims"), root.join("link")).unwrap();
        let to =
            |name: &[u8], folder: &str| url(&root.join("videos").join(OsStr::from_bytes(name)), &root.join(folder));
        assert_eq!(to(b"a:b.mp4", "videos").unwrap(), "a%3Ab.mp4");
        assert_eq!(to(b"a b.mp4", "skims").unwrap(), "../videos/a%20b.mp4");
        assert_eq!(to(b"a.mp4", "skims/../skims/.").unwrap(), "../videos/a.mp4");
        assert_eq!(to(b"latin\xe9.mp4", "videos/../far/skims").unwrap(), "../../videos/latin%E9.mp4");
        // By a browser `link/..` is this folder, by the system `far`.
        assert_eq!(to(b"a.mp4", "link").unwrap(), format!("file://{}/videos/a.mp4", encoded(&root)));
        assert_eq!(to(b"a.mp4", "far/../videos").unwrap(), "a.mp4");
    }
}
