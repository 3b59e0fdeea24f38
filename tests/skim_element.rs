//! `desumskim` on buffers whose importance the test sets itself: exact output times and counts.

mod common;

use gst::prelude::*;
use gstdesumnet::meta::{Flags, ImportanceMeta};

/// 25 frames a second.
const FRAME: gst::ClockTime = gst::ClockTime::from_mseconds(40);

fn harness(properties: &str) -> gst_check::Harness {
    common::init();
    let mut harness = gst_check::Harness::new_parse(&format!("desumskim {properties}"));
    harness.set_src_caps_str("video/x-raw,format=GRAY8,width=8,height=8,framerate=25/1");
    harness
}

/// Frame `number` of a stream of 16-frame segments, whose segments have these importances.
fn frame(number: u64, importance: &[f64], flags: Flags) -> gst::Buffer {
    let segment = number / 16;
    let mut buffer = gst::Buffer::with_size(64).unwrap();
    let inner = buffer.get_mut().unwrap();
    inner.set_pts(FRAME * number);
    inner.set_duration(FRAME);
    let meta = ImportanceMeta {
        segment,
        segment_start: Some(FRAME * (segment * 16)),
        segment_duration: FRAME * 16,
        segment_frames: 16,
        frame: (number % 16) as u32,
        frame_score: 1.0,
        segment_score: 1.0,
        importance: importance[segment as usize],
        category: "sailing".into(),
        confidence: 0.9,
        flags,
    };
    meta.add(inner).unwrap();
    buffer
}

/// Numbers of the frames that come out, by their bytes, and checks that they follow each other 40 ms apart.
fn run(harness: &mut gst_check::Harness, importance: &[f64]) -> Vec<u64> {
    let mut kept = Vec::new();
    for number in 0..importance.len() as u64 * 16 {
        let mut buffer = frame(number, importance, Flags::empty());
        buffer.get_mut().unwrap().map_writable().unwrap()[..8].copy_from_slice(&number.to_le_bytes());
        harness.push(buffer).unwrap();
        while let Some(out) = harness.try_pull() {
            assert_eq!(out.pts(), Some(FRAME * kept.len() as u64), "input frame {number}");
            kept.push(u64::from_le_bytes(out.map_readable().unwrap()[..8].try_into().unwrap()));
        }
    }
    kept
}

fn messages(bus: &gst::Bus) -> Vec<String> {
    bus.iter_filtered(&[gst::MessageType::Element, gst::MessageType::Warning])
        .map(|message| match message.view() {
            gst::MessageView::Element(element) => element.structure().unwrap().to_string(),
            _ => "warning".into(),
        })
        .collect()
}

#[test]
fn skim_keeps_whole_segments_and_closes_the_gaps() {
    let mut harness = harness("mode=skim ratio=0.5");
    let bus = gst::Bus::new();
    harness.element().unwrap().set_bus(Some(&bus));
    // 0: due. 1: 1 of 1 kept, half of 2 allowed: budget spent, 0.9 is not enough. 2: below 3/4 of half of 3: due.
    let kept = run(&mut harness, &[0.2, 0.9, 0.1, 0.2, 0.99]);
    let segments: Vec<u64> = kept.iter().step_by(16).map(|frame| frame / 16).collect();
    assert_eq!(segments, [0, 2, 4]);
    let whole: Vec<u64> = segments.iter().flat_map(|s| s * 16..(s + 1) * 16).collect();
    assert_eq!(kept, whole);
    harness.push_event(gst::event::Eos::new());
    let said = messages(&bus);
    let names: Vec<&str> = said.iter().map(|text| text.split(',').next().unwrap()).collect();
    assert_eq!(names, ["clip-start", "clip-end", "clip-start", "clip-end", "clip-start", "clip-end"]);
    assert!(said[2].contains("start=(guint64)1280000000, output-start=(guint64)640000000"), "{}", said[2]);
    assert!(said[3].contains("end=(guint64)1920000000") && said[3].contains("reason=(string)due"), "{}", said[3]);
    assert!(
        said[4].contains("reason=(string)important") && said[4].contains("importance=(double)0.98999"),
        "{}",
        said[4]
    );
}

#[test]
fn time_lapse_spreads_its_frames_and_lasts_an_eighth() {
    let mut harness = harness("mode=timelapse speed=8");
    let kept = run(&mut harness, &[0.5; 10]);
    let expected: Vec<u64> = (0..20).map(|i| i * 8).collect();
    assert_eq!(kept, expected);
}

#[test]
fn time_lapse_is_slower_where_it_matters() {
    let mut harness = harness("mode=timelapse speed=4");
    let importance: Vec<f64> = (0..20).map(|i| if i < 10 { 0.2 } else { 0.8 }).collect();
    let kept = run(&mut harness, &importance);
    let late = kept.iter().filter(|&&frame| frame >= 160).count();
    // Even shares are 4 frames; 0.2 gets 1.6 and 0.8 gets 6.4, both a little more while the first half is paid back.
    assert_eq!((kept.len(), late), (90, 65));
}

#[test]
fn uneven_frame_times_are_kept_within_a_clip_and_joined_at_the_cut() {
    let mut harness = harness("mode=skim ratio=0.5");
    let mut times = Vec::new();
    for number in 0..48u64 {
        let mut buffer = frame(number, &[0.5, 0.1, 0.5], Flags::empty());
        // Every frame lasts 30 or 50 ms.
        let pts = gst::ClockTime::from_mseconds(number * 40 + if number % 2 == 1 { 10 } else { 0 });
        buffer.get_mut().unwrap().set_pts(pts);
        harness.push(buffer).unwrap();
        times.extend(std::iter::from_fn(|| harness.try_pull()).map(|out| out.pts().unwrap().mseconds()));
    }
    // Segments 0 and 2; segment 1 begins at 640.
    let expected: Vec<u64> = (0..32).map(|i| i * 40 + if i % 2 == 1 { 10 } else { 0 }).collect();
    assert_eq!(times, expected);
}

#[test]
fn buffers_without_importance_pass_with_one_warning() {
    for mode in ["skim", "timelapse"] {
        let mut harness = harness(&format!("mode={mode}"));
        let bus = gst::Bus::new();
        harness.element().unwrap().set_bus(Some(&bus));
        for number in 0..20u64 {
            let mut buffer = gst::Buffer::with_size(64).unwrap();
            buffer.get_mut().unwrap().set_pts(FRAME * number);
            buffer.get_mut().unwrap().set_duration(FRAME);
            harness.push(buffer).unwrap();
            assert_eq!(harness.pull().unwrap().pts(), Some(FRAME * number), "{mode}");
        }
        assert_eq!(messages(&bus), ["warning"]);
    }
}

#[test]
fn frames_that_could_not_be_scored_are_not_lost() {
    let mut harness = harness("mode=skim ratio=0.1");
    for number in 0..64 {
        harness.push(frame(number, &[0.0; 4], Flags::UNSCORED | Flags::FAILED)).unwrap();
        assert_eq!(harness.pull().unwrap().pts(), Some(FRAME * number));
    }
}

#[test]
fn output_starts_where_the_input_did_and_starts_afresh_after_a_flush() {
    let mut harness = harness("mode=timelapse speed=16");
    let first = |harness: &mut gst_check::Harness| {
        for number in 32..64 {
            harness.push(frame(number, &[0.5; 4], Flags::empty())).unwrap();
        }
        std::iter::from_fn(|| harness.try_pull()).map(|b| b.pts().unwrap() / FRAME.nseconds()).collect::<Vec<_>>()
    };
    let expected: Vec<gst::ClockTime> = [32, 33].map(gst::ClockTime::from_nseconds).into();
    assert_eq!(first(&mut harness), expected);
    harness.push_event(gst::event::FlushStart::new());
    harness.push_event(gst::event::FlushStop::new(true));
    harness.push_event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new()));
    assert_eq!(first(&mut harness), expected);
}

#[test]
fn the_element_adds_no_latency() {
    let mut harness = harness("mode=skim");
    harness.set_upstream_latency(FRAME);
    harness.push(frame(0, &[0.5], Flags::empty())).unwrap();
    assert_eq!(harness.query_latency(), Some(FRAME));
}

#[test]
fn quality_of_service_events_end_here() {
    let mut harness = harness("mode=skim");
    harness.push(frame(0, &[0.5], Flags::empty())).unwrap();
    let qos = gst::event::Qos::builder(gst::QOSType::Underflow, 2.0, 100).build();
    assert!(harness.push_upstream_event(qos));
    let seen = std::iter::from_fn(|| harness.try_pull_upstream_event()).map(|e| e.type_()).collect::<Vec<_>>();
    assert!(!seen.contains(&gst::EventType::Qos), "{seen:?}");
}
