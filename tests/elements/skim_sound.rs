//! `desumskim` with sound and other streams beside the video: cuts to the sample or at key frames, in step, in every order of events.

use std::{
    path::PathBuf,
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use desumnet_decide::plan::{Part, Plan};
use gst::{ClockTime, prelude::*};

/// Longest wait for what must come: only a test that fails waits as long.
const PATIENCE: Duration = Duration::from_secs(20);
/// Frames a second; their length, ms.
const FPS: u64 = 25;
const FRAME: u64 = 40;

/// What came out of a pad.
#[derive(Clone, Debug)]
enum Out {
    Buffer(gst::Buffer),
    Gap(ClockTime, ClockTime),
    Eos,
}

#[derive(Default)]
struct Seen {
    out: Mutex<Vec<Out>>,
    changed: Condvar,
    /// How often a key frame was asked for.
    asked: Mutex<usize>,
    /// Segment events that came out.
    segments: Mutex<usize>,
}

/// Two pads of the test's around a pair of the element's.
struct Stream {
    input: gst::Pad,
    output: gst::Pad,
    seen: Arc<Seen>,
}

impl Stream {
    fn new(element: &gst::Element, sink: &gst::Pad, caps: &str) -> Self {
        let seen = Arc::new(Seen::default());
        let add = |seen: &Seen, item| {
            seen.out.lock().unwrap().push(item);
            seen.changed.notify_all();
        };
        let (buffers, events) = (seen.clone(), seen.clone());
        let asked = seen.clone();
        let input = gst::Pad::builder(gst::PadDirection::Src)
            .event_function(move |pad, parent, event| {
                let asks = gst_video::UpstreamForceKeyUnitEvent::parse(&event).is_ok();
                *asked.asked.lock().unwrap() += usize::from(asks);
                gst::Pad::event_default(pad, parent, event)
            })
            .build();
        let any = gst::Caps::new_any();
        let any = gst::PadTemplate::new("any", gst::PadDirection::Sink, gst::PadPresence::Always, &any).unwrap();
        let output = gst::Pad::builder_from_template(&any)
            .chain_function(move |_, _, buffer| {
                add(&buffers, Out::Buffer(buffer));
                Ok(gst::FlowSuccess::Ok)
            })
            .event_function(move |pad, parent, event| {
                match event.view() {
                    gst::EventView::Gap(gap) => add(&events, Out::Gap(gap.get().0, gap.get().1.unwrap_or_default())),
                    gst::EventView::Eos(_) => add(&events, Out::Eos),
                    gst::EventView::Segment(_) => *events.segments.lock().unwrap() += 1,
                    _ => return gst::Pad::event_default(pad, parent, event),
                }
                true
            })
            .build();
        let src = element.static_pad(&sink.name().replace("sink", "src")).unwrap();
        input.set_active(true).unwrap();
        output.set_active(true).unwrap();
        input.link(sink).unwrap();
        src.link(&output).unwrap();
        let stream = Self { input, output, seen };
        stream.event(gst::event::StreamStart::new(&sink.name()));
        stream.event(gst::event::Caps::new(&caps.parse().unwrap()));
        stream.event(gst::event::Segment::new(&gst::FormattedSegment::<ClockTime>::new()));
        stream
    }

    fn event(&self, event: gst::Event) {
        assert!(self.input.push_event(event));
    }

    fn eos(&self) {
        self.event(gst::event::Eos::new());
    }

    fn push(&self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.input.push(buffer)
    }

    /// What has come out, once it is as the condition says.
    fn when(&self, condition: impl Fn(&[Out]) -> bool) -> Vec<Out> {
        let out = self.seen.out.lock().unwrap();
        let wait = self.seen.changed.wait_timeout_while(out, PATIENCE, |out| !condition(out)).unwrap();
        assert!(!wait.1.timed_out(), "{} came out", wait.0.len());
        wait.0.clone()
    }

    /// All that comes out until EOS.
    fn finished(&self) -> Vec<Out> {
        self.when(|out| matches!(out.last(), Some(Out::Eos)))
    }
}

/// The element with video and this many further streams, playing.
struct Rig {
    element: gst::Element,
    video: Stream,
    others: Vec<Stream>,
    bus: gst::Bus,
    _folder: tempfile::TempDir,
}

/// Parts by start and duration, ns, and speed.
fn write(parts: &[(u64, u64, f64)]) -> (PathBuf, tempfile::TempDir) {
    let part = |&(start_ns, duration_ns, speed)| Part { start_ns, duration_ns, score: 0.5, speed };
    let plan = Plan::new(parts.iter().map(part).collect()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.json");
    std::fs::write(&path, serde_json::to_string(&plan).unwrap()).unwrap();
    (path, folder)
}

impl Rig {
    fn new(parts: &[(u64, u64, f64)], caps: &[&str]) -> Self {
        Self::with(parts, caps, true)
    }

    /// Parts that play faster are not silent.
    fn scaling(parts: &[(u64, u64, f64)]) -> Self {
        Self::around(parts, &[MONO], &[("audio", "scale")])
    }

    fn with(parts: &[(u64, u64, f64)], caps: &[&str], retime: bool) -> Self {
        Self::around(parts, caps, &[("retime", &retime.to_string())])
    }

    fn around(parts: &[(u64, u64, f64)], caps: &[&str], properties: &[(&str, &str)]) -> Self {
        let (path, folder) = write(parts);
        let plan = ("plan", path.to_str().unwrap());
        Self::of(caps, &[properties, &[plan]].concat(), folder)
    }

    /// By the scores. Frames without one are kept.
    fn live(caps: &[&str], properties: &[(&str, &str)]) -> Self {
        Self::of(caps, properties, tempfile::tempdir().unwrap())
    }

    fn of(caps: &[&str], properties: &[(&str, &str)], folder: tempfile::TempDir) -> Self {
        test_support::init();
        let element = gst::ElementFactory::make("desumskim").build().unwrap();
        for (name, value) in properties {
            element.set_property_from_str(name, value);
        }
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        let pads: Vec<gst::Pad> = caps.iter().map(|_| element.request_pad_simple("sink_%u").unwrap()).collect();
        element.set_state(gst::State::Playing).unwrap();
        let video = format!("video/x-raw,format=GRAY8,width=4,height=4,framerate={FPS}/1");
        let video = Stream::new(&element, &element.static_pad("sink").unwrap(), &video);
        let others = pads.iter().zip(caps).map(|(pad, caps)| Stream::new(&element, pad, caps)).collect();
        Self { element, video, others, bus, _folder: folder }
    }

    /// Video frames of these numbers, [`FRAME`] ms each.
    fn frames(&self, numbers: std::ops::Range<u64>) {
        for number in numbers {
            self.video.push(frame(number, FRAME * 1_000_000)).unwrap();
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.element.set_state(gst::State::Null).unwrap();
    }
}

/// A frame whose every pixel is its number's last byte.
fn frame(number: u64, length: u64) -> gst::Buffer {
    let mut buffer = gst::Buffer::from_mut_slice(vec![number as u8; 16]);
    let fields = buffer.get_mut().unwrap();
    fields.set_pts(ClockTime::from_nseconds(number * length));
    fields.set_duration(ClockTime::from_nseconds(length));
    buffer
}

const MONO: &str = "audio/x-raw,format=S16LE,rate=8000,channels=1,layout=interleaved";
const RATE: u64 = 8_000;

/// Samples of these numbers, each the `value` of its number.
fn sound(numbers: std::ops::Range<u64>, value: impl Fn(u64) -> i16) -> gst::Buffer {
    let mut buffer = gst::Buffer::from_slice(numbers.clone().flat_map(|n| value(n).to_le_bytes()).collect::<Vec<u8>>());
    let time = |n: u64| ClockTime::from_nseconds(n * 1_000_000_000 / RATE);
    let fields = buffer.get_mut().unwrap();
    fields.set_pts(time(numbers.start));
    fields.set_duration(time(numbers.end) - time(numbers.start));
    buffer
}

/// Numbers its samples, and starts anew at 30000.
fn numbered(n: u64) -> i16 {
    (n % 30_000) as i16
}

/// The samples of mono sound, whose buffers must follow each other without a hole.
fn samples(out: &[Out]) -> Vec<i16> {
    let mut samples: Vec<i16> = Vec::new();
    for item in out {
        let Out::Buffer(buffer) = item else { continue };
        let exact = samples.len() as u64 * 1_000_000_000 / RATE;
        assert!(buffer.pts().unwrap().nseconds().abs_diff(exact) <= 1, "{buffer:?} at {exact}");
        let map = buffer.map_readable().unwrap();
        samples.extend(map.as_chunks().0.iter().map(|&sample| i16::from_le_bytes(sample)));
    }
    samples
}

/// Where the fades of 5 ms end that begin and end a part of the output.
const FADE: usize = 40;

fn ms(parts: &[(u64, u64, f64)]) -> Vec<(u64, u64, f64)> {
    parts.iter().map(|&(start, duration, speed)| (start * 1_000_000, duration * 1_000_000, speed)).collect()
}

#[test]
fn sound_is_cut_to_the_sample_with_fades() {
    let rig = Rig::new(&ms(&[(400, 200, 1.0), (1000, 125, 1.0)]), &[MONO]);
    // Sound first, in buffers that no cut falls between.
    for start in (0..16_000).step_by(1_000) {
        rig.others[0].push(sound(start..start + 1_000, |_| 10_000)).unwrap();
    }
    rig.frames(0..50);
    rig.video.eos();
    let out = samples(&rig.others[0].finished());
    assert_eq!(out.len(), 1600 + 1000);
    for part in [&out[..1600], &out[1600..]] {
        let half = 0.5 / FADE as f64;
        for i in 0..FADE {
            let expected = (10_000.0 * (i as f64 / FADE as f64 + half)).round() as i16;
            assert_eq!((part[i], part[part.len() - 1 - i]), (expected, expected), "{i}");
        }
        assert!(part[FADE..part.len() - FADE].iter().all(|&sample| sample == 10_000));
    }
}

#[test]
fn the_samples_that_play_are_those_of_the_parts() {
    let rig = Rig::new(&ms(&[(400, 200, 1.0), (1000, 120, 1.0)]), &[MONO]);
    // Video and sound by turns, as a demuxer's one thread pushes them.
    for number in 0..50 {
        rig.frames(number..number + 1);
        rig.others[0].push(sound(number * 320..number * 320 + 320, numbered)).unwrap();
    }
    rig.video.eos();
    let out = samples(&rig.others[0].finished());
    assert_eq!(out.len(), 1600 + 960);
    assert!((FADE..1600 - FADE).all(|i| out[i] == 3200 + i as i16));
    assert!((FADE..960 - FADE).all(|i| out[1600 + i] == 8000 + i as i16));
}

#[test]
fn whole_streams_pass_bit_by_bit() {
    let rig = Rig::new(&ms(&[(0, 60_000, 1.0)]), &[MONO]);
    for number in 0..50 {
        rig.frames(number..number + 1);
        rig.others[0].push(sound(number * 320..number * 320 + 320, numbered)).unwrap();
    }
    rig.video.eos();
    assert_eq!(samples(&rig.others[0].finished()), (0..16_000).map(numbered).collect::<Vec<_>>());
}

/// An hour of five frames a second that flash and beep every whole second.
#[test]
fn flashes_and_beeps_stay_together_for_an_hour() {
    const LENGTH: u64 = 200_000_000;
    // 700 parts of odd lengths that neither frames nor samples fit, some faster.
    let parts: Vec<(u64, u64, f64)> = (0..700u64)
        .map(|i| {
            let speed = if i % 7 == 3 { 2.5 } else { 1.0 };
            (i * 5_111_111_117 + 37_037_037, 2_345_678_901 + i * 1_234_567, speed)
        })
        .collect();
    let rig = Rig::new(&parts, &[MONO]);
    for second in 0..3_600 {
        for number in second * 5..second * 5 + 5 {
            rig.video.push(frame(number, LENGTH)).unwrap();
        }
        let beep = |n: u64| if n.is_multiple_of(RATE) { 30_000 } else { 0 };
        rig.others[0].push(sound(second * RATE..(second + 1) * RATE, beep)).unwrap();
    }
    rig.video.eos();
    rig.others[0].eos();
    let beeps = samples(&rig.others[0].finished());
    let video = rig.video.finished();
    let played: f64 = parts.iter().map(|&(_, duration, speed)| duration as f64 / speed).sum();
    assert!((beeps.len() as f64 - played * RATE as f64 / 1e9).abs() <= 1.0);
    let mut last = None;
    let times: Vec<u64> = video
        .iter()
        .filter_map(|item| match item {
            Out::Buffer(buffer) => {
                let pts = buffer.pts().unwrap().nseconds();
                last = buffer.duration().map(|duration| pts + duration.nseconds());
                Some(pts)
            }
            _ => None,
        })
        .collect();
    assert!(times.windows(2).all(|w| w[0] < w[1]));
    assert!((last.unwrap() as f64 - played).abs() <= LENGTH as f64);
    // Where each flash is by the plan, and the beep that goes with it.
    let (mut at, mut compared) = (0.0, 0);
    for &(start, duration, speed) in &parts {
        for second in start.div_ceil(1_000_000_000)..(start + duration).div_ceil(1_000_000_000) {
            let since = second * 1_000_000_000 - start;
            // Where the sound is not faded to nothing, and the frame is no half frame after the last one.
            if speed == 1.0 && since > 100_000_000 && since + 1_000_000 < duration {
                let exact = at + since as f64;
                let flash = exact.round() as u64;
                assert!(
                    times.binary_search(&flash).is_ok()
                        || times.binary_search(&(flash + 1)).is_ok()
                        || times.binary_search(&(flash - 1)).is_ok(),
                    "{flash}"
                );
                let near = (exact * RATE as f64 / 1e9).round() as usize;
                let beep = (near - 1..=near + 1).find(|&sample| beeps[sample] > 100);
                assert!(beep.is_some(), "no beep with the flash at {flash}");
                compared += 1;
            }
        }
        at += duration as f64 / speed;
    }
    assert!(compared > 1_000, "{compared}");
}

#[test]
fn faster_parts_are_silent_and_as_long_as_the_video() {
    let rig = Rig::new(&ms(&[(0, 400, 1.0), (400, 800, 4.0), (1200, 400, 1.0)]), &[MONO]);
    for number in 0..50 {
        rig.frames(number..number + 1);
        rig.others[0].push(sound(number * 320..number * 320 + 320, |_| 10_000)).unwrap();
    }
    rig.video.eos();
    let out = samples(&rig.others[0].finished());
    assert_eq!(out.len(), 3_200 + 1_600 + 3_200);
    assert!(out[3_200..4_800].iter().all(|&sample| sample == 0));
    assert!(out[..3_200 - FADE].iter().chain(&out[4_800 + FADE..8_000 - FADE]).all(|&sample| sample == 10_000));
}

/// A tone of 440 Hz.
fn tone(n: u64) -> i16 {
    (10_000.0 * (std::f64::consts::TAU * 440.0 * n as f64 / RATE as f64).sin()) as i16
}

/// How many periods begin in these samples.
fn periods(samples: &[i16]) -> usize {
    samples.windows(2).filter(|w| w[0] < 0 && w[1] >= 0).count()
}

#[test]
fn scaled_parts_keep_their_pitch_and_faster_ones_are_silent() {
    let parts = [(0, 400, 1.0), (400, 900, 1.5), (1300, 300, 3.0), (1600, 600, 2.0)];
    let rig = Rig::scaling(&ms(&parts));
    for number in 0..60 {
        rig.frames(number..number + 1);
        rig.others[0].push(sound(number * 320..number * 320 + 320, tone)).unwrap();
    }
    rig.video.eos();
    let out = samples(&rig.others[0].finished());
    assert_eq!(out.len(), 3_200 + 4_800 + 800 + 2_400);
    assert_eq!(out[..3_200], (0..3_200).map(tone).collect::<Vec<_>>());
    assert!(out[8_000..8_800].iter().all(|&sample| sample == 0));
    // 600 ms and 300 ms.
    for (part, expected) in [(&out[3_200..8_000], 264), (&out[8_800..], 132)] {
        assert!(periods(part).abs_diff(expected) <= 2, "{}", periods(part));
        let loud = part[FADE..part.len() - FADE].chunks_exact(40);
        assert!(loud.clone().all(|ms| ms.iter().any(|&sample| sample > 8_000)), "{part:?}");
    }
    // Where the tone goes on there is no fade; at the others there is one of 5 ms.
    assert!(out[3_160..3_240].chunks_exact(20).all(|period| period.iter().any(|&sample| sample > 9_000)));
    assert!([7_999, 8_800].map(|sample| out[sample].unsigned_abs() < 400) == [true; 2]);
}

#[test]
fn touching_parts_of_many_speeds_come_to_what_the_plan_says() {
    // An even length that is no number of samples, for ten minutes; frames of 200 ms.
    let parts: Vec<(u64, u64, f64)> =
        (0..1_100).map(|i| (i * 533_866_667, 533_866_667, [1.0, 1.3, 1.7, 2.0, 2.4][i as usize % 5])).collect();
    let rig = Rig::scaling(&parts);
    for second in 0..590 {
        for number in second * 5..second * 5 + 5 {
            rig.video.push(frame(number, 200_000_000)).unwrap();
        }
        // A click every second, 2 ms long.
        let click = |n: u64| if n % RATE < 16 { 30_000 } else { 0 };
        rig.others[0].push(sound(second * RATE..(second + 1) * RATE, click)).unwrap();
    }
    rig.video.eos();
    let out = samples(&rig.others[0].finished());
    let played: f64 = parts.iter().map(|&(_, duration, speed)| duration as f64 / speed).sum();
    assert_eq!(out.len(), (played * RATE as f64 / 1e9).round() as usize);
    let (mut at, mut heard) = (0.0, 0);
    for &(start, duration, speed) in &parts {
        for second in start.div_ceil(1_000_000_000)..(start + duration).div_ceil(1_000_000_000) {
            let since = (second * 1_000_000_000 - start) as f64;
            // Not where it is passed over.
            if speed == 1.0 && since > 50e6 && since < duration as f64 - 50e6 {
                let near = ((at + since / speed) * RATE as f64 / 1e9).round() as usize;
                assert!((near - 1..=near + 1).any(|i| out[i - 1] == 0 && out[i] == 30_000), "at {near}");
                heard += 1;
            }
        }
        at += duration as f64 / speed;
    }
    assert!(heard > 80, "{heard}");
}

#[test]
fn scaled_sound_that_ends_early_goes_out_to_its_end() {
    let rig = Rig::scaling(&ms(&[(0, 60_000, 1.25)]));
    rig.others[0].push(sound(0..4_000, tone)).unwrap();
    rig.others[0].eos();
    rig.frames(0..25);
    assert_eq!(samples(&rig.others[0].finished()).len(), 3_200);
    rig.video.eos();
}

#[test]
fn new_caps_go_on_in_the_middle_of_a_scaled_part() {
    let rig = Rig::scaling(&ms(&[(0, 1_000, 2.0)]));
    let stream = &rig.others[0];
    stream.push(sound(0..4_000, tone)).unwrap();
    stream.event(gst::event::Caps::new(&MONO.replace("S16LE", "F32LE").parse().unwrap()));
    let mut later = gst::Buffer::from_slice(0.5f32.to_le_bytes().repeat(4_000));
    later.get_mut().unwrap().set_pts(ClockTime::from_mseconds(500));
    stream.push(later).unwrap();
    rig.frames(0..25);
    rig.video.eos();
    let mut lengths = Vec::new();
    for item in stream.finished() {
        let Out::Buffer(buffer) = item else { continue };
        let at: u64 = lengths.iter().map(|(_, ns)| ns).sum();
        assert_eq!(buffer.pts().unwrap().nseconds(), at);
        lengths.push((buffer.size(), buffer.duration().unwrap().nseconds()));
    }
    // 2000 samples of 2 bytes, and 2000 of 4.
    assert_eq!(lengths.iter().map(|(size, _)| size).sum::<usize>(), 12_000);
    assert_eq!(lengths.iter().map(|(_, ns)| ns).sum::<u64>(), 500_000_000);
}

#[test]
fn whole_streams_pass_a_scaling_element_bit_by_bit() {
    let rig = Rig::scaling(&ms(&[(0, 1_000, 1.0), (1_000, 59_000, 1.0)]));
    for number in 0..50 {
        rig.frames(number..number + 1);
        rig.others[0].push(sound(number * 320..number * 320 + 320, numbered)).unwrap();
    }
    rig.video.eos();
    assert_eq!(samples(&rig.others[0].finished()), (0..16_000).map(numbered).collect::<Vec<_>>());
}

#[test]
fn sound_that_is_missing_is_silence() {
    // Starts 100 ms late, lacks 300 to 500 ms.
    let rig = Rig::new(&ms(&[(0, 1_000, 1.0)]), &[MONO]);
    for start in [800, 1_600, 4_000, 4_800, 5_600, 6_400, 7_200] {
        rig.others[0].push(sound(start..start + 800, |_| 10_000)).unwrap();
    }
    rig.frames(0..25);
    rig.video.eos();
    rig.others[0].eos();
    let out = samples(&rig.others[0].finished());
    assert_eq!(out.len(), 8_000);
    for (i, sample) in out.iter().enumerate() {
        let silent = (0..800).contains(&i) || (2_400..4_000).contains(&i);
        assert_eq!(*sample, if silent { 0 } else { 10_000 }, "{i}");
    }
}

#[test]
fn a_gap_event_stands_for_silence() {
    let rig = Rig::new(&ms(&[(0, 1_000, 1.0)]), &[MONO]);
    rig.frames(0..25);
    rig.others[0].event(gst::event::Gap::builder(ClockTime::ZERO).duration(ClockTime::from_mseconds(500)).build());
    // It has gone on without the sound that comes after it.
    let early = rig.others[0].when(|out| !out.is_empty() && samples(out).len() >= 4_000);
    assert_eq!(samples(&early), vec![0; 4_000]);
    rig.others[0].push(sound(4_000..8_000, |_| 10_000)).unwrap();
    rig.video.eos();
    assert_eq!(samples(&rig.others[0].finished()).len(), 8_000);
}

#[test]
fn a_pause_where_the_video_has_been_is_none() {
    // As qtdemux sends them at the end of files that are longer than they tell.
    let rig = Rig::new(&ms(&[(0, 400, 1.0)]), &[MONO]);
    rig.frames(0..25);
    rig.others[0].push(sound(0..8_000, |_| 10_000)).unwrap();
    for start in [0, 300, 600] {
        let start = ClockTime::from_mseconds(start);
        rig.video.event(gst::event::Gap::builder(start).duration(ClockTime::from_mseconds(300)).build());
    }
    rig.video.eos();
    assert_eq!(samples(&rig.others[0].finished()).len(), 3_200);
    assert_eq!(rig.video.finished().len(), 11);
}

#[test]
fn sound_ends_with_the_video() {
    let rig = Rig::new(&ms(&[(0, 60_000, 1.0)]), &[MONO]);
    rig.frames(0..25);
    rig.others[0].push(sound(0..4_000, |_| 10_000)).unwrap();
    rig.video.eos();
    rig.others[0].push(sound(4_000..12_000, |_| 10_000)).unwrap();
    assert_eq!(samples(&rig.others[0].finished()), vec![10_000; 8_000]);
    // Upstream hears of it.
    assert_eq!(rig.others[0].push(sound(12_000..12_800, |_| 0)), Err(gst::FlowError::Eos));
    assert!(matches!(rig.video.finished().last(), Some(Out::Eos)));
}

#[test]
fn sound_that_ends_before_the_video_ends_in_its_turn() {
    let rig = Rig::new(&ms(&[(0, 60_000, 1.0)]), &[MONO]);
    rig.others[0].push(sound(0..4_000, |_| 10_000)).unwrap();
    rig.others[0].eos();
    rig.frames(0..12);
    // 0.48 s of video are there, and 0.5 s of sound.
    assert!(!rig.others[0].seen.out.lock().unwrap().iter().any(|item| matches!(item, Out::Eos)));
    rig.frames(12..25);
    assert_eq!(samples(&rig.others[0].finished()), vec![10_000; 4_000]);
    rig.frames(25..50);
    rig.video.eos();
    assert_eq!(rig.video.finished().len(), 51);
}

#[test]
fn subtitles_are_kept_or_dropped_by_where_they_start() {
    let rig = Rig::new(&ms(&[(400, 200, 1.0), (1000, 400, 2.0)]), &["text/x-raw,format=utf8"]);
    let text = |start, duration| {
        let mut buffer = gst::Buffer::from_slice(b"words");
        buffer.get_mut().unwrap().set_pts(ClockTime::from_mseconds(start));
        buffer.get_mut().unwrap().set_duration(ClockTime::from_mseconds(duration));
        buffer
    };
    let subtitles = &rig.others[0];
    rig.frames(0..50);
    rig.video.eos();
    for start in [0, 399, 400, 599, 600, 1_100] {
        subtitles.push(text(start, 100)).unwrap();
    }
    subtitles.event(
        gst::event::Gap::builder(ClockTime::from_mseconds(1_200)).duration(ClockTime::from_mseconds(400)).build(),
    );
    subtitles.eos();
    let out: Vec<(u64, u64, bool)> = subtitles
        .finished()
        .iter()
        .filter_map(|item| match item {
            Out::Buffer(b) => Some((b.pts().unwrap().mseconds(), b.duration().unwrap().mseconds(), true)),
            Out::Gap(start, duration) => Some((start.mseconds(), duration.mseconds(), false)),
            Out::Eos => None,
        })
        .collect();
    assert_eq!(out, [(0, 100, true), (199, 100, true), (250, 50, true), (300, 100, false)]);
}

#[test]
fn new_caps_go_on_where_the_old_ones_ended() {
    let rig = Rig::new(&ms(&[(0, 60_000, 1.0)]), &[MONO]);
    let stream = &rig.others[0];
    stream.push(sound(0..4_000, |_| 10_000)).unwrap();
    stream.event(gst::event::Caps::new(&MONO.replace("8000", "16000").parse().unwrap()));
    let mut twice = gst::Buffer::from_slice(5_000i16.to_le_bytes().repeat(8_000));
    twice.get_mut().unwrap().set_pts(ClockTime::from_mseconds(500));
    stream.push(twice).unwrap();
    rig.frames(0..25);
    rig.video.eos();
    let out = stream.finished();
    let buffers: Vec<&gst::Buffer> =
        out.iter().filter_map(|o| if let Out::Buffer(b) = o { Some(b) } else { None }).collect();
    assert_eq!(buffers.iter().map(|b| b.size() / 2).sum::<usize>(), 12_000);
    for pair in buffers.windows(2) {
        assert_eq!(pair[0].pts().unwrap() + pair[0].duration().unwrap(), pair[1].pts().unwrap());
    }
    let last = buffers[buffers.len() - 1];
    assert_eq!(last.pts().unwrap() + last.duration().unwrap(), ClockTime::SECOND);
    let caps = stream.output.current_caps().unwrap();
    assert_eq!(caps.structure(0).unwrap().get("rate"), Ok(16_000));
}

#[test]
fn caps_that_tell_no_sound_are_refused_with_the_remedy() {
    let rig = Rig::new(&ms(&[(0, 1_000, 1.0)]), &[MONO]);
    rig.others[0].event(gst::event::Caps::new(&"audio/x-raw,format=NONSENSE".parse().unwrap()));
    assert_eq!(rig.others[0].push(sound(0..80, |_| 0)), Err(gst::FlowError::NotNegotiated));
    let message = rig.bus.pop_filtered(&[gst::MessageType::Error]).unwrap();
    let gst::MessageView::Error(error) = message.view() else { unreachable!() };
    assert!(error.error().to_string().contains("sink_0: the caps tell no raw sound"), "{error:?}");
}

#[test]
fn without_retiming_sound_keeps_its_times_and_gaps_stand_for_the_rest() {
    let rig = Rig::with(&ms(&[(100, 200, 1.0), (400, 100, 2.0)]), &[MONO], false);
    rig.others[0].push(sound(0..8_000, |_| 10_000)).unwrap();
    rig.frames(0..25);
    rig.video.eos();
    let (mut covered, mut kept) = (0, Vec::new());
    for item in rig.others[0].finished() {
        let (start, duration) = match &item {
            Out::Buffer(buffer) => (buffer.pts().unwrap(), buffer.duration().unwrap()),
            Out::Gap(start, duration) => (*start, *duration),
            Out::Eos => continue,
        };
        assert_eq!(start.nseconds(), covered);
        covered += duration.nseconds();
        if let Out::Buffer(_) = item {
            kept.push((start.mseconds(), covered / 1_000_000));
        }
    }
    assert_eq!((kept[0].0, kept[kept.len() - 1].1, covered), (100, 300, 1_000_000_000));
}

#[test]
fn pads_come_and_go_while_playing() {
    let rig = Rig::new(&ms(&[(0, 60_000, 1.0)]), &[MONO]);
    rig.frames(0..10);
    rig.others[0].push(sound(0..8_000, |_| 10_000)).unwrap();
    rig.others[0].when(|out| samples(out).len() >= 3_000);
    let late = rig.element.request_pad_simple("sink_%u").unwrap();
    assert_eq!(late.name(), "sink_1");
    let late_stream = Stream::new(&rig.element, &late, MONO);
    let first = rig.element.static_pad("sink_0").unwrap();
    rig.element.release_request_pad(&first);
    assert!(rig.element.static_pad("sink_0").is_none() && rig.element.static_pad("src_0").is_none());
    late_stream.push(sound(0..8_000, |_| 10_000)).unwrap();
    rig.frames(10..25);
    rig.video.eos();
    assert_eq!(samples(&late_stream.finished()).len(), 8_000);
    assert_eq!(rig.video.finished().len(), 26);
}

#[test]
fn a_stream_far_ahead_of_the_video_waits_for_it() {
    let rig = Rig::new(&ms(&[(0, 90_000, 1.0)]), &[MONO]);
    let second = |s: u64| sound(s * RATE..(s + 1) * RATE, |_| 1);
    let stream = &rig.others[0];
    std::thread::scope(|scope| {
        let pushed = scope.spawn(|| (0..70).try_for_each(|s| stream.push(second(s)).map(|_| ())));
        // 61 seconds go in: what comes after them waits until the video has come to 10 s.
        rig.frames(0..11 * FPS);
        assert_eq!(pushed.join().unwrap(), Ok(()));
    });
    rig.video.eos();
    assert_eq!(samples(&stream.finished()).len(), 11 * RATE as usize);
}

/// A demuxer's thread may be the one that brings the video, too.
#[test]
fn a_stream_goes_on_where_the_video_waits_for_it() {
    let rig = Rig::new(&ms(&[(0, 900_000, 1.0)]), &[MONO]);
    for second in 0..300 {
        rig.others[0].push(sound(second * RATE..(second + 1) * RATE, |_| 1)).unwrap();
    }
    rig.frames(0..FPS);
    rig.video.eos();
    assert_eq!(samples(&rig.others[0].finished()).len(), RATE as usize);
}

#[test]
fn an_outage_is_no_silence() {
    let rig = Rig::live(&[MONO], &[("ratio", "1")]);
    let outage = 600 * FPS;
    rig.frames(0..25);
    rig.others[0].push(sound(0..RATE, |_| 10_000)).unwrap();
    rig.others[0].push(sound(601 * RATE..602 * RATE, |_| 20_000)).unwrap();
    rig.frames(25 + outage..50 + outage);
    rig.video.eos();
    let out = samples(&rig.others[0].finished());
    assert_eq!(out.len(), 2 * RATE as usize);
    let second = RATE as usize;
    assert!(out[..second - FADE].iter().all(|&sample| sample == 10_000));
    assert!(out[second + FADE..].iter().all(|&sample| sample == 20_000));
    let times: Vec<u64> = rig
        .video
        .finished()
        .iter()
        .filter_map(|item| match item {
            Out::Buffer(buffer) => buffer.pts().map(ClockTime::mseconds),
            _ => None,
        })
        .collect();
    assert_eq!(times, (0..50).map(|i| i * FRAME).collect::<Vec<_>>());
}

#[test]
fn new_segments_of_the_input_do_not_move_the_sound_or_reach_the_encoder() {
    let rig = Rig::new(&ms(&[(0, 60_000, 1.0)]), &[MONO]);
    rig.others[0].push(sound(0..4_000, numbered)).unwrap();
    // An edit list: from half a second on, timestamps are an hour later.
    let hour = ClockTime::from_seconds(3_600);
    let mut segment = gst::FormattedSegment::<ClockTime>::new();
    segment.set_start(hour);
    segment.set_base(ClockTime::from_mseconds(500));
    rig.others[0].event(gst::event::Segment::new(&segment));
    let mut later = sound(4_000..8_000, numbered);
    later.get_mut().unwrap().set_pts(hour);
    rig.others[0].push(later).unwrap();
    rig.frames(0..25);
    rig.video.eos();
    assert_eq!(samples(&rig.others[0].finished()), (0..8_000).map(numbered).collect::<Vec<_>>());
    assert_eq!(*rig.others[0].seen.segments.lock().unwrap(), 1);
}

#[test]
fn stopping_releases_whoever_waits() {
    let rig = Rig::new(&ms(&[(0, 90_000, 1.0)]), &[MONO]);
    let second = |s: u64| sound(s * RATE..(s + 1) * RATE, |_| 1);
    std::thread::scope(|scope| {
        let stream = &rig.others[0];
        let pushed = scope.spawn(|| (0..70).map(|s| stream.push(second(s))).find(Result::is_err));
        rig.frames(0..10);
        rig.element.set_state(gst::State::Null).unwrap();
        assert_eq!(pushed.join().unwrap(), Some(Err(gst::FlowError::Flushing)));
    });
}

#[test]
fn an_unlinked_stream_is_no_matter_of_the_others_and_an_error_is() {
    for (fails, video) in
        [(gst::FlowError::NotLinked, Ok(gst::FlowSuccess::Ok)), (gst::FlowError::Error, Err(gst::FlowError::Error))]
    {
        let rig = Rig::new(&ms(&[(0, 60_000, 1.0)]), &[MONO]);
        let stream = &rig.others[0];
        stream.output.add_probe(gst::PadProbeType::BUFFER, move |_, probe| {
            probe.flow_res = Err(fails);
            probe.data = None;
            gst::PadProbeReturn::Handled
        });
        rig.frames(0..10);
        let refused = (0..).map(|n| stream.push(sound(n * 80..n * 80 + 80, |_| 1))).find(Result::is_err);
        assert_eq!(refused, Some(Err(fails)));
        assert_eq!(rig.video.push(frame(10, FRAME * 1_000_000)), video);
        let patience = if video.is_err() { PATIENCE } else { Duration::ZERO };
        let error = rig.bus.timed_pop_filtered(ClockTime::try_from(patience).unwrap(), &[gst::MessageType::Error]);
        assert_eq!(error.is_some(), video.is_err());
    }
}

#[test]
fn all_begins_anew_after_a_flush() {
    let rig = Rig::new(&ms(&[(400, 200, 1.0)]), &[MONO]);
    rig.others[0].push(sound(0..16_000, |_| 10_000)).unwrap();
    rig.frames(0..12);
    for stream in [&rig.video, &rig.others[0]] {
        stream.event(gst::event::FlushStart::new());
    }
    for stream in [&rig.others[0], &rig.video] {
        stream.event(gst::event::FlushStop::new(true));
        stream.event(gst::event::Segment::new(&gst::FormattedSegment::<ClockTime>::new()));
        stream.seen.out.lock().unwrap().clear();
    }
    rig.others[0].push(sound(0..16_000, |_| 10_000)).unwrap();
    rig.frames(0..50);
    rig.video.eos();
    assert_eq!(samples(&rig.others[0].finished()).len(), 1_600);
    assert_eq!(rig.video.finished().len(), 6);
}

/// A file with one thread that reads it and plain queues of a second: what is ahead of the video waits in the element.
#[test]
fn plain_queues_do_not_lock_up_with_a_look_ahead() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, skim] = ["whole.mkv", "skim.mkv"].map(|name| folder.path().join(name));
    test_support::launch(&format!(
        "videotestsrc pattern=ball num-buffers=400 ! video/x-raw,width=64,height=48,framerate=25/1 \
         ! x264enc speed-preset=ultrafast threads=1 ! matroskamux name=m ! filesink location={} \
         audiotestsrc wave=ticks num-buffers=400 samplesperbuffer=320 ! {MONO} ! m.",
        whole.display()
    ));
    let model = test_support::tiny_model(folder.path());
    test_support::launch(&format!(
        "filesrc location={} ! matroskademux name=d d.video_0 ! queue ! avdec_h264 ! videoconvert \
         ! desumnet model={} device=cpu precision=f32 interval=8 ! desumskim name=s ratio=0.4 look-ahead=5000000000 \
         ! videoconvert ! x264enc speed-preset=ultrafast threads=1 tune=zerolatency ! queue ! matroskamux name=m ! filesink location={} \
         d.audio_0 ! queue ! audioconvert ! s.sink_0 s.src_0 ! queue ! m.",
        whole.display(),
        model.display(),
        skim.display()
    ));
    let [video, audio] = ["video", "audio"].map(|kind| {
        let length = std::sync::Arc::new(Mutex::new(0));
        let end = length.clone();
        let pipeline = gst::parse::launch(&format!(
            "filesrc location={} ! matroskademux name=d d.{kind}_0 ! fakesink name=sink sync=false",
            skim.display()
        ))
        .unwrap()
        .downcast::<gst::Pipeline>()
        .unwrap();
        let pad = pipeline.by_name("sink").unwrap().static_pad("sink").unwrap();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, probe| {
            let buffer = probe.buffer().unwrap();
            *end.lock().unwrap() = (buffer.pts().unwrap() + buffer.duration().unwrap_or_default()).mseconds();
            gst::PadProbeReturn::Ok
        });
        pipeline.set_state(gst::State::Playing).unwrap();
        let end = [gst::MessageType::Eos, gst::MessageType::Error];
        let message = pipeline.bus().unwrap().timed_pop_filtered(gst::ClockTime::NONE, &end).unwrap();
        assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
        pipeline.set_state(gst::State::Null).unwrap();
        *length.lock().unwrap()
    });
    assert!(video > 1_000 && video < 16_000, "{video}");
    assert!(video.abs_diff(audio) <= 20, "{video} ms of video, {audio} ms of sound");
}

const H264: &str = "video/x-h264,stream-format=avc,alignment=au";
/// Frames of a group of pictures.
const GROUP: u64 = 10;

/// The frame that is decoded as the n-th, in groups whose every second frame is decoded after the one that plays after it.
fn encoded(n: u64) -> gst::Buffer {
    let order = [0, 2, 1, 4, 3, 6, 5, 8, 7, 9];
    let (group, place) = (n / GROUP, n % GROUP);
    let mut buffer = frame(group * GROUP + order[place as usize], FRAME * 1_000_000);
    let fields = buffer.get_mut().unwrap();
    fields.set_dts(ClockTime::from_mseconds(n.saturating_sub(1) * FRAME));
    if place > 0 {
        fields.set_flags(gst::BufferFlags::DELTA_UNIT);
    }
    buffer
}

/// Number, PTS and DTS in ms of running time, and whether it goes on from the one before.
fn packets(stream: &Stream, out: &[Out]) -> Vec<(u8, u64, i64, bool)> {
    let segment = stream.output.sticky_event::<gst::event::Segment>(0).unwrap();
    let start = segment.segment().downcast_ref::<ClockTime>().unwrap().start().unwrap();
    let packet = |item: &Out| {
        let Out::Buffer(buffer) = item else { return None };
        let number = buffer.map_readable().unwrap()[0];
        let joins = !buffer.flags().contains(gst::BufferFlags::DISCONT);
        let dts = buffer.dts()?.mseconds() as i64 - start.mseconds() as i64;
        Some((number, (buffer.pts()? - start).mseconds(), dts, joins))
    };
    out.iter().filter_map(packet).collect()
}

#[test]
fn encoded_video_is_cut_at_key_frames_and_the_sound_with_it() {
    let rig = Rig::new(&ms(&[(500, 200, 1.0), (1300, 100, 1.0)]), &[MONO, H264]);
    for n in 0..50 {
        rig.others[1].push(encoded(n)).unwrap();
        rig.others[0].push(sound(n * 320..n * 320 + 320, numbered)).unwrap();
        rig.frames(n..n + 1);
    }
    // Its last group is over.
    rig.others[1].eos();
    rig.video.eos();
    // Of the group at 400 ms, all that plays in time; what the last one refers to goes along, in half of that one's time.
    let first = [10, 12, 11, 14, 13, 16, 15].map(|n| (n, u64::from(n) * FRAME - 400));
    let closing = [(18, 290), (17, 280)];
    let second = [30, 32, 31, 34, 33].map(|n| (n, u64::from(n) * FRAME - 900));
    let out = packets(&rig.others[1], &rig.others[1].finished());
    let times: Vec<_> = out.iter().map(|&(number, pts, _, _)| (number, pts)).collect();
    assert_eq!(times, [&first[..], &closing, &second].concat());
    // They are decoded as long before they play as they were, but for the first after the cut: it waits for what went along.
    let decoded: Vec<i64> = out.iter().map(|&(_, _, dts, _)| dts).collect();
    assert_eq!(decoded, [-40, 0, 40, 80, 120, 160, 200, 240, 280, 282, 300, 340, 380, 420]);
    let cuts: Vec<u8> = out.iter().filter(|(_, _, _, joins)| !joins).map(|&(number, ..)| number).collect();
    assert_eq!(cuts, [10, 30]);
    let sound = samples(&rig.others[0].finished());
    assert_eq!(sound.len(), 2400 + 1600);
    assert!((FADE..2400 - FADE).all(|i| sound[i] == 3200 + i as i16));
    assert!((FADE..1600 - FADE).all(|i| sound[2400 + i] == 9600 + i as i16));
}

#[test]
fn encoded_video_in_place_keeps_its_times() {
    let rig = Rig::with(&ms(&[(500, 200, 1.0)]), &[H264], false);
    for n in 0..50 {
        rig.frames(n..n + 1);
        rig.others[0].push(encoded(n)).unwrap();
    }
    rig.others[0].eos();
    rig.video.eos();
    let out = rig.others[0].finished();
    let expected = [
        (10, 400, 360),
        (12, 480, 400),
        (11, 440, 440),
        (14, 560, 480),
        (13, 520, 520),
        (16, 640, 560),
        (15, 600, 600),
        // The next one refers to it.
        (18, 720, 640),
        (17, 680, 680),
    ];
    assert_eq!(
        packets(&rig.others[0], &out).iter().map(|&(n, pts, dts, _)| (n, pts, dts)).collect::<Vec<_>>(),
        expected
    );
    // Gaps stand for all the others.
    assert_eq!(out.iter().filter(|item| matches!(item, Out::Gap(..))).count(), 50 - expected.len());
}

#[test]
fn of_encoded_video_what_may_be_left_out_waits_for_the_rest_of_its_group() {
    let rig = Rig::new(&ms(&[(100, 100, 1.0), (300, 50, 1.0)]), &[H264]);
    for n in 0..11 {
        rig.others[0].push(encoded(n)).unwrap();
    }
    rig.frames(0..6);
    let numbers = |out: &[Out]| packets(&rig.others[0], out).iter().map(|&(number, ..)| number).collect::<Vec<_>>();
    // What comes after 200 ms may be wanted, or not.
    assert_eq!(numbers(&rig.others[0].when(|out| out.len() == 5)), [0, 2, 1, 4, 3]);
    rig.frames(6..10);
    // 300 to 350 ms are in the group, too: nothing between them may be left out.
    assert_eq!(numbers(&rig.others[0].when(|out| out.len() == 9)), [0, 2, 1, 4, 3, 6, 5, 8, 7]);
}

/// As [`encoded`], but the last two of each group are decoded after the key frame that comes after them: open groups.
fn open_group(n: u64) -> gst::Buffer {
    let (group, place) = (n / GROUP, n % GROUP);
    let number = match place {
        1 | 2 => (group * GROUP + place).checked_sub(3),
        3.. => Some(group * GROUP + place - 2),
        0 => Some(group * GROUP),
    };
    let mut buffer = frame(number.unwrap_or(0), FRAME * 1_000_000);
    let fields = buffer.get_mut().unwrap();
    fields.set_dts(ClockTime::from_mseconds(n.saturating_sub(2) * FRAME));
    if place > 0 {
        fields.set_flags(gst::BufferFlags::DELTA_UNIT);
    }
    buffer
}

#[test]
fn pictures_that_refer_to_a_group_that_is_cut_out_are_cut_out_too() {
    // The second part ends with its group; the first one in the middle, and the third goes on over two groups.
    let rig = Rig::new(&ms(&[(0, 200, 1.0), (800, 400, 1.0), (1_600, 800, 1.0)]), &[H264]);
    for n in (0..70).filter(|&n| n != 1 && n != 2) {
        rig.others[0].push(open_group(n)).unwrap();
    }
    rig.others[0].eos();
    rig.frames(0..70);
    rig.video.eos();
    let out = packets(&rig.others[0], &rig.others[0].finished());
    let kept = |from: u64, numbers: &[u64], at: u64| {
        numbers.iter().map(|n| (*n as u8, (n - from) * FRAME + at)).collect::<Vec<_>>()
    };
    let expected = [
        kept(0, &[0, 1, 2, 3, 4], 0),
        kept(20, &[20, 21, 22, 23, 24, 25, 26, 27], 200),
        // The key frame that the last two refer to, in half of the last one's time.
        vec![(30, 580), (28, 520), (29, 560)],
        kept(40, &[40, 41, 42, 43, 44, 45, 46, 47, 50, 48, 49, 51, 52, 53, 54, 55, 56, 57], 600),
        vec![(60, 1_380), (58, 1_320), (59, 1_360)],
    ];
    assert_eq!(out.iter().map(|&(n, pts, ..)| (n, pts)).collect::<Vec<_>>(), expected.concat());
}

#[test]
fn key_frames_that_do_not_come_are_asked_for_and_nothing_wanted_is_lost() {
    let rig = Rig::new(&ms(&[(1_000, 1_000, 1.0), (70_000, 1_000, 1.0)]), &[H264]);
    let stream = &rig.others[0];
    for n in 0..80 {
        let mut packet = frame(n, 1_000_000_000);
        packet.get_mut().unwrap().set_dts(ClockTime::from_seconds(n));
        if n > 0 {
            packet.get_mut().unwrap().set_flags(gst::BufferFlags::DELTA_UNIT);
        }
        stream.push(packet).unwrap();
        rig.video.push(frame(n, 1_000_000_000)).unwrap();
        if n == 60 {
            // The first two seconds are wanted, whatever comes.
            assert_eq!(packets(stream, &stream.when(|out| out.len() >= 2)).len(), 2);
        }
    }
    assert_eq!(*stream.seen.asked.lock().unwrap(), 8);
    let warning = rig.bus.pop_filtered(&[gst::MessageType::Warning]).unwrap();
    assert!(format!("{warning:?}").contains("sink_0: no key frame has come for 60 s"), "{warning:?}");
    assert!(rig.bus.pop_filtered(&[gst::MessageType::Warning]).is_none());
    rig.video.eos();
    stream.eos();
    let numbers: Vec<u8> = packets(stream, &stream.finished()).iter().map(|&(number, ..)| number).collect();
    assert_eq!(numbers, (0..71).collect::<Vec<_>>());
}

#[test]
fn encoded_video_in_a_time_lapse_is_refused_with_the_remedy() {
    test_support::init();
    let element = gst::ElementFactory::make("desumskim").property_from_str("mode", "timelapse").build().unwrap();
    let bus = gst::Bus::new();
    element.set_bus(Some(&bus));
    let pad = element.request_pad_simple("sink_%u").unwrap();
    element.set_state(gst::State::Playing).unwrap();
    pad.send_event(gst::event::StreamStart::new("video"));
    assert!(!pad.send_event(gst::event::Caps::new(&H264.parse().unwrap())));
    let message = bus.pop_filtered(&[gst::MessageType::Error]).unwrap();
    let gst::MessageView::Error(error) = message.view() else { panic!("{message:?}") };
    assert_eq!(
        error.error().message(),
        "sink_0: encoded video plays at normal speed only: decode it, or use mode=skim"
    );
    element.set_state(gst::State::Null).unwrap();
}
