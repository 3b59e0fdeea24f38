//! `desumoverlay`: what is drawn where, in every format, and what stays as it was.

use gst::{ClockTime, prelude::*};
use gst_check::Harness;
use gst_video::{VideoFormat, VideoInfo};
use gstdesumnet::{
    meta::{Flags, ImportanceMap, ImportanceMeta},
    overlay::{Area, Show, panel::Layout},
};

/// Of every picture's pixels.
const GREY: u8 = 128;
/// The bar's colour, RGB.
const MARK: [u8; 3] = [255, 176, 0];
const FRAME: ClockTime = ClockTime::from_mseconds(40);

fn info(format: VideoFormat, width: u32, height: u32) -> VideoInfo {
    test_support::init();
    VideoInfo::builder(format, width, height).fps(gst::Fraction::new(25, 1)).build().unwrap()
}

fn rgb(width: u32, height: u32) -> VideoInfo {
    info(VideoFormat::Rgb, width, height)
}

fn overlay(info: &VideoInfo, properties: &str) -> Harness {
    test_support::init();
    let mut harness = Harness::new_parse(&format!("desumoverlay {properties}"));
    harness.set_src_caps(info.to_caps().unwrap());
    harness.set_sink_caps(info.to_caps().unwrap());
    harness
}

fn meta(segment: u64, importance: f64) -> ImportanceMeta {
    ImportanceMeta {
        segment,
        segment_start: Some(FRAME * (segment * 16)),
        segment_duration: FRAME * 16,
        segment_frames: 16,
        frame: 0,
        frame_score: 1.0,
        segment_score: 1.0,
        importance,
        category: "sailing".into(),
        confidence: 0.9,
        shot: segment,
        shot_start: true,
        flags: Flags::empty(),
    }
}

/// A grey RGB picture.
fn picture(info: &VideoInfo, meta: Option<ImportanceMeta>) -> gst::Buffer {
    let mut buffer = gst::Buffer::from_mut_slice(vec![GREY; info.size()]);
    let fields = buffer.get_mut().unwrap();
    fields.set_pts(FRAME * 3);
    fields.set_duration(FRAME);
    fields.set_offset(7);
    if let Some(meta) = meta {
        meta.add(fields).unwrap();
    }
    buffer
}

/// The picture that comes out, and its RGB pixels by row and column.
struct Drawn(Vec<u8>, usize);

impl Drawn {
    fn of(info: &VideoInfo, buffer: &gst::Buffer) -> Self {
        Self(buffer.map_readable().unwrap().to_vec(), info.stride()[0] as usize)
    }

    fn at(&self, x: usize, y: usize) -> [u8; 3] {
        self.0[y * self.1 + x * 3..][..3].try_into().unwrap()
    }
}

fn draw(info: &VideoInfo, properties: &str, meta: ImportanceMeta) -> Drawn {
    Drawn::of(info, &overlay(info, properties).push_and_pull(picture(info, Some(meta))).unwrap())
}

fn within(area: Area, x: usize, y: usize) -> bool {
    (area.x..area.x + area.width).contains(&x) && (area.y..area.y + area.height).contains(&y)
}

fn near(a: [u8; 3], b: [u8; 3], far: u8) -> bool {
    a.iter().zip(b).all(|(a, b)| a.abs_diff(b) <= far)
}

#[test]
fn bar_is_as_long_as_the_importance_and_nothing_beside_the_panel_changes() {
    for (width, height) in [(320, 240), (1920, 1080), (3840, 2160)] {
        let info = rgb(width, height);
        let panel = Layout::new(width as usize, height as usize, Show::BAR).unwrap().panel;
        let middle = panel.y + panel.height / 2;
        let lengths = [0.0, 0.5, 1.0].map(|importance| {
            let drawn = draw(&info, "show=bar", meta(0, importance));
            for y in 0..height as usize {
                let unchanged = |x| drawn.at(x, y) == [GREY; 3];
                assert!((0..width as usize).all(|x| within(panel, x, y) || unchanged(x)), "{width}x{height} row {y}");
            }
            let length = (0..width as usize).filter(|&x| near(drawn.at(x, middle), MARK, 1)).count();
            // The panel is dark around the bar.
            assert!(drawn.at(panel.x + 1, middle).iter().all(|&value| value < 60));
            length
        });
        let full = draw(&info, "show=bar", meta(0, 1.0));
        let padding = (0..panel.width).position(|x| near(full.at(panel.x + x, middle), MARK, 1)).unwrap();
        let whole = panel.width - 2 * padding;
        assert_eq!(lengths, [0, whole.div_ceil(2), whole], "{width}x{height}");
    }
}

#[test]
fn text_and_graph_are_light_on_dark_over_black_and_white() {
    let info = rgb(640, 480);
    let panel = Layout::new(640, 480, Show::all()).unwrap().panel;
    for ground in [0, 255] {
        let mut buffer = picture(&info, Some(meta(0, 0.5)));
        buffer.get_mut().unwrap().map_writable().unwrap().fill(ground);
        let drawn = Drawn::of(&info, &overlay(&info, "").push_and_pull(buffer).unwrap());
        let pixels =
            || (panel.y..panel.y + panel.height).flat_map(|y| (panel.x..panel.x + panel.width).map(move |x| (x, y)));
        let count = |test: fn([u8; 3]) -> bool| pixels().filter(|&(x, y)| test(drawn.at(x, y))).count();
        let (dark, light) = (count(|p| p.iter().all(|&v| v <= 80)), count(|p| p.iter().all(|&v| v >= 235)));
        assert!(dark * 2 > panel.width * panel.height && light > 200, "on {ground}: {dark} dark, {light} light");
    }
}

#[test]
fn graph_grows_a_column_a_segment_and_a_mark_a_shot() {
    let info = rgb(1280, 720);
    let panel = Layout::new(1280, 720, Show::GRAPH).unwrap().panel;
    let mut harness = overlay(&info, "show=graph");
    let row = |drawn: &Drawn, y: usize, colour| {
        (panel.x..panel.x + panel.width).filter(|&x| near(drawn.at(x, y), colour, 1)).count()
    };
    let mut newest = Vec::new();
    for segment in 0..3 {
        let drawn = Drawn::of(&info, &harness.push_and_pull(picture(&info, Some(meta(segment, 1.0)))).unwrap());
        let (high, low) = (panel.y + panel.height / 3, panel.y + panel.height * 4 / 5);
        newest.push((row(&drawn, high, MARK), row(&drawn, high, [0xA8, 0x7A, 0x1E]), row(&drawn, low, [0xF2; 3])));
    }
    // 0.64 of 30 s are 10.5 of the 492 pixels; a mark is 2 wide.
    assert_eq!(newest, [(10, 0, 2), (10, 11, 4), (10, 21, 6)]);
}

#[test]
fn frame_keeps_everything_but_its_pixels_and_shared_pixels_stay() {
    let info = rgb(320, 240);
    let mut harness = overlay(&info, "");
    let input = picture(&info, Some(meta(5, 0.25)));
    let out = harness.push_and_pull(input.clone()).unwrap();
    assert_eq!((out.pts(), out.duration(), out.offset()), (Some(FRAME * 3), Some(FRAME), 7));
    assert_eq!(ImportanceMeta::of(&out), Some(meta(5, 0.25)));
    assert!(input.map_readable().unwrap().iter().all(|&value| value == GREY));
    assert!(out.map_readable().unwrap().iter().any(|&value| value != GREY));
    let caps = harness.sinkpad().unwrap().current_caps().unwrap();
    assert_eq!(VideoInfo::from_caps(&caps).unwrap(), info);
}

#[test]
fn frames_of_a_segment_look_the_same_and_the_next_segment_does_not() {
    let info = rgb(320, 240);
    let mut harness = overlay(&info, "");
    let mut push = |meta: ImportanceMeta| {
        harness.push_and_pull(picture(&info, Some(meta))).unwrap().map_readable().unwrap().to_vec()
    };
    let first = push(meta(0, 0.25));
    let second = ImportanceMeta { frame: 1, shot_start: false, ..meta(0, 0.25) };
    assert_eq!(push(second.clone()), first);
    assert_ne!(push(ImportanceMeta { shot_start: true, frame: 8, ..second }), first);
    assert_ne!(push(meta(1, 0.75)), first);
}

#[test]
fn frames_without_importance_pass_with_one_warning() {
    let info = rgb(320, 240);
    let mut harness = overlay(&info, "");
    let bus = gst::Bus::new();
    harness.element().unwrap().set_bus(Some(&bus));
    for _ in 0..3 {
        let out = harness.push_and_pull(picture(&info, None)).unwrap();
        assert!(out.map_readable().unwrap().iter().all(|&value| value == GREY));
    }
    let warnings = bus.iter_filtered(&[gst::MessageType::Warning]).count();
    assert_eq!(warnings, 1);
}

#[test]
fn any_size_and_an_unscored_segment_do() {
    for (width, height) in [(1, 1), (2, 2), (8, 8), (16, 16), (17, 13), (321, 241), (99, 1000), (1000, 99)] {
        let info = rgb(width, height);
        let unscored = ImportanceMeta { category: String::new(), flags: Flags::UNSCORED, ..meta(0, 0.0) };
        let mut harness = overlay(&info, "");
        for meta in [unscored, meta(1, 1.0), meta(2, 0.3)] {
            let out = harness.push_and_pull(picture(&info, Some(meta.clone()))).unwrap();
            let changed = out.map_readable().unwrap().iter().any(|&value| value != GREY);
            let drawn = Layout::new(width as usize, height as usize, Show::all()).is_some();
            assert_eq!(changed, drawn, "{width}x{height}");
            harness.push_and_pull(with_map(picture(&info, Some(meta)), &[(2, 2)])).unwrap();
        }
    }
}

/// The picture with a map of 40 x 30 that is 255 at these places, and 2 pixels around them.
fn with_map(mut buffer: gst::Buffer, places: &[(usize, usize)]) -> gst::Buffer {
    let map = info(VideoFormat::Gray8, 40, 30);
    let mut grey = vec![0; map.size()];
    for &(x, y) in places {
        for (dx, dy) in (0..5).flat_map(|dy| (0..5).map(move |dx| (dx, dy))) {
            grey[(y + dy - 2) * 40 + x + dx - 2] = 255;
        }
    }
    let picture =
        gst::Sample::builder().caps(&map.to_caps().unwrap()).buffer(&gst::Buffer::from_mut_slice(grey)).build();
    ImportanceMap { picture, peak: 1.0 }.add(buffer.make_mut()).unwrap();
    buffer
}

#[test]
fn heat_is_where_the_map_is_bright() {
    for (width, height) in [(640, 480), (320, 240), (1280, 720)] {
        let info = rgb(width, height);
        let buffer = with_map(picture(&info, Some(meta(0, 0.5))), &[(30, 6)]);
        let drawn = Drawn::of(&info, &overlay(&info, "show=map").push_and_pull(buffer.clone()).unwrap());
        let yellow = |[red, green, blue]: [u8; 3]| i32::from(red) + i32::from(green) - 2 * i32::from(blue);
        let (width, height) = (width as usize, height as usize);
        let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let (x, y) = places.max_by_key(|&(x, y)| yellow(drawn.at(x, y))).unwrap();
        let (cell_x, cell_y) = (x * 40 / width, y * 30 / height);
        assert!(cell_x.abs_diff(30) <= 1 && cell_y.abs_diff(6) <= 1, "hottest at {x}, {y} of {width}x{height}");
        assert!(yellow(drawn.at(x, y)) > 200);
        // Far from it, nothing is changed.
        for (x, y) in [(0, 0), (width / 2, height / 4), (width - 1, height - 1), (width * 3 / 4, height * 2 / 3)] {
            assert_eq!(drawn.at(x, y), [GREY; 3], "{x}, {y}");
        }
        let without = Drawn::of(&info, &overlay(&info, "show=0").push_and_pull(buffer).unwrap());
        assert!(without.0.iter().all(|&value| value == GREY));
    }
}

#[test]
fn flush_empties_the_graph() {
    let info = rgb(640, 480);
    let mut harness = overlay(&info, "show=graph");
    let push =
        |harness: &mut Harness| Drawn::of(&info, &harness.push_and_pull(picture(&info, Some(meta(9, 0.5)))).unwrap()).0;
    let fresh = push(&mut harness);
    harness.push_and_pull(picture(&info, Some(meta(10, 0.5)))).unwrap();
    assert_ne!(push(&mut harness), fresh);
    harness.push_event(gst::event::FlushStart::new());
    harness.push_event(gst::event::FlushStop::new(true));
    harness.push_event(gst::event::Segment::new(&gst::FormattedSegment::<ClockTime>::new()));
    assert_eq!(push(&mut harness), fresh);
}

/// Converts a picture between formats.
fn convert(from: &VideoInfo, to: &VideoInfo, buffer: gst::Buffer) -> gst::Buffer {
    let converter = gst_video::VideoConverter::new(from, to, None).unwrap();
    let source = gst_video::VideoFrame::from_buffer_readable(buffer, from).unwrap();
    let target = gst::Buffer::with_size(to.size()).unwrap();
    let mut target = gst_video::VideoFrame::from_buffer_writable(target, to).unwrap();
    converter.frame(&source, &mut target);
    target.into_buffer()
}

#[test]
fn every_format_is_drawn_on() {
    let plain = rgb(320, 240);
    let panel = Layout::new(320, 240, Show::BAR).unwrap().panel;
    let middle = panel.y + panel.height / 2;
    let luma = |[r, g, b]: [u8; 3]| (u32::from(r) * 299 + u32::from(g) * 587 + u32::from(b) * 114) / 1000;
    for &format in gst_video::VIDEO_FORMATS_ALL.iter() {
        let info = info(format, 320, 240);
        let mut buffer = convert(&plain, &info, picture(&plain, None));
        let before = Drawn::of(&plain, &convert(&info, &plain, buffer.clone()));
        meta(0, 0.5).add(buffer.make_mut()).unwrap();
        let out = overlay(&info, "show=bar").push_and_pull(buffer).unwrap();
        let drawn = Drawn::of(&plain, &convert(&info, &plain, out));
        // Some pixels away: formats share colours among neighbours.
        for (x, y) in [(5, 5), (panel.x - 5, middle), (panel.x + panel.width + 4, middle), (100, panel.y - 5)] {
            assert_eq!(drawn.at(x, y), before.at(x, y), "{format} at {x}, {y}");
        }
        let [bar, track, ground] =
            [panel.width / 4, panel.width * 3 / 4, 2].map(|x| luma(drawn.at(panel.x + x, middle)));
        assert!(bar > 160 && (100..115).contains(&track) && ground < 50, "{format}: {bar} {track} {ground}");
    }
}
