//! The element: pads, properties, queries and states. What becomes of the video is in `run.rs`, of the other streams in
//! `lane.rs` and `sound.rs`; `video.rs` and `streams.rs` carry it between them and the pads.
//!
//! One lock, `state`, which is never held while pushing or posting; `settings` is never taken while it is held. The video is
//! pushed by its own streaming thread, each other stream by a task on its source pad.

use std::{
    collections::BTreeMap,
    sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use gst::{prelude::*, subclass::prelude::*};

use super::{
    lane::Lane,
    room::Video,
    run::Run,
    settings::{PROPERTIES, Settings},
};
use desumnet_decide::{key_frames::KeyFrames, timeline::Timeline};
use desumnet_frames::times::USUAL_SPACING;
use desumnet_media::scaler::nominal_spacing;

pub(super) static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("desumskim", gst::DebugColorFlags::empty(), Some("DeSumNet skims and time-lapses"))
});

#[derive(Default)]
pub struct State {
    /// From PAUSED on.
    pub run: Option<Run>,
    /// By the number of their pads.
    pub lanes: BTreeMap<u32, Lane>,
    /// Of the stream of this number, which is encoded video: all further streams are cut where that can be.
    pub key_frames: Option<(u32, KeyFrames)>,
    /// When that stream's upstream was last asked for a key frame, and how often since the last one came.
    pub asked: Option<(u64, u32)>,
    /// Since when no frame has come; `None`: one is on its way downstream.
    pub idle: Option<Instant>,
    /// The video is being flushed.
    pub flushing: bool,
    /// An error of one stream ends all of them.
    pub failed: Option<gst::FlowError>,
}

impl State {
    /// Running time before which no stream needs the timeline any more, ns.
    pub fn settled(&self) -> u64 {
        let lanes = self.lanes.values().map(Lane::settled).min().unwrap_or(u64::MAX);
        self.key_frames.as_ref().map_or(lanes, |(_, key_frames)| key_frames.settled().min(lanes))
    }

    /// The key frames that all further streams are cut at, if they are this stream's.
    pub fn leads(&mut self, number: u32) -> Option<&mut KeyFrames> {
        self.key_frames.as_mut().filter(|(leader, _)| *leader == number).map(|(_, key_frames)| key_frames)
    }

    /// The video, for a stream that may be ahead of it; `None` when it has ended.
    pub fn video(&self) -> Option<Video> {
        let run = self.run.as_ref().filter(|run| !run.timeline.ended())?;
        let idle = self.idle.map(|since| since.elapsed());
        Some(Video { reached: run.reached(), spacing: run.usual_spacing(), idle })
    }

    /// By which the further streams are cut.
    pub fn timeline(&self) -> Option<&Timeline> {
        let own = self.key_frames.as_ref().map(|(_, key_frames)| &key_frames.timeline);
        own.or(self.run.as_ref().map(|run| &run.timeline))
    }
}

pub struct Skim {
    pub(super) sinkpad: gst::Pad,
    pub(super) srcpad: gst::Pad,
    settings: Mutex<Settings>,
    state: Mutex<State>,
    /// Anything in `state` that somebody may wait for.
    pub(super) changed: Condvar,
}

#[glib::object_subclass]
impl ObjectSubclass for Skim {
    const NAME: &'static str = "DeSumNetSkim";
    type Type = super::Skim;
    type ParentType = gst::Element;

    fn with_class(class: &Self::Class) -> Self {
        let sinkpad = gst::Pad::builder_from_template(&class.pad_template("sink").expect("template"))
            .chain_function(|_, parent, buffer| {
                Self::catch_panic_pad_function(parent, || Err(gst::FlowError::Error), |this| this.chain(buffer))
            })
            .event_function(|_, parent, event| {
                Self::catch_panic_pad_function(parent, || false, |this| this.sink_event(event))
            })
            .query_function(|pad, parent, query| {
                Self::catch_panic_pad_function(parent, || false, |this| this.sink_query(pad, query))
            })
            .iterate_internal_links_function(Self::linked)
            .flags(gst::PadFlags::PROXY_CAPS)
            .build();
        let srcpad = gst::Pad::builder_from_template(&class.pad_template("src").expect("template"))
            .event_function(|pad, parent, event| {
                Self::catch_panic_pad_function(parent, || false, |this| this.src_event(pad, event))
            })
            .query_function(|pad, parent, query| {
                Self::catch_panic_pad_function(parent, || false, |this| this.src_query(pad, query))
            })
            .iterate_internal_links_function(Self::linked)
            .flags(gst::PadFlags::PROXY_CAPS)
            .build();
        Self { sinkpad, srcpad, settings: Mutex::default(), state: Mutex::default(), changed: Condvar::new() }
    }
}

impl ObjectImpl for Skim {
    fn constructed(&self) {
        self.parent_constructed();
        let element = self.obj();
        element.add_pad(&self.sinkpad).expect("a new element has no pads");
        element.add_pad(&self.srcpad).expect("a new element has no pads");
    }

    fn properties() -> &'static [glib::ParamSpec] {
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        self.settings().set(pspec.name(), value);
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        self.settings().get(pspec.name())
    }
}

impl GstObjectImpl for Skim {}

impl ElementImpl for Skim {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "DeSumNet skimmer",
                "Filter/Effect/Video",
                "Makes skims and time-lapses, by the scores of desumnet or by a plan, of video and the sound that goes with it",
                "The gst-plugin-desumnet developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let mut templates = crate::elements::video_templates(&gst_video::VideoCapsBuilder::new().build());
            let any = gst::Caps::new_any();
            templates.extend(
                [
                    ("sink_%u", gst::PadDirection::Sink, gst::PadPresence::Request),
                    ("src_%u", gst::PadDirection::Src, gst::PadPresence::Sometimes),
                ]
                .map(|(name, direction, presence)| {
                    gst::PadTemplate::new(name, direction, presence, &any).expect("a valid template")
                }),
            );
            templates
        });
        &TEMPLATES
    }

    fn change_state(&self, transition: gst::StateChange) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        match transition {
            gst::StateChange::ReadyToPaused => {
                let settings = self.settings().clone();
                let run = Run::new(settings).map_err(|reason| {
                    gst::element_imp_error!(self, gst::LibraryError::Settings, ("{reason}"));
                    gst::StateChangeError
                })?;
                let mut state = self.state();
                state.lanes.values_mut().for_each(Lane::begin_anew);
                (state.run, state.key_frames, state.flushing, state.failed) = (Some(run), None, false, None);
                (state.asked, state.idle) = (None, Some(Instant::now()));
            }
            gst::StateChange::PausedToReady => {
                // Nobody is to wait while the pads are deactivated.
                self.state().lanes.values_mut().for_each(|lane| lane.flushing = true);
                self.changed.notify_all();
            }
            _ => {}
        }
        let success = self.parent_change_state(transition)?;
        if transition == gst::StateChange::PausedToReady {
            self.state().run = None;
        }
        Ok(success)
    }

    fn request_new_pad(
        &self,
        _template: &gst::PadTemplate,
        name: Option<&str>,
        _caps: Option<&gst::Caps>,
    ) -> Option<gst::Pad> {
        let number = match name.and_then(|name| name.strip_prefix("sink_")).map(str::parse) {
            Some(number) => number.ok()?,
            None => self.state().lanes.last_key_value().map_or(0, |(last, _)| last + 1),
        };
        self.add_lane(number)
    }

    fn release_pad(&self, pad: &gst::Pad) {
        self.remove_lane(pad);
    }
}

impl Skim {
    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn post_latency(&self) {
        if self.settings().waits().is_some() {
            let element = self.obj();
            let _ = element.post_message(gst::message::Latency::builder().src(&*element).build());
        }
    }

    /// Sink and source pads belong together by their names.
    pub(super) fn linked(pad: &gst::Pad, parent: Option<&gst::Object>) -> gst::Iterator<gst::Pad> {
        let name = pad.name();
        let other = match name.strip_prefix("sink") {
            Some(number) => format!("src{number}"),
            None => name.replacen("src", "sink", 1),
        };
        let element = parent.and_then(|parent| parent.downcast_ref::<gst::Element>());
        gst::Iterator::from_vec(element.and_then(|element| element.static_pad(&other)).into_iter().collect())
    }

    fn sink_query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        match query.view() {
            gst::QueryView::Allocation(_) => {}
            gst::QueryView::Drain(_) => {
                self.drain();
                return gst::Pad::query_default(pad, Some(&*self.obj()), query);
            }
            _ => return gst::Pad::query_default(pad, Some(&*self.obj()), query),
        }
        let answered = self.srcpad.peer_query(query);
        let waits = self.settings().waits();
        let gst::QueryViewMut::Allocation(query) = query.view_mut() else { return answered };
        let info = query.get().0.and_then(|caps| gst_video::VideoInfo::from_caps(caps).ok());
        let (Some(_), Some(info), Some(latency)) = (waits, info, self.latency()) else { return answered };
        // Upstream's pool must not run dry while frames wait for what comes after them.
        let spacing = Some(nominal_spacing(&info)).filter(|&spacing| spacing > 0).unwrap_or(USUAL_SPACING);
        let held = u32::try_from(latency.div_ceil(spacing) + 1).unwrap_or(u32::MAX);
        let pools: Vec<_> = query.allocation_pools().collect();
        for (i, (pool, size, min, max)) in pools.iter().enumerate() {
            let (min, max) = (min.saturating_add(held), if *max == 0 { 0 } else { max.saturating_add(held) });
            query.set_nth_allocation_pool(i as u32, pool.as_ref(), *size, min, max);
        }
        if pools.is_empty() {
            query.add_allocation_pool(None::<&gst::BufferPool>, info.size() as u32, held, 0);
        }
        true
    }

    /// How long frames may wait, ns.
    fn latency(&self) -> Option<u64> {
        self.state().run.as_ref().map(Run::latency)
    }

    pub(super) fn src_query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        let gst::QueryViewMut::Latency(query) = query.view_mut() else {
            return gst::Pad::query_default(pad, Some(&*self.obj()), query);
        };
        let Ok(Some(sinkpad)) = Self::linked(pad, Some(self.obj().upcast_ref())).next() else { return false };
        if !sinkpad.peer_query(query.query_mut()) {
            return false;
        }
        let (live, mut min, mut max) = query.result();
        if live {
            let ours = gst::ClockTime::from_nseconds(self.latency().unwrap_or(0));
            min = min.saturating_add(ours);
            max = max.map(|max| max.saturating_add(ours));
        }
        query.set(live, min, max);
        true
    }

    pub(super) fn src_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        match event.view() {
            // It speaks of output times, which upstream would take for its own.
            gst::EventView::Qos(_) => return true,
            // Sound is cut by its samples, and frames follow each other, at normal speed only.
            gst::EventView::Seek(seek) if seek.get().0 != 1.0 => return false,
            gst::EventView::Reconfigure(_) => {
                // Where it led nowhere it may lead somewhere now.
                if let Some(lane) = self.state().lanes.values_mut().find(|lane| lane.srcpad == *pad)
                    && lane.flow == Err(gst::FlowError::NotLinked)
                {
                    lane.flow = Ok(gst::FlowSuccess::Ok);
                }
            }
            _ => {}
        }
        gst::Pad::event_default(pad, Some(&*self.obj()), event)
    }
}

/// Upstream sends caps, tags and the like only once: where they were not pushed they stay on the pad and go on with the next
/// buffer.
pub(super) fn keep_sticky(pad: &gst::Pad, events: impl Iterator<Item = gst::Event>) {
    for event in events {
        if event.is_sticky() && !matches!(event.type_(), gst::EventType::Segment | gst::EventType::Eos) {
            // Refused only by a pad that is not active, which starts anew.
            let _ = pad.store_sticky_event(&event);
        }
    }
}
