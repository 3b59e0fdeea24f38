//! What is unusual to the network that ships, in a drawn scene; and what `desumnet importance=unusual` tells and keeps.

use std::path::Path;

use desumnet_engine::{
    average_precision,
    network::{Device, Network, Precision},
    unusual::{Eye, Usual, hindsight},
};
use desumnet_frames::clip::Geometry;
use gst::prelude::*;
use gstdesumnet::meta::MESSAGE_NAME;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use test_support::scoring::{pipeline, wait_for_eos};

const SIDE: usize = 112;
const FRAMES: usize = 16;

#[derive(Clone, Copy, Debug)]
enum Weather {
    /// Leaves rustle.
    Gusts,
    /// Streaks fall all over the picture.
    Rain,
}

/// A camera's view of a lawn under trees; someone may walk over the lawn.
struct Lawn {
    rng: StdRng,
    leaves: Vec<u8>,
}

impl Lawn {
    fn new() -> Self {
        let mut rng = StdRng::seed_from_u64(11);
        Self { leaves: (0..SIDE * SIDE).map(|_| rng.random_range(20..120)).collect(), rng }
    }

    /// 16 pictures, RGB. The weather's strength is in [0, 1].
    fn clip(&mut self, weather: Weather, strength: f64, walker: bool) -> Vec<u8> {
        let (mut clip, start) = (Vec::new(), self.rng.random_range(0..60));
        for frame in 0..FRAMES {
            let gust = if matches!(weather, Weather::Gusts) { strength } else { 0.0 };
            let shift = (gust * self.rng.random_range(-3.0..3.0)).round() as isize;
            let drops = if matches!(weather, Weather::Rain) { (60.0 * strength) as usize } else { 0 };
            let drops: Vec<[usize; 2]> = (0..drops).map(|_| [0; 2].map(|_| self.rng.random_range(0..SIDE))).collect();
            let first = clip.len();
            for y in 0..SIDE {
                for x in 0..SIDE {
                    let noise = self.rng.random_range(0..4);
                    let left = start + 3 * frame;
                    let [r, g, b] = if y < 60 {
                        let leaf = self.leaves[y * SIDE + (x as isize + shift).rem_euclid(SIDE as isize) as usize];
                        [leaf / 2, leaf, leaf / 3]
                    } else if walker && (78..98).contains(&y) && (left..left + 7).contains(&x) {
                        [150, 40, 40]
                    } else {
                        [90, 140, 70]
                    };
                    clip.extend([r, g, b].map(|c: u8| c.saturating_add(noise)));
                }
            }
            for [x, y] in drops {
                for y in y..(y + 7).min(SIDE) {
                    let pixel = first + 3 * (y * SIDE + x);
                    clip[pixel..pixel + 3].iter_mut().for_each(|c| *c = c.midpoint(230));
                }
            }
        }
        clip
    }
}

/// Mean difference of consecutive pictures.
fn motion(clip: &[u8]) -> f64 {
    let picture = clip.len() / FRAMES;
    let pairs = clip.iter().zip(&clip[picture..]);
    pairs.map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / (clip.len() - picture) as f64
}

#[test]
fn a_walker_stands_out_from_the_weather() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/desumnet.safetensors");
    let network = Network::load(&model, Device::Cpu, Precision::Auto).unwrap();
    let eye = Eye::new(network.features.unwrap());
    let Geometry { frames, crop_width, .. } = network.clip;
    assert_eq!((frames, crop_width), (FRAMES, SIDE));
    for weather in [Weather::Gusts, Weather::Rain] {
        let (mut lawn, mut usual) = (Lawn::new(), Usual::default());
        let (mut live, mut moves, mut looks, mut truth) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for number in 0..120 {
            let strength = 0.2 + 0.8 * (number as f64 / 5.0).sin().abs();
            let walker = number > 40 && number % 10 == 4;
            let clip = lawn.clip(weather, strength, walker);
            let features = network.features_of(&[&clip]).unwrap().unwrap();
            let look = eye.look(&features[0], &clip, FRAMES, SIDE);
            live.push(usual.judge(&look, 0.64).score);
            looks.push(look);
            moves.push(motion(&clip));
            truth.push(walker);
        }
        let later = |scores: &[f64]| average_precision(&scores[40..], &truth[40..]).unwrap();
        let (live, seen_back, moving) = (later(&live), later(&hindsight(&looks)), later(&moves));
        assert!(
            moving < 0.5 && live >= 0.9 && seen_back >= 0.9,
            "{weather:?}: motion {moving}, live {live}, with hindsight {seen_back}"
        );
    }
}

/// A segment's message.
struct Told {
    score: f64,
    importance: f64,
    category: String,
    frame_scores: Vec<f64>,
}

/// What is told of 30 segments of a ball that bounces.
fn told(properties: &str) -> Vec<Told> {
    let pipeline = pipeline(&format!(
        "videotestsrc num-buffers=480 pattern=ball ! video/x-raw,width=64,height=64,framerate=25/1 \
         ! desumnet importance=unusual post-messages=true {properties} ! fakesink"
    ));
    let (sender, told) = std::sync::mpsc::channel();
    pipeline.bus().unwrap().set_sync_handler(move |_, message| {
        if let Some(told) = message.structure().filter(|told| told.name() == MESSAGE_NAME) {
            let scores = told.get::<gst::Array>("frame-scores").unwrap();
            sender
                .send(Told {
                    score: told.get("score").unwrap(),
                    importance: told.get("importance").unwrap(),
                    category: told.get("category").unwrap(),
                    frame_scores: scores.iter().map(|score| score.get().unwrap()).collect(),
                })
                .unwrap();
        }
        gst::BusSyncReply::Pass
    });
    pipeline.set_state(gst::State::Playing).unwrap();
    wait_for_eos(&pipeline);
    pipeline.set_state(gst::State::Null).unwrap();
    let told: Vec<Told> = told.try_iter().collect();
    assert_eq!(told.len(), 30);
    assert!(told.iter().all(|told| told.category.is_empty() && (0.0..1.0).contains(&told.importance)));
    told
}

#[test]
fn frame_scores_are_the_segments_and_follow_the_map_where_there_is_one() {
    let (without, with) = (told(""), told("map=true"));
    for (number, (without, with)) in without.iter().zip(&with).enumerate() {
        assert!((without.score - with.score).abs() <= 1e-6 * with.score, "{number}");
        assert_eq!(without.frame_scores, [without.score; 16], "{number}");
        let mean = with.frame_scores.iter().sum::<f64>() / 16.0;
        assert!((mean - with.score).abs() <= 1e-5 * with.score, "{number}: {mean} {}", with.score);
        assert!(number < 2 || with.frame_scores.iter().any(|score| (score - mean).abs() > 0.01 * mean), "{number}");
    }
    // Nobody knows how rare anything is in a stream of which 20 segments are known at most.
    let known = without.iter().position(|told| told.importance > 0.0);
    assert_eq!(known, Some(20));
}

#[test]
fn what_is_usual_is_kept_over_a_restart_and_a_damaged_file_costs_only_that() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("usual.json");
    let keeping = || told(&format!("usual-location={}", path.display()));
    let first = keeping();
    let again = keeping();
    // So is it over READY, where the element stays set up.
    let pipeline = pipeline(&format!(
        "videotestsrc num-buffers=320 pattern=ball ! video/x-raw,width=64,height=64,framerate=25/1 \
         ! desumnet importance=unusual post-messages=true usual-location={} ! fakesink",
        folder.path().join("ready.json").display()
    ));
    let (sender, scores) = std::sync::mpsc::channel();
    pipeline.bus().unwrap().set_sync_handler(move |_, message| {
        if let Some(told) = message.structure().filter(|told| told.name() == MESSAGE_NAME) {
            sender.send(told.get::<f64>("score").unwrap()).unwrap();
        }
        gst::BusSyncReply::Pass
    });
    for known in [false, true] {
        pipeline.set_state(gst::State::Playing).unwrap();
        wait_for_eos(&pipeline);
        pipeline.set_state(gst::State::Ready).unwrap();
        let run: Vec<f64> = scores.try_iter().collect();
        assert_eq!((run.len(), run[0] > 0.0), (20, known), "{run:?}");
    }
    pipeline.set_state(gst::State::Null).unwrap();
    assert_eq!((first[1].importance, again[1].importance > 0.0), (0.0, true));
    std::fs::write(&path, "{").unwrap();
    let anew = keeping();
    for (first, anew) in first.iter().zip(&anew) {
        assert_eq!((first.score, first.importance), (anew.score, anew.importance));
    }
    assert!(std::fs::metadata(&path).unwrap().len() > 1000, "it is written anew");
}
