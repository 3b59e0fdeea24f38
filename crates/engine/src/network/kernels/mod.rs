//! DeSumNet's convolutions on a CPU, by kernels of their own: float32, and far fewer multiplications than the layers' sizes say.
//!
//! | | forward | backward |
//! |---|---|---|
//! | conv1 | directly ([`first`]) | at the places that pooling let through, one in four, straight to the map ([`first`]) |
//! | conv2 to conv5 | Winograd, 64 multiplications for 216 ([`winograd`]) | at the places that pooling let through, one in eight ([`scatter`]) |
//!
//! Bias, ReLU and max pooling are part of the forward kernels ([`pool`]). Each kernel is written once and compiled for several
//! instruction sets ([`lanes`]); the processor's best is chosen at run time.

pub mod first;
pub mod lanes;
pub mod pool;
pub mod scatter;
#[cfg(test)]
mod tests;
pub mod volume;
pub mod winograd;

use std::sync::{Mutex, MutexGuard, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder, prelude::*};

use first::{Bordered, FRAMES, First, map};
use lanes::{Group, LANES};
use pool::{Places, Pooled};
use scatter::{Lists, Scatter};
use volume::groups;
use winograd::Convolution;

pub use lanes::Simd;
pub use volume::Size;

/// Pooling after conv1, and after the others.
pub const POOLS: [[usize; 3]; 2] = [[1, 2, 2], [2, 2, 2]];

/// A convolution as a model file has it.
#[derive(Clone, Copy)]
pub struct Weights<'a> {
    /// `[filters, inputs, 3, 3, 3]`
    pub weight: &'a [f32],
    /// `[filters]`
    pub bias: &'a [f32],
}

/// The convolutions of a network, packed, and what a pass leaves behind for the next.
pub struct Convolutions {
    simd: Simd,
    threads: ThreadPool,
    /// Of a clip.
    size: Size,
    /// Of what the last layer gives, and its filters.
    last: (Size, usize),
    first: First,
    rest: Vec<Layer>,
    clips: Bordered,
    /// Each layer's pooled values; on the way back the gradients with respect to them.
    values: Vec<Vec<Group>>,
    places: Vec<Vec<Places>>,
    lists: Lists,
    spread: Vec<f32>,
    /// One a thread.
    scratch: Vec<Mutex<Scratch>>,
}

/// A layer behind the first.
struct Layer {
    /// Of its input.
    size: Size,
    convolution: Convolution,
    scatter: Scatter,
}

impl Convolutions {
    /// Packs the weights of conv1, which takes 3 colours, and of the layers behind it, for clips of this size.
    ///
    /// # Errors
    /// If the threads can't be started.
    ///
    /// # Panics
    /// If there is no layer, or a weight does not fit the layer before.
    pub fn new(layers: &[Weights], size: Size, threads: usize, simd: Simd) -> Result<Self, ThreadPoolBuildError> {
        let threads = ThreadPoolBuilder::new().num_threads(threads).thread_name(|i| format!("desumnet-{i}")).build()?;
        let first = First::new(layers[0].weight, layers[0].bias);
        let mut at = size.pooled(POOLS[0]);
        let mut filters = layers[0].bias.len();
        let mut rest = Vec::new();
        for Weights { weight, bias } in &layers[1..] {
            let convolution = Convolution::new(weight, bias, filters);
            let scatter = Scatter::new(weight, bias.len(), filters);
            rest.push(Layer { size: at, convolution, scatter });
            (at, filters) = (at.pooled(POOLS[1]), bias.len());
        }
        let scratch = (0..threads.current_num_threads()).map(|_| Mutex::default()).collect();
        Ok(Self {
            simd,
            size,
            last: (at, filters),
            clips: Bordered::new(size),
            values: vec![Vec::new(); layers.len()],
            places: vec![Vec::new(); layers.len()],
            lists: Lists::default(),
            spread: Vec::new(),
            threads,
            first,
            rest,
            scratch,
        })
    }

    /// Does something on the threads of the convolutions.
    pub fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.threads.install(work)
    }

    /// The last layer's pooled values, `[N, filters, T, H, W]`, of clips `[N, T, H, W, 3]`, normalised.
    ///
    /// # Panics
    /// If the clips are of another size, or none.
    pub fn forward(&mut self, clips: &[f32]) -> Vec<f32> {
        let Self { simd, threads, size, first, rest, clips: bordered, values, places, scratch, .. } = self;
        let count = clips.len() / (size.positions() * 3);
        assert!(count > 0 && clips.len() == count * size.positions() * 3, "whole clips of {size:?}");
        bordered.fill(clips);
        threads.install(|| {
            let pooled = size.pooled(POOLS[0]);
            let row = pooled.width * first.outputs();
            resize(&mut values[0], &mut places[0], count * pooled.frames * pooled.height * row);
            let rows = values[0].par_chunks_exact_mut(row).zip(places[0].par_chunks_exact_mut(row));
            rows.enumerate().for_each(|(number, (values, places))| {
                first.forward(*simd, bordered, number, Pooled { values, places })
            });
            for (number, Layer { size, convolution, .. }) in rest.iter().enumerate() {
                let [input, values] = &mut values[number..number + 2] else { unreachable!("a layer has an input") };
                let places = &mut places[number + 1];
                let windows = count * size.pooled(POOLS[1]).positions();
                resize(values, places, windows * convolution.outputs());
                let at_a_time = convolution.windows_at_a_time().min(windows.div_ceil(scratch.len()));
                let block = at_a_time * convolution.outputs();
                let blocks = values.par_chunks_mut(block).zip(places.par_chunks_mut(block)).enumerate();
                blocks.for_each(|(number, (values, places))| {
                    let mut scratch = own(scratch);
                    convolution.forward(
                        *simd,
                        input,
                        *size,
                        number * at_a_time,
                        Pooled { values, places },
                        &mut scratch.winograd,
                    );
                });
            }
        });
        self.features()
    }

    /// The last layer's values, channels first.
    fn features(&self) -> Vec<f32> {
        let (size, filters) = self.last;
        let outputs = groups(filters);
        let clips = self.values.last().into_iter().flat_map(|values| values.chunks_exact(size.positions() * outputs));
        let each = clips.flat_map(|clip| (0..filters).map(move |filter| (clip, filter / LANES, filter % LANES)));
        each.flat_map(|(clip, group, lane)| clip.iter().skip(group).step_by(outputs).map(move |group| group[lane]))
            .collect()
    }

    /// The importance maps `[N, T, H, W]`, the largest absolute value over the colours of the gradient with respect to the input:
    /// from the gradient with respect to what the last [`Self::forward`] gave, of the same shape. May be called again, with another
    /// gradient.
    ///
    /// # Panics
    /// If the gradient is of another shape.
    pub fn backward(&mut self, gradient: &[f32]) -> Vec<f32> {
        self.take_over(gradient);
        let Self { simd, threads, size, first, rest, values, places, lists, spread, scratch, .. } = self;
        threads.install(|| {
            for (number, Layer { size, convolution, scatter }) in rest.iter().enumerate().rev() {
                let [to, gradients] = &mut values[number..number + 2] else { unreachable!("a layer has an input") };
                lists.fill(gradients, &places[number + 1], convolution.outputs());
                let frames = to.par_chunks_exact_mut(size.height * size.width * scatter.inputs());
                frames.enumerate().for_each(|(frame, to)| {
                    scatter.backward(*simd, *size, lists, frame, &mut own(scratch).plane, to);
                });
            }
            let pooled = size.pooled(POOLS[0]);
            let clip = pooled.positions() * first.outputs();
            let part = FRAMES * pooled.height * pooled.width * first.outputs();
            let parts = size.frames.div_ceil(FRAMES);
            spread.clear();
            spread.resize(values[0].len() / clip * parts * First::spread(*size), 0.0);
            spread.par_chunks_exact_mut(First::spread(*size)).enumerate().for_each(|(number, to)| {
                let begin = number / parts * clip + number % parts * part;
                let frames = begin..(begin + part).min((number / parts + 1) * clip);
                first.backward(*simd, *size, &values[0][frames.clone()], &places[0][frames], to);
            });
            let mut maps = vec![0.0; values[0].len() / clip * size.positions()];
            let frames = maps.par_chunks_exact_mut(size.height * size.width);
            frames.enumerate().for_each(|(frame, to)| map(*size, spread, frame, to));
            maps
        })
    }

    /// Puts the gradient with respect to [`Self::features`] where the last layer's values were.
    fn take_over(&mut self, gradient: &[f32]) {
        let (size, filters) = self.last;
        let (positions, outputs) = (size.positions(), groups(filters));
        let Some(values) = self.values.last_mut() else { return };
        assert_eq!(gradient.len() * outputs, values.len() * filters, "a gradient for each value");
        let clips = values.chunks_exact_mut(positions * outputs).zip(gradient.chunks_exact(positions * filters));
        for (values, gradients) in clips {
            for (filter, gradients) in gradients.chunks_exact(positions).enumerate() {
                for (groups, gradient) in values.chunks_exact_mut(outputs).zip(gradients) {
                    groups[filter / LANES][filter % LANES] = *gradient;
                }
            }
        }
    }
}

fn resize(values: &mut Vec<Group>, places: &mut Vec<Places>, length: usize) {
    values.resize(length, Group::ZERO);
    places.resize(length, [0; 8]);
}

/// The memory of the thread that asks.
fn own(scratch: &[Mutex<Scratch>]) -> MutexGuard<'_, Scratch> {
    let thread = rayon::current_thread_index().unwrap_or(0);
    // What a thread that panicked has left is written over.
    scratch[thread].lock().unwrap_or_else(PoisonError::into_inner)
}

/// Memory that a thread computes in.
#[derive(Default)]
struct Scratch {
    winograd: winograd::Scratch,
    plane: Vec<Group>,
}
