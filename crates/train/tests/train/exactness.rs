//! The engine's scores of real videos against libtorch's in float64: the same ranking.
//!
//! `VIDEOS=FOLDER cargo test --release -p desumnet-train exactness -- --ignored --nocapture`; two seconds for each segment.

use std::path::Path;

use desumnet_engine::{
    importance::{Aggregation, Form, Forward},
    network::{Device, Model, Network, Precision},
};
use desumnet_frames::{clip::Geometry, segmenter::Stride};
use desumnet_media::decode::Segments;
use desumnet_torch::TorchNetwork;
use desumnet_train::evaluation::rank_correlation::Ranked;
use tch::Kind;

/// Every how many segments one is scored.
const INTERVAL: u64 = 3;

/// Numbers of the best fifth.
fn top_fifth(scores: &[f64]) -> std::collections::BTreeSet<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    order.into_iter().take(scores.len().div_ceil(5)).collect()
}

#[test]
#[ignore = "measures the videos in the folder VIDEOS"]
fn scores_rank_as_in_float64() {
    gst::init().unwrap();
    let folder = std::env::var_os("VIDEOS").expect("VIDEOS names a folder of videos");
    let mut videos: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    videos.sort();
    let path = Path::new(test_support::ROOT).join("models/desumnet.safetensors");
    let engine = Network::load(&path, Device::Cpu, Precision::Auto).unwrap();
    let exact = TorchNetwork::new(&Model::load(&path).unwrap(), tch::Device::Cpu, Kind::Double).unwrap();
    let exact = Network::of(Box::new(exact));
    println!("| video | segments | Spearman's rho | top fifth the same | furthest |\n|---|---|---|---|---|");
    let (mut own_all, mut exact_all) = (Vec::new(), Vec::new());
    let (mut same, mut top) = (0, 0);
    for video in videos {
        let segments = Segments::open(video.to_str().unwrap(), Stride::Auto, Geometry::PAPER).unwrap();
        let segments = segments.map(Result::unwrap).filter(|segment| segment.index.is_multiple_of(INTERVAL));
        let clips: Vec<Vec<u8>> = segments.map(|segment| segment.clip.centre_crop()).collect();
        let category = {
            let first = Forward::new(&engine, &[&clips[0]]).unwrap();
            desumnet_engine::argmax(&first.probabilities[0])
        };
        let scores = |network: &Network| -> Vec<f64> {
            let score = |clip: &Vec<u8>| {
                let forward = Forward::new(network, &[clip]).unwrap();
                let frames = forward.frame_scores(&[category], Form::Weighted).unwrap();
                f64::from(Aggregation::Mean.of(&frames[0]))
            };
            clips.iter().map(score).collect()
        };
        let (own, expected) = (scores(&engine), scores(&exact));
        let rho = Ranked::of(&own).spearman(&Ranked::of(&expected)).unwrap();
        let (own_top, expected_top) = (top_fifth(&own), top_fifth(&expected));
        let common = own_top.intersection(&expected_top).count();
        let furthest = own.iter().zip(&expected).map(|(a, b)| (a - b).abs() / b).fold(0.0, f64::max);
        let name = video.file_name().unwrap().to_string_lossy();
        println!("| {name} | {} | {rho:.6} | {common} of {} | {furthest:.1e} |", own.len(), own_top.len());
        assert!(rho >= 0.999, "{name}: {rho}");
        same += common;
        top += own_top.len();
        own_all.extend(own);
        exact_all.extend(expected);
    }
    let rho = Ranked::of(&own_all).spearman(&Ranked::of(&exact_all)).unwrap();
    println!("| all | {} | {rho:.6} | {same} of {top} | |", own_all.len());
    assert!(rho >= 0.999 && same as f64 >= 0.98 * top as f64, "{rho}, {same} of {top}");
}
