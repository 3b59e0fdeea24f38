//! Real recordings, odd ones among them: every frame is scored once, and the skim is as long as asked, without holes.
//!
//! The recordings are not part of the repository; where they are not there, rendered clips stand in.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use desumnet_media::decode::uri_of;
use gst::prelude::*;
use gstdesumnet::meta::ImportanceMeta;

const RATIO: f64 = 0.2;
/// Longest clip, ns: what the skim may be overspent by.
const CLIP: u64 = 4_000_000_000;

fn recordings(folder: &Path) -> Vec<PathBuf> {
    let real = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/long");
    if let Ok(entries) = std::fs::read_dir(real) {
        return entries.map(|entry| entry.unwrap().path()).collect();
    }
    // 12 seconds steady, and 10 with every third frame missing.
    let (steady, uneven) = (folder.join("steady.mp4"), folder.join("uneven.mp4"));
    test_support::render(&steady, "ball", 300);
    test_support::launch(&format!(
        "videotestsrc pattern=smpte num-buffers=300 ! video/x-raw,framerate=30/1 ! identity drop-probability=0.33 \
         ! x264enc speed-preset=ultrafast ! mp4mux ! filesink location={}",
        uneven.display()
    ));
    vec![steady, uneven]
}

/// Times and, behind the scorer, metas of the buffers that pass a pad.
type Seen = Arc<Mutex<Vec<(gst::ClockTime, gst::ClockTime, Option<ImportanceMeta>)>>>;

fn record(pad: &gst::Pad) -> Seen {
    let seen = Seen::default();
    let record = seen.clone();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let buffer = info.buffer().unwrap();
        let duration = buffer.duration().unwrap_or_default();
        record.lock().unwrap().push((buffer.pts().unwrap(), duration, ImportanceMeta::of(buffer)));
        gst::PadProbeReturn::Ok
    });
    seen
}

#[test]
fn recordings_are_scored_whole_and_skimmed_to_length() {
    test_support::init();
    let folder = tempfile::tempdir().unwrap();
    let model = test_support::tiny_model(folder.path());
    // Every fourth segment is scored: how long the skim is does not depend on it, how long the test takes does.
    for video in recordings(folder.path()) {
        let name = video.file_name().unwrap().to_string_lossy().into_owned();
        let pipeline = gst::parse::launch(&format!(
            "uridecodebin uri={} ! videoconvert ! desumnet name=score model={} interval=4 \
             ! desumskim name=skim mode=skim ratio={RATIO} max-clip={CLIP} ! fakesink",
            uri_of(&video.to_string_lossy()).unwrap(),
            model.display()
        ))
        .unwrap()
        .downcast::<gst::Pipeline>()
        .unwrap();
        let pad = |element: &str, pad: &str| pipeline.by_name(element).unwrap().static_pad(pad).unwrap();
        let (before, scored, kept) =
            (record(&pad("score", "sink")), record(&pad("score", "src")), record(&pad("skim", "src")));
        pipeline.set_state(gst::State::Playing).unwrap();
        let end = [gst::MessageType::Eos, gst::MessageType::Error];
        let message = pipeline.bus().unwrap().timed_pop_filtered(gst::ClockTime::NONE, &end).unwrap();
        assert_eq!(message.type_(), gst::MessageType::Eos, "{name}: {message:?}");
        pipeline.set_state(gst::State::Null).unwrap();
        let (before, scored, kept) = (before.lock().unwrap(), scored.lock().unwrap(), kept.lock().unwrap());

        // Every frame, once, in order, with the meta of its own segment.
        let times = |seen: &[(gst::ClockTime, gst::ClockTime, Option<ImportanceMeta>)]| -> Vec<_> {
            seen.iter().map(|(pts, duration, _)| (*pts, *duration)).collect()
        };
        assert_eq!(times(&before), times(&scored), "{name}");
        let (mut segment, mut frame) = (0, 0);
        for (pts, _, meta) in scored.iter() {
            let meta = meta.as_ref().unwrap();
            if frame > 0 && meta.segment == segment + 1 {
                (segment, frame) = (segment + 1, 0);
            }
            assert_eq!((meta.segment, meta.frame), (segment, frame), "{name} at {pts}");
            assert!(*pts >= meta.segment_start.unwrap(), "{name} at {pts}");
            frame += 1;
        }

        // No hole: no step is longer than the longest in the recording.
        let steps = |seen: &[(gst::ClockTime, gst::ClockTime, Option<ImportanceMeta>)]| -> Vec<u64> {
            seen.windows(2).map(|pair| (pair[1].0 - pair[0].0).nseconds()).collect()
        };
        let longest = *steps(&before).iter().max().unwrap();
        assert!(steps(&kept).iter().all(|&step| step > 0 && step <= longest), "{name}: {:?}", steps(&kept));

        let length = |seen: &[(gst::ClockTime, gst::ClockTime, Option<ImportanceMeta>)]| {
            let (first, last) = (&seen[0], &seen[seen.len() - 1]);
            (last.0 + last.1 - first.0).nseconds() as f64
        };
        let whole = length(&before);
        let skim = length(&kept);
        assert!(skim <= RATIO * whole + CLIP as f64, "{name}: {skim} of {whole}");
    }
}
