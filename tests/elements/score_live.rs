//! `desumnet` in live pipelines and as an observer: latency, late scores, messages.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use desumnet_frames::segmenter::Stride;
use gst::{ClockTime, prelude::*};
use gstdesumnet::meta::{Flags, ImportanceMeta};
use test_support::scoring::*;

/// What the source pad answers: live, least and largest latency.
fn latency(rig: &Rig) -> (bool, ClockTime, Option<ClockTime>) {
    let mut query = gst::query::Latency::new();
    assert!(rig.element.static_pad("src").unwrap().query(&mut query));
    query.result()
}

#[test]
fn live_latency_is_upstreams_and_a_clip_and_the_deadline() {
    let rates = [
        ((25, 1), "0", 16 * 40_000_000),
        ((25, 1), "3", 48 * 40_000_000),
        ((30_000, 1001), "0", 16 * 33_366_666),
        ((60, 1), "0", 32 * 16_666_666),
        // Without a frame rate, 25 a second are assumed.
        ((0, 1), "0", 16 * 40_000_000),
    ];
    for (rate, stride, clip) in rates {
        let info = info(gst_video::VideoFormat::Rgb, 64, 48, rate);
        let mut rig = Rig::live(&info, &[("processing-deadline", "250000000"), ("frame-stride", stride)]);
        rig.harness.set_upstream_latency(ClockTime::from_mseconds(20));
        let expected = ClockTime::from_mseconds(20 + 250) + ClockTime::from_nseconds(clip);
        assert_eq!(latency(&rig), (true, expected, None), "{rate:?} stride {stride}");
    }
}

#[test]
fn observing_and_recordings_add_no_latency() {
    let info = usual_info();
    let mut observer = Rig::live(&info, &[("mode", "observe")]);
    let mut recording = Rig::new(&info, &[]);
    for (rig, live) in [(&mut observer, true), (&mut recording, false)] {
        rig.harness.set_upstream_latency(ClockTime::from_mseconds(20));
        assert_eq!(latency(rig), (live, ClockTime::from_mseconds(20), None));
    }
}

#[test]
fn longest_deadline_does_not_overflow_the_latency() {
    let rig = Rig::live(&usual_info(), &[("processing-deadline", &u64::MAX.to_string())]);
    assert_eq!(latency(&rig), (true, ClockTime::MAX, None));
}

#[test]
fn new_deadline_is_announced_while_playing() {
    let rig = Rig::live(&usual_info(), &[]);
    while rig.bus.pop().is_some() {}
    rig.element.set_property("processing-deadline", 5_000_000u64);
    let message = rig.bus.pop_filtered(&[gst::MessageType::Latency]).unwrap();
    assert_eq!(message.src(), Some(rig.element.upcast_ref()));
    assert_eq!(latency(&rig).1, ClockTime::from_mseconds(640 + 5));
}

#[test]
fn latency_of_new_caps_is_answered_as_soon_as_it_is_announced() {
    let mut rig = Rig::live(&usual_info(), &[("processing-deadline", "0")]);
    let answers = Arc::new(Mutex::new(Vec::new()));
    let (seen, pad) = (answers.clone(), rig.element.static_pad("src").unwrap());
    rig.bus.set_sync_handler(move |_, message| {
        if message.type_() == gst::MessageType::Latency {
            let mut query = gst::query::Latency::new();
            assert!(pad.query(&mut query));
            seen.lock().unwrap().push(query.result().1);
        }
        gst::BusSyncReply::Pass
    });
    let slow = info(gst_video::VideoFormat::Rgb, 64, 48, (10, 1));
    rig.push_event(gst::event::Caps::new(&slow.to_caps().unwrap()));
    assert_eq!(*answers.lock().unwrap(), [ClockTime::from_mseconds(1600)]);
}

#[test]
fn live_frames_come_out_once_with_their_scores() {
    let info = usual_info();
    let pictures = pictures(&info, 0..40);
    let expected = expected(&info, &pictures);
    let mut rig = Rig::live(&info, &[("processing-deadline", "60000000000"), ("post-messages", "true")]);
    for segment in pictures[..32].chunks(16) {
        rig.push(segment);
        // So that the engine has time for the next one.
        let scored = |message: &gst::Message| message.structure().unwrap().name() == "desumnet-segment";
        while !scored(&rig.bus.timed_pop_filtered(patience(), &[gst::MessageType::Element]).unwrap()) {}
    }
    rig.push(&pictures[32..]);
    let out = rig.finish_buffers();
    assert_marked(&out, &pictures, &expected);
    assert_eq!((rig.stat("segments"), rig.stat("late")), (3, 0));
}

#[test]
fn live_source_loses_no_frame() {
    // An engine of its own: what it has no time for is no matter of the other tests.
    let mut own = BusyEngine::default();
    own.release();
    let pipeline = pipeline(&format!(
        "videotestsrc is-live=true num-buffers=80 ! video/x-raw,width=64,height=48,framerate=100/1 \
         ! desumnet model={} processing-deadline=500000000 ! appsink name=sink sync=false",
        own.model()
    ));
    let sink: gst_app::AppSink = pipeline.by_name("sink").unwrap().downcast().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let buffers: Vec<_> = std::iter::from_fn(|| sink.pull_sample().ok()?.buffer_owned()).collect();
    let offsets: Vec<_> = buffers.iter().map(|buffer| buffer.offset()).collect();
    assert_eq!(offsets, (0..80).collect::<Vec<_>>());
    let places: Vec<_> = metas(&buffers).iter().map(|meta| (meta.segment, meta.frame)).collect();
    let expected: Vec<_> = (0..80).map(|number| (number / 64, (number % 64) as u32)).collect();
    assert_eq!(places, expected);
    pipeline.set_state(gst::State::Null).unwrap();
}

#[test]
fn late_scores_let_frames_go_unscored_and_then_carry_the_newest() {
    let info = usual_info();
    let pictures = pictures(&info, 0..32);
    let expected = Reference::new(request_for("cooking"), Stride::Auto).metas(&info, &pictures);
    let mut busy = BusyEngine::default();
    let properties = [("model", busy.model()), ("category", "cooking"), ("processing-deadline", "0")];
    let mut rig = Rig::live(&info, &properties);
    rig.push(&pictures[..16]);
    let out = rig.buffers(16);
    for (number, meta) in metas(&out).iter().enumerate() {
        assert_eq!(meta.flags, Flags::LATE | Flags::UNSCORED);
        assert_eq!((meta.segment, meta.frame), (0, number as u32));
        assert_eq!((meta.segment_score, meta.frame_score, meta.importance, meta.confidence), (0.0, 0.0, 0.0, 0.0));
        assert_eq!(meta.category, "");
    }
    assert_eq!(
        out.iter().map(|b| b.pts()).collect::<Vec<_>>(),
        pictures[..16].iter().map(|b| b.pts()).collect::<Vec<_>>()
    );

    // The newest is scored however late.
    busy.release();
    busy.occupy();
    rig.push(&pictures[16..]);
    for meta in metas(&rig.buffers(16)) {
        assert_eq!((meta.flags, meta.segment), (Flags::LATE | Flags::CARRIED, 1));
        assert_eq!((meta.segment_score, meta.importance), (expected[0].segment_score, expected[0].importance));
    }
    let stats = ["segments", "late", "shed", "failed"].map(|name| rig.stat(name));
    assert_eq!(stats, [2, 2, 0, 0]);
}

#[test]
fn eight_streams_go_on_past_an_engine_that_is_stuck_and_lose_the_same() {
    let mut busy = BusyEngine::default();
    let pipelines = [(); 8].map(|()| {
        let pipeline = pipeline(&format!(
            "videotestsrc is-live=true num-buffers=128 ! video/x-raw,width=64,height=48,framerate=100/1 ! desumnet \
             model={} frame-stride=1 processing-deadline=500000000 ! appsink name=sink sync=false",
            busy.model()
        ));
        pipeline.set_state(gst::State::Playing).unwrap();
        pipeline
    });
    for pipeline in &pipelines {
        let sink: gst_app::AppSink = pipeline.by_name("sink").unwrap().downcast().unwrap();
        let buffers: Vec<_> = std::iter::from_fn(|| sink.pull_sample().ok()?.buffer_owned()).collect();
        assert_eq!(buffers.iter().map(|buffer| buffer.offset()).collect::<Vec<_>>(), (0..128).collect::<Vec<_>>());
        assert!(metas(&buffers).iter().all(|meta| meta.flags == Flags::LATE | Flags::UNSCORED));
    }
    // Of its eight segments, each has the newest scored.
    busy.release();
    for pipeline in pipelines {
        let element = pipeline.by_name("desumnet").unwrap();
        let stat = |name| element.property::<gst::Structure>("stats").get::<u64>(name).unwrap();
        let began = std::time::Instant::now();
        while stat("shed") < 7 && began.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(["segments", "late", "shed", "failed"].map(stat), [8, 8, 7, 0]);
        pipeline.set_state(gst::State::Null).unwrap();
    }
}

#[test]
fn a_live_stream_that_loses_a_segment_asks_for_every_second() {
    let info = usual_info();
    let mut busy = BusyEngine::default();
    let mut rig = Rig::live(&info, &[("model", busy.model()), ("processing-deadline", "0")]);
    // More than may wait.
    rig.push(&pictures(&info, 0..16 * 13));
    let metas = metas(&rig.buffers(16 * 13));
    let asked: Vec<bool> = metas.iter().step_by(16).map(|meta| meta.flags.contains(Flags::LATE)).collect();
    assert_eq!(asked[..9], [true; 9]);
    assert!(asked[9..].windows(2).all(|pair| pair[0] != pair[1]), "{asked:?}");
    let stats: gst::Structure = rig.element.property("stats");
    assert_eq!((stats.get("interval"), rig.stat("shed") >= 1), (Ok(2u32), true));
    busy.release();
}

#[test]
fn live_streams_of_one_interval_take_turns() {
    let info = usual_info();
    let pictures = pictures(&info, 0..16 * 13);
    // An engine of its own: nobody else counts.
    let mut own = BusyEngine::default();
    own.release();
    let properties = [("model", own.model()), ("processing-deadline", "60000000000"), ("interval", "4")];
    let elements = [(); 4].map(|()| desumnet(&properties));
    let phases = elements.map(|element| {
        let mut rig = Rig::around(element, &info, true);
        rig.push(&pictures);
        let metas = metas(&rig.finish_buffers());
        let own = metas.iter().step_by(16).filter(|meta| meta.flags.is_empty()).map(|meta| meta.segment);
        own.collect::<Vec<_>>()
    });
    // The first of all, and from then on every fourth. The engine has one stream already.
    assert_eq!(phases, [vec![0, 3, 7, 11], vec![0, 2, 6, 10], vec![0, 1, 5, 9], vec![0, 4, 8, 12]]);
}

#[test]
fn frames_of_a_camera_that_pauses_go_on_when_they_are_due() {
    let info = usual_info();
    let pictures = pictures(&info, 0..24);
    let busy = BusyEngine::default();
    let mut rig = Rig::live(&info, &[("model", busy.model()), ("processing-deadline", "100000000")]);
    assert_eq!(latency(&rig).1, ClockTime::from_mseconds(740));
    rig.push(&pictures[..5]);
    // Nothing more comes in, and no score.
    let out = rig.buffers(5);
    let late = Flags::LATE | Flags::UNSCORED;
    for (number, meta) in metas(&out).iter().enumerate() {
        let place = (meta.segment, meta.frame, meta.segment_frames);
        assert_eq!((place, meta.flags), ((0, number as u32, 5), late | Flags::PADDED));
        assert_eq!(meta.segment_duration, SPACING * 5);
    }
    // The rest is a segment of its own. The shot goes on.
    rig.push(&pictures[5..21]);
    for (number, meta) in metas(&rig.buffers(16)).iter().enumerate() {
        let place = (meta.segment, meta.frame, meta.segment_frames);
        assert_eq!((place, meta.flags), ((1, number as u32, 16), late));
        assert!(!meta.shot_start || number > 0);
    }
}

#[test]
fn a_segment_that_is_finished_early_has_time_to_be_scored() {
    let info = usual_info();
    let pictures = pictures(&info, 0..5);
    let expected = expected(&info, &pictures);
    let mut rig = Rig::live(&info, &[("processing-deadline", "1000000000")]);
    rig.push(&pictures);
    let out = rig.buffers(5);
    assert!(expected.iter().all(|meta| meta.flags == Flags::PADDED));
    assert_marked(&out, &pictures, &expected);
}

#[test]
fn latency_follows_the_frames_and_is_announced() {
    // Caps that promise 30 a second, or nothing; frames come 10 a second.
    for rate in [(30, 1), (0, 1)] {
        let info = info(gst_video::VideoFormat::Rgb, 64, 48, rate);
        let mut rig = Rig::live(&info, &[("processing-deadline", "250000000")]);
        while rig.bus.pop_filtered(&[gst::MessageType::Latency]).is_some() {}
        let at =
            |number: usize, spacing| picture(&info, number, Some(ClockTime::from_mseconds(spacing * number as u64)));
        rig.push(&(0..16).map(|number| at(number, 100)).collect::<Vec<_>>());
        assert!(rig.bus.pop_filtered(&[gst::MessageType::Latency]).is_some());
        assert_eq!(latency(&rig), (true, ClockTime::from_mseconds(1600 + 250), None), "{rate:?}");
        // Once.
        rig.push(&(16..64).map(|number| at(number, 100)).collect::<Vec<_>>());
        assert!(rig.bus.pop_filtered(&[gst::MessageType::Latency]).is_none());
    }
}

#[test]
fn what_downstream_does_not_take_of_a_live_stream_makes_upstream_wait() {
    let info = usual_info();
    let mut rig = Rig::live(&info, &[("processing-deadline", "0")]);
    let pad = rig.element.static_pad("src").unwrap();
    let blocked = pad.add_probe(gst::PadProbeType::BLOCK | gst::PadProbeType::BUFFER, |_, _| gst::PadProbeReturn::Ok);
    let (sender, taken) = mpsc::channel();
    let upstream = std::thread::spawn(move || {
        for picture in pictures(&info, 0..200) {
            rig.push(std::slice::from_ref(&picture));
            sender.send(()).unwrap();
        }
        rig
    });
    let mut count = 0;
    while taken.recv_timeout(Duration::from_secs(1)).is_ok() {
        count += 1;
    }
    // The latency of 0.64 s and one second more wait; the first is with downstream, and the last with upstream.
    assert_eq!(count, 1 + (640 + 1000) / 40 + 1);
    pad.remove_probe(blocked.unwrap());
    let mut rig = upstream.join().unwrap();
    let times: Vec<_> = rig.finish_buffers().iter().map(|buffer| buffer.pts().unwrap() / SPACING).collect();
    assert_eq!(times, (0..200).collect::<Vec<_>>());
}

#[test]
fn a_source_that_becomes_live_is_found_out() {
    let info = usual_info();
    // The pipeline asks for the latency anew, or upstream begins anew.
    for asks in [true, false] {
        let mut busy = BusyEngine::default();
        busy.release();
        let mut rig = Rig::new(&info, &[("model", busy.model()), ("processing-deadline", "0")]);
        rig.push(&pictures(&info, 0..3));
        rig.harness.set_live(true);
        if asks {
            assert!(latency(&rig).0);
        } else {
            rig.push_event(gst::event::Segment::new(&gst::FormattedSegment::<ClockTime>::new()));
            // They are of a segment that has no deadline.
            rig.buffers(3);
        }
        busy.occupy();
        rig.push(&pictures(&info, 100..140));
        let out = rig.finish_buffers();
        let late = &out[out.len() - 40..];
        assert_eq!(out.len(), if asks { 43 } else { 40 });
        assert!(metas(late).iter().all(|meta| meta.flags.contains(Flags::LATE)), "asks: {asks}");
    }
}

#[test]
fn observed_buffers_pass_at_once_on_their_own_thread() {
    let info = usual_info();
    let pictures = pictures(&info, 0..20);
    let mut rig = Rig::new(&info, &[("mode", "observe")]);
    let threads = Arc::new(Mutex::new(Vec::new()));
    let seen = threads.clone();
    rig.element.static_pad("src").unwrap().add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        seen.lock().unwrap().push(std::thread::current().id());
        gst::PadProbeReturn::Ok
    });
    for picture in &pictures {
        rig.push(std::slice::from_ref(picture));
        let out = buffers_of(&rig.so_far());
        assert_eq!(out.iter().map(|b| b.as_ptr()).collect::<Vec<_>>(), [picture.as_ptr()]);
        assert_eq!(ImportanceMeta::of(&out[0]), None);
    }
    assert_eq!(*threads.lock().unwrap(), vec![std::thread::current().id(); 20]);
}

#[test]
fn observer_posts_every_segment_and_shot_before_eos() {
    let info = usual_info();
    let pictures = pictures(&info, 0..40);
    let expected = expected(&info, &pictures);
    let mut rig = Rig::new(&info, &[("mode", "observe")]);
    let (eos, at_eos) = mpsc::channel();
    let at_eos = Mutex::new(at_eos);
    let posted = Arc::new(AtomicUsize::new(0));
    let counter = posted.clone();
    rig.bus.set_sync_handler(move |_, message| {
        if message.type_() == gst::MessageType::Element {
            // Holds the message back for as long as an EOS that does not wait for it needs to pass.
            let overtaken = at_eos.lock().unwrap().recv_timeout(Duration::from_millis(100));
            counter.fetch_add(usize::from(overtaken.is_err()), Ordering::SeqCst);
        }
        gst::BusSyncReply::Pass
    });
    let sent = Mutex::new(eos);
    rig.element.static_pad("src").unwrap().add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, probe| {
        if probe.event().is_some_and(|event| event.type_() == gst::EventType::Eos) {
            sent.lock().unwrap().send(()).unwrap();
        }
        gst::PadProbeReturn::Ok
    });
    rig.push(&pictures);
    rig.push_event(gst::event::Eos::new());
    let messages = rig.element_messages();
    assert_eq!(posted.load(Ordering::SeqCst), messages.len(), "messages posted before EOS");
    let shots: Vec<u64> = messages.iter().filter_map(|m| m.get("start").ok().filter(|_| m.has_field("shot"))).collect();
    let starts = expected.iter().zip(&pictures).filter(|(meta, _)| meta.shot_start);
    assert_eq!(shots, starts.map(|(_, picture)| picture.pts().unwrap().nseconds()).collect::<Vec<_>>());
    let got: Vec<_> = messages.iter().filter_map(|m| Some((m.get("segment").ok()?, m.get("score").ok()?))).collect();
    let expected: Vec<(u64, f64)> =
        expected.iter().step_by(16).map(|meta| (meta.segment, meta.segment_score)).collect();
    assert_eq!(got, expected);
}

#[test]
fn live_observer_tells_of_segments_that_the_engine_had_no_time_for() {
    let info = usual_info();
    let mut busy = BusyEngine::default();
    let mut rig = Rig::live(&info, &[("mode", "observe"), ("model", busy.model()), ("processing-deadline", "0")]);
    rig.push(&pictures(&info, 0..48));
    assert_eq!(buffers_of(&rig.so_far()).len(), 48);
    busy.release();
    rig.finish();
    let flags: Vec<Flags> = rig.segment_messages().iter().map(|message| message.get("flags").unwrap()).collect();
    assert_eq!(flags, [Flags::LATE | Flags::UNSCORED, Flags::LATE | Flags::UNSCORED, Flags::empty()]);
}
