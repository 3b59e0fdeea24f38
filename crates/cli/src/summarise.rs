//! What `skim` and `timelapse` share: from a plan to a file, and what is told of it.

use std::{error::Error, path::PathBuf};

use desumnet_decide::plan::Plan;
use desumnet_media::{
    cut::{Container, Job, Lack, copy::Grid, cut},
    secrets,
};
use desumnet_offline::VideoScores;
use desumnet_report::{clock::length, document};
use serde_json::json;

use crate::{
    inputs::{Done, Inputs, Video},
    reports::{Kind, Reports, paths},
    results,
    scoring::{Cached, MS, bar},
};
use desumnet_command_line::tell::say;

/// Least probability of a category that people are told of: likelier than all others together. A model that knows none that fits
/// still has one that it finds the likeliest.
const LIKELY: f32 = 0.5;

/// What becomes of pictures that are brighter and more colourful than usual screens show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Hdr {
    /// They become what every screen shows
    Sdr,
    /// They stay, in HEVC of 10 bits (Main 10), which not every player shows
    Keep,
}

#[derive(clap::Args)]
pub struct Output {
    /// File to write: mp4, m4v, mov, mkv or webm. Of several videos, a folder, where each gets an mp4 file
    #[arg(short, long, value_name = "FILE|DIR")]
    output: PathBuf,
    /// What becomes of HDR pictures
    #[arg(long, value_enum, default_value_t = Hdr::Sdr)]
    hdr: Hdr,
    /// Follow this plan instead of scoring: one that --save-plan wrote, perhaps changed by hand
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Write the plan to this file: JSON, which desumskim's property `plan` reads too
    #[arg(long, value_name = "FILE")]
    save_plan: Option<PathBuf>,
}

/// How a summary is cut.
#[derive(Clone, Copy)]
pub struct How {
    pub sound: bool,
    /// At key frames, without encoding anew.
    pub copy: bool,
}

/// A video's summary.
struct Summarised {
    output: PathBuf,
    plan: Plan,
    /// None where a plan was given.
    scores: Option<VideoScores>,
    /// Where it can be cut, if it is copied.
    grid: Option<Grid>,
}

impl Output {
    /// Makes a summary of each video by its plan, which `choose` makes of its scores, and tells about it. `verb` names outputs in
    /// a folder. `reports` are written beside them.
    pub fn of_each(
        &self,
        verb: &str,
        inputs: &Inputs,
        scoring: &Cached,
        how: How,
        choose: impl Fn(&VideoScores, Option<&Grid>) -> Result<Plan, Box<dyn Error>>,
        reports: &[Kind],
    ) -> Result<(), Box<dyn Error>> {
        let (videos, several) = inputs.videos()?;
        if several && (self.plan.is_some() || self.save_plan.is_some()) {
            return Err("a plan is of one video: give a single one with --plan or --save-plan".into());
        }
        if several {
            results::folder(&self.output, Container::of(&self.output).is_ok())?;
        }
        let in_folder = self.output.is_dir();
        let place = |video: &Video| {
            let mut name = video.stem.clone();
            name.push(format!("-{verb}.mp4"));
            if in_folder { self.output.join(name) } else { self.output.clone() }
        };
        let mut written: Vec<PathBuf> = self.save_plan.iter().cloned().collect();
        for output in videos.iter().map(place) {
            // What can't be written is found out before an hour of scoring.
            Container::of(&output)?;
            if output.metadata().is_ok_and(|there| !there.is_file()) {
                return Err(format!(
                    "{} is a pipe or a device: give the name of a file, as a video's start is written last",
                    output.display()
                )
                .into());
            }
            written.extend(paths(reports, &output.with_extension("")));
            written.push(output);
        }
        results::settle(videos.iter().map(|video| &*video.name), &written)?;
        inputs.each(&videos, |video| {
            let made = self.summarise(&video.name, place(video), scoring, how, &choose)?;
            let mut failed = Vec::new();
            if let Some(path) = &self.save_plan {
                failed.extend(document::write(path, &made.plan).err().map(|e| e.to_string()));
            }
            let bar = bar();
            bar.set_prefix("cutting");
            bar.set_length(made.plan.played_ns() / MS);
            let (output, plan) = (made.output.as_path(), &made.plan);
            let keep_hdr = self.hdr == Hdr::Keep;
            let job = Job { video: &video.name, plan, output, sound: how.sound, keep_hdr, copy: made.grid.as_ref() };
            let lacks = cut(&job, |position| bar.set_position(position / MS))?;
            bar.finish_and_clear();
            for lack in lacks {
                say(format_args!("{}: {lack}", video.name));
            }
            if let Some(scores) = &made.scores {
                let reports = Reports { kinds: reports, scores, plan: Some(plan), skim: Some(output) };
                failed.extend(reports.write(&output.with_extension("")));
            }
            Ok(Done { document: made.document(&video.name), text: made.text(), failed })
        })
    }

    /// The video's plan: all but the file.
    fn summarise(
        &self,
        video: &str,
        output: PathBuf,
        scoring: &Cached,
        how: How,
        choose: impl Fn(&VideoScores, Option<&Grid>) -> Result<Plan, Box<dyn Error>>,
    ) -> Result<Summarised, Box<dyn Error>> {
        let grid = how.copy.then(|| Grid::of(video)).transpose()?;
        let (plan, scores) = match (&self.plan, &grid) {
            (Some(path), Some(grid)) => {
                let plan = Plan::read(path)?;
                if let Some(lack) = Lack::of_pictures(grid.lacks(&plan)) {
                    say(format_args!("{video}: {lack}"));
                }
                (grid.close(&grid.fit_plan(&plan)?, u64::MAX)?, None)
            }
            (Some(path), None) => (Plan::read(path)?, None),
            (None, grid) => {
                let scores = scoring.scores(video)?;
                let plan = choose(&scores, grid.as_ref()).map_err(|e| format!("{video}: {e}"))?;
                (plan.counted_from(scores.first_ns), Some(scores))
            }
        };
        if how.copy && plan.parts().iter().any(|part| part.speed != 1.0) {
            return Err("what is copied can't play faster: leave --copy out, or the plan's speeds".into());
        }
        Ok(Summarised { output, plan, scores, grid })
    }
}

impl Summarised {
    fn document(&self, video: &str) -> serde_json::Value {
        let category = self.scores.as_ref().map(|scores| &scores.category);
        let confidence = self.scores.as_ref().map(|scores| scores.confidence);
        json!({
            "video": secrets::hide(video), "output": self.output.to_string_lossy(),
            "duration_ns": self.scores.as_ref().map(|scores| scores.duration_ns),
            "output_duration_ns": self.plan.played_ns(),
            "category": category, "confidence": confidence, "parts": self.plan.parts(),
        })
    }

    fn text(&self) -> String {
        let (output, parts, played) = (self.output.display(), self.plan.parts(), self.plan.played_ns());
        let share = self.scores.as_ref().map_or(String::new(), |scores| {
            let whole = scores.duration_ns;
            format!(" of {} ({:.0} %)", length(whole), 100.0 * played as f64 / whole.max(1) as f64)
        });
        let likely = self.scores.as_ref().filter(|scores| scores.confidence >= LIKELY);
        let category = likely
            .map_or(String::new(), |scores| format!(", for {} ({:.0} %)", scores.category, 100.0 * scores.confidence));
        let count = match parts.len() {
            1 => "1 part".into(),
            count => format!("{count} parts"),
        };
        format!("{output}: {}{share}, {count}{category}\n", length(played))
    }
}
