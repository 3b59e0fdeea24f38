//! One camera, from its stream to the folder: what comes from it, who scores it, what is decided, and the clips that come of it.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::Ordering,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

use super::{
    clips::Desk,
    cutter::{Decision, Kept},
    metrics::Counts,
    source::{Arrival, Notice, Source, SourceError, Stop},
};
use desumnet_decide::{
    online::{self, Online, Segment},
    threshold::Threshold,
};
use gstdesumnet::meta::{Flags, MESSAGE_NAME};

/// Packets and decisions that may wait for the ring: a few seconds' worth.
const WAITING: usize = 500;

/// Says which of the scored segments are kept.
pub trait Decide: Send {
    /// A segment comes, in the order of time; the decisions that are due, each of one that came, in their order.
    fn push(&mut self, segment: Segment) -> Vec<online::Decision>;

    /// Nothing comes for a while, or at all; the decisions that are left.
    fn finish(&mut self) -> Vec<online::Decision>;
}

impl Decide for Online {
    fn push(&mut self, segment: Segment) -> Vec<online::Decision> {
        self.push(segment)
    }

    fn finish(&mut self) -> Vec<online::Decision> {
        self.finish()
    }
}

impl Decide for Threshold {
    fn push(&mut self, segment: Segment) -> Vec<online::Decision> {
        self.push(segment)
    }

    fn finish(&mut self) -> Vec<online::Decision> {
        self.finish()
    }
}

/// What of a segment is compared: its score, or its importance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    Score,
    Importance,
}

/// A camera that is to be watched.
pub struct Camera {
    source: Source,
    desk: Desk,
    arrivals: Receiver<Arrival>,
    deciding: Arc<Mutex<Deciding>>,
}

impl Camera {
    /// Of a URI; its clips go to `desk`. `scorer` is an element (or bin) with a sink pad that ends in a sink, gets the decoded
    /// pictures, and posts a `desumnet-segment` message per segment, as `desumnet mode=observe` does.
    ///
    /// # Errors
    /// [`SourceError`], as of [`Source::new`].
    pub fn new(
        uri: &str,
        scorer: &gst::Element,
        decider: Box<dyn Decide>,
        counted: Counted,
        desk: Desk,
    ) -> Result<Self, SourceError> {
        let (sender, arrivals) = sync_channel(WAITING);
        let source = Source::new(uri, sender.clone(), Some(scorer), desk.counts.clone())?;
        let counts = desk.counts.clone();
        let deciding = Deciding { decider, counted, waiting: VecDeque::new(), away: false, counts, arrivals: sender };
        let deciding = Arc::new(Mutex::new(deciding));
        let (listening, now) = (deciding.clone(), source.clock());
        source.listen(move |message| {
            if message.name() == MESSAGE_NAME {
                locked(&listening).hear(message, now());
            }
        });
        Ok(Self { source, desk, arrivals, deciding })
    }

    /// What ends it.
    pub fn stop_handle(&self) -> Stop {
        self.source.stop_handle()
    }

    /// Watches until it is stopped or the stream comes to its end, and all clips are finished.
    ///
    /// # Errors
    /// [`SourceError`], as of [`Source::run`].
    pub fn run(self) -> Result<(), SourceError> {
        let Self { source, desk, arrivals, deciding } = self;
        let (name, say, now, stop) = (desk.camera.clone(), desk.say.clone(), source.clock(), source.stop_handle());
        let recording = std::thread::spawn(move || {
            let _ends = EndsWithIt(stop);
            desk.run(&arrivals, now);
        });
        let watched = source.run(|notice| {
            say(format!("{name}: {notice}"));
            match notice {
                Notice::Connected => locked(&deciding).away = false,
                Notice::Lost { .. } | Notice::Refused { .. } => {
                    let mut deciding = locked(&deciding);
                    deciding.away = true;
                    deciding.finish();
                    // Its clip is finished now, not when it is back.
                    deciding.send(Arrival::Break);
                }
                Notice::NoSound { .. } | Notice::SoundFails { .. } => {}
            }
        });
        locked(&deciding).finish();
        // The last one who could send anything.
        drop(deciding);
        if let Err(panic) = recording.join() {
            std::panic::resume_unwind(panic);
        }
        watched
    }
}

/// Ends a camera when it goes.
struct EndsWithIt(Stop);

impl Drop for EndsWithIt {
    fn drop(&mut self) {
        self.0.stop();
    }
}

fn locked(deciding: &Mutex<Deciding>) -> MutexGuard<'_, Deciding> {
    deciding.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From scores to decisions.
struct Deciding {
    decider: Box<dyn Decide>,
    counted: Counted,
    /// What each segment that is not decided yet would be kept for.
    waiting: VecDeque<Kept>,
    /// Nothing comes from the camera: what was scored late is decided at once.
    away: bool,
    counts: Arc<Counts>,
    arrivals: SyncSender<Arrival>,
}

impl Deciding {
    /// A segment was scored; `now` is the running time, ns.
    fn hear(&mut self, message: &gst::StructureRef, now: u64) {
        let Some((segment, kept)) = read(message, self.counted) else { return };
        self.counts.segments.fetch_add(1, Ordering::Relaxed);
        let flags = message.get("flags").unwrap_or(Flags::empty());
        for (flag, count) in [(Flags::LATE, &self.counts.late), (Flags::CARRIED, &self.counts.carried)] {
            count.fetch_add(flags.contains(flag).into(), Ordering::Relaxed);
        }
        if !flags.contains(Flags::CARRIED) {
            self.counts.latency.store(now.saturating_sub(segment.start + segment.duration), Ordering::Relaxed);
        }
        self.waiting.push_back(kept);
        let decisions = self.decider.push(segment);
        self.hand_on(decisions);
        if self.away {
            self.finish();
        }
    }

    fn finish(&mut self) {
        let decisions = self.decider.finish();
        self.hand_on(decisions);
    }

    fn hand_on(&mut self, decisions: Vec<online::Decision>) {
        for online::Decision { segment, keep } in decisions {
            let (start, end) = (segment.start, segment.start + segment.duration);
            let kept = self.waiting.pop_front().filter(|_| keep);
            self.send(Arrival::Decided(Decision { start, end, kept }));
        }
    }

    fn send(&self, arrival: Arrival) {
        // Nobody takes it only when it is all over.
        let _ = self.arrivals.send(arrival);
    }
}

/// What a message tells of a segment; `None` of one without a time or a length. One that is not scored is kept, for a score of 0.
fn read(message: &gst::StructureRef, counted: Counted) -> Option<(Segment, Kept)> {
    let time = |name| message.get::<gst::ClockTime>(name).ok().map(gst::ClockTime::nseconds);
    let (start, duration) = (time("running-time")?, time("duration").filter(|duration| *duration > 0)?);
    let flags = message.get("flags").unwrap_or(Flags::empty());
    let field = if counted == Counted::Importance { "importance" } else { "score" };
    let score = message.get::<f64>(field).unwrap_or_default();
    let score = online::counted(score, flags.contains(Flags::FAILED), flags.contains(Flags::UNSCORED));
    let category = message.get::<String>("category").unwrap_or_default();
    let confidence = message.get::<f64>("confidence").unwrap_or_default();
    let of_category = !category.is_empty();
    Some((
        Segment { start, duration, score, of_category },
        Kept { score: score.unwrap_or_default(), category, confidence },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_that_could_not_be_scored_has_no_score_to_rank_it_by() {
        gst::init().unwrap();
        let scored = |flags: Flags| {
            let message = gst::Structure::builder(MESSAGE_NAME)
                .field("running-time", gst::ClockTime::from_nseconds(5))
                .field("duration", gst::ClockTime::from_nseconds(7))
                .field("score", 0.25)
                .field("category", "sailing")
                .field("confidence", 0.5)
                .field("flags", flags)
                .build();
            let (segment, kept) = read(&message, Counted::Score).unwrap();
            assert_eq!(
                (segment.start, segment.duration, kept.category.as_str(), kept.confidence),
                (5, 7, "sailing", 0.5)
            );
            (segment.score, kept.score)
        };
        assert_eq!(scored(Flags::empty()), (Some(0.25), 0.25));
        assert_eq!(scored(Flags::LATE | Flags::CARRIED), (Some(0.25), 0.25));
        assert_eq!(scored(Flags::FAILED | Flags::CARRIED), (None, 0.0));
        assert_eq!(scored(Flags::UNSCORED), (None, 0.0));
    }
}
