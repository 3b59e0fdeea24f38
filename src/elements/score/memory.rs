//! What a stream usually shows, kept in a file: a camera need not be learned anew after a restart.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::imp::CAT;
use desumnet_engine::unusual::Usual;
use desumnet_files::whole_file;

/// How much of what was learned a power cut may cost.
const EVERY: Duration = Duration::from_secs(600);

/// The file: JSON.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// Of the model, whose features it is about.
    model: String,
    usual: Usual,
}

/// The file's place, and what goes there.
pub struct Memory {
    pub usual: Arc<Mutex<Usual>>,
    path: PathBuf,
    model: String,
    saved: Mutex<Instant>,
    saving: Arc<AtomicBool>,
}

impl Memory {
    /// Reads the file if it is there; whatever is wrong with it, the stream is learned anew.
    pub fn open(path: &Path, model: &Path) -> Self {
        let model = std::fs::read(model).map(|bytes| blake3::hash(&bytes).to_string()).unwrap_or_default();
        let usual = match std::fs::read(path).map(|bytes| serde_json::from_slice::<Kept>(&bytes)) {
            Ok(Ok(kept)) if kept.model == model => kept.usual,
            Ok(Ok(_)) => {
                gst::warning!(CAT, "{} is of another model: what is usual is learned anew", path.display());
                Usual::default()
            }
            Ok(Err(error)) => {
                gst::warning!(CAT, "{} can't be read ({error}): what is usual is learned anew", path.display());
                Usual::default()
            }
            Err(error) => {
                gst::info!(CAT, "{}: {error}; what is usual is learned from now on", path.display());
                Usual::default()
            }
        };
        let (saved, saving) = (Instant::now().into(), Arc::default());
        Self { usual: Arc::new(Mutex::new(usual)), path: path.into(), model, saved, saving }
    }

    /// Writes the file if that was long ago, on a thread of its own: a disk may hang.
    pub fn save_now_and_then(&self) {
        let mut saved = locked(&self.saved);
        if saved.elapsed() < EVERY || self.saving.swap(true, Ordering::AcqRel) {
            return;
        }
        *saved = Instant::now();
        let (usual, path, model, saving) =
            (self.usual.clone(), self.path.clone(), self.model.clone(), self.saving.clone());
        thread::spawn(move || {
            save(&usual, &path, model);
            saving.store(false, Ordering::Release);
        });
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if locked(&self.usual).has_seen_anything() {
            save(&self.usual, &self.path, std::mem::take(&mut self.model));
        }
    }
}

fn save(usual: &Mutex<Usual>, path: &Path, model: String) {
    let usual = locked(usual).clone();
    let written = serde_json::to_vec(&Kept { model, usual })
        .map_err(std::io::Error::from)
        .and_then(|json| whole_file::write(path, &json));
    if let Err(error) = written {
        gst::warning!(
            CAT,
            "{} can't be written: {error}; after a restart, what is usual is learned anew",
            path.display()
        );
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
