//! `desumnet-train` as people use it: from two folders of videos to an adapted model, killed and resumed, and on bad input.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::labelled::render_labelled;
use desumnet_engine::network::Model;

/// A folder with labelled videos and room for what comes of them.
struct Place {
    folder: tempfile::TempDir,
}

struct Said {
    ok: bool,
    out: String,
    err: String,
}

impl Place {
    fn new() -> Self {
        test_support::init();
        let folder = tempfile::tempdir().unwrap();
        render_labelled(&folder.path().join("videos"));
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The command, run in the folder; on one thread, so that its sums come in the same order.
    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_desumnet-train"));
        command.args(line.split_whitespace()).current_dir(self.folder.path());
        command.env("OMP_NUM_THREADS", "1").env("XDG_CACHE_HOME", self.path("home"));
        command
    }

    fn run(&self, line: &str) -> Said {
        said(&mut self.command(line))
    }
}

fn said(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { ok: output.status.success(), out: text(output.stdout), err: text(output.stderr) }
}

/// A short run on small clips.
const SHORT: &str = "pretrain --data videos --fc6 shared --epochs 0 --batch 2 --optimizer adamw --learning-rate 0.001";

fn weights(path: &Path) -> Vec<Vec<f32>> {
    let model = Model::load(path).unwrap();
    model.layers.into_iter().flat_map(|layer| [layer.weight.values, layer.bias.values]).collect()
}

#[test]
fn pretrained_fine_tuned_adapted_and_measured() {
    let place = Place::new();
    let said = place.run(&format!("{SHORT} --output first.safetensors --small 32x8:2 --clips-per-video 2"));
    assert!(said.ok, "{}", said.err);
    // Of three videos of a category one is held out.
    assert!(
        said.err.contains("4 videos in 2 categories") && said.err.contains("2 videos for validation"),
        "{}",
        said.err
    );
    let table = fs::read_to_string(place.path("first.run/metrics.csv")).unwrap();
    let epochs: Vec<&str> = table.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(epochs, ["1", "2"]);
    assert!(fs::read_to_string(place.path("first.run/curves.svg")).unwrap().starts_with("<svg"));
    let left: Vec<String> = fs::read_dir(place.path("first.run"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(left.len() == 4 && left.iter().any(|name| name.starts_with("events.out.tfevents.")), "{left:?}");

    // What it was trained on is left out; two videos were held out.
    let document = |line: &str| -> serde_json::Value {
        let said = place.run(&format!("accuracy {line} --json -"));
        assert!(said.ok, "{}", said.err);
        serde_json::from_str(&said.out).unwrap()
    };
    let json = document("--model first.safetensors --data videos");
    assert_eq!((&json["videos"], &json["sets"]), (&2.into(), &1.into()));
    let models = |left_out: u64, videos: u64, trained_on: u64| serde_json::json!([{ "model": "first.safetensors", "videos": videos, "left_out": left_out, "trained_on": trained_on }]);
    assert_eq!(json["models"], models(4, 2, 0));
    assert_eq!(document("--model first.safetensors --data videos --all")["models"], models(0, 6, 4));
    // A model twice: as of two splits.
    let json = document("--model first.safetensors first.safetensors --data videos");
    assert_eq!((&json["videos"], json["models"].as_array().unwrap().len()), (&4.into(), 2));

    let first = Model::load(&place.path("first.safetensors")).unwrap();
    assert_eq!(first.header.categories, ["calm", "wild"]);
    assert_eq!(first.layers[5].weight.shape, [2048, 4096]);

    // Other names for the same videos: new categories.
    fs::create_dir(place.path("target")).unwrap();
    fs::rename(place.path("videos/calm"), place.path("target/indoors")).unwrap();
    fs::rename(place.path("videos/wild"), place.path("target/outdoors")).unwrap();
    let itself = place.run("finetune --model first.safetensors --data target --output first.safetensors");
    assert!(!itself.ok && itself.err.contains("is the model to begin or learn from"), "{}", itself.err);
    let tune = "finetune --model first.safetensors --data target --hold-out 0 --output second.safetensors --epochs 0 \
                --small 32x8:1 --batch 2";
    let said = place.run(tune);
    assert!(said.ok, "{}", said.err);
    let second = Model::load(&place.path("second.safetensors")).unwrap();
    assert_eq!(second.header.categories, ["indoors", "outdoors"]);
    let from = &second.header.provenance["from"];
    assert_eq!(from["file"], "first.safetensors");
    assert_eq!(from["provenance"]["epochs_done"], 2);
    assert_eq!(second.header.provenance["settings"]["learning_rate"], 0.0003);

    fs::create_dir_all(place.path("web/outdoors")).unwrap();
    test_support::render(&place.path("web/outdoors/long.mp4"), "snow", 60);
    let adapt = "adapt --model second.safetensors --web web --output third.safetensors --epochs 0 --small 32x8:1 --batch 2 \
                 --report cut.csv --threshold 0";
    // Web videos alone are all of one category; and a recording may not be in both.
    let said = place.run(adapt);
    assert!(!said.ok && said.err.contains("no video is left of indoors: give web videos of them"), "{}", said.err);
    let said = place.run(&format!("{adapt} --validation web"));
    assert!(
        !said.ok && said.err.contains("long.mp4 is in training and web/outdoors/long.mp4 in validation"),
        "{}",
        said.err
    );
    let listed = |indoors: &str, output: &str| {
        let rows = format!(
            "web/outdoors/long.mp4,outdoors,val\n{indoors},indoors,train\ntarget/outdoors/ball.mp4,outdoors,\n"
        );
        fs::write(place.path("web.csv"), format!("path,category,split\n{rows}")).unwrap();
        let adapt = adapt.replace("--web web --output third.safetensors", "--web web.csv --data target");
        place.run(&format!("{adapt} --output {output}"))
    };
    let said = listed("target/indoors/gradient.mp4", "listed.safetensors");
    assert!(said.ok && said.err.contains("1 web videos are marked val or test: left out"), "{}", said.err);
    assert!(
        said.err.contains("2 videos in 2 categories") && said.err.contains("2 videos for validation"),
        "{}",
        said.err
    );
    // second.safetensors was trained on all of them.
    assert!(said.err.contains("--model was trained on 2 of the 2 videos for validation"), "{}", said.err);
    // A copy of a video that is held out.
    fs::copy(place.path("target/indoors/smpte75.mp4"), place.path("copy.mp4")).unwrap();
    let said = listed("copy.mp4", "copy.safetensors");
    let refused =
        "copy.mp4 is in training and target/indoors/smpte75.mp4 in validation, and both have the same content";
    assert!(!said.ok && said.err.contains(refused), "{}", said.err);

    let adapt = format!("{adapt} --data target --hold-out 0 --with-labelled --clips-per-video 1 --web-clips 2");
    let said = place.run(&adapt);
    assert!(said.ok && said.err.contains("outdoors: kept 4 of 4 segments"), "{}", said.err);
    assert!(said.err.contains("7 videos in 2 categories"), "{}", said.err);
    let report = fs::read_to_string(place.path("cut.csv")).unwrap();
    let lines: Vec<&str> = report.lines().collect();
    assert_eq!(lines[0], "video,category,segment,start_ns,duration_ns,probability,kept");
    assert_eq!(lines.len(), 5);
    assert!(lines[2].starts_with("web/outdoors/long.mp4,outdoors,1,640000000,640000000,0."), "{}", lines[2]);
    assert!(lines[2].ends_with(",true"), "{}", lines[2]);
    let said = place.run(&adapt.replace("third", "fourth").replace("--threshold 0", "--threshold 1"));
    assert!(!said.ok && said.err.contains("lower --threshold"), "{}", said.err);

    let said = place.run("accuracy --model third.safetensors --data target");
    let refused = "third.safetensors was trained on all 6 videos of target, which would measure its memory";
    assert!(!said.ok && said.err.contains(refused) && said.err.contains("or --all"), "{}", said.err);
    let json = document("--model third.safetensors --data target --all --sets 5 --confusion c.svg");
    assert_eq!((json["videos"].as_u64(), json["clips"].as_u64()), (Some(6), Some(12)));
    let share = json["video_accuracy"]["mean"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&share) && json["video_accuracy"]["std"] == 0.0, "{json}");
    assert_eq!(json["per_category"]["indoors"]["videos"], 3);
    assert!(fs::read_to_string(place.path("c.svg")).unwrap().contains("outdoors"));
    let said = place.run("accuracy --model first.safetensors --data target");
    assert!(!said.ok && said.err.contains(r#"["indoors", "outdoors"]"#), "{}", said.err);
}

#[test]
fn a_trunk_learns_from_another_network_without_categories() {
    let place = Place::new();
    let teaching = place.run(&format!("{SHORT} --output teacher.safetensors --small 32x8:1"));
    assert!(teaching.ok, "{}", teaching.err);
    let category = fs::read_dir(place.path("videos")).unwrap().next().unwrap().unwrap().path();
    let apart = fs::read_dir(category).unwrap().next().unwrap().unwrap().path();
    let distil = format!(
        "distil --teacher teacher.safetensors --data videos --without {} --fc6 shared --epochs 0 --small 32x8:2 --batch 2 \
         --clips-per-video 1 --optimizer adamw --learning-rate 0.001 --output trunk.safetensors",
        apart.display()
    );
    let said = place.run(&distil);
    assert!(said.ok && said.err.contains("left out, as --without has their recordings: 1"), "{}", said.err);
    assert!(said.err.contains("5 videos in 1 categories"), "{}", said.err);
    // The head is gone: what is left knows no category.
    let trunk = Model::load(&place.path("trunk.safetensors")).unwrap();
    assert_eq!(trunk.header.categories, ["anything"]);
    assert_eq!(trunk.layers[7].weight.shape, [1, 2048]);
    assert_eq!(trunk.header.provenance["teacher"], "teacher.safetensors");
    // What the teacher gave is kept beside the frames: an array of floats a video.
    let kept = fs::read_dir(place.path("home/desumnet")).unwrap().map(|entry| entry.unwrap().path());
    let kept: Vec<PathBuf> = kept.filter(|path| path.extension().is_some_and(|e| e == "features")).collect();
    assert_eq!(kept.len(), 5);
    assert!(kept.iter().all(|path| path.metadata().unwrap().len() % (4 * 2048) == 0));
    // Videos of no category are learned from, too; and when there is none is told by others.
    fs::create_dir(place.path("others")).unwrap();
    test_support::render(&place.path("others/bar.mp4"), "bar", 24);
    test_support::render(&place.path("none.mp4"), "snow", 24);
    let tuned = place.run(
        "finetune --model trunk.safetensors --teacher teacher.safetensors --data videos --none others --epochs 0 --small 32x8:1 --batch 2 --clips-per-video 1 \
         --mixup 0.2 --balance --average 0.9 --augment crop,flip,erase --output tuned.safetensors",
    );
    assert!(tuned.ok, "{}", tuned.err);
    let longer = place
        .run(&format!("{distil} --model tuned.safetensors").replace("trunk.", "longer.").replace(" --fc6 shared", ""));
    assert!(longer.ok, "{}", longer.err);
    let longer = Model::load(&place.path("longer.safetensors")).unwrap();
    assert_eq!(longer.header.provenance["from"]["file"], "tuned.safetensors");
    let found =
        place.run("calibrate --model tuned.safetensors --data videos --none none.mp4 others --output sure.safetensors");
    assert!(found.ok && found.err.contains("a category fits from a mean probability of 0."), "{}", found.err);
    assert!(found.err.contains("was trained on 5 of the videos: left out"), "{}", found.err);
    assert!(
        found.err.contains("1.000 of 1 videos keep one, ") && found.err.contains(" of 1 that show none"),
        "{}",
        found.err
    );
    let [tuned, sure] = ["tuned", "sure"].map(|name| Model::load(&place.path(&format!("{name}.safetensors"))).unwrap());
    assert_eq!((sure.header.categories.len(), tuned.header.calibration), (2, None));
    let calibration = sure.header.calibration.unwrap();
    assert!(calibration.is_sound() && calibration.fits > 0.2, "{calibration:?}");
    let fc8 = |model: &Model| model.layers[7].weight.values.iter().copied().map(f64::from).collect::<Vec<f64>>();
    for (sure, tuned) in fc8(&sure).iter().zip(fc8(&tuned)) {
        let expected = tuned / calibration.temperature;
        assert!((sure - expected).abs() <= expected.abs() / 256.0, "{sure} {expected}");
    }
}

#[test]
fn a_killed_run_goes_on_to_the_same_weights() {
    let place = Place::new();
    let line = |output: &str| {
        format!("{SHORT} --hold-out 0 --small 32x8:5 --checkpoint-minutes 0 --output {output}.safetensors")
    };
    let said = place.run(&line("whole"));
    assert!(said.ok, "{}", said.err);

    let mut child = place.command(&line("killed")).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    // Within the third epoch, if the machine is quick: wherever it hits, the end is to be the same.
    assert!(lines.any(|line| line.unwrap().starts_with("epoch 2/5")));
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success());
    assert!(place.path("killed.run/checkpoint.safetensors").exists());

    let said = place.run(&line("killed"));
    assert!(!said.ok && said.err.contains("did not end; go on with --resume"), "{}", said.err);
    let said = place.run(&(line("killed") + " --resume --seed 5"));
    assert!(!said.ok && said.err.contains("seed was 1 and is 5"), "{}", said.err);
    let said = place.run(&(line("killed") + " --resume"));
    assert!(said.ok && said.err.contains("going on after "), "{}", said.err);
    let made = fs::metadata(place.path("killed.safetensors")).unwrap().modified().unwrap();
    let again = place.run(&(line("killed") + " --resume"));
    assert!(again.ok && again.err.contains("killed.safetensors is finished already"), "{}", again.err);
    assert_eq!(fs::metadata(place.path("killed.safetensors")).unwrap().modified().unwrap(), made);
    let again = place.run(&line("killed"));
    assert!(!again.ok && again.err.contains("is there already; remove it"), "{}", again.err);
    assert!(weights(&place.path("killed.safetensors")) == weights(&place.path("whole.safetensors")));
    assert!(!place.path("killed.run/checkpoint.safetensors").exists());
    let epochs = |run: &str| {
        let table = fs::read_to_string(place.path(run).join("metrics.csv")).unwrap();
        let columns = |line: &str| line.split(',').take(5).map(String::from).collect::<Vec<_>>();
        table.lines().map(columns).collect::<Vec<_>>()
    };
    assert_eq!(epochs("killed.run"), epochs("whole.run"));
}

#[test]
fn a_full_disk_is_said_and_the_run_goes_on() {
    let place = Place::new();
    // Files may grow to so many bytes, as on a disk that has no more room.
    let limited = |bytes: u64, line: &str| {
        let mut command = place.command(line);
        // SAFETY: both calls may be made between fork and exec; they change the child alone.
        unsafe {
            command.pre_exec(move || {
                libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
                let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
                if libc::setrlimit(libc::RLIMIT_FSIZE, &limit) == 0 {
                    Ok(())
                } else {
                    Err(std::io::Error::last_os_error())
                }
            })
        };
        said(&mut command)
    };
    let line = format!("{SHORT} --hold-out 0 --small 32x8:2 --output m.safetensors");
    // The model has 35 MB, the checkpoint 110.
    let said = limited(60 << 20, &line);
    assert!(said.ok, "{}", said.err);
    assert!(said.err.contains("warning: checkpoint m.run/checkpoint.safetensors can't be written"), "{}", said.err);
    assert!(said.err.contains("free disk space") && weights(&place.path("m.safetensors")).len() == 16);

    fs::remove_file(place.path("m.safetensors")).unwrap();
    let said = limited(10 << 20, &line);
    assert!(!said.ok && said.err.contains("model m.safetensors can't be written"), "{}", said.err);
    assert!(!place.path("m.safetensors").exists());
}

#[test]
fn bad_input_is_refused_with_a_remedy() {
    let place = Place::new();
    for category in ["a", "b"] {
        fs::create_dir_all(place.path("broken").join(category)).unwrap();
        fs::write(place.path("broken").join(category).join("v.mp4"), "no video").unwrap();
    }
    for (line, expected) in [
        ("pretrain --data nowhere --output m.safetensors", "a folder of videos per category"),
        ("pretrain --data videos --output no/m.safetensors", "make the folder or give another --output"),
        ("pretrain --data videos --output m.safetensors --small 32x8:1", "pretrain with `--fc6 shared`"),
        ("pretrain --data videos --output m.safetensors --epochs 0", "give --epochs or --small"),
        ("pretrain --data videos --output m.safetensors --augment flop", "use some of crop, flip, scale"),
        ("pretrain --data videos --output m.safetensors --precision f16", "use auto, f32 or bf16"),
        ("pretrain --data videos --output m.safetensors --hold-out 1", "a number from 0 to below 1"),
        ("pretrain --data videos --output m.safetensors --device cuda:99", "device=cpu"),
        ("finetune --model none.safetensors --data videos --output m.safetensors", "none.safetensors can't be read"),
        ("pretrain --data videos/calm --output m.safetensors", "holds no videos"),
        ("pretrain --data videos --output m.safetensors --batch 1", "at least 2"),
        ("pretrain --data videos --output m.safetensors --learning-rate 0", "a number above 0"),
        ("pretrain --data videos --output m.safetensors --label-smoothing 2", "from 0 to below 1"),
        ("pretrain --data videos --validation videos --output m.safetensors", "in validation, and both are the file"),
        ("pretrain --data broken --output m.safetensors", "2 of 2 videos can't be decoded"),
    ] {
        let said = place.run(line);
        assert!(!said.ok && said.err.contains(expected), "{line}:\n{}", said.err);
        assert!(!said.err.contains("panicked"), "{}", said.err);
    }
    // One video in all but the other category.
    fs::create_dir_all(place.path("alone/only")).unwrap();
    fs::copy(place.path("videos/calm/smpte75.mp4"), place.path("alone/only/v.mp4")).unwrap();
    let said = place.run("pretrain --data alone --output m.safetensors");
    assert!(!said.ok && said.err.contains("only the category `only`"), "{}", said.err);
}
