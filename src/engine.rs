//! The engine: one worker a model, device and precision, shared by all elements of the process that ask for the same.
//!
//! libtorch tensors may move between threads but not be shared, so the worker's thread owns the network. Clips go in as bytes, scores
//! come out as numbers. Elements bound the work that waits: each has only a few segments under way.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use thiserror::Error;

use crate::{
    clip::Geometry,
    importance::{self, Aggregation, Form, Forward},
    maps::Maps,
    network::{self, Device, Header, Network, NetworkError, Precision},
};

/// Why a segment got no score.
#[derive(Clone, Debug, Error)]
#[error("the segment could not be scored: {0}")]
pub struct ScoreError(String);

impl ScoreError {
    /// The worker is gone.
    pub fn stopped() -> Self {
        Self("the engine has stopped; start again".into())
    }
}

/// Which category a segment is scored for.
#[derive(Clone)]
pub enum Category {
    /// The one of this number.
    Fixed(usize),
    /// The one that leads the mean prediction of the segments so far, this one included.
    Running(Arc<Mutex<RunningMean>>),
}

/// The category asked for is none of the model's.
#[derive(Debug, Error)]
#[error("category `{asked}` is none of the model's: use auto or one of {}", known.join(", "))]
pub struct UnknownCategory {
    asked: String,
    known: Vec<String>,
}

impl Category {
    /// From the `category` setting: `auto` or a name.
    ///
    /// # Errors
    /// [`UnknownCategory`]
    pub fn named(name: &str, categories: &[String]) -> Result<Self, UnknownCategory> {
        if name == "auto" {
            return Ok(Self::Running(Arc::default()));
        }
        let number = categories.iter().position(|c| c == name);
        number.map(Self::Fixed).ok_or_else(|| UnknownCategory { asked: name.into(), known: categories.to_vec() })
    }
}

/// Mean prediction over the segments of a stream.
#[derive(Default)]
pub struct RunningMean {
    sum: Vec<f64>,
    segments: u64,
}

impl RunningMean {
    /// Adds a segment's probabilities; the number of the category that leads now.
    pub fn add(&mut self, probabilities: &[f32]) -> usize {
        self.sum.resize(probabilities.len(), 0.0);
        for (sum, &p) in self.sum.iter_mut().zip(probabilities) {
            *sum += f64::from(p);
        }
        self.segments += 1;
        self.leader()
    }

    /// Mean probability of every category; empty before the first segment.
    pub fn probabilities(&self) -> Vec<f32> {
        self.sum.iter().map(|sum| (sum / self.segments as f64) as f32).collect()
    }

    /// Number of the category with the highest mean.
    pub fn leader(&self) -> usize {
        argmax(&self.probabilities())
    }
}

/// What is asked of the engine.
#[derive(Clone)]
pub struct Request {
    pub category: Category,
    pub form: Form,
    pub aggregation: Aggregation,
    /// The importance maps are wanted, too.
    pub maps: bool,
}

/// A segment's scores.
#[derive(Clone, Debug)]
pub struct Score {
    /// Number of the category that it was scored for.
    pub category: usize,
    /// The segment's probability of that category.
    pub confidence: f32,
    /// One for each of the clip's frames, at least 0.
    pub frame_scores: Vec<f32>,
    /// All of them aggregated.
    pub score: f32,
    /// If asked for.
    pub maps: Option<Maps>,
    /// Time that the network took.
    pub inference: Duration,
}

/// Takes the score once it is there; called on the worker's thread.
pub type Reply = Box<dyn FnOnce(Result<Score, ScoreError>) + Send>;

struct Job {
    clip: Vec<u8>,
    request: Request,
    reply: Reply,
}

/// A handle on a worker. When the last handle is gone, the worker ends: after the segment that it is at, and before
/// [`Drop::drop`] returns, because libtorch must not compute while the process ends. What still waits gets no score.
pub struct Engine {
    /// Of the model: its categories and where it comes from.
    pub header: Header,
    /// What a clip is to the model.
    pub clip: Geometry,
    jobs: Mutex<mpsc::Sender<Job>>,
    stopping: Arc<AtomicBool>,
    worker: Option<JoinHandle<()>>,
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        // The worker's queue ends with its last sender.
        self.jobs = Mutex::new(mpsc::channel().0);
        let worker = self.worker.take().filter(|worker| worker.thread().id() != thread::current().id());
        // Its panics were answered as errors.
        let _ = worker.map(JoinHandle::join);
    }
}

/// The model's path, and when it and the description beside it were written.
type Key = (PathBuf, [Option<std::time::SystemTime>; 2], Device, Precision);
static ENGINES: Mutex<Option<HashMap<Key, Weak<Engine>>>> = Mutex::new(None);

impl Engine {
    /// The process's engine for a model file on a device; started if there is none.
    ///
    /// # Errors
    /// [`NetworkError`], by what is wrong with the file or the device.
    pub fn shared(model: &Path, device: Device, precision: Precision) -> Result<Arc<Self>, NetworkError> {
        // A file that was written anew is another model.
        let written = [model, &network::sidecar_of(model)].map(|path| path.metadata().and_then(|m| m.modified()).ok());
        let key = (model.canonicalize().unwrap_or_else(|_| model.into()), written, device, precision);
        let mut engines = ENGINES.lock().unwrap_or_else(PoisonError::into_inner);
        let engines = engines.get_or_insert_default();
        if let Some(engine) = engines.get(&key).and_then(Weak::upgrade) {
            return Ok(engine);
        }
        let network = Network::load(model, device, precision)?;
        let engine = Arc::new(Self::start(network));
        engines.retain(|_, engine| engine.strong_count() > 0);
        engines.insert(key, Arc::downgrade(&engine));
        Ok(engine)
    }

    fn start(network: Network) -> Self {
        let (header, clip) = (network.header.clone(), network.clip);
        let (jobs, queue) = mpsc::channel::<Job>();
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = stopping.clone();
        let worker = thread::spawn(move || {
            for job in queue {
                if stop.load(Ordering::Relaxed) {
                    (job.reply)(Err(ScoreError::stopped()));
                    continue;
                }
                let scored = catch_unwind(AssertUnwindSafe(|| score(&network, &job.clip, &job.request)));
                let result = scored
                    .unwrap_or_else(|panic| Err(ScoreError(format!("the engine panicked: {}", message_of(&panic)))));
                (job.reply)(result);
            }
        });
        Self { header, clip, jobs: Mutex::new(jobs), stopping, worker: Some(worker) }
    }

    /// Hands a clip in ([`Geometry::clip_bytes`] of RGB); `reply` is called for every clip, in order.
    pub fn submit(&self, clip: Vec<u8>, request: Request, reply: Reply) {
        let job = Job { clip, request, reply };
        let sent = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).send(job);
        if let Err(mpsc::SendError(job)) = sent {
            (job.reply)(Err(ScoreError::stopped()));
        }
    }

    /// Hands a clip in and waits for its score.
    ///
    /// # Errors
    /// [`ScoreError`]
    pub fn score(&self, clip: Vec<u8>, request: Request) -> Result<Score, ScoreError> {
        let (sender, receiver) = mpsc::channel();
        self.submit(clip, request, Box::new(move |result| drop(sender.send(result))));
        receiver.recv().unwrap_or_else(|_| Err(ScoreError::stopped()))
    }
}

fn message_of(panic: &Box<dyn std::any::Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).into())).unwrap_or_else(|| "unknown reason".into())
}

/// Forward, category, backward.
fn score(network: &Network, clip: &[u8], request: &Request) -> Result<Score, ScoreError> {
    let began = Instant::now();
    let torch = |error: tch::TchError| ScoreError(format!("libtorch failed: {error}"));
    let forward = Forward::new(network, &[clip]).map_err(torch)?;
    let probabilities = &forward.probabilities[0];
    let category = match &request.category {
        Category::Fixed(category) => *category,
        Category::Running(mean) => mean.lock().unwrap_or_else(PoisonError::into_inner).add(probabilities),
    };
    let confidence = probabilities[category];
    let maps = forward.maps(&[category], request.form).map_err(torch)?;
    let frame_scores = importance::frame_scores(&maps).map_err(torch)?.remove(0);
    let score = request.aggregation.of(&frame_scores);
    if !score.is_finite() {
        return Err(ScoreError("its score is not a finite number; use precision=f32 or another model".into()));
    }
    let maps = if request.maps { Some(Maps::new(&maps).map_err(torch)?) } else { None };
    Ok(Score { category, confidence, frame_scores, score, maps, inference: began.elapsed() })
}

/// Number of the largest value; the first of equals.
pub fn argmax(values: &[f32]) -> usize {
    (1..values.len()).fold(0, |best, i| if values[i] > values[best] { i } else { best })
}
