//! One connection to a camera: all elements that are made for it, and go with it.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering},
    mpsc::SyncSender,
};

use gst::prelude::*;

use super::{Arrival, SourceError};
use crate::watch::{clock::Clock, metrics::Counts, ring::Packet};

/// Name of the message that says that the video is at its end.
pub const ENDED: &str = "desumnet-ended";
/// Name of the message that says that a stream's `codec` can't be kept.
pub const UNFIT: &str = "desumnet-unfit";

/// What buffers count their times from, so that pictures can be decoded before the first one plays.
const START: i64 = 1_000_000_000_000;
/// What of the encoded pictures may wait for the decoder before a live camera's are shed, and where they come in pieces.
const BEHIND: gst::ClockTime = gst::ClockTime::from_seconds(3);
const BEHIND_IN_PIECES: gst::ClockTime = gst::ClockTime::from_seconds(30);

/// Streams that can be kept: their caps, and what brings them there. The first is video.
const KEPT: [(&str, &str); 4] = [
    ("video/x-h264", "h264parse ! video/x-h264,stream-format=avc,alignment=au"),
    ("video/x-h265", "h265parse ! video/x-h265,stream-format=hvc1,alignment=au"),
    ("audio/mpeg", "aacparse ! audio/mpeg,mpegversion=4,stream-format=raw"),
    ("audio/x-opus", "opusparse"),
];
/// What encodes what a camera sends raw.
const RAW: [(&str, &str); 2] = [
    ("video/x-raw", "videoconvert ! x264enc tune=zerolatency speed-preset=veryfast key-int-max=50 ! h264parse"),
    ("audio/x-raw", "audioconvert ! audioresample ! avenc_aac ! aacparse"),
];
/// What `test:` shows.
const TEST: &str = "videotestsrc is-live=true pattern=ball ! video/x-raw,width=640,height=360,framerate=25/1 ! identity name=video \
                    audiotestsrc is-live=true wave=ticks ! audio/x-raw,rate=48000,channels=1 ! identity name=sound";

/// How pictures come from a source.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As they are filmed. One that ends is gone.
    Live,
    /// As a server has them: those of several seconds at once, where it is live, or all of a recording.
    Pieces,
    /// As they are asked for.
    Asked,
}

impl Pace {
    /// Whether the source comes to an end of its own.
    pub fn ends(self) -> bool {
        self != Self::Live
    }

    fn behind(self) -> gst::ClockTime {
        if self == Self::Pieces { BEHIND_IN_PIECES } else { BEHIND }
    }

    /// Whether what comes on a pad doesn't wait for whoever takes it.
    fn goes_on(self, pad: &gst::Pad) -> bool {
        match self {
            Self::Live => true,
            // A recording has a length.
            Self::Pieces => pad.peer_query_duration::<gst::ClockTime>().is_none(),
            Self::Asked => false,
        }
    }
}

/// What outlives connections.
pub struct Shared {
    pub pace: Pace,
    pub arrivals: SyncSender<Arrival>,
    pub counts: Arc<Counts>,
    pub clock: Mutex<Clock>,
    pub pipeline: glib::WeakRef<gst::Pipeline>,
}

impl Shared {
    fn clock(&self) -> MutexGuard<'_, Clock> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        let now = self.pipeline.upgrade().and_then(|pipeline| pipeline.current_running_time());
        now.map_or(0, gst::ClockTime::nseconds)
    }
}

/// What the callbacks of a connection share.
struct Streams {
    shared: Arc<Shared>,
    bin: glib::WeakRef<gst::Bin>,
    pictures: Option<gst::Pad>,
    video: AtomicBool,
    sound: AtomicBool,
    /// Containers that are being looked into, and how many of them have told what they hold.
    containers: AtomicUsize,
    told: AtomicUsize,
    has_video: AtomicBool,
    /// The source shows nothing more.
    all_there: AtomicBool,
    /// What takes the packets; their states are their own.
    sinks: Mutex<Vec<gst_app::AppSink>>,
    /// Held while elements are added. True once it is all taken down: what were added then would play on for ever.
    gone: Mutex<bool>,
}

/// A connection while it lasts.
pub struct Connection {
    bin: gst::Bin,
    pipeline: gst::Pipeline,
    streams: Arc<Streams>,
}

impl Connection {
    /// Begins to connect. Whether it works is told on the pipeline's bus.
    pub fn begin(
        uri: &str,
        pipeline: &gst::Pipeline,
        shared: &Arc<Shared>,
        pictures: Option<&gst::Pad>,
    ) -> Result<Self, SourceError> {
        let bin = gst::Bin::new();
        shared.clock().connect();
        let streams = Arc::new(Streams {
            shared: shared.clone(),
            bin: bin.downgrade(),
            pictures: pictures.cloned(),
            video: AtomicBool::new(false),
            sound: AtomicBool::new(false),
            containers: AtomicUsize::new(0),
            told: AtomicUsize::new(0),
            has_video: AtomicBool::new(false),
            all_there: AtomicBool::new(false),
            sinks: Mutex::new(Vec::new()),
            gone: Mutex::new(false),
        });
        let missing = |_| SourceError::Element("urisourcebin, or an element of a test source");
        pipeline.add(&bin).map_err(|_| SourceError::Element("a pipeline"))?;
        let connection = Self { bin, pipeline: pipeline.clone(), streams: streams.clone() };
        if uri.starts_with("test:") {
            let test =
                gst::parse::bin_from_description(TEST, false).map_err(|_| SourceError::Element("videotestsrc"))?;
            connection.bin.add(&test).map_err(missing)?;
            for name in ["video", "sound"] {
                let pad = test.by_name(name).and_then(|element| element.static_pad("src"));
                let pad = pad.ok_or(SourceError::Element("identity"))?;
                let ghost = gst::GhostPad::builder_with_target(&pad).map_err(missing)?.name(name).build();
                test.add_pad(&ghost).map_err(missing)?;
                streams.take_in(ghost.upcast_ref());
            }
            streams.all_there.store(true, Ordering::Relaxed);
        } else {
            let source = gst::ElementFactory::make("urisourcebin").property("uri", uri).build().map_err(missing)?;
            let noting = streams.clone();
            source.connect("source-setup", false, move |values| {
                if let Some(source) = values.get(1).and_then(|value| value.get::<gst::Element>().ok()) {
                    set_up(&source, &noting);
                }
                None
            });
            let taking = streams.clone();
            source.connect_pad_added(move |_, pad| taking.take_in(pad));
            connection.bin.add(&source).map_err(missing)?;
        }
        // What goes wrong is told on the bus.
        let _ = connection.bin.sync_state_with_parent();
        Ok(connection)
    }

    /// Whether a message is this connection's.
    pub fn owns(&self, message: &gst::Message) -> bool {
        message.src().is_some_and(|source| source == &self.bin || source.has_as_ancestor(&self.bin))
    }

    /// A container told what it holds.
    pub fn note_collection(&self, message: &gst::Message) {
        let gst::MessageView::StreamCollection(told) = message.view() else { return };
        if told.stream_collection().iter().any(|stream| stream.stream_type().contains(gst::StreamType::VIDEO)) {
            self.streams.has_video.store(true, Ordering::Relaxed);
        }
        self.streams.told.fetch_add(1, Ordering::Relaxed);
    }

    /// All is known of it, and nothing is video.
    pub fn has_no_video(&self) -> bool {
        let Streams { all_there, told, containers, has_video, video, .. } = &*self.streams;
        all_there.load(Ordering::Relaxed)
            && containers.load(Ordering::Relaxed) > 0
            && told.load(Ordering::Relaxed) >= containers.load(Ordering::Relaxed)
            && !has_video.load(Ordering::Relaxed)
            && !video.load(Ordering::Relaxed)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some((pad, peer)) = self.streams.pictures.as_ref().and_then(|pad| Some((pad, pad.peer()?))) {
            let _ = peer.unlink(pad);
        }
        *self.streams.gone() = true;
        // The pipeline is not to raise it again meanwhile.
        self.bin.set_locked_state(true);
        // Going down can't fail in a way that matters to anybody.
        let _ = self.bin.set_state(gst::State::Null);
        for sink in self.streams.sinks().drain(..) {
            let _ = sink.set_state(gst::State::Null);
        }
        let _ = self.pipeline.remove(&self.bin);
    }
}

/// Gives a source what suits a recording: nothing lost on the way, and an end to waiting. Notes when it has shown all that it has.
fn set_up(source: &gst::Element, streams: &Arc<Streams>) {
    match source.factory().map(|factory| factory.name()).as_deref() {
        Some("rtspsrc") => {
            source.set_property_from_str("protocols", "tcp");
            source.set_property("tcp-timeout", 10_000_000u64);
            let streams = streams.clone();
            source.connect_no_more_pads(move |_| streams.all_there.store(true, Ordering::Relaxed));
        }
        Some("filesrc") => streams.all_there.store(true, Ordering::Relaxed),
        // A playlist may show more at any time.
        _ => {}
    }
}

fn name_of(pad: &gst::Pad) -> String {
    let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
    caps.structure(0).map(|structure| structure.name().to_string()).unwrap_or_default()
}

impl Streams {
    fn sinks(&self) -> MutexGuard<'_, Vec<gst_app::AppSink>> {
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gone(&self) -> MutexGuard<'_, bool> {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn post(&self, structure: gst::Structure) {
        if let Some(bin) = self.bin.upgrade() {
            let _ = bin.post_message(gst::message::Application::builder(structure).src(&bin).build());
        }
    }

    /// Adds elements, unless it is all taken down. What fails is told on the bus.
    fn build(&self, add: impl FnOnce() -> Result<(), glib::BoolError>) {
        let gone = self.gone();
        let done = if *gone { Ok(()) } else { add() };
        drop(gone);
        if let (Err(error), Some(bin)) = (done, self.bin.upgrade()) {
            gst::element_error!(bin, gst::CoreError::Pad, ["{}", error]);
        }
    }

    /// A source shows a stream: raw, or in whatever it is packed into.
    fn take_in(self: &Arc<Self>, pad: &gst::Pad) {
        self.build(|| self.try_take_in(pad));
    }

    fn try_take_in(self: &Arc<Self>, pad: &gst::Pad) -> Result<(), glib::BoolError> {
        let name = name_of(pad);
        if let Some((_, encoder)) = RAW.iter().find(|(raw, _)| *raw == name) {
            let encoder = self.part(encoder)?;
            link(pad, &encoder)?;
            return self.try_keep(&source_pad(&encoder)?, false);
        }
        self.containers.fetch_add(1, Ordering::Relaxed);
        let parser = self.part("parsebin")?;
        let (keeping, has_no_times) = (self.clone(), name == "application/x-rtp");
        parser.connect_pad_added(move |_, pad| keeping.build(|| keeping.try_keep(pad, has_no_times)));
        link(pad, &parser)
    }

    /// Adds elements that are described as for `gst-launch-1.0`.
    fn part(&self, description: &str) -> Result<gst::Element, glib::BoolError> {
        let told = |e: glib::Error| glib::bool_error!("{e}");
        // A single one has no bin around it, so that its signals are at hand.
        let part = match description.contains('!') {
            true => gst::parse::bin_from_description(description, true).map_err(told)?.upcast(),
            false => gst::ElementFactory::make(description).build()?,
        };
        self.add(&part)?;
        Ok(part)
    }

    fn add(&self, part: &gst::Element) -> Result<(), glib::BoolError> {
        let bin = self.bin.upgrade().ok_or_else(|| glib::bool_error!("the connection is gone"))?;
        bin.add(part)?;
        part.sync_state_with_parent()
    }

    /// An encoded stream comes. `has_no_times`: it doesn't tell when its pictures are decoded.
    fn try_keep(self: &Arc<Self>, pad: &gst::Pad, has_no_times: bool) -> Result<(), glib::BoolError> {
        let name = name_of(pad);
        let is_video = name.starts_with("video/") || name.starts_with("image/");
        let kept = KEPT.iter().find(|(codec, _)| *codec == name);
        let taken = if is_video { &self.video } else { &self.sound };
        let wanted = (is_video || name.starts_with("audio/")) && !taken.swap(true, Ordering::Relaxed);
        let Some((codec, parser)) = kept.filter(|_| wanted) else {
            if wanted {
                self.post(gst::Structure::builder(UNFIT).field("codec", &name).build());
            }
            let nowhere = gst::ElementFactory::make("fakesink").property("async", false).build()?;
            self.add(&nowhere)?;
            return link(pad, &nowhere);
        };
        let parser = match codec.strip_prefix("video/x-").filter(|_| has_no_times) {
            Some(codec) => format!("{parser} ! {codec}timestamper"),
            None => (*parser).into(),
        };
        let parser = self.part(&format!("{parser} ! identity"))?;
        let encoded = source_pad(&parser)?;
        self.keep_time(&encoded, is_video);
        let sink = gst_app::AppSink::builder().sync(false).async_(false).build();
        let (sending, has_picture) = (self.clone(), picture_test(codec));
        let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            // A connection that breaks off may leave the beginning of a frame behind.
            let whole =
                sample.buffer().and_then(|buffer| buffer.map_readable().ok()).is_some_and(|map| has_picture(&map));
            if whole { sending.send(sample, is_video) } else { Ok(gst::FlowSuccess::Ok) }
        });
        sink.set_callbacks(callbacks.build());
        let bin = self.bin.upgrade().ok_or_else(|| glib::bool_error!("the connection is gone"))?;
        bin.add(&sink)?;
        // It plays at once, and whatever happens to the rest: were it to wait for the decoder, that would wait for it.
        sink.set_locked_state(true);
        sink.set_state(gst::State::Playing).map_err(|e| glib::bool_error!("{e}"))?;
        self.sinks().push(sink.clone());
        match self.pictures.as_ref().filter(|_| is_video) {
            Some(pictures) => {
                let tee = self.part("tee")?;
                tee.link(&sink)?;
                self.decode(&bin, &tee, pictures)?;
                link(&encoded, &tee)?;
            }
            None => link(&encoded, sink.upcast_ref())?,
        }
        link(pad, &parser)
    }

    /// The way of the encoded pictures to whoever looks at them decoded.
    fn decode(
        self: &Arc<Self>,
        bin: &gst::Bin,
        tee: &gst::Element,
        pictures: &gst::Pad,
    ) -> Result<(), glib::BoolError> {
        let queue = self.part("queue")?;
        queue.set_property("max-size-buffers", 0u32);
        queue.set_property("max-size-bytes", 0u32);
        let (pace, limit) = (self.shared.pace, self.shared.pace.behind().nseconds());
        queue.set_property("max-size-time", 2 * limit);
        let (shedding, streams, full) = (AtomicBool::new(false), self.clone(), queue.downgrade());
        let input = queue.static_pad("sink").ok_or_else(|| glib::bool_error!("no way into a queue"))?;
        input.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            let (Some(buffer), Some(queue)) = (info.buffer(), full.upgrade()) else { return gst::PadProbeReturn::Ok };
            let behind = queue.property::<u64>("current-level-time") >= limit;
            // From one key frame to another, as a decoder needs what comes between.
            let is_key = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
            if is_key || behind {
                shedding.store(behind && pace.goes_on(pad), Ordering::Relaxed);
            }
            if shedding.load(Ordering::Relaxed) {
                streams.shared.counts.shed.fetch_add(1, Ordering::Relaxed);
                return gst::PadProbeReturn::Handled;
            }
            gst::PadProbeReturn::Ok
        });
        let ghost = gst::GhostPad::new(gst::PadDirection::Src);
        ghost.set_active(true)?;
        if !pace.ends() {
            // Whoever looks at the pictures goes on with the next connection.
            ghost.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, |_, info| match info.event() {
                Some(event) if event.type_() == gst::EventType::Eos => gst::PadProbeReturn::Handled,
                _ => gst::PadProbeReturn::Ok,
            });
        }
        bin.add_pad(&ghost)?;
        ghost.link(pictures).map_err(|e| glib::bool_error!("the pictures can't be handed on: {e}"))?;
        let decoder = self.part("decodebin")?;
        let (telling, target) = (self.clone(), ghost.downgrade());
        decoder.connect_pad_added(move |_, pad| {
            let Some(ghost) = target.upgrade().filter(|_| name_of(pad).starts_with("video/")) else { return };
            telling.build(|| ghost.set_target(Some(pad)));
        });
        tee.link(&queue)?;
        queue.link(&decoder)
    }

    /// Brings what passes to times that run on over jumps and connections; buffers count from [`START`].
    fn keep_time(self: &Arc<Self>, pad: &gst::Pad, is_video: bool) {
        let (streams, segment) = (self.clone(), Mutex::new(gst::FormattedSegment::<gst::ClockTime>::new()));
        let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
        pad.add_probe(kinds, move |_, info| {
            let mut segment = segment.lock().unwrap_or_else(PoisonError::into_inner);
            match &mut info.data {
                Some(gst::PadProbeData::Event(event)) => {
                    if let gst::EventView::Segment(told) = event.view() {
                        let mut from_start = gst::FormattedSegment::<gst::ClockTime>::new();
                        from_start.set_start(gst::ClockTime::from_nseconds(START as u64));
                        // It passes again, as it is now, where the pad is linked anew.
                        if let Some(new) = told.segment().downcast_ref::<gst::ClockTime>()
                            && *new != from_start
                        {
                            *segment = new.clone();
                        }
                        *event = gst::event::Segment::new(&from_start);
                    } else if event.type_() == gst::EventType::Eos && is_video {
                        streams.post(gst::Structure::new_empty(ENDED));
                    }
                    gst::PadProbeReturn::Ok
                }
                Some(gst::PadProbeData::Buffer(buffer)) => match streams.place(buffer, &segment, is_video) {
                    Some(()) => gst::PadProbeReturn::Ok,
                    None => gst::PadProbeReturn::Handled,
                },
                _ => gst::PadProbeReturn::Ok,
            }
        });
    }

    /// Gives a buffer its new times; `None` for one that has none.
    fn place(
        &self,
        buffer: &mut gst::Buffer,
        segment: &gst::FormattedSegment<gst::ClockTime>,
        is_video: bool,
    ) -> Option<()> {
        let running = |time: gst::ClockTime| {
            let time = segment.to_running_time_full(time)?;
            let ns = i64::try_from(time.abs().nseconds()).ok()?;
            Some(if time.is_negative() { -ns } else { ns })
        };
        let came = running(buffer.pts().or(buffer.dts())?)?;
        let ahead = buffer.dts().and_then(running).map_or(0, |dts| (came - dts).max(0));
        let duration = buffer.duration().map_or(0, gst::ClockTime::nseconds);
        let mut clock = self.shared.clock();
        let time = if is_video {
            let (time, breaks) = clock.picture(came, duration, self.shared.now());
            if breaks {
                // Nobody listens only when it is all over.
                let _ = self.shared.arrivals.send(Arrival::Break);
            }
            time
        } else {
            clock.sound(came)?
        };
        drop(clock);
        let at = |time: i64| u64::try_from(START + time).ok().map(gst::ClockTime::from_nseconds);
        let times = buffer.make_mut();
        times.set_pts(at(time));
        times.set_dts(at(time - ahead));
        (time >= 0).then_some(())
    }

    fn send(&self, sample: gst::Sample, is_video: bool) -> Result<gst::FlowSuccess, gst::FlowError> {
        let buffer = sample.buffer().ok_or(gst::FlowError::Error)?;
        let since_start =
            |time: Option<gst::ClockTime>| time.map_or(0, |time| time.nseconds().saturating_sub(START as u64));
        let packet = Packet {
            time: since_start(buffer.pts()),
            decode: since_start(buffer.dts()),
            duration: buffer.duration().map_or(0, gst::ClockTime::nseconds),
            key: !is_video || !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT),
            bytes: buffer.size(),
            data: sample,
        };
        let arrival = if is_video { Arrival::Video(packet) } else { Arrival::Sound(packet) };
        // Nobody takes it only when it is all over.
        self.shared.arrivals.send(arrival).map_err(|_| gst::FlowError::Eos)?;
        if is_video {
            self.shared.counts.frames.fetch_add(1, Ordering::Relaxed);
        }
        Ok(gst::FlowSuccess::Ok)
    }
}

/// Whether a frame of a codec, as MP4 holds it, has a part of a picture in it, by the types of its units (H.264, table 7-1; H.265, table
/// 7-1).
fn picture_test(codec: &str) -> fn(&[u8]) -> bool {
    match codec {
        "video/x-h264" => |frame| units(frame).any(|unit| matches!(unit & 0x1f, 1..=5)),
        "video/x-h265" => |frame| units(frame).any(|unit| unit >> 1 & 0x3f < 32),
        _ => |_| true,
    }
}

/// The first byte of every unit, each after its length.
fn units(mut frame: &[u8]) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let (length, rest) = frame.split_first_chunk::<4>()?;
        let (unit, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        frame = rest;
        unit.first().copied()
    })
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
    fn a_frame_without_a_picture_is_told_by_its_units() {
        let frame = |types: &[u8]| types.iter().flat_map(|byte| [0, 0, 0, 2, *byte, 0xf0]).collect::<Vec<u8>>();
        let (h264, h265) = (picture_test("video/x-h264"), picture_test("video/x-h265"));
        assert!(!h264(&frame(&[0x09])) && !h264(&frame(&[0x67, 0x68])) && !h264(&[]) && !h264(&[0, 0, 0, 9, 0x65]));
        assert!(h264(&frame(&[0x09, 0x67, 0x65])) && h264(&frame(&[0x41])));
        assert!(!h265(&frame(&[0x46, 0x40])) && h265(&frame(&[0x46, 0x26])));
        assert!(picture_test("audio/mpeg")(&[]));
    }
}
