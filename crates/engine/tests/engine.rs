//! The engine: shared by who asks for the same, in order, and bad requests do no harm.

use std::sync::{Arc, Mutex, mpsc};

use desumnet_engine::{
    Batching, Category, Engine, Request, RunningMean, ScoreError,
    importance::{Form, Forward},
    network::{CLIP_BYTES, Calibration, Device, Network, Precision},
};

fn request(category: Category) -> Request {
    Request { category, ..Request::default() }
}

fn clip(seed: usize) -> Vec<u8> {
    (0..CLIP_BYTES).map(|i| ((i + seed) * 31 % 251) as u8).collect()
}

#[test]
fn elements_that_ask_for_the_same_share_one_engine() {
    let folder = tempfile::tempdir().unwrap();
    let model = test_support::tiny_model(folder.path());
    let engine = |precision| Engine::shared(&model, Device::Cpu, precision).unwrap();
    let (a, b, c) = (engine(Precision::F32), engine(Precision::F32), engine(Precision::Bf16));
    assert!(Arc::ptr_eq(&a, &b) && !Arc::ptr_eq(&a, &c));
    assert_eq!(a.header.categories, test_support::CATEGORIES);
    // A model that was trained anew under the same name is another one.
    std::fs::remove_file(&model).unwrap();
    test_support::tiny_network(2).save(&model, desumnet_engine::network::Storage::F32).unwrap();
    std::fs::File::options().append(true).open(&model).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    assert!(!Arc::ptr_eq(&a, &engine(Precision::F32)));
}

#[test]
fn answers_come_in_order_and_equal_the_networks_own() {
    let folder = tempfile::tempdir().unwrap();
    let model = test_support::tiny_model(folder.path());
    let stream = Engine::shared(&model, Device::Cpu, Precision::F32).unwrap().stream(Batching::default());
    let network = Network::load(&model, Device::Cpu, Precision::F32).unwrap();
    let (sender, answers) = mpsc::channel();
    for i in 0..6 {
        let sender = sender.clone();
        let category = Category::Fixed(i % 3);
        stream.submit(clip(i), request(category), None, Box::new(move |answer| sender.send((i, answer)).unwrap()));
    }
    for i in 0..6 {
        let (index, answer) = answers.recv().unwrap();
        let answer = answer.unwrap();
        assert_eq!((index, answer.category), (i, Some(i % 3)));
        let forward = Forward::new(&network, &[&clip(i)]).unwrap();
        assert_eq!(answer.confidence, forward.probabilities[0][i % 3]);
        assert_eq!(answer.frame_scores, forward.frame_scores(&[i % 3], Form::Weighted).unwrap()[0]);
    }
}

#[test]
fn a_clip_of_the_wrong_size_is_an_error_and_the_engine_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::shared(&test_support::tiny_model(folder.path()), Device::Cpu, Precision::F32).unwrap();
    let stream = engine.stream(Batching::default());
    let error = stream.score(vec![0; 10], request(Category::Fixed(0))).unwrap_err().to_string();
    assert!(error.contains("could not be scored"), "{error}");
    // A category that the model does not have makes the worker panic; that too is only this segment's error.
    assert!(stream.score(clip(0), request(Category::Fixed(99))).is_err());
    assert!(stream.score(clip(0), request(Category::Fixed(0))).unwrap().score > 0.0);
}

/// Keeps the engine at its first answer until the guard is dropped, so that the rest waits together.
fn occupied(engine: &Arc<Engine>) -> mpsc::Sender<()> {
    let (release, released) = mpsc::channel::<()>();
    let (begun, at_it) = mpsc::channel();
    let answer = move |_| {
        begun.send(()).unwrap();
        let _ = released.recv();
    };
    let stream = engine.stream(Batching::default());
    stream.submit(clip(0), request(Category::Fixed(0)), None, Box::new(answer));
    at_it.recv().unwrap();
    release
}

#[test]
fn a_batch_of_several_streams_gives_each_its_own_scores() {
    let folder = tempfile::tempdir().unwrap();
    let model = test_support::tiny_model(folder.path());
    let engine = Engine::shared(&model, Device::Cpu, Precision::F32).unwrap();
    let network = Network::load(&model, Device::Cpu, Precision::F32).unwrap();
    let streams = [(); 3].map(|()| engine.stream(Batching { size: 8, ..Batching::default() }));
    let occupied = occupied(&engine);
    let (sender, answers) = mpsc::channel();
    for i in 0..6 {
        let sender = sender.clone();
        let mut request = request(Category::Fixed(i % 3));
        request.maps = i == 4;
        // One of them is no clip: the others are scored all the same.
        let clip = if i == 5 { vec![0; 10] } else { clip(i) };
        streams[i % 3].submit(clip, request, None, Box::new(move |answer| sender.send((i, answer)).unwrap()));
    }
    drop(occupied);
    for _ in 0..6 {
        let (i, answer) = answers.recv().unwrap();
        if i == 5 {
            assert!(matches!(answer, Err(ScoreError::Failed(_))));
            continue;
        }
        let answer = answer.unwrap();
        let forward = Forward::new(&network, &[&clip(i)]).unwrap();
        assert_eq!(answer.category, Some(i % 3));
        assert!((answer.confidence - forward.probabilities[0][i % 3]).abs() < 1e-6);
        let expected = forward.frame_scores(&[i % 3], Form::Weighted).unwrap().remove(0);
        for (got, expected) in answer.frame_scores.iter().zip(expected) {
            assert!((got - expected).abs() <= 1e-5 * expected, "{got} for {expected}");
        }
        assert_eq!(answer.maps.is_some(), i == 4);
    }
}

#[test]
fn a_live_stream_loses_what_the_engine_has_no_time_for() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::shared(&test_support::tiny_model(folder.path()), Device::Cpu, Precision::F32).unwrap();
    let stream = engine.stream(Batching::default());
    let occupied = occupied(&engine);
    let (sender, answers) = mpsc::channel();
    for i in 0..12 {
        let sender = sender.clone();
        let due = Some(std::time::Instant::now());
        let reply = Box::new(move |answer: Result<_, _>| sender.send((i, answer.is_ok())).unwrap());
        stream.submit(clip(i), request(Category::Fixed(0)), due, reply);
    }
    // Eight may wait: the first four are given up at once.
    assert_eq!(answers.try_iter().collect::<Vec<_>>(), [(0, false), (1, false), (2, false), (3, false)]);
    drop(occupied);
    drop(sender);
    let rest: Vec<_> = answers.iter().take(8).collect();
    assert_eq!(rest, (4..12).map(|i| (i, i == 11)).collect::<Vec<_>>());
}

#[test]
fn what_waits_of_a_stream_that_is_gone_is_not_scored() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::shared(&test_support::tiny_model(folder.path()), Device::Cpu, Precision::F32).unwrap();
    let [gone, other] = [(); 2].map(|()| engine.stream(Batching::default()));
    let occupied = occupied(&engine);
    let (sender, answers) = mpsc::channel();
    for (stream, i) in [(&gone, 0), (&gone, 1), (&other, 2)] {
        let sender = sender.clone();
        let reply = Box::new(move |answer: Result<_, _>| sender.send((i, answer.is_ok())).unwrap());
        stream.submit(clip(i), request(Category::Fixed(0)), None, reply);
    }
    drop(gone);
    assert_eq!(answers.try_iter().collect::<Vec<_>>(), [(0, false), (1, false)]);
    drop(occupied);
    assert_eq!(answers.recv(), Ok((2, true)));
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
fn a_category_that_fits_goes_on_fitting_with_a_little_less() {
    let mut mean = RunningMean::default();
    let mut fits = |p: f32| {
        mean.add(&[p, 0.0]);
        mean.leader_fits(0.5)
    };
    // Means: .6 .5 .42 .35 .45 .5. Once it fits, 0.4 is enough.
    let found: Vec<bool> = [0.6, 0.4, 0.26, 0.14, 0.85, 0.75].into_iter().map(&mut fits).collect();
    assert_eq!(found, [true, true, true, false, false, true]);
}

/// A tiny model that says of a category that it fits from this mean probability on.
fn calibrated(folder: &std::path::Path, fits: f64) -> std::path::PathBuf {
    let mut model = test_support::tiny_network(1);
    model.header.calibration = Some(Calibration { temperature: 1.0, fits });
    let path = folder.join(format!("{fits}.safetensors"));
    model.save(&path, desumnet_engine::network::Storage::F32).unwrap();
    path
}

#[test]
fn auto_scores_for_a_category_that_fits_and_else_for_what_is_unusual() {
    let folder = tempfile::tempdir().unwrap();
    let scores = |fits: f64, form: Form, category: &str| -> Vec<(Option<usize>, f32, Vec<f32>)> {
        let model = calibrated(folder.path(), fits);
        let engine = Engine::shared(&model, Device::Cpu, Precision::F32).unwrap();
        let category = Category::named(category, &engine.header.categories).unwrap();
        let request = Request { category, form, seconds: 0.64, ..Request::default() };
        let stream = engine.stream(Batching::default());
        let score = |seed: usize| stream.score(clip(seed * seed), request.clone()).unwrap();
        (0..6).map(score).map(|score| (score.category, score.score, score.frame_scores)).collect()
    };
    assert_eq!(scores(0.0, Form::Auto, "auto"), scores(0.0, Form::Weighted, "auto"));
    assert_eq!(scores(1.0, Form::Auto, "auto"), scores(1.0, Form::Unusual, "auto"));
    assert!(scores(1.0, Form::Auto, "auto").iter().all(|score| score.0.is_none()));
    // Of a category that the user names, nobody asks whether it fits.
    assert_eq!(scores(1.0, Form::Auto, "sailing"), scores(1.0, Form::Weighted, "sailing"));
}

#[test]
fn a_batch_may_hold_both_what_fits_and_what_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::shared(&calibrated(folder.path(), 1.0), Device::Cpu, Precision::F32).unwrap();
    let batching = Batching { size: 2, timeout: std::time::Duration::from_secs(60) };
    let streams = [engine.stream(batching), engine.stream(batching)];
    let requests = ["sailing", "auto"].map(|name| Request {
        category: Category::named(name, &engine.header.categories).unwrap(),
        form: Form::Auto,
        maps: true,
        ..Request::default()
    });
    let alone = engine.stream(Batching::default());
    // A stream of which nothing is known departs from nothing.
    for seed in 1..6 {
        alone.score(clip(seed * seed), requests[1].clone()).unwrap();
    }
    let known = requests[1].usual.lock().unwrap().clone();
    let (sender, answers) = mpsc::channel();
    for (number, (stream, request)) in streams.iter().zip(&requests).enumerate() {
        let sender = sender.clone();
        let reply = Box::new(move |answer: Result<_, _>| sender.send((number, answer.unwrap())).unwrap());
        stream.submit(clip(7), request.clone(), None, reply);
    }
    for _ in 0..2 {
        let (number, answer) = answers.recv().unwrap();
        let usual = Arc::new(Mutex::new(known.clone()));
        let expected = alone.score(clip(7), Request { usual, ..requests[number].clone() }).unwrap();
        assert_eq!((answer.category, answer.score > 0.0), ([Some(2), None][number], true));
        assert!((answer.score - expected.score).abs() <= 1e-5 * expected.score, "{} {}", answer.score, expected.score);
        assert_eq!(answer.frame_scores.len(), 16);
        let close = |(got, wanted): (&f32, &f32)| (got - wanted).abs() <= 1e-4 * expected.score;
        assert!(answer.frame_scores.iter().zip(&expected.frame_scores).all(close), "{number}");
    }
}

#[test]
fn unknown_category_is_named_with_the_ones_there_are() {
    let categories = test_support::CATEGORIES.map(String::from);
    let error = Category::named("juggling", &categories).err().unwrap().to_string();
    assert_eq!(error, "category `juggling` is none of the model's: use auto or one of jumping, cooking, sailing");
    assert!(matches!(Category::named("sailing", &categories), Ok(Category::Fixed(2))));
}

#[test]
fn an_engine_is_gone_only_when_its_worker_is() {
    let folder = tempfile::tempdir().unwrap();
    let model = test_support::tiny_model(folder.path());
    let stream = Engine::shared(&model, Device::Cpu, Precision::F32).unwrap().stream(Batching::default());
    let (sender, answers) = mpsc::channel();
    for i in 0..6 {
        let sender = sender.clone();
        stream.submit(clip(i), request(Category::Fixed(0)), None, Box::new(move |answer| sender.send(answer).unwrap()));
    }
    drop(sender);
    drop(stream);
    let answers: Vec<_> = answers.try_iter().collect();
    assert_eq!(answers.len(), 6, "every clip is answered before the engine is gone");
    let refused = answers.iter().filter(|answer| answer.is_err()).count();
    assert!(refused > 0, "what waits is not scored any more");
}
