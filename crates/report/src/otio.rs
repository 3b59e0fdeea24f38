//! OpenTimelineIO: the cut of a skim for editors, with the scores.

use serde_json::{Value, json};

use super::Summary;
use desumnet_frames::frame_rate::FrameRate;

/// A timeline (`.otio`, JSON) with the parts of the skim as clips of the video, one after another: a video track, and an
/// audio track where the video has sound. A clip carries its score and importance, in its metadata under `desumnet`
/// and, for people, as a marker. Times are frames, from the video's timecode on where it has one; milliseconds where the video has
/// no fixed frame rate.
pub fn text(summary: &Summary) -> String {
    let timed;
    let summary = match summary.frame_rate.numerator {
        0 => {
            timed = Summary { frame_rate: FrameRate { numerator: 1_000, denominator: 1 }, ..summary.clone() };
            &timed
        }
        _ => summary,
    };
    let kinds: &[&str] = if summary.sound { &["Video", "Audio"] } else { &["Video"] };
    let timeline = json!({
        "OTIO_SCHEMA": "Timeline.1",
        "name": summary.name,
        "global_start_time": null,
        "metadata": { "desumnet": { "category": summary.category, "confidence": summary.confidence } },
        "tracks": {
            "OTIO_SCHEMA": "Stack.1",
            "name": "tracks",
            "children": kinds.iter().map(|kind| track(summary, kind)).collect::<Vec<_>>(),
        },
    });
    format!("{timeline:#}\n")
}

fn track(summary: &Summary, kind: &str) -> Value {
    let rate = f64::from(summary.frame_rate.numerator) / f64::from(summary.frame_rate.denominator);
    let time = |frames: u64| json!({ "OTIO_SCHEMA": "RationalTime.1", "rate": rate, "value": frames as f64 });
    let range = |start: u64, end: u64| {
        let (start_time, duration) = (time(start), time(end - start));
        json!({ "OTIO_SCHEMA": "TimeRange.1", "start_time": start_time, "duration": duration })
    };
    let first = summary.first_frame();
    let clips = summary.cuts().map(|cut| {
        let importance = summary.importance(cut.part.span());
        let metadata = json!({ "desumnet": { "score": cut.part.score, "importance": importance } });
        let marked = range(cut.source.start, cut.source.end);
        json!({
            "OTIO_SCHEMA": "Clip.2",
            "name": summary.name,
            "source_range": marked,
            "metadata": metadata,
            "markers": importance.map(|importance| json!({
                "OTIO_SCHEMA": "Marker.2",
                "name": format!("importance {importance:.2}"),
                "color": "ORANGE",
                "marked_range": marked,
                "metadata": metadata,
            })).as_slice(),
            "active_media_reference_key": "DEFAULT_MEDIA",
            "media_references": {
                "DEFAULT_MEDIA": {
                    "OTIO_SCHEMA": "ExternalReference.1",
                    "target_url": summary.url,
                    "available_range": range(first, first + summary.frame_rate.frame(summary.duration_ns)),
                },
            },
        })
    });
    json!({ "OTIO_SCHEMA": "Track.1", "name": kind, "kind": kind, "children": clips.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::tests::{SECOND, sample};

    #[test]
    fn a_clip_a_part() {
        let mut summary = sample();
        summary.parts.truncate(1);
        let expected = r#"{
  "OTIO_SCHEMA": "Timeline.1",
  "global_start_time": null,
  "metadata": {
    "desumnet": {
      "category": "cooking",
      "confidence": 0.5
    }
  },
  "name": "clip.mp4",
  "tracks": {
    "OTIO_SCHEMA": "Stack.1",
    "children": [
      {
        "OTIO_SCHEMA": "Track.1",
        "children": [
          {
            "OTIO_SCHEMA": "Clip.2",
            "active_media_reference_key": "DEFAULT_MEDIA",
            "markers": [
              {
                "OTIO_SCHEMA": "Marker.2",
                "color": "ORANGE",
                "marked_range": {
                  "OTIO_SCHEMA": "TimeRange.1",
                  "duration": {
                    "OTIO_SCHEMA": "RationalTime.1",
                    "rate": 25.0,
                    "value": 100.0
                  },
                  "start_time": {
                    "OTIO_SCHEMA": "RationalTime.1",
                    "rate": 25.0,
                    "value": 50.0
                  }
                },
                "metadata": {
                  "desumnet": {
                    "importance": 0.875,
                    "score": 0.21875
                  }
                },
                "name": "importance 0.88"
              }
            ],
            "media_references": {
              "DEFAULT_MEDIA": {
                "OTIO_SCHEMA": "ExternalReference.1",
                "available_range": {
                  "OTIO_SCHEMA": "TimeRange.1",
                  "duration": {
                    "OTIO_SCHEMA": "RationalTime.1",
                    "rate": 25.0,
                    "value": 250.0
                  },
                  "start_time": {
                    "OTIO_SCHEMA": "RationalTime.1",
                    "rate": 25.0,
                    "value": 0.0
                  }
                },
                "target_url": "clip.mp4"
              }
            },
            "metadata": {
              "desumnet": {
                "importance": 0.875,
                "score": 0.21875
              }
            },
            "name": "clip.mp4",
            "source_range": {
              "OTIO_SCHEMA": "TimeRange.1",
              "duration": {
                "OTIO_SCHEMA": "RationalTime.1",
                "rate": 25.0,
                "value": 100.0
              },
              "start_time": {
                "OTIO_SCHEMA": "RationalTime.1",
                "rate": 25.0,
                "value": 50.0
              }
            }
          }
        ],
        "kind": "Video",
        "name": "Video"
      }
    ],
    "name": "tracks"
  }
}
"#;
        assert_eq!(text(&summary), expected);
    }

    fn read(summary: &Summary) -> Value {
        serde_json::from_str(&text(summary)).unwrap()
    }

    #[test]
    fn sound_is_a_second_track_with_the_same_clips() {
        let mut summary = sample();
        summary.sound = true;
        summary.name = "\"quoted\",\nfilm 🎬".into();
        let timeline = read(&summary);
        let tracks = timeline["tracks"]["children"].as_array().unwrap();
        assert_eq!(timeline["name"], summary.name.as_str());
        assert_eq!((&tracks[0]["kind"], &tracks[1]["kind"], tracks.len()), (&json!("Video"), &json!("Audio"), 2));
        assert_eq!(tracks[0]["children"], tracks[1]["children"]);
        assert_eq!(tracks[0]["children"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn frames_are_counted_at_the_rate_or_else_milliseconds() {
        let mut summary = sample();
        summary.parts.drain(..1);
        summary.parts[0].start_ns = 3_600 * SECOND + 1_500_000;
        let start = |summary: &Summary| {
            let start = &read(summary)["tracks"]["children"][0]["children"][0]["source_range"]["start_time"];
            (start["value"].as_f64().unwrap(), start["rate"].as_f64().unwrap())
        };
        summary.frame_rate = FrameRate { numerator: 24_000, denominator: 1_001 };
        assert_eq!(start(&summary), (86_314.0, 24_000.0 / 1_001.0));
        summary.frame_rate = FrameRate { numerator: 0, denominator: 1 };
        assert_eq!(start(&summary), (3_600_002.0, 1_000.0));
    }

    #[test]
    fn the_media_begins_at_its_timecode() {
        let mut summary = sample();
        summary.timecode = Some("10:00:00:00".parse().unwrap());
        let clip = &read(&summary)["tracks"]["children"][0]["children"][0];
        let start = |range: &Value| range["start_time"]["value"].as_f64().unwrap();
        let media = &clip["media_references"]["DEFAULT_MEDIA"]["available_range"];
        assert_eq!((start(media), media["duration"]["value"].as_f64()), (900_000.0, Some(250.0)));
        assert_eq!((start(&clip["source_range"]), start(&clip["markers"][0]["marked_range"])), (900_050.0, 900_050.0));
    }

    #[test]
    fn nothing_scored_and_an_empty_skim_are_still_a_timeline() {
        let mut summary = sample();
        summary.segments.clear();
        let clip = &read(&summary)["tracks"]["children"][0]["children"][0];
        assert_eq!((&clip["markers"], &clip["metadata"]["desumnet"]["importance"]), (&json!([]), &Value::Null));
        summary.parts.clear();
        assert_eq!(read(&summary)["tracks"]["children"][0]["children"], json!([]));
    }
}
