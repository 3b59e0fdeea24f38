//! Importance maps as bytes: where in the picture the importance of a segment lies.

/// Share of a segment's pixels below the one that becomes 255. A few pixels have many times the gradient of the rest; a map
/// that was drawn to their measure would be dark everywhere else.
const PEAK_RANK: f64 = 0.995;

/// The maps of one clip's frames.
#[derive(Clone, PartialEq)]
pub struct Maps {
    /// The importance that a byte of 255 stands for, at least 0; there may be more. A byte `b` is about `b / 255 * peak`.
    pub peak: f32,
    /// `[frames, crop_height, crop_width]` of the model's geometry.
    pub pixels: Vec<u8>,
}

impl Maps {
    /// Of one clip's `[T, H, W]`, scaled by all of its frames together.
    pub fn new(values: &[f32]) -> Self {
        let mut ranked = values.to_vec();
        let rank = (ranked.len().saturating_sub(1) as f64 * PEAK_RANK).round() as usize;
        let peak = *ranked.select_nth_unstable_by(rank, f32::total_cmp).1;
        // `as` keeps what is above the peak at 255; where all is 0, it stays 0.
        let byte = |value: &f32| if peak > 0.0 { (value / peak * 255.0).round() as u8 } else { 0 };
        Self { peak, pixels: values.iter().map(byte).collect() }
    }

    /// Pixels of the clip's frame of this number, `size` bytes.
    ///
    /// # Panics
    /// If the clip has fewer frames.
    pub fn frame(&self, number: usize, size: usize) -> &[u8] {
        &self.pixels[number * size..][..size]
    }
}

impl std::fmt::Debug for Maps {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Maps").field("peak", &self.peak).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shares_of_the_peak_and_outliers_are_255() {
        let mut values: Vec<f32> = (0..=1000).map(|i| i as f32 / 1000.0).collect();
        values[1000] = 50.0;
        let maps = Maps::new(&values);
        assert_eq!(maps.peak, 0.995);
        for (value, &byte) in values.iter().zip(&maps.pixels) {
            let share = value.min(maps.peak) / maps.peak;
            assert!((f32::from(byte) - share * 255.0).abs() <= 0.5, "{value}: {byte}");
        }
        assert_eq!((maps.pixels[0], maps.pixels[1000]), (0, 255));
    }

    #[test]
    fn no_importance_at_all_is_black() {
        let maps = Maps::new(&[0.0; 8]);
        assert_eq!((maps.peak, &maps.pixels[..]), (0.0, &[0; 8][..]));
    }

    #[test]
    fn frames_follow_each_other() {
        let maps = Maps::new(&[0.0, 0.0, 1.0, 1.0]);
        assert_eq!((maps.frame(0, 2), maps.frame(1, 2)), (&[0, 0][..], &[255, 255][..]));
    }
}
