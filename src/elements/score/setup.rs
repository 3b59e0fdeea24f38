//! Settings and engine that the element runs with.

use std::sync::Arc;

use super::settings::{Mode, Settings};
use crate::{
    engine::{Category, Engine, Request},
    segmenter::Stride,
    shots::LOOK_BACK,
};

/// The settings as they were when the element started, and what they come to. A property that is set later counts from the next start on,
/// except for those that may change while playing: these are read from the settings themselves.
pub struct Setup {
    pub settings: Settings,
    pub engine: Arc<Engine>,
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
        Ok(Self { settings, engine })
    }

    /// What the engine is asked for a stream's segments: with `category=auto`, each stream has a mean prediction of its own.
    pub fn request(&self) -> Request {
        let Settings { form, aggregation, ref category, .. } = self.settings;
        let category = Category::named(category, &self.engine.header.categories);
        // Observers have no meta to put maps into.
        let maps = self.settings.map && !self.observes();
        // `new` has found the name good.
        Request { category: category.unwrap_or_default(), form, aggregation, maps }
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
