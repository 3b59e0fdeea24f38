//! The element: asks `crate::summary` about every frame, drops it or gives it its new time.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use gst::{prelude::*, subclass::prelude::*};

use super::Mode;
use crate::{
    meta::{Flags, ImportanceMeta},
    summary::{
        live::{Fate, Live, Place},
        skim::Reason,
    },
};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("desumskim", gst::DebugColorFlags::empty(), Some("DeSumNet skims and time-lapses"))
});

const DEFAULT_RATIO: f64 = 0.2;
const DEFAULT_SPEED: f64 = 8.0;
/// Duration that an unscored frame without one is taken for in a time-lapse.
const UNKNOWN_DURATION: gst::ClockTime = gst::ClockTime::from_mseconds(40);

#[derive(Clone, Copy)]
struct Settings {
    mode: Mode,
    ratio: f64,
    speed: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { mode: Mode::default(), ratio: DEFAULT_RATIO, speed: DEFAULT_SPEED }
    }
}

/// A run of kept segments, for the messages.
struct ClipInfo {
    /// PTS of its first frame.
    start: Option<gst::ClockTime>,
    /// Running time of its first frame in the output.
    output: gst::ClockTime,
    /// Highest importance of its segments.
    importance: f64,
    category: String,
    /// Of its first segment.
    reason: Reason,
}

struct State {
    live: Live,
    segment: gst::FormattedSegment<gst::ClockTime>,
    clip: Option<ClipInfo>,
    warned: bool,
}

impl State {
    fn new(settings: Settings) -> Self {
        let live = match settings.mode {
            Mode::Skim => Live::skim(settings.ratio),
            Mode::Timelapse => Live::time_lapse(settings.speed),
        };
        Self { live, segment: gst::FormattedSegment::new(), clip: None, warned: false }
    }
}

#[derive(Default)]
pub struct Skim {
    settings: Mutex<Settings>,
    state: Mutex<Option<State>>,
    pads: std::sync::OnceLock<(gst::Pad, gst::Pad)>,
}

#[glib::object_subclass]
impl ObjectSubclass for Skim {
    const NAME: &'static str = "DeSumNetSkim";
    type Type = super::Skim;
    type ParentType = gst::Element;
}

impl ObjectImpl for Skim {
    fn constructed(&self) {
        self.parent_constructed();
        let class = self.obj();
        let template = |name| class.pad_template(name).expect("a template of this class");
        let sinkpad = gst::Pad::builder_from_template(&template("sink"))
            .chain_function(|_, parent, buffer| {
                Self::catch_panic_pad_function(parent, || Err(gst::FlowError::Error), |this| this.chain(buffer))
            })
            .event_function(|pad, parent, event| {
                Self::catch_panic_pad_function(parent, || false, |this| this.sink_event(pad, event))
            })
            .flags(gst::PadFlags::PROXY_CAPS | gst::PadFlags::PROXY_ALLOCATION)
            .build();
        let srcpad = gst::Pad::builder_from_template(&template("src"))
            .event_function(|pad, parent, event| {
                Self::catch_panic_pad_function(parent, || false, |this| this.src_event(pad, event))
            })
            .flags(gst::PadFlags::PROXY_CAPS | gst::PadFlags::PROXY_ALLOCATION)
            .build();
        for pad in [&sinkpad, &srcpad] {
            class.add_pad(pad).expect("a new element has no pads");
        }
        self.pads.set((sinkpad, srcpad)).expect("constructed once");
    }

    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            vec![
                glib::ParamSpecEnum::builder_with_default("mode", Mode::default())
                    .nick("Mode")
                    .blurb("What is made of the stream")
                    .mutable_ready()
                    .build(),
                glib::ParamSpecDouble::builder("ratio")
                    .nick("Ratio")
                    .blurb("mode=skim: share of the playing time to keep")
                    .minimum(0.001)
                    .maximum(1.0)
                    .default_value(DEFAULT_RATIO)
                    .mutable_ready()
                    .build(),
                glib::ParamSpecDouble::builder("speed")
                    .nick("Speed")
                    .blurb("mode=timelapse: how many times faster than the input, over all")
                    .minimum(1.0)
                    .maximum(10_000.0)
                    .default_value(DEFAULT_SPEED)
                    .mutable_ready()
                    .build(),
            ]
        });
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        let mut settings = self.settings();
        match pspec.name() {
            "mode" => settings.mode = value.get().expect("GObject checked the type"),
            "ratio" => settings.ratio = value.get().expect("GObject checked the type"),
            "speed" => settings.speed = value.get().expect("GObject checked the type"),
            name => unreachable!("no property {name}"),
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        let settings = self.settings();
        match pspec.name() {
            "mode" => settings.mode.to_value(),
            "ratio" => settings.ratio.to_value(),
            "speed" => settings.speed.to_value(),
            name => unreachable!("no property {name}"),
        }
    }
}

impl GstObjectImpl for Skim {}

impl ElementImpl for Skim {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "DeSumNet skimmer",
                "Filter/Effect/Video",
                "Makes live skims and time-lapses of video that desumnet has scored",
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

    fn change_state(&self, transition: gst::StateChange) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        if transition == gst::StateChange::ReadyToPaused {
            let settings = *self.settings();
            *self.state() = Some(State::new(settings));
        }
        let success = self.parent_change_state(transition)?;
        if transition == gst::StateChange::PausedToReady {
            *self.state() = None;
        }
        Ok(success)
    }
}

impl Skim {
    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, Option<State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn srcpad(&self) -> &gst::Pad {
        &self.pads.get().expect("set when constructed").1
    }

    fn chain(&self, mut buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        let mut guard = self.state();
        let state = guard.as_mut().ok_or(gst::FlowError::Flushing)?;
        let meta = ImportanceMeta::of(&buffer);
        let warn = meta.is_none() && !std::mem::replace(&mut state.warned, true);
        let running_time = buffer.pts().and_then(|pts| state.segment.to_running_time(pts)).map(|t| t.nseconds());
        let mut messages = Vec::new();
        // A frame without a time can't get another one: it passes.
        let fate = running_time.map(|time| state.decide(&buffer, time, meta.as_ref(), &mut messages));
        if let Some(Fate::Keep { time, duration, .. }) = fate {
            let buffer = buffer.make_mut();
            buffer.set_pts(state.segment.position_from_running_time(gst::ClockTime::from_nseconds(time)));
            buffer.set_dts(None);
            if let Some(duration) = duration {
                buffer.set_duration(gst::ClockTime::from_nseconds(duration));
            }
        }
        drop(guard);
        if warn {
            gst::element_imp_warning!(
                self,
                gst::StreamError::Failed,
                ["Frames without importance are kept: put desumnet before desumskim, with mode=annotate"]
            );
        }
        self.post(messages);
        if fate == Some(Fate::Drop) { Ok(gst::FlowSuccess::Ok) } else { self.srcpad().push(buffer) }
    }

    fn post(&self, messages: Vec<gst::Structure>) {
        let element = self.obj();
        for structure in messages {
            gst::debug!(CAT, imp = self, "{structure}");
            let _ = element.post_message(gst::message::Element::builder(structure).src(&*element).build());
        }
    }

    fn sink_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        use gst::EventView;
        match event.view() {
            EventView::FlushStop(_) => {
                let settings = *self.settings();
                if let Some(state) = &mut *self.state() {
                    *state = State::new(settings);
                }
            }
            EventView::Segment(segment) => {
                if let (Some(state), Some(segment)) =
                    (&mut *self.state(), segment.segment().downcast_ref::<gst::ClockTime>())
                {
                    state.segment = segment.clone();
                }
            }
            // Where nothing is kept there is nothing to wait for, and within a clip its frames tell the time.
            EventView::Gap(_) => return true,
            EventView::Eos(_) => {
                let ended = self.state().as_mut().and_then(|state| state.end_clip(None));
                self.post(ended.into_iter().collect());
            }
            _ => {}
        }
        gst::Pad::event_default(pad, Some(&*self.obj()), event)
    }

    fn src_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        // It speaks of output times, which upstream would take for its own.
        if event.type_() == gst::EventType::Qos {
            return true;
        }
        gst::Pad::event_default(pad, Some(&*self.obj()), event)
    }
}

impl State {
    /// What becomes of the frame at this running time.
    fn decide(
        &mut self,
        buffer: &gst::BufferRef,
        time: u64,
        meta: Option<&ImportanceMeta>,
        messages: &mut Vec<gst::Structure>,
    ) -> Fate {
        let place = meta.map(|meta| Place {
            segment: meta.segment,
            frame: meta.frame,
            frames: meta.segment_frames,
            duration: meta.segment_duration.nseconds(),
            importance: (!meta.flags.contains(Flags::UNSCORED)).then_some(meta.importance),
        });
        let duration = buffer.duration().unwrap_or(UNKNOWN_DURATION).nseconds();
        let (fate, begins) = self.live.decide(time, duration, place.as_ref());
        // A time-lapse has no clips.
        match fate {
            Fate::Drop => messages.extend(self.end_clip(buffer.pts())),
            Fate::Keep { time, duration: None, reason } if begins => {
                messages.extend(self.extend_clip(buffer.pts(), time, reason, meta));
            }
            Fate::Keep { .. } => {}
        }
        fate
    }

    /// A kept segment begins: `clip-start` if the one before was not kept.
    fn extend_clip(
        &mut self,
        start: Option<gst::ClockTime>,
        output: u64,
        reason: Reason,
        meta: Option<&ImportanceMeta>,
    ) -> Option<gst::Structure> {
        let meta = meta?;
        if let Some(clip) = &mut self.clip {
            clip.importance = clip.importance.max(meta.importance);
            return None;
        }
        let clip = ClipInfo {
            start,
            output: gst::ClockTime::from_nseconds(output),
            importance: meta.importance,
            category: meta.category.clone(),
            reason,
        };
        let message = clip.message("clip-start").build();
        self.clip = Some(clip);
        Some(message)
    }

    /// A clip has ended at this PTS, if one was playing: `clip-end`.
    fn end_clip(&mut self, end: Option<gst::ClockTime>) -> Option<gst::Structure> {
        let clip = self.clip.take()?;
        Some(clip.message("clip-end").field("end", end).build())
    }
}

impl ClipInfo {
    /// `start` (PTS in the input), `output-start` (running time in the output), `importance` (of `clip-start`: of its first
    /// segment; of `clip-end`: the highest of its segments), `category`, `reason` (`important`, or `due`: the skim would
    /// have fallen short of its length).
    fn message(&self, name: &str) -> gst::structure::Builder {
        gst::Structure::builder(name)
            .field("start", self.start)
            .field("output-start", self.output)
            .field("importance", self.importance)
            .field("category", &self.category)
            .field("reason", self.reason.name())
    }
}
