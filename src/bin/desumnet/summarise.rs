//! What `skim` and `timelapse` share: from a plan to a file, and what is told of it.

use std::{
    error::Error,
    path::{Path, PathBuf},
};

use gstdesumnet::{
    cut::{Container, Job, Lack, copy::Grid, cut},
    offline::VideoScores,
    report::document,
    summary::plan::Plan,
};
use serde_json::json;

use crate::{
    inputs::{Inputs, StdoutFormat, stem},
    scoring::{Cached, MS, bar},
};

#[derive(clap::Args)]
pub struct Output {
    /// File to write: mp4, m4v, mov, mkv or webm. Of several videos, a folder, where each gets an mp4 file
    #[arg(short, long, value_name = "FILE|DIR")]
    output: PathBuf,
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

/// A video on its way to its summary.
pub struct Summarised {
    pub output: PathBuf,
    pub plan: Plan,
    /// None where a plan was given.
    pub scores: Option<VideoScores>,
}

impl Output {
    /// Makes a summary of each video by its plan, which `choose` makes of its scores, and tells about it. `verb` names outputs in
    /// a folder. `then` follows when the file is there.
    pub fn of_each(
        &self,
        verb: &str,
        inputs: &Inputs,
        scoring: &Cached,
        how: How,
        choose: impl Fn(&VideoScores, Option<&Grid>) -> Result<Plan, Box<dyn Error>>,
        then: impl Fn(&Summarised) -> Result<(), Box<dyn Error>>,
    ) -> Result<(), Box<dyn Error>> {
        inputs.each(|video, several| {
            if several && (self.plan.is_some() || self.save_plan.is_some()) {
                return Err("a plan is of one video: give a single one with --plan or --save-plan".into());
            }
            let output = self.place(verb, video, several)?;
            // What can't be written is found out before an hour of scoring.
            Container::of(&output)?;
            if same_file(&output, video) {
                return Err(format!("{video} is both the input and the output: give another --output").into());
            }
            let grid = how.copy.then(|| Grid::of(video)).transpose()?;
            let (plan, scores) = match (&self.plan, &grid) {
                (Some(path), Some(grid)) => {
                    let plan = Plan::read(path)?;
                    if let Some(lack) = Lack::of_pictures(grid.lacks(&plan)) {
                        eprintln!("{video}: {lack}");
                    }
                    (grid.close(&grid.fit_plan(&plan)?, u64::MAX)?, None)
                }
                (Some(path), None) => (Plan::read(path)?, None),
                (None, grid) => {
                    let scores = scoring.scores(video)?;
                    (choose(&scores, grid.as_ref()).map_err(|e| format!("{video}: {e}"))?, Some(scores))
                }
            };
            if how.copy && plan.parts().iter().any(|part| part.speed != 1.0) {
                return Err("what is copied can't play faster: leave --copy out, or the plan's speeds".into());
            }
            if let Some(path) = &self.save_plan {
                document::write(path, &plan)?;
            }
            let bar = bar();
            bar.set_prefix("cutting");
            bar.set_length(plan.played_ns() / MS);
            let job = Job { video, plan: &plan, output: &output, sound: how.sound, copy: grid.as_ref() };
            let lacks = cut(&job, |position| bar.set_position(position / MS))?;
            bar.finish_and_clear();
            for lack in lacks {
                eprintln!("{video}: {lack}");
            }
            let made = Summarised { output, plan, scores };
            then(&made)?;
            made.tell(video, inputs.stdout_format);
            Ok(())
        })
    }

    fn place(&self, verb: &str, video: &str, several: bool) -> Result<PathBuf, Box<dyn Error>> {
        if !(several || self.output.is_dir()) {
            return Ok(self.output.clone());
        }
        let unmade = |e| format!("{} can't be made: {e}; of several videos, give a folder", self.output.display());
        std::fs::create_dir_all(&self.output).map_err(unmade)?;
        Ok(self.output.join(format!("{}-{verb}.mp4", stem(video))))
    }
}

fn same_file(output: &Path, video: &str) -> bool {
    let canonical = |path: &Path| path.canonicalize().ok();
    canonical(output).is_some_and(|output| canonical(Path::new(video)) == Some(output))
}

impl Summarised {
    fn tell(&self, video: &str, format: StdoutFormat) {
        let (output, parts, played) = (self.output.display().to_string(), self.plan.parts(), self.plan.played_ns());
        let duration = self.scores.as_ref().map(|scores| scores.duration_ns);
        if format == StdoutFormat::Json {
            let category = self.scores.as_ref().map(|scores| &scores.category);
            let confidence = self.scores.as_ref().map(|scores| scores.confidence);
            let document = json!({
                "video": video, "output": output, "duration_ns": duration, "output_duration_ns": played,
                "category": category, "confidence": confidence, "parts": parts,
            });
            println!("{document}");
            return;
        }
        let share = duration.map_or(String::new(), |whole| {
            format!(" of {} ({:.0} %)", clock(whole), 100.0 * played as f64 / whole.max(1) as f64)
        });
        let category = self.scores.as_ref().map_or(String::new(), |scores| format!(", for {}", scores.category));
        let count = match parts.len() {
            1 => "1 part".into(),
            count => format!("{count} parts"),
        };
        println!("{output}: {}{share}, {count}{category}", clock(played));
    }
}

/// `1:02.5`
fn clock(ns: u64) -> String {
    let tenths = (ns + 50_000_000) / 100_000_000;
    format!("{}:{:02}.{}", tenths / 600, tenths / 10 % 60, tenths % 10)
}
