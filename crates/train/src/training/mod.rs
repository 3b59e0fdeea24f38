//! Training (paper, sections 3.2 and 4): from videos with a category each to a model file.

pub mod accuracy;
pub mod augment;
mod average;
mod batches;
pub mod calibration;
pub mod checkpoint;
pub mod compose;
pub mod data;
pub mod import;
pub mod localise;
pub mod log;
mod mixing;
pub mod network;
pub mod optimizer;
pub mod refine;
pub mod settings;
pub mod teacher;
pub mod trainer;

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

/// Share of videos that may be broken; with more, nothing is done.
const BROKEN_LIMIT: f64 = 0.05;

/// A seed of its own for each purpose and number.
fn mix(seed: u64, purpose: u64, number: u64) -> u64 {
    let mut x = seed.wrapping_add(purpose.wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_add(number << 20);
    // The finaliser of SplitMix64: neighbouring numbers come out unlike each other.
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// Seeds libtorch, whose one source of random numbers is all threads': nobody else who asks here draws from it until this is dropped.
#[cfg(test)]
fn seeded(seed: i64) -> std::sync::MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    tch::manual_seed(seed);
    alone
}

/// What `work` makes of every item, in the items' order; as many at a time as the machine has cores.
fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(number) else { break };
                    let result = work(item);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((number, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}
