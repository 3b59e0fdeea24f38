//! Settings and engine that the element runs with.

use std::sync::Arc;

use super::{
    memory::Memory,
    settings::{Mode, Settings},
};
use desumnet_engine::{Category, Engine, Request};
use desumnet_frames::{segmenter::Stride, shots::LOOK_BACK};

/// The settings as they were when the element started, and what they come to. A property that is set later counts from the next start on,
/// except for those that may change while playing: these are read from the settings themselves.
pub struct Setup {
    pub settings: Settings,
    pub engine: Arc<Engine>,
    /// What the place usually shows, whatever streams come from there; `None` where each stream begins anew.
    pub memory: Option<Memory>,
}

impl Setup {
    /// # Errors
    /// The fault in the settings, and how to mend it.
    pub fn new(settings: Settings) -> Result<Self, String> {
        let model = settings.model_path().ok_or(
            "no model: models/desumnet.safetensors is neither in the source tree nor installed; set `model` to a file made by desumnet-train",
        )?;
        let device = settings.device().map_err(|e| e.to_string())?;
        let engine = Engine::shared(&model, device, settings.precision).map_err(|e| e.to_string())?;
        Category::named(&settings.category, &engine.header.categories).map_err(|e| e.to_string())?;
        engine.check(settings.form).map_err(|e| e.to_string())?;
        let memory = settings.usual_location.as_deref().map(|path| Memory::open(path, &model));
        Ok(Self { settings, engine, memory })
    }

    /// What the engine is asked for a stream's segments: each stream has a mean prediction, and a usual, of its own.
    pub fn request(&self) -> Request {
        let Settings { form, aggregation, ref category, .. } = self.settings;
        let category = Category::named(category, &self.engine.header.categories);
        // Observers have no meta to put maps into.
        let maps = self.settings.map && !self.observes();
        // `new` has found the name good.
        let category = category.unwrap_or_default();
        let usual = self.memory.as_ref().map(|memory| memory.usual.clone()).unwrap_or_default();
        Request { category, form, aggregation, maps, usual, seconds: 0.0 }
    }

    pub fn observes(&self) -> bool {
        self.settings.mode == Mode::Observe
    }

    /// Frames of the stream that come in while one waits: until its segment is whole, and until its shot is known.
    pub fn frames_held(&self, spacing: u64) -> u32 {
        let stride = Stride::from_setting(self.settings.frame_stride).at_spacing(spacing);
        (self.engine.clip.frames.max(LOOK_BACK) as u32).saturating_mul(stride)
    }
}
