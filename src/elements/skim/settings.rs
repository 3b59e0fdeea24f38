//! Properties of `desumskim`.

use std::{path::PathBuf, sync::LazyLock};

use glib::prelude::*;

use super::lane::Manner;
use desumnet_decide::{
    follow::Follower,
    live::Live,
    online,
    plan::{Plan, PlanFileError},
    timelapse::TimeLapse,
};

/// What is made of the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "DeSumNetSkimMode")]
pub enum Mode {
    /// The best moments, at normal speed.
    #[default]
    #[enum_value(name = "The most important segments, at normal speed", nick = "skim")]
    Skim,
    /// All of it, fast where little happens.
    #[enum_value(name = "Some frames of every segment, more where it matters", nick = "timelapse")]
    Timelapse,
}

/// What becomes of sound in parts that play faster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "DeSumNetSkimAudio")]
pub enum Audio {
    /// Silence.
    #[default]
    #[enum_value(name = "Silent where the video plays faster", nick = "drop")]
    Drop,
    /// It is sped up, too.
    #[enum_value(
        name = "Sped up with the pitch kept, up to twice as fast; silent where the video plays faster than that",
        nick = "scale"
    )]
    Scale,
}

const DEFAULT_SPEED: f64 = 8.0;
const DEFAULT_LOOK_AHEAD: u64 = 5_000_000_000;
/// Longest time that can be asked for, ns: an hour.
const LONGEST: u64 = 3_600_000_000_000;
/// Highest speed that can be asked for.
const FASTEST: f64 = 10_000.0;

#[derive(Clone, Debug)]
pub struct Settings {
    pub mode: Mode,
    pub plan: Option<PathBuf>,
    pub retime: bool,
    pub audio: Audio,
    /// Of `mode=skim`.
    pub skim: online::Settings,
    /// Of `mode=timelapse`.
    pub speed: f64,
    pub min_speed: f64,
    pub max_speed: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            plan: None,
            retime: true,
            audio: Audio::default(),
            skim: online::Settings { look_ahead: DEFAULT_LOOK_AHEAD, ..Default::default() },
            speed: DEFAULT_SPEED,
            min_speed: 1.0,
            max_speed: FASTEST,
        }
    }
}

/// What decides.
#[derive(Debug)]
pub enum Decider {
    /// By the scores as they come.
    Live(Box<Live>),
    Plan(Follower),
}

/// Why nothing can decide.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error(transparent)]
    Plan(#[from] PlanFileError),
    #[error("max-clip is shorter than min-clip, so that no clip can be right: make it longer")]
    Clips,
    #[error("speed {speed} is not between min-speed {min} and max-speed {max}: move one of them")]
    Speeds { speed: f64, min: f64, max: f64 },
}

pub static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
    use glib::{
        ParamSpecBoolean as Boolean, ParamSpecDouble as Double, ParamSpecEnum as Enum, ParamSpecString as Text,
        ParamSpecUInt64 as UInt64,
    };
    use gst::prelude::GstParamSpecBuilderExt;
    let defaults = Settings::default();
    let speed = |name, nick, blurb, default| {
        Double::builder(name)
            .nick(nick)
            .blurb(blurb)
            .minimum(1.0)
            .maximum(FASTEST)
            .default_value(default)
            .mutable_ready()
            .build()
    };
    let time = |name, nick, blurb, default| {
        UInt64::builder(name).nick(nick).blurb(blurb).maximum(LONGEST).default_value(default).mutable_ready().build()
    };
    vec![
        Enum::builder_with_default("mode", Mode::default())
            .nick("Mode")
            .blurb("What is made of the stream, where there is no plan")
            .mutable_ready()
            .build(),
        Text::builder("plan")
            .nick("Plan")
            .blurb("Plan file to follow instead of the scores: which parts of the video play, and how fast (unset: none)")
            .mutable_ready()
            .build(),
        Boolean::builder("retime")
            .nick("Retime")
            .blurb("Close the gaps in the timestamps (false: what is kept keeps its timestamps, and gap events stand for the rest)")
            .default_value(defaults.retime)
            .mutable_ready()
            .build(),
        Enum::builder_with_default("audio", Audio::default())
            .nick("Audio")
            .blurb("What becomes of raw sound where the video plays faster (with retime=false, it is left out there)")
            .mutable_ready()
            .build(),
        Double::builder("ratio")
            .nick("Ratio")
            .blurb("mode=skim: share of the playing time to keep")
            .minimum(0.001)
            .maximum(1.0)
            .default_value(defaults.skim.ratio)
            .mutable_ready()
            .build(),
        time(
            "look-ahead",
            "Look-ahead",
            "mode=skim: time that frames wait in memory for what comes after them (ns, 0 = decide as each segment begins)",
            defaults.skim.look_ahead,
        ),
        time("min-clip", "Shortest clip", "mode=skim: shortest clip (ns)", defaults.skim.min_clip),
        time("max-clip", "Longest clip", "mode=skim: longest clip (ns)", defaults.skim.max_clip),
        time("pre-roll", "Pre-roll", "mode=skim: kept of what comes before an important moment (ns)", defaults.skim.pre_roll),
        time("post-roll", "Post-roll", "mode=skim: kept of what comes after an important moment (ns)", defaults.skim.post_roll),
        time("merge-gap", "Merge gap", "mode=skim: least time between two clips (ns)", defaults.skim.merge_gap),
        speed("speed", "Speed", "mode=timelapse: how many times faster than the input, over all", defaults.speed),
        speed("min-speed", "Lowest speed", "mode=timelapse: speed that no segment is slower than", defaults.min_speed),
        speed("max-speed", "Highest speed", "mode=timelapse: speed that no segment is faster than", defaults.max_speed),
    ]
});

impl Settings {
    /// # Panics
    /// On a property that is not in [`PROPERTIES`] or of another type, which GObject rules out.
    pub fn set(&mut self, name: &str, value: &glib::Value) {
        fn get<'v, T: glib::value::FromValue<'v>>(value: &'v glib::Value) -> T
        where
            T::Checker: glib::value::ValueTypeChecker<Error: std::fmt::Debug>,
        {
            value.get().expect("GObject checked the type")
        }
        match name {
            "mode" => self.mode = get(value),
            "plan" => self.plan = get::<Option<String>>(value).filter(|path| !path.is_empty()).map(PathBuf::from),
            "retime" => self.retime = get(value),
            "audio" => self.audio = get(value),
            "ratio" => self.skim.ratio = get(value),
            "look-ahead" => self.skim.look_ahead = get(value),
            "min-clip" => self.skim.min_clip = get(value),
            "max-clip" => self.skim.max_clip = get(value),
            "pre-roll" => self.skim.pre_roll = get(value),
            "post-roll" => self.skim.post_roll = get(value),
            "merge-gap" => self.skim.merge_gap = get(value),
            "speed" => self.speed = get(value),
            "min-speed" => self.min_speed = get(value),
            "max-speed" => self.max_speed = get(value),
            _ => unreachable!("no property {name}"),
        }
    }

    /// # Panics
    /// As [`Self::set`].
    pub fn get(&self, name: &str) -> glib::Value {
        match name {
            "mode" => self.mode.to_value(),
            "plan" => self.plan.as_ref().map(|path| path.to_string_lossy().into_owned()).to_value(),
            "retime" => self.retime.to_value(),
            "audio" => self.audio.to_value(),
            "ratio" => self.skim.ratio.to_value(),
            "look-ahead" => self.skim.look_ahead.to_value(),
            "min-clip" => self.skim.min_clip.to_value(),
            "max-clip" => self.skim.max_clip.to_value(),
            "pre-roll" => self.skim.pre_roll.to_value(),
            "post-roll" => self.skim.post_roll.to_value(),
            "merge-gap" => self.skim.merge_gap.to_value(),
            "speed" => self.speed.to_value(),
            "min-speed" => self.min_speed.to_value(),
            "max-speed" => self.max_speed.to_value(),
            _ => unreachable!("no property {name}"),
        }
    }

    /// What decides by these settings.
    ///
    /// # Errors
    /// [`SettingsError`]: the plan can't be read, or settings contradict each other.
    pub fn decider(&self) -> Result<Decider, SettingsError> {
        if let Some(plan) = &self.plan {
            return Ok(Decider::Plan(Follower::new(&Plan::read(plan)?)));
        }
        let (speed, min, max) = (self.speed, self.min_speed, self.max_speed);
        match self.mode {
            Mode::Skim if self.skim.max_clip < self.skim.min_clip => Err(SettingsError::Clips),
            Mode::Skim => Ok(Decider::Live(Box::new(Live::skim(self.skim)))),
            Mode::Timelapse if !(min..=max).contains(&speed) => Err(SettingsError::Speeds { speed, min, max }),
            Mode::Timelapse => Ok(Decider::Live(Box::new(Live::time_lapse(TimeLapse::new(speed, min, max))))),
        }
    }

    /// How streams beside the video are treated.
    pub fn manner(&self) -> Manner {
        Manner { in_place: !self.retime, scales: self.audio == Audio::Scale }
    }

    /// How long frames wait for what comes after them, ns; `None` if they don't.
    pub fn waits(&self) -> Option<u64> {
        let waits = self.plan.is_none() && self.mode == Mode::Skim && self.skim.look_ahead > 0;
        waits.then_some(self.skim.look_ahead)
    }
}
