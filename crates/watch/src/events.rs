//! What happens, told to whoever wants to know: a file, an MQTT broker, a web server. Never at the cost of the video.
//!
//! Every outlet has a queue and a thread of its own. While the other side is away, its events wait; when its queue is full, new events are
//! lost there, and counted. An event that the other side gets and does not take is given up after some tries, so that the others go on.

mod file;
mod mqtt;
mod trust;
mod webhook;

use std::{
    collections::BTreeSet,
    path::PathBuf,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde::Serialize;
use thiserror::Error;

pub use self::trust::Trust;
use super::{complaints::Say, folder::Line};
use desumnet_media::secrets::{self, Secrets};

/// Events that may wait at an outlet.
pub const WAITING: usize = 1_000;
/// How long events are tried.
const PATIENCE: Patience = Patience {
    first: Duration::from_millis(500),
    longest: Duration::from_secs(60),
    tries: 8,
    end: Duration::from_secs(30),
};

/// How long events are tried. All waits for one, doubled each time, are a minute.
#[derive(Clone, Copy)]
struct Patience {
    /// Wait before something is tried again; doubled each time, up to `longest`.
    first: Duration,
    longest: Duration,
    /// How often an event is sent that the other side gets and does not take.
    tries: u32,
    /// How long all that waits may take in the end.
    end: Duration,
}

/// What happens to a clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It begins; its file grows.
    New,
    /// It goes on, or something better was found in it.
    Update,
    /// It is complete.
    End,
}

/// A clip, and what happens to it. In JSON one flat object: `type`, `id`, and the fields of [`Line`].
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The same in all events of a clip: its file's name without the ending.
    pub id: String,
    #[serde(flatten)]
    pub clip: Line,
}

/// Why there are no such events.
#[derive(Debug, Error)]
pub enum EventsError {
    #[error(
        "{0} is no place for events: give json:FILE, json:-, mqtt(s)://HOST/TOPIC, http(s)://..., or @FILE with one a line"
    )]
    Target(String),
    #[error("{path}: {reason}; give the authorities' certificates as PEM")]
    Authorities { path: PathBuf, reason: String },
    #[error("{path} can't be written: {source}; give another file for the events")]
    File { path: PathBuf, source: std::io::Error },
}

/// Where events go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A line each; on the standard output without a path.
    Json(Option<PathBuf>),
    Mqtt(mqtt::Broker),
    /// A POST request each.
    Webhook(String),
}

impl FromStr for Target {
    type Err = EventsError;

    fn from_str(text: &str) -> Result<Self, EventsError> {
        let wrong = || EventsError::Target(Secrets::of(text).hide(text));
        match text.split_once(':') {
            Some(("json", "-")) => Ok(Self::Json(None)),
            Some(("json", path)) if !path.is_empty() => Ok(Self::Json(Some(path.into()))),
            Some(("mqtt" | "mqtts", _)) => mqtt::Broker::of(text).map(Self::Mqtt).ok_or_else(wrong),
            Some(("http" | "https", rest)) if rest.len() > 2 && rest.starts_with("//") => {
                Ok(Self::Webhook(text.into()))
            }
            _ => Err(wrong()),
        }
    }
}

/// Why an event was not delivered.
#[derive(Debug)]
enum Failure {
    /// The other side did not get it: it is not there, or has no room for any.
    Away(String),
    /// It got this one and did not take it; it may do another time.
    Refused(String),
    /// It never will.
    Never(String),
}

/// Delivers one event, given as JSON.
type Deliver = Box<dyn FnMut(&str) -> Result<(), Failure> + Send>;

/// A place that events go to.
pub struct Outlet {
    queue: Option<SyncSender<String>>,
    /// Dropped to end the waiting.
    closing: Option<Sender<()>>,
    lost: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Outlet {
    /// Opens one. `say` gets each failure once. Servers that others vouch for than `trust` get nothing.
    ///
    /// # Errors
    /// [`EventsError::File`] or [`EventsError::Authorities`]
    pub fn open(target: Target, trust: &Trust, say: Say) -> Result<Self, EventsError> {
        let unwritable = |path: &str| {
            let path = PathBuf::from(path);
            |source| EventsError::File { path, source }
        };
        let (name, deliver) = match target {
            Target::Json(None) => {
                let name = "the standard output";
                (name.into(), file::print().map_err(unwritable(name))?)
            }
            Target::Json(Some(path)) => {
                let name = path.display().to_string();
                let deliver = file::deliver(path).map_err(unwritable(&name))?;
                (name, deliver)
            }
            Target::Mqtt(broker) => (broker.to_string(), mqtt::deliver(broker, trust)?),
            Target::Webhook(url) => (secrets::without_path(&url), webhook::deliver(url, trust)),
        };
        Ok(Self::start(name, deliver, PATIENCE, say))
    }

    fn start(name: String, deliver: Deliver, patience: Patience, say: Say) -> Self {
        let (queue, events) = sync_channel(WAITING);
        let (closing, closed) = channel();
        let lost = Arc::new(AtomicU64::new(0));
        let worker =
            Worker { name, deliver, patience, say, lost: lost.clone(), closed, ends: None, said: BTreeSet::new() };
        let thread = std::thread::spawn(move || worker.run(&events));
        Self { queue: Some(queue), closing: Some(closing), lost, thread: Some(thread) }
    }

    /// Sends an event on its way. Never waits.
    pub fn send(&self, event: &Event) {
        let sent = serde_json::to_string(event).ok().zip(self.queue.as_ref());
        if sent.is_none_or(|(text, queue)| queue.try_send(text).is_err()) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Events that were not delivered and won't be; it goes on counting.
    pub fn lost(&self) -> Arc<AtomicU64> {
        self.lost.clone()
    }
}

impl Drop for Outlet {
    /// What waits is tried once more.
    fn drop(&mut self) {
        (self.queue, self.closing) = (None, None);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Worker {
    name: String,
    deliver: Deliver,
    patience: Patience,
    say: Say,
    lost: Arc<AtomicU64>,
    closed: Receiver<()>,
    /// When all is over, once that is known.
    ends: Option<Instant>,
    /// What was said since it last worked.
    said: BTreeSet<&'static str>,
}

impl Worker {
    fn run(mut self, events: &Receiver<String>) {
        while let Ok(event) = events.recv() {
            if !self.bring(&event) || self.ends.is_some_and(|ends| Instant::now() >= ends) {
                // Nobody takes what is left.
                self.lost.fetch_add(events.iter().count() as u64, Ordering::Relaxed);
                break;
            }
        }
        let lost = self.lost.load(Ordering::Relaxed);
        if lost > 0 {
            (self.say)(format!("{lost} events for {} were lost", self.name));
        }
    }

    /// Tries until it is delivered, or given up; false if the other side is away, and it is all over.
    fn bring(&mut self, event: &str) -> bool {
        let (mut wait, mut tries) = (self.patience.first, 0);
        loop {
            let is_over = self.ends.is_some();
            match (self.deliver)(event) {
                Ok(()) => {
                    if !std::mem::take(&mut self.said).is_empty() {
                        (self.say)(format!("{} takes events again", self.name));
                    }
                    return true;
                }
                Err(Failure::Never(reason)) => return self.give_up(&format!("does not take an event: {reason}")),
                Err(Failure::Refused(reason)) => {
                    tries += 1;
                    if is_over || tries >= self.patience.tries {
                        return self.give_up(&format!("does not take an event after {tries} tries: {reason}"));
                    }
                    self.complain(&reason);
                }
                Err(Failure::Away(reason)) => {
                    self.complain(&reason);
                    if is_over {
                        self.lost.fetch_add(1, Ordering::Relaxed);
                        return false;
                    }
                }
            }
            if self.closed.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected) {
                self.ends = Some(Instant::now() + self.patience.end);
            }
            wait = (2 * wait).min(self.patience.longest);
        }
    }

    fn give_up(&mut self, why: &str) -> bool {
        self.lost.fetch_add(1, Ordering::Relaxed);
        if self.said.insert("lost") {
            (self.say)(format!("{} {why}; that event is lost, the others go on", self.name));
        }
        true
    }

    fn complain(&mut self, reason: &str) {
        if self.said.insert("waits") {
            (self.say)(format!(
                "{} takes no events: {reason}; they are sent again, up to {WAITING} wait, more are lost",
                self.name
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::tests::line;
    use std::sync::Mutex;

    const HASTE: Patience = Patience { first: Duration::from_millis(1), longest: Duration::from_millis(1), ..PATIENCE };

    fn event(kind: Kind) -> Event {
        Event { kind, id: "a".into(), clip: line("a.mp4") }
    }

    fn saying() -> (Say, Arc<Mutex<Vec<String>>>) {
        let said = Arc::new(Mutex::new(Vec::new()));
        let keeping = said.clone();
        (Arc::new(move |text| keeping.lock().unwrap().push(text)), said)
    }

    #[test]
    fn targets_are_read_and_tell_no_secret() {
        let read = |text: &str| text.parse::<Target>();
        assert_eq!(read("json:-").unwrap(), Target::Json(None));
        assert_eq!(read("json:a b.jsonl").unwrap(), Target::Json(Some("a b.jsonl".into())));
        assert_eq!(read("https://h/x").unwrap(), Target::Webhook("https://h/x".into()));
        for wrong in
            ["json:", "ftp://u:p4ss@h/x", "http:u:p4ss@h", "mqtt://", "mqtts://u:p4ss@h:port/t", "u:p4ss@h", ""]
        {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.contains("is no place for events") && !error.contains("p4ss"), "{error}");
        }
    }

    #[test]
    fn a_file_gets_a_flat_object_a_line() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("events.jsonl");
        let (say, said) = saying();
        let outlet = Outlet::open(Target::Json(Some(path.clone())), &Trust::default(), say).unwrap();
        [Kind::New, Kind::Update, Kind::End].iter().for_each(|kind| outlet.send(&event(*kind)));
        drop(outlet);
        let text = std::fs::read_to_string(path).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let types: Vec<&str> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
        assert_eq!(types, ["new", "update", "end"]);
        assert_eq!((lines[0]["id"].as_str(), lines[0]["score"].as_f64()), (Some("a"), Some(0.75)));
        assert!(said.lock().unwrap().is_empty());
    }

    #[test]
    fn what_fails_is_said_once_and_sent_again_in_order() {
        let (say, said) = saying();
        let (sender, delivered) = channel();
        let mut failures = 1;
        let deliver: Deliver = Box::new(move |event: &str| {
            if failures > 0 {
                failures -= 1;
                return Err(Failure::Away("no".into()));
            }
            sender.send(event.to_owned()).map_err(|e| Failure::Never(e.to_string()))
        });
        let outlet = Outlet::start("it".into(), deliver, HASTE, say);
        [Kind::New, Kind::End].iter().for_each(|kind| outlet.send(&event(*kind)));
        let types: Vec<bool> = delivered.iter().take(2).map(|event| event.contains(r#""type":"new""#)).collect();
        assert_eq!(types, [true, false]);
        assert_eq!(outlet.lost().load(Ordering::Relaxed), 0);
        drop(outlet);
        let said = said.lock().unwrap();
        assert_eq!(said.len(), 2);
        assert!(said[0].starts_with("it takes no events: no; ") && said[1] == "it takes events again");
    }

    #[test]
    fn an_event_that_is_never_taken_is_given_up_and_the_others_go_on() {
        let (say, said) = saying();
        let (sender, delivered) = channel();
        let deliver: Deliver = Box::new(move |event: &str| {
            let _ = sender.send(event.contains(r#""type":"new""#));
            if event.contains("new") { Err(Failure::Refused("500".into())) } else { Ok(()) }
        });
        let outlet = Outlet::start("it".into(), deliver, HASTE, say);
        [Kind::New, Kind::End].iter().for_each(|kind| outlet.send(&event(*kind)));
        let sent: Vec<bool> = delivered.iter().take(9).collect();
        assert_eq!(sent, [true, true, true, true, true, true, true, true, false]);
        let lost = outlet.lost();
        drop(outlet);
        assert_eq!(lost.load(Ordering::Relaxed), 1);
        let said = said.lock().unwrap();
        assert_eq!(said[1], "it does not take an event after 8 tries: 500; that event is lost, the others go on");
        assert_eq!(said[2..], ["it takes events again", "1 events for it were lost"]);
        // A minute in all.
        let mut waits = std::iter::successors(Some(PATIENCE.first), |wait| Some((2 * *wait).min(PATIENCE.longest)));
        let all: Duration = (1..PATIENCE.tries).map_while(|_| waits.next()).sum();
        assert_eq!(all, Duration::from_millis(63_500));
    }

    #[test]
    fn in_the_end_one_event_that_is_not_taken_does_not_keep_the_others_from_being_tried() {
        let (say, _) = saying();
        let (sender, delivered) = channel();
        let deliver: Deliver = Box::new(move |event: &str| {
            let _ = sender.send(());
            if event.contains(r#""type":"new""#) { Err(Failure::Refused("500".into())) } else { Ok(()) }
        });
        let patience = Patience { first: Duration::MAX / 4, longest: Duration::MAX / 4, ..PATIENCE };
        let outlet = Outlet::start("it".into(), deliver, patience, say);
        [Kind::New, Kind::Update, Kind::End].iter().for_each(|kind| outlet.send(&event(*kind)));
        let lost = outlet.lost();
        drop(outlet);
        // The first one twice.
        assert_eq!((delivered.iter().count(), lost.load(Ordering::Relaxed)), (4, 1));
    }

    #[test]
    fn a_full_queue_loses_and_counts_but_never_waits() {
        let (say, said) = saying();
        let (entered, began) = channel();
        let (release, released) = channel::<()>();
        let deliver: Deliver = Box::new(move |_| {
            let _ = entered.send(());
            let _ = released.recv();
            Err(Failure::Away("no".into()))
        });
        let outlet = Outlet::start("it".into(), deliver, HASTE, say);
        outlet.send(&event(Kind::New));
        began.recv().unwrap();
        (0..WAITING + 7).for_each(|_| outlet.send(&event(Kind::Update)));
        assert_eq!(outlet.lost().load(Ordering::Relaxed), 7);
        let lost = outlet.lost();
        drop(release);
        drop(outlet);
        assert_eq!(lost.load(Ordering::Relaxed), WAITING as u64 + 8);
        let said = said.lock().unwrap();
        assert_eq!(said[said.len() - 1], format!("{} events for it were lost", WAITING + 8));
        assert_eq!(said.len(), 2);
    }
}
