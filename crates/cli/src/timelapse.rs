//! `desumnet timelapse`: all of a video, fast where little happens.

use std::{error::Error, time::Duration};

use clap::ValueEnum;
use desumnet_decide::{
    pace::{Target, by_paper, by_score},
    plan::Plan,
};
use desumnet_offline::VideoScores;

use crate::{
    inputs::Inputs,
    length::{length, ns, room},
    scoring::Cached,
    summarise::{How, Output},
};

/// How segments get their speeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Formula {
    /// One over the speed in proportion to the score, within bounds, and without jumps
    Score,
    /// The paper's own: of each segment, 1 - score / sum of scores is left out, whatever length comes of it
    Paper,
}

/// What becomes of the sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Audio {
    /// There is none
    Drop,
    /// It is sped up with its pitch kept, and silent where the video is more than twice as fast
    Scale,
}

/// Plays all of a video fast, and less fast where it matters
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    inputs: Inputs,
    /// How many times faster than the video, over all
    #[arg(long, conflicts_with = "length")]
    speed: Option<f64>,
    /// Longest the time-lapse may be: 30s, 1m30s
    #[arg(long, value_parser = length)]
    length: Option<Duration>,
    /// Slowest a segment may play
    #[arg(long, default_value_t = 1.0)]
    min_speed: f64,
    /// Fastest a segment may play [default: four times the speed over all, for the dullest]
    #[arg(long)]
    max_speed: Option<f64>,
    /// How segments get their speeds
    #[arg(long, value_enum, default_value_t = Formula::Score)]
    formula: Formula,
    /// What becomes of the sound
    #[arg(long, value_enum, default_value_t = Audio::Drop)]
    audio: Audio,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    scoring: Cached,
}

pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    args.output.of_each(
        "timelapse",
        &args.inputs,
        &args.scoring,
        How { sound: args.audio == Audio::Scale, copy: false },
        |scores, _| args.plan(scores),
        &[],
    )
}

impl Args {
    fn plan(&self, scores: &VideoScores) -> Result<Plan, Box<dyn Error>> {
        let segments = scores.scored();
        let target = match (self.formula, self.speed, self.length) {
            (Formula::Paper, None, None) => return Ok(by_paper(&segments)?),
            (Formula::Paper, ..) => {
                return Err("the paper's formula has a length of its own: leave --speed and --length out".into());
            }
            (_, Some(speed), _) => Target::Speed(speed),
            (_, None, Some(length)) => Target::Length(room(ns(length), scores)),
            (_, None, None) => return Err("how fast? give --speed 8, or --length 30s".into()),
        };
        Ok(by_score(&segments, target, self.min_speed, self.max_speed.unwrap_or(f64::INFINITY))?)
    }
}
