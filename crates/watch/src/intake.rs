//! The side of a camera's clips that takes what arrives. It never waits: neither for a disk nor for anybody who looks at the disk.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use super::{
    backlog::Giver,
    clips::Desk,
    complaints::Complaints,
    cutter::{Clip, Cutter, Step},
    folder::when,
    ring::{Packet, Pushed},
    source::Arrival,
};

/// A disk that takes nothing for this long is told.
const SLOW: Duration = Duration::from_secs(10);

/// A piece of work for the thread that writes to the disk.
pub enum Work {
    /// A clip begins, then.
    Begin(Clip, SystemTime),
    /// By stream, in the order of decoding; whether the camera sends sound.
    Packets(Vec<Vec<Packet<gst::Sample>>>, bool),
    Update(Clip),
    End(Clip),
}

/// From packets and decisions to work.
pub struct Intake {
    desk: Desk,
    now: Box<dyn Fn() -> u64>,
    cutter: Cutter<gst::Sample>,
    work: Giver<Work>,
    /// The clip that is being handed on. `None` between two, and while the disk has no time for one.
    clip: Option<Clip>,
    video_caps: Option<gst::Caps>,
    sound_caps: Option<gst::Caps>,
    complaints: Arc<Complaints>,
}

impl Intake {
    /// Of a camera. `now` is the running time, ns.
    pub fn new(desk: Desk, now: impl Fn() -> u64 + 'static, work: Giver<Work>, complaints: Arc<Complaints>) -> Self {
        let cutter = Cutter::new(desk.limits, 1, desk.longest);
        Self { desk, now: Box::new(now), cutter, work, clip: None, video_caps: None, sound_caps: None, complaints }
    }

    /// Something comes.
    pub fn take(&mut self, arrival: Arrival) {
        let steps = match arrival {
            Arrival::Break => self.cutter.begin_epoch(),
            Arrival::Video(packet) => self.push(None, packet),
            Arrival::Sound(packet) => self.push(Some(0), packet),
            Arrival::Decided(decision) => self.cutter.decide(decision),
        };
        self.hand_on(steps);
    }

    /// Nothing more comes.
    pub fn finish(&mut self) {
        let steps = self.cutter.finish();
        self.hand_on(steps);
        self.work.close();
    }

    /// Pieces of work that the disk's side began.
    pub fn carried_out(&self) -> u64 {
        self.work.taken()
    }

    /// It ends, and the disk takes nothing.
    pub fn abandon(&self) {
        self.miss("end", "the disk takes nothing: clips that wait for it are lost; see that it is there");
    }

    fn miss(&self, about: &'static str, text: impl ToString) {
        self.desk.counts.missed.fetch_add(1, Ordering::Relaxed);
        self.complaints.say(about, text);
    }

    fn push(&mut self, other: Option<usize>, packet: Packet<gst::Sample>) -> Vec<Step<gst::Sample>> {
        let caps = packet.data.caps_owned();
        let known = if other.is_none() { &mut self.video_caps } else { &mut self.sound_caps };
        let changed = known.is_some() && *known != caps;
        *known = caps;
        // What was encoded in one way can't go on in another.
        let mut steps = if changed { self.cutter.begin_epoch() } else { Vec::new() };
        let (pushed, more) = self.cutter.push(other, packet);
        steps.extend(more);
        match pushed {
            Pushed::TooLarge => self.complaints.say(
                "size",
                format!(
                    "between two key frames there is more than the {} MB that may wait",
                    self.desk.limits.bytes >> 20
                ),
            ),
            Pushed::WentBack => self.complaints.say("time", "its timestamps went back"),
            Pushed::Kept | Pushed::Unusable => {}
        }
        steps
    }

    fn hand_on(&mut self, steps: Vec<Step<gst::Sample>>) {
        for step in steps {
            match step {
                Step::Begin(clip) => self.begin(clip),
                Step::Packets(streams) => self.packets(streams),
                Step::Update(clip) => {
                    if let Some(open) = &mut self.clip {
                        open.clone_from(&clip);
                        self.work.give(Work::Update(clip), 0);
                    }
                }
                Step::End(clip) => {
                    if self.clip.take().is_some() {
                        self.work.give(Work::End(clip), 0);
                    }
                }
                Step::Missed(_) => self.miss("missed", "a moment was decided on when it was gone already"),
            }
        }
    }

    fn begin(&mut self, clip: Clip) {
        // With little room it would soon end again.
        if self.work.is_half_full() {
            return self.too_slow("no clip can begin");
        }
        self.complaints.over("backlog");
        let start = when(clip.start, (self.now)(), SystemTime::now());
        self.clip = Some(clip.clone());
        self.work.give(Work::Begin(clip, start), 0);
    }

    fn packets(&mut self, streams: Vec<Vec<Packet<gst::Sample>>>) {
        if self.clip.is_none() {
            return;
        }
        if self.work.is_full() {
            if let Some(clip) = self.clip.take() {
                self.work.give(Work::End(clip), 0);
            }
            return self.too_slow("the clip ends early");
        }
        let waited = self.work.lags();
        if waited >= SLOW {
            let said = "the disk takes nothing for 10 s; what comes waits in memory for it, 2 minutes at most";
            self.complaints.say("slow", said);
        } else if waited.is_zero() {
            self.complaints.over("slow");
        }
        let bytes = streams.iter().flatten().map(|packet| packet.bytes).sum();
        self.work.give(Work::Packets(streams, self.sound_caps.is_some()), bytes);
    }

    fn too_slow(&self, what: &str) {
        let most = self.desk.limits.bytes >> 20;
        let all_waits =
            format!("the disk is too slow or hangs, and all that may wait for it does ({most} MB or 2 minutes)");
        self.miss("backlog", format!("{all_waits}: {what}; see what it does, or give a faster one"));
    }
}
