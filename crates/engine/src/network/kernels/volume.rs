//! Sizes of the network's volumes.

use super::lanes::LANES;

/// Frames, rows and columns of a volume. In memory channels are innermost, in groups of [`LANES`]: `[N, T, H, W, G]` of
/// [`super::lanes::Group`], the last filled up with zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub frames: usize,
    pub height: usize,
    pub width: usize,
}

impl Size {
    /// Positions in the volume.
    pub fn positions(self) -> usize {
        self.frames * self.height * self.width
    }

    /// Size after max pooling with this kernel and stride, rounded up.
    pub fn pooled(self, kernel: [usize; 3]) -> Self {
        Self {
            frames: self.frames.div_ceil(kernel[0]),
            height: self.height.div_ceil(kernel[1]),
            width: self.width.div_ceil(kernel[2]),
        }
    }
}

/// Groups that are computed together: every number of channels is filled up to a multiple of them.
pub const PANEL: usize = 2;

/// Groups that so many channels fill, whole panels of them.
pub fn groups(channels: usize) -> usize {
    channels.div_ceil(PANEL * LANES) * PANEL
}
