//! Training on rendered clips of two kinds: it learns them, and a run that is stopped and resumed ends with the same bits.

use std::path::Path;

use crate::labelled::{labelled, open};
use clap::Parser;
use desumnet_engine::network::{Model, Network, Precision};
use desumnet_frames::clip::FRAMES;
use desumnet_train::training::{
    accuracy,
    checkpoint::CheckpointError,
    data::Dataset,
    network::Fc6,
    refine::refine,
    settings::Settings,
    teacher::Lessons,
    trainer::{Start, Step, TrainError, Trainer},
};
use tch::{Device, Kind};

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    settings: Settings,
}

const WIDTHS: [i64; 7] = [4, 8, 8, 16, 16, 64, 64];
const SCRATCH: Start = Start::Scratch { widths: WIDTHS, fc6: Fc6::Shared };

fn settings(flags: &str) -> Settings {
    let usual = "train --epochs 0 --small 48x8:3 --batch 4 --clips-per-video 2 --optimizer adamw --learning-rate 0.01";
    // The later of two flags would be an error; the usual ones make room.
    let given: Vec<&str> = flags.split_whitespace().collect();
    let mut all: Vec<&str> = Vec::new();
    for pair in usual.split_whitespace().skip(1).collect::<Vec<_>>().chunks(2) {
        if !given.contains(&pair[0]) {
            all.extend(pair);
        }
    }
    Flags::parse_from(["train"].into_iter().chain(all).chain(given)).settings
}

fn trainer<'a>(set: &'a Dataset, start: &Start, settings: &Settings) -> Trainer<'a> {
    // One thread, so that sums come in the same order.
    tch::set_num_threads(1);
    Trainer::new(set, start, settings.clone(), Device::Cpu, Kind::Float).unwrap()
}

/// libtorch has one source of random numbers a process: tests that compare runs must not run side by side.
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    test_support::init();
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Runs to the end; the steps.
fn finish(trainer: &mut Trainer) -> Vec<Step> {
    let mut steps = Vec::new();
    while !trainer.finished() {
        trainer.epoch(|_, step| steps.push(step)).unwrap();
    }
    steps
}

/// The bits of the model that a run comes to.
fn weights(trainer: &Trainer) -> Vec<Vec<u32>> {
    let model = trainer.model(serde_json::Value::Null).unwrap();
    let tensors = model.layers.iter().flat_map(|layer| [&layer.weight, &layer.bias]);
    tensors.map(|own| own.values.iter().map(|value| value.to_bits()).collect()).collect()
}

#[test]
fn a_small_network_learns_two_kinds_and_is_refined_by_what_it_knows() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let set = labelled(folder.path());
    let flags = "--small 48x8:14 --epochs 10 --batch 6 --schedule cosine --clips-per-video 4 --augment crop,flip,scale,corner,colour";
    let mut run = trainer(&set, &SCRATCH, &settings(flags));
    let steps = finish(&mut run);
    assert_eq!(steps.len(), 24 * 4);
    // The middle one of the last: a batch that happens to be of one kind alone can cost a lot.
    let mut last: Vec<f64> = steps[76..].iter().map(|step| step.step_loss).collect();
    last.sort_by(f64::total_cmp);
    assert!(last[10] < 0.5 * steps[0].step_loss, "{} {last:?}", steps[0].step_loss);
    let network = Network::new(run.model(serde_json::Value::Null).unwrap()).unwrap();
    let found = accuracy::measure(&network, &set, 5, 1, |_| {}).unwrap();
    assert_eq!((found.video_accuracy.mean, found.video_accuracy.std), (1.0, 0.0));
    // 24 frames are two segments, the second short.
    assert_eq!((found.videos, found.clips), (6, 12));
    assert_eq!(found.confusion, [[15, 0], [0, 15]]);
    assert_eq!(found.per_category["wild"].videos, 3);

    // A set with the labels exchanged: nothing is likely to be of its video's category.
    let mut wrong = open(&folder.path().join("videos"), &folder.path().join("cache"));
    wrong.videos.iter_mut().for_each(|video| video.category = 1 - video.category);
    let judged = refine(&network, &mut wrong, 0.5, |_| {}).unwrap();
    let likely = judged.iter().filter(|segment| segment.kept).count();
    assert_eq!(judged.len(), 12);
    assert!(likely <= 2 && wrong.videos.len() <= likely, "{likely}");
    let mut right = open(&folder.path().join("videos"), &folder.path().join("cache"));
    let judged = refine(&network, &mut right, 0.0, |_| {}).unwrap();
    assert!(judged.iter().all(|segment| segment.kept) && right.videos.len() == 6);
    assert_eq!((judged[1].start_ns, judged[1].duration_ns), (Some(640_000_000), 320_000_000));
}

#[test]
fn a_resumed_run_ends_with_the_same_bits() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let mut set = labelled(folder.path());
    let checkpoint = folder.path().join("checkpoint.safetensors");
    let all = "adamw --augment crop,flip,erase --mixup 0.3 --balance --average 0.9";
    for (flags, with_teacher) in [("sgd --augment crop,flip,colour", false), (all, true)] {
        if with_teacher {
            // One video is of none; all are learned from the teacher, too.
            set.none.extend(set.videos.pop());
            let teacher = test_support::tiny_model(folder.path());
            let network = Network::load(&teacher, "cpu".parse().unwrap(), Precision::F32).unwrap();
            set.lessons = Some(Lessons::of(&network, &teacher, &set, |_| {}).unwrap());
        }
        let settings = settings(&format!("--optimizer {flags}"));
        let mut whole = trainer(&set, &SCRATCH, &settings);
        let whole_steps = finish(&mut whole);
        // Twelve clips an epoch, two of them of none at the most.
        assert_eq!((whole_steps.len(), whole_steps[2].clips), (9, 12));
        // Of two categories, about 0.7; and three times what the teacher's features differ from nothing.
        assert_eq!(whole_steps[0].step_loss > 1.2, with_teacher, "{}", whole_steps[0].step_loss);

        // Saved in the middle of the second epoch; what came after is lost.
        let mut killed = trainer(&set, &SCRATCH, &settings);
        for _ in 0..2 {
            killed
                .epoch(|state, step| {
                    if step.steps == 5 {
                        state.save(&checkpoint).unwrap();
                    }
                })
                .unwrap();
        }
        drop(killed);
        let mut resumed = trainer(&set, &SCRATCH, &settings);
        resumed.resume(&checkpoint).unwrap();
        assert_eq!((resumed.epochs_done(), resumed.steps()), (1, 5));
        let steps = finish(&mut resumed);
        let told = |steps: &[Step]| steps.iter().map(|s| (s.steps, s.clips, s.loss, s.accuracy)).collect::<Vec<_>>();
        assert_eq!(told(&steps), told(&whole_steps[5..]));
        assert!(weights(&resumed) == weights(&whole), "{flags}: the weights differ");
    }
}

/// Without a flag an epoch has all clips of every video that share no frame: of 24 frames, one of 16 here.
#[test]
fn an_epoch_takes_every_clip_of_every_video() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let videos = folder.path().join("videos");
    crate::labelled::render_labelled(&videos);
    test_support::render(&videos.join("calm/long.mp4"), "blue", 72);
    let set = open(&videos, &folder.path().join("cache"));
    let mut run = trainer(&set, &SCRATCH, &settings("--small 32x8:1 --batch 5 --clips-per-video all"));
    let steps = finish(&mut run);
    assert_eq!(steps.iter().map(|step| (step.clips, step.of)).collect::<Vec<_>>(), [(5, 10), (10, 10)]);
}

#[test]
fn a_checkpoint_of_another_run_is_refused_by_what_differs() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let set = labelled(folder.path());
    let path = folder.path().join("checkpoint.safetensors");
    trainer(&set, &SCRATCH, &settings("")).save(&path).unwrap();
    let refused = |set: &Dataset, start: &Start, flags: &str, path: &Path| {
        trainer(set, start, &settings(flags)).resume(path).unwrap_err().to_string()
    };
    let error = refused(&set, &SCRATCH, "--seed 2", &path);
    assert!(error.contains("seed was 1 and is 2") && error.contains("the command that began the run"), "{error}");
    let wider = Start::Scratch { widths: [5, 8, 8, 16, 16, 64, 64], fc6: Fc6::Shared };
    let error = refused(&set, &wider, "", &path);
    assert!(error.contains("[4,8,8,16,16,64,64]"), "{error}");
    std::fs::remove_file(folder.path().join("videos/calm/smpte75.mp4")).unwrap();
    let fewer = open(&folder.path().join("videos"), &folder.path().join("cache"));
    let error = trainer(&fewer, &SCRATCH, &settings("")).resume(&path).unwrap_err();
    assert!(matches!(error, CheckpointError::OtherData { .. }), "{error}");

    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let error = refused(&set, &SCRATCH, "", &path);
    assert!(error.contains("damaged") && error.contains("without --resume"), "{error}");
    let model = test_support::tiny_model(folder.path());
    let error = refused(&set, &SCRATCH, "", &model);
    assert!(error.contains("not a checkpoint of desumnet-train"), "{error}");
}

#[test]
fn a_checkpoint_that_cannot_be_written_leaves_the_last_one() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let set = labelled(folder.path());
    let path = folder.path().join("checkpoint.safetensors");
    let run = trainer(&set, &SCRATCH, &settings(""));
    run.save(&path).unwrap();
    let before = std::fs::read(&path).unwrap();
    let gone = folder.path().join("no/such/folder/checkpoint.safetensors");
    let error = run.save(&gone).unwrap_err().to_string();
    assert!(error.contains("no/such/folder") && error.contains("free disk space"), "{error}");
    assert!(std::fs::read(&path).unwrap() == before);
}

#[test]
fn a_loss_that_leaves_the_numbers_stops_with_advice() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let set = labelled(folder.path());
    let mut run = trainer(&set, &SCRATCH, &settings("--learning-rate 1e30 --optimizer sgd"));
    let error = loop {
        if let Err(error) = run.epoch(|_, _| {}) {
            break error;
        }
        assert!(!run.finished(), "it learned with a learning rate of 1e30");
    };
    assert!(matches!(error, TrainError::Diverged { .. }), "{error}");
    assert!(error.to_string().contains("--learning-rate 1e29"), "{error}");
}

#[test]
fn fine_tuning_begins_with_what_the_model_knew() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let set = labelled(folder.path());
    let model = test_support::network(WIDTHS, 3);
    let before = weights_of(&model);
    // With no learning, all but fc8 stays: only its rate is not zero.
    let settings = settings("--learning-rate 1e-30 --small 48x8:0 --epochs 1 --weight-decay 0");
    let start = Start::NewCategories { model: &model, fc8_learning_rate: 0.01 };
    // The random model's fc6 is full: small clips are refused, whole ones run.
    let small = Settings { small: vec!["48x8:1".parse().unwrap()], ..settings.clone() };
    let refused = Trainer::new(&set, &start, small, Device::Cpu, Kind::Float).err().unwrap();
    assert!(matches!(refused, TrainError::FullFc6), "{refused}");
    let mut run = trainer(&set, &start, &settings);
    let begun = run.model(serde_json::Value::Null).unwrap();
    finish(&mut run);
    let tuned = run.model(serde_json::Value::Null).unwrap();
    assert_eq!(tuned.header.categories, ["calm", "wild"]);
    assert_eq!((tuned.header.mean, tuned.header.std), (model.header.mean, model.header.std));
    for (i, (was, is)) in before.iter().zip(weights_of(&tuned)).enumerate().skip(5) {
        match i {
            7 => assert_eq!(is.size(), [2, 64]),
            _ => assert!(is.allclose(was, 1e-5, 1e-7, false), "layer {i} changed"),
        }
    }
    let [begun, tuned] = [&begun, &tuned].map(|model| weights_of(model).remove(7));
    let moved = (begun - tuned).abs().max().double_value(&[]);
    assert!(moved > 1e-3, "{moved}");
}

fn weights_of(model: &Model) -> Vec<tch::Tensor> {
    model.layers.iter().map(|layer| desumnet_torch::tensor(&layer.weight).unwrap()).collect()
}

#[test]
fn clips_are_16_frames_in_a_row_and_keep_to_the_segments_that_were_kept() {
    use rand::{SeedableRng, rngs::StdRng};
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let videos = folder.path().join("videos/counted");
    std::fs::create_dir_all(&videos).unwrap();
    std::fs::create_dir_all(folder.path().join("videos/other")).unwrap();
    test_support::render(&videos.join("ball.mp4"), "ball", 72);
    test_support::render(&folder.path().join("videos/other/snow.mp4"), "snow", 8);
    let mut set = open(&folder.path().join("videos"), &folder.path().join("cache"));
    let video = &mut set.videos[0];
    let all: Vec<_> = (0..5)
        .flat_map(|n| {
            let clip = video.stored.segment(n).unwrap();
            let frames = video.stored.frames_of(n).len();
            clip.frames()[..frames].iter().map(|frame| frame.pixels().to_vec()).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!((video.stored.frames(), video.stored.segments(), all.len()), (72, 5, 72));
    let mut rng = StdRng::seed_from_u64(1);
    let mut draw = |video: &desumnet_train::training::data::Video| {
        let clip = video.stored.clip(video.random_place(&mut rng)).unwrap();
        let first = all.iter().position(|frame| frame == clip.frames()[0].pixels()).unwrap();
        let expected: Vec<_> = (first..first + FRAMES).map(|n| all[n].as_slice()).collect();
        assert_eq!(clip.frames().iter().map(|f| f.pixels()).collect::<Vec<_>>(), expected);
        first
    };
    // Four segments of 16 frames and one of 8.
    assert_eq!(video.clips(), [0, 1, 2, 3]);
    let firsts: std::collections::BTreeSet<_> = (0..1000).map(|_| draw(video)).collect();
    assert_eq!(firsts, (0..=56).collect());
    video.keep_segments(&[4]);
    assert_eq!(video.clips(), [4]);
    video.keep_segments(&[0, 2, 3]);
    assert_eq!(video.clips(), [0, 2, 3]);
    let firsts: std::collections::BTreeSet<_> = (0..500).map(|_| draw(video)).collect();
    assert_eq!(firsts, [0].into_iter().chain(32..=48).collect());
    // Shorter than a clip: filled up with its last frame.
    assert_eq!(set.videos[1].clips(), [0]);
    let short = set.videos[1].stored.clip(set.videos[1].random_place(&mut rng)).unwrap();
    let last = short.frames()[7].pixels().to_vec();
    assert!(short.frames()[6].pixels() != last && short.frames()[8..].iter().all(|f| f.pixels() == last));
}

#[test]
fn a_fine_tuning_goes_on_from_its_own_model_alone() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let set = labelled(folder.path());
    let path = folder.path().join("checkpoint.safetensors");
    // Rates whose quotient does not come back from decimal digits the same, unless they are read with care.
    let settings = settings("--learning-rate 0.00027 --small 48x8:0 --epochs 1");
    let (model, other) = (test_support::network(WIDTHS, 3), test_support::network(WIDTHS, 4));
    let start = |model| Start::NewCategories { model, fc8_learning_rate: 0.001 };
    trainer(&set, &start(&model), &settings).save(&path).unwrap();
    trainer(&set, &start(&model), &settings).resume(&path).unwrap();
    let error = trainer(&set, &start(&other), &settings).resume(&path).unwrap_err();
    assert!(matches!(error, CheckpointError::OtherSettings { .. }), "{error}");
}

#[test]
fn a_network_that_left_the_numbers_is_no_model() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let set = labelled(folder.path());
    let path = folder.path().join("checkpoint.safetensors");
    let mut run = trainer(&set, &SCRATCH, &settings(""));
    run.save(&path).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let at = file.tensor("network.fc8.weight").unwrap().data().as_ptr() as usize - bytes.as_ptr() as usize;
    bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    run.resume(&path).unwrap();
    let error = run.model(serde_json::Value::Null).err().unwrap();
    assert!(matches!(error, TrainError::NotFinite(0)), "{error}");
}
