//! `desumnet skim`: the moments that matter most, at normal speed.

use std::{error::Error, time::Duration};

use clap::{ArgGroup, ValueEnum};
use desumnet_decide::{
    choose::Choice,
    cluster::clusters,
    offline::skim,
    plan::Plan,
    shot_scores::{Scored, at_least, score_shots},
};
use desumnet_media::{cut::copy::Grid, stills::stills};
use desumnet_offline::VideoScores;

use crate::{
    inputs::Inputs,
    length::{length, ns, ratio, room},
    reports::Kind,
    scoring::Cached,
    summarise::{How, Output},
};
use desumnet_command_line::tell::say;

/// How shots are chosen.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Choose {
    /// By falling score, as in the paper
    Greedy,
    /// So that the scores of what plays come to the most
    Knapsack,
    /// By falling score, but shots that look alike wait for each other
    Diverse,
}

/// Cuts the shots that matter most out of a video, with their sound
///
/// Scores are kept for the next time: another length of the same video is cut at once.
#[derive(clap::Args)]
#[command(group = ArgGroup::new("how-long").required(true).args(["length", "ratio", "plan"]))]
pub struct Args {
    #[command(flatten)]
    inputs: Inputs,
    /// Longest the skim may be: 60s, 1m30s
    #[arg(long, value_parser = length)]
    length: Option<Duration>,
    /// Largest share of the video: 15% or 0.15
    #[arg(long, value_parser = ratio)]
    ratio: Option<f64>,
    /// How shots are chosen
    #[arg(long, value_enum, default_value_t = Choose::Greedy)]
    choose: Choose,
    /// Shortest part: shorter shots are joined to their neighbours
    #[arg(long, default_value = "2s", value_parser = length)]
    min_clip: Duration,
    /// Copy from key frame to key frame without encoding anew: fast, and no picture loses quality
    #[arg(long)]
    copy: bool,
    /// Leave the sound out
    #[arg(long)]
    no_sound: bool,
    /// Write these beside the skim
    #[arg(long, value_enum, value_delimiter = ',', value_name = "KIND,..", conflicts_with = "plan")]
    report: Vec<Kind>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    scoring: Cached,
}

pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let choose = |scores: &VideoScores, grid: Option<&Grid>| args.plan(scores, grid);
    let how = How { sound: !args.no_sound, copy: args.copy };
    args.output.of_each("skim", &args.inputs, &args.scoring, how, choose, &args.report)
}

impl Args {
    fn plan(&self, scores: &VideoScores, grid: Option<&Grid>) -> Result<Plan, Box<dyn Error>> {
        let asked = match (self.length, self.ratio) {
            (Some(length), _) => ns(length),
            (None, ratio) => (scores.duration_ns as f64 * ratio.unwrap_or(1.0)) as u64,
        };
        let whole = asked >= scores.duration_ns;
        if whole {
            say(format_args!("{} is no longer than that: all of it is taken", scores.video));
        }
        let room = if whole { asked } else { room(asked, scores) };
        let shots = match grid {
            Some(grid) => score_shots(&grid.fit(&scores.shots), &scores.scored()),
            None => scores.shots.clone(),
        };
        let shots = at_least(shots, ns(self.min_clip));
        let alike;
        let choice = match self.choose {
            Choose::Greedy => Choice::Greedy,
            Choose::Knapsack => Choice::Knapsack,
            Choose::Diverse => {
                alike = alike_shots(&scores.video, &shots, room)?;
                Choice::Diverse(&alike)
            }
        };
        let plan = skim(&shots, &scores.scored(), room, choice)?;
        match grid {
            Some(grid) if !grid.holds(&plan) => Err("no shot between key frames is short enough for that length: \
                give a longer one, or leave --copy out"
                .into()),
            Some(grid) => Ok(grid.close(&plan, asked.min(scores.duration_ns))?),
            None => Ok(plan),
        }
    }
}

/// Shots by what they look like: as many kinds as the skim has room for shots of the usual length.
fn alike_shots(video: &str, shots: &[Scored], room: u64) -> Result<Vec<usize>, Box<dyn Error>> {
    let middles: Vec<u64> = shots.iter().map(|shot| shot.start_ns + shot.duration_ns / 2).collect();
    let layouts: Vec<Vec<f32>> = stills(video, &middles)?.into_iter().map(|still| still.layout).collect();
    let usual = shots.iter().map(|shot| shot.duration_ns).sum::<u64>() / shots.len().max(1) as u64;
    Ok(clusters(&layouts, room.div_ceil(usual.max(1)) as usize))
}
