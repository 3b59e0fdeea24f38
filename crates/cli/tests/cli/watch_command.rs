//! `desumnet watch` as a user runs it.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

#[test]
fn a_camera_is_watched_until_a_signal_and_its_clip_finished() {
    let temporary = tempfile::tempdir().unwrap();
    let [clips, cameras, syncs] = ["clips", "cameras", "syncs"].map(|name| temporary.path().join(name));
    std::fs::write(&cameras, "# one\nyard=test:\n").unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_desumnet"))
        .arg("watch")
        .arg(format!("@{}", cameras.display()))
        .args(["--threshold", "0s", "--events", "json:-", "--clips"])
        .arg(&clips)
        .env("LD_PRELOAD", test_support::preload(temporary.path(), "syncs"))
        .env("SYNCS", &syncs)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut events = BufReader::new(child.stdout.take().unwrap()).lines().map(|line| {
        let event: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        event
    });
    // All of it matters.
    let begun = events.next().unwrap();
    assert_eq!((begun["type"].as_str(), begun["camera"].as_str()), (Some("new"), Some("yard")));
    assert_eq!(events.next().unwrap()["type"], "update");
    // SAFETY: the process is this one's child, and has not been waited for.
    assert_eq!(unsafe { libc::kill(child.id() as i32, libc::SIGTERM) }, 0);
    let last = events.last().unwrap();
    assert_eq!((&last["type"], &last["id"]), (&"end".into(), &begun["id"]));
    let out = child.wait_with_output().unwrap();
    assert_eq!(
        (out.status.code(), String::from_utf8(out.stderr).unwrap().as_str()),
        (Some(0), "yard: its pictures come\n")
    );
    assert!(clips.join(last["file"].as_str().unwrap()).exists());
    assert!(clips.join(last["thumbnail"].as_str().unwrap()).exists());
    assert_eq!(std::fs::read_to_string(clips.join("clips.jsonl")).unwrap().lines().count(), 1);
    // No power cut takes away what the line tells of: the clip, its name, then the line, and its file's name.
    let synced = std::fs::read_to_string(&syncs).unwrap();
    let (clip, lines) = (clips.join(last["file"].as_str().unwrap()), clips.join("clips.jsonl"));
    let [clip, clips, lines] = [&clip, &clips, &lines].map(|path| path.to_str().unwrap());
    let order: Vec<&str> = synced.lines().filter(|path| [clip, clips, lines].contains(path)).collect();
    assert_eq!(order, [clip, clips, lines, clips]);
}

#[test]
fn what_is_wrong_is_said_before_anything_is_watched() {
    let temporary = tempfile::tempdir().unwrap();
    let clips = temporary.path().join("clips");
    let watch = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_desumnet"));
        let out = command.args(["watch", "--clips"]).arg(&clips).args(args).output().unwrap();
        assert!(!out.status.success());
        String::from_utf8(out.stderr).unwrap()
    };
    let places = temporary.path().join("places");
    std::fs::write(&places, "\u{feff}# ours\r\nmqtt://cam:p4ss@h:x/t\r\n").unwrap();
    let places = format!("@{}", places.display());
    let cases: [(&[&str], &str); 14] = [
        (&[], "[NAME=]URI"),
        (&["@/nowhere"], "/nowhere: No such file or directory (os error 2); give a file with a camera a line"),
        (&["test:", "--keep", "50"], "50 is neither a size nor an age"),
        (&["test:", "--events", "ftp://u:p4ss@h/x"], "ftp://***@h/x is no place for events"),
        (&["test:", "--events", "mqtt://cam:p@ss:w/r#p4ss@h:1/t"], "mqtt://***@h:1/t is no place for events"),
        (&["test:", "--events", &places], "mqtt://***@h:x/t is no place for events"),
        (
            &["test:", "--events-ca", "/nowhere"],
            "/nowhere: No such file or directory (os error 2); give the authorities'",
        ),
        (&["test:", "--metrics", "http://u:p4ss@h"], "http://***@h is no address for metrics"),
        (&["test:", "--ratio", "2%", "--threshold", "1"], "cannot be used with"),
        (&["test:", "--threshold", "1"], "--threshold 1 is a score, which says little of what is unusual: give a time"),
        (&["test:", "--threshold", "1h", "--importance", "logit"], "a time needs --importance unusual"),
        (&["test:", "--threshold", "often"], "give a time, such as 1h, or a score"),
        (&["test:", "--max", "1s"], "--max is shorter than --min"),
        // It is a score, and a time, that keeps all.
        (&["test:", "--threshold", "0", "--max", "1s"], "--max is shorter than --min"),
    ];
    for (args, expected) in cases {
        let told = watch(args);
        assert!(told.contains(expected) && !told.contains("p4ss"), "{args:?}: {told}");
    }
    assert!(!clips.exists());
    let told = watch(&["ftp://cam/user=me&password=p4ss"]);
    assert!(told.contains("ftp://cam/user=***&password=***: nothing here reads such a URI"), "{told}");
    assert!(!clips.exists());
}

#[test]
fn a_plugin_that_is_missing_is_named_with_its_package() {
    gst::init().unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let video = temporary.path().join("camera.mp4");
    test_support::watching::render_file(&video, 30);
    // Where this GStreamer has its plugins, but for those that a small installation lacks.
    let whole = gst::Registry::get().find_plugin("coreelements").unwrap().filename().unwrap();
    let has = |left_out: &[&str]| {
        let folder = tempfile::tempdir_in(temporary.path()).unwrap().keep();
        for name in [
            "app",
            "coreelements",
            "isomp4",
            "libav",
            "playback",
            "typefindfunctions",
            "audioparsers",
            "videoparsersbad",
        ] {
            let file = format!("libgst{name}.so");
            if !left_out.contains(&name) {
                std::os::unix::fs::symlink(whole.with_file_name(&file), folder.join(file)).unwrap();
            }
        }
        let out = Command::new(env!("CARGO_BIN_EXE_desumnet"))
            .args(["watch", "--threshold", "0s", "--clips"])
            .arg(temporary.path().join("clips"))
            .arg(format!("file://{}", video.display()))
            .env("GST_PLUGIN_SYSTEM_PATH", &folder)
            .env("GST_REGISTRY", folder.join("registry"))
            .env_remove("GST_PLUGIN_PATH")
            .output()
            .unwrap();
        assert_eq!(out.status.code(), Some(1));
        String::from_utf8(out.stderr).unwrap()
    };
    let told = has(&["libav"]);
    assert!(told.contains(": GStreamer has no H.264 "), "{told}");
    assert!(told.contains(" decoder here: install the package gstreamer1.0-libav\n"), "{told}");
    let told = has(&["videoparsersbad"]);
    assert!(
        told.contains(": GStreamer has no element h264parse here: install the package gstreamer1.0-plugins-bad\n"),
        "{told}"
    );
}
