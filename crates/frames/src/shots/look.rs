//! What a frame looks like in short: the mean colours of its blocks, and how far two such looks are apart.

/// Blocks across and down: coarse enough that small movements stay inside a block.
const COLUMNS: usize = 16;
const ROWS: usize = 12;
const BLOCKS: usize = COLUMNS * ROWS;
/// A frame whose mean luma is below this is black, above [`WHITE`] it is white.
const BLACK: f32 = 8.0;
const WHITE: f32 = 255.0 - BLACK;
/// How far from black and white a mean luma has to be for a picture that can be seen well.
const LIT: f32 = 3.0 * BLACK;

/// The look of one frame.
pub(super) struct Look {
    /// Luma, blue difference and red difference of every block, row by row, 0 to 255; chroma about 0.
    blocks: Vec<[f32; 3]>,
    /// Of luma over the blocks.
    mean: f32,
    deviation: f32,
}

impl Look {
    /// Of `[height, width, 3]` RGB bytes.
    pub fn of(pixels: &[u8], width: usize, height: usize) -> Self {
        let mut sums = [[0u32; 4]; BLOCKS];
        for (y, row) in pixels.chunks_exact(width * 3).enumerate() {
            let sums = &mut sums[y * ROWS / height * COLUMNS..][..COLUMNS];
            for (x, pixel) in row.chunks_exact(3).enumerate() {
                let sum = &mut sums[x * COLUMNS / width];
                for (total, &value) in sum.iter_mut().zip(pixel) {
                    *total += u32::from(value);
                }
                sum[3] += 1;
            }
        }
        let blocks: Vec<[f32; 3]> = sums.iter().map(|&sum| colour(sum)).collect();
        let mean = blocks.iter().map(|b| b[0]).sum::<f32>() / BLOCKS as f32;
        let variance = blocks.iter().map(|b| (b[0] - mean).powi(2)).sum::<f32>() / BLOCKS as f32;
        Self { blocks, mean, deviation: variance.sqrt() }
    }

    /// Black or white all over, as between two fades.
    pub fn is_blank(&self) -> bool {
        self.mean < BLACK || self.mean > WHITE
    }

    /// Neither dark nor bright as in the middle of a fade.
    pub fn is_lit(&self) -> bool {
        (LIT..=255.0 - LIT).contains(&self.mean)
    }

    /// Mean absolute difference of the blocks, the three components added up.
    pub fn distance(&self, other: &Self) -> f32 {
        let pairs = self.blocks.iter().flatten().zip(other.blocks.iter().flatten());
        pairs.map(|(a, b)| (a - b).abs()).sum::<f32>() / BLOCKS as f32
    }

    /// One less the correlation of the lumas: 0 where only brightness and contrast differ, about 1 for unrelated pictures.
    pub fn unlikeness(&self, other: &Self) -> f32 {
        let pairs = self.blocks.iter().zip(&other.blocks);
        let covariance = pairs.map(|(a, b)| (a[0] - self.mean) * (b[0] - other.mean)).sum::<f32>() / BLOCKS as f32;
        // The 1 keeps flat pictures, which have no pattern to compare, apart.
        1.0 - covariance / (self.deviation * other.deviation + 1.0)
    }

    /// Where this look stands between two others if it is a mixture of them: the share of `to` (0 = all `from`), and how far
    /// off the straight line between them it is, as a share of their distance.
    pub fn between(&self, from: &Self, to: &Self) -> (f32, f32) {
        let (mut along, mut whole, mut here) = (0.0, 0.0, 0.0);
        for ((f, t), s) in
            from.blocks.iter().flatten().zip(to.blocks.iter().flatten()).zip(self.blocks.iter().flatten())
        {
            let (line, step) = (t - f, s - f);
            along += line * step;
            whole += line * line;
            here += step * step;
        }
        let share = along / whole.max(1.0);
        let off = (here - share * along).max(0.0) / whole.max(1.0);
        (share, off.sqrt())
    }
}

/// Mean colour of a block from the sums of red, green and blue and the number of pixels; BT.601.
fn colour([red, green, blue, pixels]: [u32; 4]) -> [f32; 3] {
    let [red, green, blue] = [red, green, blue].map(|sum| sum as f32 / pixels.max(1) as f32);
    let luma = 0.299 * red + 0.587 * green + 0.114 * blue;
    [luma, 0.564 * (blue - luma), 0.713 * (red - luma)]
}
