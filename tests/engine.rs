//! The engine: shared by who asks for the same, in order, and bad requests do no harm.

mod common;

use std::sync::{Arc, mpsc};

use gstdesumnet::{
    engine::{Category, Engine, Request, RunningMean},
    importance::{Aggregation, Form, Forward},
    network::{CLIP_BYTES, Device, Network, Precision},
};

fn request(category: Category) -> Request {
    Request { category, form: Form::Weighted, aggregation: Aggregation::Mean, maps: false }
}

fn clip(seed: usize) -> Vec<u8> {
    (0..CLIP_BYTES).map(|i| ((i + seed) * 31 % 251) as u8).collect()
}

#[test]
fn elements_that_ask_for_the_same_share_one_engine() {
    let folder = tempfile::tempdir().unwrap();
    let model = common::tiny_model(folder.path());
    let engine = |precision| Engine::shared(&model, Device::Cpu, precision).unwrap();
    let (a, b, c) = (engine(Precision::F32), engine(Precision::F32), engine(Precision::Bf16));
    assert!(Arc::ptr_eq(&a, &b) && !Arc::ptr_eq(&a, &c));
    assert_eq!(a.header.categories, common::CATEGORIES);
    // A model that was trained anew under the same name is another one.
    std::fs::remove_file(&model).unwrap();
    common::tiny_network(2).save(&model, tch::Kind::Float).unwrap();
    std::fs::File::options().append(true).open(&model).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    assert!(!Arc::ptr_eq(&a, &engine(Precision::F32)));
}

#[test]
fn answers_come_in_order_and_equal_the_networks_own() {
    let folder = tempfile::tempdir().unwrap();
    let model = common::tiny_model(folder.path());
    let engine = Engine::shared(&model, Device::Cpu, Precision::F32).unwrap();
    let network = Network::load(&model, Device::Cpu, Precision::F32).unwrap();
    let (sender, answers) = mpsc::channel();
    for i in 0..6 {
        let sender = sender.clone();
        let category = Category::Fixed(i % 3);
        engine.submit(clip(i), request(category), Box::new(move |answer| sender.send((i, answer)).unwrap()));
    }
    for i in 0..6 {
        let (index, answer) = answers.recv().unwrap();
        let answer = answer.unwrap();
        assert_eq!((index, answer.category), (i, i % 3));
        let forward = Forward::new(&network, &[&clip(i)]).unwrap();
        assert_eq!(answer.confidence, forward.probabilities[0][i % 3]);
        assert_eq!(answer.frame_scores, forward.frame_scores(&[i % 3], Form::Weighted).unwrap()[0]);
    }
}

#[test]
fn a_clip_of_the_wrong_size_is_an_error_and_the_engine_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::shared(&common::tiny_model(folder.path()), Device::Cpu, Precision::F32).unwrap();
    let error = engine.score(vec![0; 10], request(Category::Fixed(0))).unwrap_err().to_string();
    assert!(error.contains("could not be scored"), "{error}");
    // A category that the model does not have makes the worker panic; that too is only this segment's error.
    assert!(engine.score(clip(0), request(Category::Fixed(99))).is_err());
    assert!(engine.score(clip(0), request(Category::Fixed(0))).unwrap().score > 0.0);
}

#[test]
fn running_category_leads_by_the_mean_so_far() {
    let mut mean = RunningMean::default();
    let leaders = [[0.2, 0.5, 0.3], [0.6, 0.2, 0.2], [0.1, 0.2, 0.7]].map(|p| mean.add(&p));
    // Means: (.2 .5 .3), (.4 .35 .25), (.3 .3 .4).
    assert_eq!(leaders, [1, 0, 2]);
    assert!((mean.probabilities()[2] - 0.4).abs() < 1e-6);
}

#[test]
fn unknown_category_is_named_with_the_ones_there_are() {
    let categories = common::CATEGORIES.map(String::from);
    let error = Category::named("juggling", &categories).err().unwrap().to_string();
    assert_eq!(error, "category `juggling` is none of the model's: use auto or one of jumping, cooking, sailing");
    assert!(matches!(Category::named("sailing", &categories), Ok(Category::Fixed(2))));
}

#[test]
fn an_engine_is_gone_only_when_its_worker_is() {
    let folder = tempfile::tempdir().unwrap();
    let model = common::tiny_model(folder.path());
    let engine = Engine::shared(&model, Device::Cpu, Precision::F32).unwrap();
    let (sender, answers) = mpsc::channel();
    for i in 0..6 {
        let sender = sender.clone();
        engine.submit(clip(i), request(Category::Fixed(0)), Box::new(move |answer| sender.send(answer).unwrap()));
    }
    drop(sender);
    drop(engine);
    let answers: Vec<_> = answers.try_iter().collect();
    assert_eq!(answers.len(), 6, "every clip is answered before the engine is gone");
    let refused = answers.iter().filter(|answer| answer.is_err()).count();
    assert!(refused > 0, "what waits is not scored any more");
}
