//! What happens, told to whoever wants to know: a file, an MQTT broker, a web server. Never at the cost of the video.
//!
//! Every outlet has a queue and a thread of its own. What can't be delivered is tried again; when its queue is full, new events are lost
//! there, and counted.

mod mqtt;
mod webhook;

use std::{
    fs::OpenOptions,
    io::Write,
    path::PathBuf,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use serde::Serialize;
use thiserror::Error;

use super::{complaints::Say, folder::Line, secrets::Secrets};

/// Events that may wait at an outlet.
pub const WAITING: usize = 1_000;
/// Wait before something is tried again; doubled each time, up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

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
    #[error("{0} is no place for events: give json:FILE, json:-, mqtt://HOST/TOPIC, http://... or https://...")]
    Target(String),
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
            Some(("mqtt", _)) => mqtt::Broker::of(text).map(Self::Mqtt).ok_or_else(wrong),
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
    /// It may work another time.
    Later(String),
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
    /// Opens one. `say` gets each failure once.
    ///
    /// # Errors
    /// [`EventsError::File`]
    pub fn open(target: Target, say: Say) -> Result<Self, EventsError> {
        Ok(match target {
            Target::Json(path) => {
                let to: Box<dyn Write + Send> = match &path {
                    Some(path) => {
                        let file = OpenOptions::new().create(true).append(true).open(path);
                        Box::new(file.map_err(|source| EventsError::File { path: path.clone(), source })?)
                    }
                    None => Box::new(std::io::stdout()),
                };
                let name = path.map_or("the standard output".into(), |path| path.display().to_string());
                Self::start(name, lines(to), say)
            }
            Target::Mqtt(broker) => Self::start(broker.to_string(), mqtt::deliver(&broker), say),
            Target::Webhook(url) => Self::start(Secrets::of(&url).hide(&url), webhook::deliver(url), say),
        })
    }

    fn start(name: String, deliver: Deliver, say: Say) -> Self {
        let (queue, events) = sync_channel(WAITING);
        let (closing, closed) = channel();
        let lost = Arc::new(AtomicU64::new(0));
        let worker = Worker { name, deliver, say, lost: lost.clone(), closed, troubled: false };
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
    say: Say,
    lost: Arc<AtomicU64>,
    closed: Receiver<()>,
    /// Something failed, and that was said.
    troubled: bool,
}

impl Worker {
    fn run(mut self, events: &Receiver<String>) {
        while let Ok(event) = events.recv() {
            if !self.bring(&event) {
                // It is over, and nobody takes it.
                self.lost.fetch_add(1 + events.iter().count() as u64, Ordering::Relaxed);
                break;
            }
        }
        let lost = self.lost.load(Ordering::Relaxed);
        if lost > 0 {
            (self.say)(format!("{lost} events for {} were lost", self.name));
        }
    }

    /// Tries until it is delivered, or never will be; false if it is all over.
    fn bring(&mut self, event: &str) -> bool {
        let mut wait = FIRST_WAIT;
        loop {
            let reason = match (self.deliver)(event) {
                Ok(()) => {
                    if std::mem::replace(&mut self.troubled, false) {
                        (self.say)(format!("{} takes events again", self.name));
                    }
                    return true;
                }
                Err(Failure::Never(reason)) => {
                    self.lost.fetch_add(1, Ordering::Relaxed);
                    self.complain(&reason);
                    return true;
                }
                Err(Failure::Later(reason)) => reason,
            };
            self.complain(&reason);
            if self.closed.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected) {
                return false;
            }
            wait = (2 * wait).min(LONGEST_WAIT);
        }
    }

    fn complain(&mut self, reason: &str) {
        if !std::mem::replace(&mut self.troubled, true) {
            (self.say)(format!(
                "{} takes no events: {reason}; they are sent again, up to {WAITING} wait, more are lost",
                self.name
            ));
        }
    }
}

fn lines(mut to: Box<dyn Write + Send>) -> Deliver {
    Box::new(move |event| {
        let written = to.write_all(format!("{event}\n").as_bytes()).and_then(|()| to.flush());
        written.map_err(|e| Failure::Later(e.to_string()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::folder::tests::line;
    use std::sync::Mutex;

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
        for wrong in ["json:", "ftp://u:p4ss@h/x", "http:", "mqtt://", "mqtt://h:port/t", ""] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.contains("is no place for events") && !error.contains("p4ss"), "{error}");
        }
    }

    #[test]
    fn a_file_gets_a_flat_object_a_line() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("events.jsonl");
        let (say, said) = saying();
        let outlet = Outlet::open(Target::Json(Some(path.clone())), say).unwrap();
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
                return Err(Failure::Later("no".into()));
            }
            sender.send(event.to_owned()).map_err(|e| Failure::Never(e.to_string()))
        });
        let outlet = Outlet::start("it".into(), deliver, say);
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
    fn a_full_queue_loses_and_counts_but_never_waits() {
        let (say, said) = saying();
        let (entered, began) = channel();
        let (release, released) = channel::<()>();
        let deliver: Deliver = Box::new(move |_| {
            let _ = entered.send(());
            let _ = released.recv();
            Err(Failure::Later("no".into()))
        });
        let outlet = Outlet::start("it".into(), deliver, say);
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
