//! The page about a video: its scores over a film strip of its shots, what the skim takes, and both to play.
//!
//! One HTML file that needs nothing else but the videos: style, script and thumbnails are inside it. `page.html` is the
//! template, whose engine escapes every value; `page.css` and `page.js` go in as they are.

pub(super) mod strip;

use minijinja::{Value, context};
use thiserror::Error;

use self::strip::{Strip, curve};
use super::{
    Summary,
    clock::{clock, length},
    template,
};

/// Width that the overview of the whole video is drawn with; the browser stretches it.
const OVERVIEW: f64 = 1_000.0;
/// Steps of the overview's curve: those of an hour's segments would be a solid block.
const STEPS: u64 = 240;

/// The page could not be made.
#[derive(Debug, Error)]
#[error("the page about {video} can't be made: {source}; please report this as a bug")]
pub struct PageError {
    video: String,
    source: minijinja::Error,
}

/// The page, an HTML document in UTF-8. [`Summary::url`] and [`Summary::skim_url`] are what it plays.
///
/// # Errors
/// [`PageError`]
pub fn html(summary: &Summary) -> Result<String, PageError> {
    let page = template::render("page.html", include_str!("page.html"), values(summary));
    page.map_err(|source| PageError { video: summary.name.clone(), source })
}

/// What the template is filled with.
fn values(summary: &Summary) -> Value {
    let strip = Strip::new(&summary.shots, summary.duration_ns);
    let whole = summary.duration_ns.max(1) as f64;
    let overview = |ns: u64| ns as f64 / whole * OVERVIEW;
    let shots = summary.shots.iter().zip(strip.widths()).map(|(shot, width)| {
        let span = shot.span();
        context! {
            start => seconds(span.start),
            end => seconds(span.end),
            from => clock(span.start),
            to => clock(span.end),
            length => format!("{:.1}", shot.duration_ns as f64 / 1e9),
            importance => summary.importance(span).map_or("–".into(), |importance| format!("{importance:.2}")),
            score => shot.score.to_string(),
            chosen => shot.chosen,
            width => format!("{width:.0}"),
            thumbnail => shot.thumbnail.as_ref().map(|jpeg| {
                Value::from_safe_string(format!("data:image/jpeg;base64,{}", glib::base64_encode(jpeg)))
            }),
        }
    });
    let parts = summary.parts.iter().map(|part| {
        let span = part.span();
        let (x, far) = (strip.x(span.start), strip.x(span.end));
        let (overview_x, overview_far) = (overview(span.start), overview(span.end));
        context! {
            start => seconds(span.start),
            end => seconds(span.end),
            output => seconds(part.output_start_ns),
            x => format!("{x:.1}"),
            width => format!("{:.1}", far - x),
            overview_x => format!("{overview_x:.1}"),
            overview_width => format!("{:.1}", overview_far - overview_x),
        }
    });
    let segments = summary.segments.iter().map(|segment| (segment.span(), f64::from(segment.importance)));
    context! {
        theme => Value::from_safe_string(template::THEME.into()),
        css => Value::from_safe_string(include_str!("page.css").into()),
        js => Value::from_safe_string(include_str!("page.js").into()),
        name => &summary.name,
        url => &summary.url,
        skim_url => summary.skim_url.as_ref(),
        category => &summary.category,
        confidence => format!("{:.0}", 100.0 * summary.confidence),
        duration => seconds(summary.duration_ns),
        first => seconds(summary.first_ns),
        length => length(summary.duration_ns),
        skim_length => length(summary.skim_ns()),
        skim_percent => format!("{:.0}", 100.0 * summary.skim_ns() as f64 / whole),
        strip_width => format!("{:.0}", strip.width()),
        curve => curve(segments, |ns| strip.x(ns)),
        overview => curve(summary.steps(STEPS), overview),
        shots => shots.collect::<Vec<_>>(),
        parts => parts.collect::<Vec<_>>(),
    }
}

/// A time (ns) for the script. Rounded up: a player that is sent to just before a frame shows the frame before it.
fn seconds(ns: u64) -> String {
    let micro = ns.div_ceil(1_000);
    format!("{}.{:06}", micro / 1_000_000, micro % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Segment,
        summary::tests::{SECOND, sample},
    };

    /// What `before` and `after` enclose, each time.
    fn between<'a>(text: &'a str, before: &str, after: &str) -> Vec<&'a str> {
        text.split(before).skip(1).map(|rest| rest.split(after).next().unwrap()).collect()
    }

    #[test]
    fn every_shot_is_a_button_and_a_row() {
        let page = html(&sample()).unwrap();
        assert_eq!(
            between(&page, "aria-label=\"Shot ", "\""),
            [
                "1, from 0:00.0 to 0:02.0, importance 0.12",
                "2, from 0:02.0 to 0:06.0, importance 0.88, in the skim",
                "3, from 0:06.0 to 0:10.0, importance 0.38, in the skim",
            ]
        );
        let starts = ["0.000000", "2.000000", "6.000000"];
        let strip = between(&page, "<div class=\"strip", "<details")[0];
        let table = between(&page, "<table", "</table>")[0];
        assert_eq!(between(strip, "class=\"shot", "data-start=\"").len(), 3);
        let tiles: Vec<&str> = between(strip, "class=\"shot", ">");
        assert_eq!(tiles.iter().map(|tile| between(tile, "data-start=\"", "\"")[0]).collect::<Vec<_>>(), starts);
        assert_eq!(between(table, "data-start=\"", "\""), starts);
        let cells: Vec<Vec<&str>> =
            between(table, "<tr>", "</tr>").iter().map(|row| between(row, "<td>", "</td>")).collect();
        assert_eq!(cells[2][1..6], ["0:06.0", "4.0 s", "0.88", "0.21875", "yes"]);
        assert_eq!((cells.len(), cells[1][5]), (4, ""));
        // In the strip and in the row, by its number.
        for what in ["more", "less"] {
            let wishes = between(&page, &format!("<button type=\"button\" class=\"{what}\" data-shot=\""), "\"");
            assert_eq!(wishes, ["1", "2", "3", "1", "2", "3"]);
        }
    }

    #[test]
    fn both_videos_and_the_facts_are_told() {
        let mut summary = sample();
        summary.duration_ns = 3_600 * SECOND;
        let page = html(&summary).unwrap();
        assert_eq!(between(&page, "<video", ">").len(), 2);
        for text in [
            "src=\"clip.mp4\"",
            "src=\"clip-skim.mp4\"",
            "cooking (50 %)",
            "1:00:00.0",
            "3 shots",
            "0:05.0, 0 % of the video, 2 parts",
        ] {
            assert!(page.contains(text), "{text}: {page}");
        }
        // Parts are marked in the strip, and the script finds them there.
        let marks = between(&page, "<rect class=\"part\"", ">");
        assert!(
            marks[0].contains("data-start=\"2.000000\" data-end=\"6.000000\" data-output=\"0.000000\""),
            "{}",
            marks[0]
        );
        assert!(
            marks[1].contains("data-start=\"8.000000\" data-end=\"9.000000\" data-output=\"4.000000\""),
            "{}",
            marks[1]
        );
    }

    #[test]
    fn names_are_text_and_never_markup() {
        let mut summary = sample();
        let awkward = "<img src=x onerror=alert(1)> \"' onload=x {{ 7 * 7 }} </script>\n& 🎬";
        (summary.name, summary.category) = (awkward.into(), awkward.into());
        (summary.url, summary.skim_url) = (awkward.into(), Some(awkward.into()));
        let page = html(&summary).unwrap();
        assert!(!page.contains("<img") && !page.contains("onerror=alert(1)> \""), "{page}");
        assert_eq!((page.matches("<script>").count(), page.matches("</script>").count()), (1, 1));
        let text =
            "&lt;img src=x onerror=alert(1)&gt; &quot;&#x27; onload=x {{ 7 * 7 }} &lt;&#x2f;script&gt;\n&amp; 🎬";
        assert!(page.contains(&format!("<h1>{text}</h1>")), "{page}");
        assert!(page.contains(&format!("src=\"{text}\"")), "{page}");
    }

    #[test]
    fn nothing_is_loaded_but_the_videos() {
        let mut summary = sample();
        summary.shots[1].thumbnail = Some(b"\xff\xd8jpeg\xff\xd9".to_vec());
        let page = html(&summary).unwrap();
        let mut sources = between(&page, "src=\"", "\"");
        sources.extend(between(&page, "href=\"", "\""));
        assert_eq!(sources, ["clip.mp4", "clip-skim.mp4", "data:image/jpeg;base64,/9hqcGVn/9k=", "data:,"]);
        for word in ["http:", "https:", "//", "url(", "@import", "fetch(", "import "] {
            let found = page.lines().find(|line| line.contains(word) && !line.trim_start().starts_with("//"));
            assert_eq!(found, None, "{word}");
        }
    }

    #[test]
    fn an_empty_skim_and_a_video_without_shots_are_told_too() {
        let mut summary = sample();
        summary.parts.clear();
        summary.skim_url = None;
        summary.shots.iter_mut().for_each(|shot| shot.chosen = false);
        let page = html(&summary).unwrap();
        assert_eq!((between(&page, "<video", ">").len(), page.matches("<rect").count()), (1, 0));
        assert!(page.contains("<dd>none</dd>") && !page.contains("in the skim\""), "{page}");
        summary.shots.clear();
        summary.segments.clear();
        summary.duration_ns = 0;
        let page = html(&summary).unwrap();
        assert!(
            page.contains("0 shots") && !page.contains("<table") && !page.contains("NaN") && !page.contains("inf"),
            "{page}"
        );
    }

    #[test]
    fn the_overview_of_a_long_video_is_averaged() {
        let mut summary = sample();
        let segments = std::mem::take(&mut summary.segments);
        summary.duration_ns = 6_000 * SECOND;
        summary.segments = (0..1_000)
            .flat_map(|i| segments.iter().take(3).map(move |segment| (i, segment.clone())))
            .map(|(i, segment)| Segment { start_ns: segment.start_ns + 6 * i * SECOND, ..segment })
            .collect();
        let page = html(&summary).unwrap();
        let paths = between(&page, "<path d=\"", "\"");
        assert_eq!(paths.iter().map(|path| path.matches('V').count()).collect::<Vec<_>>(), [241, 3_001]);
        // A step of 25 s: the mean, 0.625, of four times six seconds, and a second of 0.125, 0.125 and 0.75.
        assert!(paths[0].starts_with("M0.0 100H0.0V39.5H4.2H4.2V39.5H8.3H8.3V37.0H12.5"), "{}", paths[0]);
    }

    #[test]
    fn players_are_sent_to_the_frame_and_not_before_it() {
        assert_eq!(
            [0, 1, 41_666_666, 3_600_000_000_001].map(seconds),
            ["0.000000", "0.000001", "0.041667", "3600.000001"]
        );
    }
}
