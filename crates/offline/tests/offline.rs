//! Whole videos: how much of them is decoded to find the category.

use desumnet_engine::{
    importance::{Aggregation, Form},
    network::{Calibration, Device, Precision},
};
use desumnet_frames::segmenter::Stride;
use desumnet_offline::{Options, Progress, VideoScores, score};
use test_support::text;

const SEGMENT: u64 = 640_000_000;

fn scored(folder: &std::path::Path, fits: Option<f64>, category: &str, form: Form) -> VideoScores {
    let mut model = test_support::tiny_network(1);
    model.header.calibration = fits.map(|fits| Calibration { temperature: 1.0, fits });
    let [path, video] = ["a.safetensors", "ball.mp4"].map(|name| folder.join(name));
    model.save(&path, desumnet_engine::network::Storage::F32).unwrap();
    if !video.exists() {
        test_support::render(&video, "ball", 60);
    }
    let options = Options { form, category: category.into(), ..options(path, 1) };
    VideoScores { model: String::new(), ..score(text(&video), &options, |_| ()).unwrap() }
}

#[test]
fn auto_asks_whether_the_category_fits_the_video() {
    let folder = tempfile::tempdir().unwrap();
    let scored = |fits, category: &str, form| scored(folder.path(), fits, category, form);
    let [weighted, unusual] = [Form::Weighted, Form::Unusual].map(|form| scored(None, "auto", form));
    assert_eq!((unusual.category.as_str(), unusual.confidence), ("", 0.0));
    let confidence = f64::from(weighted.confidence);
    assert_eq!(scored(Some(confidence - 1e-3), "auto", Form::Auto), weighted);
    assert_eq!(scored(Some(confidence + 1e-3), "auto", Form::Auto), unusual);
    assert_eq!(scored(None, "auto", Form::Auto), weighted);
    assert_eq!(scored(Some(1.0), "cooking", Form::Auto), scored(None, "cooking", Form::Weighted));
}

fn options(model: std::path::PathBuf, interval: u64) -> Options {
    Options {
        model,
        device: Device::Cpu,
        precision: Precision::F32,
        category: "auto".into(),
        form: Form::Weighted,
        aggregation: Aggregation::Mean,
        stride: Stride::Auto,
        interval,
    }
}

/// A video of as many frames, at 25 a second, and the times at which each pass over it was.
fn passes(frames: u32) -> (VideoScores, [Vec<u64>; 2]) {
    let folder = tempfile::tempdir().unwrap();
    let video = folder.path().join("ball.mp4");
    test_support::render(&video, "ball", frames);
    // Only a few need be scored.
    let options = options(test_support::tiny_model(folder.path()), 50);
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
