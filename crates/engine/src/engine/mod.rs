//! The engine: one worker a model, device and precision, shared by all elements of the process that ask for the same.
//!
//! libtorch tensors may move between threads but not be shared, so the worker's thread owns the network. Clips go in as bytes, scores
//! come out as numbers. Streams take turns, and what waits of them goes through the network together. Files bound what waits
//! themselves, by waiting; of live streams the engine gives up what it has no time for, and tells them to ask for less.

mod batch;
mod load;
mod queue;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use thiserror::Error;

use crate::{
    importance::{Aggregation, Form},
    maps::Maps,
    network::{self, Device, Header, Network, NetworkError, Precision, backend::Prepared},
    unusual::{Eye, Look, Usual},
};
use desumnet_frames::clip::Geometry;

use load::Load;
use queue::{Queue, Terms, Turn};

/// Why a segment got no score.
#[derive(Clone, Debug, Error)]
pub enum ScoreError {
    #[error("the segment could not be scored: {0}")]
    Failed(String),
    /// Only of live streams.
    #[error("there was no time to score the segment")]
    Shed,
    /// The worker is gone.
    #[error("the segment could not be scored: the engine has stopped; start again")]
    Stopped,
}

/// Which category a segment is scored for.
#[derive(Clone)]
pub enum Category {
    /// The one of this number.
    Fixed(usize),
    /// The one that leads the mean prediction of the segments so far, this one included.
    Running(Arc<Mutex<RunningMean>>),
}

impl Default for Category {
    fn default() -> Self {
        Self::Running(Arc::default())
    }
}

/// The category asked for is none of the model's.
#[derive(Debug, Error)]
#[error("category `{asked}` is none of the model's: use auto or one of {}", known.join(", "))]
pub struct UnknownCategory {
    asked: String,
    known: Vec<String>,
}

/// Nothing is unusual to a network that gives no features.
#[derive(Debug, Error)]
#[error(
    "the model gives no features, which importance=unusual needs: export it with features [N, D] as a second output"
)]
pub struct NoFeatures;

impl Category {
    /// From the `category` setting: `auto` or a name.
    ///
    /// # Errors
    /// [`UnknownCategory`]
    pub fn named(name: &str, categories: &[String]) -> Result<Self, UnknownCategory> {
        if name == "auto" {
            return Ok(Self::default());
        }
        let number = categories.iter().position(|c| c == name);
        number.map(Self::Fixed).ok_or_else(|| UnknownCategory { asked: name.into(), known: categories.to_vec() })
    }
}

/// What of the least mean is enough for a category that fits already: scores are of two kinds, and not to change between them with every
/// segment.
const GRACE: f32 = 0.8;

/// Mean prediction over the segments of a stream.
#[derive(Default)]
pub struct RunningMean {
    sum: Vec<f64>,
    segments: u64,
    /// The leader that was found to fit.
    fits: Option<usize>,
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

    /// Whether the leader fits: its mean is at least this, or not much less where it did so far.
    pub fn leader_fits(&mut self, least: f32) -> bool {
        let probabilities = self.probabilities();
        let leader = argmax(&probabilities);
        let least = if self.fits == Some(leader) { GRACE * least } else { least };
        self.fits = probabilities.get(leader).filter(|&&mean| mean >= least).map(|_| leader);
        self.fits.is_some()
    }
}

/// What is asked of the engine.
#[derive(Clone, Default)]
pub struct Request {
    pub category: Category,
    pub form: Form,
    pub aggregation: Aggregation,
    /// The importance maps are wanted, too.
    pub maps: bool,
    /// What the stream usually shows; only [`Form::Unusual`] and [`Form::Auto`] ask and teach it.
    pub usual: Arc<Mutex<Usual>>,
    /// Seconds of the stream that the segment stands for.
    pub seconds: f64,
}

/// A segment's scores.
#[derive(Clone, Debug)]
pub struct Score {
    /// Number of the category that it was scored for; `None` if for none.
    pub category: Option<usize>,
    /// The segment's probability of that category; 0 without one.
    pub confidence: f32,
    /// What it was judged by, if it was scored for how unusual it is.
    pub unusual: Option<Unusual>,
    /// One for each of the clip's frames, at least 0.
    pub frame_scores: Vec<f32>,
    /// All of them aggregated.
    pub score: f32,
    /// If asked for.
    pub maps: Option<Maps>,
    /// Time that the network took for it, and for those in a batch with it.
    pub inference: Duration,
}

/// A segment beside what its stream usually shows.
#[derive(Clone, Debug)]
pub struct Unusual {
    pub look: Look,
    /// About how many hours pass between segments that depart as far.
    pub hours: f64,
}

/// Takes the score once it is there; called on the worker's thread, or where a newer segment takes this one's place in the queue.
pub type Reply = Box<dyn FnOnce(Result<Score, ScoreError>) + Send>;

struct Job {
    clip: Vec<u8>,
    request: Request,
    /// Of a live stream.
    live: bool,
    reply: Reply,
}

/// What a stream asks of batches: its segments go through the network together with those of others.
#[derive(Clone, Copy, Debug, Default)]
pub struct Batching {
    /// Most segments in a batch; 0: one on a CPU, which gains nothing by more, and 8 on a GPU.
    pub size: usize,
    /// How long a segment may wait for others to fill the batch.
    pub timeout: Duration,
}

/// A handle on a worker. When the last handle is gone, the worker ends: after the batches that it has begun, and before
/// [`Drop::drop`] returns, because libtorch must not compute while the process ends. What still waits gets no score.
pub struct Engine {
    /// Of the model: its categories and where it comes from.
    pub header: Header,
    /// What a clip is to the model.
    pub clip: Geometry,
    gpu: bool,
    /// Features that the network gives, if it gives any.
    features: Option<usize>,
    /// A person taught it what is wanted: all segments are scored for that, whatever form is asked for.
    pub is_taught: bool,
    /// Number of the next stream.
    streams: AtomicU64,
    work: Arc<Work>,
    worker: Option<JoinHandle<()>>,
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.work.lock().stopping = true;
        self.work.added.notify_all();
        let worker = self.worker.take().filter(|worker| worker.thread().id() != thread::current().id());
        // Its panics were answered as errors.
        let _ = worker.map(JoinHandle::join);
    }
}

/// What the worker and those who submit share.
#[derive(Default)]
struct Work {
    state: Mutex<State>,
    added: Condvar,
}

#[derive(Default)]
struct State {
    queue: Queue<Job>,
    load: Load,
    stopping: bool,
}

impl State {
    /// What the queue gave up since the last call.
    fn shed(&mut self, now: Instant) -> Vec<Job> {
        let shed = self.queue.shed();
        if !shed.is_empty() {
            self.load.gave_up(now);
        }
        shed
    }
}

impl Work {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next batch, once there is one; `None` when the engine stops. `expected`: about how long it will take.
    fn next(&self, expected: Duration) -> Option<Vec<Job>> {
        let mut state = self.lock();
        loop {
            if state.stopping {
                let left = state.queue.drain();
                drop(state);
                left.into_iter().for_each(|job| (job.reply)(Err(ScoreError::Stopped)));
                return None;
            }
            let now = Instant::now();
            let turn = state.queue.next(now, expected);
            let shed = state.shed(now);
            let gave_up = !shed.is_empty();
            if gave_up {
                drop(state);
                shed.into_iter().for_each(|job| (job.reply)(Err(ScoreError::Shed)));
                state = self.lock();
            }
            state = match turn {
                Turn::Batch(batch) => return Some(batch),
                // Something may have been added while the lock was open.
                Turn::Wait(_) if gave_up => state,
                Turn::Wait(None) => self.added.wait(state).unwrap_or_else(PoisonError::into_inner),
                Turn::Wait(Some(until)) => {
                    let waited = self.added.wait_timeout(state, until.saturating_duration_since(now));
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// The batch that need not be waited for, if there is one. `expected` as above.
    fn at_hand(&self, expected: Duration) -> Option<Vec<Job>> {
        let mut state = self.lock();
        if state.stopping {
            return None;
        }
        let now = Instant::now();
        let turn = state.queue.next(now, expected);
        let shed = state.shed(now);
        drop(state);
        shed.into_iter().for_each(|job| (job.reply)(Err(ScoreError::Shed)));
        match turn {
            Turn::Batch(batch) => Some(batch),
            Turn::Wait(_) => None,
        }
    }
}

/// A batch, and what the device begins with if that is there already.
struct Ahead {
    batch: Vec<Job>,
    prepared: Option<Prepared>,
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
        let network = Network::open(model, device, precision)?;
        let engine = Arc::new(Self::start(network));
        engines.retain(|_, engine| engine.strong_count() > 0);
        engines.insert(key, Arc::downgrade(&engine));
        Ok(engine)
    }

    fn start(network: Network) -> Self {
        let (header, clip, gpu) = (network.header.clone(), network.clip, network.is_gpu);
        let (features, is_taught) = (network.features, network.head.is_some());
        let work = Arc::new(Work::default());
        let queue = work.clone();
        let worker = thread::spawn(move || {
            let eye = features.map(Eye::new);
            let mut expected = Duration::ZERO;
            let mut ahead: Option<Ahead> = None;
            while let Some(Ahead { batch, prepared }) =
                ahead.take().or_else(|| queue.next(expected).map(|batch| Ahead { batch, prepared: None }))
            {
                let began = Instant::now();
                // Clips are brought to the device while that is still at the batch before.
                let mut look_ahead = || {
                    if network.prepares() && ahead.is_none() {
                        ahead = queue.at_hand(expected).map(|batch| {
                            let prepared = network.prepare(&batch::clips_of(&batch));
                            Ahead { batch, prepared }
                        });
                    }
                };
                let answers = batch::score(&network, eye.as_ref(), &batch, prepared, &mut look_ahead);
                expected = began.elapsed();
                let live = batch.iter().filter(|job| job.live).count();
                queue.lock().load.worked(expected.mul_f64(live as f64 / batch.len() as f64));
                for (job, answer) in batch.into_iter().zip(answers) {
                    (job.reply)(answer);
                }
            }
        });
        Self { header, clip, gpu, features, is_taught, streams: AtomicU64::new(0), work, worker: Some(worker) }
    }

    /// Whether the model can score in a form.
    ///
    /// # Errors
    /// [`NoFeatures`]
    pub fn check(&self, form: Form) -> Result<(), NoFeatures> {
        if form == Form::Unusual && self.features.is_none() { Err(NoFeatures) } else { Ok(()) }
    }

    /// Whether a category of this mean probability fits: any does to a model that was not calibrated, or gives nothing else to go by.
    pub fn fits(&self, probability: f32) -> bool {
        let calibration = self.header.calibration.filter(|_| self.features.is_some());
        calibration.is_none_or(|calibration| probability >= calibration.fits as f32)
    }

    /// A stream of its own: it gets its turn, whatever others wait for.
    pub fn stream(self: &Arc<Self>, batching: Batching) -> Stream {
        let batching = Batching { size: self.batch_size(batching), ..batching };
        Stream { engine: self.clone(), id: self.streams.fetch_add(1, Ordering::Relaxed), batching }
    }

    /// Most segments of a batch with those of a stream that asks for this.
    pub fn batch_size(&self, batching: Batching) -> usize {
        match batching.size {
            0 if self.gpu => 8,
            0 => 1,
            size => size,
        }
    }
}

/// One that submits to an engine. When it goes, its segments that still wait are not scored: the next one need not wait for them.
pub struct Stream {
    pub engine: Arc<Engine>,
    id: u64,
    batching: Batching,
}

impl Drop for Stream {
    fn drop(&mut self) {
        let left = self.engine.work.lock().queue.close(self.id);
        left.into_iter().for_each(|job| (job.reply)(Err(ScoreError::Stopped)));
    }
}

impl Stream {
    /// Hands a clip in ([`Geometry::clip_bytes`] of RGB); `reply` is called for every clip, in order but for [`ScoreError::Shed`]. `due`:
    /// when the score of a live stream must be there to be of use; `None` for who can wait.
    pub fn submit(&self, clip: Vec<u8>, request: Request, due: Option<Instant>, reply: Reply) {
        let Batching { size, timeout } = self.batching;
        let terms = Terms { stream: self.id, due, form: request.form, batch_size: size, batch_timeout: timeout };
        let mut state = self.engine.work.lock();
        let now = Instant::now();
        state.queue.push(terms, Job { clip, request, live: due.is_some(), reply }, now);
        let shed = state.shed(now);
        drop(state);
        self.engine.work.added.notify_all();
        shed.into_iter().for_each(|job| (job.reply)(Err(ScoreError::Shed)));
    }

    /// Hands a clip in and waits for its score.
    ///
    /// # Errors
    /// [`ScoreError`]
    pub fn score(&self, clip: Vec<u8>, request: Request) -> Result<Score, ScoreError> {
        let (sender, receiver) = mpsc::channel();
        self.submit(clip, request, None, Box::new(move |result| drop(sender.send(result))));
        receiver.recv().unwrap_or(Err(ScoreError::Stopped))
    }

    /// Of the segments that a live stream would have scored, every how manieth there is time for now.
    pub fn interval(&self) -> u32 {
        self.engine.work.lock().load.interval(Instant::now())
    }

    /// Number of the stream, among all of the engine: from 0, in the order in which they began.
    pub fn number(&self) -> u64 {
        self.id
    }

    /// Segments that who can wait should have under way, so that the engine has the next batch while it is at one.
    pub fn ahead(&self) -> usize {
        2 * self.batching.size
    }
}

/// The message of a panic.
pub fn message_of(panic: &Box<dyn std::any::Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).into())).unwrap_or_else(|| "unknown reason".into())
}

/// Number of the largest value; the first of equals.
pub fn argmax(values: &[f32]) -> usize {
    (1..values.len()).fold(0, |best, i| if values[i] > values[best] { i } else { best })
}
