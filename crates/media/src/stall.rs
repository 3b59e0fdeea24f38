//! Tells when a pipeline stands still, so that nobody waits for it for ever.

use std::{
    sync::mpsc::sync_channel,
    time::{Duration, Instant},
};

use gst::prelude::*;

/// How long nothing may happen.
pub const LIMIT: Duration = Duration::from_secs(60);

/// How long a pipeline may take to stop: one that reads a pipe into which nobody writes never does.
const STOPPING: Duration = Duration::from_secs(5);

/// Stops a pipeline, or leaves it to the end of the process.
pub fn stop(pipeline: &gst::Pipeline) {
    let pipeline = pipeline.clone();
    // Going down can't fail in a way that matters to anybody.
    within(STOPPING, move || {
        let _ = pipeline.set_state(gst::State::Null);
    });
}

/// Does it in another thread, and waits for that no longer than `patience`.
pub fn within(patience: Duration, work: impl FnOnce() + Send + 'static) {
    let (done, waiting) = sync_channel::<()>(0);
    std::thread::spawn(move || {
        work();
        drop(done);
    });
    // It is told by hanging up.
    let _ = waiting.recv_timeout(patience);
}

/// Watches how far a pipeline is while somebody waits for it.
#[derive(Debug)]
pub struct Stall {
    limit: Duration,
    at: Option<u64>,
    since: Instant,
}

impl Stall {
    pub fn new(limit: Duration) -> Self {
        Self { limit, at: None, since: Instant::now() }
    }

    /// Whether the pipeline has neither read nor played anything for the limit.
    pub fn is_over(&mut self, pipeline: &gst::Pipeline) -> bool {
        self.note(position(pipeline), Instant::now())
    }

    fn note(&mut self, at: u64, now: Instant) -> bool {
        if self.at.replace(at) != Some(at) {
            self.since = now;
        }
        now.duration_since(self.since) >= self.limit
    }
}

/// A number that changes when the pipeline reads or plays anything.
fn position(pipeline: &gst::Pipeline) -> u64 {
    let played = pipeline.query_position::<gst::ClockTime>().map_or(0, gst::ClockTime::nseconds);
    let read = |element: gst::Element| element.query_position::<gst::format::Bytes>().map_or(0, |bytes| *bytes);
    let sources = pipeline.iterate_recurse().into_iter().flatten();
    let sources = sources.filter(|e| e.element_flags().contains(gst::ElementFlags::SOURCE) && !e.is::<gst::Bin>());
    sources.map(read).fold(played, u64::wrapping_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_does_not_move_for_the_limit_stands_still() {
        let start = Instant::now();
        let mut stall = Stall::new(Duration::from_secs(60));
        let mut note = |at, second| stall.note(at, start + Duration::from_secs(second));
        let seen = [(0, 0), (0, 59), (7, 61), (7, 120), (7, 121)].map(|(at, second)| note(at, second));
        assert_eq!(seen, [false, false, false, false, true]);
    }

    #[test]
    fn a_pipe_that_nobody_writes_into_holds_nobody_up() {
        gst::init().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("endless");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let writer = std::fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
        let line = format!("filesrc location={} ! fakesink", pipe.display());
        let pipeline = gst::parse::launch(&line).unwrap().downcast::<gst::Pipeline>().unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        stop(&pipeline);
        drop(writer);
    }
}
