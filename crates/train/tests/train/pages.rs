//! Our pages in a browser: the report with its marks, and the page on which people rate time-lapses.

use std::{fs, path::Path, process::Command};

use desumnet_frames::frame_rate::FrameRate;
use desumnet_offline::marks::{self, Mark};
use desumnet_report::{Shot, Summary, page};
use serde_json::{Value, json};
use test_support::{
    browser::{Browser, no_browser},
    failure, text,
};

const SECOND: u64 = 1_000_000_000;

/// A video of three shots.
fn summary() -> Summary {
    let shot = |start_ns, duration_ns| Shot { start_ns, duration_ns, score: 0.5, chosen: false, thumbnail: None };
    Summary {
        name: "a b.mp4".into(),
        url: "a%20b.mp4".into(),
        skim_url: None,
        duration_ns: 10 * SECOND,
        first_ns: 0,
        frame_rate: FrameRate { numerator: 25, denominator: 1 },
        timecode: None,
        sound: false,
        category: "cooking".into(),
        confidence: 0.5,
        segments: Vec::new(),
        shots: vec![shot(0, 2 * SECOND), shot(2 * SECOND, 4_040_000_000), shot(6_040_000_000, 3_960_000_000)],
        parts: Vec::new(),
    }
}

#[test]
fn marks_are_shown_kept_taken_back_and_saved_for_teaching() {
    if no_browser() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("report.html");
    fs::write(&place, page::html(&summary()).unwrap()).unwrap();
    let address = format!("file://{}", place.display());
    let browser = Browser::open(&address, &[]);
    let click = |what: &str, shot: u32, of: &str| {
        browser.run(&format!("document.querySelector('{of} .{what}[data-shot=\"{shot}\"]').click()"));
    };
    let pressed = || {
        browser.run(
            "return [...document.querySelectorAll('.wish [aria-pressed=true]')].map((b) => b.getAttribute('aria-label'))",
        )
    };
    let told = || {
        browser.run(
            "return document.querySelector('#marked').hidden ? null : document.querySelector('#count').textContent",
        )
    };
    assert_eq!((pressed(), told()), (json!([]), Value::Null));
    click("more", 2, ".tile");
    assert_eq!((pressed(), told()), (json!(["More of shot 2", "More of shot 2"]), "1 mark".into()));
    // In the table as in the strip; the other wish takes the place of the first, and the same once more takes it back.
    click("less", 2, "td");
    click("more", 1, "td");
    click("more", 3, ".tile");
    click("more", 3, "td");
    let marked = json!(["More of shot 1", "Less of shot 2", "More of shot 1", "Less of shot 2"]);
    assert_eq!((pressed(), told()), (marked.clone(), "2 marks".into()));
    browser.go(&address);
    assert_eq!((pressed(), told()), (marked, "2 marks".into()));
    // By keys, on a shot.
    browser.run("document.querySelectorAll('.shot')[2].focus()");
    browser.press("-");
    assert_eq!(told(), "3 marks");
    browser.run("document.querySelector('#download').click()");
    let video = folder.path().canonicalize().unwrap().join("a b.mp4");
    let video = text(&video).to_owned();
    let lines = browser.download("marks.jsonl");
    assert_eq!(
        lines.lines().next().unwrap(),
        format!("{{\"video\": \"{video}\", \"start\": 0.000, \"end\": 2.000, \"like\": true}}")
    );
    let mark = |span, like| Mark { video: video.clone(), span: Some(span), like: Some(like) };
    let ms = 1_000_000;
    assert_eq!(
        marks::parse(&lines).unwrap(),
        [mark(0..2_000 * ms, true), mark(2_000 * ms..6_040 * ms, false), mark(6_040 * ms..10_000 * ms, false)]
    );
}

fn rate(folder: &Path, line: &str) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_desumnet-train"));
    command.arg("rate").args(line.split(' ')).current_dir(folder).output().unwrap()
}

/// The frames of a video and its length, ns.
fn frames(film: &Path) -> (usize, u64) {
    let mut decoder = desumnet_media::decode::Decoder::open(text(film)).unwrap();
    let (mut count, mut end) = (0, 0);
    while let Some(picture) = decoder.next_picture().unwrap() {
        count += 1;
        end = picture.pts.unwrap() + picture.duration.unwrap();
    }
    (count, end)
}

#[test]
fn time_lapses_are_rated_without_names_and_the_ratings_counted() {
    test_support::init();
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    test_support::tiny_model(root);
    for (file, parts) in [
        ("videos/dogs/a", [("ball", 30), ("smpte", 30)]),
        ("videos/dogs/b", [("snow", 20), ("ball", 30)]),
        ("videos/cats/c", [("smpte", 30), ("ball", 22)]),
        ("videos/cats/d", [("ball", 20), ("smpte", 20)]),
        ("alone/e", [("ball", 10), ("smpte", 10)]),
    ] {
        let file = root.join(format!("{file}.mp4"));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        test_support::scenes(&file, &parts);
    }
    let make = "--model tiny.safetensors --precision f32 --speed 2 --output study --videos videos";
    for (line, reason) in [
        (
            make.replace("--videos videos", "--videos alone --method cvs"),
            "no other of the topic of e; the videos of a topic lie",
        ),
        (make.replace("--videos videos", "--videos none"), "none can't be read"),
        (format!("{make} --method kvs --method kvs"), "kvs is given twice"),
    ] {
        let said = failure(&rate(root, &line));
        assert!(said.contains(reason), "{said}");
    }
    let make = format!("{make} --method logit --method uniform --method kvs");
    let made = rate(root, &make);
    assert!(made.status.success(), "{made:?}");
    let said = failure(&rate(root, &make));
    assert!(said.contains("is there already, and ratings of that page need its key"), "{said}");

    let study = root.join("study");
    let mut files: Vec<_> = fs::read_dir(&study).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["key.json", "page.html"]);
    let page = fs::read_to_string(study.join("page.html")).unwrap();
    let key: Value = serde_json::from_slice(&fs::read(study.join("key.json")).unwrap()).unwrap();
    // Three letters stand somewhere in a film, too.
    let (head, films) = page.split_once("<script type=\"text/plain\"").unwrap();
    let script = films.rsplit_once("<script>").unwrap().1;
    assert!(["logit", "uniform", "kvs"].iter().all(|method| !head.contains(method) && !script.contains(method)));
    // Half as many frames as the original has, of every version.
    let film = |name: &str| {
        let text = page.split(&format!("id=\"film-{name}\">")).nth(1).unwrap().split('<').next().unwrap();
        let path = root.join(format!("{name}.mp4"));
        fs::write(&path, glib::base64_decode(text)).unwrap();
        frames(&path)
    };
    let second = |frames: u64| frames * SECOND / 25;
    let videos = key["videos"].as_array().unwrap();
    for (shown, (name, whole, half)) in
        videos.iter().zip([("cats/c", 52, 26), ("cats/d", 40, 20), ("dogs/a", 60, 30), ("dogs/b", 50, 25)])
    {
        assert_eq!(shown["video"], name);
        assert_eq!(film(shown["original"].as_str().unwrap()), (whole, second(whole as u64)));
        let versions = shown["versions"].as_object().unwrap();
        for version in versions.keys() {
            assert_eq!(film(version), (half, second(half as u64)), "{name}");
        }
        let mut methods: Vec<&str> = versions.values().map(|method| method.as_str().unwrap()).collect();
        methods.sort_unstable();
        assert_eq!(methods, ["kvs", "logit", "uniform"]);
    }
    if no_browser() {
        return;
    }

    let address = format!("file://{}", study.join("page.html").display());
    let browser = Browser::open(&address, &[]);
    let sees = |id: &str| browser.run(&format!("return !document.getElementById('{id}').closest('[hidden]')"));
    let drawn = || {
        browser.run(&format!(
            "return JSON.parse(localStorage.getItem('desumnet-rating {}'))",
            key["page"].as_str().unwrap()
        ))
    };
    assert_eq!((sees("intro"), sees("rating"), sees("end")), (true.into(), false.into(), false.into()));
    browser.run("document.querySelector('#rater').value = 'Åsa B.'; document.querySelector('#begin button').click()");
    let order = drawn()["order"].clone();
    for place in 0..videos.len() {
        let shown = order[place]["shown"].as_array().unwrap();
        assert_eq!(
            browser.run("return document.querySelector('#where').textContent"),
            format!("Video {} of 4", place + 1)
        );
        assert_eq!(
            (sees("versions"), browser.run("return document.querySelector('#next').disabled")),
            (false.into(), true.into())
        );
        // The original is watched; then each version is, not before it can be rated.
        // Nobody waits here for what is seen.
        browser.run("for (const video of document.querySelectorAll('video')) video.playbackRate = 4");
        browser.press(" ");
        browser.wait("return !document.querySelector('#versions').hidden");
        for (version, rating) in shown.iter().zip(["4", "1", "3"]) {
            let watched = format!(
                "return document.querySelector('.current input')?.name === {version} && !document.querySelector('.current fieldset').disabled"
            );
            if place == 0 {
                browser.press(rating);
                assert!(drawn()["ratings"].get(version.as_str().unwrap()).is_none());
            }
            browser.press(" ");
            browser.wait(&watched);
            browser.press(rating);
            assert_eq!(drawn()["ratings"][version.as_str().unwrap()], rating.parse::<u8>().unwrap());
        }
        if place == 1 {
            // What was done is there after a reload, and the order is the same.
            browser.go(&address);
            assert_eq!(browser.run("return document.querySelector('#where').textContent"), "Video 2 of 4");
            assert_eq!(
                browser
                    .run("return [...document.querySelectorAll('.version')].map((v) => v.querySelector('input').name)"),
                order[1]["shown"]
            );
            assert_eq!(browser.run("return document.querySelector('#progress').value"), 6);
            browser.run("document.querySelector('#next').focus()");
        }
        // The focus is on the button that leads on.
        browser.press("\u{e007}");
    }
    assert_eq!(
        (sees("end"), browser.run("return document.querySelector('#save').disabled")),
        (true.into(), false.into())
    );
    // As long as one is missing, nothing is saved.
    browser.run(
        "const k = Object.keys(localStorage)[0], s = JSON.parse(localStorage.getItem(k)); s.held = s.ratings; \
        s.ratings = Object.fromEntries(Object.entries(s.ratings).slice(1)); localStorage.setItem(k, JSON.stringify(s))",
    );
    browser.go(&address);
    assert_eq!(browser.run("return document.querySelector('#save').disabled"), true);
    assert!(
        browser
            .run("return document.querySelector('#thanks').textContent")
            .as_str()
            .unwrap()
            .starts_with("1 of 12 time-lapses are not rated")
    );
    browser.run("const k = Object.keys(localStorage)[0], s = JSON.parse(localStorage.getItem(k)); s.ratings = s.held; localStorage.setItem(k, JSON.stringify(s))");
    browser.go(&address);
    browser.run("document.querySelector('#save').click()");
    let sheet: Value = serde_json::from_str(&browser.download("ratings-åsa-b.json")).unwrap();
    assert_eq!(
        (&sheet["page"], &sheet["rater"], &sheet["videos"][0]["shown"]),
        (&key["page"], &"Åsa B.".into(), &order[0]["shown"])
    );
    // Another person begins from the start.
    let sitting = drawn()["sitting"].clone();
    browser.run("window.confirm = () => true; document.querySelector('#anew').click()");
    assert_eq!((drawn()["ratings"].clone(), sees("intro")), (json!({}), true.into()));
    assert_ne!(drawn()["sitting"], sitting);

    fs::write(study.join("asa.json"), sheet.to_string()).unwrap();
    // A second person, of the same mind.
    let mut second = sheet;
    second["sitting"] = "another".into();
    fs::write(study.join("bo.json"), second.to_string()).unwrap();
    let counted = rate(root, "--results study/asa.json study/bo.json --json -");
    assert!(counted.status.success(), "{counted:?}");
    let table: Value = serde_json::from_slice(&counted.stdout).unwrap();
    assert_eq!((&table["raters"], &table["videos"], &table["agreement"]), (&2.into(), &4.into(), &1.0.into()));
    let means: f64 = table["methods"].as_object().unwrap().values().map(|row| row["mean"].as_f64().unwrap()).sum();
    assert!((means - 8.0).abs() < 1e-9 && table["methods"]["kvs"]["ratings"] == 8, "{table}");
    let shown = rate(root, "--results study/asa.json");
    assert!(String::from_utf8(shown.stdout).unwrap().starts_with("1 person, 4 videos\n"));
    let said = failure(&rate(root, "--results study/asa.json study/asa.json"));
    assert!(said.contains("is of the same sitting as study/asa.json"), "{said}");
}
