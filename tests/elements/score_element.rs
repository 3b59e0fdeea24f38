//! `desumnet` on recordings: what comes out of the source pad, and with which scores.

use desumnet_engine::{
    Request,
    importance::{Aggregation, Form},
};
use desumnet_frames::segmenter::Stride;
use gst::prelude::*;
use gstdesumnet::meta::{Flags, ImportanceMeta};
use test_support::scoring::*;

/// Pushes these through an element with these properties; what comes out.
fn run(info: &gst_video::VideoInfo, properties: &[(&str, &str)], pictures: &[gst::Buffer]) -> Vec<gst::Buffer> {
    let mut rig = Rig::new(info, properties);
    rig.push(pictures);
    rig.finish_buffers()
}

#[test]
fn every_frame_comes_out_once_with_the_meta_of_its_own_segment() {
    let info = usual_info();
    for (count, last_segment) in [(47, (2, 15)), (48, (2, 16)), (49, (3, 1))] {
        let pictures = pictures(&info, 0..count);
        let expected = expected(&info, &pictures);
        let out = run(&info, &[], &pictures);
        assert_marked(&out, &pictures, &expected);
        let last = expected.last().unwrap();
        assert_eq!((last.segment, last.segment_frames), last_segment);
        assert_eq!(last.flags.contains(Flags::PADDED), count != 48);
        assert_eq!((expected[16].segment, expected[16].frame), (1, 0));
        assert_eq!(expected[16].segment_start, Some(SPACING * 16));
        assert_eq!(expected[16].segment_duration, SPACING * 16);
    }
}

#[test]
fn frame_scores_differ_within_a_segment_and_segment_scores_between() {
    // Guards the comparisons of this file against scores that are all the same.
    let info = usual_info();
    let metas = expected(&info, &pictures(&info, 0..48));
    assert!(metas[..16].windows(2).all(|pair| pair[0].frame_score != pair[1].frame_score));
    assert!(metas[0].segment_score != metas[16].segment_score && metas[16].segment_score != metas[32].segment_score);
    assert!(metas.iter().all(|meta| meta.segment_score > 0.0 && meta.confidence > 0.0 && meta.confidence < 1.0));
}

#[test]
fn one_message_a_segment_is_posted_where_asked_for() {
    let info = usual_info();
    let pictures = pictures(&info, 0..33);
    let expected = expected(&info, &pictures);
    let mut rig = Rig::new(&info, &[("post-messages", "true")]);
    rig.push(&pictures);
    rig.finish();
    let messages = rig.segment_messages();
    assert_eq!(messages.len(), 3);
    for (number, message) in messages.iter().enumerate() {
        let metas: Vec<_> = expected.iter().filter(|meta| meta.segment == number as u64).collect();
        let meta = metas[0];
        assert_eq!(message.name(), "desumnet-segment");
        assert_eq!(message.get::<u64>("segment").unwrap(), meta.segment);
        assert_eq!(message.get::<Option<gst::ClockTime>>("start").unwrap(), meta.segment_start);
        assert_eq!(message.get::<Option<gst::ClockTime>>("running-time").unwrap(), meta.segment_start);
        assert_eq!(message.get::<gst::ClockTime>("duration").unwrap(), meta.segment_duration);
        assert_eq!(message.get::<u32>("frames").unwrap(), meta.segment_frames);
        assert_eq!(message.get::<f64>("score").unwrap(), meta.segment_score);
        assert_eq!(message.get::<f64>("importance").unwrap(), meta.importance);
        assert_eq!(message.get::<&str>("category").unwrap(), meta.category);
        assert_eq!(message.get::<f64>("confidence").unwrap(), meta.confidence);
        assert_eq!(message.get::<Flags>("flags").unwrap(), meta.flags);
        let scores = message.get::<gst::Array>("frame-scores").unwrap();
        let scores: Vec<f64> = scores.iter().map(|score| score.get().unwrap()).collect();
        assert_eq!(scores.len(), 16);
        assert!(metas.iter().all(|meta| meta.frame_score == scores[meta.frame as usize]));
    }

    let mut quiet = Rig::new(&info, &[]);
    quiet.push(&pictures);
    quiet.finish();
    assert!(quiet.segment_messages().is_empty());
}

#[test]
fn irregular_timestamps_without_a_frame_rate_are_kept() {
    let info = info(gst_video::VideoFormat::I420, 64, 48, (0, 1));
    let mut time = gst::ClockTime::ZERO;
    let pictures: Vec<_> = (0..40)
        .map(|number| {
            time += gst::ClockTime::from_mseconds([17, 40, 100, 3][number % 4]);
            picture(&info, number, Some(time))
        })
        .collect();
    let expected = expected(&info, &pictures);
    assert_marked(&run(&info, &[], &pictures), &pictures, &expected);
    assert_eq!(expected[16].segment_start, pictures[16].pts());
    // From 17 ms to 640 ms, and the last frame's own 40 ms.
    assert_eq!(expected[0].segment_duration, gst::ClockTime::from_mseconds(663));
}

#[test]
fn sixty_frames_a_second_are_scored_by_every_second_frame() {
    let info = info(gst_video::VideoFormat::Rgb, 64, 48, (60, 1));
    let time = |number: u64| gst::ClockTime::from_nseconds(number * 1_000_000_000 / 60);
    let pictures: Vec<_> = (0..80).map(|number| picture(&info, number, Some(time(number as u64)))).collect();
    let expected = expected(&info, &pictures);
    let out = run(&info, &[], &pictures);
    assert_marked(&out, &pictures, &expected);
    let metas = metas(&out);
    assert_eq!((metas[31].segment, metas[31].frame, metas[32].segment, metas[79].segment), (0, 31, 1, 2));
    assert_eq!(metas[6].frame_score, metas[7].frame_score);
    assert_ne!(metas[7].frame_score, metas[8].frame_score);
    assert!(metas[79].flags.contains(Flags::PADDED));
}

#[test]
fn explicit_frame_stride_makes_longer_segments() {
    let info = usual_info();
    let pictures = pictures(&info, 0..100);
    let expected = Reference::new(request(), Stride::Every(3)).metas(&info, &pictures);
    let out = run(&info, &[("frame-stride", "3")], &pictures);
    assert_marked(&out, &pictures, &expected);
    assert_eq!((expected[47].segment, expected[48].segment, expected[99].segment), (0, 1, 2));
}

#[test]
fn buffers_without_timestamps_are_scored_and_stay_without() {
    let info = usual_info();
    let pictures: Vec<_> = (0..20).map(|number| picture(&info, number, None)).collect();
    let expected = expected(&info, &pictures);
    let out = run(&info, &[], &pictures);
    assert_marked(&out, &pictures, &expected);
    assert_eq!((out[0].pts(), metas(&out)[0].segment_start), (None, None));
    assert_eq!(metas(&out)[0].segment_duration, SPACING * 16);
}

#[test]
fn picture_is_not_copied() {
    let info = usual_info();
    let pictures = pictures(&info, 0..16);
    let memory = |buffers: &[gst::Buffer]| -> Vec<_> { buffers.iter().map(|b| b.peek_memory(0).as_ptr()).collect() };
    let out = run(&info, &[], &pictures);
    assert_eq!(memory(&out), memory(&pictures));
}

#[test]
fn new_caps_end_the_segment_and_later_frames_are_scored_with_them() {
    let (before, after) = (usual_info(), info(gst_video::VideoFormat::I420, 160, 90, (25, 1)));
    let (old, new) = (pictures(&before, 0..20), pictures(&after, 20..44));
    let mut reference = Reference::new(request(), Stride::Auto);
    let mut expected = reference.metas(&before, &old);
    expected.extend(reference.metas(&after, &new));
    let mut rig = Rig::new(&before, &[]);
    rig.push(&old);
    rig.push_event(gst::event::Caps::new(&after.to_caps().unwrap()));
    rig.push(&new);
    let out = rig.finish();
    assert_marked(&buffers_of(&out), &[old, new].concat(), &expected);
    let is_new_caps = |item: &Out| matches!(item, Out::Event(event) if matches!(event.view(), gst::EventView::Caps(caps) if caps.caps() == after.to_caps().unwrap().as_ref()));
    let place = out.iter().position(is_new_caps).unwrap();
    assert_eq!(buffers_of(&out[..place]).len(), 20);
    assert_eq!((expected[19].segment, expected[19].segment_frames, expected[20].segment), (1, 4, 2));
}

#[test]
fn gap_ends_the_segment_and_comes_out_after_its_frames() {
    let info = usual_info();
    let (before, after) = (pictures(&info, 0..10), pictures(&info, 15..31));
    let mut reference = Reference::new(request(), Stride::Auto);
    let mut expected = reference.metas(&info, &before);
    expected.extend(reference.metas(&info, &after));
    let mut rig = Rig::new(&info, &[]);
    rig.push(&before);
    rig.push_event(gst::event::Gap::builder(SPACING * 10).duration(SPACING * 5).build());
    rig.push(&after);
    let out = rig.finish();
    assert_marked(&buffers_of(&out), &[before, after].concat(), &expected);
    let place = out.iter().position(|item| matches!(item, Out::Event(e) if e.type_() == gst::EventType::Gap)).unwrap();
    assert_eq!(buffers_of(&out[..place]).len(), 10);
}

#[test]
fn jump_in_time_ends_the_segment() {
    let info = usual_info();
    let (before, after) = (pictures(&info, 0..10), pictures(&info, 100..110));
    let mut rig = Rig::new(&info, &[]);
    rig.push(&before);
    rig.push(&after);
    let metas = metas(&rig.finish_buffers());
    let got: Vec<_> = metas.iter().map(|m| (m.segment, m.segment_frames, m.segment_start)).collect();
    let expected = [[(0, 10, Some(gst::ClockTime::ZERO)); 10], [(1, 10, Some(SPACING * 100)); 10]].concat();
    assert_eq!(got, expected);
}

#[test]
fn serialized_events_keep_their_places_and_leave_the_segment_whole() {
    let info = usual_info();
    let pictures = pictures(&info, 0..16);
    let mut rig = Rig::new(&info, &[]);
    for (number, picture) in pictures.iter().enumerate() {
        if number % 5 == 3 {
            let structure = gst::Structure::builder("mark").field("before", number as u64).build();
            rig.push_event(gst::event::CustomDownstream::new(structure));
        }
        rig.push(std::slice::from_ref(picture));
    }
    let out = rig.finish();
    let mut frames = 0;
    let mut marks = Vec::new();
    for item in &out {
        match item {
            Out::Buffer(_) => frames += 1,
            Out::Event(event) => {
                let mark = event.structure().filter(|s| s.name() == "mark");
                marks.extend(mark.map(|mark| (mark.get::<u64>("before").unwrap(), frames)));
            }
        }
    }
    assert_eq!(marks, [(3, 3), (8, 8), (13, 13)]);
    assert_marked(&buffers_of(&out), &pictures, &expected(&info, &pictures));
}

/// Flushes, and begins a new segment as a seek does.
fn flush(rig: &mut Rig) {
    rig.push_event(gst::event::FlushStart::new());
    rig.push_event(gst::event::FlushStop::new(true));
    rig.push_event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new()));
}

#[test]
fn flush_drops_the_open_segment_and_starts_afresh() {
    let info = usual_info();
    let (before, after) = (pictures(&info, 0..25), pictures(&info, 100..120));
    let mut rig = Rig::new(&info, &[("category", "cooking")]);
    rig.push(&before);
    // Whether a shot starts with a frame is known 16 frames later.
    let scored = rig.buffers(9);
    flush(&mut rig);
    rig.push(&after);
    let out = rig.finish_buffers();
    let mut reference = Reference::new(request_for("cooking"), Stride::Auto);
    assert_marked(&scored, &before[..9], &reference.metas(&info, &before[..16])[..9]);
    // The dropped segment had number 1.
    let mut expected = reference.metas(&info, &after);
    expected.iter_mut().for_each(|meta| meta.segment += 1);
    assert_marked(&out, &after, &expected);
}

#[test]
fn flush_frees_upstream_from_waiting_for_the_engine() {
    let info = usual_info();
    let mut busy = BusyEngine::default();
    let mut rig = Rig::new(&info, &[("model", busy.model())]);
    rig.push(&pictures(&info, 0..31));
    let pad = rig.harness.srcpad().unwrap();
    let blocked = picture(&info, 31, Some(SPACING * 31));
    let upstream = {
        let pad = pad.clone();
        std::thread::spawn(move || pad.push(blocked))
    };
    assert!(pad.push_event(gst::event::FlushStart::new()));
    assert_eq!(upstream.join().unwrap(), Err(gst::FlowError::Flushing));
    busy.release();
    assert!(pad.push_event(gst::event::FlushStop::new(true)));
    rig.push_event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new()));
    let after = pictures(&info, 50..66);
    rig.push(&after);
    let places: Vec<_> = metas(&rig.finish_buffers()).iter().map(|meta| (meta.segment_start, meta.frame)).collect();
    assert_eq!(places, (0..16).map(|frame| (Some(SPACING * 50), frame)).collect::<Vec<_>>());
}

#[test]
fn flush_keeps_caps_that_had_not_gone_on() {
    let (before, after) = (usual_info(), info(gst_video::VideoFormat::I420, 160, 90, (25, 1)));
    // The new caps wait behind the frames.
    let mut busy = BusyEngine::default();
    let mut rig = Rig::new(&before, &[("model", busy.model())]);
    rig.push(&pictures(&before, 0..3));
    rig.push_event(gst::event::Caps::new(&after.to_caps().unwrap()));
    flush(&mut rig);
    busy.release();
    let frames = pictures(&after, 50..66);
    rig.push(&frames);
    let out = rig.finish_buffers();
    assert_eq!(out.len(), 16);
    let caps = rig.element.static_pad("src").unwrap().current_caps().unwrap();
    assert_eq!(caps, after.to_caps().unwrap());
}

/// Begins another stream, or the same one again.
fn start_stream(rig: &mut Rig, id: &str, info: &gst_video::VideoInfo) {
    rig.push_event(gst::event::StreamStart::new(id));
    rig.push_event(gst::event::Caps::new(&info.to_caps().unwrap()));
    rig.push_event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new()));
}

#[test]
fn category_and_ranks_begin_anew_with_another_stream_and_go_on_after_a_seek() {
    let info = usual_info();
    let parts = [0..40, 100..140, 200..240, 300..340].map(|numbers| pictures(&info, numbers));
    let mut rig = Rig::new(&info, &[]);
    start_stream(&mut rig, "a", &info);
    rig.push(&parts[0]);
    start_stream(&mut rig, "b", &info);
    rig.push(&parts[1]);
    start_stream(&mut rig, "b", &info);
    rig.push(&parts[2]);
    let mut out = rig.finish_buffers();
    flush(&mut rig);
    rig.push(&parts[3]);
    out.extend(rig.finish_buffers());

    let expected = expected(&info, &parts[0]);
    let mut reference = Reference::new(request(), Stride::Auto);
    let of_second = parts[1..].iter().map(|part| reference.metas(&info, part));
    let scores = |meta: &ImportanceMeta| {
        (meta.segment_score, meta.frame_score, meta.importance, meta.category.clone(), meta.confidence)
    };
    let expected: Vec<_> = expected.into_iter().chain(of_second.flatten()).collect();
    let metas = metas(&out);
    assert_eq!(metas.iter().map(scores).collect::<Vec<_>>(), expected.iter().map(scores).collect::<Vec<_>>());
    // Segments and shots are numbered since the element started.
    let numbers: Vec<_> = metas.iter().step_by(40).map(|meta| (meta.segment, meta.shot_start)).collect();
    assert_eq!(numbers, [(0, true), (3, true), (6, true), (9, true)]);
    // Guards the above against streams that are scored alike anyway.
    assert_ne!(scores(&metas[40]), scores(&Reference::new(request(), Stride::Auto).metas(&info, &parts.concat())[40]));
}

#[test]
fn interval_counts_from_where_a_stream_begins() {
    let info = usual_info();
    let mut rig = Rig::new(&info, &[("interval", "3")]);
    rig.push(&pictures(&info, 0..80));
    let mut out = rig.finish_buffers();
    flush(&mut rig);
    rig.push(&pictures(&info, 100..164));
    start_stream(&mut rig, "another", &info);
    rig.push(&pictures(&info, 200..232));
    out.extend(rig.finish_buffers());
    let own: Vec<bool> = metas(&out).iter().step_by(16).map(|meta| !meta.flags.contains(Flags::CARRIED)).collect();
    let (yes, no) = (true, false);
    assert_eq!(own, [[yes, no, no, yes, no].as_slice(), &[yes, no, no, yes], &[yes, no]].concat());
}

#[test]
fn frames_that_make_no_clips_pass_untouched() {
    let info = usual_info();
    let pictures = pictures(&info, 0..20);
    let pointers = |buffers: &[gst::Buffer]| buffers.iter().map(|buffer| buffer.as_ptr()).collect::<Vec<_>>();
    for (rate, flags) in [
        (-1.0, gst::SegmentFlags::empty()),
        (-8.0, gst::SegmentFlags::TRICKMODE),
        (4.0, gst::SegmentFlags::TRICKMODE_KEY_UNITS),
        (4.0, gst::SegmentFlags::TRICKMODE_FORWARD_PREDICTED),
    ] {
        for mode in ["annotate", "observe"] {
            let mut rig = Rig::new(&info, &[("mode", mode), ("post-messages", "true")]);
            rig.push(&pictures[..10]);
            let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
            segment.set_rate(rate);
            segment.set_flags(flags);
            rig.push_event(gst::event::Segment::new(&segment));
            let passing: Vec<_> = pictures.iter().rev().cloned().collect();
            rig.push(&passing);
            let out = rig.finish_buffers();
            assert_eq!(pointers(&out[10..]), pointers(&passing), "{rate} {flags:?} {mode}");
            assert!(out[10..].iter().all(|buffer| ImportanceMeta::of(buffer).is_none()));
            assert_eq!(rig.segment_messages().len(), 1);
        }
    }
    // Faster, all of them come, and are scored.
    let mut rig = Rig::new(&info, &[]);
    let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
    segment.set_rate(2.0);
    rig.push_event(gst::event::Segment::new(&segment));
    rig.push(&pictures);
    assert_marked(&rig.finish_buffers(), &pictures, &expected(&info, &pictures));
}

#[test]
fn what_is_set_while_it_runs_counts_from_the_next_start_on() {
    let info = usual_info();
    let pictures = pictures(&info, 0..20);
    let expected = expected(&info, &pictures);
    let mut rig = Rig::new(&info, &[]);
    rig.push(&pictures[..10]);
    for (name, value) in [("mode", "observe"), ("frame-stride", "3"), ("interval", "7"), ("map", "true")] {
        rig.element.set_property_from_str(name, value);
    }
    rig.push(&pictures[10..]);
    assert_marked(&rig.finish_buffers(), &pictures, &expected);
    rig.bus.set_flushing(true);
    assert_eq!(rig.element.property::<u32>("interval"), 7);
    let element = rig.element.clone();
    drop(rig);
    let mut rig = Rig::around(element, &info, false);
    rig.push(&pictures);
    assert!(rig.finish_buffers().iter().all(|buffer| ImportanceMeta::of(buffer).is_none()));
    rig.bus.set_flushing(true);
}

#[test]
fn caps_that_can_not_be_scored_let_no_buffer_in() {
    let info = usual_info();
    let mut rig = Rig::new(&info, &[]);
    rig.push(&pictures(&info, 0..3));
    let small = self::info(gst_video::VideoFormat::Rgb, 1, 1, (25, 1));
    rig.harness.push_event(gst::event::Caps::new(&small.to_caps().unwrap()));
    assert_eq!(rig.harness.push(picture(&small, 3, None)), Err(gst::FlowError::NotNegotiated));
    assert!(rig.bus.pop_filtered(&[gst::MessageType::Error]).is_some());
    rig.push_event(gst::event::Caps::new(&info.to_caps().unwrap()));
    rig.push(&pictures(&info, 3..6));
    assert_eq!(rig.finish_buffers().len(), 6);
}

#[test]
fn states_change_in_any_order() {
    use gst::State::{Null, Paused, Playing, Ready};
    let element = desumnet(&[]);
    for state in [Ready, Null, Paused, Null, Playing, Ready, Paused, Playing, Paused, Ready, Playing, Null, Null] {
        element.set_state(state).unwrap();
        assert_eq!(element.current_state(), state);
    }
}

#[test]
fn stopping_within_a_segment_does_not_hang() {
    let info = usual_info();
    let mut rig = Rig::new(&info, &[]);
    rig.push(&pictures(&info, 0..23));
    rig.element.set_state(gst::State::Null).unwrap();
    assert_eq!(rig.harness.push(picture(&info, 23, None)), Err(gst::FlowError::Flushing));
}

#[test]
fn stopping_while_the_engine_is_busy_does_not_hang() {
    let info = usual_info();
    let busy = BusyEngine::default();
    let mut rig = Rig::new(&info, &[("model", busy.model())]);
    rig.push(&pictures(&info, 0..31));
    // The frame that ends the second segment makes upstream wait for the engine.
    let mut harness = rig.harness;
    let upstream = std::thread::spawn(move || harness.push(picture(&info, 31, Some(SPACING * 31))));
    rig.element.set_state(gst::State::Null).unwrap();
    assert_eq!(upstream.join().unwrap(), Err(gst::FlowError::Flushing));
}

#[test]
fn element_used_again_gives_the_same_scores() {
    let info = usual_info();
    let pictures = pictures(&info, 0..40);
    let expected = expected(&info, &pictures);
    let element = desumnet(&[]);
    for _ in 0..3 {
        let mut rig = Rig::around(element.clone(), &info, false);
        rig.push(&pictures);
        assert_marked(&rig.finish_buffers(), &pictures, &expected);
        assert_eq!(rig.stat("segments"), 3);
        // Messages hold references; freeing the last with the bus of an element would lock it twice.
        rig.bus.set_flushing(true);
    }
}

#[test]
fn interval_carries_the_last_score_on() {
    let info = usual_info();
    let pictures = pictures(&info, 0..5 * 16);
    let mut rig = Rig::new(&info, &[("interval", "3"), ("category", "sailing")]);
    rig.push(&pictures);
    let metas = metas(&rig.finish_buffers());
    let mut reference = Reference::new(request_for("sailing"), Stride::Auto);
    let scored = [&pictures[..16], &pictures[48..64]].map(|segment| reference.metas(&info, segment));
    for (number, meta) in metas.iter().enumerate() {
        let segment = number / 16;
        let source = &scored[segment / 3];
        assert_eq!((meta.segment, meta.segment_frames), (segment as u64, 16));
        assert_eq!(meta.segment_start, Some(SPACING * 16 * segment as u64));
        assert_eq!(meta.segment_score, source[0].segment_score);
        assert_eq!((meta.importance, meta.confidence), (source[0].importance, source[0].confidence));
        assert_eq!(meta.category, "sailing");
        if segment % 3 == 0 {
            assert_eq!((meta.flags, meta.frame_score), (Flags::empty(), source[number % 16].frame_score));
        } else {
            assert_eq!((meta.flags, meta.frame_score), (Flags::CARRIED, meta.segment_score));
        }
    }
    assert_eq!((rig.stat("segments"), rig.stat("late"), rig.stat("failed")), (5, 0, 0));
    assert!(rig.stat("mean-inference-time") > 0);
    assert!(rig.stat("worst-inference-time") >= rig.stat("mean-inference-time"));
}

#[test]
fn settings_change_the_scores_as_they_should() {
    let info = usual_info();
    let pictures = pictures(&info, 0..20);
    let jumping = || request_for("jumping");
    let mut segment_scores = Vec::new();
    for (property, value, request) in [
        ("aggregation", "mean", jumping()),
        ("aggregation", "max", Request { aggregation: Aggregation::Max, ..jumping() }),
        ("importance", "logit", Request { form: Form::Logit, ..jumping() }),
        ("importance", "probability", Request { form: Form::Probability, ..jumping() }),
        ("category", "cooking", request_for("cooking")),
        ("category", "sailing", request_for("sailing")),
    ] {
        let expected = Reference::new(request, Stride::Auto).metas(&info, &pictures);
        let out = run(&info, &[("category", "jumping"), (property, value)], &pictures);
        assert_marked(&out, &pictures, &expected);
        segment_scores.push(expected[0].segment_score);
    }
    for (i, score) in segment_scores.iter().enumerate() {
        assert!(!segment_scores[..i].contains(score), "setting {i} changes nothing: {segment_scores:?}");
    }
}

#[test]
fn damaged_buffer_passes_with_one_warning() {
    let info = usual_info();
    let mut pictures = pictures(&info, 0..20);
    for number in [3, 17] {
        let mut short = gst::Buffer::with_size(100).unwrap();
        let fields = short.get_mut().unwrap();
        fields.set_pts(pictures[number].pts());
        pictures[number] = short;
    }
    let mut rig = Rig::new(&info, &[]);
    rig.push(&pictures);
    let out = rig.finish_buffers();
    let sizes = |buffers: &[gst::Buffer]| buffers.iter().map(|b| (b.pts(), b.size())).collect::<Vec<_>>();
    assert_eq!(sizes(&out), sizes(&pictures));
    assert!(metas(&out).iter().all(|meta| meta.segment_score > 0.0));
    let warnings: Vec<_> = std::iter::from_fn(|| rig.bus.pop_filtered(&[gst::MessageType::Warning])).collect();
    assert_eq!(warnings.len(), 1);
    let gst::MessageView::Warning(warning) = warnings[0].view() else { unreachable!() };
    let text = warning.error().to_string();
    assert!(text.contains("RGB 64x48") && text.contains("damaged"), "{text}");
}
