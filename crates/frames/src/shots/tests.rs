use proptest::prelude::*;

use super::*;

const MS: u64 = 1_000_000;
/// Small, for speed; the decisions see blocks only.
const SMALL: Geometry = Geometry { frames: 16, width: 32, height: 24, crop_width: 24, crop_height: 24 };

/// A picture of large patches whose colours tell the scene, moved to the left by `shift` pixels.
fn scene(number: u32, shift: usize) -> Vec<u8> {
    let patch = |x: usize, y: usize, channel: u32| {
        let place = (x / 8) as u32 * 31 + (y / 8) as u32 * 17 + channel;
        let mixed = (place + number * 1009).wrapping_mul(2_654_435_761) >> 13;
        40 + (mixed % 176) as u8
    };
    let pixels = (0..SMALL.height).flat_map(|y| (0..SMALL.width).map(move |x| (x, y)));
    pixels.flat_map(|(x, y)| [0, 1, 2].map(|channel| patch(x + shift, y, channel))).collect()
}

fn mix(a: &[u8], b: &[u8], share: f32) -> Vec<u8> {
    a.iter().zip(b).map(|(&a, &b)| (f32::from(a) * (1.0 - share) + f32::from(b) * share).round() as u8).collect()
}

fn still(number: u32, frames: usize) -> Vec<Vec<u8>> {
    vec![scene(number, 0); frames]
}

fn flat(level: u8, frames: usize) -> Vec<Vec<u8>> {
    vec![vec![level; SMALL.frame_bytes()]; frames]
}

/// A dissolve's frames between two pictures.
fn dissolve(a: &[u8], b: &[u8], frames: usize) -> Vec<Vec<u8>> {
    (1..=frames).map(|i| mix(a, b, i as f32 / (frames + 1) as f32)).collect()
}

/// The starts, each with the number of the frame that brought it out.
fn detect(limits: Limits, frames: &[Vec<u8>], times: impl Fn(usize) -> Option<u64>) -> Vec<(Start, u64)> {
    let mut detector = Detector::new(SMALL, limits, 40 * MS);
    let mut starts = Vec::new();
    for (i, pixels) in frames.iter().enumerate() {
        let settled = detector.settled();
        let start = detector.push(&Frame::new(pixels.clone()), times(i));
        assert!(start.is_none_or(|start| start.frame >= settled));
        assert!(detector.settled() >= settled && detector.settled() + LOOK_BACK as u64 >= detector.frames());
        starts.extend(start.map(|start| (start, i as u64)));
    }
    let (settled, last) = (detector.settled(), frames.len() as u64 - 1);
    let rest = detector.finish();
    assert!(rest.iter().all(|start| start.frame >= settled));
    starts.extend(rest.into_iter().map(|start| (start, last)));
    assert_eq!((detector.frames(), detector.settled()), (last + 1, last + 1));
    starts
}

/// Frames and kinds of the starts at 25 frames a second.
fn starts(frames: &[Vec<u8>]) -> Vec<(u64, Change)> {
    let found = detect(Limits::default(), frames, |i| Some(i as u64 * 40 * MS));
    found.into_iter().map(|(start, _)| (start.frame, start.change)).collect()
}

#[test]
fn cuts_are_found_to_the_frame_in_stills_and_in_motion() {
    let moving = |number, frames| (0..frames).map(move |i| scene(number, i)).collect::<Vec<_>>();
    let frames = [still(1, 40), still(2, 11), moving(3, 30), moving(4, 30)].concat();
    let cuts = [40, 51, 81].map(|frame| (frame, Change::Cut));
    assert_eq!(starts(&frames), [&[(0, Change::First)], &cuts[..]].concat());
}

#[test]
fn flashes_pans_noise_and_changes_of_light_are_no_shots() {
    let first = [(0, Change::First)];
    for bright in [1, 2, 4] {
        let flash = mix(&scene(1, 0), &vec![230; SMALL.frame_bytes()], 0.8);
        assert_eq!(starts(&[still(1, 30), vec![flash; bright], still(1, 30)].concat()), first, "flash of {bright}");
    }
    assert_eq!(starts(&[still(1, 30), flat(255, 2), still(1, 30)].concat()), first, "white flash");
    assert_eq!(starts(&[still(1, 30), flat(0, 1), still(1, 30)].concat()), first, "black frame");
    let pan: Vec<_> = (0..100).map(|i| scene(1, i / 2)).collect();
    assert_eq!(starts(&pan), first, "pan");
    let noise: Vec<_> = (0..100u32)
        .map(|i| {
            let noise = |j: usize| ((j as u32 + i * 7919).wrapping_mul(2_654_435_761) >> 24) as u8;
            (0..SMALL.frame_bytes()).map(noise).collect::<Vec<u8>>()
        })
        .collect();
    assert_eq!(starts(&noise), first, "noise");
    let darker = mix(&scene(1, 0), &vec![0; SMALL.frame_bytes()], 0.6);
    let dimmed = [still(1, 30), dissolve(&scene(1, 0), &darker, 15), vec![darker; 30]].concat();
    assert_eq!(starts(&dimmed), first, "light");
}

#[test]
fn a_dissolve_starts_a_shot_at_its_end() {
    for length in [6, 12, 25, 40] {
        let between = dissolve(&scene(1, 0), &scene(2, 0), length);
        let found = starts(&[still(1, 30), between, still(2, 30)].concat());
        let [(0, Change::First), (frame, Change::Gradual)] = found[..] else { panic!("{length}: {found:?}") };
        let end = 30 + length as u64;
        assert!((end - length as u64 / 5 - 1..=end).contains(&frame), "{length}: {frame}");
    }
}

#[test]
fn a_shot_starts_with_the_first_picture_after_black_or_white() {
    for blank in [0, 255] {
        let end = vec![blank; SMALL.frame_bytes()];
        let (out, into) = (dissolve(&scene(1, 0), &end, 12), dissolve(&end, &scene(2, 0), 12));
        let faded = [still(1, 30), out, flat(blank, 10), into, still(2, 30)].concat();
        let found = starts(&faded);
        let [(0, Change::First), (frame, Change::Cut)] = found[..] else { panic!("{blank}: {found:?}") };
        assert!((52..=53).contains(&frame), "{blank}: {frame}");
        // However few blank frames are between two shots.
        for frames in [1, 2, 8] {
            let found = starts(&[still(1, 30), flat(blank, frames), still(2, 30)].concat());
            assert_eq!(found, [(0, Change::First), (30 + frames as u64, Change::Cut)], "{blank}");
        }
    }
    assert_eq!(starts(&[flat(0, 20), still(1, 30)].concat()), [(0, Change::First), (20, Change::Cut)]);
}

#[test]
fn a_long_shot_is_cut_before_it_is_too_long() {
    let found = starts(&still(1, 300));
    // 5 s are 125 frames, less 10 that a cut just after them would need.
    assert_eq!(found, [(0, Change::First), (115, Change::Length), (230, Change::Length)]);
    let found = starts(&[still(1, 128), still(2, 30)].concat());
    assert_eq!(found, [(0, Change::First), (115, Change::Length), (128, Change::Cut)]);
}

#[test]
fn a_change_too_soon_after_a_start_is_passed_over() {
    let frames = [still(1, 30), still(2, 9), still(3, 30)].concat();
    assert_eq!(starts(&frames), [(0, Change::First), (30, Change::Cut)]);
}

#[test]
fn frames_without_timestamps_count_by_the_spacing() {
    let frames = [still(1, 30), still(2, 120)].concat();
    let found = detect(Limits::default(), &frames, |_| None);
    let found: Vec<_> = found.into_iter().map(|(start, _)| (start.frame, start.pts, start.change)).collect();
    assert_eq!(found, [(0, None, Change::First), (30, None, Change::Cut)]);
}

#[test]
fn what_follows_a_reset_starts_a_shot_and_numbers_go_on() {
    let mut detector = Detector::new(SMALL, Limits::default(), 40 * MS);
    let push = |detector: &mut Detector, number, time| detector.push(&Frame::new(scene(number, 0)), Some(time));
    for i in 0..20 {
        let expected = (i == 0).then_some(Start { frame: 0, pts: Some(0), change: Change::First });
        assert_eq!(push(&mut detector, 1, i * 40 * MS), expected);
    }
    push(&mut detector, 2, 800 * MS);
    detector.reset();
    let expected = Start { frame: 21, pts: Some(7 * MS), change: Change::First };
    assert_eq!(push(&mut detector, 3, 7 * MS), Some(expected));
    assert_eq!(detector.finish(), []);
}

/// Scenes, moving or not, with hard or soft changes and black frames between them.
fn streams() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let part = (0u32..6, 1usize..40, 0usize..3, 0usize..12, prop::bool::ANY);
    prop::collection::vec(part, 1..8).prop_map(|parts| {
        let mut frames: Vec<Vec<u8>> = Vec::new();
        for (number, length, speed, between, soft) in parts {
            match frames.last().cloned() {
                Some(last) if soft => frames.extend(dissolve(&last, &scene(number, 0), between)),
                _ => frames.extend(flat(0, between / 3)),
            }
            frames.extend((0..length).map(|i| scene(number, i * speed)));
        }
        frames
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn limits_order_and_delay_hold(
        frames in streams(), steps in prop::collection::vec(0u64..300 * MS, 400), shortest in 0u64..1_000, factor in 2u64..8,
    ) {
        let limits = Limits { shortest: shortest * MS, longest: shortest * factor * MS };
        let times: Vec<u64> = steps.iter().scan(0, |now, step| { *now += step; Some(*now) }).collect();
        let found = detect(limits, &frames, |i| Some(times[i]));
        prop_assert_eq!(found[0].0, Start { frame: 0, pts: Some(times[0]), change: Change::First });
        for (start, reported) in &found {
            prop_assert_eq!(start.pts, Some(times[start.frame as usize]));
            prop_assert!(reported - start.frame <= LOOK_BACK as u64);
        }
        for pair in found.windows(2) {
            let [a, b] = [pair[0].0.frame as usize, pair[1].0.frame as usize];
            prop_assert!(a < b && times[b] - times[a] >= limits.shortest);
        }
        // No shot is too long that has a frame to cut it at.
        let ends = found.iter().skip(1).map(|(start, _)| start.frame as usize).chain([frames.len() - 1]);
        for ((start, _), end) in found.iter().zip(ends) {
            let since = times[start.frame as usize];
            let place = |time: &u64| (since + limits.shortest.max(1)..=since + limits.longest).contains(time);
            prop_assert!(times[end] <= since + limits.longest || !times[..end].iter().any(place));
        }
    }

    #[test]
    fn what_comes_later_changes_no_decision(frames in streams(), cut in 0.0f64..1.0) {
        let length = 1 + (cut * (frames.len() - 1) as f64) as usize;
        let times = |i: usize| Some(i as u64 * 40 * MS);
        let early = |found: Vec<(Start, u64)>| -> Vec<Start> {
            let starts = found.into_iter().map(|(start, _)| start);
            starts.filter(|start| start.frame as usize + LOOK_BACK < length).collect()
        };
        let whole = early(detect(Limits::default(), &frames, times));
        prop_assert_eq!(early(detect(Limits::default(), &frames[..length], times)), whole);
    }
}
