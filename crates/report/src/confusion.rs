//! The confusion matrix: which categories a model takes for which, as an SVG picture.

use plotters::{
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};
use thiserror::Error;

/// What a row that all fell into one cell is shaded with; less is lighter.
const SHADE: RGBColor = RGBColor(0x1f, 0x4e, 0x79);
const GRID: RGBColor = RGBColor(0xd8, 0xd8, 0xd8);
/// Sides of a cell, pixels: at most, and so that the names beside it can still be read.
const CELL: std::ops::RangeInclusive<usize> = 13..=56;
/// Pixels for all cells of a row, within the limits of [`CELL`].
const WIDTH: usize = 620;
/// Letters of a name, at most.
const NAME: usize = 24;

/// The picture could not be drawn.
#[derive(Debug, Error)]
#[error("the confusion matrix can't be drawn: {0}")]
pub struct ConfusionError(String);

/// Draws how often each category was named: `counts[right][named]`, in the order of `categories`. A row is a right category, a
/// column a named one; a cell is shaded by its share of the row.
///
/// # Errors
/// [`ConfusionError`], for one where there are not as many rows and columns as categories.
pub fn svg(categories: &[String], counts: &[Vec<u32>]) -> Result<String, ConfusionError> {
    let n = categories.len();
    if n == 0 || counts.len() != n || counts.iter().any(|row| row.len() != n) {
        return Err(ConfusionError(format!("it needs a row and a column for each of {n} categories")));
    }
    let mut document = String::new();
    draw(&mut document, categories, counts).map_err(|e| ConfusionError(e.to_string()))?;
    Ok(document)
}

fn draw(document: &mut String, categories: &[String], counts: &[Vec<u32>]) -> Result<(), Box<dyn std::error::Error>> {
    let names: Vec<String> = categories.iter().map(|name| shortened(name)).collect();
    let cell = (WIDTH / names.len()).clamp(*CELL.start(), *CELL.end()) as i32;
    let letters = f64::from(cell * 4 / 5).min(15.0);
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let name_room = (longest as f64 * letters * 0.6) as i32 + 12;
    let side = cell * names.len() as i32;
    // Where the first cell begins: beside the names, under the title and the names.
    let (left, top) = (name_room + 40, name_room + 76);
    let size = ((left + side + 40).max(480) as u32, (top + side + 20) as u32);
    let root = SVGBackend::with_string(document, size).into_drawing_area();
    root.fill(&WHITE)?;

    let text = |size: f64, h: HPos, v: VPos| ("sans-serif", size).into_font().color(&BLACK).pos(Pos::new(h, v));
    let upwards = |size: f64, h: HPos| {
        ("sans-serif", size)
            .into_font()
            .transform(FontTransform::Rotate270)
            .color(&BLACK)
            .pos(Pos::new(h, VPos::Center))
    };
    let all: u32 = counts.iter().flatten().sum();
    let right: u32 = (0..names.len()).map(|i| counts[i][i]).sum();
    let title = format!("{right} of {all} right ({:.1} %)", 100.0 * f64::from(right) / f64::from(all.max(1)));
    root.draw_text(&title, &text(22.0, HPos::Left, VPos::Top), (16, 14))?;
    root.draw_text("shade: share of the row", &text(14.0, HPos::Left, VPos::Top), (16, 42))?;
    root.draw_text("named", &text(15.0, HPos::Center, VPos::Top), (left + side / 2, 62))?;
    root.draw_text("right", &upwards(15.0, HPos::Center), (18, top + side / 2))?;

    for (i, name) in names.iter().enumerate() {
        let middle = cell * i as i32 + cell / 2;
        root.draw_text(name, &text(letters, HPos::Right, VPos::Center), (left - 6, top + middle))?;
        root.draw_text(name, &upwards(letters, HPos::Left), (left + middle, top - 6))?;
    }
    for (i, row) in counts.iter().enumerate() {
        let sum = f64::from(row.iter().sum::<u32>().max(1));
        for (j, &count) in row.iter().enumerate().filter(|(_, count)| **count > 0) {
            let share = f64::from(count) / sum;
            let corner = (left + cell * j as i32, top + cell * i as i32);
            let far = (corner.0 + cell, corner.1 + cell);
            root.draw(&Rectangle::new([corner, far], SHADE.mix(share).filled()))?;
            let number = count.to_string();
            let digits = f64::from(cell) * 0.45;
            if digits >= 8.0 && number.len() as f64 * digits * 0.6 < f64::from(cell) {
                let colour = if share > 0.5 { &WHITE } else { &BLACK };
                let style = text(digits.min(16.0), HPos::Center, VPos::Center).color(colour);
                root.draw_text(&number, &style, (corner.0 + cell / 2, corner.1 + cell / 2))?;
            }
        }
    }
    for i in 0..=names.len() as i32 {
        let (x, y) = (left + cell * i, top + cell * i);
        root.draw(&PathElement::new([(left, y), (left + side, y)], GRID))?;
        root.draw(&PathElement::new([(x, top), (x, top + side)], GRID))?;
    }
    root.present()?;
    Ok(())
}

/// At most [`NAME`] letters.
fn shortened(name: &str) -> String {
    if name.chars().count() <= NAME {
        return name.into();
    }
    name.chars().take(NAME - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn categories(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("category {i}")).collect()
    }

    #[test]
    fn a_cell_has_its_number_and_is_as_dark_as_its_share() {
        let counts = [vec![30, 10, 0], vec![0, 7, 0], vec![0, 0, 0]];
        let picture = svg(&["a & b".into(), "c".into(), "d".into()], &counts).unwrap();
        let shades: Vec<&str> = picture
            .split("<rect")
            .filter(|element| element.contains("#1F4E79"))
            .map(|element| element.split("opacity=\"").nth(1).unwrap().split('"').next().unwrap())
            .collect();
        assert_eq!(shades, ["0.75", "0.25", "1"]);
        let lines: Vec<&str> = picture.lines().collect();
        for text in ["37 of 47 right (78.7 %)", "30", "10", "7"] {
            assert_eq!(lines.iter().filter(|line| **line == text).count(), 1, "{text}: {picture}");
        }
        // Beside its row and above its column.
        assert_eq!(lines.iter().filter(|line| **line == "a &amp; b").count(), 2, "{picture}");
    }

    #[test]
    fn what_has_no_room_is_shortened_or_left_out() {
        let diagonal = |n: usize| (0..n).map(|i| (0..n).map(|j| if i == j { 77 } else { 0 }).collect()).collect();
        let numbers = |n: usize| {
            let counts: Vec<Vec<u32>> = diagonal(n);
            let picture = svg(&categories(n), &counts).unwrap();
            picture.lines().filter(|line| *line == "77").count()
        };
        assert_eq!((numbers(2), numbers(10), numbers(101)), (2, 10, 0));
        let long = ["x".repeat(NAME), "y".repeat(NAME + 1)];
        let picture = svg(&long, &diagonal(2)).unwrap();
        assert!(picture.contains(&long[0]) && picture.contains(&format!("{}…", "y".repeat(NAME - 1))), "{picture}");
        assert!(!picture.contains(&long[1]), "{picture}");
    }

    #[test]
    fn counts_of_another_shape_are_an_error() {
        for counts in [vec![vec![1, 2]], vec![vec![1], vec![2]], vec![]] {
            let error = svg(&categories(2), &counts).unwrap_err().to_string();
            assert!(error.contains("a row and a column for each of 2 categories"), "{error}");
        }
        assert!(svg(&[], &[]).is_err());
    }
}
