//! The heat map: from clear where nothing matters through red to yellow where most does.

/// How far a pixel of the map is spread to each side, in each of two passes. Single pixels' gradients are noise; what is to be
/// seen is where many are large.
const REACH: usize = 2;
/// A place is as hot as can be if its surroundings' mean is this share of 255: spread, only few come near that.
const HOTTEST: f32 = 0.5;
/// Alpha where it is hottest: the picture stays visible.
const STRONGEST: f32 = 0.7;

/// Pixels of a grey map, `[height, width]`, in colours: BGRA on little-endian machines, ARGB on others, the colours not
/// multiplied by the alpha.
pub fn colours(grey: &[u8], width: usize) -> Vec<u8> {
    let mut heat: Vec<f32> = grey.iter().map(|&grey| f32::from(grey) / 255.0 / HOTTEST).collect();
    for _ in 0..2 {
        heat = spread(&heat, width, 1);
        heat = spread(&heat, width, width);
    }
    heat.into_iter().flat_map(|heat| colour(heat.min(1.0)).to_ne_bytes()).collect()
}

/// Means over each pixel and its neighbours across (`step` 1) or down (`step` the width); outside of the map there is nothing.
fn spread(heat: &[f32], width: usize, step: usize) -> Vec<f32> {
    let (line, count) = if step == 1 { (width, heat.len() / width) } else { (heat.len() / width, width) };
    let mut out = vec![0.0; heat.len()];
    for first in (0..count).map(|i| if step == 1 { i * width } else { i }) {
        for at in 0..line {
            let near = at.saturating_sub(REACH)..(at + REACH + 1).min(line);
            let sum: f32 = near.map(|i| heat[first + i * step]).sum();
            out[first + at * step] = sum / (2 * REACH + 1) as f32;
        }
    }
    out
}

/// 0xAARRGGBB. What is clear is red, too, so that what lies between it and its neighbours is when the map is scaled up.
fn colour(heat: f32) -> u32 {
    // A little heat is everywhere: it shall not veil the picture.
    let (alpha, green) = (heat.powf(1.5) * STRONGEST * 255.0, heat * heat * 230.0);
    (alpha.round() as u32) << 24 | 0xFF << 16 | (green.round() as u32) << 8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argb(bytes: &[u8]) -> Vec<u32> {
        bytes.chunks(4).map(|pixel| u32::from_ne_bytes(pixel.try_into().unwrap())).collect()
    }

    #[test]
    fn what_matters_more_is_brighter_and_covers_more() {
        let [none, some, most] = [0.0, 0.5, 1.0].map(colour);
        assert_eq!((none, most), (0x00FF_0000, 0xB3FF_E600));
        assert!(none >> 24 < some >> 24 && some >> 24 < most >> 24);
        assert!(none & 0xFF00 < some & 0xFF00 && some & 0xFF00 < most & 0xFF00);
    }

    #[test]
    fn heat_is_where_the_map_is_bright_and_near_it() {
        let (width, height, place) = (40, 30, (25, 10));
        let mut grey = vec![0; width * height];
        grey[place.1 * width + place.0] = 255;
        let pixels = argb(&colours(&grey, width));
        let hottest = pixels.iter().copied().max_by_key(|pixel| pixel >> 24).unwrap();
        assert_eq!(pixels[place.1 * width + place.0], hottest);
        for (i, pixel) in pixels.iter().enumerate() {
            let far = (i % width).abs_diff(place.0).max((i / width).abs_diff(place.1));
            assert!(far <= 2 * REACH || pixel >> 24 == 0, "{far} away: {pixel:x}");
        }
        let even = argb(&colours(&vec![255; width * height], width));
        assert_eq!(even[place.1 * width + place.0], colour(1.0));
    }

    #[test]
    fn maps_of_any_size_do() {
        for (width, height) in [(1, 1), (1, 9), (9, 1), (3, 2)] {
            assert_eq!(colours(&vec![7; width * height], width).len(), width * height * 4);
        }
    }
}
