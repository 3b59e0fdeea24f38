//! Whole videos: how much of them is decoded to find the category.

mod common;

use common::text;
use gstdesumnet::{
    importance::{Aggregation, Form},
    network::{Device, Precision},
    offline::{Options, Progress, VideoScores, score},
    segmenter::Stride,
};

const SEGMENT: u64 = 640_000_000;

/// A video of as many frames, at 25 a second, and the times at which each pass over it was.
fn passes(frames: u32) -> (VideoScores, [Vec<u64>; 2]) {
    let folder = tempfile::tempdir().unwrap();
    let video = folder.path().join("ball.mp4");
    common::render(&video, "ball", frames);
    let options = Options {
        model: common::tiny_model(folder.path()),
        device: Device::Cpu,
        precision: Precision::F32,
        category: "auto".into(),
        form: Form::Weighted,
        aggregation: Aggregation::Mean,
        stride: Stride::Auto,
        // Only a few need be scored.
        interval: 50,
    };
    let mut times = [Vec::new(), Vec::new()];
    let scores = score(text(&video), &options, |Progress { pass, position, .. }| {
        times[pass as usize - 1].push(position);
    });
    (scores.unwrap(), times)
}

#[test]
fn a_short_video_is_read_through_for_its_category() {
    let (scores, [first, second]) = passes(40);
    let starts = [0, SEGMENT, 2 * SEGMENT];
    assert_eq!((first, second), (starts.to_vec(), starts.to_vec()));
    assert_eq!(scores.segments.len(), 3);
}

#[test]
fn of_a_long_video_only_what_is_drawn_is_decoded_for_its_category() {
    let frames = 1_700;
    let (scores, [drawn, second]) = passes(frames);
    assert_eq!((scores.segments.len(), second.len()), (107, 107));
    assert_eq!(drawn.len(), 10);
    assert!(drawn.is_sorted() && drawn[9] < 68_000_000_000 - 2 * SEGMENT, "{drawn:?}");
    assert!(drawn[4] > 10_000_000_000 && drawn[4] < 58_000_000_000, "{drawn:?}");
    assert!(scores.confidence > 1.0 / 3.0);
    // The draw is the same at every run.
    let (again, [drawn_again, _]) = passes(frames);
    assert_eq!((drawn_again, again.category, again.confidence), (drawn, scores.category, scores.confidence));
}
