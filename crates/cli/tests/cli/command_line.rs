//! `desumnet score` as a user runs it.

use std::{
    path::Path,
    process::{Command, Output},
};

use test_support::{failure, text};

/// Runs it with no scores kept from before.
fn desumnet(arguments: &[&str]) -> Output {
    let cache = tempfile::tempdir().unwrap();
    desumnet_with(cache.path(), arguments)
}

fn desumnet_with(cache: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_desumnet")).args(arguments).env("XDG_CACHE_HOME", cache).output().unwrap()
}

fn json(bytes: &[u8]) -> serde_json::Value {
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn score_prints_one_json_document() {
    let folder = tempfile::tempdir().unwrap();
    let (video, model) = (folder.path().join("ball.mp4"), test_support::tiny_model(folder.path()));
    test_support::render(&video, "ball", 40);
    let score = |more: &[&str]| {
        let output = desumnet(&[&["score", text(&video), "--json", "-", "--model", text(&model)], more].concat());
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let auto = score(&["--precision", "f32"]);
    assert_eq!((&auto["video"], &auto["model"]), (&text(&video).into(), &text(&model).into()));
    let segments = auto["segments"].as_array().unwrap();
    let facts: Vec<_> = segments
        .iter()
        .map(|s| (s["index"].as_u64().unwrap(), s["duration_ns"].as_u64().unwrap(), s["padded"].as_bool().unwrap()))
        .collect();
    assert_eq!(facts, [(0, 640_000_000, false), (1, 640_000_000, false), (2, 320_000_000, true)]);
    let starts: Vec<_> = segments.iter().map(|s| s["start_ns"].as_u64().unwrap()).collect();
    assert_eq!(starts, [0, 640_000_000, 1_280_000_000]);
    let mut importance: Vec<_> = segments.iter().map(|s| s["importance"].as_f64().unwrap()).collect();
    importance.sort_by(f64::total_cmp);
    for (got, expected) in importance.iter().zip([1.0 / 6.0, 0.5, 5.0 / 6.0]) {
        assert!((got - expected).abs() < 1e-6);
    }
    for segment in segments {
        let frames: Vec<f64> =
            segment["frame_scores"].as_array().unwrap().iter().map(|f| f.as_f64().unwrap()).collect();
        assert_eq!(frames.len(), 16);
        let mean = frames.iter().sum::<f64>() / 16.0;
        assert!((mean / segment["score"].as_f64().unwrap() - 1.0).abs() < 1e-5);
        assert_eq!(segment["category"], auto["category"]);
    }
    // What there is to know of the video; it has one shot, whose score is the mean over time.
    let facts = ["duration_ns", "frame_rate", "sound"].map(|fact| auto[fact].clone());
    assert_eq!(serde_json::json!(facts), serde_json::json!([1_600_000_000, "25/1", false]));
    let scores = segments.iter().map(|s| s["score"].as_f64().unwrap() * s["duration_ns"].as_f64().unwrap());
    let mean = scores.sum::<f64>() / 1.6e9;
    let [shot] = auto["shots"].as_array().unwrap().as_slice() else { panic!("{}", auto["shots"]) };
    assert_eq!([shot["start_ns"].as_u64(), shot["duration_ns"].as_u64()], [Some(0), Some(1_600_000_000)]);
    // Scores are written in single precision.
    assert!((shot["score"].as_f64().unwrap() / mean - 1.0).abs() < 1e-6);
    // A named category, and the forms: `weighted` is the probability times `logit`.
    let logit = score(&["--category", "sailing", "--importance", "logit"]);
    let weighted = score(&["--category", "sailing", "--importance", "weighted"]);
    assert_eq!(logit["category"], "sailing");
    for (l, w) in logit["segments"].as_array().unwrap().iter().zip(weighted["segments"].as_array().unwrap()) {
        let expected = l["score"].as_f64().unwrap() * l["confidence"].as_f64().unwrap();
        assert!((w["score"].as_f64().unwrap() / expected - 1.0).abs() < 1e-5);
    }
    // The same at every run, and into a file as to standard output.
    let file = folder.path().join("scores.json");
    let output =
        desumnet(&["score", text(&video), "--json", text(&file), "--model", text(&model), "--precision", "f32"]);
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&std::fs::read_to_string(file).unwrap()).unwrap(), auto);
}

#[test]
fn shots_are_told_to_the_frame() {
    let folder = tempfile::tempdir().unwrap();
    let (video, model) = (folder.path().join("cuts.mp4"), test_support::tiny_model(folder.path()));
    test_support::scenes(&video, &[("red", 25), ("pinwheel", 40), ("blue", 15)]);
    let output = desumnet(&["score", text(&video), "--json", "-", "--model", text(&model)]);
    let scores = json(&output.stdout);
    let shots: Vec<_> = scores["shots"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| [s["start_ns"].as_u64(), s["duration_ns"].as_u64()])
        .collect();
    let ms = |ms: u64| Some(ms * 1_000_000);
    assert_eq!(shots, [[ms(0), ms(1_000)], [ms(1_000), ms(1_600)], [ms(2_600), ms(600)]]);
}

#[test]
fn scores_are_kept_for_the_next_time() {
    let folder = tempfile::tempdir().unwrap();
    let (video, copy) = (folder.path().join("ball.mp4"), folder.path().join("copy.mp4"));
    let (model, cache) = (test_support::tiny_model(folder.path()), folder.path().join("cache"));
    test_support::render(&video, "ball", 20);
    let score = |video: &Path, more: &[&str]| {
        let output =
            desumnet_with(&cache, &[&["score", text(video), "--json", "-", "--model", text(&model)], more].concat());
        (json(&output.stdout), String::from_utf8(output.stderr).unwrap())
    };
    let (first, said) = score(&video, &[]);
    assert_eq!(said, "");
    std::fs::copy(&video, &copy).unwrap();
    let (mut again, said) = score(&copy, &[]);
    assert!(said.contains("copy.mp4: scored before"), "{said}");
    assert_eq!(again["video"], text(&copy));
    again["video"] = first["video"].clone();
    assert_eq!(again, first);
    for other in [&["--no-cache"][..], &["--interval", "2"], &["--importance", "logit"]] {
        assert_eq!(score(&video, other).1, "", "{other:?}");
    }
    // With an interval, the segment between has the scores of the one before, and says so.
    let (every_second, _) = score(&video, &["--interval", "2"]);
    let carried: Vec<_> = every_second["segments"].as_array().unwrap().iter().map(|s| s["carried"].clone()).collect();
    assert_eq!(carried, [false, true]);
    assert_eq!(every_second["segments"][1]["frame_scores"], first["segments"][0]["frame_scores"]);
}

#[test]
fn several_videos_are_scored_and_a_broken_one_stops_none() {
    let folder = tempfile::tempdir().unwrap();
    let (videos, model, out) =
        (folder.path().join("videos"), test_support::tiny_model(folder.path()), folder.path().join("out"));
    std::fs::create_dir(&videos).unwrap();
    for (name, pattern) in [("c.mp4", "ball"), ("a.MP4", "pinwheel")] {
        test_support::render(&videos.join(name), pattern, 16);
    }
    std::fs::write(videos.join("b.mkv"), "no video").unwrap();
    for name in ["notes.txt", "._a.MP4", ".writing-x.mp4"] {
        std::fs::write(videos.join(name), "no video, and not taken for one").unwrap();
    }
    let output = desumnet(&["score", text(&videos), "--model", text(&model), "--stdout-format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let lines: Vec<serde_json::Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|l| json(l.as_bytes())).collect();
    let told: Vec<_> = lines.iter().map(|line| (line["video"].as_str().unwrap(), line["error"].is_string())).collect();
    let names = ["a.MP4", "b.mkv", "c.mp4"].map(|name| videos.join(name));
    assert_eq!(told, [(text(&names[0]), false), (text(&names[1]), true), (text(&names[2]), false)]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("b.mkv can't be decoded") && said.contains("1 of 3 videos failed: "), "{said}");
    // As files, one each.
    let output = desumnet(&["score", text(&names[0]), text(&names[2]), "--model", text(&model), "--json", text(&out)]);
    assert!(output.status.success(), "{output:?}");
    for (name, line) in [("a.json", &lines[0]), ("c.json", &lines[2])] {
        assert_eq!(json(&std::fs::read(out.join(name)).unwrap()), *line);
    }
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    assert!(failure(&desumnet(&["score", text(&empty)])).contains("empty holds no videos: give files by name"));
}

#[test]
fn videos_of_one_name_have_results_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let (model, video) = (test_support::tiny_model(folder.path()), folder.path().join("clip.mp4"));
    test_support::render(&video, "ball", 16);
    let videos = ["a/clip.mp4", "b/clip.mp4", "b/clip.mov"];
    for path in videos.map(|video| folder.path().join(video)) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::copy(&video, path).unwrap();
    }
    let output = Command::new(env!("CARGO_BIN_EXE_desumnet"))
        .arg("score")
        .args(videos)
        // The same once more.
        .args(["a/../a/clip.mp4", "b", "--json", "out", "--report", "csv", "--model", text(&model)])
        .env("XDG_CACHE_HOME", folder.path().join("cache"))
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let results = ["clip", "clip-2", "clip-3"];
    for (name, video) in results.iter().zip(videos) {
        let document = json(&std::fs::read(folder.path().join(format!("out/{name}.json"))).unwrap());
        assert_eq!(document["video"], video);
        assert!(folder.path().join(format!("{name}.csv")).exists(), "{name}");
    }
    assert_eq!(std::fs::read_dir(folder.path().join("out")).unwrap().count(), 3);
}

#[test]
fn no_result_takes_the_place_of_a_video() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).into_os_string().into_string().unwrap();
    for name in ["a.mp4", "a-skim.mp4"] {
        std::fs::write(at(name), name).unwrap();
    }
    let both = "is both the input and the output: give another name or folder";
    let said = failure(&desumnet(&["score", &at("a.mp4"), "--json", &at("a.mp4")]));
    assert!(said.contains(&format!("a.mp4 {both}")), "{said}");
    let said = failure(&desumnet(&["skim", &at(""), "-o", &at(""), "--ratio", "50%"]));
    assert!(said.contains(&format!("a-skim.mp4 {both}")), "{said}");
    let one = "is the name of a file: of several videos, give a folder";
    for (verb, flag, name) in [("score", "--json", "all.json"), ("skim", "-o", "all.mp4")] {
        let more = if verb == "skim" { &["--ratio", "50%"][..] } else { &[] };
        let said = failure(&desumnet(&[&[verb, &at("a.mp4"), &at("a-skim.mp4"), flag, &at(name)], more].concat()));
        assert!(said.contains(&format!("{name} {one}")), "{said}");
    }
    let said =
        failure(&desumnet(&["skim", &at("a.mp4"), "-o", &at("b.mp4"), "--ratio", "1", "--save-plan", &at("b.mp4")]));
    assert!(said.contains("b.mp4 would be written twice: give two names"), "{said}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    assert_eq!(std::fs::read_to_string(at("a.mp4")).unwrap(), "a.mp4");
}

#[test]
fn a_reader_who_leaves_ends_the_program_without_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let (video, model) = (folder.path().join("ball.mp4"), test_support::tiny_model(folder.path()));
    test_support::render(&video, "ball", 16);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_desumnet"))
        .args(["score", text(&video), "--model", text(&model), "--no-cache"])
        .stdout(writer)
        .output()
        .unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(141), String::new()));
}

#[test]
fn times_count_from_the_first_picture_in_every_container() {
    let folder = tempfile::tempdir().unwrap();
    let model = test_support::tiny_model(folder.path());
    let score = |muxer: &str| {
        let video = folder.path().join(muxer);
        test_support::launch(&format!(
            "videotestsrc num-buffers=40 ! video/x-raw,width=160,height=90,framerate=25/1 \
             ! x264enc speed-preset=ultrafast threads=1 ! h264parse ! {muxer} ! filesink location={}",
            video.display()
        ));
        let scores = json(&desumnet(&["score", text(&video), "--json", "-", "--model", text(&model)]).stdout);
        let times = |of: &str| -> Vec<[u64; 2]> {
            let times = scores[of].as_array().unwrap().iter();
            times.map(|s| ["start_ns", "duration_ns"].map(|time| s[time].as_u64().unwrap())).collect()
        };
        let rate = scores["frame_rate"].as_str().unwrap().to_owned();
        (
            scores["first_ns"].as_u64().unwrap(),
            rate,
            scores["duration_ns"].as_u64().unwrap(),
            times("segments"),
            times("shots"),
        )
    };
    let ms = |times: [u64; 2]| times.map(|ms| ms * 1_000_000);
    let segments = [[0, 640], [640, 640], [1_280, 320]].map(ms).to_vec();
    let expected = |first| (first, "25/1".to_owned(), 1_600_000_000, segments.clone(), vec![[0, 1_600_000_000]]);
    assert_eq!(score("mp4mux"), expected(0));
    // It begins with its clock, an eighth of a second before the picture.
    assert_eq!(score("mpegtsmux"), expected(125_000_000));
}

#[test]
fn score_names_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let model = test_support::tiny_model(folder.path());
    let score =
        |video: &str, more: &[&str]| failure(&desumnet(&[&["score", video, "--model", text(&model)], more].concat()));
    let error = score("no/such/video.mp4", &[]);
    assert!(error.contains("no/such/video.mp4: no such file"), "{error}");

    let sound = folder.path().join("sound.ogg");
    test_support::launch(&format!(
        "audiotestsrc num-buffers=20 ! vorbisenc ! oggmux ! filesink location={}",
        sound.display()
    ));
    let error = score(text(&sound), &[]);
    assert!(error.contains("has no video stream; give a file with a picture"), "{error}");

    let still = folder.path().join("still.jpg");
    test_support::launch(&format!("videotestsrc num-buffers=1 ! jpegenc ! filesink location={}", still.display()));
    let error = score(text(&still), &[]);
    assert!(error.contains("still.jpg is a still picture, of which no moment matters more; give a video"), "{error}");

    let noise = folder.path().join("noise.mp4");
    std::fs::write(&noise, "not a video at all").unwrap();
    let error = score(text(&noise), &[]);
    assert!(error.contains("can't be decoded"), "{error}");

    let video = folder.path().join("ball.mp4");
    test_support::render(&video, "ball", 20);
    let error = score(text(&video), &["--category", "juggling"]);
    assert!(error.contains("category `juggling` is none of the model's: use auto or one of jumping"), "{error}");
    let error = score(text(&video), &["--precision", "f16", "--device", "cpu"]);
    assert!(error.contains("precision f16 needs a CUDA device"), "{error}");
    let error = score(text(&video), &["--json", "no/such/folder/scores.json"]);
    assert!(error.contains("can't be written"), "{error}");
    let output = desumnet(&["score", text(&video), "--precision", "f64"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("use one of auto, f32, bf16, f16"));
}

#[test]
fn no_secret_of_a_uri_is_told_or_written() {
    let folder = tempfile::tempdir().unwrap();
    let (video, model) = (folder.path().join("ball.mp4"), test_support::tiny_model(folder.path()));
    test_support::render(&video, "ball", 80);
    let address = test_support::serve(&video);
    let uri = |name: &str| format!("http://me:p4ss@{address}/{name}?token=s3cret&X-Amz-Signature=5ignature&v=1");
    let safe = |name: &str| format!("http://***@{address}/{name}?token=***&X-Amz-Signature=***&v=1");
    let (made, ball) = (folder.path().join("made"), uri("ball.mp4"));
    std::fs::create_dir(&made).unwrap();
    let options = ["--model", text(&model), "--stdout-format", "json"];
    let skim = made.join("skim.mp4");
    let cut = ["skim", &ball, "--ratio", "50%", "-o", text(&skim), "--report", "html,csv,otio,ffmetadata,vtt"];
    let skimmed = desumnet(&[&cut[..], &options].concat());
    assert!(skimmed.status.success(), "{skimmed:?}");
    assert_eq!(json(&skimmed.stdout)["video"].as_str(), Some(safe("ball.mp4").as_str()));
    let scored = desumnet(&[&["score", &ball, "rtsp://cam:1/user=me&password=s3cret"], &options[..]].concat());
    let told = String::from_utf8(scored.stdout.clone()).unwrap();
    let told: Vec<serde_json::Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(told[0]["video"].as_str(), Some(safe("ball.mp4").as_str()));
    assert_eq!(told[1]["video"].as_str(), Some("rtsp://cam:1/user=***&password=***"));
    let files = std::fs::read_dir(&made).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    let all: Vec<Vec<u8>> =
        files.chain([skimmed, scored].into_iter().flat_map(|out| [out.stdout, out.stderr])).collect();
    assert_eq!(all.len(), 6 + 4);
    for text in all.iter().map(|bytes| String::from_utf8_lossy(bytes)) {
        assert!(!["p4ss", "s3cret", "5ignature"].iter().any(|secret| text.contains(secret)), "{text}");
    }
}
