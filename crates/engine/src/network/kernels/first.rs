//! conv1: 3 colours in, few multiplications an output. Forward directly, with bias, ReLU and 1x2x2 max pooling; backward to the
//! importance map, from the gradient at the places that pooling let through.

use super::{
    lanes::{Group, Kernel, LANES, Lanes, Numbers, Simd},
    pool::{Places, Pooled},
    volume::{PANEL, Size, groups},
};

/// Colours of a pixel.
const COLOURS: usize = 3;
/// Numbers that a row of the kernel multiplies: three pixels' colours.
const ROW: usize = 3 * COLOURS;
/// Groups that hold a filter's 81 weights.
const KERNEL: usize = 6;
/// Frames of the gradient that are spread into the map at a time.
pub const FRAMES: usize = 2;

/// conv1's weights, in the orders in which they are read.
pub struct First {
    panels: usize,
    /// Forward: `[panels, 9 rows, ROW, PANEL]`
    weights: Vec<Group>,
    /// `[PANEL * panels]`
    bias: Vec<Group>,
    /// Backward: for each filter its weights `[T, H, W, colour]`
    kernels: Vec<[Group; KERNEL]>,
}

/// Clips with a border of zeros around every frame and clip, `[N, T + 2, 2 * rows + 2, 2 * columns + 2, 3]` of the pooled rows
/// and columns, the columns made even.
pub struct Bordered {
    size: Size,
    values: Vec<f32>,
}

impl Bordered {
    pub fn new(size: Size) -> Self {
        Self { size, values: Vec::new() }
    }

    fn rows(&self) -> usize {
        self.size.height.next_multiple_of(2) + 2
    }

    /// Numbers in a row.
    fn row(&self) -> usize {
        (self.size.width.next_multiple_of(4) + 2) * COLOURS
    }

    /// Takes over clips `[N, T, H, W, 3]`.
    pub fn fill(&mut self, clips: &[f32]) {
        let Size { frames, height, width } = self.size;
        let (rows, row) = (self.rows(), self.row());
        let clip = self.size.positions() * COLOURS;
        self.values.resize(clips.len() / clip * (frames + 2) * rows * row, 0.0);
        for (line, from) in clips.chunks_exact(width * COLOURS).enumerate() {
            let (frame, y) = (line / height, line % height);
            let frame = frame / frames * (frames + 2) + frame % frames + 1;
            let to = (frame * rows + y + 1) * row + COLOURS;
            self.values[to..to + from.len()].copy_from_slice(from);
        }
    }
}

impl First {
    /// Weights `[filters, 3, 3, 3, 3]` and one bias a filter.
    pub fn new(weights: &[f32], bias: &[f32]) -> Self {
        let filters = bias.len();
        assert_eq!(weights.len(), filters * COLOURS * 27, "weights of {filters} filters of {COLOURS} colours");
        let panels = groups(filters) / PANEL;
        let mut packed = vec![Group::ZERO; panels * 9 * ROW * PANEL];
        let mut kernels = vec![[Group::ZERO; KERNEL]; panels * PANEL * LANES];
        for (filter, kernel) in weights.chunks_exact(COLOURS * 27).enumerate() {
            let (panel, column) = (filter / (PANEL * LANES), filter % (PANEL * LANES));
            for (colour, kernel) in kernel.as_chunks::<27>().0.iter().enumerate() {
                for (tap, weight) in kernel.iter().enumerate() {
                    let at = tap * COLOURS + colour;
                    packed[(panel * 9 * ROW + at) * PANEL + column / LANES][column % LANES] = *weight;
                    kernels[filter][at / LANES][at % LANES] = *weight;
                }
            }
        }
        let mut padded_bias = vec![Group::ZERO; panels * PANEL];
        for (filter, bias) in bias.iter().enumerate() {
            padded_bias[filter / LANES][filter % LANES] = *bias;
        }
        Self { panels, weights: packed, bias: padded_bias, kernels }
    }

    /// Groups of a place of the output.
    pub fn outputs(&self) -> usize {
        self.panels * PANEL
    }

    /// Computes row number `row` of the pooled output, `[columns, outputs]`, counted through all clips' frames.
    pub fn forward(&self, simd: Simd, input: &Bordered, row: usize, to: Pooled) {
        assert_eq!(to.values.len(), input.size.pooled([1, 2, 2]).width * self.outputs(), "a row of {:?}", input.size);
        assert_eq!(to.values.len(), to.places.len(), "places for each value");
        simd.run(Forward { first: self, input, row, to });
    }

    /// Numbers of [`Self::backward`]'s result.
    pub fn spread(size: Size) -> usize {
        (FRAMES + 2) * (size.height + 2) * (size.width + 2) * COLOURS
    }

    /// Adds what the gradients of at most [`FRAMES`] of a clip's frames, `[frames, rows, columns, outputs]` of the pooled
    /// output, bring to the input: `to` is `[FRAMES + 2, H + 2, W + 2, 3]`, from a place before the first frame on.
    pub fn backward(&self, simd: Simd, size: Size, gradients: &[Group], places: &[Places], to: &mut [f32]) {
        assert_eq!(gradients.len(), places.len(), "places for each gradient");
        assert_eq!(to.len(), Self::spread(size), "room for {FRAMES} frames of {size:?}");
        simd.run(Backward { first: self, size, gradients, places, to });
    }
}

/// The map of frame number `frame`, counted through all clips, `[H, W]`: the largest absolute value over the colours of what
/// [`First::backward`] has spread from all frames.
pub fn map(size: Size, spread: &[f32], frame: usize, map: &mut [f32]) {
    let Size { frames, width, .. } = size;
    let (row, plane) = ((width + 2) * COLOURS, First::spread(size) / (FRAMES + 2));
    let (clip, frame) = (frame / frames, frame % frames);
    // Those who spread into this frame: its own part, and a neighbour where the frame lies on the part's edge.
    let parts = frames.div_ceil(FRAMES);
    let from = (frame.saturating_sub(1) / FRAMES)..=((frame + 1).min(frames - 1) / FRAMES);
    let planes: Vec<&[f32]> = from
        .map(|part| &spread[((clip * parts + part) * (FRAMES + 2) + frame + 1 - part * FRAMES) * plane..][..plane])
        .collect();
    for (y, map) in map.chunks_exact_mut(width).enumerate() {
        let inner = (y + 1) * row + COLOURS..(y + 2) * row - COLOURS;
        for (x, value) in map.iter_mut().enumerate() {
            let at = inner.start + x * COLOURS;
            let colour = |i: usize| planes.iter().map(|plane| plane[at + i]).sum::<f32>().abs();
            *value = colour(0).max(colour(1)).max(colour(2));
        }
    }
}

/// A row of the output.
struct Forward<'a> {
    first: &'a First,
    input: &'a Bordered,
    row: usize,
    to: Pooled<'a>,
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        if L::WIDE { self.run_cells::<L, 2, 2>(lanes) } else { self.run_cells::<L, 1, 1>(lanes) }
    }
}

impl Forward<'_> {
    /// With `CELLS` pool windows of a row and `COLUMNS` groups of filters at a time.
    #[inline(always)]
    fn run_cells<L: Lanes, const CELLS: usize, const COLUMNS: usize>(self, lanes: L) {
        let Self { first, input, row, mut to } = self;
        let (outputs, size) = (first.outputs(), input.size);
        let (columns, rows) = (to.values.len() / outputs, size.height.div_ceil(2));
        let (frame, y) = (row / rows, row % rows);
        let frame = frame / size.frames * (size.frames + 2) + frame % size.frames;
        let (row_length, plane) = (input.row(), input.rows() * input.row());
        let open_below = 2 * y + 1 < size.height;
        for panel in 0..first.panels {
            let (weights, _) = first.weights[panel * 9 * ROW * PANEL..][..9 * ROW * PANEL].as_chunks::<PANEL>();
            let (weights, _) = weights.as_chunks::<ROW>();
            for x in (0..columns).step_by(CELLS) {
                let corner = (frame * input.rows() + 2 * y) * row_length + 2 * x * COLOURS;
                for column in (0..PANEL).step_by(COLUMNS) {
                    let mut sums = [[[lanes.splat(0.0); COLUMNS]; 4]; CELLS];
                    for (tap, weights) in weights.iter().enumerate() {
                        let at = corner + tap / 3 * plane + tap % 3 * row_length;
                        let above = &input.values[at..][..6 * CELLS + 6];
                        let below = &input.values[at + row_length..][..6 * CELLS + 6];
                        for (number, weights) in weights.iter().enumerate() {
                            let mut weight = [lanes.splat(0.0); COLUMNS];
                            for (i, weight) in weight.iter_mut().enumerate() {
                                *weight = lanes.load(&weights[column + i]);
                            }
                            for (cell, sums) in sums.iter_mut().enumerate() {
                                for (place, sums) in sums.iter_mut().enumerate() {
                                    let line = if place < 2 { above } else { below };
                                    let factor = lanes.splat(line[(2 * cell + place % 2) * COLOURS + number]);
                                    for (sum, weight) in sums.iter_mut().zip(weight) {
                                        *sum = lanes.mul_add(factor, weight, *sum);
                                    }
                                }
                            }
                        }
                    }
                    for (cell, sums) in sums.iter().enumerate().take(columns - x) {
                        let open_right = 2 * (x + cell) + 1 < size.width;
                        let open = [true, open_right, open_below, open_below && open_right];
                        for i in 0..COLUMNS {
                            let group = panel * PANEL + column + i;
                            let sums = [sums[0][i], sums[1][i], sums[2][i], sums[3][i]];
                            to.set(lanes, (x + cell) * outputs + group, &sums, &open, &first.bias[group]);
                        }
                    }
                }
            }
        }
    }
}

/// Some frames' gradients.
struct Backward<'a> {
    first: &'a First,
    size: Size,
    gradients: &'a [Group],
    places: &'a [Places],
    to: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Self { first, size, gradients, places, to } = self;
        let (outputs, pooled) = (first.outputs(), size.pooled([1, 2, 2]));
        let row = (size.width + 2) * COLOURS;
        let plane = (size.height + 2) * row;
        let cells = gradients.chunks_exact(outputs).zip(places.chunks_exact(outputs));
        for (cell, (gradients, places)) in cells.enumerate() {
            let (line, x) = (cell / pooled.width, cell % pooled.width);
            let (frame, y) = (line / pooled.height, line % pooled.height);
            for place in 0..4 {
                let sums = weigh(lanes, gradients, places, place, &first.kernels);
                let corner = frame * plane + (2 * y + place / 2) * row + (2 * x + place % 2) * COLOURS;
                for (tap, sums) in sums.as_flattened()[..9 * ROW].as_chunks::<ROW>().0.iter().enumerate() {
                    let at = corner + tap / 3 * plane + tap % 3 * row;
                    // Where pooling rounds up, a place may lie outside; nothing is there, then.
                    let Some(to) = to.get_mut(at..at + ROW) else { continue };
                    for (to, sum) in to.iter_mut().zip(sums) {
                        *to += sum;
                    }
                }
            }
        }
    }
}

/// The kernels of the filters whose greatest value is at `place`, each times its gradient, summed.
#[inline(always)]
fn weigh<L: Lanes>(
    lanes: L,
    gradients: &[Group],
    places: &[Places],
    place: usize,
    kernels: &[[Group; KERNEL]],
) -> [Numbers; KERNEL] {
    let mut sums = [lanes.splat(0.0); KERNEL];
    // Four groups at a time: fewer loops, whose ends the processor guesses wrong.
    for ((gradients, places), kernels) in gradients.chunks(4).zip(places.chunks(4)).zip(kernels.chunks(4 * LANES)) {
        let mut filters = 0u64;
        for (group, places) in places.iter().enumerate() {
            filters |= u64::from(places[place]) << (group * LANES);
        }
        while filters != 0 {
            let filter = filters.trailing_zeros() as usize;
            filters &= filters - 1;
            let factor = lanes.splat(gradients[filter / LANES][filter % LANES]);
            for (sum, weight) in sums.iter_mut().zip(&kernels[filter]) {
                *sum = lanes.mul_add(factor, lanes.load(weight), *sum);
            }
        }
    }
    let mut result = [[0.0; LANES]; KERNEL];
    for (result, sum) in result.iter_mut().zip(sums) {
        lanes.store(sum, result);
    }
    result
}
