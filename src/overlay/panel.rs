//! The panel at the bottom left: text, bar and graph on a dark, translucent ground. Its size follows the picture's.

use super::{
    Area, Show,
    canvas::{Canvas, Colour, fit, text_width},
    history::{History, Step},
};

/// Lines of text are so high, as a share of the picture's shorter side; but see [`SMALLEST`].
const TEXT: f64 = 0.036;
/// The lowest line of text that can be read, pixels.
const SMALLEST: f64 = 11.0;
/// Distance from the picture's edges, and of what is drawn from the panel's, as shares of the picture's shorter side where that
/// is small.
const MARGIN: f64 = 1.0 / 16.0;

// As multiples of a line of text.
const WIDTH: f64 = 20.0;
const PADDING: f64 = 0.5;
const GAP: f64 = 0.4;
const BAR: f64 = 0.5;
const GRAPH: f64 = 2.5;
/// The part of the graph below its base line, where shots are marked.
const TICKS: f64 = 0.35;

/// Black, seven tenths opaque: text is legible on it over white, too.
const GROUND: Colour = 0xB300_0000;
const INK: Colour = 0xFFF2_F2F2;
/// Where the bar is not.
const TRACK: Colour = 0xFF6E_6E6E;
/// Of the bar, and of the newest segment in the graph.
const MARK: Colour = 0xFFFF_B000;
/// Of the segments before.
const PAST: Colour = 0xFFA8_7A1E;

/// What the panel says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// [0, 1]; `None` if nothing was scored yet.
    pub importance: Option<f64>,
    /// Empty if there is none.
    pub category: String,
    /// [0, 1]
    pub confidence: f64,
}

/// Where everything is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// In the picture.
    pub panel: Area,
    /// Height of a line of text, pixels.
    size: usize,
    // In the panel.
    text: Option<Area>,
    bar: Option<Area>,
    graph: Option<Area>,
}

impl Layout {
    /// For a picture of this size, pixels. Rows that would cover more than half of its height are left out, the graph first;
    /// `None` if nothing is left.
    pub fn new(width: usize, height: usize, show: Show) -> Option<Self> {
        let side = width.min(height) as f64;
        let size = (side * TEXT).max(SMALLEST);
        let pixels = |lines: f64| (lines * size).round() as usize;
        let margin = pixels(1.0).min((side * MARGIN) as usize);
        let padding = pixels(PADDING).min((side * MARGIN) as usize);
        let panel_width = pixels(WIDTH).min(width.saturating_sub(2 * margin));
        let inner = panel_width.checked_sub(2 * padding).filter(|&inner| inner > 0)?;
        // The rows in the order in which they are given up last.
        let rows = [(Show::BAR, pixels(BAR)), (Show::TEXT, pixels(1.0)), (Show::GRAPH, pixels(GRAPH))];
        let (mut shown, mut total) = (Show::empty(), 2 * padding);
        for (row, row_height) in rows {
            let gap = if shown.is_empty() { 0 } else { pixels(GAP) };
            if show.contains(row) && total + gap + row_height <= height / 2 {
                shown |= row;
                total += gap + row_height;
            }
        }
        if shown.is_empty() {
            return None;
        }
        let panel = Area { x: margin, y: height - margin - total, width: panel_width, height: total };
        let mut y = padding;
        let mut row = |flag, row_height| {
            shown.contains(flag).then(|| {
                let area = Area { x: padding, y, width: inner, height: row_height };
                y += row_height + pixels(GAP);
                area
            })
        };
        let text = row(Show::TEXT, pixels(1.0));
        let bar = row(Show::BAR, pixels(BAR));
        let graph = row(Show::GRAPH, pixels(GRAPH));
        Some(Self { panel, size: pixels(1.0), text, bar, graph })
    }

    /// The panel's pixels.
    pub fn draw(&self, reading: &Reading, history: &History) -> Canvas {
        let mut canvas = Canvas::new(self.panel.width, self.panel.height, GROUND);
        if let Some(area) = self.text {
            write(&mut canvas, area, self.size, reading);
        }
        if let Some(area) = self.bar {
            canvas.fill(area, TRACK);
            let width = (reading.importance.unwrap_or(0.0).clamp(0.0, 1.0) * area.width as f64).round() as usize;
            canvas.fill(Area { width, ..area }, MARK);
        }
        if let Some(area) = self.graph {
            plot(&mut canvas, area, self.size, history);
        }
        canvas
    }
}

/// The category and its confidence at the left, the importance at the right.
fn write(canvas: &mut Canvas, area: Area, size: usize, reading: &Reading) {
    let (left, top, size) = (area.x, area.y, size as f32);
    let importance = reading.importance.map_or(String::new(), |importance| format!("{importance:.2}"));
    let free = area.width as f32 - text_width(&importance, size);
    if free >= 0.0 {
        canvas.write(&importance, size, (left + free as usize, top), INK);
    }
    let (category, confidence) = match reading.importance {
        None => ("no score yet".into(), String::new()),
        Some(_) if reading.category.is_empty() => Default::default(),
        Some(_) => (reading.category.replace('_', " "), format!(" {:.0} %", reading.confidence * 100.0)),
    };
    let room = free - text_width(&confidence, size) - size / 2.0;
    let category = fit(&category, size, room);
    if !category.is_empty() {
        canvas.write(&(category + &confidence), size, (left, top), INK);
    }
}

/// A column a segment, and marks below where shots start.
fn plot(canvas: &mut Canvas, area: Area, size: usize, history: &History) {
    let ticks = (size as f64 * TICKS).round() as usize;
    let line = (size / 12).max(1);
    let columns = area.height.saturating_sub(ticks + line);
    let at = |share: f64| area.x + (share * area.width as f64).round() as usize;
    for (number, Step { from, to, importance }) in history.steps().enumerate() {
        let height = (importance.clamp(0.0, 1.0) * columns as f64).round() as usize;
        let column = Area { x: at(from), y: area.y + columns - height, width: at(to) - at(from), height };
        canvas.fill(column, if number == 0 { MARK } else { PAST });
    }
    canvas.fill(Area { y: area.y + columns, height: line, ..area }, TRACK);
    for shot in history.shots() {
        let x = at(shot).min(area.x + area.width - line);
        canvas.fill(Area { x, y: area.y + columns + line, width: line, height: ticks }, INK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reading(importance: f64) -> Reading {
        Reading { importance: Some(importance), category: "cooking".into(), confidence: 0.87 }
    }

    /// How many pixels of the bar's middle row are the bar's.
    fn bar_length(layout: &Layout, importance: f64) -> (usize, usize) {
        let area = layout.bar.unwrap();
        let bytes = layout.draw(&reading(importance), &History::default()).into_bytes();
        let row = &bytes[((area.y + area.height / 2) * layout.panel.width + area.x) * 4..][..area.width * 4];
        (row.chunks(4).take_while(|pixel| *pixel == MARK.to_ne_bytes()).count(), area.width)
    }

    #[test]
    fn bar_is_as_long_as_the_importance() {
        for (width, height, inner) in [(320, 240, 208), (1280, 720, 492), (1920, 1080, 740), (3840, 2160, 1477)] {
            let layout = Layout::new(width, height, Show::all()).unwrap();
            assert_eq!(bar_length(&layout, 0.0), (0, inner), "{width}x{height}");
            assert_eq!(bar_length(&layout, 0.5).0, inner.div_ceil(2));
            assert_eq!(bar_length(&layout, 1.0).0, inner);
            assert_eq!(bar_length(&layout, 7.0).0, inner);
        }
    }

    #[test]
    fn small_pictures_lose_the_graph_then_the_text_then_all() {
        let rows = |side| Layout::new(side, side, Show::all()).map(|l| (l.text.is_some(), l.graph.is_some()));
        assert_eq!(rows(240), Some((true, true)));
        assert_eq!(rows(80), Some((true, false)));
        assert_eq!(rows(16), Some((false, false)));
        assert_eq!(rows(8), None);
        assert_eq!(Layout::new(640, 480, Show::MAP), None);
    }

    #[test]
    fn what_is_not_shown_takes_no_room() {
        let height = |show| Layout::new(640, 480, show).unwrap().panel.height;
        let all = height(Show::all());
        assert!(height(Show::BAR | Show::TEXT) < all && height(Show::BAR) < height(Show::BAR | Show::TEXT));
        assert_eq!(height(Show::BAR | Show::TEXT | Show::GRAPH), all);
    }

    proptest! {
        #[test]
        fn any_panel_is_in_the_picture_and_its_rows_in_the_panel(
            width in 1usize..5000, height in 1usize..5000, show in 0u32..16, importance in 0.0f64..1.0,
        ) {
            let Some(layout) = Layout::new(width, height, Show::from_bits_truncate(show)) else { return Ok(()) };
            let inside = |area: Area, width, height| area.x + area.width <= width && area.y + area.height <= height;
            prop_assert!(inside(layout.panel, width, height) && layout.panel.height <= height / 2);
            let rows: Vec<Area> = [layout.text, layout.bar, layout.graph].into_iter().flatten().collect();
            prop_assert!(rows.iter().all(|&row| inside(row, layout.panel.width, layout.panel.height)));
            prop_assert!(rows.windows(2).all(|pair| pair[0].y + pair[0].height < pair[1].y));
            let mut history = History::default();
            history.enter(0, 5_000_000_000, importance);
            history.add_shot(1.0);
            let canvas = layout.draw(&reading(importance), &history);
            prop_assert_eq!((canvas.width(), canvas.height()), (layout.panel.width, layout.panel.height));
        }
    }
}
