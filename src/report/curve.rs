//! The score curve: how much each moment of a video matters, and which were chosen, as an SVG picture.

use std::ops::Range;

use plotters::prelude::*;
use thiserror::Error;

const SIZE: (u32, u32) = (1_200, 360);
const CURVE: RGBColor = RGBColor(0x1f, 0x4e, 0x79);
const CHOSEN: RGBColor = RGBColor(0xf2, 0xa9, 0x3b);

/// The picture could not be drawn.
#[derive(Debug, Error)]
#[error("the score curve can't be drawn: {0}")]
pub struct CurveError(String);

/// A segment's part of the curve.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Seconds.
    pub time: Range<f64>,
    /// [0, 1]
    pub importance: f64,
}

/// Draws importance over time, with the `chosen` spans (seconds) shaded behind it, as an SVG document.
///
/// # Errors
/// [`CurveError`]
pub fn svg(title: &str, bars: &[Bar], chosen: &[Range<f64>]) -> Result<String, CurveError> {
    let mut document = String::new();
    draw(&mut document, title, bars, chosen).map_err(|e| CurveError(e.to_string()))?;
    Ok(document)
}

fn draw(
    document: &mut String,
    title: &str,
    bars: &[Bar],
    chosen: &[Range<f64>],
) -> Result<(), Box<dyn std::error::Error>> {
    let end = bars.last().map_or(1.0, |bar| bar.time.end);
    let root = SVGBackend::with_string(document, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 22))
        .margin(14)
        .x_label_area_size(36)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..end, 0.0..1.0)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels(12)
        .y_labels(5)
        .x_desc("time in the video")
        .y_desc("importance")
        .label_style(("sans-serif", 15))
        .x_label_formatter(&|seconds| format!("{}:{:02}", *seconds as u64 / 60, *seconds as u64 % 60))
        .draw()?;
    chart.draw_series(
        chosen.iter().map(|span| Rectangle::new([(span.start, 0.0), (span.end, 1.0)], CHOSEN.mix(0.45).filled())),
    )?;
    // Steps: a segment has one importance from its beginning to its end.
    let steps = bars.iter().flat_map(|bar| [(bar.time.start, bar.importance), (bar.time.end, bar.importance)]);
    chart.draw_series(AreaSeries::new(steps, 0.0, CURVE.mix(0.2)).border_style(CURVE.stroke_width(2)))?;
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chosen_span_and_the_curve_are_drawn() {
        let bars: Vec<Bar> =
            (0..10).map(|i| Bar { time: f64::from(i)..f64::from(i + 1), importance: f64::from(i) / 10.0 }).collect();
        let rectangles = |chosen: &[Range<f64>]| {
            let picture = svg("a & b", &bars, chosen).unwrap();
            assert!(picture.contains("a &amp; b") && picture.contains("0:08"), "{picture}");
            assert_eq!(picture.matches("<polygon").count(), 1);
            picture.matches("#F2A93B").count()
        };
        assert_eq!((rectangles(&[]), rectangles(&[2.0..3.0, 7.0..9.0])), (0, 2));
    }

    #[test]
    fn nothing_scored_is_an_empty_chart() {
        assert!(svg("empty", &[], &[]).unwrap().contains("</svg>"));
    }
}
