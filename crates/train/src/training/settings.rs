//! Settings of training and what follows from them: phases and the learning rate.

use std::str::FromStr;

use clap::ValueEnum;

use super::{augment::Augmentation, optimizer::Method};
use desumnet_frames::clip::{CROP, FRAMES};

/// Share of the work over which the learning rate rises.
const WARM_UP: f64 = 0.15;

/// How the learning rate falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// To a tenth after every `--step-epochs` (paper, section 4).
    Step,
    /// Up from 0 over the first part of the run, then down to 0 along half a cosine.
    Cosine,
}

/// Cheap epochs on small clips, `SIDExFRAMES:EPOCHS`: pixels a side, frames a clip (16, or 8 for every second one).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Phase {
    pub side: usize,
    pub frames: usize,
    pub epochs: usize,
}

impl Phase {
    /// What an epoch costs beside others: pixels of a clip.
    fn cost(&self) -> f64 {
        (self.side * self.side * self.frames) as f64
    }
}

impl FromStr for Phase {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (clip, epochs) = text.split_once(':')?;
            let (side, frames) = clip.split_once('x')?;
            Some(Self { side: side.parse().ok()?, frames: frames.parse().ok()?, epochs: epochs.parse().ok()? })
        };
        let phase = parse().ok_or_else(|| format!("`{text}` is not SIDExFRAMES:EPOCHS, for example 56x16:10"))?;
        if !(32..=CROP).contains(&phase.side) || ![8, FRAMES].contains(&phase.frames) {
            return Err(format!("`{text}`: the side must be 32 to {CROP} pixels, the frames 8 or {FRAMES}"));
        }
        Ok(phase)
    }
}

/// Clips of a video in an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClipsPerVideo {
    /// All that share no frame.
    All,
    /// So many from random places.
    Drawn(usize),
}

impl FromStr for ClipsPerVideo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            _ if text == "all" => Ok(Self::All),
            Ok(clips) if clips > 0 => Ok(Self::Drawn(clips)),
            _ => Err("give `all`, or a whole number of at least 1".into()),
        }
    }
}

impl std::fmt::Display for ClipsPerVideo {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Drawn(clips) => clips.fmt(f),
        }
    }
}

impl serde::Serialize for ClipsPerVideo {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => serializer.serialize_str("all"),
            Self::Drawn(clips) => serializer.serialize_u64(*clips as u64),
        }
    }
}

/// Settings of a run: flags that all training verbs have, with the paper's values for pre-training as defaults.
#[derive(Clone, Debug, clap::Args, serde::Serialize)]
pub struct Settings {
    /// Passes over the videos with whole clips (paper, section 4: 15)
    #[arg(long, default_value_t = 15)]
    pub epochs: usize,
    /// Epochs before those on small clips, which cost less: SIDExFRAMES:EPOCHS,... (our choice: progressive resizing)
    #[arg(long, value_delimiter = ',', value_name = "PHASES")]
    pub small: Vec<Phase>,
    /// Clips of each video in an epoch: `all` that share no frame (as in the paper's reference 60), or so many from random places
    /// (our choice for short runs)
    #[arg(long, value_name = "all|N", default_value_t = ClipsPerVideo::All)]
    pub clips_per_video: ClipsPerVideo,
    /// Clips in a minibatch, at least 2 (paper, section 4: 50)
    #[arg(long, default_value_t = 50, value_parser = several)]
    pub batch: usize,
    /// What makes a step of a gradient (paper, section 4: sgd)
    #[arg(long, value_enum, default_value_t = Method::Sgd)]
    pub optimizer: Method,
    /// First (step) or highest (cosine) learning rate (paper, section 4: 0.003)
    #[arg(long, default_value_t = 0.003, value_parser = above_zero)]
    pub learning_rate: f64,
    /// How the learning rate falls (paper, section 4: step)
    #[arg(long, value_enum, default_value_t = Schedule::Step)]
    pub schedule: Schedule,
    /// Epochs, small ones too, between falls of the learning rate (paper, section 4: 4)
    #[arg(long, default_value_t = 4, value_parser = positive)]
    pub step_epochs: usize,
    /// Momentum of SGD (paper, section 4: 0.9)
    #[arg(long, default_value_t = 0.9, value_parser = share)]
    pub momentum: f64,
    /// Weight decay (paper, section 4: 0.005)
    #[arg(long, default_value_t = 0.005, value_parser = share)]
    pub weight_decay: f64,
    /// Longest gradient, over all weights, that a step takes; longer ones are shortened to it (our choice) [default: any]
    #[arg(long, value_parser = above_zero)]
    pub clip_norm: Option<f64>,
    /// Share of the target that is spread over all categories (our choice)
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    pub label_smoothing: f64,
    /// Mix each clip with another of its minibatch, a share of it drawn from Beta(A, A), and what they show alike (Zhang et al., 2018: mixup;
    /// our choice). 0: not at all
    #[arg(long, value_name = "A", default_value_t = 0.0, value_parser = mixup)]
    pub mixup: f64,
    /// As many clips of each category in an epoch: rare ones more often, frequent ones not all (our choice)
    #[arg(long)]
    pub balance: bool,
    /// Measure and write the running mean of the weights, of which each step keeps this share: 0.99, say (our choice) [default: the last
    /// step's weights]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub average: Option<f64>,
    /// Ways of changing clips, by commas; or none (paper, section 3.2: crop, flip, scale and corner)
    #[arg(long, default_value = "crop,flip,scale,corner", value_parser = augmentations)]
    pub augment: Augmentations,
    /// Seed of everything that is random
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// The ways that are switched on.
pub type Augmentations = Vec<Augmentation>;

fn augmentations(text: &str) -> Result<Augmentations, String> {
    if text == "none" {
        return Ok(Vec::new());
    }
    text.split(',').map(|name| Augmentation::from_str(name, false)).collect::<Result<_, _>>().map_err(|reason| {
        format!("{reason}; use some of crop, flip, scale, corner, colour and erase with commas between, or none")
    })
}

/// A flag's whole number of at least 1.
pub fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&n| n > 0).ok_or_else(|| "give a whole number of at least 1".into())
}

/// Batch normalisation needs company.
fn several(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&n| n > 1).ok_or_else(|| "give a whole number of at least 2".into())
}

/// A flag's number above 0.
pub fn above_zero(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|n: &f64| *n > 0.0 && n.is_finite()).ok_or_else(|| "give a number above 0".into())
}

/// A flag's share, from 0 to below 1.
pub fn share(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|n| (0.0..1.0).contains(n)).ok_or_else(|| "give a number from 0 to below 1".into())
}

/// Of a smaller A than this, no two clips would be mixed.
fn mixup(text: &str) -> Result<f64, String> {
    let fits = |a: &f64| *a == 0.0 || (0.01..1.0).contains(a);
    text.parse().ok().filter(fits).ok_or_else(|| "give 0, or a number from 0.01 to below 1".into())
}

impl Settings {
    /// Small clips first, then whole ones.
    fn phases(&self) -> Vec<Phase> {
        let whole = Phase { side: CROP, frames: FRAMES, epochs: self.epochs };
        self.small.iter().copied().chain([whole]).collect()
    }

    /// Epochs of all phases.
    pub fn all_epochs(&self) -> usize {
        self.phases().iter().map(|phase| phase.epochs).sum()
    }

    /// The clips of an epoch.
    pub fn phase(&self, epoch: usize) -> Phase {
        let mut before = 0;
        let phases = self.phases();
        let found = phases.iter().find(|phase| {
            before += phase.epochs;
            epoch < before
        });
        *found.unwrap_or(&phases[phases.len() - 1])
    }

    /// Share of the work that is over after `done` epochs, fractions included; small clips count less.
    pub fn share_done(&self, done: f64) -> f64 {
        let (mut worked, mut work, mut left) = (0.0, 0.0, done);
        for phase in self.phases() {
            worked += phase.cost() * left.clamp(0.0, phase.epochs as f64);
            work += phase.cost() * phase.epochs as f64;
            left -= phase.epochs as f64;
        }
        worked / work
    }

    /// Learning rate when `done` (0 to [`Self::all_epochs`]) epochs are over, fractions included. The cosine runs over
    /// the work ([`Self::share_done`]).
    pub fn learning_rate_at(&self, done: f64) -> f64 {
        match self.schedule {
            Schedule::Step => self.learning_rate * 0.1f64.powi((done / self.step_epochs as f64).floor() as i32),
            Schedule::Cosine => {
                let share = self.share_done(done);
                let warm_up = (share / WARM_UP).min(1.0);
                let fall = ((share - WARM_UP) / (1.0 - WARM_UP)).max(0.0);
                self.learning_rate * warm_up * 0.5 * (1.0 + (std::f64::consts::PI * fall).cos())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        settings: Settings,
    }

    #[test]
    fn defaults_are_the_papers() {
        let s = Flags::parse_from(["test"]).settings;
        assert_eq!((s.epochs, s.batch, s.momentum, s.weight_decay), (15, 50, 0.9, 0.005));
        assert_eq!((s.clips_per_video, s.clip_norm, s.label_smoothing), (ClipsPerVideo::All, None, 0.0));
        assert!(s.small.is_empty() && s.optimizer == Method::Sgd);
        let rates: Vec<f64> = [0.0, 3.99, 4.0, 8.0, 14.9].iter().map(|&e| s.learning_rate_at(e)).collect();
        for (got, expected) in rates.iter().zip([3e-3, 3e-3, 3e-4, 3e-5, 3e-6]) {
            assert!((got / expected - 1.0).abs() < 1e-12, "{rates:?}");
        }
    }

    #[test]
    fn cosine_rises_and_falls_over_the_work() {
        let flags = ["test", "--schedule", "cosine", "--small", "56x16:60", "--epochs", "5", "--learning-rate", "0.1"];
        let s = Flags::parse_from(flags).settings;
        assert_eq!((s.all_epochs(), s.phase(59).side, s.phase(60).side), (65, 56, 112));
        // Small epochs count a quarter: the work is 60 / 4 + 5 = 20, its first 3 the warm-up.
        let rate = |e| s.learning_rate_at(e);
        assert_eq!(rate(0.0), 0.0);
        assert!((rate(6.0) - 0.05).abs() < 1e-12 && (rate(12.0) - 0.1).abs() < 1e-12);
        assert!((rate(46.0) - 0.05).abs() < 1e-12 && rate(65.0) < 1e-12);
    }

    #[test]
    fn clips_per_video_are_all_or_so_many() {
        for (text, clips) in [("all", ClipsPerVideo::All), ("3", ClipsPerVideo::Drawn(3))] {
            assert_eq!(text.parse(), Ok(clips));
            assert_eq!(clips.to_string(), text);
        }
        assert!(["0", "-1", "", "ALL"].iter().all(|wrong| wrong.parse::<ClipsPerVideo>().is_err()));
        let json = serde_json::json!([ClipsPerVideo::All, ClipsPerVideo::Drawn(3)]);
        assert_eq!(json.to_string(), r#"["all",3]"#);
    }

    #[test]
    fn phases_are_checked() {
        assert_eq!("40x8:12".parse::<Phase>().unwrap(), Phase { side: 40, frames: 8, epochs: 12 });
        for wrong in ["40x8", "40:8", "8x16:1", "113x16:1", "56x4:1", "x"] {
            assert!(wrong.parse::<Phase>().is_err(), "{wrong}");
        }
    }
}
