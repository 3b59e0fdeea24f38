//! What people look at or import, beside a skim or of the scores alone.

use std::{
    error::Error,
    path::{Path, PathBuf},
};

use clap::ValueEnum;
use gstdesumnet::{
    offline::VideoScores,
    report::{Files, Summary, chapters, csv, edl, otio, page},
    secrets,
    stills::stills,
    summary::plan::Plan,
    whole_file,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

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
        }
    }
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
    /// Writes each beside `path`, under its name with another ending.
    pub fn write(&self, path: &Path) -> Result<(), Box<dyn Error>> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let thumbnails = if self.kinds.contains(&Kind::Html) { self.thumbnails()? } else { Vec::new() };
        let video = secrets::hide(&self.scores.video);
        let name = Path::new(&video).file_name().map(|name| name.to_string_lossy().into_owned());
        let files = Files {
            url: url(&video, folder)?,
            name: name.unwrap_or(video),
            skim_url: self.skim.map(|skim| url(&skim.to_string_lossy(), folder)).transpose()?,
        };
        // Chapters are those of the skim where there is one.
        let of = if self.skim.is_some() { chapters::Of::Skim } else { chapters::Of::Video };
        let summary = Summary::new(self.scores, self.plan, files, thumbnails);
        for kind in self.kinds {
            let text = match kind {
                Kind::Html => page::html(&summary)?,
                Kind::Csv => csv::text(&summary),
                Kind::Otio => otio::text(&summary),
                Kind::Edl => edl::text(&summary, false)?,
                Kind::Ffmetadata => chapters::ffmetadata(&summary, of),
                Kind::Vtt => chapters::webvtt(&summary, of),
            };
            let path = path.with_extension(kind.extension());
            let unwritable =
                |e| format!("{} can't be written: {e}; check the folder and the free disk space", path.display());
            whole_file::write(&path, text.as_bytes()).map_err(unwritable)?;
            eprintln!("{} is written", path.display());
        }
        Ok(())
    }

    /// The middle picture of every shot.
    fn thumbnails(&self) -> Result<Vec<Option<Vec<u8>>>, Box<dyn Error>> {
        let middles: Vec<u64> = self.scores.shots.iter().map(|shot| shot.start_ns + shot.duration_ns / 2).collect();
        Ok(stills(&self.scores.video, &middles)?.into_iter().map(|still| still.jpeg).collect())
    }
}

/// What a path in a URL is written as it is with.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_').remove(b'~');

/// How a page in `folder` calls a file: by the way from there, so that both can be moved together.
fn url(file: &str, folder: &Path) -> std::io::Result<String> {
    if file.contains("://") {
        return Ok(file.into());
    }
    let folder = std::env::current_dir()?.join(folder);
    let way = pathdiff::diff_paths(std::path::absolute(file)?, folder).unwrap_or_else(|| PathBuf::from(file));
    Ok(utf8_percent_encode(&way.to_string_lossy(), PATH).to_string())
}
