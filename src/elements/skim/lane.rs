//! A stream that goes along with the video: what of it waits, and what goes on next.

use std::collections::VecDeque;

use super::{
    broken_link,
    closing::{Closing, Picture},
    room::Stream,
    sound::{self, Sound, SoundError},
};
use desumnet_decide::{
    samples::{Chunk, Cutter, Step},
    timeline::{Fate, Piece, Timeline},
};

/// Of encoded video, see [`Lane::origin`]: longer than pictures are decoded before they play.
const ORIGIN: gst::ClockTime = gst::ClockTime::from_seconds(60);

enum Item {
    /// At this running time, ns; of raw sound or anything else.
    Buffer(gst::Buffer, u64),
    /// Nothing comes from a running time on for a duration, ns; and the event's own time.
    Gap {
        time: u64,
        duration: u64,
        stamp: gst::ClockTime,
    },
    Event(gst::Event),
}

/// How streams are treated, by the settings.
#[derive(Clone, Copy, Default)]
pub struct Manner {
    /// What is kept keeps its own time.
    pub in_place: bool,
    /// Raw sound that plays faster is scaled.
    pub scales: bool,
}

/// What goes on next.
pub enum Next {
    Buffer(gst::Buffer),
    Event(gst::Event),
    /// Nothing, until more comes in or is decided.
    Wait,
}

/// A pair of request pads, as its streaming thread and its task share it.
pub struct Lane {
    pub sinkpad: gst::Pad,
    pub srcpad: gst::Pad,
    queue: VecDeque<Item>,
    /// Of the buffers in `queue`.
    bytes: usize,
    /// Of what comes in.
    segment: gst::FormattedSegment<gst::ClockTime>,
    /// Start of the segment that was sent on since the last flush.
    sent_segment: Option<gst::ClockTime>,
    /// Raw sound that comes in: rate and bytes a sample of all channels.
    raw: Option<(u32, u32)>,
    /// Encoded video comes in.
    encoded: bool,
    /// Of encoded video that goes on: where the lengths of H.265's NAL units are, if it is that.
    h265: Option<broken_link::Framing>,
    /// When its last key frame plays, whether what plays before that but is decoded after it can be decoded, and whether nothing can before
    /// the next one.
    key_frame: u64,
    leading: bool,
    skipping: bool,
    /// Of encoded video: when the last picture plays that was kept, and where its piece begins; and what goes along at the end of that.
    last_kept: Option<(u64, u64)>,
    closing: Option<Closing>,
    /// When the last picture of encoded video that went out is decoded.
    decoded: Option<gst::ClockTime>,
    /// A packet of encoded video was lost: up to the next key frame nothing comes in.
    broken: bool,
    /// Running time up to which it has come in, ns.
    arrived: u64,
    /// Running time up to which it has gone on, ns.
    settled: u64,
    /// Raw sound that goes out.
    sound: Option<Sound>,
    /// Number of the piece that was open when the lane began, and whether the video had begun by then.
    piece: u64,
    late: bool,
    /// Where the last buffer ended in the output: a buffer elsewhere is a discontinuity.
    joins: Option<gst::ClockTime>,
    /// EOS has gone out.
    over: bool,
    /// Downstream is at the last buffer.
    pub sending: bool,
    /// That there was no room was said.
    pub told: bool,
    /// Pads are inactive or flushing: nobody is to wait.
    pub flushing: bool,
    /// What downstream said last.
    pub flow: Result<gst::FlowSuccess, gst::FlowError>,
}

impl Lane {
    /// Sound in it plays from the piece of this number on; `late`: from its first sample on, as the video has begun.
    pub fn new(sinkpad: gst::Pad, srcpad: gst::Pad, piece: u64, late: bool) -> Self {
        Self {
            sinkpad,
            srcpad,
            queue: VecDeque::new(),
            bytes: 0,
            segment: gst::FormattedSegment::new(),
            sent_segment: None,
            raw: None,
            encoded: false,
            h265: None,
            key_frame: 0,
            leading: false,
            skipping: false,
            last_kept: None,
            closing: None,
            decoded: None,
            broken: false,
            arrived: 0,
            settled: 0,
            sound: None,
            piece,
            late,
            joins: None,
            over: false,
            sending: false,
            told: false,
            flushing: true,
            flow: Ok(gst::FlowSuccess::Ok),
        }
    }

    /// The pads are active: nothing has come yet.
    pub fn start(&mut self) {
        *self = Self { flushing: false, ..Self::new(self.sinkpad.clone(), self.srcpad.clone(), self.piece, self.late) };
    }

    /// After a flush: forgets what waits. The events that waited, in order, as if they had gone on.
    pub fn clear(&mut self, manner: Manner) -> Vec<gst::Event> {
        let event = |item| if let Item::Event(event) = item { Some(event) } else { None };
        let events: Vec<_> = self.queue.drain(..).filter_map(event).collect();
        events.iter().for_each(|event| self.pass(event, manner));
        (self.segment, self.sent_segment, self.bytes) = (gst::FormattedSegment::new(), None, 0);
        (self.arrived, self.settled, self.joins, self.over) = (0, 0, None, false);
        (self.key_frame, self.leading, self.skipping, self.broken) = (0, false, false, false);
        (self.last_kept, self.closing, self.decoded) = (None, None, None);
        self.flushing = false;
        self.flow = Ok(gst::FlowSuccess::Ok);
        if let Some(sound) = &mut self.sound {
            sound.forget();
            sound.cutter.forget_chunk();
        }
        events
    }

    /// The timeline begins anew.
    pub fn begin_anew(&mut self) {
        (self.piece, self.late) = (0, false);
        if let Some(sound) = &mut self.sound {
            sound.forget();
            sound.cutter.begin_anew();
        }
    }

    /// Running time up to which it has come in, ns.
    pub fn arrived(&self) -> u64 {
        self.arrived
    }

    /// How much of it waits, and for what.
    pub fn load(&self) -> Stream {
        Stream { arrived: self.arrived, bytes: self.bytes, sending: self.sending }
    }

    /// A buffer that comes in is lost. What can't be decoded without it is not let in.
    pub fn lose(&mut self) {
        self.broken = self.encoded;
    }

    /// Running time before which it needs no piece of the timeline any more, ns.
    pub fn settled(&self) -> u64 {
        if self.over { u64::MAX } else { self.settled }
    }

    /// Encoded video comes in.
    pub fn is_encoded_video(&self) -> bool {
        self.encoded
    }

    /// Timestamp in the output of the running time 0. The first pictures may be decoded before that.
    fn origin(&self) -> gst::ClockTime {
        if self.encoded { ORIGIN } else { gst::ClockTime::ZERO }
    }

    /// A buffer comes in; when it plays, ns, if it is a key frame of encoded video.
    pub fn add_buffer(&mut self, mut buffer: gst::Buffer) -> Option<u64> {
        if self.over {
            return None;
        }
        if let Some((rate, bpf)) = self.raw
            && buffer.pts().is_some()
        {
            // Outside of its segment, it is not to be heard.
            match gst_audio::audio_buffer_clip(buffer, self.segment.upcast_ref(), rate, bpf) {
                Some(clipped) => buffer = clipped,
                None => return None,
            }
        }
        // What has no time follows what came before.
        let time = match buffer.pts().map(|pts| self.segment.to_running_time(pts)) {
            Some(Some(time)) => time.nseconds(),
            Some(None) => return None,
            None => self.arrived,
        };
        let duration = match self.raw {
            Some((rate, bpf)) => sound::samples(&buffer, bpf) * 1_000_000_000 / u64::from(rate),
            None => buffer.duration().map_or(0, gst::ClockTime::nseconds),
        };
        self.arrived = self.arrived.max(time + duration);
        let key_frame = self.encoded && !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        self.broken &= !key_frame;
        if !self.broken {
            self.bytes += buffer.size();
            self.queue.push_back(Item::Buffer(buffer, time));
        }
        key_frame.then_some(time)
    }

    /// The item in front is done with.
    fn pop(&mut self) -> Option<Item> {
        let item = self.queue.pop_front();
        if let Some(Item::Buffer(buffer, _)) = &item {
            self.bytes = self.bytes.saturating_sub(buffer.size());
        }
        item
    }

    /// A serialized event comes in; what goes out for it, in its turn.
    ///
    /// # Errors
    /// [`SoundError`]
    pub fn add_event(&mut self, event: gst::Event, manner: Manner) -> Result<(), SoundError> {
        use gst::EventView;
        if event.type_() == gst::EventType::StreamStart && self.over {
            (self.over, self.flow) = (false, Ok(gst::FlowSuccess::Ok));
        }
        let item = match event.view() {
            EventView::Caps(caps) => {
                self.raw = sound::info(caps.caps())?.map(|info| (info.rate(), info.bpf()));
                self.encoded = caps.caps().structure(0).is_some_and(is_encoded_video);
                self.h265 = caps.caps().structure(0).and_then(broken_link::framing);
                Item::Event(event)
            }
            EventView::Segment(segment) => match segment.segment().downcast_ref::<gst::ClockTime>() {
                Some(own) => {
                    self.segment = own.clone();
                    // In the output times just go on: an encoder would end what it is at with each further one.
                    if !manner.in_place && self.sent_segment.replace(self.origin()) == Some(self.origin()) {
                        return Ok(());
                    }
                    Item::Event(if manner.in_place { event } else { super::retimed(&event, self.origin()) })
                }
                None => Item::Event(event),
            },
            EventView::Gap(gap) => {
                let (stamp, duration) = gap.get();
                let Some(time) = self.segment.to_running_time(stamp) else { return Ok(()) };
                let (time, duration) = (time.nseconds(), duration.map_or(0, gst::ClockTime::nseconds));
                self.arrived = self.arrived.max(time + duration);
                Item::Gap { time, duration, stamp }
            }
            _ => Item::Event(event),
        };
        if !self.over {
            self.queue.push_back(item);
        }
        Ok(())
    }

    /// Downstream takes no more buffers: only events go on.
    pub fn drop_buffers(&mut self) {
        self.queue.retain(|item| matches!(item, Item::Event(_)));
        self.bytes = 0;
    }

    /// What goes on next, by what is decided.
    pub fn next(&mut self, timeline: &Timeline, manner: Manner) -> Next {
        loop {
            let next = match self.queue.front() {
                None if self.sound.as_ref().is_some_and(|sound| sound.cutter.is_over(timeline)) && !self.over => {
                    Some(self.end())
                }
                None => return Next::Wait,
                Some(Item::Event(event)) => {
                    let event = event.clone();
                    let ends = matches!(event.type_(), gst::EventType::Caps | gst::EventType::Eos);
                    let rest = self.sound.as_mut().filter(|_| ends).and_then(Sound::finish);
                    if rest.is_none() {
                        self.pop();
                        self.pass(&event, manner);
                    }
                    Some(rest.map_or(Next::Event(event), Next::Buffer))
                }
                Some(Item::Buffer(_, time) | Item::Gap { time, .. }) => {
                    let time = *time;
                    if self.sound.is_some() {
                        self.next_sound(timeline, manner.in_place)
                    } else {
                        // Of encoded video, some that plays before it may come after it.
                        let before = if self.encoded { ORIGIN.nseconds() } else { 0 };
                        self.settled = self.settled.max(time.saturating_sub(before));
                        self.next_other(timeline, manner.in_place)
                    }
                }
            };
            match next {
                Some(Next::Buffer(buffer)) => return Next::Buffer(self.joined(buffer)),
                Some(next) => return next,
                None => {}
            }
        }
    }

    /// An event's turn has come.
    fn pass(&mut self, event: &gst::EventRef, manner: Manner) {
        match event.view() {
            gst::EventView::Caps(caps) => {
                // They were checked when they came in.
                let info = sound::info(caps.caps()).ok().flatten();
                let before = self.sound.take();
                self.sound = info.map(|info| {
                    let cutter = match before {
                        Some(before) => Cutter::after(info.rate(), &before.cutter),
                        None => Cutter::new(info.rate(), manner.in_place, self.piece).beginning_late(self.late),
                    };
                    Sound::new(info, cutter, manner.scales)
                });
            }
            gst::EventView::Eos(_) => self.over = true,
            _ => {}
        }
    }

    /// The video has ended here.
    fn end(&mut self) -> Next {
        if let Some(rest) = self.sound.as_mut().and_then(Sound::finish) {
            return Next::Buffer(rest);
        }
        self.over = true;
        self.flow = Err(gst::FlowError::Eos);
        self.queue.clear();
        self.bytes = 0;
        Next::Event(gst::event::Eos::new())
    }

    /// With the flag that tells whether it goes on where the last one ended.
    fn joined(&mut self, mut buffer: gst::Buffer) -> gst::Buffer {
        if self.sound.is_some() {
            let joins = self.joins.is_some() && self.joins == buffer.pts();
            self.joins = buffer.pts().zip(buffer.duration()).map(|(pts, duration)| pts + duration);
            if buffer.flags().contains(gst::BufferFlags::DISCONT) == joins {
                let buffer = buffer.make_mut();
                if joins {
                    buffer.unset_flags(gst::BufferFlags::DISCONT);
                } else {
                    buffer.set_flags(gst::BufferFlags::DISCONT);
                }
            }
        }
        buffer
    }

    /// A step with the raw sound in front; `None`: nothing goes out for it.
    fn next_sound(&mut self, timeline: &Timeline, in_place: bool) -> Option<Next> {
        let (Some(sound), Some(item)) = (&mut self.sound, self.queue.front()) else { return Some(Next::Wait) };
        let (buffer, chunk, stamp) = match item {
            Item::Buffer(buffer, time) => (Some(buffer), sound.chunk(buffer, *time), buffer.pts()),
            Item::Gap { time, duration, stamp } => {
                (None, Chunk { time: *time, samples: sound.cutter.samples_in(*duration) }, Some(*stamp))
            }
            Item::Event(_) => return None,
        };
        // Where a running time is on the input's own scale.
        let own = |time: u64| {
            let stamp = stamp.unwrap_or_default().nseconds();
            gst::ClockTime::from_nseconds((stamp + time).saturating_sub(chunk.time))
        };
        let step = sound.cutter.step(timeline, &chunk);
        let cutter = &sound.cutter;
        let output = |sample: u64| gst::ClockTime::from_nseconds(cutter.time_of(sample));
        let stamped = |buffer: gst::Buffer, at: std::ops::Range<u64>, start: gst::ClockTime| {
            Next::Buffer(sound.stamped(buffer, at, start))
        };
        match step {
            Step::Play { samples, at, fade } => {
                let out = at..at + (samples.end - samples.start);
                let start = if in_place { own(chunk.time + cutter.time_of(samples.start)) } else { output(at) };
                match buffer {
                    Some(buffer) => Some(stamped(sound.part(buffer, samples, at, &fade), out, start)),
                    None if in_place => Some(gap(start, output(out.end) - output(out.start))),
                    None => Some(stamped(sound.silence(out.end - out.start), out, start)),
                }
            }
            Step::Scale(scaled) => sound.scale(buffer, &scaled).map(Next::Buffer),
            Step::Finish => sound.finish().map(Next::Buffer),
            Step::Silence { at } if in_place => {
                Some(gap(own(cutter.time_of(at.start)), output(at.end) - output(at.start)))
            }
            Step::Silence { at } => Some(stamped(sound.silence(at.end - at.start), at.clone(), output(at.start))),
            Step::Drop { samples } if in_place => {
                let [start, end] = [samples.start, samples.end].map(|sample| own(chunk.time + cutter.time_of(sample)));
                Some(gap(start, end - start))
            }
            Step::Drop { .. } => None,
            Step::Done => {
                // Not before: until then, pieces that end before it may have to be filled up.
                self.settled = self.settled.max(chunk.time);
                self.pop();
                None
            }
            Step::Wait => Some(Next::Wait),
            Step::Over => Some(self.end()),
        }
    }

    /// Whether a buffer of encoded video is kept: what was decoded before it has to be, too. The first one after a cut says so.
    fn decodable(&mut self, buffer: &mut gst::Buffer, time: u64, piece: Option<Piece>) -> Option<Piece> {
        let key_frame = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        // What plays before the key frame that it comes after belongs to the group before: in an open group it is decoded by the pictures of
        // both, and nothing depends on it.
        let leads = !key_frame && time < self.key_frame;
        if key_frame {
            self.key_frame = time;
            self.leading = piece.is_some() && !self.skipping;
            if piece.is_some() && std::mem::take(&mut self.skipping) {
                let fields = buffer.make_mut();
                fields.set_flags(gst::BufferFlags::DISCONT);
                if let (Some(framing), Ok(mut map)) = (self.h265, fields.map_writable()) {
                    broken_link::mark(&mut map, framing);
                }
            }
        }
        if leads {
            return piece.filter(|_| self.leading);
        }
        self.skipping |= piece.is_none();
        piece.filter(|_| !self.skipping)
    }

    /// Pictures that go along with a piece that ends before the one in front; `None`: that is not known yet.
    fn close(&self, timeline: &Timeline) -> Option<Option<Closing>> {
        let Some((last, _)) = self.last_kept.filter(|_| !self.skipping) else { return Some(None) };
        let Fate::Kept(piece) = timeline.fate(last) else { return Some(None) };
        let mut pictures: Vec<Picture> = Vec::new();
        for item in &self.queue {
            match item {
                // Nothing that comes after it plays before the pictures so far.
                Item::Buffer(_, time) if pictures.first().is_some_and(|first| *time > first.time) => {
                    return Some(Closing::new(piece, last, &pictures));
                }
                Item::Buffer(_, time) => {
                    pictures.push(Picture { time: *time, wanted: (piece.from..piece.until).contains(time) });
                }
                Item::Event(event) if matches!(event.type_(), gst::EventType::Eos | gst::EventType::Segment) => {
                    return Some(Closing::new(piece, last, &pictures));
                }
                _ => {}
            }
        }
        None
    }

    /// A step with what is in front and is no raw sound: kept or dropped by where it starts.
    fn next_other(&mut self, timeline: &Timeline, in_place: bool) -> Option<Next> {
        let Some(Item::Buffer(_, time) | Item::Gap { time, .. }) = self.queue.front() else { return None };
        let time = *time;
        let (piece, until) = match timeline.fate(time) {
            Fate::Undecided => return Some(Next::Wait),
            Fate::Over => return Some(self.end()),
            Fate::Dropped { until } => (None, until),
            Fate::Kept(piece) => (Some(piece), piece.until),
        };
        let origin = self.origin();
        let output =
            |piece: Piece, time: u64| origin + gst::ClockTime::from_nseconds(piece.output(time).round() as u64);
        let is_picture = self.encoded && matches!(self.queue.front(), Some(Item::Buffer(..)));
        if is_picture && piece.is_none() && self.closing.is_none() {
            match self.close(timeline) {
                Some(closing) => self.closing = closing,
                None => return Some(Next::Wait),
            }
        }
        let closing = self.closing.as_ref().filter(|_| is_picture && piece.is_none());
        let placed = closing.and_then(|closing| Some((closing.place(time)?, closing.piece)));
        let (mut piece, mut item) = (piece.or(placed.map(|(_, piece)| piece)), self.pop()?);
        if let (Item::Buffer(buffer, _), true) = (&mut item, self.encoded) {
            piece = self.decodable(buffer, time, piece);
            if placed.is_none()
                && let Some(Piece { from, .. }) = piece
            {
                let before = self.last_kept.filter(|(_, piece)| *piece == from);
                self.closing.take_if(|_| before.is_none());
                self.last_kept = Some((before.map_or(time, |(last, _)| last.max(time)), from));
            }
        }
        if self.skipping {
            self.closing = None;
        }
        match (item, piece) {
            (Item::Buffer(buffer, _), Some(_)) if in_place => Some(Next::Buffer(buffer)),
            (Item::Buffer(mut buffer, _), Some(piece)) => {
                let encoded = self.encoded;
                let fields = buffer.make_mut();
                // Pictures may be decoded in another order than they play in.
                let lead = fields.pts().zip(fields.dts()).map(|(pts, dts)| pts.saturating_sub(dts));
                if fields.pts().is_some() {
                    fields.set_pts(output(piece, placed.map_or(time, |((at, _), _)| at)));
                }
                if let Some(((_, duration), _)) = placed {
                    fields.set_duration(gst::ClockTime::from_nseconds(duration));
                }
                let dts = lead.filter(|_| encoded).map(|lead| output(piece, time).saturating_sub(lead));
                let dts = dts.map(|dts| after(self.decoded, dts, fields.pts().unwrap_or(dts)));
                fields.set_dts(dts);
                self.decoded = dts;
                let duration = fields.duration().map(|duration| duration.nseconds() as f64 / piece.speed);
                fields.set_duration(duration.map(|duration| gst::ClockTime::from_nseconds(duration.round() as u64)));
                Some(Next::Buffer(buffer))
            }
            (Item::Buffer(buffer, _), None) if in_place => Some(gap(buffer.pts()?, buffer.duration()?)),
            (Item::Gap { stamp, duration, .. }, _) if in_place => {
                Some(gap(stamp, gst::ClockTime::from_nseconds(duration)))
            }
            (Item::Gap { duration, stamp, .. }, piece) => {
                // As far as it has one fate; what comes after that may have another, or none yet.
                let end = time + duration;
                if until < end {
                    self.queue.push_front(Item::Gap { time: until, duration: end - until, stamp });
                }
                piece.map(|piece| {
                    let start = output(piece, time);
                    gap(start, output(piece, until.min(end)) - start)
                })
            }
            _ => None,
        }
    }
}

/// What is cut at key frames.
fn is_encoded_video(caps: &gst::StructureRef) -> bool {
    let kind = caps.name();
    (kind.starts_with("video/") || kind.starts_with("image/")) && kind != "video/x-raw"
}

/// A time of decoding that is after the one before, of a picture that plays at `pts`: behind a cut the first pictures have less time than
/// before it.
fn after(before: Option<gst::ClockTime>, dts: gst::ClockTime, pts: gst::ClockTime) -> gst::ClockTime {
    let before = before.filter(|before| *before >= dts && *before < pts);
    before.map_or(dts, |before| before + (pts - before) / 8)
}

fn gap(start: gst::ClockTime, duration: gst::ClockTime) -> Next {
    Next::Event(gst::event::Gap::builder(start).duration(duration).build())
}
