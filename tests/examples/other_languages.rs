//! The meta and the messages as Python and C see them: runs `examples/read_meta.py` and `examples/read_meta.c` in processes of their
//! own, with the plugin that cargo built.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use gst::prelude::*;

/// Runs a program with these arguments: what it printed, or what it complained of.
fn run(folder: &Path, program: &str, args: &[&str]) -> Result<String, String> {
    let plugins = folder.join("plugins");
    if !plugins.is_dir() {
        // `cargo test` builds the plugin beside the tests only: that in target/<profile> is of the last `cargo build`.
        let plugin = std::env::current_exe().unwrap().with_file_name("libgstdesumnet.so");
        std::fs::create_dir(&plugins).unwrap();
        std::os::unix::fs::symlink(plugin, plugins.join("libgstdesumnet.so")).unwrap();
    }
    let output = Command::new(program)
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("GST_PLUGIN_PATH", plugins)
        // What GStreamer knows of the user's plugins, and remembers of these, is not the test's business.
        .env("GST_REGISTRY", folder.join("registry"))
        .output()
        .map_err(|e| e.to_string())?;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// The lines that the example prints.
fn example(folder: &Path, args: &[&str]) -> Result<Vec<String>, String> {
    // Another Python than the system's often lacks the bindings.
    let has_gi =
        |interpreter: &&str| run(folder, interpreter, &["-c", "from gi.repository import Gst; Gst.ValueArray"]).is_ok();
    let interpreter = ["/usr/bin/python3", "python3"].into_iter().find(has_gi);
    let interpreter = interpreter.expect("no Python with GStreamer: `make setup` installs python3-gst-1.0");
    let model = test_support::tiny_model(folder);
    let fixed = ["examples/read_meta.py", "--model", model.to_str().unwrap(), "--category", "sailing"];
    Ok(run(folder, interpreter, &[&fixed[..], args].concat())?.lines().map(String::from).collect())
}

/// A file of 36 frames, 25 a second: two segments and a quarter.
fn clip(folder: &Path) -> PathBuf {
    gst::init().unwrap();
    let file = folder.join("clip.avi");
    let pipeline = gst::parse::launch(&format!(
        "videotestsrc num-buffers=36 pattern=ball ! video/x-raw,width=64,height=48,framerate=25/1 ! jpegenc ! avimux \
         ! filesink location={}",
        file.display()
    ));
    let pipeline = pipeline.unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = pipeline.bus().unwrap().timed_pop_filtered(gst::ClockTime::NONE, &ends).unwrap();
    pipeline.set_state(gst::State::Null).unwrap();
    assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
    file
}

/// A line without the numbers that depend on the processor's arithmetic.
fn steady(line: &str) -> String {
    let mut words = Vec::new();
    let mut skip = false;
    for word in line.split(' ').filter(|word| !word.starts_with('(')) {
        if !skip {
            words.push(word);
        }
        skip = ["importance", "score", "frame-score"].contains(&word);
    }
    words.join(" ")
}

/// What the 36 frames of [`clip`] and their segments come to.
fn expected() -> Vec<String> {
    let mut lines = Vec::new();
    for (segment, frames, from, length, flags) in
        [(0, 16, "0.000", "0.640", "none"), (1, 16, "0.640", "0.640", "none"), (2, 4, "1.280", "0.160", "padded")]
    {
        lines.push(format!(
            "segment {segment} from {from} for {length} frames {frames} importance score frame-scores 16 category sailing flags {flags}"
        ));
        for frame in 0..frames {
            let at = f64::from(segment * 16 + frame) * 0.04;
            let starts = if (segment, frame) == (0, 0) { " starts" } else { "" };
            lines.push(format!(
                "frame {at:.3} shot 0{starts} segment {segment} [{frame}/{frames}] from {from} for {length} importance score frame-score category sailing flags {flags}"
            ));
        }
    }
    lines
}

#[test]
fn python_reads_every_frame_and_segment_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let lines = example(folder.path(), &[clip(folder.path()).to_str().unwrap()]).unwrap();
    assert_eq!(lines.iter().map(|line| steady(line)).collect::<Vec<_>>(), expected());
    // Nothing was there to rank the first segment among.
    assert!(lines[0].contains(" importance 0.500 "), "{}", lines[0]);
}

#[test]
fn c_reads_every_frame_and_segment_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("read_meta");
    let program = program.to_str().unwrap();
    let flags =
        run(folder.path(), "pkg-config", &["--cflags", "--libs", "gstreamer-1.0", "gstreamer-app-1.0"]).unwrap();
    let fixed = ["-Wall", "-Wextra", "-Werror", "examples/read_meta.c", "-o", program];
    run(folder.path(), "cc", &fixed.into_iter().chain(flags.split_whitespace()).collect::<Vec<_>>()).unwrap();
    let model = test_support::tiny_model(folder.path());
    let args = [clip(folder.path()), model].map(|path| path.to_str().unwrap().to_string());
    let lines = run(folder.path(), program, &args.each_ref().map(String::as_str)).unwrap();
    let mut expected = Vec::new();
    for (segment, frames) in [(0, 16), (1, 16), (2, 4)] {
        expected.push(format!("segment {segment} score"));
        expected.extend((0..frames).map(|frame| {
            let at = f64::from(segment * 16 + frame) * 0.04;
            format!("frame {at:.3} segment {segment} [{frame}] importance score")
        }));
    }
    // The category is whichever leads: the model's weights are random.
    let lines = lines.lines().map(|line| steady(line.split(" category").next().unwrap()));
    assert_eq!(lines.collect::<Vec<_>>(), expected);
}

#[test]
fn meta_survives_what_changes_copies_and_delays_the_picture() {
    let folder = tempfile::tempdir().unwrap();
    let through = "tee name=t ! queue ! fakesink async=false t. ! queue ! videoconvert ! video/x-raw,format=BGRA \
                   ! videoscale ! video/x-raw,width=32,height=32 ! videoflip method=clockwise ! queue";
    let file = clip(folder.path());
    let lines = example(folder.path(), &[file.to_str().unwrap(), "--through", through]).unwrap();
    assert_eq!(lines.iter().map(|line| steady(line)).collect::<Vec<_>>(), expected());
}

#[test]
fn python_is_told_why_a_model_does_not_load() {
    let folder = tempfile::tempdir().unwrap();
    let error = example(folder.path(), &["--model", "/nowhere.safetensors"]).unwrap_err();
    assert!(error.contains("/nowhere.safetensors") && error.contains("desumnet-train"), "{error}");
}
