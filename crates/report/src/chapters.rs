//! Chapters: the parts of the skim, for players' menus, of the video (where its highlights are) or of the skim itself
//! (where each part came from).

use std::{fmt::Write, ops::Range};

use super::{Summary, clock::clock};

/// What the chapters are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    Video,
    Skim,
}

/// `FFMETADATA1`, which `ffmpeg -i VIDEO -i CHAPTERS -map_metadata 1 -codec copy OUT` puts into a file. The title is the
/// video's name.
pub fn ffmetadata(summary: &Summary, of: Of) -> String {
    let mut text = format!(";FFMETADATA1\ntitle={}\n", ffmetadata_escaped(&summary.line()));
    for (time, title) in chapters(summary, of) {
        let (start, end, title) = (time.start, time.end, ffmetadata_escaped(&title));
        let _ = write!(text, "\n[CHAPTER]\nTIMEBASE=1/1000000000\nSTART={start}\nEND={end}\ntitle={title}\n");
    }
    text
}

/// WebVTT, for `<track kind="chapters">`: a cue a chapter. A part shorter than a millisecond has none.
pub fn webvtt(summary: &Summary, of: Of) -> String {
    let mut text = format!("WEBVTT {}\n", webvtt_escaped(&summary.line()));
    for (number, (time, title)) in (1..).zip(chapters(summary, of)) {
        let [start, end] = [time.start, time.end].map(|ns| (ns + 500_000) / 1_000_000);
        if start < end {
            let (start, end, title) = (webvtt_time(start), webvtt_time(end), webvtt_escaped(&title));
            let _ = write!(text, "\n{number}\n{start} --> {end}\n{title}\n");
        }
    }
    text
}

/// Each part's time (ns) and title.
fn chapters(summary: &Summary, of: Of) -> impl Iterator<Item = (Range<u64>, String)> {
    (1..).zip(&summary.parts).map(move |(number, part)| {
        let (start, title) = match of {
            Of::Video => (part.start_ns, format!("Highlight {number}")),
            Of::Skim => (part.output_start_ns, format!("{} in {}", clock(part.start_ns), summary.line())),
        };
        (start..start + part.duration_ns, title)
    })
}

fn ffmetadata_escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '=' | ';' | '#' | '\\') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

fn webvtt_escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A time in milliseconds, as `01:02:03.004`.
fn webvtt_time(ms: u64) -> String {
    format!("{:02}:{:02}:{:02}.{:03}", ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60, ms % 1_000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        Part,
        summary::tests::{SECOND, sample},
    };

    const AWKWARD: &str = "a=b;#c\\d\n\n--> <i>&é🎬";

    #[test]
    fn ffmpeg_chapters_of_the_video_and_of_the_skim() {
        let video = "\
;FFMETADATA1
title=clip.mp4

[CHAPTER]
TIMEBASE=1/1000000000
START=2000000000
END=6000000000
title=Highlight 1

[CHAPTER]
TIMEBASE=1/1000000000
START=8000000000
END=9000000000
title=Highlight 2
";
        let skim = video.replace("START=2", "START=0").replace("END=6", "END=4").replace("START=8", "START=4");
        let skim = skim.replace("START=0000000000", "START=0").replace("END=9", "END=5");
        let skim = skim.replace("Highlight 1", "0:02.0 in clip.mp4").replace("Highlight 2", "0:08.0 in clip.mp4");
        assert_eq!(ffmetadata(&sample(), Of::Video), video);
        assert_eq!(ffmetadata(&sample(), Of::Skim), skim);
    }

    #[test]
    fn webvtt_chapters_of_the_video_and_of_the_skim() {
        let mut summary = sample();
        summary.parts[1].start_ns = 3_600 * SECOND + 1_500_000;
        let video = "\
WEBVTT clip.mp4

1
00:00:02.000 --> 00:00:06.000
Highlight 1

2
01:00:00.002 --> 01:00:01.002
Highlight 2
";
        let skim = "\
WEBVTT clip.mp4

1
00:00:00.000 --> 00:00:04.000
0:02.0 in clip.mp4

2
00:00:04.000 --> 00:00:05.000
1:00:00.0 in clip.mp4
";
        assert_eq!(webvtt(&summary, Of::Video), video);
        assert_eq!(webvtt(&summary, Of::Skim), skim);
    }

    #[test]
    fn names_are_escaped() {
        let mut summary = sample();
        summary.name = AWKWARD.into();
        summary.parts.truncate(1);
        let text = ffmetadata(&summary, Of::Skim);
        assert_eq!(text.lines().nth(1), Some(r"title=a\=b\;\#c\\d  --> <i>&é🎬"));
        assert_eq!(text.lines().last(), Some(r"title=0:02.0 in a\=b\;\#c\\d  --> <i>&é🎬"));
        let text = webvtt(&summary, Of::Skim);
        assert_eq!(text.lines().last(), Some("0:02.0 in a=b;#c\\d  --&gt; &lt;i&gt;&amp;é🎬"));
    }

    #[test]
    fn an_empty_skim_has_no_chapters() {
        let mut summary = sample();
        summary.parts.clear();
        assert_eq!(ffmetadata(&summary, Of::Video), ";FFMETADATA1\ntitle=clip.mp4\n");
        assert_eq!(webvtt(&summary, Of::Skim), "WEBVTT clip.mp4\n");
    }

    /// Reads WebVTT strictly: a header line, then blocks of an identifier, a timing line and one line of text.
    fn read(text: &str) -> Vec<(u64, u64)> {
        let blocks: Vec<&str> = text.split("\n\n").collect();
        assert!(blocks[0].starts_with("WEBVTT") && !blocks[0][6..].contains("-->"), "{text}");
        let time = |text: &str| {
            let (clock, ms) = text.split_once('.').unwrap();
            let parts: Vec<u64> = clock.split(':').map(|part| part.parse().unwrap()).collect();
            assert!(clock.split(':').all(|part| part.len() >= 2) && parts.len() == 3 && ms.len() == 3, "{text}");
            assert!(parts[1] < 60 && parts[2] < 60, "{text}");
            ((parts[0] * 60 + parts[1]) * 60 + parts[2]) * 1_000 + ms.parse::<u64>().unwrap()
        };
        let cue = |block: &str| {
            let lines: Vec<&str> = block.lines().collect();
            assert_eq!(lines.len(), 3, "{text}");
            assert!(!lines[0].contains("-->") && !lines[2].contains(['<', '>']) && !lines[2].is_empty(), "{text}");
            let (start, end) = lines[1].split_once(" --> ").unwrap();
            (time(start), time(end))
        };
        blocks[1..].iter().map(|block| cue(block)).collect()
    }

    proptest! {
        /// Whatever the name and the times, the cues are well formed, in order, and do not overlap.
        #[test]
        fn webvtt_is_well_formed(name in ".*", spans in prop::collection::vec((0..SECOND, 0..5_000 * SECOND), 0..20)) {
            let (mut summary, mut time) = (sample(), 0);
            summary.name = name;
            summary.parts = spans.iter().map(|(gap, duration_ns)| {
                let part = Part { start_ns: time + gap, duration_ns: *duration_ns, output_start_ns: 0, score: 0.0 };
                time = part.span().end;
                part
            }).collect();
            let mut last = 0;
            for (start, end) in read(&webvtt(&summary, Of::Video)) {
                prop_assert!(last <= start && start < end);
                last = end;
            }
        }
    }
}
