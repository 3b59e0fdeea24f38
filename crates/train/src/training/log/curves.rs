//! The picture of a run: loss and accuracy over the epochs, in training and in validation.

use std::error::Error;

use plotters::{coord::Shift, prelude::*};

use super::Row;

const SIZE: (u32, u32) = (1_200, 420);
const TRAINING: RGBColor = RGBColor(0x1f, 0x4e, 0x79);
const VIDEOS: RGBColor = RGBColor(0xd9, 0x6c, 0x06);
const CLIPS: RGBColor = RGBColor(0x5b, 0x9a, 0x3c);
/// Up to so many epochs, each point has its dot.
const DOTTED: usize = 40;

type Panel<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A curve's name in the legend, colour and value in a row.
type Curve = (&'static str, RGBColor, fn(&Row) -> Option<f64>);

const LOSS: [Curve; 2] =
    [("training", TRAINING, |row| Some(row.loss)), ("validation", VIDEOS, |row| row.validation_loss)];
const ACCURACY: [Curve; 3] = [
    ("training clips", TRAINING, |row| Some(row.accuracy)),
    ("validation videos", VIDEOS, |row| row.validation_video_accuracy),
    ("validation clips", CLIPS, |row| row.validation_clip_accuracy),
];

/// Draws both pictures side by side, as an SVG document.
///
/// # Errors
/// From plotters.
pub fn svg(rows: &[Row]) -> Result<String, Box<dyn Error>> {
    let mut document = String::new();
    {
        let root = SVGBackend::with_string(&mut document, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let (left, right) = root.split_horizontally(SIZE.0 / 2);
        let losses = rows.iter().flat_map(|row| LOSS.iter().filter_map(|(_, _, value)| value(row)));
        let highest = losses.filter(|loss| loss.is_finite()).fold(0.0, f64::max);
        panel(&left, "loss", &LOSS, rows, if highest > 0.0 { highest * 1.05 } else { 1.0 })?;
        panel(&right, "accuracy", &ACCURACY, rows, 1.0)?;
        root.present()?;
    }
    Ok(document)
}

fn panel(area: &Panel, title: &str, curves: &[Curve], rows: &[Row], top: f64) -> Result<(), Box<dyn Error>> {
    // The legend has a line of its own: nowhere in the chart is free of curves for sure.
    let (head, body) = area.split_vertically(44);
    head.draw(&Text::new(title.to_string(), (62, 14), ("sans-serif", 22)))?;
    for (i, (name, colour, _)) in curves.iter().enumerate() {
        let x = 175 + 145 * i as i32;
        head.draw(&Rectangle::new([(x, 24), (x + 18, 27)], colour.filled()))?;
        head.draw(&Text::new(*name, (x + 24, 18), ("sans-serif", 15)))?;
    }
    let last = rows.last().map_or(1, |row| row.epoch);
    let mut chart = ChartBuilder::on(&body)
        .margin(14)
        .margin_top(4)
        .x_label_area_size(36)
        .y_label_area_size(48)
        .build_cartesian_2d(1..last.max(2), 0.0..top)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels(12)
        .y_labels(6)
        .x_desc("epoch")
        .label_style(("sans-serif", 15))
        .draw()?;
    for (_, colour, value) in curves {
        let points =
            || rows.iter().filter_map(|row| Some((row.epoch, value(row)?))).filter(|(_, value)| value.is_finite());
        chart.draw_series(LineSeries::new(points(), colour.stroke_width(2)))?;
        if rows.len() <= DOTTED {
            chart.draw_series(points().map(|point| Circle::new(point, 3, colour.filled())))?;
        }
    }
    Ok(())
}
