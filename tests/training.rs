//! Training on rendered clips of two kinds: it learns them, the same way at every run.

mod common;

use clap::Parser;
use gstdesumnet::{
    network::Network,
    training::{
        accuracy,
        data::Dataset,
        trainer::{Settings, Trainer},
    },
};
use tch::{Device, Kind};

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    settings: Settings,
}

fn data(folder: &std::path::Path) -> Dataset {
    for (category, patterns) in
        [("calm", ["smpte", "solid-color", "gradient"]), ("wild", ["snow", "zone-plate", "ball"])]
    {
        let videos = folder.join(category);
        std::fs::create_dir(&videos).unwrap();
        for pattern in patterns {
            common::render(&videos.join(format!("{pattern}.mp4")), pattern, 24);
        }
    }
    std::fs::write(folder.join("notes.txt"), "a file beside the categories is no category").unwrap();
    let set = Dataset::load(folder, |_, _| {}).unwrap();
    assert_eq!((set.categories.join(" "), set.videos.len(), set.broken.len()), ("calm wild".into(), 6, 0));
    set
}

#[test]
fn a_small_network_learns_two_kinds_and_runs_repeat() {
    common::init();
    let folder = tempfile::tempdir().unwrap();
    let set = data(folder.path());
    let flags = ["train", "--small", "48x8:20", "--epochs", "2", "--batch", "6", "--optimizer", "adamw"];
    let more = ["--learning-rate", "0.01", "--schedule", "cosine", "--clips-per-video", "4", "--colour-jitter"];
    let settings = Flags::parse_from([&flags[..], &more].concat()).settings;
    // One thread, so that sums come in the same order.
    tch::set_num_threads(1);
    let run = || {
        let mut trainer = Trainer::new(&set, &[4, 8, 8, 16, 16, 64, 64], settings.clone(), Device::Cpu).unwrap();
        let mut losses = Vec::new();
        for epoch in 0..settings.all_epochs() {
            trainer
                .epoch(epoch, |step| {
                    if step.clips == step.of {
                        losses.push(step.loss);
                    }
                })
                .unwrap();
        }
        (losses, trainer.model(serde_json::Value::Null).unwrap())
    };
    let (losses, model) = run();
    assert_eq!(losses.len(), 22);
    assert!(losses[21] < 0.6 * losses[0], "{losses:?}");
    let network = Network::new(model, Device::Cpu, Kind::Float).unwrap();
    let measured = accuracy::measure(&network, &set, 1).unwrap();
    assert_eq!(measured.video, 1.0, "{measured:?}");
    assert_eq!(run().0, losses);
}
