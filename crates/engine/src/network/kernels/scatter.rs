//! conv2 to conv5 backward: the gradient with respect to the input, from the places that 2x2x2 max pooling let through.
//!
//! Behind a pool one place in eight carries a channel's gradient, and none where ReLU was at zero. Only those are visited: for
//! each place of a window the list of its filters and their gradients is made once, and each list is multiplied by the weights
//! of a tap of the kernel, with the sums in registers.

use rayon::prelude::*;

use super::{
    lanes::{Group, Kernel, LANES, Lanes, Simd},
    pool::Places,
    volume::{Size, groups},
};

/// Groups of inputs that are summed at a time.
const SUMS: usize = 6;

/// A layer's weights, in the order in which they are read.
pub struct Scatter {
    inputs: usize,
    filters: usize,
    /// `[3, 9 * inputs / SUMS, filters]`: the kernel's frames; its places and groups of inputs, SUMS of them together; filters.
    weights: Vec<[Group; SUMS]>,
}

/// A filter whose gradient passes at some place.
#[derive(Clone, Copy, Default)]
struct Passing {
    filter: u32,
    gradient: f32,
}

/// What passes at every place of windows.
#[derive(Default)]
pub struct Lists {
    /// `[windows, filters]`, a window's by place.
    passing: Vec<Passing>,
    /// For each window where each place's begin, and where the last one's end.
    starts: Vec<[u32; 9]>,
}

impl Lists {
    /// Lists the gradients `[windows, outputs]` that pass.
    pub fn fill(&mut self, gradients: &[Group], places: &[Places], outputs: usize) {
        let windows = gradients.len() / outputs;
        self.passing.resize(windows * outputs * LANES, Passing::default());
        self.starts.resize(windows, [0; 9]);
        let from = gradients.par_chunks_exact(outputs).zip(places.par_chunks_exact(outputs));
        let to = self.passing.par_chunks_exact_mut(outputs * LANES).zip(&mut self.starts);
        from.zip(to).with_min_len(64).for_each(|((gradients, places), (passing, starts))| {
            let mut length = 0;
            for place in 0..8 {
                starts[place] = length as u32;
                for (group, (gradients, places)) in gradients.iter().zip(places).enumerate() {
                    let mut filters = places[place];
                    while filters != 0 {
                        let filter = filters.trailing_zeros() as usize;
                        filters &= filters - 1;
                        passing[length] =
                            Passing { filter: (group * LANES + filter) as u32, gradient: gradients[filter] };
                        length += 1;
                    }
                }
            }
            starts[8] = length as u32;
        });
    }
}

impl Scatter {
    /// Weights `[filters, inputs, 3, 3, 3]`.
    pub fn new(weights: &[f32], filters: usize, inputs: usize) -> Self {
        assert_eq!(weights.len(), filters * inputs * 27, "weights of {filters} filters of {inputs} inputs");
        let (input_groups, filters) = (groups(inputs), groups(filters) * LANES);
        let parts = (9 * input_groups).div_ceil(SUMS);
        let mut packed = vec![[Group::ZERO; SUMS]; 3 * parts * filters];
        for (number, kernel) in weights.as_chunks::<27>().0.iter().enumerate() {
            let (filter, input) = (number / inputs, number % inputs);
            for (tap, weight) in kernel.iter().enumerate() {
                let at = tap % 9 * input_groups + input / LANES;
                let part = tap / 9 * parts + at / SUMS;
                packed[part * filters + filter][at % SUMS][input % LANES] = *weight;
            }
        }
        Self { inputs: input_groups, filters, weights: packed }
    }

    /// Groups of a place of the input.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Computes the gradient `[H, W, inputs]` of input frame number `frame`, counted through all clips. `plane` is memory to
    /// compute in.
    pub fn backward(
        &self,
        simd: Simd,
        size: Size,
        lists: &Lists,
        frame: usize,
        plane: &mut Vec<Group>,
        to: &mut [Group],
    ) {
        assert_eq!(to.len(), size.height * size.width * self.inputs, "a frame of {size:?}");
        simd.run(Backward { scatter: self, size, lists, frame, plane, to });
    }
}

struct Backward<'a> {
    scatter: &'a Scatter,
    size: Size,
    lists: &'a Lists,
    frame: usize,
    plane: &'a mut Vec<Group>,
    to: &'a mut [Group],
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Self { scatter, size, lists, frame, plane, to } = self;
        let Scatter { inputs, filters, ref weights } = *scatter;
        let pooled = size.pooled([2, 2, 2]);
        let (clip, frame) = (frame / size.frames, frame % size.frames);
        let parts = (9 * inputs).div_ceil(SUMS);
        let row = (size.width + 2) * inputs;
        // With a border, so that no tap needs a look where it falls.
        plane.clear();
        plane.resize((size.height + 2) * row, Group::ZERO);
        for tap in 0..3 {
            // The frame of the convolution's output that this tap reaches.
            let Some(from) = (frame + 1).checked_sub(tap).filter(|from| *from < size.frames) else { continue };
            let windows = (clip * pooled.frames + from / 2) * pooled.height * pooled.width;
            for y in 0..pooled.height {
                for part in 0..parts {
                    let weights = &weights[(tap * parts + part) * filters..][..filters];
                    let mut offsets = [0; SUMS];
                    for (i, offset) in offsets.iter_mut().enumerate() {
                        // The last part may be filled up with weights of zero.
                        let at = (part * SUMS + i).min(9 * inputs - 1);
                        *offset = at / inputs / 3 * row + at / inputs % 3 * inputs + at % inputs;
                    }
                    for x in 0..pooled.width {
                        let window = windows + y * pooled.width + x;
                        let passing = &lists.passing[window * filters..][..filters];
                        let starts = &lists.starts[window];
                        for place in 0..4 {
                            let at = from % 2 * 4 + place;
                            let passing = &passing[starts[at] as usize..starts[at + 1] as usize];
                            if passing.is_empty() {
                                continue;
                            }
                            let sums = weigh(lanes, passing, weights);
                            let corner = (2 * y + place / 2) * row + (2 * x + place % 2) * inputs;
                            let to = &mut plane[corner..];
                            for (sum, offset) in sums.into_iter().zip(offsets) {
                                let to = &mut to[offset];
                                lanes.store(lanes.add(lanes.load(to), sum), to);
                            }
                        }
                    }
                }
            }
        }
        let inner = plane[row..].chunks_exact(row).map(|row| &row[inputs..row.len() - inputs]);
        for (to, from) in to.chunks_exact_mut(size.width * inputs).zip(inner) {
            to.copy_from_slice(from);
        }
    }
}

/// The weights of a list's filters, each times its gradient, summed.
#[inline(always)]
fn weigh<L: Lanes>(lanes: L, passing: &[Passing], weights: &[[Group; SUMS]]) -> [L::V; SUMS] {
    let mut sums = [lanes.splat(0.0); SUMS];
    for passing in passing {
        let factor = lanes.splat(passing.gradient);
        for (sum, weight) in sums.iter_mut().zip(&weights[passing.filter as usize]) {
            *sum = lanes.mul_add(factor, lanes.load(weight), *sum);
        }
    }
    sums
}
