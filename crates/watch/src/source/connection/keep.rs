//! How streams are kept: the elements that each gets as it comes.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use gst::prelude::*;

use super::{
    Streams, Unfit,
    codecs::{KEPT, RAW, caps_of, codec_of, fits, name_of, picture_test},
    locked,
};
use desumnet_media::missing::Missing;

/// Why elements can't be added.
pub(super) enum PartError {
    Missing(Missing),
    Failed(glib::BoolError),
}

impl From<glib::BoolError> for PartError {
    fn from(error: glib::BoolError) -> Self {
        Self::Failed(error)
    }
}

impl std::fmt::Display for PartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing(missing) => missing.fmt(f),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

pub(super) type Built<T> = Result<T, PartError>;

impl Streams {
    /// A source shows a stream: raw, or in whatever it is packed into.
    pub(super) fn take_in(self: &Arc<Self>, pad: &gst::Pad) {
        self.build(|| self.try_take_in(pad));
        self.shown().pads += 1;
    }

    fn try_take_in(self: &Arc<Self>, pad: &gst::Pad) -> Built<()> {
        let caps = caps_of(pad);
        let name = name_of(&caps);
        if let Some((_, encoder)) = RAW.iter().find(|(raw, _)| *raw == name) {
            let encoder = self.part(encoder)?;
            link(pad, &encoder)?;
            return self.try_keep(&source_pad(&encoder)?, false);
        }
        let is_rtp = name == "application/x-rtp";
        let media = caps.structure(0).and_then(|caps| caps.get::<String>("media").ok());
        let is_sound = is_rtp && media.as_deref() == Some("audio");
        let is_other = is_rtp && media.is_some_and(|media| !["audio", "video"].contains(&media.as_str()));
        if is_other || (is_sound && self.shared.without_sound.load(Ordering::Relaxed)) {
            // What cameras tell of motion, or sound that fails.
            return self.leave_out(pad);
        }
        if is_rtp {
            self.follow_rtp(pad, &caps, !is_sound);
        }
        let parser = self.part("parsebin")?;
        if is_sound {
            locked(&self.sound_parts).push(parser.clone());
        } else {
            self.shown().containers += 1;
        }
        let keeping = self.clone();
        parser.connect_pad_added(move |parser, pad| {
            let has_no_times = is_rtp || holds(parser, "matroskademux");
            keeping.build(|| keeping.try_keep(pad, has_no_times));
        });
        Ok(link(pad, &parser)?)
    }

    /// Nobody wants it.
    fn leave_out(&self, pad: &gst::Pad) -> Built<()> {
        let nowhere = self.sink(|_| Ok(gst::FlowSuccess::Ok))?;
        Ok(link(pad, &nowhere)?)
    }

    /// Notes which timestamps play when.
    fn follow_rtp(self: &Arc<Self>, pad: &gst::Pad, caps: &gst::Caps, is_video: bool) {
        let rate = caps.structure(0).and_then(|caps| caps.get::<i32>("clock-rate").ok()).unwrap_or(90_000) as u32;
        let streams = Arc::downgrade(self);
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let (Some(buffer), Some(streams)) = (info.buffer(), streams.upgrade()) else {
                return gst::PadProbeReturn::Ok;
            };
            let mut head = [0; 12];
            if let Some(time) = buffer.pts().filter(|_| buffer.copy_to_slice(0, &mut head).is_ok()) {
                let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
                locked(&streams.lips).packet(is_video, word(8), rate, word(4), time.nseconds() as i64);
            }
            gst::PadProbeReturn::Ok
        });
    }

    /// Adds elements that are described as for `gst-launch-1.0`.
    fn part(&self, description: &str) -> Built<gst::Element> {
        if let Some(missing) = lacking(description) {
            return Err(PartError::Missing(missing));
        }
        let told = |e: glib::Error| glib::bool_error!("{e}");
        // A single one has no bin around it, so that its signals are at hand.
        let part = match description.contains('!') {
            true => gst::parse::bin_from_description(description, true).map_err(told)?.upcast(),
            false => gst::ElementFactory::make(description).build()?,
        };
        self.add(&part)?;
        Ok(part)
    }

    fn add(&self, part: &gst::Element) -> Built<()> {
        let bin = self.bin.upgrade().ok_or_else(|| glib::bool_error!("the connection is gone"))?;
        bin.add(part)?;
        Ok(part.sync_state_with_parent()?)
    }

    /// An encoded stream comes. The first video that can be kept is, and so is the first such sound. `has_no_times`: it doesn't tell when
    /// its pictures are decoded.
    fn try_keep(self: &Arc<Self>, pad: &gst::Pad, has_no_times: bool) -> Built<()> {
        let caps = caps_of(pad);
        let name = name_of(&caps);
        let is_video = name.starts_with("video/") || name.starts_with("image/");
        let is_sound = name.starts_with("audio/");
        if !is_video && !is_sound || is_sound && self.shared.without_sound.load(Ordering::Relaxed) {
            return self.leave_out(pad);
        }
        let Some((codec, parser)) = KEPT.iter().find(|(known, _)| fits(&caps, known)) else {
            let mut shown = self.shown();
            if is_video {
                shown.unfit_videos += 1;
                shown.unfit_video.get_or_insert(codec_of(&caps));
            } else {
                shown.unfit_sound.get_or_insert(Unfit::Codec(codec_of(&caps)));
            }
            drop(shown);
            return self.leave_out(pad);
        };
        let taken = if is_video { &self.video } else { &self.sound };
        if taken.swap(true, Ordering::Relaxed) {
            return self.leave_out(pad);
        }
        if is_video {
            let stamper = codec.strip_prefix("video/x-").filter(|_| has_no_times);
            self.keep_video(pad, parser, stamper.map(|codec| format!("{codec}timestamper")), picture_test(codec))
        } else if let Err(error) = self.keep_sound(pad, parser) {
            self.sound.store(false, Ordering::Relaxed);
            self.shown().unfit_sound.get_or_insert(Unfit::Broken(error.to_string()));
            self.leave_out(pad)
        } else {
            Ok(())
        }
    }

    fn keep_video(
        self: &Arc<Self>,
        pad: &gst::Pad,
        parser: &str,
        stamper: Option<String>,
        has_picture: fn(&[u8]) -> bool,
    ) -> Built<()> {
        let parser = self.part(parser)?;
        let mut last = parser.clone();
        self.count_from_start(&source_pad(&parser)?, pad);
        for next in stamper.as_deref().into_iter().chain(["identity"]) {
            let next = self.part(next)?;
            last.link(&next)?;
            last = next;
        }
        let encoded = source_pad(&last)?;
        *locked(&self.encoded) = encoded.downgrade();
        self.keep_time(&encoded);
        let sending = self.clone();
        let sink = self.sink(move |sample| {
            // A connection that breaks off may leave the beginning of a frame behind.
            let whole =
                sample.buffer().and_then(|buffer| buffer.map_readable().ok()).is_some_and(|map| has_picture(&map));
            if whole { sending.send(sample, true) } else { Ok(gst::FlowSuccess::Ok) }
        })?;
        match &self.pictures {
            Some(pictures) => {
                let tee = self.part("tee")?;
                tee.link(&sink)?;
                self.decode(&tee, pictures)?;
                link(&encoded, &tee)?;
            }
            None => link(&encoded, &sink)?,
        }
        Ok(link(pad, &parser)?)
    }

    fn keep_sound(self: &Arc<Self>, pad: &gst::Pad, parser: &str) -> Built<()> {
        let parser = self.part(parser)?;
        locked(&self.sound_parts).push(parser.clone());
        let hearing = self.clone();
        let sink = self.sink(move |sample| hearing.hear(sample))?;
        parser.link(&sink)?;
        Ok(link(pad, &parser)?)
    }

    /// Adds what takes packets.
    fn sink(
        &self,
        take: impl Fn(gst::Sample) -> Result<gst::FlowSuccess, gst::FlowError> + Send + 'static,
    ) -> Built<gst::Element> {
        let sink = gst_app::AppSink::builder().sync(false).async_(false).build();
        let callbacks = gst_app::AppSinkCallbacks::builder()
            .new_sample(move |sink| take(sink.pull_sample().map_err(|_| gst::FlowError::Eos)?));
        sink.set_callbacks(callbacks.build());
        let bin = self.bin.upgrade().ok_or_else(|| glib::bool_error!("the connection is gone"))?;
        bin.add(&sink)?;
        // It plays at once, and whatever happens to the rest: were it to wait for the decoder, that would wait for it.
        sink.set_locked_state(true);
        sink.set_state(gst::State::Playing).map_err(|e| glib::bool_error!("{e}"))?;
        self.sinks().push(sink.clone());
        Ok(sink.upcast())
    }

    /// The way of the encoded pictures to whoever looks at them decoded.
    fn decode(self: &Arc<Self>, tee: &gst::Element, pictures: &gst::Pad) -> Built<()> {
        let bin = self.bin.upgrade().ok_or_else(|| glib::bool_error!("the connection is gone"))?;
        let queue = self.part("queue")?;
        queue.set_property("max-size-buffers", 0u32);
        queue.set_property("max-size-bytes", 0u32);
        let limit = self.shared.pace.behind().nseconds();
        queue.set_property("max-size-time", 2 * limit);
        let (shedding, streams, full) = (AtomicBool::new(false), self.clone(), queue.downgrade());
        let input = queue.static_pad("sink").ok_or_else(|| glib::bool_error!("no way into a queue"))?;
        input.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let (Some(buffer), Some(queue)) = (info.buffer(), full.upgrade()) else { return gst::PadProbeReturn::Ok };
            let behind = queue.property::<u64>("current-level-time") >= limit;
            // From one key frame to another, as a decoder needs what comes between.
            let is_key = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
            if is_key || behind {
                // What comes of a recording waits for whoever takes it.
                shedding.store(behind && !streams.is_recording(), Ordering::Relaxed);
            }
            if shedding.load(Ordering::Relaxed) {
                streams.shared.counts.shed.fetch_add(1, Ordering::Relaxed);
                return gst::PadProbeReturn::Handled;
            }
            gst::PadProbeReturn::Ok
        });
        let ghost = gst::GhostPad::new(gst::PadDirection::Src);
        ghost.set_active(true)?;
        let ending = self.clone();
        ghost.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| match info.event() {
            // Whoever looks at the pictures goes on with the next connection.
            Some(event) if event.type_() == gst::EventType::Eos && !ending.is_recording() => {
                gst::PadProbeReturn::Handled
            }
            _ => gst::PadProbeReturn::Ok,
        });
        bin.add_pad(&ghost)?;
        ghost.link(pictures).map_err(|e| glib::bool_error!("the pictures can't be handed on: {e}"))?;
        let decoder = self.part("decodebin")?;
        let (telling, target) = (self.clone(), ghost.downgrade());
        decoder.connect_pad_added(move |_, pad| {
            let is_video = name_of(&caps_of(pad)).starts_with("video/");
            let Some(ghost) = target.upgrade().filter(|_| is_video) else { return };
            telling.build(|| Ok(ghost.set_target(Some(pad))?));
        });
        tee.link(&queue)?;
        Ok(queue.link(&decoder)?)
    }
}

/// The first element that is missing of those in a description as for `gst-launch-1.0`.
pub(super) fn lacking(description: &str) -> Option<Missing> {
    let elements = description.split('!').filter_map(|part| part.split_whitespace().next());
    let mut elements = elements.filter(|element| !element.contains(['/', '=']));
    elements.find(|element| gst::ElementFactory::find(element).is_none()).map(Missing::element)
}

/// Whether there is an element of a kind in another one.
fn holds(element: &gst::Element, kind: &str) -> bool {
    let Some(bin) = element.downcast_ref::<gst::Bin>() else { return false };
    let is_it = |element: gst::Element| element.factory().is_some_and(|factory| factory.name() == kind);
    bin.iterate_recurse().into_iter().flatten().any(is_it)
}

fn source_pad(element: &gst::Element) -> Result<gst::Pad, glib::BoolError> {
    element.static_pad("src").ok_or_else(|| glib::bool_error!("{} gives nothing out", element.name()))
}

fn link(pad: &gst::Pad, to: &gst::Element) -> Result<(), glib::BoolError> {
    let target = to.static_pad("sink").ok_or_else(|| glib::bool_error!("{} takes nothing in", to.name()))?;
    pad.link(&target).map(drop).map_err(|e| glib::bool_error!("{} can't be linked: {e}", to.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_that_is_missing_is_found_in_a_description() {
        gst::init().unwrap();
        assert_eq!(lacking("identity ! video/x-h264,alignment=au ! fakesink name=a"), None);
        assert_eq!(lacking("identity ! x264encoder a=b ! fakesink"), Some(Missing::element("x264encoder")));
    }
}
