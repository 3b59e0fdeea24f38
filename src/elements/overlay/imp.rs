//! The element: reads the meta of every frame, and lays what `crate::overlay` draws over the picture.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use gst::{prelude::*, subclass::prelude::*};
use gst_base::subclass::{BaseTransformMode, prelude::*};
use gst_video::{prelude::*, subclass::prelude::*};

use crate::{
    meta::{Flags, ImportanceMap, ImportanceMeta},
    overlay::{
        Area, Show, heat,
        history::History,
        panel::{Layout, Reading},
    },
};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("desumoverlay", gst::DebugColorFlags::empty(), Some("DeSumNet scores on the picture"))
});

/// What overlays are made of: four bytes a pixel in the machine's order.
const FORMAT: gst_video::VideoFormat =
    if cfg!(target_endian = "big") { gst_video::VideoFormat::Argb } else { gst_video::VideoFormat::Bgra };

#[derive(Default)]
struct State {
    history: History,
    /// As long as it shows what is to be seen.
    panel: Option<gst_video::VideoOverlayRectangle>,
    warned: bool,
}

/// Locks, in this order: `state`, `show`. A panel is drawn by what `show` is while `state` is held.
pub struct Overlay {
    show: Mutex<Show>,
    state: Mutex<State>,
}

#[glib::object_subclass]
impl ObjectSubclass for Overlay {
    const NAME: &'static str = "DeSumNetOverlay";
    type Type = super::Overlay;
    type ParentType = gst_video::VideoFilter;

    fn new() -> Self {
        Self { show: Mutex::new(Show::all()), state: Mutex::default() }
    }
}

impl ObjectImpl for Overlay {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            vec![
                glib::ParamSpecFlags::builder::<Show>("show")
                    .nick("Show")
                    .blurb("What is drawn")
                    .default_value(Show::all())
                    .mutable_playing()
                    .build(),
            ]
        });
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, _pspec: &glib::ParamSpec) {
        *self.show() = value.get().expect("GObject checked the type");
        self.state().panel = None;
    }

    fn property(&self, _id: usize, _pspec: &glib::ParamSpec) -> glib::Value {
        self.show().to_value()
    }
}

impl GstObjectImpl for Overlay {}

impl ElementImpl for Overlay {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "DeSumNet importance overlay",
                "Filter/Effect/Video",
                "Draws on the picture how much a moment matters, as desumnet scored it",
                "The gst-plugin-desumnet developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> =
            LazyLock::new(|| crate::elements::video_templates(&gst_video::VideoCapsBuilder::new().build()));
        &TEMPLATES
    }
}

impl BaseTransformImpl for Overlay {
    const MODE: BaseTransformMode = BaseTransformMode::AlwaysInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        *self.state() = State::default();
        Ok(())
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        if matches!(event.type_(), gst::EventType::FlushStop | gst::EventType::StreamStart) {
            self.state().history.clear();
        }
        self.parent_sink_event(event)
    }
}

impl VideoFilterImpl for Overlay {
    fn set_info(
        &self,
        _incaps: &gst::Caps,
        _in_info: &gst_video::VideoInfo,
        _outcaps: &gst::Caps,
        _out_info: &gst_video::VideoInfo,
    ) -> Result<(), gst::LoggableError> {
        self.state().panel = None;
        Ok(())
    }

    fn transform_frame_ip(
        &self,
        frame: &mut gst_video::VideoFrameRef<&mut gst::BufferRef>,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let Some(meta) = ImportanceMeta::of(frame.buffer()) else {
            if !std::mem::replace(&mut self.state().warned, true) {
                gst::element_imp_warning!(
                    self,
                    gst::StreamError::Failed,
                    ("A frame without importance is left as it is: put desumnet (in mode=annotate) before desumoverlay")
                );
            }
            return Ok(gst::FlowSuccess::Ok);
        };
        self.draw(frame, &meta).map_err(|error| {
            gst::element_imp_error!(self, gst::StreamError::Failed, ("Drawing on a frame failed: {error}"));
            gst::FlowError::Error
        })?;
        Ok(gst::FlowSuccess::Ok)
    }
}

impl Overlay {
    fn show(&self) -> MutexGuard<'_, Show> {
        self.show.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw(
        &self,
        frame: &mut gst_video::VideoFrameRef<&mut gst::BufferRef>,
        meta: &ImportanceMeta,
    ) -> Result<(), glib::BoolError> {
        let mut state = self.state();
        let show = *self.show();
        let (width, height) = (frame.width(), frame.height());
        let scored = !meta.flags.contains(Flags::UNSCORED);
        let mut changed = state.history.enter(meta.segment, meta.segment_duration.nseconds(), meta.importance);
        if meta.shot_start {
            state.history.add_shot(f64::from(meta.frame) / f64::from(meta.segment_frames.max(1)));
            changed = true;
        }
        if changed {
            state.panel = None;
        }
        if state.panel.is_none()
            && let Some(layout) = Layout::new(width as usize, height as usize, show)
        {
            gst::trace!(CAT, imp = self, "Drawing the panel of segment {}", meta.segment);
            let importance = scored.then_some(meta.importance);
            let reading = Reading { importance, category: meta.category.clone(), confidence: meta.confidence };
            let pixels = layout.draw(&reading, &state.history).into_bytes();
            let Area { x, y, width, height } = layout.panel;
            let place = (x as i32, y as i32, width as u32, height as u32);
            let flags = gst_video::VideoOverlayFormatFlags::PREMULTIPLIED_ALPHA;
            state.panel = Some(rectangle(pixels, (width as u32, height as u32), place, flags)?);
        }
        let map = if show.contains(Show::MAP) { ImportanceMap::of(frame.buffer()) } else { None };
        let map = map.map(|map| heat_map(&map, (width, height))).transpose()?;
        let rectangles: Vec<_> = map.iter().chain(&state.panel).collect();
        if rectangles.is_empty() {
            return Ok(());
        }
        gst_video::VideoOverlayComposition::new(rectangles)?.blend(frame)
    }
}

/// Pixels of this size, and where they go: left, top, width, height.
fn rectangle(
    pixels: Vec<u8>,
    (width, height): (u32, u32),
    (left, top, across, down): (i32, i32, u32, u32),
    flags: gst_video::VideoOverlayFormatFlags,
) -> Result<gst_video::VideoOverlayRectangle, glib::BoolError> {
    let mut buffer = gst::Buffer::from_mut_slice(pixels);
    let fields = buffer.get_mut().ok_or_else(|| glib::bool_error!("a new buffer is not writable"))?;
    gst_video::VideoMeta::add(fields, gst_video::VideoFrameFlags::empty(), FORMAT, width, height)?;
    Ok(gst_video::VideoOverlayRectangle::new_raw(&buffer, left, top, across, down, flags))
}

/// The heat map, over all of a picture of this size.
fn heat_map(
    map: &ImportanceMap,
    (width, height): (u32, u32),
) -> Result<gst_video::VideoOverlayRectangle, glib::BoolError> {
    let unreadable = || glib::bool_error!("the importance map is no grey picture: desumnet made none such");
    let info = map.picture.caps().and_then(|caps| gst_video::VideoInfo::from_caps(caps).ok()).ok_or_else(unreadable)?;
    let buffer = map.picture.buffer().ok_or_else(unreadable)?;
    let grey = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &info)?;
    let (stride, across) = (grey.plane_stride()[0] as usize, info.width() as usize);
    let rows = grey.plane_data(0)?.chunks(stride).take(info.height() as usize);
    let pixels: Vec<u8> = rows.flat_map(|row| &row[..across]).copied().collect();
    let pixels = heat::colours(&pixels, across);
    let size = (info.width(), info.height());
    rectangle(pixels, size, (0, 0, width, height), gst_video::VideoOverlayFormatFlags::empty())
}
