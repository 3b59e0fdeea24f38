//! `desumnet` among other elements: pools, seeks, the meta downstream, and an end that downstream sets.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use gst::prelude::*;
use gstdesumnet::meta::ImportanceMeta;
use test_support::scoring::*;

#[test]
fn seek_in_a_pipeline_gives_the_frames_from_there_on() {
    let pipeline = pipeline(
        "videotestsrc ! video/x-raw,width=64,height=48,framerate=25/1 ! desumnet ! appsink name=sink sync=false max-buffers=1",
    );
    let sink: gst_app::AppSink = pipeline.by_name("sink").unwrap().downcast().unwrap();
    pipeline.set_state(gst::State::Paused).unwrap();
    pipeline.state(gst::ClockTime::try_from(PATIENCE).unwrap()).0.unwrap();
    for start in [100, 7] {
        pipeline.seek_simple(gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE, SPACING * start).unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let first = sink.pull_sample().unwrap();
        let meta = ImportanceMeta::of(first.buffer().unwrap()).unwrap();
        assert_eq!(first.buffer().unwrap().pts(), Some(SPACING * start));
        assert_eq!((meta.frame, meta.segment_start), (0, Some(SPACING * start)));
    }
    pipeline.set_state(gst::State::Null).unwrap();
}

/// All samples of an appsink, up to EOS.
fn samples(pipeline: &gst::Pipeline, sink: &str) -> Vec<gst::Buffer> {
    let sink: gst_app::AppSink = pipeline.by_name(sink).unwrap().downcast().unwrap();
    std::iter::from_fn(|| sink.pull_sample().ok()?.buffer_owned()).collect()
}

#[test]
fn meta_survives_conversion_scaling_queues_and_tees() {
    let pipeline = pipeline(
        "videotestsrc num-buffers=20 pattern=ball ! video/x-raw,format=RGB,width=64,height=48,framerate=25/1 ! tee name=in \
         in. ! queue ! desumnet category=cooking ! queue ! videoscale ! video/x-raw,width=32,height=30 ! videoconvert \
         ! video/x-raw,format=I420 ! tee name=out out. ! queue ! appsink name=a sync=false out. ! queue ! appsink name=b sync=false \
         in. ! queue ! appsink name=plain sync=false",
    );
    pipeline.set_state(gst::State::Playing).unwrap();
    let [plain, a, b] = ["plain", "a", "b"].map(|sink| samples(&pipeline, sink));
    pipeline.set_state(gst::State::Null).unwrap();
    let mut reference = Reference::new(request_for("cooking"), desumnet_frames::segmenter::Stride::Auto);
    let expected = reference.metas(&usual_info(), &plain);
    assert_eq!(metas(&a), expected);
    assert_eq!(metas(&b), expected);
    assert!(plain.iter().all(|buffer| ImportanceMeta::of(buffer).is_none()), "the other branch is untouched");
    assert_eq!(a[0].size(), 32 * 30 * 3 / 2);
}

#[test]
fn end_of_stream_that_downstream_sets_reaches_it() {
    let pipeline = pipeline("videotestsrc num-buffers=500 ! desumnet ! identity eos-after=20 ! fakesink name=sink");
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    let pad = pipeline.by_name("sink").unwrap().static_pad("sink").unwrap();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        counter.fetch_add(1, Ordering::SeqCst);
        gst::PadProbeReturn::Ok
    });
    pipeline.set_state(gst::State::Playing).unwrap();
    wait_for_eos(&pipeline);
    assert!((19..=20).contains(&count.load(Ordering::SeqCst)), "{count:?}");
    pipeline.set_state(gst::State::Null).unwrap();
}

/// Makes a pad propose a pool of 2 to 3 buffers.
fn propose_small_pool(pad: &gst::Pad) {
    pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, |_, probe| {
        let Some(gst::QueryViewMut::Allocation(query)) = probe.query_mut().map(|query| query.view_mut()) else {
            return gst::PadProbeReturn::Ok;
        };
        let size = gst_video::VideoInfo::from_caps(query.get().0.unwrap()).unwrap().size();
        query.add_allocation_pool(None::<&gst::BufferPool>, size as u32, 2, 3);
        gst::PadProbeReturn::Handled
    });
}

/// Size, least and most buffers of the pools that the element answers upstream with.
fn pools(rig: &Rig, info: &gst_video::VideoInfo) -> Vec<(u32, u32, u32)> {
    let mut query = gst::query::Allocation::new(Some(&info.to_caps().unwrap()), true);
    assert!(rig.element.static_pad("sink").unwrap().query(&mut query));
    query.allocation_pools().map(|(_, size, min, max)| (size, min, max)).collect()
}

#[test]
fn pools_are_asked_to_hold_two_segments_more() {
    let (slow, fast) = (usual_info(), info(gst_video::VideoFormat::Rgb, 64, 48, (60, 1)));
    let size = slow.size() as u32;
    let free = Rig::new(&slow, &[]);
    assert_eq!(pools(&free, &slow), [(size, 32, 0)]);
    let small = Rig::new(&slow, &[]);
    propose_small_pool(&small.harness.sinkpad().unwrap());
    assert_eq!(pools(&small, &slow), [(size, 2 + 32, 3 + 32)]);
    assert_eq!(pools(&small, &fast), [(size, 2 + 64, 3 + 64)]);
    let observer = Rig::new(&slow, &[("mode", "observe")]);
    propose_small_pool(&observer.harness.sinkpad().unwrap());
    assert_eq!(pools(&observer, &slow), [(size, 2, 3)]);
}

#[test]
fn small_pool_of_upstream_does_not_run_dry() {
    let pipeline = pipeline(
        "videotestsrc num-buffers=100 ! video/x-raw,format=RGB,width=64,height=48,framerate=25/1 ! desumnet ! appsink name=sink sync=false",
    );
    propose_small_pool(&pipeline.by_name("sink").unwrap().static_pad("sink").unwrap());
    pipeline.set_state(gst::State::Playing).unwrap();
    let sink: gst_app::AppSink = pipeline.by_name("sink").unwrap().downcast().unwrap();
    // Not kept: each goes back to its pool.
    let times: Vec<_> = std::iter::from_fn(|| sink.pull_sample().ok()?.buffer()?.pts()).collect();
    assert_eq!(times, (0..100).map(|number| SPACING * number).collect::<Vec<_>>());
    pipeline.set_state(gst::State::Null).unwrap();
}

/// Makes what follows the element fail at every buffer.
fn break_downstream(rig: &Rig) {
    let pad = rig.harness.sinkpad().unwrap();
    pad.add_probe(gst::PadProbeType::BUFFER, |_, probe| {
        probe.flow_res = Err(gst::FlowError::Error);
        gst::PadProbeReturn::Handled
    });
}

#[test]
fn error_of_downstream_reaches_upstream() {
    let info = usual_info();
    let mut rig = Rig::new(&info, &[]);
    break_downstream(&rig);
    let mut flows = (0..1000).map(|number| rig.harness.push(picture(&info, number, Some(SPACING * number as u64))));
    assert_eq!(flows.find(|flow| flow.is_err()), Some(Err(gst::FlowError::Error)));
    drop(flows);
    assert!(!rig.harness.push_event(gst::event::Eos::new()));
}

#[test]
fn error_of_downstream_after_eos_is_posted() {
    let info = usual_info();
    let mut rig = Rig::new(&info, &[]);
    break_downstream(&rig);
    rig.push(&pictures(&info, 0..3));
    rig.push_event(gst::event::Eos::new());
    let patience = gst::ClockTime::try_from(PATIENCE).unwrap();
    let message = rig.bus.timed_pop_filtered(patience, &[gst::MessageType::Error]).expect("an error message");
    let gst::MessageView::Error(error) = message.view() else { unreachable!() };
    assert!(error.error().to_string().contains("Downstream takes no more buffers"), "{error:?}");
}

/// The output since the last call, once EOS has passed.
fn received(rig: &mut Rig) -> Vec<u64> {
    rig.finish();
    std::iter::from_fn(|| rig.harness.try_pull()).map(|buffer| buffer.pts().unwrap() / SPACING).collect()
}

/// Pushes pictures of these numbers; what upstream is answered for each.
fn flows(rig: &mut Rig, numbers: std::ops::Range<usize>) -> Vec<Result<gst::FlowSuccess, gst::FlowError>> {
    let info = usual_info();
    numbers.map(|number| rig.harness.push(picture(&info, number, Some(SPACING * number as u64)))).collect()
}

#[test]
fn a_late_link_is_taken_up() {
    let mut rig = Rig::new(&usual_info(), &[]);
    let (pad, peer) = (rig.element.static_pad("src").unwrap(), rig.harness.sinkpad().unwrap());
    pad.unlink(&peer).unwrap();
    let mut number = 0;
    while flows(&mut rig, number..number + 1) == [Ok(gst::FlowSuccess::Ok)] {
        number += 1;
    }
    // Upstream hears of it at each of its buffers, which are not taken.
    assert_eq!(flows(&mut rig, 60..70), [Err(gst::FlowError::NotLinked); 10]);
    // What stays on a pad is.
    let slow = info(gst_video::VideoFormat::Rgb, 64, 48, (10, 1));
    assert!(rig.harness.push_event(gst::event::Caps::new(&slow.to_caps().unwrap())));
    pad.link(&peer).unwrap();
    assert_eq!(flows(&mut rig, 80..100), [Ok(gst::FlowSuccess::Ok); 20]);
    let expected: Vec<u64> = (1..number as u64).chain(80..100).collect();
    assert_eq!(received(&mut rig), expected, "all but the one that found nobody");
    assert_eq!(peer.current_caps().unwrap(), slow.to_caps().unwrap());
}

#[test]
fn upstream_that_goes_on_after_an_error_is_tried_again() {
    for error in [gst::FlowError::Flushing, gst::FlowError::Error, gst::FlowError::NotNegotiated] {
        let mut rig = Rig::new(&usual_info(), &[]);
        let once = AtomicUsize::new(0);
        rig.harness.sinkpad().unwrap().add_probe(gst::PadProbeType::BUFFER, move |_, probe| {
            if once.fetch_add(1, Ordering::SeqCst) > 0 {
                return gst::PadProbeReturn::Ok;
            }
            probe.flow_res = Err(error);
            gst::PadProbeReturn::Handled
        });
        let mut number = 0;
        while flows(&mut rig, number..number + 1) == [Ok(gst::FlowSuccess::Ok)] {
            number += 1;
        }
        assert_eq!(flows(&mut rig, 60..80), [Ok(gst::FlowSuccess::Ok); 20], "told of {error:?} once");
        let expected: Vec<u64> = (1..number as u64).chain(60..80).collect();
        assert_eq!(received(&mut rig), expected);
        assert!(rig.bus.pop_filtered(&[gst::MessageType::Error]).is_none());
    }
}

#[test]
fn a_new_segment_follows_on_downstreams_end() {
    let mut rig = Rig::new(&usual_info(), &[]);
    let once = AtomicUsize::new(0);
    rig.harness.sinkpad().unwrap().add_probe(gst::PadProbeType::BUFFER, move |_, probe| {
        if once.fetch_add(1, Ordering::SeqCst) > 0 {
            return gst::PadProbeReturn::Ok;
        }
        probe.flow_res = Err(gst::FlowError::Eos);
        gst::PadProbeReturn::Handled
    });
    let mut number = 0;
    while flows(&mut rig, number..number + 1) == [Ok(gst::FlowSuccess::Ok)] {
        number += 1;
    }
    assert_eq!(flows(&mut rig, 60..62), [Err(gst::FlowError::Eos); 2]);
    rig.push_event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new()));
    assert_eq!(flows(&mut rig, 80..100), [Ok(gst::FlowSuccess::Ok); 20]);
    // What waited when downstream wanted no more is not for it.
    assert_eq!(received(&mut rig), (80..100).collect::<Vec<u64>>());
}

#[test]
fn large_batches_do_not_ask_for_more_frames_than_fit_into_memory() {
    let batches = [("batch-size", "8")];
    let asked = |width, height| {
        let info = info(gst_video::VideoFormat::I420, width, height, (25, 1));
        pools(&Rig::new(&info, &batches), &info)[0].1
    };
    // Nine segments; 512 MiB of frames; and two segments at least.
    assert_eq!([asked(64, 48), asked(1920, 1080), asked(2560, 1440), asked(3840, 2160)], [144, 144, 97, 43]);
    assert_eq!(asked(7680, 4320), 32);
}

#[test]
fn an_observer_of_one_segment_in_four_goes_through() {
    let pipeline = pipeline(
        "videotestsrc num-buffers=1500 ! video/x-raw,width=64,height=48,framerate=25/1 ! desumnet mode=observe interval=4 ! fakesink",
    );
    pipeline.set_state(gst::State::Playing).unwrap();
    wait_for_eos(&pipeline);
    let element = pipeline.by_name("desumnet").unwrap();
    assert_eq!(element.property::<gst::Structure>("stats").get::<u64>("segments"), Ok(94));
    pipeline.set_state(gst::State::Null).unwrap();
}
