//! Comma-separated values: a table of the segments, for spreadsheets and scripts.

use std::borrow::Cow;

use super::Summary;

const COLUMNS: [&str; 11] = [
    "video",
    "category",
    "confidence",
    "segment",
    "start_ns",
    "duration_ns",
    "start_s",
    "score",
    "importance",
    "shot",
    "skim",
];

/// One row a segment under a row of column names. `shot` is the number, from 0, of the shot that the segment's middle is
/// in, empty where there is none; `skim` is 1 where the skim has that moment, else 0. Tables of several videos can be
/// joined. Text that a spreadsheet would take for a formula begins with an apostrophe.
pub fn text(summary: &Summary) -> String {
    let mut table = ::csv::Writer::from_writer(Vec::new());
    let mut row = |fields: [String; 11]| table.write_record(fields).expect("memory takes rows of equal length");
    row(COLUMNS.map(String::from));
    for (i, segment) in summary.segments.iter().enumerate() {
        let middle = segment.start_ns + segment.duration_ns / 2;
        let shot = summary.shots.iter().position(|shot| shot.span().contains(&middle));
        let kept = summary.parts.iter().any(|part| part.span().contains(&middle));
        row([
            no_formula(&summary.name).into(),
            no_formula(&summary.category).into(),
            summary.confidence.to_string(),
            i.to_string(),
            segment.start_ns.to_string(),
            segment.duration_ns.to_string(),
            format!("{:.3}", segment.start_ns as f64 / 1e9),
            segment.score.to_string(),
            segment.importance.to_string(),
            shot.map(|shot| shot.to_string()).unwrap_or_default(),
            u8::from(kept).to_string(),
        ]);
    }
    let bytes = table.into_inner().expect("memory takes every row");
    String::from_utf8(bytes).expect("rows of strings are UTF-8")
}

/// A video's name may come from anywhere, and spreadsheets run what begins with one of these.
fn no_formula(text: &str) -> Cow<'_, str> {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) { format!("'{text}").into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::tests::{SECOND, sample};

    const HEADER: &str = "video,category,confidence,segment,start_ns,duration_ns,start_s,score,importance,shot,skim\n";

    #[test]
    fn a_row_a_segment() {
        let expected = "\
clip.mp4,cooking,0.5,0,0,2000000000,0.000,0.03125,0.125,0,0
clip.mp4,cooking,0.5,1,2000000000,2000000000,2.000,0.1875,0.75,1,1
clip.mp4,cooking,0.5,2,4000000000,2000000000,4.000,0.25,1,1,1
clip.mp4,cooking,0.5,3,6000000000,2000000000,6.000,0.0625,0.25,2,0
clip.mp4,cooking,0.5,4,8000000000,2000000000,8.000,0.125,0.5,2,0
";
        let mut summary = sample();
        // The last segment's middle is where the last part ends: no longer in it.
        assert_eq!(text(&summary), HEADER.to_owned() + expected);
        summary.parts[1].duration_ns += 1;
        assert_eq!(text(&summary), HEADER.to_owned() + &expected.replace("0.5,2,0\n", "0.5,2,1\n"));
    }

    #[test]
    fn names_are_quoted_and_come_back() {
        let mut summary = sample();
        summary.name = "a \"b\", c\nd; é 🎬.mp4".into();
        summary.segments.truncate(1);
        summary.segments[0].start_ns = 3_600 * SECOND + 1_600_000;
        summary.shots.clear();
        let table = text(&summary);
        let row = "\"a \"\"b\"\", c\nd; é 🎬.mp4\",cooking,0.5,0,3600001600000,2000000000,3600.002,0.03125,0.125,,0\n";
        assert_eq!(table, HEADER.to_owned() + row);
        let read: Vec<_> = ::csv::Reader::from_reader(table.as_bytes()).into_records().map(Result::unwrap).collect();
        assert_eq!((read.len(), &read[0][0]), (1, summary.name.as_str()));
    }

    #[test]
    fn no_text_is_a_formula() {
        let mut summary = sample();
        summary.segments.truncate(1);
        for name in ["=1+1.mp4", "+a.mp4", "-a.mp4", "@a.mp4", "\ta.mp4", "\r=1.mp4", "\n=1.mp4"] {
            (summary.name, summary.category) = (name.into(), "=cmd".into());
            let table = text(&summary);
            let row = ::csv::Reader::from_reader(table.as_bytes()).into_records().next().unwrap().unwrap();
            assert_eq!((&row[0], &row[1]), (format!("'{name}").as_str(), "'=cmd"));
        }
    }

    #[test]
    fn nothing_scored_is_the_column_names() {
        let mut summary = sample();
        summary.segments.clear();
        assert_eq!(text(&summary), HEADER);
    }
}
