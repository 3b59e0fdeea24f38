//! Properties of `desumnet`.

use std::{path::PathBuf, sync::LazyLock, time::Duration};

use glib::prelude::*;

use super::enums;

use desumnet_engine::{
    Batching,
    importance::{Aggregation, Form},
    models,
    network::{Device, DeviceError, Precision},
};

/// What happens to buffers while their segment is scored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "DeSumNetMode")]
pub enum Mode {
    /// They wait, and carry the score when they go on.
    #[default]
    #[enum_value(name = "Buffers wait for their score and carry it", nick = "annotate")]
    Annotate,
    /// They go straight on; scores are posted as messages.
    #[enum_value(name = "Buffers go straight on; scores are messages only", nick = "observe")]
    Observe,
}

const DEFAULT_DEADLINE: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub struct Settings {
    /// `None`: the default model.
    pub model: Option<PathBuf>,
    /// As given; read when the element starts, so that a mistake is reported then.
    pub device: String,
    pub precision: Precision,
    pub category: String,
    pub form: Form,
    pub aggregation: Aggregation,
    pub frame_stride: u32,
    pub interval: u32,
    pub mode: Mode,
    pub processing_deadline: Duration,
    pub post_messages: bool,
    pub map: bool,
    /// File of what the stream usually shows.
    pub usual_location: Option<PathBuf>,
    pub batching: Batching,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            model: None,
            device: Device::Auto.to_string(),
            precision: Precision::default(),
            category: "auto".into(),
            form: Form::default(),
            aggregation: Aggregation::default(),
            frame_stride: 0,
            interval: 1,
            mode: Mode::default(),
            processing_deadline: DEFAULT_DEADLINE,
            post_messages: false,
            map: false,
            usual_location: None,
            batching: Batching::default(),
        }
    }
}

/// The properties as GObject lists them; `stats` is the element's own.
pub static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
    use glib::{
        ParamSpecBoolean as Boolean, ParamSpecBoxed as Boxed, ParamSpecEnum as Enum, ParamSpecString as Text,
        ParamSpecUInt as UInt, ParamSpecUInt64 as UInt64,
    };
    use gst::prelude::GstParamSpecBuilderExt;
    let defaults = Settings::default();
    vec![
        Text::builder("model")
            .nick("Model")
            .blurb("Model file made by desumnet-train, head made by desumnet teach, or TorchScript with its JSON beside it (unset: models/desumnet.safetensors of the plugin)")
            .mutable_ready()
            .build(),
        Text::builder("device")
            .nick("Device")
            .blurb("Where the network runs: auto (a GPU where there is one), cpu, cuda or cuda:N")
            .default_value(Some("auto"))
            .mutable_ready()
            .build(),
        Enum::builder_with_default("precision", enums::Precision::from(defaults.precision))
            .nick("Precision")
            .blurb("Arithmetic of the network")
            .mutable_ready()
            .build(),
        Text::builder("category")
            .nick("Category")
            .blurb("Category to score for: a name of the model's, or auto (the one that leads the stream so far)")
            .default_value(Some("auto"))
            .mutable_ready()
            .build(),
        Enum::builder_with_default("importance", enums::Importance::from(defaults.form))
            .nick("Importance")
            .blurb("What is differentiated to get the importance: logit and probability are the paper's Equation 1 of a category; weighted, and unusual, which knows no categories and learns from the stream itself, are our choice; auto takes weighted where a category fits and unusual where none does")
            .mutable_ready()
            .build(),
        Enum::builder_with_default("aggregation", enums::Aggregation::from(defaults.aggregation))
            .nick("Aggregation")
            .blurb("How the scores of its frames make a segment's score")
            .mutable_ready()
            .build(),
        UInt::builder("frame-stride")
            .nick("Frame stride")
            .blurb("Sample every n-th frame (0 = so that about 25-30 a second are sampled)")
            .maximum(1_000)
            .mutable_ready()
            .build(),
        UInt::builder("interval")
            .nick("Interval")
            .blurb("Score every n-th segment of a stream; the others carry the last score, flagged. In a live pipeline fewer, while there is no time for more")
            .minimum(1)
            .maximum(10_000)
            .default_value(1)
            .mutable_ready()
            .build(),
        Enum::builder_with_default("mode", defaults.mode)
            .nick("Mode")
            .blurb("Whether buffers wait for their score")
            .mutable_ready()
            .build(),
        UInt64::builder("processing-deadline")
            .nick("Processing deadline")
            .blurb("Time, ns, that a segment's scoring may take in a live pipeline before its frames go on without it; part of the latency")
            .default_value(DEFAULT_DEADLINE.as_nanos() as u64)
            .mutable_playing()
            .build(),
        Boolean::builder("post-messages")
            .nick("Post messages")
            .blurb("Post an element message `desumnet-segment` per segment and `desumnet-shot` per shot (always so in mode=observe)")
            .mutable_playing()
            .build(),
        Boolean::builder("map")
            .nick("Map")
            .blurb("Put the importance map of every frame into its meta: where in the picture the importance lies")
            .mutable_ready()
            .build(),
        Text::builder("usual-location")
            .nick("Usual location")
            .blurb("File that keeps what the stream usually shows over a restart, for importance=unusual and auto (unset: it is learned anew). Written every ten minutes and at the end")
            .mutable_ready()
            .build(),
        UInt::builder("batch-size")
            .nick("Batch size")
            .blurb("Most segments, of all elements that share the model and device, that go through the network together (0 = 1 on a CPU, 8 on a GPU)")
            .maximum(64)
            .mutable_ready()
            .build(),
        UInt64::builder("batch-timeout")
            .nick("Batch timeout")
            .blurb("Time, ns, that a segment may wait for others to fill its batch; in a live pipeline only while it has time")
            .mutable_ready()
            .build(),
        Boxed::builder::<gst::Structure>("stats")
            .nick("Statistics")
            .blurb("Segments so far, how many were late, were given up unscored (shed), or failed; one in so many is scored now (interval); mean and worst inference time (ns)")
            .read_only()
            .build(),
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
        let text = |default: &str| get::<Option<String>>(value).unwrap_or_else(|| default.into());
        match name {
            "model" => self.model = get::<Option<String>>(value).filter(|path| !path.is_empty()).map(PathBuf::from),
            "device" => self.device = text("auto"),
            "precision" => self.precision = get::<enums::Precision>(value).into(),
            "category" => self.category = text("auto"),
            "importance" => self.form = get::<enums::Importance>(value).into(),
            "aggregation" => self.aggregation = get::<enums::Aggregation>(value).into(),
            "frame-stride" => self.frame_stride = get(value),
            "interval" => self.interval = get(value),
            "mode" => self.mode = get(value),
            "processing-deadline" => self.processing_deadline = Duration::from_nanos(get(value)),
            "post-messages" => self.post_messages = get(value),
            "map" => self.map = get(value),
            "usual-location" => {
                self.usual_location = get::<Option<String>>(value).filter(|path| !path.is_empty()).map(PathBuf::from);
            }
            "batch-size" => self.batching.size = get::<u32>(value) as usize,
            "batch-timeout" => self.batching.timeout = Duration::from_nanos(get(value)),
            _ => unreachable!("no property {name}"),
        }
    }

    /// # Panics
    /// As [`Self::set`].
    pub fn get(&self, name: &str) -> glib::Value {
        match name {
            "model" => self.model_path().map(|path| path.to_string_lossy().into_owned()).to_value(),
            "device" => self.device.to_value(),
            "precision" => enums::Precision::from(self.precision).to_value(),
            "category" => self.category.to_value(),
            "importance" => enums::Importance::from(self.form).to_value(),
            "aggregation" => enums::Aggregation::from(self.aggregation).to_value(),
            "frame-stride" => self.frame_stride.to_value(),
            "interval" => self.interval.to_value(),
            "mode" => self.mode.to_value(),
            "processing-deadline" => (self.processing_deadline.as_nanos() as u64).to_value(),
            "post-messages" => self.post_messages.to_value(),
            "map" => self.map.to_value(),
            "usual-location" => self.usual_location.as_ref().map(|path| path.to_string_lossy().into_owned()).to_value(),
            "batch-size" => (self.batching.size as u32).to_value(),
            "batch-timeout" => (self.batching.timeout.as_nanos() as u64).to_value(),
            _ => unreachable!("no property {name}"),
        }
    }

    /// The model that is used: the one set, else the default.
    pub fn model_path(&self) -> Option<PathBuf> {
        self.model.clone().or_else(models::default_model)
    }

    /// # Errors
    /// [`DeviceError::Unknown`]
    pub fn device(&self) -> Result<Device, DeviceError> {
        self.device.parse()
    }
}
