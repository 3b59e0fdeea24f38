//! Scores of a video: the settings that all verbs share, progress, and the cache.

use std::{error::Error, path::PathBuf};

use desumnet_engine::{Category, Engine, network::head::HeadFile};
use desumnet_engine::{
    importance::{Aggregation, Form},
    models,
    named::{Named, named},
    network::{Device, Precision},
};
use desumnet_frames::segmenter::Stride;
use desumnet_media::decode::local_path;
use desumnet_offline::{
    score_cache::{Key, ScoreCache},
    {self, Options, VideoScores},
};
use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use desumnet_command_line::tell::say;

/// The network, and what it sees of a video.
#[derive(clap::Args)]
pub struct Looking {
    /// Model file, head that `desumnet teach` made, or TorchScript with its JSON file beside it [default: the one that comes with the
    /// plugin]
    #[arg(long)]
    model: Option<PathBuf>,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: Device,
    /// auto, f32, bf16 or f16
    #[arg(long, default_value = "auto", value_parser = named::<Precision>)]
    pub precision: Precision,
    /// Sample every n-th frame (0 = so that about 25-30 a second are sampled)
    #[arg(long, default_value_t = 0)]
    frame_stride: u32,
}

impl Looking {
    /// The model's file.
    pub fn model(&self) -> Result<PathBuf, Box<dyn Error>> {
        let model = self.model.clone().or_else(models::default_model);
        Ok(model
            .ok_or("no model: models/desumnet.safetensors is neither in the source tree nor installed; give --model")?)
    }

    pub fn stride(&self) -> Stride {
        Stride::from_setting(self.frame_stride)
    }
}

/// The yardstick that segments are scored by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Yardstick {
    Category,
    /// Departure from the usual of the stream.
    Usual,
    /// A head: the score is the probability that the segment is wanted.
    Head,
    /// Of a category while one fits, else departure from the usual.
    Either,
}

#[derive(clap::Args)]
pub struct Scoring {
    #[command(flatten)]
    looking: Looking,
    /// Category to score for: auto, or a name of the model's
    #[arg(long, default_value = "auto")]
    category: String,
    /// What is differentiated: logit or probability (the paper's Equation 1, of a category), weighted (our choice: the category's
    /// probability times the logit's gradient), unusual (our choice: how far a segment departs from what the video usually shows), or auto:
    /// weighted where a category fits the video, as far as the model tells, and else unusual
    #[arg(long, default_value = "auto", value_parser = named::<Form>)]
    importance: Form,
    /// How frame scores make a segment's: mean or max
    #[arg(long, default_value = "mean", value_parser = named::<Aggregation>)]
    aggregation: Aggregation,
    /// Score every n-th segment; those between have the scores of the one before
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    interval: u64,
}

impl Scoring {
    fn options(&self) -> Result<Options, Box<dyn Error>> {
        Ok(Options {
            model: self.looking.model()?,
            device: self.looking.device,
            precision: self.looking.precision,
            category: self.category.clone(),
            form: self.importance,
            aggregation: self.aggregation,
            stride: self.looking.stride(),
            interval: self.interval,
        })
    }

    /// The yardstick: a head's is what it was taught, whatever importance is asked for.
    pub fn yardstick(&self) -> Result<Yardstick, Box<dyn Error>> {
        Ok(match self.importance {
            _ if HeadFile::read(&self.looking.model()?)?.is_some() => Yardstick::Head,
            Form::Unusual => Yardstick::Usual,
            Form::Auto => Yardstick::Either,
            _ => Yardstick::Category,
        })
    }

    /// The element that scores so and posts a message per segment. What is wrong with the settings is found out here.
    pub fn element(&self) -> Result<gst::Element, Box<dyn Error>> {
        let options = self.options()?;
        let engine = Engine::shared(&options.model, options.device, options.precision)?;
        Category::named(&options.category, &engine.header.categories)?;
        let element = gst::ElementFactory::make("desumnet")
            .property("model", options.model.to_str().ok_or("the model's path is not UTF-8: rename it")?)
            .property("device", options.device.to_string())
            .property_from_str("precision", options.precision.name())
            .property("category", options.category)
            .property_from_str("importance", options.form.name())
            .property_from_str("aggregation", options.aggregation.name())
            .property("frame-stride", self.looking.frame_stride)
            .property("interval", u32::try_from(self.interval)?)
            .property_from_str("mode", "observe")
            .build()?;
        Ok(element)
    }
}

/// What is scored once and kept.
#[derive(clap::Args)]
pub struct Cached {
    #[command(flatten)]
    scoring: Scoring,
    /// Score anew, and keep no scores for the next time
    #[arg(long)]
    no_cache: bool,
}

impl Cached {
    /// The video's scores, from the cache where they are there. Says so if it has fewer pictures than it tells.
    pub fn scores(&self, video: &str) -> Result<VideoScores, Box<dyn Error>> {
        let scores = self.cached_scores(video)?;
        if scores.lack_ns().is_some() {
            let [end, told] = [scores.duration_ns, scores.told_ns].map(|ns| ns as f64 / 1e9);
            say(format_args!(
                "{video}: its pictures end at {end:.1} s, though it tells of {told:.1} s: the rest has none, or can't be read"
            ));
        }
        Ok(scores)
    }

    fn cached_scores(&self, video: &str) -> Result<VideoScores, Box<dyn Error>> {
        let options = self.scoring.options()?;
        // What can't be read through for a key is scored all the same, or says why it can't be.
        let file = local_path(video).filter(|path| !self.no_cache && path.is_file());
        let key = file.and_then(|path| Key::new(&path, &options).ok());
        let cache = ScoreCache::of_user();
        if let Some(scores) = key.as_ref().and_then(|key| cache.load(key, video, &options.model)) {
            say(format_args!("{video}: scored before (--no-cache scores it anew)"));
            return Ok(scores);
        }
        let bar = bar();
        let scores = desumnet_offline::score(video, &options, |at| {
            bar.set_prefix(if at.pass == at.passes { "scoring" } else { "finding the category" });
            // The second pass has a speed of its own.
            if at.position < bar.position() * MS {
                bar.reset();
            }
            bar.set_length(at.duration.max(at.position) / MS);
            bar.set_position(at.position / MS);
        })?;
        bar.finish_and_clear();
        if let Some(Err(error)) = key.map(|key| cache.store(&key, &scores)) {
            say(format_args!(
                "{video}: the scores can't be kept for the next time: {error}; check XDG_CACHE_HOME and the free disk space"
            ));
        }
        Ok(scores)
    }
}

/// ns in a step of the progress bar.
pub const MS: u64 = 1_000_000;

/// Progress through a video, in ms, with how many times faster than it plays.
pub fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {percent} %  {speed}  {eta} left").map(|style| {
        style.with_key("speed", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = write!(out, "{:.1}x", state.per_sec() / 1e3);
        })
    });
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
