//! `desumskim` on buffers whose importance the test sets itself, and by plans: exact output times and counts.

use std::path::PathBuf;

use desumnet_decide::plan::{Part, Plan};
use gst::{ClockTime, prelude::*};
use gstdesumnet::meta::{Flags, ImportanceMeta};

/// 25 frames a second.
const FRAME: ClockTime = ClockTime::from_mseconds(40);
/// Frames in a segment.
const SEGMENT: u64 = 16;

fn harness(properties: &str) -> gst_check::Harness {
    test_support::init();
    let mut harness = gst_check::Harness::new_parse(&format!("desumskim {properties}"));
    harness.set_src_caps_str("video/x-raw,format=GRAY8,width=8,height=8,framerate=25/1");
    harness
}

/// A frame that tells its number by its bytes.
fn bare(number: u64) -> gst::Buffer {
    let mut bytes = vec![0; 64];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    let mut buffer = gst::Buffer::from_mut_slice(bytes);
    let fields = buffer.get_mut().unwrap();
    fields.set_pts(FRAME * number);
    fields.set_duration(FRAME);
    buffer
}

fn number(buffer: &gst::BufferRef) -> u64 {
    u64::from_le_bytes(buffer.map_readable().unwrap()[..8].try_into().unwrap())
}

/// Frame `number` of a stream whose segments have these importances.
fn frame(number: u64, importance: &[f64], flags: Flags) -> gst::Buffer {
    let segment = number / SEGMENT;
    let mut buffer = bare(number);
    let meta = ImportanceMeta {
        segment,
        segment_start: Some(FRAME * (segment * SEGMENT)),
        segment_duration: FRAME * SEGMENT,
        segment_frames: SEGMENT as u32,
        frame: (number % SEGMENT) as u32,
        frame_score: 1.0,
        segment_score: importance[segment as usize] * 2.0,
        importance: importance[segment as usize],
        category: "sailing".into(),
        confidence: 0.9,
        shot: 0,
        shot_start: number == 0,
        flags,
    };
    meta.add(buffer.get_mut().unwrap()).unwrap();
    buffer
}

/// Numbers and times of the frames that have come out.
fn pull(harness: &mut gst_check::Harness) -> Vec<(u64, ClockTime)> {
    std::iter::from_fn(|| harness.try_pull()).map(|out| (number(&out), out.pts().unwrap())).collect()
}

/// The frames that come out of a whole stream.
fn run(harness: &mut gst_check::Harness, frames: impl IntoIterator<Item = gst::Buffer>) -> Vec<(u64, ClockTime)> {
    for frame in frames {
        harness.push(frame).unwrap();
    }
    assert!(harness.push_event(gst::event::Eos::new()));
    pull(harness)
}

fn frames(importance: &[f64]) -> impl Iterator<Item = gst::Buffer> + '_ {
    (0..importance.len() as u64 * SEGMENT).map(|number| frame(number, importance, Flags::empty()))
}

/// Their numbers, where they follow each other 40 ms apart.
fn in_a_row(out: &[(u64, ClockTime)]) -> Vec<u64> {
    for (i, (number, pts)) in out.iter().enumerate() {
        assert_eq!(*pts, FRAME * i as u64, "input frame {number}");
    }
    out.iter().map(|(number, _)| *number).collect()
}

fn messages(bus: &gst::Bus) -> Vec<gst::Structure> {
    let messages = bus.iter_filtered(&[gst::MessageType::Element, gst::MessageType::Warning]);
    let structure = |message: gst::Message| message.structure().unwrap().to_owned();
    messages.map(structure).collect()
}

fn bus(harness: &gst_check::Harness) -> gst::Bus {
    let bus = gst::Bus::new();
    harness.element().unwrap().set_bus(Some(&bus));
    bus
}

/// What has passed the source pad: frames by their number, events by their type; gaps with their time.
fn record(harness: &gst_check::Harness) -> std::sync::mpsc::Receiver<String> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let types = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    harness.element().unwrap().static_pad("src").unwrap().add_probe(types, move |_, probe| {
        let text = match &probe.data {
            Some(gst::PadProbeData::Buffer(buffer)) => number(buffer).to_string(),
            Some(gst::PadProbeData::Event(event)) => match event.view() {
                gst::EventView::Gap(gap) => format!("gap {}", gap.get().0.mseconds()),
                _ => event.type_().name().to_string(),
            },
            _ => String::new(),
        };
        sender.send(text).unwrap();
        gst::PadProbeReturn::Ok
    });
    receiver
}

#[test]
fn frames_wait_for_the_look_ahead_and_the_end_brings_the_rest() {
    let mut harness = harness("ratio=1 look-ahead=1280000000");
    let importance = [0.5; 4];
    let mut out = Vec::new();
    for (i, buffer) in frames(&importance).enumerate() {
        harness.push(buffer).unwrap();
        out.extend(pull(&mut harness));
        // With the first frame of the segment that ends two later.
        assert_eq!(
            out.len(),
            if i < 32 {
                0
            } else if i < 48 {
                16
            } else {
                32
            },
            "{i}"
        );
    }
    out.extend(run(&mut harness, []));
    assert_eq!(in_a_row(&out), (0..64).collect::<Vec<_>>());
}

#[test]
fn skim_keeps_what_matters_whole_and_closes_the_gaps() {
    let mut harness = harness("mode=skim ratio=0.2 pre-roll=0 post-roll=0");
    let bus = bus(&harness);
    // A minute and a quarter of ups and downs, and in it 3.2 s that stand out.
    let dull = |i: u64| (i * 37 % 101) as f64 / 202.0;
    let importance: Vec<f64> = (0..120).map(|i| if (80..85).contains(&i) { 0.9 } else { dull(i) }).collect();
    let out = run(&mut harness, frames(&importance));
    let kept = in_a_row(&out);
    assert!((80 * 16..85 * 16).all(|frame| kept.contains(&frame)), "{kept:?}");
    // Within the budget and the clip that it may be overspent by.
    assert!((200..=384 + 80).contains(&kept.len()), "{}", kept.len());
    let said = messages(&bus);
    let great = said.iter().find(|s| s.name() == "clip-end" && s.get("importance") == Ok(0.9)).unwrap();
    let [start, end, output] = ["start", "end", "output-start"].map(|field| great.get::<ClockTime>(field).unwrap());
    let first = start.nseconds() / FRAME.nseconds();
    assert!(kept.contains(&first) && (first == 0 || !kept.contains(&(first - 1))), "{great}");
    assert_eq!(output, FRAME * kept.iter().position(|&frame| frame == first).unwrap() as u64, "{great}");
    assert!(kept.contains(&(end.nseconds() / FRAME.nseconds() - 1)), "{great}");
    assert_eq!((great.get("score"), great.get("reason")), (Ok(1.8), Ok("important".to_string())), "{great}");
    assert_eq!(great.get("category"), Ok("sailing".to_string()), "{great}");
    assert_eq!(said.iter().filter(|s| s.name() == "clip-start").count(), said.len() / 2);
}

#[test]
fn without_look_ahead_each_segment_is_decided_as_it_begins() {
    let mut harness =
        harness("ratio=0.5 look-ahead=0 min-clip=0 max-clip=3200000000 pre-roll=0 post-roll=0 merge-gap=0");
    let importance: Vec<f64> = (0..80).map(|i| if i % 8 < 3 { 0.9 } else { 0.1 }).collect();
    let mut kept = Vec::new();
    for buffer in frames(&importance) {
        let pushed = number(&buffer);
        harness.push(buffer).unwrap();
        let out = pull(&mut harness);
        assert!(out.iter().all(|(number, _)| *number == pushed));
        kept.extend(out);
    }
    let segments: Vec<u64> = in_a_row(&kept).iter().step_by(16).map(|frame| frame / 16).collect();
    assert_eq!(segments.len() * 16, kept.len());
    // Overspent by a clip of six segments at most.
    assert!(segments.len() <= 46, "{segments:?}");
    assert!(segments.iter().filter(|&&segment| segment % 8 < 3).count() >= 20, "{segments:?}");
}

#[test]
fn time_lapse_spreads_its_frames_and_lasts_an_eighth() {
    let out = run(&mut harness("mode=timelapse speed=8"), frames(&[0.5; 10]));
    assert_eq!(in_a_row(&out), (0..20).map(|i| i * 8).collect::<Vec<_>>());
}

#[test]
fn time_lapse_is_slower_where_it_matters_and_keeps_to_its_speeds() {
    let importance: Vec<f64> = (0..20).map(|i| if i < 10 { 0.2 } else { 0.8 }).collect();
    let late = |properties| {
        let kept = in_a_row(&run(&mut harness(properties), frames(&importance)));
        (kept.len(), kept.iter().filter(|&&frame| frame >= 160).count())
    };
    // Even shares are 4 frames; 0.2 gets 1.6 and 0.8 gets 6.4, both a little more while the first half is paid back.
    assert_eq!(late("mode=timelapse speed=4"), (91, 65));
    // As slow as it may be in the second half, and as fast in the first: 16 / 3.5 and 16 / 5 frames a segment.
    assert_eq!(late("mode=timelapse speed=4 min-speed=3.5 max-speed=5"), (78, 46));
}

#[test]
fn uneven_frame_times_are_kept_within_a_clip_and_joined_at_the_cut() {
    let plan = plan(&[(0, 640, 1.0), (1280, 640, 1.0)]);
    let mut harness = harness(&plan.properties());
    let uneven = (0..48u64).map(|number| {
        let mut buffer = bare(number);
        // Every frame lasts 30 or 50 ms.
        let odd = number % 2 == 1;
        buffer.get_mut().unwrap().set_pts(ClockTime::from_mseconds(number * 40 + if odd { 10 } else { 0 }));
        buffer.get_mut().unwrap().set_duration(ClockTime::from_mseconds(if odd { 30 } else { 50 }));
        buffer
    });
    let times: Vec<u64> = run(&mut harness, uneven).iter().map(|(_, pts)| pts.mseconds()).collect();
    let expected: Vec<u64> = (0..32).map(|i| i * 40 + if i % 2 == 1 { 10 } else { 0 }).collect();
    assert_eq!(times, expected);
}

#[test]
fn buffers_without_importance_pass_with_one_warning() {
    for mode in ["skim", "timelapse"] {
        let mut harness = harness(&format!("mode={mode}"));
        let bus = bus(&harness);
        for number in 0..20u64 {
            harness.push(bare(number)).unwrap();
            assert_eq!(pull(&mut harness), [(number, FRAME * number)], "{mode}");
        }
        let warnings = bus.iter_filtered(&[gst::MessageType::Warning]).count();
        assert_eq!(warnings, 1);
    }
}

#[test]
fn frames_that_could_not_be_scored_are_not_lost() {
    let mut harness = harness("mode=skim ratio=0.1");
    let bus = bus(&harness);
    for number in 0..64 {
        harness.push(frame(number, &[0.0; 4], Flags::UNSCORED | Flags::FAILED)).unwrap();
        assert_eq!(pull(&mut harness), [(number, FRAME * number)]);
    }
    let said = messages(&bus);
    assert_eq!(
        (said.len(), said[0].name().as_str(), said[0].get("reason")),
        (1, "clip-start", Ok("unscored".to_string()))
    );
}

#[test]
fn frames_without_a_time_pass_in_their_place() {
    let mut harness = harness("ratio=1");
    let mut untimed = bare(99);
    untimed.get_mut().unwrap().set_pts(None);
    harness.push(frame(0, &[0.5], Flags::empty())).unwrap();
    harness.push(untimed).unwrap();
    assert!(harness.try_pull().is_none());
    harness.push_event(gst::event::Eos::new());
    assert_eq!(number(&harness.pull().unwrap()), 0);
    // It follows the one before.
    assert_eq!((harness.try_pull().map(|out| (number(&out), out.pts()))), Some((99, Some(FRAME))));
}

#[test]
fn output_starts_where_the_input_did_and_starts_afresh_after_a_flush() {
    let mut harness = harness("mode=timelapse speed=16");
    let first = |harness: &mut gst_check::Harness| {
        for number in 32..64 {
            harness.push(frame(number, &[0.5; 4], Flags::empty())).unwrap();
        }
        pull(harness)
    };
    let expected = [(32, FRAME * 32), (48, FRAME * 33)];
    assert_eq!(first(&mut harness), expected);
    harness.push_event(gst::event::FlushStart::new());
    harness.push_event(gst::event::FlushStop::new(true));
    harness.push_event(gst::event::Segment::new(&gst::FormattedSegment::<ClockTime>::new()));
    assert_eq!(first(&mut harness), expected);
}

#[test]
fn a_flush_forgets_the_frames_that_wait_but_not_the_caps() {
    let mut harness = harness("ratio=1");
    let importance = [0.5; 2];
    for number in 0..16 {
        harness.push(frame(number, &importance, Flags::empty())).unwrap();
    }
    harness.set_src_caps_str("video/x-raw,format=GRAY8,width=8,height=8,framerate=50/1");
    harness.push_event(gst::event::FlushStart::new());
    harness.push_event(gst::event::FlushStop::new(true));
    harness.push_event(gst::event::Segment::new(&gst::FormattedSegment::<ClockTime>::new()));
    let out = run(&mut harness, (16..32).map(|number| frame(number, &importance, Flags::empty())));
    assert_eq!(out.iter().map(|(number, _)| *number).collect::<Vec<_>>(), (16..32).collect::<Vec<_>>());
    let caps = harness.element().unwrap().static_pad("src").unwrap().current_caps().unwrap();
    assert_eq!(caps.structure(0).unwrap().get("framerate"), Ok(gst::Fraction::new(50, 1)));
}

#[test]
fn events_keep_their_place_among_the_frames_that_wait() {
    let mut harness = harness("ratio=1");
    let seen = record(&harness);
    let importance = [0.5; 2];
    for number in 0..32 {
        if number == 20 {
            harness.push_event(gst::event::Tag::new(gst::TagList::new()));
        }
        harness.push(frame(number, &importance, Flags::empty())).unwrap();
    }
    assert_eq!(seen.try_iter().filter(|item| item == "tag").count(), 0);
    harness.push_event(gst::event::Eos::new());
    let seen: Vec<String> = seen.try_iter().collect();
    let expected = (0..20).map(|n| n.to_string()).chain(["tag".into()]).chain((20..32).map(|n| n.to_string()));
    assert_eq!(seen, expected.chain(["eos".into()]).collect::<Vec<_>>());
}

#[test]
fn new_segments_of_the_input_do_not_move_the_output() {
    let mut harness = harness("ratio=1 look-ahead=0");
    let seen = record(&harness);
    let importance = [0.5; 4];
    for number in 0..64 {
        // From frame 32 on, timestamps are an hour later, and the segment says so.
        if number == 32 {
            let mut segment = gst::FormattedSegment::<ClockTime>::new();
            segment.set_start(ClockTime::from_seconds(3600));
            segment.set_base(FRAME * 32);
            harness.push_event(gst::event::Segment::new(&segment));
        }
        let mut buffer = frame(number, &importance, Flags::empty());
        if number >= 32 {
            buffer.get_mut().unwrap().set_pts(FRAME * (number - 32) + ClockTime::from_seconds(3600));
        }
        harness.push(buffer).unwrap();
    }
    assert_eq!(in_a_row(&pull(&mut harness)), (0..64).collect::<Vec<_>>());
    // An encoder would end what it is at with each further one.
    assert_eq!(seen.try_iter().filter(|item| item == "segment").count(), 0);
}

/// Frames of segments that all matter alike, with an outage of 600 s before each of these.
fn with_outages(segments: u64, before: &'static [u64]) -> impl Iterator<Item = gst::Buffer> {
    (0..segments * SEGMENT).map(move |number| {
        let outages = before.iter().filter(|&&segment| segment <= number / SEGMENT).count() as u64;
        let mut buffer = frame(number, &[0.5; 20], Flags::empty());
        buffer.get_mut().unwrap().set_pts(FRAME * number + ClockTime::from_seconds(600 * outages));
        buffer
    })
}

#[test]
fn an_outage_is_no_hole_in_a_skim_or_a_time_lapse() {
    let out = run(&mut harness("ratio=1"), with_outages(6, &[2, 4]));
    assert_eq!(in_a_row(&out), (0..96).collect::<Vec<_>>());
    let out = run(&mut harness("mode=timelapse speed=8"), with_outages(6, &[2, 4]));
    assert_eq!(in_a_row(&out), (0..12).map(|i| i * 8).collect::<Vec<_>>());
    // A pause of 10 s is played through, and a longer one is not.
    for (pause, second) in [(10_000, 11_280), (10_001, 1_280)] {
        let mut harness = harness("ratio=1 look-ahead=0");
        let late = frames(&[0.5; 4]).enumerate().map(|(i, mut buffer)| {
            let pts = FRAME * i as u64 + ClockTime::from_mseconds(if i < 32 { 0 } else { pause });
            buffer.get_mut().unwrap().set_pts(pts);
            buffer
        });
        let out = run(&mut harness, late);
        assert_eq!((out[31].1.mseconds(), out[32].1.mseconds()), (1_240, second), "{pause}");
    }
}

#[test]
fn a_short_gap_decides_nothing_and_a_long_one_does() {
    let mut harness = harness("ratio=1 look-ahead=1280000000");
    let seen = record(&harness);
    let gap = |start, ms| gst::event::Gap::builder(start).duration(ClockTime::from_mseconds(ms)).build();
    let late = |number: u64, importance: &[f64], ms| {
        let mut buffer = frame(number, importance, Flags::empty());
        buffer.get_mut().unwrap().set_pts(FRAME * number + ClockTime::from_mseconds(ms));
        buffer
    };
    let importance = [0.5; 4];
    for number in 0..16 {
        harness.push(late(number, &importance, 0)).unwrap();
    }
    harness.push_event(gap(FRAME * 16, 20));
    for number in 16..32 {
        harness.push(late(number, &importance, 20)).unwrap();
    }
    assert_eq!(pull(&mut harness), []);
    harness.push_event(gap(FRAME * 32 + ClockTime::from_mseconds(20), 10_001));
    let out = pull(&mut harness);
    assert_eq!((out.len(), out[16].1.mseconds()), (32, 660));
    let rest = run(&mut harness, (32..64).map(|number| late(number, &importance, 10_021)));
    assert_eq!((rest[0].1.mseconds(), rest[31].1.mseconds()), (1_300, 2_540));
    let gaps: Vec<String> = seen.try_iter().filter(|item| item.starts_with("gap")).collect();
    assert_eq!(gaps, ["gap 640"]);
}

#[test]
fn frames_with_the_time_of_the_one_before_follow_it() {
    let mut harness = harness("ratio=1");
    let stuck = (0..5).map(|number| {
        let mut buffer = bare(number);
        buffer.get_mut().unwrap().set_pts(if number == 0 { None } else { Some(FRAME) });
        buffer
    });
    let out = run(&mut harness, stuck.skip(1));
    assert_eq!(
        out.iter().map(|(number, pts)| (*number, pts.mseconds())).collect::<Vec<_>>(),
        [(1, 40), (2, 80), (3, 120), (4, 160)]
    );
}

#[test]
fn the_frame_that_begins_a_part_after_a_long_one_is_played() {
    // A slide stays for 10 s; the next one begins a part, and stays for 4 s.
    let plan = plan(&[(0, 120, 1.0), (10_080, 4_080, 1.0)]);
    let times = [0, 40, 80, 10_080, 14_080, 14_120];
    let slides = times.iter().enumerate().map(|(i, &ms)| {
        let mut buffer = bare(i as u64);
        buffer.get_mut().unwrap().set_pts(ClockTime::from_mseconds(ms));
        buffer
    });
    let out = run(&mut harness(&plan.properties()), slides);
    let times: Vec<_> = out.iter().map(|(number, pts)| (*number, pts.mseconds())).collect();
    assert_eq!(times, [(0, 0), (1, 40), (2, 80), (3, 120), (4, 4_120), (5, 4_160)]);
}

#[test]
fn the_latency_falls_again_when_segments_get_shorter() {
    let mut harness = harness("mode=skim look-ahead=2000000000");
    harness.set_live(true);
    let mut push = |segment: u64, ms| {
        let mut buffer = bare(segment * 100);
        let mut meta = ImportanceMeta::of(&frame(0, &[0.5], Flags::empty())).unwrap();
        (meta.segment, meta.segment_duration) = (segment, ClockTime::from_mseconds(ms));
        meta.add(buffer.get_mut().unwrap()).unwrap();
        harness.push(buffer).unwrap();
        harness.query_latency().unwrap().mseconds()
    };
    assert_eq!(push(0, 3_000), 5_000);
    // A little shorter is the same, and so is one longer among the latest 64.
    assert_eq!((1..=70).map(|segment| push(segment, 2_500)).max(), Some(5_000));
    assert_eq!((71..=133).map(|segment| push(segment, 1_000)).min(), Some(5_000));
    assert_eq!(push(134, 1_000), 3_000);
}

#[test]
fn latency_is_the_look_ahead_and_a_segment() {
    for (properties, ours) in [
        ("mode=skim look-ahead=2000000000", 2_640),
        ("mode=skim", 5_640),
        ("mode=skim look-ahead=0", 0),
        ("mode=timelapse", 0),
    ] {
        let mut harness = harness(properties);
        harness.set_live(true);
        harness.set_upstream_latency(FRAME);
        harness.push(frame(0, &[0.5], Flags::empty())).unwrap();
        assert_eq!(harness.query_latency(), Some(FRAME + ClockTime::from_mseconds(ours)), "{properties}");
    }
    // Segments that turn out to be longer are announced.
    let mut harness = harness("mode=skim look-ahead=2000000000");
    let bus = bus(&harness);
    let mut buffer = bare(0);
    let mut meta = ImportanceMeta::of(&frame(0, &[0.5], Flags::empty())).unwrap();
    meta.segment_duration = ClockTime::from_seconds(3);
    meta.add(buffer.get_mut().unwrap()).unwrap();
    harness.push(buffer).unwrap();
    assert_eq!(bus.iter_filtered(&[gst::MessageType::Latency]).count(), 1);
    assert_eq!(harness.query_latency(), Some(ClockTime::from_seconds(5)));
}

#[test]
fn upstreams_pool_is_asked_to_be_large_enough_for_what_waits() {
    test_support::init();
    let caps: gst::Caps = "video/x-raw,format=GRAY8,width=8,height=8,framerate=25/1".parse().unwrap();
    // 5.64 s at 25 a second, and one.
    for (properties, expected) in [("mode=skim", Some(142)), ("mode=timelapse", None)] {
        let harness = harness(properties);
        let mut query = gst::query::Allocation::new(Some(&caps), true);
        harness.element().unwrap().static_pad("sink").unwrap().query(&mut query);
        assert_eq!(query.allocation_pools().next().map(|(_, _, min, _)| min), expected, "{properties}");
    }
}

#[test]
fn quality_of_service_and_other_rates_end_here() {
    let mut harness = harness("mode=skim");
    harness.push(frame(0, &[0.5], Flags::empty())).unwrap();
    let qos = gst::event::Qos::builder(gst::QOSType::Underflow, 2.0, 100).build();
    assert!(harness.push_upstream_event(qos));
    let seek = |rate| {
        let (start, none) = (ClockTime::SECOND, ClockTime::NONE);
        gst::event::Seek::new(rate, gst::SeekFlags::FLUSH, gst::SeekType::Set, start, gst::SeekType::None, none)
    };
    assert!(!harness.push_upstream_event(seek(2.0)));
    assert!(harness.push_upstream_event(seek(1.0)));
    let seen = std::iter::from_fn(|| harness.try_pull_upstream_event()).map(|e| e.type_()).collect::<Vec<_>>();
    assert!(!seen.contains(&gst::EventType::Qos), "{seen:?}");
    assert_eq!(seen.iter().filter(|&&kind| kind == gst::EventType::Seek).count(), 1, "{seen:?}");
}

#[test]
fn settings_that_contradict_each_other_are_named_before_anything_plays() {
    test_support::init();
    for (properties, words) in [
        ("min-clip=3000000000 max-clip=2000000000", "max-clip is shorter than min-clip"),
        ("mode=timelapse speed=4 min-speed=5", "speed 4 is not between min-speed 5"),
    ] {
        assert!(refusal(properties).contains(words), "{properties}");
    }
}

/// What the element says when it does not start.
fn refusal(properties: &str) -> String {
    let element = gst::parse::bin_from_description(&format!("desumskim {properties}"), false).unwrap();
    let bus = gst::Bus::new();
    element.set_bus(Some(&bus));
    assert!(element.set_state(gst::State::Paused).is_err());
    let message = bus.pop_filtered(&[gst::MessageType::Error]).unwrap();
    element.set_state(gst::State::Null).unwrap();
    let gst::MessageView::Error(error) = message.view() else { unreachable!() };
    error.error().to_string()
}

/// A plan file; gone when dropped.
struct PlanFile {
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl PlanFile {
    fn properties(&self) -> String {
        format!("plan={}", self.path.display())
    }
}

/// Parts by start and duration, ms, and speed; scored 0, 1, 2, ...
fn plan(parts: &[(u64, u64, f64)]) -> PlanFile {
    let part = |(score, &(start, duration, speed)): (usize, &(u64, u64, f64))| Part {
        start_ns: start * 1_000_000,
        duration_ns: duration * 1_000_000,
        score: score as f64,
        speed,
    };
    let plan = Plan::new(parts.iter().enumerate().map(part).collect()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.json");
    std::fs::write(&path, serde_json::to_string(&plan).unwrap()).unwrap();
    PlanFile { path, _folder: folder }
}

#[test]
fn a_plan_is_followed_without_importance_and_without_waiting() {
    let plan = plan(&[(400, 200, 1.0), (1000, 80, 1.0)]);
    let mut harness = harness(&plan.properties());
    let bus = bus(&harness);
    for number in 0..50 {
        harness.push(bare(number)).unwrap();
        let out = pull(&mut harness);
        let expected = match number {
            10..15 => Some((number, FRAME * (number - 10))),
            25..27 => Some((number, FRAME * (number - 20))),
            _ => None,
        };
        assert_eq!(out, expected.into_iter().collect::<Vec<_>>());
    }
    let said = messages(&bus);
    let names: Vec<_> = said.iter().map(|s| s.name().to_string()).collect();
    assert_eq!(names, ["clip-start", "clip-end", "clip-start", "clip-end"]);
    let time = |s: &gst::Structure, field: &str| s.get::<ClockTime>(field).unwrap().mseconds();
    let second = &said[3];
    assert_eq!(["start", "end", "output-start"].map(|field| time(second, field)), [1000, 1080, 200]);
    assert_eq!((second.get("score"), second.has_field("importance")), (Ok(1.0), false));
}

#[test]
fn faster_parts_come_at_the_inputs_rate_and_the_whole_is_as_long_as_planned() {
    // 20 frames, 100 at 8 (12.5), 3 at 2.5 (1.2), 7 at 3 (2.33), 30 frames: 66.03 in all.
    let plan = plan(&[(0, 800, 1.0), (800, 4000, 8.0), (4800, 120, 2.5), (5000, 280, 3.0), (5280, 1200, 1.0)]);
    let out = run(&mut harness(&plan.properties()), (0..200).map(bare));
    let numbers: Vec<u64> = out.iter().map(|(number, _)| *number).collect();
    assert!(numbers.windows(2).all(|w| w[0] < w[1]));
    assert_eq!(numbers[..20], (0..20).collect::<Vec<_>>());
    let fast: Vec<u64> = numbers.iter().copied().filter(|n| (20..120).contains(n)).collect();
    assert_eq!(fast, (0..13).map(|i| 20 + 8 * i).collect::<Vec<_>>());
    assert_eq!(in_a_row(&out[..33]), numbers[..33]);
    // The last part is in step to the nanosecond: 19.2 s / 40 ms ...
    let (number, last) = out[out.len() - 1];
    let played = 800.0 + 500.0 + 48.0 + 280.0 / 3.0;
    assert_eq!((number, last.nseconds()), (161, ((played + 1200.0 - 40.0) * 1e6_f64).round() as u64));
}

#[test]
fn a_plan_goes_by_the_videos_own_time() {
    let plan = plan(&[(400, 200, 1.0), (1000, 80, 1.0)]);
    let mut harness = harness(&plan.properties());
    // As after a seek to 0.48 s.
    let mut segment = gst::FormattedSegment::<ClockTime>::new();
    segment.set_start(FRAME * 12);
    segment.set_time(FRAME * 12);
    harness.push_event(gst::event::FlushStart::new());
    harness.push_event(gst::event::FlushStop::new(true));
    harness.push_event(gst::event::Segment::new(&segment));
    let out = run(&mut harness, (12..40).map(bare));
    assert_eq!(in_a_row(&out), [12, 13, 14, 25, 26]);
}

#[test]
fn plans_that_can_not_be_used_are_named_with_the_remedy() {
    test_support::init();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.json");
    let said = refusal(&format!("plan={}", path.display()));
    assert!(said.contains("own.json can't be used: No such file") && said.contains("check the path"), "{said}");
    std::fs::write(&path, "{}").unwrap();
    let said = refusal(&format!("plan={}", path.display()));
    assert!(said.contains("own.json can't be used: it is no plan in JSON"), "{said}");
}

#[test]
fn without_retiming_frames_keep_their_times_and_gaps_stand_for_the_rest() {
    let plan = plan(&[(80, 80, 1.0), (200, 80, 2.0)]);
    let mut harness = harness(&format!("{} retime=false", plan.properties()));
    let seen = record(&harness);
    let out = run(&mut harness, (0..8).map(bare));
    assert_eq!(out, [2, 3, 5].map(|number| (number, FRAME * number)));
    let seen: Vec<String> =
        seen.try_iter().skip_while(|item| item.parse::<u64>().is_err() && !item.starts_with("gap")).collect();
    assert_eq!(seen, ["gap 0", "gap 40", "2", "3", "gap 160", "5", "gap 240", "gap 280", "eos"]);
}
