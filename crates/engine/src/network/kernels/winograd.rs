//! conv2 to conv5 forward: 3x3x3 convolution, bias, ReLU and 2x2x2 max pooling, by Winograd's minimal filtering.
//!
//! The eight sums of a pool window come from the 4x4x4 places around it. Winograd's F(2, 3) along each axis takes 64
//! multiplications for them in place of 216 (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016,
//! section 4.1): transform the places, multiply at each of 64 points by the transformed weights, transform back. The
//! multiplications of many windows at a point are a matrix product, windows by inputs times inputs by filters.

use std::array::from_fn;

use super::{
    lanes::{Group, Kernel, LANES, Lanes, Simd},
    pool::Pooled,
    volume::{PANEL, Size, groups},
};

/// Points of the transformed window, 4 x 4 x 4.
const POINTS: usize = 64;

/// A layer's weights, transformed and in the order in which they are read.
pub struct Convolution {
    inputs: usize,
    panels: usize,
    /// `[panels, POINTS, 16 * inputs, PANEL]`
    weights: Vec<Group>,
    /// `[PANEL * panels]`
    bias: Vec<Group>,
}

/// Memory that a thread computes in.
#[derive(Default)]
pub struct Scratch {
    transformed: Vec<Group>,
    products: Vec<Group>,
}

impl Convolution {
    /// Weights `[filters, inputs, 3, 3, 3]` and one bias a filter.
    pub fn new(weights: &[f32], bias: &[f32], inputs: usize) -> Self {
        let filters = bias.len();
        assert_eq!(weights.len(), filters * inputs * 27, "weights of {filters} filters of {inputs} inputs");
        let panels = groups(filters) / PANEL;
        let padded = groups(inputs) * LANES;
        let mut packed = vec![Group::ZERO; POINTS * panels * padded * PANEL];
        for (number, kernel) in weights.as_chunks::<27>().0.iter().enumerate() {
            let (filter, input) = (number / inputs, number % inputs);
            let (panel, column) = (filter / (PANEL * LANES), filter % (PANEL * LANES));
            for (point, weight) in transform_kernel(kernel).into_iter().enumerate() {
                let at = ((panel * POINTS + point) * padded + input) * PANEL + column / LANES;
                packed[at][column % LANES] = weight;
            }
        }
        let mut padded_bias = vec![Group::ZERO; panels * PANEL];
        for (filter, bias) in bias.iter().enumerate() {
            padded_bias[filter / LANES][filter % LANES] = *bias;
        }
        Self { inputs: groups(inputs), panels, weights: packed, bias: padded_bias }
    }

    /// Groups of a place of the output.
    pub fn outputs(&self) -> usize {
        self.panels * PANEL
    }

    /// Windows that a thread takes at a time: what it computes with stays in the second-level cache, and the weights, which do
    /// not, serve often.
    pub fn windows_at_a_time(&self) -> usize {
        (224 / self.inputs).max(28)
    }

    /// Computes the windows from number `first` on, as many as `to` has room for, of an input `[N, T, H, W, inputs]`.
    pub fn forward(&self, simd: Simd, input: &[Group], size: Size, first: usize, to: Pooled, scratch: &mut Scratch) {
        assert_eq!(input.len() % (size.positions() * self.inputs), 0, "an input of {size:?}");
        assert_eq!(to.values.len() % self.outputs(), 0, "whole windows");
        assert_eq!(to.values.len(), to.places.len(), "places for each value");
        simd.run(Block { convolution: self, input, size, first, to, scratch });
    }
}

/// G g of Lavin and Gray along each axis.
fn transform_kernel(kernel: &[f32; 27]) -> [f32; POINTS] {
    let line = |g: [f64; 3]| [g[0], (g[0] + g[1] + g[2]) / 2.0, (g[0] - g[1] + g[2]) / 2.0, g[2]];
    // An axis at a time: [3, 3, 3] -> [3, 3, 4] -> [3, 4, 4] -> [4, 4, 4].
    let x: [[f64; 4]; 9] = from_fn(|row| line(from_fn(|i| kernel[row * 3 + i].into())));
    let y: [[[f64; 4]; 4]; 3] = from_fn(|t| from_fn(|x_at| line(from_fn(|i| x[t * 3 + i][x_at]))));
    let mut points = [0.0; POINTS];
    for x_at in 0..4 {
        for y_at in 0..4 {
            for (t_at, value) in line(from_fn(|t| y[t][x_at][y_at])).into_iter().enumerate() {
                points[(t_at * 4 + y_at) * 4 + x_at] = value as f32;
            }
        }
    }
    points
}

/// Some windows' forward pass.
struct Block<'a> {
    convolution: &'a Convolution,
    input: &'a [Group],
    size: Size,
    first: usize,
    to: Pooled<'a>,
    scratch: &'a mut Scratch,
}

impl Kernel for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let windows = self.to.values.len() / self.convolution.outputs();
        // As many sums as there are registers for, with few windows to spare.
        match (L::WIDE, windows.div_ceil(14) * 14 <= windows.div_ceil(8) * 8) {
            (true, true) => self.run_rows::<L, 14, 2>(lanes),
            (true, false) => self.run_rows::<L, 8, 2>(lanes),
            (false, _) => self.run_rows::<L, 6, 1>(lanes),
        }
    }
}

impl Block<'_> {
    /// With `ROWS` windows and `COLUMNS` groups of filters multiplied at a time.
    #[inline(always)]
    fn run_rows<L: Lanes, const ROWS: usize, const COLUMNS: usize>(self, lanes: L) {
        let Self { convolution, input, size, first, mut to, scratch } = self;
        let Convolution { inputs, panels, ref weights, ref bias } = *convolution;
        let windows = to.values.len() / (panels * PANEL);
        let padded = windows.next_multiple_of(ROWS);
        // A group more, so that the points do not all fall on the same lines of the cache.
        let (transformed_stride, products_stride) = (padded * inputs + 1, padded * PANEL + 1);
        scratch.transformed.resize(POINTS * transformed_stride, Group::ZERO);
        scratch.products.resize(POINTS * products_stride, Group::ZERO);

        for window in 0..windows {
            let at = (window / ROWS * inputs) * ROWS + window % ROWS;
            let corners = corners(size, first + window, inputs);
            // Plane by plane: the points lie far apart, and a processor knows where few pages of memory are.
            for t in 0..4 {
                for group in 0..inputs {
                    let to = &mut scratch.transformed[t * 16 * transformed_stride + at + group * ROWS..];
                    transform_input(lanes, &input[group..], &corners, t, to, transformed_stride);
                }
            }
        }
        for panel in 0..panels {
            let length = inputs * LANES * PANEL;
            for point in 0..POINTS {
                let weights = &weights[(panel * POINTS + point) * length..][..length];
                let rows = &scratch.transformed[point * transformed_stride..][..padded * inputs];
                let products = &mut scratch.products[point * products_stride..][..padded * PANEL];
                for (rows, products) in rows.chunks_exact(ROWS * inputs).zip(products.chunks_exact_mut(ROWS * PANEL)) {
                    for column in (0..PANEL).step_by(COLUMNS) {
                        multiply::<L, ROWS, COLUMNS>(lanes, rows, weights, column, products);
                    }
                }
            }
            for window in 0..windows {
                let open = open(size, first + window);
                for column in 0..PANEL {
                    let sums = transform_back(lanes, &scratch.products[window * PANEL + column..], products_stride);
                    let group = panel * PANEL + column;
                    to.set(lanes, window * panels * PANEL + group, &sums, &open, &bias[group]);
                }
            }
        }
    }
}

/// Where a window's 64 places begin in the input; one beyond every input where the volume ends.
#[inline(always)]
fn corners(size: Size, window: usize, inputs: usize) -> [usize; POINTS] {
    let (clip, t, y, x) = window_at(size, window);
    let mut corners = [usize::MAX; POINTS];
    for (point, corner) in corners.iter_mut().enumerate() {
        let (t, y, x) = (2 * t + point / 16, 2 * y + point / 4 % 4, 2 * x + point % 4);
        // The window begins a place before its pooled places.
        if (1..=size.frames).contains(&t) && (1..=size.height).contains(&y) && (1..=size.width).contains(&x) {
            *corner = (((clip * size.frames + t - 1) * size.height + y - 1) * size.width + x - 1) * inputs;
        }
    }
    corners
}

/// Which of a window's eight places lie in the volume.
#[inline(always)]
fn open(size: Size, window: usize) -> [bool; 8] {
    let (_, t, y, x) = window_at(size, window);
    from_fn(|place| {
        2 * t + place / 4 < size.frames && 2 * y + place / 2 % 2 < size.height && 2 * x + place % 2 < size.width
    })
}

/// Clip, frame, row and column of a window, in the pooled volume.
#[inline(always)]
fn window_at(size: Size, window: usize) -> (usize, usize, usize, usize) {
    let pooled = size.pooled([2, 2, 2]);
    let (row, x) = (window / pooled.width, window % pooled.width);
    let (frame, y) = (row / pooled.height, row % pooled.height);
    (frame / pooled.frames, frame % pooled.frames, y, x)
}

/// B^T d of Lavin and Gray along each axis, of a group of a window's inputs: the plane of 16 points number `t`.
#[inline(always)]
fn transform_input<L: Lanes>(
    lanes: L,
    input: &[Group],
    corners: &[usize; POINTS],
    t: usize,
    to: &mut [Group],
    stride: usize,
) {
    let (a, b) = ([0, 16, 32, 16][t], [32, 32, 16, 48][t]);
    let mut plane = [lanes.splat(0.0); 16];
    for (at, value) in plane.iter_mut().enumerate() {
        let (a, b) = (load(lanes, input, corners[at + a]), load(lanes, input, corners[at + b]));
        *value = if t == 1 { lanes.add(a, b) } else { lanes.sub(a, b) };
    }
    for (at, value) in transform_plane(lanes, plane).into_iter().enumerate() {
        lanes.store(value, &mut to[at * stride]);
    }
}

/// What begins at a corner, zero beyond the volume.
#[inline(always)]
fn load<L: Lanes>(lanes: L, input: &[Group], corner: usize) -> L::V {
    lanes.load(input.get(corner).unwrap_or(&Group::ZERO))
}

/// The rows and columns of a 4 x 4 plane.
#[inline(always)]
fn transform_plane<L: Lanes>(lanes: L, d: [L::V; 16]) -> [L::V; 16] {
    let [a0, a1, a2, a3] = transform_line(lanes, [d[0], d[1], d[2], d[3]]);
    let [b0, b1, b2, b3] = transform_line(lanes, [d[4], d[5], d[6], d[7]]);
    let [c0, c1, c2, c3] = transform_line(lanes, [d[8], d[9], d[10], d[11]]);
    let [e0, e1, e2, e3] = transform_line(lanes, [d[12], d[13], d[14], d[15]]);
    let [a0, b0, c0, e0] = transform_line(lanes, [a0, b0, c0, e0]);
    let [a1, b1, c1, e1] = transform_line(lanes, [a1, b1, c1, e1]);
    let [a2, b2, c2, e2] = transform_line(lanes, [a2, b2, c2, e2]);
    let [a3, b3, c3, e3] = transform_line(lanes, [a3, b3, c3, e3]);
    [a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, e0, e1, e2, e3]
}

#[inline(always)]
fn transform_line<L: Lanes>(lanes: L, d: [L::V; 4]) -> [L::V; 4] {
    [lanes.sub(d[0], d[2]), lanes.add(d[1], d[2]), lanes.sub(d[2], d[1]), lanes.sub(d[1], d[3])]
}

/// `ROWS` windows' inputs `[inputs / 16, ROWS, 16]` times `COLUMNS` groups of filters from the panel's group `column` on.
#[inline(always)]
fn multiply<L: Lanes, const ROWS: usize, const COLUMNS: usize>(
    lanes: L,
    rows: &[Group],
    weights: &[Group],
    column: usize,
    products: &mut [Group],
) {
    let mut sums = [[lanes.splat(0.0); COLUMNS]; ROWS];
    let (rows, _) = rows.as_chunks::<ROWS>();
    let (weights, _) = weights.as_chunks::<PANEL>();
    let (weights, _) = weights.as_chunks::<LANES>();
    for (rows, weights) in rows.iter().zip(weights) {
        for input in 0..LANES {
            let mut columns = [lanes.splat(0.0); COLUMNS];
            for (i, weight) in columns.iter_mut().enumerate() {
                *weight = lanes.load(&weights[input][column + i]);
            }
            for (sums, row) in sums.iter_mut().zip(rows) {
                let factor = lanes.splat(row[input]);
                for (sum, weight) in sums.iter_mut().zip(columns) {
                    *sum = lanes.mul_add(factor, weight, *sum);
                }
            }
        }
    }
    for (sums, products) in sums.iter().zip(products.as_chunks_mut::<PANEL>().0) {
        for (sum, product) in sums.iter().zip(&mut products[column..]) {
            lanes.store(*sum, product);
        }
    }
}

/// A^T m of Lavin and Gray along each axis: the window's eight sums.
#[inline(always)]
fn transform_back<L: Lanes>(lanes: L, products: &[Group], stride: usize) -> [L::V; 8] {
    let [a0, a1, a2, a3] = plane_back(lanes, products, stride);
    let [b0, b1, b2, b3] = plane_back(lanes, &products[16 * stride..], stride);
    let [c0, c1, c2, c3] = plane_back(lanes, &products[32 * stride..], stride);
    let [e0, e1, e2, e3] = plane_back(lanes, &products[48 * stride..], stride);
    let [a0, b0] = line_back(lanes, [a0, b0, c0, e0]);
    let [a1, b1] = line_back(lanes, [a1, b1, c1, e1]);
    let [a2, b2] = line_back(lanes, [a2, b2, c2, e2]);
    let [a3, b3] = line_back(lanes, [a3, b3, c3, e3]);
    [a0, a1, a2, a3, b0, b1, b2, b3]
}

/// The rows and columns of a 4 x 4 plane, which become 2 x 2.
#[inline(always)]
fn plane_back<L: Lanes>(lanes: L, products: &[Group], stride: usize) -> [L::V; 4] {
    let [a0, a1] = row_back(lanes, products, stride);
    let [b0, b1] = row_back(lanes, &products[4 * stride..], stride);
    let [c0, c1] = row_back(lanes, &products[8 * stride..], stride);
    let [e0, e1] = row_back(lanes, &products[12 * stride..], stride);
    let [a0, b0] = line_back(lanes, [a0, b0, c0, e0]);
    let [a1, b1] = line_back(lanes, [a1, b1, c1, e1]);
    [a0, a1, b0, b1]
}

#[inline(always)]
fn row_back<L: Lanes>(lanes: L, products: &[Group], stride: usize) -> [L::V; 2] {
    let [a, b, c, d] = [&products[0], &products[stride], &products[2 * stride], &products[3 * stride]];
    line_back(lanes, [lanes.load(a), lanes.load(b), lanes.load(c), lanes.load(d)])
}

#[inline(always)]
fn line_back<L: Lanes>(lanes: L, m: [L::V; 4]) -> [L::V; 2] {
    [lanes.add(lanes.add(m[0], m[1]), m[2]), lanes.sub(lanes.sub(m[1], m[2]), m[3])]
}
