//! A camera's clips: from packets and decisions to files, their pictures and lines, and events.
//!
//! Two threads: one takes what arrives (`Intake`) and never waits for a disk. The other does all that a disk may hold up: it names,
//! opens, writes, finishes and deletes. Between them work waits in a [`backlog`](super::backlog), whose bounds end a clip.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    time::{Duration, Instant, SystemTime},
};

use super::{
    backlog::{Bounds, Taken, Taker, backlog},
    complaints::{Complaints, Say},
    cutter::Clip,
    events::{Event, Kind, Outlet},
    folder::{Folder, Line, PICTURE, utc},
    intake::{Intake, Work},
    keep::Keep,
    metrics::Counts,
    recorder::{FRAGMENT, RecordError, Recorder},
    ring::{Limits, Packet},
    source::Arrival,
    thumbnail,
};
use desumnet_files::whole_file;

/// How far the sound may lag behind the pictures before a clip does without, ns.
const SOUND_LAGS: u64 = 1_000_000_000;
/// How often it is looked which clips are too old.
const LOOK: Duration = Duration::from_secs(600);
/// Longest time that work waits for the disk: more of a clip is not kept.
const LONGEST_WAIT: Duration = Duration::from_secs(120);
/// At the end: longest time in which the disk takes nothing at all.
const PATIENCE: Duration = Duration::from_secs(60);

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

/// The disk's side: carries out what the intake hands on.
struct Recording {
    desk: Desk,
    open: Option<Open>,
    complaints: Arc<Complaints>,
    create: Create,
}

/// Makes a clip's file.
type Create = Box<dyn Fn(&Path) -> std::io::Result<File> + Send>;

impl Desk {
    /// Works until nothing more arrives and all clips are finished. `now` is the running time, ns.
    pub fn run(self, arrivals: &Receiver<Arrival>, now: impl Fn() -> u64 + 'static) {
        let bounds = Bounds { bytes: self.limits.bytes, time: LONGEST_WAIT };
        self.run_with(arrivals, now, bounds, Box::new(|path| File::create(path)));
    }

    fn run_with(self, arrivals: &Receiver<Arrival>, now: impl Fn() -> u64 + 'static, bounds: Bounds, create: Create) {
        let (giver, work) = backlog(bounds);
        let complaints = Arc::new(Complaints::new(&self.camera, self.say.clone()));
        let mut recording = Recording { desk: self.clone(), open: None, complaints: complaints.clone(), create };
        let (working, worked) = channel::<()>();
        let recorder = std::thread::spawn(move || {
            recording.carry_out_all(&work);
            drop(working);
        });
        let mut intake = Intake::new(self, now, giver, complaints);
        for arrival in arrivals {
            intake.take(arrival);
            if recorder.is_finished() {
                break;
            }
        }
        intake.finish();
        let mut taken = intake.carried_out();
        while worked.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            if std::mem::replace(&mut taken, intake.carried_out()) == taken {
                return intake.abandon();
            }
        }
        if let Err(panic) = recorder.join() {
            std::panic::resume_unwind(panic);
        }
    }

    fn tell(&self, kind: Kind, line: &Line) {
        let id = line.file.rsplit_once('.').map_or(line.file.as_str(), |(stem, _)| stem).to_owned();
        let event = Event { kind, id, clip: line.clone() };
        self.outlets.iter().for_each(|outlet| outlet.send(&event));
    }

    /// A clip has come to its end, which is to be at `end`, running time in ns.
    fn finish(&self, open: Open, end: u64, complaints: &Complaints) {
        let Open { path, mut line, recorder, failed, picture, start, .. } = open;
        let mut whole = !failed && recorder.is_some();
        let mut reached = line.start_ns;
        if let Some(mut recorder) = recorder {
            if !failed {
                let finished = recorder.finish(end);
                whole = finished.is_ok();
                complaints.check("disk", finished.map(drop));
            }
            reached = if whole { recorder.reached() } else { recorder.give_up() };
            line.set_end(start, reached);
        }
        if !whole {
            self.counts.missed.fetch_add(1, Ordering::Relaxed);
        }
        if reached <= line.start_ns {
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
        // The line comes last: it tells of files that no power cut takes away.
        complaints.check("folder", self.folder.sync());
        complaints.check("line", self.folder.add(&line));
        self.folder.release(&path);
        self.counts.clips.fetch_add(1, Ordering::Relaxed);
        self.tell(Kind::End, &line);
    }
}

impl Recording {
    /// Until the intake is done. Sees that no more clips stay than are to.
    fn carry_out_all(&mut self, work: &Taker<Work>) {
        let mut looked: Option<Instant> = None;
        loop {
            if looked.is_none_or(|looked| looked.elapsed() >= LOOK) {
                self.keep();
                looked = Some(Instant::now());
            }
            // What the muxer made meanwhile is to be in the file even if nothing comes.
            let patience = if self.open.is_some() { FRAGMENT.into() } else { LOOK };
            match work.take(patience) {
                Taken::Work(Work::End(clip)) => {
                    self.end(&clip);
                    looked = None;
                }
                Taken::Work(Work::Begin(clip, start)) => self.begin(&clip, start),
                Taken::Work(Work::Packets(streams, has_sound)) => self.write(streams, has_sound),
                Taken::Work(Work::Update(clip)) => self.update(&clip),
                Taken::Nothing => self.write_out(),
                Taken::Over => return,
            }
        }
    }

    fn keep(&self) {
        if let Some(keep) = self.desk.keep {
            self.complaints.check("keep", keep.enforce(&self.desk.folder, SystemTime::now()));
        }
    }

    fn begin(&mut self, clip: &Clip, start: SystemTime) {
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

    fn write(&mut self, streams: Vec<Vec<Packet<gst::Sample>>>, sound_comes: bool) {
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
        let may_begin = has_sound || !sound_comes || length > SOUND_LAGS;
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
                let unwritable =
                    |e: std::io::Error| RecordError::Unwritable { path: open.path.clone(), reason: e.to_string() };
                let file = (self.create)(&open.path).map_err(unwritable);
                file.and_then(|file| Recorder::begin(file, &open.path, &caps.collect::<Vec<_>>(), open.line.start_ns))
            }
        };
        let written = begun.and_then(|recorder| open.recorder.insert(recorder).push(streams));
        self.check(written);
    }

    /// Writes what the muxer has ready.
    fn write_out(&mut self) {
        let recorder = self.open.as_mut().filter(|open| !open.failed).and_then(|open| open.recorder.as_mut());
        let written = recorder.map_or(Ok(()), Recorder::write_out);
        self.check(written);
    }

    fn check(&mut self, written: Result<(), RecordError>) {
        let (Err(error), Some(open)) = (written, &mut self.open) else { return };
        open.failed = true;
        let about = if matches!(error, RecordError::Codec { .. }) { "codec" } else { "disk" };
        self.complaints.say(about, error);
    }

    fn end(&mut self, clip: &Clip) {
        self.put();
        let Some(mut open) = self.open.take() else { return };
        let end = open.reached.min(clip.end);
        open.describe(clip, end);
        self.desk.finish(open, end, &self.complaints);
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

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        mpsc::{SyncSender, sync_channel},
    };

    use gst::prelude::*;

    use super::*;
    use crate::cutter::{Decision, Kept};

    const SECOND: u64 = 1_000_000_000;
    const FRAME: u64 = SECOND / 25;

    /// Pictures at 25 a second, with a key frame every second.
    fn pictures(count: u32) -> Vec<Packet<gst::Sample>> {
        gst::init().unwrap();
        let line = format!(
            "videotestsrc num-buffers={count} ! video/x-raw,width=64,height=64,framerate=25/1 \
             ! x264enc tune=zerolatency key-int-max=25 ! h264parse ! video/x-h264,stream-format=avc,alignment=au \
             ! appsink name=out sync=false"
        );
        let pipeline = gst::parse::launch(&line).unwrap().downcast::<gst::Pipeline>().unwrap();
        let sink = pipeline.by_name("out").unwrap().downcast::<gst_app::AppSink>().unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let packet = |(i, data): (u64, gst::Sample)| {
            let bytes = data.buffer().unwrap().size();
            Packet { time: i * FRAME, decode: i * FRAME, duration: FRAME, key: i % 25 == 0, bytes, data }
        };
        let packets = (0..).zip(std::iter::from_fn(|| sink.pull_sample().ok())).map(packet).collect();
        pipeline.set_state(gst::State::Null).unwrap();
        packets
    }

    fn decision(start: u64, end: u64, score: f64) -> Arrival {
        let kept = (score > 0.0).then(|| Kept { score, category: "fall".into(), confidence: 0.5 });
        Arrival::Decided(Decision { start, end, kept })
    }

    fn desk(folder: &Path) -> (Desk, Arc<Mutex<Vec<String>>>) {
        let said = Arc::new(Mutex::new(Vec::new()));
        let saying = said.clone();
        let desk = Desk {
            camera: "yard".into(),
            limits: Limits { time: 20 * SECOND, bytes: 1 << 20 },
            longest: 60 * SECOND,
            folder: Arc::new(Folder::open(folder).unwrap()),
            keep: None,
            outlets: Arc::default(),
            counts: Arc::default(),
            say: Arc::new(move |text| saying.lock().unwrap().push(text)),
        };
        (desk, said)
    }

    /// Start and end of each clip, ns; how many there are and were missed; and the messages.
    type Outcome = (Vec<(u64, u64)>, (u64, u64), Vec<String>);

    /// A camera whose disk hangs while it opens a clip's file.
    struct Hanging {
        arrivals: SyncSender<Arrival>,
        opens: Receiver<()>,
        release: SyncSender<()>,
        desk: Desk,
        said: Arc<Mutex<Vec<String>>>,
        running: std::thread::JoinHandle<()>,
    }

    impl Hanging {
        fn start(folder: &Path, bytes: usize) -> Self {
            let (desk, said) = desk(folder);
            let (entered, opens) = sync_channel(9);
            let (release, released) = sync_channel(9);
            let (arrivals, arrived) = sync_channel(1);
            let create: Create = Box::new(move |path| {
                entered.send(()).unwrap();
                released.recv().unwrap();
                File::create(path)
            });
            let (watched, bounds) = (desk.clone(), Bounds { bytes, time: LONGEST_WAIT });
            let running = std::thread::spawn(move || watched.run_with(&arrived, || 9 * SECOND, bounds, create));
            Self { arrivals, opens, release, desk, said, running }
        }

        /// Fails where it is not taken.
        fn send(&self, mut arrival: Arrival) {
            let patience = Instant::now() + Duration::from_secs(30);
            while let Err(e) = self.arrivals.try_send(arrival) {
                assert!(Instant::now() < patience, "nobody receives");
                let (std::sync::mpsc::TrySendError::Full(back) | std::sync::mpsc::TrySendError::Disconnected(back)) = e;
                arrival = back;
                std::thread::yield_now();
            }
        }

        fn counted(&self) -> (u64, u64) {
            let count = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
            (count(&self.desk.counts.clips), count(&self.desk.counts.missed))
        }

        fn finish(self) -> Outcome {
            let Self { arrivals, desk, running, .. } = self;
            drop(arrivals);
            running.join().unwrap();
            let text = std::fs::read_to_string(desk.folder.path().join(crate::folder::LINES)).unwrap();
            let span = |line: &str| {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                (line["start_ns"].as_u64().unwrap(), line["end_ns"].as_u64().unwrap())
            };
            let count = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
            let counted = (count(&desk.counts.clips), count(&desk.counts.missed));
            let said = self.said.lock().unwrap().clone();
            (text.lines().map(span).collect(), counted, said)
        }
    }

    #[test]
    fn a_disk_that_hangs_holds_nobody_up_and_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let hanging = Hanging::start(folder.path(), 1 << 20);
        let packets = pictures(150);
        packets[..50].iter().for_each(|packet| hanging.send(Arrival::Video(packet.clone())));
        hanging.send(decision(SECOND, 5 * SECOND, 1.0));
        hanging.opens.recv().unwrap();
        packets[50..].iter().for_each(|packet| hanging.send(Arrival::Video(packet.clone())));
        hanging.send(decision(5 * SECOND, 6 * SECOND, 0.0));
        hanging.release.send(()).unwrap();
        let (clips, counted, said) = hanging.finish();
        // To the end of the fragment.
        let [(start, end)] = clips[..] else { panic!("{clips:?}") };
        assert_eq!((start, counted, said.len()), (SECOND, (1, 0), 0));
        assert!((5 * SECOND..=5 * SECOND + 6 * FRAME).contains(&end), "{end}");
    }

    #[test]
    fn when_no_more_may_wait_the_clip_ends_what_is_lost_is_counted_and_the_next_one_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let hanging = Hanging::start(folder.path(), 2);
        let packets = pictures(200);
        packets[..50].iter().for_each(|packet| hanging.send(Arrival::Video(packet.clone())));
        hanging.send(decision(SECOND, 5 * SECOND, 1.0));
        hanging.opens.recv().unwrap();
        // One is taken, and fills it.
        packets[50..150].iter().for_each(|packet| hanging.send(Arrival::Video(packet.clone())));
        hanging.send(decision(5 * SECOND, 6 * SECOND, 0.0));
        assert_eq!(hanging.counted(), (0, 1));
        hanging.release.send(()).unwrap();
        while hanging.counted().0 == 0 {
            std::thread::yield_now();
        }
        hanging.release.send(()).unwrap();
        packets[150..].iter().for_each(|packet| hanging.send(Arrival::Video(packet.clone())));
        hanging.send(decision(7 * SECOND, 8 * SECOND, 1.0));
        let (clips, counted, said) = hanging.finish();
        let near = |time: u64| time.div_ceil(1_000_000);
        let clips: Vec<_> = clips.iter().map(|(start, end)| (near(*start), near(*end))).collect();
        assert_eq!((clips, counted), (vec![(1_000, 2_040), (7_000, 8_000)], (2, 1)));
        let [said] = &said[..] else { panic!("{said:?}") };
        assert!(said.starts_with("yard: the disk is too slow or hangs, and all that may wait for it does"), "{said}");
        assert!(said.contains("the clip ends early"), "{said}");
    }

    #[test]
    fn a_clip_that_the_disk_has_no_room_for_is_counted_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (desk, said) = desk(folder.path());
        let (counts, (sender, arrivals)) = (desk.counts.clone(), sync_channel(99));
        pictures(50).into_iter().for_each(|packet| sender.send(Arrival::Video(packet)).unwrap());
        sender.send(decision(SECOND, 2 * SECOND, 1.0)).unwrap();
        drop(sender);
        let bounds = Bounds { bytes: 1 << 20, time: LONGEST_WAIT };
        let full: Create = Box::new(|_| File::options().write(true).open("/dev/full"));
        desk.run_with(&arrivals, || 9 * SECOND, bounds, full);
        let counted = [&counts.clips, &counts.missed].map(|count| count.load(Ordering::Relaxed));
        assert_eq!((counted, std::fs::read_dir(folder.path()).unwrap().count()), ([0, 1], 0));
        let said = said.lock().unwrap();
        assert!(said[0].contains("can't be written: No space left on device"), "{said:?}");
    }
}
