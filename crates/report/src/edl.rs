//! Edit decision lists, CMX 3600: the oldest format for a cut, and the one that every editor imports.

use std::fmt::Write;

use thiserror::Error;

use super::Summary;
use desumnet_media::timecode::{Timecode, TimecodeError};

/// Timecode begins again after this many ns.
const DAY: u64 = 24 * 3_600 * 1_000_000_000;

/// A video has no edit decision list.
#[derive(Debug, Error)]
pub enum EdlError {
    #[error("{video} can't be told as an edit decision list: {source}, or write OpenTimelineIO")]
    Timecode { video: String, source: TimecodeError },
    #[error(
        "{video} can't be told as an edit decision list: it is longer than the 24 hours of timecode; write OpenTimelineIO"
    )]
    Day { video: String },
}

/// The parts of the skim as cuts, one after another from 00:00:00:00, each an event with its times in the video and in
/// the skim. Times in the video begin at its timecode where it has one, and all are counted with drop-frame where that is. The reel
/// is `AX`, as editors write for a file; the clip name is the video's. By the format a list has at most 999 events; further ones are
/// numbered on, which not every editor reads.
///
/// # Errors
/// [`EdlError`]
pub fn text(summary: &Summary) -> Result<String, EdlError> {
    let drop_frame = summary.timecode.is_some_and(|number| number.drop);
    let name = summary.line();
    let timecode = Timecode::new(summary.frame_rate, drop_frame)
        .map_err(|source| EdlError::Timecode { video: name.clone(), source })?;
    if summary.duration_ns > DAY {
        return Err(EdlError::Day { video: name });
    }
    let channels = if summary.sound { "AA/V" } else { "V" };
    let mut list = format!("TITLE: {name}\nFCM: {}\n", if drop_frame { "DROP FRAME" } else { "NON-DROP FRAME" });
    for (i, cut) in summary.cuts().enumerate() {
        let times =
            [cut.source.start, cut.source.end, cut.record.start, cut.record.end].map(|f| timecode.of(f).to_string());
        let _ = writeln!(list, "\n{:03}  AX       {channels:<4}  C        {}", i + 1, times.join(" "));
        let _ = writeln!(list, "* FROM CLIP NAME: {name}");
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::tests::{SECOND, sample};
    use desumnet_frames::frame_rate::FrameRate;

    #[test]
    fn the_cuts_follow_each_other() {
        let expected = "\
TITLE: clip.mp4
FCM: NON-DROP FRAME

001  AX       V     C        00:00:02:00 00:00:06:00 00:00:00:00 00:00:04:00
* FROM CLIP NAME: clip.mp4

002  AX       V     C        00:00:08:00 00:00:09:00 00:00:04:00 00:00:05:00
* FROM CLIP NAME: clip.mp4
";
        let mut summary = sample();
        assert_eq!(text(&summary).unwrap(), expected);
        summary.sound = true;
        assert_eq!(text(&summary).unwrap(), expected.replace(" V     C", " AA/V  C"));
    }

    #[test]
    fn drop_frame_keeps_up_with_the_clock() {
        let mut summary = sample();
        summary.frame_rate = FrameRate { numerator: 30_000, denominator: 1_001 };
        summary.duration_ns = 3_700 * SECOND;
        // 59 s + 29 frames, for two frames; and an hour by the clock.
        summary.parts[0].start_ns = 1_799 * 1_001 * SECOND / 30_000;
        summary.parts[0].duration_ns = 2 * 1_001 * SECOND / 30_000;
        summary.parts[1].start_ns = 3_600 * SECOND;
        let times = |drop: bool| {
            let timecode = drop.then(|| "00:00:00;00".parse().unwrap());
            let list = text(&Summary { timecode, ..summary.clone() }).unwrap();
            let times =
                list.lines().filter_map(|line| line.split_once("  C        ").map(|(_, times)| times.to_owned()));
            (list.lines().nth(1).unwrap().to_owned(), times.collect::<Vec<_>>())
        };
        let dropping =
            ["00:00:59;29 00:01:00;03 00:00:00;00 00:00:00;02", "01:00:00;00 01:00:01;00 00:00:00;02 00:00:01;02"];
        let plain =
            ["00:00:59:29 00:01:00:01 00:00:00:00 00:00:00:02", "00:59:56:12 00:59:57:12 00:00:00:02 00:00:01:02"];
        assert_eq!(times(true), ("FCM: DROP FRAME".into(), dropping.map(String::from).to_vec()));
        assert_eq!(times(false), ("FCM: NON-DROP FRAME".into(), plain.map(String::from).to_vec()));
    }

    #[test]
    fn a_start_timecode_is_gone_on_from() {
        let mut summary = sample();
        summary.timecode = Some("23:59:55:10".parse().unwrap());
        let list = text(&summary).unwrap();
        assert!(list.contains("C        23:59:57:10 00:00:01:10 00:00:00:00 00:00:04:00\n"), "{list}");
    }

    #[test]
    fn an_empty_skim_is_a_list_of_nothing_and_a_name_stays_on_its_line() {
        let mut summary = sample();
        summary.name = "a \"b\",\r\n002  AX é 🎬".into();
        let list = text(&summary).unwrap();
        assert_eq!(list.lines().filter(|line| line.starts_with("002")).count(), 1, "{list}");
        summary.parts.clear();
        assert_eq!(text(&summary).unwrap(), "TITLE: a \"b\",  002  AX é 🎬\nFCM: NON-DROP FRAME\n");
    }

    #[test]
    fn what_has_no_timecode_has_no_list() {
        let mut summary = sample();
        summary.timecode = Some("00:00:00;00".parse().unwrap());
        let error = text(&summary).unwrap_err().to_string();
        assert!(
            error.contains("clip.mp4") && error.contains("25/1 frames a second has no drop-frame timecode"),
            "{error}"
        );
        summary.timecode = None;
        summary.duration_ns = DAY + 1;
        let error = text(&summary).unwrap_err().to_string();
        assert!(error.contains("longer than the 24 hours of timecode"), "{error}");
        summary.frame_rate = FrameRate { numerator: 0, denominator: 1 };
        let error = text(&summary).unwrap_err().to_string();
        assert!(error.contains("0/1 frames a second can't be counted"), "{error}");
    }
}
