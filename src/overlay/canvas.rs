//! A small picture to draw on: rectangles and text.

use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, PxScale, ScaleFont};

use super::Area;

/// 0xAARRGGBB, the colours multiplied by the alpha.
pub type Colour = u32;

/// The font is built in: the same on every machine, and there where no fonts are.
static FONT: LazyLock<FontRef<'static>> = LazyLock::new(|| {
    FontRef::try_from_slice(dejavu::sans_condensed::bold()).expect("the font that is built in can be read")
});

/// Pixels with transparency, `[height, width]`.
pub struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<Colour>,
}

impl Canvas {
    /// All of one colour.
    pub fn new(width: usize, height: usize, colour: Colour) -> Self {
        Self { width, height, pixels: vec![colour; width * height] }
    }

    pub fn width(&self) -> usize {
        self.width
    }

    pub fn height(&self) -> usize {
        self.height
    }

    /// The pixels in the machine's order of bytes: BGRA where it is little-endian, else ARGB.
    pub fn into_bytes(self) -> Vec<u8> {
        self.pixels.into_iter().flat_map(u32::to_ne_bytes).collect()
    }

    /// Makes an area of one colour, as far as it is inside.
    pub fn fill(&mut self, area: Area, colour: Colour) {
        let right = (area.x + area.width).min(self.width);
        let left = area.x.min(right);
        for row in self.pixels.chunks_exact_mut(self.width.max(1)).skip(area.y).take(area.height) {
            row[left..right].fill(colour);
        }
    }

    /// Writes a line of an opaque colour, `size` pixels high, from a left edge and a top edge, as far as it is inside.
    pub fn write(&mut self, text: &str, size: f32, (left, top): (usize, usize), colour: Colour) {
        let font = FONT.as_scaled(PxScale::from(size));
        let baseline = top as f32 + font.ascent();
        let mut last = None;
        let mut x = left as f32;
        for character in text.chars() {
            let id = font.glyph_id(character);
            x += last.map_or(0.0, |last| font.kern(last, id));
            let glyph = id.with_scale_and_position(font.scale(), ab_glyph::point(x, baseline));
            if let Some(outline) = FONT.outline_glyph(glyph) {
                let bounds = outline.px_bounds();
                outline.draw(|column, row, coverage| {
                    let (x, y) = (bounds.min.x as i64 + i64::from(column), bounds.min.y as i64 + i64::from(row));
                    self.cover(x, y, colour, coverage);
                });
            }
            x += font.h_advance(id);
            last = Some(id);
        }
    }

    /// Lays a colour over a pixel.
    fn cover(&mut self, x: i64, y: i64, colour: Colour, coverage: f32) {
        let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else { return };
        if x < self.width && y < self.height {
            let under = &mut self.pixels[y * self.width + x];
            let mix = |shift: u32| {
                let [from, to] = [*under, colour].map(|c| (c >> shift & 255) as f32);
                ((from + (to - from) * coverage.min(1.0)).round() as u32) << shift
            };
            *under = mix(24) | mix(16) | mix(8) | mix(0);
        }
    }
}

/// Width of a line of text, pixels.
pub fn text_width(text: &str, size: f32) -> f32 {
    let font = FONT.as_scaled(PxScale::from(size));
    let ids: Vec<_> = text.chars().map(|character| font.glyph_id(character)).collect();
    let kerning: f32 = ids.windows(2).map(|pair| font.kern(pair[0], pair[1])).sum();
    ids.iter().map(|&id| font.h_advance(id)).sum::<f32>() + kerning
}

/// The text, or as much of its beginning as fits with `…` after it; empty if nothing does.
pub fn fit(text: &str, size: f32, width: f32) -> String {
    if text_width(text, size) <= width {
        return text.into();
    }
    let mut cut: Vec<char> = text.chars().collect();
    while cut.pop().is_some() {
        let shorter = format!("{}…", cut.iter().collect::<String>().trim_end());
        if text_width(&shorter, size) <= width {
            return shorter;
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHITE: Colour = 0xFFFF_FFFF;

    #[test]
    fn fills_only_what_is_inside() {
        let mut canvas = Canvas::new(4, 3, 0);
        canvas.fill(Area { x: 2, y: 1, width: 9, height: 9 }, WHITE);
        canvas.fill(Area { x: 9, y: 9, width: 1, height: 1 }, WHITE);
        assert_eq!(canvas.pixels, [0, 0, 0, 0, 0, 0, WHITE, WHITE, 0, 0, WHITE, WHITE]);
        Canvas::new(0, 0, 0).fill(Area { x: 0, y: 0, width: 1, height: 1 }, WHITE);
    }

    #[test]
    fn text_is_as_wide_as_it_says_and_within_its_line() {
        for size in [11.0, 39.0] {
            let mut canvas = Canvas::new(500, 60, 0);
            canvas.write("Ägyp 87 %", size, (5, 3), WHITE);
            let inked = |(i, _): &(usize, &u32)| (i % 500, i / 500);
            let ink: Vec<_> = canvas.pixels.iter().enumerate().filter(|(_, p)| **p != 0).map(|p| inked(&p)).collect();
            let right = 6.0 + text_width("Ägyp 87 %", size);
            assert!(ink.len() > 50 && ink.iter().all(|&(x, y)| x >= 5 && (x as f32) < right && y >= 3), "{size}");
            assert!(ink.iter().all(|&(_, y)| (y as f32) < 4.0 + size), "{size}");
        }
    }

    #[test]
    fn text_outside_and_of_unknown_characters_does_no_harm() {
        let mut canvas = Canvas::new(8, 8, 0);
        canvas.write("far too long \u{4e2d}\u{1f600}\n", 30.0, (2, 2), WHITE);
    }

    #[test]
    fn long_text_is_cut_to_fit() {
        let whole = text_width("playing_ultimate_frisbee", 20.0);
        assert_eq!(fit("playing_ultimate_frisbee", 20.0, whole), "playing_ultimate_frisbee");
        let cut = fit("playing_ultimate_frisbee", 20.0, whole / 2.0);
        assert!(cut.starts_with("playing_ul") && cut.ends_with('…') && text_width(&cut, 20.0) <= whole / 2.0, "{cut}");
        assert_eq!(fit("playing", 20.0, 1.0), "");
    }
}
