//! Shots in `desumnet`'s meta and messages, and the importance maps: what is said of which frame.

use desumnet_engine::{
    Request,
    importance::{Form, Forward},
    maps::Maps,
    network::{CLIP_BYTES, Device, Network, Precision},
};
use desumnet_frames::clip::{CROP, FRAMES, HEIGHT, LEFT, TOP, WIDTH};
use gst::ClockTime;
use gst_video::prelude::*;
use gstdesumnet::meta::{Flags, ImportanceMap};
use test_support::scoring::*;

/// Pictures of large patches whose colours tell the scene: each scene with its number of frames.
fn scenes(info: &gst_video::VideoInfo, first: usize, lengths: &[usize]) -> Vec<gst::Buffer> {
    let (width, stride) = (info.width() as usize, info.stride()[0] as usize);
    let mut number = first;
    let mut buffers = Vec::new();
    for (scene, &length) in lengths.iter().enumerate() {
        let level = |byte: usize| {
            let (y, x, channel) = (byte / stride, byte % stride / 3, byte % 3);
            let patch = (x * 4 / width * 31 + y / 16 * 17 + channel + scene * 1009) as u32;
            40 + (patch.wrapping_mul(2_654_435_761) >> 13) as u8 % 176
        };
        let pixels: Vec<u8> = (0..info.size()).map(level).collect();
        for _ in 0..length {
            let mut buffer = gst::Buffer::from_slice(pixels.clone());
            let fields = buffer.get_mut().unwrap();
            fields.set_pts(SPACING * number as u64);
            fields.set_duration(SPACING);
            buffers.push(buffer);
            number += 1;
        }
    }
    buffers
}

/// Numbers of the frames that are flagged; checks that the shots' numbers rise from `first` just there.
fn starts(out: &[gst::Buffer], first: u64) -> Vec<usize> {
    let mut shot = first.wrapping_sub(1);
    let mut starts = Vec::new();
    for (number, meta) in metas(out).iter().enumerate() {
        shot = shot.wrapping_add(u64::from(meta.shot_start));
        assert_eq!(meta.shot, shot, "frame {number}");
        starts.extend(meta.shot_start.then_some(number));
    }
    starts
}

fn shot_messages(rig: &Rig) -> Vec<(u64, Option<ClockTime>, Option<ClockTime>)> {
    let messages = rig.element_messages();
    let shots = messages.iter().filter(|structure| structure.name() == "desumnet-shot");
    shots.map(|m| (m.get("shot").unwrap(), m.get("start").unwrap(), m.get("running-time").unwrap())).collect()
}

#[test]
fn first_frame_of_each_shot_is_flagged() {
    let info = usual_info();
    // Within a segment, at a segment's first and last frame, and too near the end for frames to follow.
    let pictures = scenes(&info, 0, &[20, 12, 15, 20, 3]);
    let expected = [0, 20, 32, 47, 67];
    // Skipped segments have shots, too.
    for interval in ["1", "3"] {
        let mut rig = Rig::new(&info, &[("post-messages", "true"), ("interval", interval)]);
        rig.push(&pictures);
        let out = rig.finish_buffers();
        assert_eq!(starts(&out, 0), expected, "interval {interval}");
        let messages = (0..5).map(|shot| (shot, pictures[expected[shot as usize]].pts()));
        assert_eq!(shot_messages(&rig), messages.map(|(shot, pts)| (shot, pts, pts)).collect::<Vec<_>>());
    }
    let mut quiet = Rig::new(&info, &[]);
    quiet.push(&pictures);
    quiet.finish();
    assert!(quiet.element_messages().is_empty());
}

#[test]
fn observer_posts_shots_as_they_are_found() {
    let info = usual_info();
    let pictures = scenes(&info, 0, &[20, 20]);
    let mut rig = Rig::new(&info, &[("mode", "observe")]);
    let segment = gst::FormattedSegment::<ClockTime>::new();
    let mut later = segment.clone();
    later.set_base(ClockTime::from_seconds(7));
    rig.push_event(gst::event::Segment::new(&later));
    rig.push(&pictures);
    rig.finish();
    let at = |number: u64| (Some(SPACING * number), Some(SPACING * number + ClockTime::from_seconds(7)));
    let expected = [(0, 0), (1, 20)].map(|(shot, number)| (shot, at(number).0, at(number).1));
    assert_eq!(shot_messages(&rig), expected);
}

#[test]
fn what_ends_a_segment_early_ends_the_shot() {
    let info = usual_info();
    let mut rig = Rig::new(&info, &[]);
    rig.push(&scenes(&info, 0, &[10]));
    rig.push_event(gst::event::Gap::builder(SPACING * 10).duration(SPACING * 5).build());
    rig.push(&scenes(&info, 15, &[20]));
    // A jump.
    rig.push(&scenes(&info, 1000, &[6]));
    assert_eq!(starts(&rig.finish_buffers(), 0), [0, 10, 30]);
}

#[test]
fn shots_start_afresh_after_a_flush_and_their_numbers_go_on() {
    let info = usual_info();
    let mut rig = Rig::new(&info, &[]);
    // The cut at 20 is found, and flushed with its segment.
    rig.push(&scenes(&info, 0, &[20, 10]));
    assert_eq!(starts(&rig.buffers(16), 0), [0]);
    rig.push_event(gst::event::FlushStart::new());
    rig.push_event(gst::event::FlushStop::new(true));
    rig.push_event(gst::event::Segment::new(&gst::FormattedSegment::<ClockTime>::new()));
    rig.push(&scenes(&info, 100, &[15, 15]));
    assert_eq!(starts(&rig.finish_buffers(), 2), [0, 15]);
}

#[test]
fn of_sixty_frames_a_second_a_sampled_one_is_flagged() {
    let info = usual_info();
    for (cut, flagged) in [(48, 48), (49, 50)] {
        let mut rig = Rig::new(&info, &[("frame-stride", "2")]);
        rig.push(&scenes(&info, 0, &[cut, 40]));
        assert_eq!(starts(&rig.finish_buffers(), 0), [0, flagged]);
    }
}

/// Bytes of a clip in which every pixel of every frame differs.
fn clip() -> Vec<u8> {
    (0..CLIP_BYTES).map(|i| (i * 31 % 251) as u8).collect()
}

#[test]
fn mean_of_the_map_is_the_frame_score() {
    let network = Network::load(model(), Device::Cpu, Precision::F32).unwrap();
    for form in [Form::Weighted, Form::Logit, Form::Probability] {
        let forward = || Forward::new(&network, &[&clip()]).unwrap();
        let values = forward().maps(&[1], form, &mut || ()).unwrap().values;
        assert_eq!(values.len(), FRAMES * CROP * CROP);
        let scores = forward().frame_scores(&[1], form).unwrap().remove(0);
        for (frame, score) in values.chunks(CROP * CROP).zip(scores) {
            let mean = frame.iter().copied().map(f64::from).sum::<f64>() / frame.len() as f64;
            assert!((mean / f64::from(score) - 1.0).abs() < 1e-5, "{mean} for {score}");
        }
    }
}

#[test]
fn engine_gives_maps_only_where_asked_for() {
    let score = |maps| stream().score(clip(), Request { maps, ..request_for("cooking") }).unwrap();
    assert_eq!(score(false).maps, None);
    let with = score(true);
    let network = Network::load(model(), Device::Cpu, Precision::F32).unwrap();
    let map = Forward::new(&network, &[&clip()]).unwrap().maps(&[1], Form::Weighted, &mut || ()).unwrap();
    assert_eq!(with.maps.unwrap(), Maps::new(map.of(0)));
    assert_eq!(with.frame_scores, score(false).frame_scores);
}

#[test]
fn map_lies_on_the_part_of_the_picture_that_the_network_sees() {
    let info = usual_info();
    let mut rig = Rig::new(&info, &[("map", "true"), ("category", "sailing"), ("interval", "2")]);
    let pictures = pictures(&info, 0..32);
    rig.push(&pictures);
    let out = rig.finish_buffers();
    let (marked, carried) = out.split_at(16);
    assert!(carried.iter().all(|buffer| ImportanceMap::of(buffer).is_none()));
    assert!(metas(carried).iter().all(|meta| meta.flags == Flags::CARRIED));
    let mut peaks = Vec::new();
    for (buffer, meta) in marked.iter().zip(metas(marked)) {
        let map = ImportanceMap::of(buffer).unwrap();
        let caps = map.picture.caps().unwrap();
        let picture = gst_video::VideoInfo::from_caps(caps).unwrap();
        assert_eq!(
            (picture.format(), picture.width(), picture.height()),
            (gst_video::VideoFormat::Gray8, WIDTH as u32, HEIGHT as u32)
        );
        let frame = gst_video::VideoFrame::from_buffer_readable(map.picture.buffer_owned().unwrap(), &picture).unwrap();
        let (mut sum, mut outside) = (0, 0);
        for (y, row) in frame.plane_data(0).unwrap().chunks(frame.plane_stride()[0] as usize).enumerate() {
            for (x, &value) in row[..WIDTH].iter().enumerate() {
                let inside = (LEFT..LEFT + CROP).contains(&x) && (TOP..TOP + CROP).contains(&y);
                *(if inside { &mut sum } else { &mut outside }) += u64::from(value);
            }
        }
        assert_eq!(outside, 0);
        // All but the few pixels beyond the peak count, each rounded to 1/255 of it.
        let mean = sum as f64 / 255.0 / (CROP * CROP) as f64 * map.peak;
        assert!((mean / meta.frame_score - 1.0).abs() < 0.05, "{mean} for {}", meta.frame_score);
        peaks.push(map.peak);
    }
    assert!(peaks[0] > 0.0 && peaks.iter().all(|&peak| peak == peaks[0]));

    let mut plain = Rig::new(&info, &[]);
    plain.push(&pictures[..16]);
    assert!(plain.finish_buffers().iter().all(|buffer| ImportanceMap::of(buffer).is_none()));
}
