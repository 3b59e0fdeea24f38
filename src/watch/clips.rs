//! A camera's clips: from packets and decisions to files, their pictures and lines, and events.
//!
//! One thread takes what arrives and never waits for a disk; another finishes clips, one after the other.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    time::{Duration, SystemTime},
};

use super::{
    complaints::{Complaints, Say},
    cutter::{Clip, Cutter, Step},
    events::{Event, Kind, Outlet},
    folder::{Folder, Line, PICTURE, utc, when},
    keep::Keep,
    metrics::Counts,
    recorder::{RecordError, Recorder},
    ring::{Limits, Packet, Pushed},
    source::Arrival,
    thumbnail,
};
use crate::whole_file;

/// How far the sound may lag behind the pictures before a clip does without, ns.
const SOUND_LAGS: u64 = 1_000_000_000;
/// How often it is looked which clips are too old.
const LOOK: Duration = Duration::from_secs(600);

/// Where a camera's clips go, and what is done about them.
#[derive(Clone)]
pub struct Desk {
    /// The camera's name.
    pub camera: String,
    pub limits: Limits,
    /// Longest clip, of what is to be kept, ns.
    pub longest: u64,
    pub folder: Arc<Folder>,
    /// All clips stay without.
    pub keep: Option<Keep>,
    pub outlets: Arc<Vec<Outlet>>,
    pub counts: Arc<Counts>,
    /// Gets what went wrong, each kind once until it works again.
    pub say: Say,
}

/// A clip that is being written.
struct Open {
    path: PathBuf,
    line: Line,
    /// `None` before it began.
    recorder: Option<Recorder>,
    failed: bool,
    /// What came before the recorder could begin, by stream.
    waiting: Vec<Vec<Packet<gst::Sample>>>,
    /// When its best stretch is, and the last key frame up to there.
    best: u64,
    picture: Option<gst::Sample>,
    /// Key frames that may still become its picture, and when they play.
    keys: Vec<(u64, gst::Sample)>,
    start: SystemTime,
    /// The latest end of its pictures, running time in ns.
    reached: u64,
}

struct Done {
    path: PathBuf,
    line: Line,
    recorder: Option<Recorder>,
    failed: bool,
    picture: Option<gst::Sample>,
    start: SystemTime,
    /// When it is to end, running time in ns.
    end: u64,
}

struct Recording {
    desk: Desk,
    now: Box<dyn Fn() -> u64>,
    cutter: Cutter<gst::Sample>,
    open: Option<Open>,
    done: Sender<Done>,
    video_caps: Option<gst::Caps>,
    sound_caps: Option<gst::Caps>,
    complaints: Arc<Complaints>,
}

impl Desk {
    /// Works until nothing more arrives and all clips are finished. `now` is the running time, ns.
    pub fn run(self, arrivals: &Receiver<Arrival>, now: impl Fn() -> u64 + 'static) {
        let (done, finished) = channel();
        let finishing = self.clone();
        let complaints = Arc::new(Complaints::new(&self.camera, self.say.clone()));
        let complaining = complaints.clone();
        let finisher = std::thread::spawn(move || finishing.finish_all(&finished, &complaining));
        let cutter = Cutter::new(self.limits, 1, self.longest);
        let mut recording = Recording {
            desk: self,
            now: Box::new(now),
            cutter,
            open: None,
            done,
            video_caps: None,
            sound_caps: None,
            complaints,
        };
        for arrival in arrivals {
            recording.take(arrival);
        }
        let steps = recording.cutter.finish();
        recording.carry_out(steps);
        drop(recording);
        // Its panic was told where it happened.
        let _ = finisher.join();
    }

    fn tell(&self, kind: Kind, line: &Line) {
        let id = line.file.rsplit_once('.').map_or(line.file.as_str(), |(stem, _)| stem).to_owned();
        let event = Event { kind, id, clip: line.clone() };
        self.outlets.iter().for_each(|outlet| outlet.send(&event));
    }

    /// Finishes one clip after the other, and sees that no more of them stay than are to.
    fn finish_all(self, finished: &Receiver<Done>, complaints: &Complaints) {
        loop {
            if let Some(keep) = self.keep {
                complaints.check("keep", keep.enforce(&self.folder, SystemTime::now()));
            }
            match finished.recv_timeout(LOOK) {
                Ok(done) => self.finish(done, complaints),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn finish(&self, done: Done, complaints: &Complaints) {
        let Done { path, mut line, recorder, failed, picture, start, end } = done;
        let mut whole = !failed;
        if let Some(recorder) = recorder {
            let finished = if failed { Ok(None) } else { recorder.finish(end).map(Some) };
            whole &= finished.is_ok();
            // Its end is what was written of it.
            line.set_end(
                start,
                finished.as_ref().map_or(None, |end| *end).unwrap_or_else(|| recorder.give_up().min(end)),
            );
            // What failed before was said then.
            if !failed {
                complaints.check("disk", finished.map(drop));
            }
        }
        let is_empty = path.metadata().map_or(0, |file| file.len()) == 0;
        if is_empty || !whole {
            self.counts.missed.fetch_add(1, Ordering::Relaxed);
        }
        if is_empty {
            // Nothing of it could be written, and it is no clip.
            let _ = std::fs::remove_file(&path);
            self.folder.release(&path);
            self.tell(Kind::End, &line);
            return;
        }
        if let Some(key) = picture {
            let picture = path.with_extension(PICTURE);
            let made = thumbnail::jpeg(&key).map_err(|e| e.to_string());
            let made = made.and_then(|jpeg| whole_file::write(&picture, &jpeg).map_err(|e| e.to_string()));
            if made.is_ok() {
                line.thumbnail = picture.file_name().map(|name| name.to_string_lossy().into_owned());
            }
            complaints.check("picture", made.map_err(|reason| format!("{}: {reason}", picture.display())));
        }
        complaints.check("line", self.folder.add(&line));
        self.folder.release(&path);
        self.counts.clips.fetch_add(1, Ordering::Relaxed);
        self.tell(Kind::End, &line);
    }
}

impl Recording {
    fn take(&mut self, arrival: Arrival) {
        let steps = match arrival {
            Arrival::Break => self.cutter.begin_epoch(),
            Arrival::Video(packet) => self.push(None, packet),
            Arrival::Sound(packet) => self.push(Some(0), packet),
            Arrival::Decided(decision) => self.cutter.decide(decision),
        };
        self.carry_out(steps);
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

    fn carry_out(&mut self, steps: Vec<Step<gst::Sample>>) {
        for step in steps {
            match step {
                Step::Begin(clip) => self.begin(&clip),
                Step::Packets(streams) => self.write(streams),
                Step::Update(clip) => self.update(&clip),
                Step::End(clip) => self.end(&clip),
                Step::Missed(_) => {
                    self.desk.counts.missed.fetch_add(1, Ordering::Relaxed);
                    self.complaints.say("missed", "a moment was decided on when it was gone already");
                }
            }
        }
    }

    fn begin(&mut self, clip: &Clip) {
        let start = when(clip.start, (self.now)(), SystemTime::now());
        let path = self.desk.folder.claim(&self.desk.camera, start);
        let line = Line {
            camera: self.desk.camera.clone(),
            start: utc(start),
            end: String::new(),
            start_ns: clip.start,
            end_ns: 0,
            score: 0.0,
            category: String::new(),
            confidence: 0.0,
            file: path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            thumbnail: None,
        };
        let mut open = Open {
            path,
            line,
            recorder: None,
            failed: false,
            waiting: Vec::new(),
            best: clip.best,
            picture: None,
            keys: Vec::new(),
            start,
            reached: clip.start,
        };
        open.describe(clip, clip.end);
        self.desk.tell(Kind::New, &open.line);
        self.open = Some(open);
    }

    fn update(&mut self, clip: &Clip) {
        if let Some(open) = &mut self.open {
            open.describe(clip, clip.end);
            self.desk.tell(Kind::Update, &open.line);
        }
    }

    fn write(&mut self, streams: Vec<Vec<Packet<gst::Sample>>>) {
        let Some(open) = &mut self.open else { return };
        if open.failed {
            return;
        }
        for packet in &streams[0] {
            open.reached = open.reached.max(packet.end());
            if packet.key {
                open.keys.push((packet.time, packet.data.clone()));
            }
        }
        open.choose_picture();
        open.waiting.resize_with(streams.len(), Vec::new);
        open.waiting.iter_mut().zip(streams).for_each(|(waiting, packets)| waiting.extend(packets));
        let length = open.reached.saturating_sub(open.line.start_ns);
        let has_sound = open.waiting.iter().skip(1).any(|packets| !packets.is_empty());
        // A file takes no stream that comes when it has begun.
        let may_begin = has_sound || self.sound_caps.is_none() || length > SOUND_LAGS;
        if open.recorder.is_some() || (may_begin && !open.waiting[0].is_empty()) {
            self.put();
        }
    }

    /// Writes what waits.
    fn put(&mut self) {
        let Some(open) = self.open.as_mut().filter(|open| !open.failed) else { return };
        let streams = std::mem::take(&mut open.waiting);
        if open.recorder.is_none() && streams.first().is_none_or(Vec::is_empty) {
            return;
        }
        let begun = match open.recorder.take() {
            Some(recorder) => Ok(recorder),
            None => {
                // Sound that never comes would hold up the pictures.
                let caps = streams.iter().filter_map(|packets| packets.first()?.data.caps_owned());
                Recorder::begin(&open.path, &caps.collect::<Vec<_>>(), open.line.start_ns)
            }
        };
        let written = begun.and_then(|mut recorder| {
            let pushed = recorder.push(streams);
            open.recorder = Some(recorder);
            pushed
        });
        if let Err(error) = written {
            open.failed = true;
            let about = if matches!(error, RecordError::Codec { .. }) { "codec" } else { "disk" };
            self.complaints.say(about, error);
        }
    }

    fn end(&mut self, clip: &Clip) {
        self.put();
        let Some(mut open) = self.open.take() else { return };
        let end = open.reached.min(clip.end);
        open.describe(clip, end);
        let Open { path, line, recorder, failed, picture, start, .. } = open;
        // The other side is there as long as this one.
        let _ = self.done.send(Done { path, line, recorder, failed, picture, start, end });
    }
}

impl Open {
    fn describe(&mut self, clip: &Clip, end: u64) {
        self.line.set_end(self.start, end);
        (self.line.score, self.line.confidence) = (clip.kept.score, clip.kept.confidence);
        self.line.category.clone_from(&clip.kept.category);
        self.best = clip.best;
        self.choose_picture();
    }

    /// The last key frame up to the best moment; the first one where there is none.
    fn choose_picture(&mut self) {
        let until = |time| self.keys.partition_point(|(key, _)| *key <= time);
        if let Some((_, key)) = until(self.best).checked_sub(1).map(|last| &self.keys[last]) {
            self.picture = Some(key.clone());
        } else if self.picture.is_none() {
            self.picture = self.keys.first().map(|(_, key)| key.clone());
        }
        // A better moment is one that is decided on later.
        self.keys.drain(..until(self.line.end_ns).saturating_sub(1));
    }
}
