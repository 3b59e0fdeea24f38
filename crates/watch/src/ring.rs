//! The latest of a camera's encoded streams, from which clips are cut that nobody had thought of when it was filmed.
//!
//! Video waits in *groups of pictures*: a key frame and all that is decoded after it, up to the next one. A clip begins with a key
//! frame, so groups come and go whole. The other streams (sound) wait beside it, packet by packet.
//!
//! - **Bounds.** What is older than [`Limits::time`] goes when no clip that begins within that time needs it; a group that is longer stays
//!   until the next one is there. [`Limits::bytes`] holds always: where a single group is larger, it is given up, and the ring waits
//!   for the next key frame.
//! - **Age** is counted in what was filmed, not by the clock: a jump ahead in the timestamps, or an hour without the camera, pushes
//!   nothing out.
//! - **Epochs.** Between two there was a break: another connection, another picture size. No clip reaches over one. Where the
//!   timestamps of key frames go back, what was there before is forgotten, as nobody could tell which moment is meant.
//!
//! Times are running times, ns.

use std::collections::VecDeque;

/// What a ring may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How far back a clip may begin, ns.
    pub time: u64,
    /// Of all streams together.
    pub bytes: usize,
}

/// An encoded frame, or some sound.
#[derive(Clone, Debug, PartialEq)]
pub struct Packet<T> {
    /// When it plays.
    pub time: u64,
    /// When it is decoded: at most `time`, earlier where pictures are stored in another order than they play in.
    pub decode: u64,
    pub duration: u64,
    /// Whether decoding can begin here; always so for sound.
    pub key: bool,
    pub bytes: usize,
    pub data: T,
}

impl<T> Packet<T> {
    /// When it has played.
    pub fn end(&self) -> u64 {
        self.time + self.duration
    }
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    Kept,
    /// No key frame came yet that it could be decoded from, or sound that goes back in time.
    Unusable,
    /// The group that it belongs to is larger than all that the ring may hold, and is given up.
    TooLarge,
    /// Time went back: all from before is forgotten.
    WentBack,
}

struct Group<T> {
    number: u64,
    epoch: u64,
    packets: Vec<Packet<T>>,
    /// The latest end of its packets.
    end: u64,
    bytes: usize,
}

impl<T> Group<T> {
    fn start(&self) -> u64 {
        self.packets[0].time
    }

    fn length(&self) -> u64 {
        self.end - self.start()
    }
}

struct Lane<T> {
    /// Number of the first packet that is there.
    first: u64,
    /// With the epoch of each.
    packets: VecDeque<(u64, Packet<T>)>,
}

/// Where a clip is in the ring.
#[derive(Clone, Debug)]
pub struct Cursor {
    /// When its key frame plays.
    start: u64,
    epoch: u64,
    group: u64,
    packet: usize,
    lanes: Vec<u64>,
}

impl Cursor {
    /// When the clip's first picture plays.
    pub fn start(&self) -> u64 {
        self.start
    }
}

/// What [`Ring::read`] finds.
#[derive(Debug)]
pub struct Read<T> {
    /// Packets by stream, each in the order of decoding: the video, then the others.
    pub streams: Vec<Vec<Packet<T>>>,
    /// Nothing will follow: there was a break, or the ring gave up what comes next.
    pub over: bool,
}

/// The latest packets of a video stream and of others.
pub struct Ring<T> {
    limits: Limits,
    epoch: u64,
    next_group: u64,
    groups: VecDeque<Group<T>>,
    lanes: Vec<Lane<T>>,
    /// No frame can be decoded before the next key frame.
    awaits_key: bool,
    bytes: usize,
}

impl<T: Clone> Ring<T> {
    /// Empty; for video and as many `others`.
    pub fn new(limits: Limits, others: usize) -> Self {
        let lanes = (0..others).map(|_| Lane { first: 0, packets: VecDeque::new() }).collect();
        Self { limits, epoch: 0, next_group: 0, groups: VecDeque::new(), lanes, awaits_key: true, bytes: 0 }
    }

    /// Bytes of all packets.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What comes now does not go on from what is there.
    pub fn begin_epoch(&mut self) {
        self.epoch += 1;
        self.awaits_key = true;
    }

    /// A frame of the video, in the order of decoding.
    pub fn push_video(&mut self, packet: Packet<T>) -> Pushed {
        let mut pushed = Pushed::Kept;
        let (bytes, end) = (packet.bytes, packet.end());
        if packet.key {
            if self.groups.back().is_some_and(|last| packet.time <= last.start()) {
                self.forget();
                self.epoch += 1;
                pushed = Pushed::WentBack;
            }
            self.awaits_key = false;
            let (number, epoch) = (self.next_group, self.epoch);
            self.next_group += 1;
            self.groups.push_back(Group { number, epoch, packets: vec![packet], end, bytes });
        } else {
            let Some(group) = self.groups.back_mut().filter(|_| !self.awaits_key) else { return Pushed::Unusable };
            group.end = group.end.max(end);
            group.bytes += bytes;
            group.packets.push(packet);
        }
        self.bytes += bytes;
        self.make_room(pushed)
    }

    /// A packet of another stream, counted from 0.
    pub fn push_other(&mut self, stream: usize, packet: Packet<T>) -> Pushed {
        let Some(lane) = self.lanes.get_mut(stream) else { return Pushed::Unusable };
        let back = |(epoch, last): &(u64, Packet<T>)| *epoch == self.epoch && packet.time < last.time;
        if lane.packets.back().is_some_and(back) {
            return Pushed::Unusable;
        }
        self.bytes += packet.bytes;
        lane.packets.push_back((self.epoch, packet));
        self.make_room(Pushed::Kept)
    }

    fn forget(&mut self) {
        while self.drop_group() {}
        for lane in &mut self.lanes {
            lane.first += lane.packets.len() as u64;
            lane.packets.clear();
        }
        self.bytes = 0;
    }

    fn make_room(&mut self, pushed: Pushed) -> Pushed {
        let mut pushed = pushed;
        let mut later: u64 = self.groups.iter().skip(1).map(Group::length).sum();
        while self.groups.len() > 1 && (later >= self.limits.time || self.bytes > self.limits.bytes) {
            self.drop_group();
            later -= self.groups.front().map_or(0, Group::length);
        }
        self.drop_sound();
        if self.bytes > self.limits.bytes {
            self.awaits_key = true;
            self.forget();
            pushed = Pushed::TooLarge;
        }
        pushed
    }

    fn drop_group(&mut self) -> bool {
        let gone = self.groups.pop_front();
        self.bytes -= gone.as_ref().map_or(0, |group| group.bytes);
        gone.is_some()
    }

    /// Sound from before the first picture; where there is none, what is too old.
    fn drop_sound(&mut self) {
        let first = self.groups.front().map(|group| (group.epoch, group.start()));
        for lane in &mut self.lanes {
            let Some((newest_epoch, newest)) = lane.packets.back().map(|(epoch, last)| (*epoch, last.time)) else {
                continue;
            };
            let oldest = first.unwrap_or((newest_epoch, newest.saturating_sub(self.limits.time)));
            let too_old = |(epoch, packet): &(u64, Packet<T>)| (*epoch, packet.end()) <= oldest;
            while let Some((_, gone)) = lane.packets.front().filter(|packet| too_old(packet)) {
                self.bytes -= gone.bytes;
                lane.first += 1;
                lane.packets.pop_front();
            }
        }
    }

    /// A clip that shows `from`: at the last key frame at or before it, or at the first one after where the ring has none. `None`
    /// without any.
    pub fn open(&self, from: u64) -> Option<Cursor> {
        let after = self.groups.partition_point(|group| group.start() <= from);
        let before = after.checked_sub(1).map(|i| &self.groups[i]);
        let next = self.groups.get(after);
        // One that had ended by then, at a break, shows nothing of it.
        let shows = |group: &&Group<T>| group.end > from || next.map_or(self.epoch, |next| next.epoch) == group.epoch;
        let group = before.filter(shows).or(next)?;
        let lanes = self.lanes.iter().map(|lane| lane.first).collect();
        Some(Cursor { start: group.start(), epoch: group.epoch, group: group.number, packet: 0, lanes })
    }

    /// What is decoded before `until` and was not read yet. Pictures that play before the clip's first one are left out: they need what
    /// came before it.
    pub fn read(&self, cursor: &mut Cursor, until: u64) -> Read<T> {
        let mut video = Vec::new();
        let oldest = self.groups.front().map_or(self.next_group, |group| group.number);
        let lost = cursor.group < oldest;
        let skip = cursor.group.saturating_sub(oldest) as usize;
        let mut over = lost || (cursor.epoch != self.epoch && skip >= self.groups.len());
        'groups: for group in self.groups.iter().skip(skip).take_while(|_| !lost) {
            if group.epoch != cursor.epoch {
                over = true;
                break;
            }
            if group.number != cursor.group {
                (cursor.group, cursor.packet) = (group.number, 0);
            }
            while let Some(packet) = group.packets.get(cursor.packet) {
                if packet.decode >= until {
                    break 'groups;
                }
                cursor.packet += 1;
                if packet.time >= cursor.start {
                    video.push(packet.clone());
                }
            }
            // Nothing follows the last group of an epoch that is over.
            over |= self.epoch != cursor.epoch && self.groups.back().is_some_and(|last| last.number == group.number);
        }
        let mut streams = vec![video];
        for (lane, next) in self.lanes.iter().zip(&mut cursor.lanes) {
            *next = (*next).max(lane.first);
            let mut packets = Vec::new();
            for (epoch, packet) in lane.packets.iter().skip((*next - lane.first) as usize) {
                if *epoch > cursor.epoch || (*epoch == cursor.epoch && packet.decode >= until) {
                    break;
                }
                *next += 1;
                if *epoch == cursor.epoch && packet.time >= cursor.start {
                    packets.push(packet.clone());
                }
            }
            streams.push(packets);
        }
        Read { streams, over }
    }

    /// Whether there was a break after a clip's pictures.
    pub fn is_broken_off(&self, cursor: &Cursor) -> bool {
        self.epoch != cursor.epoch
    }

    /// When the latest picture ends; 0 where there is none.
    pub fn reached(&self) -> u64 {
        self.groups.back().map_or(0, |group| group.end)
    }

    /// Whether all that a clip needs up to `until` is there: every stream is beyond it, or the video by as much as `patience`.
    pub fn has_all(&self, cursor: &Cursor, until: u64, patience: u64) -> bool {
        if self.is_broken_off(cursor) {
            return true;
        }
        let reached = self.reached();
        let lane_reached = |lane: &Lane<T>| lane.packets.back().map_or(0, |(_, last)| last.end());
        let all = self.lanes.iter().all(|lane| lane_reached(lane) >= until);
        reached >= until && (all || reached >= until.saturating_add(patience))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FRAME: u64 = 40;

    fn packet(time: u64, key: bool, bytes: usize) -> Packet<u64> {
        Packet { time, decode: time, duration: FRAME, key, bytes, data: time }
    }

    /// Key frames at these times, and frames between them.
    fn filled(limits: Limits, keys: &[u64], end: u64) -> Ring<u64> {
        let mut ring = Ring::new(limits, 1);
        for time in (keys[0]..end).step_by(FRAME as usize) {
            ring.push_video(packet(time, keys.contains(&time), 10));
            ring.push_other(0, Packet { duration: 20, ..packet(time, true, 1) });
            ring.push_other(0, Packet { duration: 20, ..packet(time + 20, true, 1) });
        }
        ring
    }

    const WIDE: Limits = Limits { time: 1_000_000, bytes: 1_000_000 };

    fn times(packets: &[Packet<u64>]) -> Vec<u64> {
        packets.iter().map(|packet| packet.time).collect()
    }

    fn steps(from: u64, to: u64, step: u64) -> Vec<u64> {
        (from..to).step_by(step as usize).collect()
    }

    #[test]
    fn a_clip_begins_at_the_key_frame_before_it_and_its_sound_with_it() {
        let ring = filled(WIDE, &[0, 400, 800], 1_200);
        let mut cursor = ring.open(790).unwrap();
        assert_eq!(cursor.start(), 400);
        let read = ring.read(&mut cursor, 900);
        assert_eq!(times(&read.streams[0]), steps(400, 900, FRAME));
        assert_eq!(times(&read.streams[1]), steps(400, 900, 20));
        let read = ring.read(&mut cursor, 1_000);
        assert_eq!(times(&read.streams[0]), steps(920, 1_000, FRAME));
        assert_eq!(times(&read.streams[1]), steps(900, 1_000, 20));
        assert!(!read.over);
        assert_eq!(ring.open(800).unwrap().start(), 800);
    }

    #[test]
    fn without_a_key_frame_before_it_a_clip_begins_at_the_next_one() {
        let mut ring = Ring::new(WIDE, 0);
        assert_eq!(ring.push_video(packet(0, false, 10)), Pushed::Unusable);
        assert!(ring.open(0).is_none());
        ring.push_video(packet(40, true, 10));
        assert_eq!(ring.open(0).unwrap().start(), 40);
    }

    #[test]
    fn what_is_too_old_goes_in_whole_groups() {
        let ring = filled(Limits { time: 500, ..WIDE }, &[0, 400, 800], 1_240);
        // 440 after the last one: a clip may begin 500 before the end, at 740.
        assert_eq!(ring.open(0).unwrap().start(), 400);
        assert_eq!(ring.bytes(), 21 * 10 + 42);
        let long = filled(Limits { time: 500, ..WIDE }, &[0], 4_000);
        assert_eq!(long.open(3_900).unwrap().start(), 0);
        assert_eq!(long.bytes(), 100 * 12);
    }

    #[test]
    fn a_group_larger_than_the_ring_is_given_up_until_the_next_key_frame() {
        let mut ring = Ring::new(Limits { bytes: 35, ..WIDE }, 0);
        let pushed: Vec<Pushed> = (0..5).map(|i| ring.push_video(packet(i * FRAME, i == 0, 10))).collect();
        assert_eq!(pushed, [Pushed::Kept, Pushed::Kept, Pushed::Kept, Pushed::TooLarge, Pushed::Unusable]);
        assert_eq!(ring.bytes(), 0);
        assert_eq!(ring.push_video(packet(200, true, 10)), Pushed::Kept);
        assert_eq!(ring.open(0).unwrap().start(), 200);
    }

    #[test]
    fn a_clip_that_waits_too_long_is_over_where_the_ring_lost_it() {
        let mut ring = filled(Limits { time: 500, ..WIDE }, &[0, 400], 800);
        let mut cursor = ring.open(0).unwrap();
        for time in steps(800, 2_000, FRAME) {
            ring.push_video(packet(time, time % 400 == 0, 10));
        }
        let read = ring.read(&mut cursor, 2_000);
        assert!(read.over && read.streams[0].is_empty());
    }

    #[test]
    fn a_jump_ahead_pushes_nothing_out_and_a_jump_back_everything() {
        let mut ring = filled(Limits { time: 500, ..WIDE }, &[0, 400], 800);
        ring.push_video(packet(3_600_000, true, 10));
        assert_eq!(ring.open(500).unwrap().start(), 400);
        assert_eq!(ring.push_video(packet(200, true, 10)), Pushed::WentBack);
        assert_eq!(ring.open(500).unwrap().start(), 200);
        assert_eq!(ring.bytes(), 10);
    }

    #[test]
    fn no_clip_reaches_over_a_break() {
        let mut ring = filled(WIDE, &[0, 400], 800);
        let mut cursor = ring.open(500).unwrap();
        ring.begin_epoch();
        assert!(ring.has_all(&cursor, 5_000, 0));
        assert_eq!(ring.push_video(packet(2_000, false, 10)), Pushed::Unusable);
        let read = ring.read(&mut cursor, 5_000);
        assert_eq!(times(&read.streams[0]), steps(400, 800, FRAME));
        assert!(read.over);
        ring.push_video(packet(2_040, true, 10));
        ring.push_other(0, packet(2_000, true, 1));
        ring.push_other(0, packet(2_040, true, 1));
        let again = ring.read(&mut cursor, 5_000);
        assert!(again.over && again.streams.iter().all(Vec::is_empty));
        // Between the two there was nothing: the clip begins with what came after.
        let mut after = ring.open(1_500).unwrap();
        assert_eq!(after.start(), 2_040);
        let read = ring.read(&mut after, 5_000);
        assert_eq!((times(&read.streams[0]), times(&read.streams[1])), (vec![2_040], vec![2_040]));
        assert_eq!(ring.open(799).unwrap().start(), 400);
        ring.begin_epoch();
        assert!(ring.open(2_080).is_none());
    }

    #[test]
    fn pictures_that_play_before_the_key_frame_are_left_out_and_those_decoded_before_the_end_are_in() {
        let mut ring = Ring::new(WIDE, 0);
        // Times in the order of decoding: an open group, whose first two pictures refer to the one before.
        let order = [(0, true), (120, true), (40, false), (80, false), (240, false), (160, false), (200, false)];
        for (i, (time, key)) in order.into_iter().enumerate() {
            ring.push_video(Packet { decode: (i as u64 * FRAME).saturating_sub(2 * FRAME), ..packet(time, key, 10) });
        }
        let mut cursor = ring.open(130).unwrap();
        let read = ring.read(&mut cursor, 3 * FRAME);
        assert_eq!(times(&read.streams[0]), [120, 240]);
        assert_eq!(times(&ring.read(&mut cursor, 1_000).streams[0]), [160, 200]);
    }

    #[test]
    fn the_end_waits_for_sound_that_lags_but_not_for_ever() {
        let mut ring = Ring::new(WIDE, 1);
        ring.push_video(packet(0, true, 10));
        let cursor = ring.open(0).unwrap();
        ring.push_video(packet(40, false, 10));
        assert!(!ring.has_all(&cursor, 80, 100));
        ring.push_other(0, packet(40, true, 1));
        assert!(ring.has_all(&cursor, 80, 100));
        ring.push_video(packet(160, false, 10));
        assert!(!ring.has_all(&cursor, 120, 100));
        ring.push_video(packet(200, false, 10));
        assert!(ring.has_all(&cursor, 120, 100));
    }

    #[derive(Clone, Debug)]
    enum Event {
        Video { step: i64, key: bool, bytes: usize },
        Sound { step: i64, bytes: usize },
        Break,
    }

    fn some_event() -> impl Strategy<Value = Event> {
        prop_oneof![
            12 => (1i64..90, prop::bool::weighted(0.2), 1usize..60)
                .prop_map(|(step, key, bytes)| Event::Video { step, key, bytes }),
            12 => (1i64..90, 1usize..9).prop_map(|(step, bytes)| Event::Sound { step, bytes }),
            1 => (-2_000i64..5_000).prop_map(|step| Event::Video { step, key: true, bytes: 5 }),
            1 => Just(Event::Break),
        ]
    }

    proptest! {
        #[test]
        fn the_bounds_hold_and_clips_are_decodable_stretches_of_what_came(
            events in prop::collection::vec(some_event(), 1..300),
            time in 1u64..2_000, bytes in 50usize..2_000, from in 0u64..6_000, length in 1u64..3_000, opened in 0usize..300,
        ) {
            let mut ring = Ring::new(Limits { time, bytes }, 1);
            let (mut now, mut sound_now) = (3_000i64, 3_000i64);
            let mut came: Vec<Packet<u64>> = Vec::new();
            let (mut clip, mut read_so_far) = (None::<Cursor>, vec![Vec::new(), Vec::new()]);
            for (i, event) in events.iter().enumerate() {
                match *event {
                    Event::Video { step, key, bytes } => {
                        now = (now + step).max(0);
                        let packet = Packet { data: came.len() as u64, ..packet(now as u64, key, bytes) };
                        came.push(packet.clone());
                        ring.push_video(packet);
                    }
                    Event::Sound { step, bytes } => {
                        sound_now = (sound_now + step).max(0);
                        let packet = Packet { data: came.len() as u64, ..packet(sound_now as u64, true, bytes) };
                        came.push(packet.clone());
                        ring.push_other(0, packet);
                    }
                    Event::Break => ring.begin_epoch(),
                }
                prop_assert!(ring.bytes() <= bytes);
                let there: usize = ring.groups.iter().map(|group| group.bytes).sum::<usize>()
                    + ring.lanes[0].packets.iter().map(|(_, packet)| packet.bytes).sum::<usize>();
                prop_assert_eq!(ring.bytes(), there);
                let later: u64 = ring.groups.iter().skip(1).map(Group::length).sum();
                prop_assert!(ring.groups.len() <= 1 || later < time);
                prop_assert!(ring.groups.iter().all(|group| group.packets[0].key));
                if i == opened {
                    clip = ring.open(from);
                }
                if let Some(cursor) = &mut clip {
                    let read = ring.read(cursor, from.saturating_add(length));
                    for (all, new) in read_so_far.iter_mut().zip(read.streams) {
                        all.extend(new);
                    }
                    if read.over {
                        clip = None;
                    }
                }
            }
            let video = &read_so_far[0];
            prop_assert!(video.first().is_none_or(|first| first.key));
            for packets in &read_so_far {
                prop_assert!(packets.windows(2).all(|w| w[0].data < w[1].data));
                prop_assert!(packets.iter().all(|p| p.time >= video.first().map_or(u64::MAX, |first| first.time)
                    && p.decode < from + length && came[p.data as usize] == *p));
            }
        }
    }
}
