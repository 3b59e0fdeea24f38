//! Shot boundaries of videos: F1 of what is found against what is known.
//!
//! `COMPOSITES=FOLDER[:FOLDER] cargo test -p desumnet-train shots -- --ignored --nocapture` measures composites that `desumnet-train
//! compose` made (any folder that holds their folders), where every cut is known to the frame.

use std::path::{Path, PathBuf};

use desumnet_frames::{
    clip::Geometry,
    shots::{Change, Detector, Limits},
};
use desumnet_media::decode::Decoder;
use desumnet_train::training::compose::Composite;

/// Numbers of the frames that start a shot by what is seen, of the first `frames` of a video; neither the first frame nor
/// where a shot was cut for its length.
fn changes(video: &Path, frames: usize) -> Vec<u64> {
    test_support::init();
    let mut decoder = Decoder::open(test_support::text(video)).unwrap();
    let mut detector = Detector::new(Geometry::PAPER, Limits::default(), 0);
    let mut starts = Vec::new();
    for _ in 0..frames {
        let Some(picture) = decoder.next_picture().unwrap() else { break };
        let frame = decoder.scale(&picture).unwrap();
        starts.extend(detector.push(&frame, picture.pts));
    }
    starts.extend(detector.finish());
    let seen = starts.iter().filter(|start| matches!(start.change, Change::Cut | Change::Gradual));
    seen.map(|start| start.frame).collect()
}

#[derive(Default)]
struct Tally {
    right: usize,
    found: usize,
    expected: usize,
}

impl Tally {
    /// Each expected start takes one found that is at most `late` frames after it.
    fn add(&mut self, name: &Path, expected: &[u64], late: u64, mut found: Vec<u64>) {
        self.found += found.len();
        self.expected += expected.len();
        let mut missed = expected.to_vec();
        missed.retain(|&start| {
            let place = found.iter().position(|frame| (start..=start + late).contains(frame));
            place.map(|place| found.remove(place)).is_none()
        });
        self.right += expected.len() - missed.len();
        if !missed.is_empty() || !found.is_empty() {
            println!("{}: missed {missed:?}, false {found:?}", name.display());
        }
    }

    fn f1(&self) -> f64 {
        2.0 * self.right as f64 / (self.found + self.expected) as f64
    }

    fn print(&self, set: &str) {
        let share = |of: usize| self.right as f64 / of as f64;
        let (precision, recall, f1) = (share(self.found), share(self.expected), self.f1());
        println!("{set}: F1 {f1:.3}, precision {precision:.3}, recall {recall:.3} of {}", self.expected);
    }
}

#[test]
fn cuts_of_a_rendered_video_are_found_to_the_frame() {
    let folder = tempfile::tempdir().unwrap();
    let video = folder.path().join("cuts.mp4");
    // A still picture, moving ones, fine patterns, flat colours; then black, after which a shot starts with the picture.
    let patterns = [
        ("smpte", 60),
        ("pinwheel", 40),
        ("checkers-8", 30),
        ("red", 25),
        ("blue", 11),
        ("zone-plate kx2=20 ky2=20 kt=1", 50),
        ("gradient", 40),
        ("black", 20),
        ("smpte75", 40),
    ];
    let sources: String = patterns
        .iter()
        .map(|(pattern, frames)| {
            format!(
                "videotestsrc pattern={pattern} num-buffers={frames} ! video/x-raw,width=320,height=240,framerate=25/1 \
                 ! cuts. "
            )
        })
        .collect();
    test_support::launch(&format!(
        "concat name=cuts ! x264enc speed-preset=ultrafast ! mp4mux ! filesink location={} {sources}",
        video.display()
    ));
    assert_eq!(changes(&video, usize::MAX), [60, 100, 130, 155, 166, 216, 276]);
}

/// What PySceneDetect's tests expect of their videos. It puts a start in the middle of black, we put it at the first picture
/// after it: as much later as half of the black lasts.
#[test]
fn fades_of_pyscenedetects_videos_are_found() {
    let folder = Path::new(test_support::ROOT).join("../shared/data/shots");
    // `fades.mp4` goes from black to white and back all the time: starts by black (84, 167) and by white (42, 126, 209).
    let videos = [("testvideo.mp4", 500, &[15, 198, 377][..], 20), ("fades.mp4", 250, &[42, 84, 126, 167, 209], 6)];
    for (name, frames, expected, late) in videos {
        let video = folder.join(name);
        if video.exists() {
            let mut tally = Tally::default();
            tally.add(&video, expected, late, changes(&video, frames));
            tally.print(name);
            assert_eq!((tally.right, tally.found), (expected.len(), expected.len()), "{name}");
        }
    }
}

fn composites(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            composites(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "json") {
            found.push(path);
        }
    }
}

#[test]
#[ignore = "measures the folders in COMPOSITES"]
fn cuts_of_composites_are_found() {
    let folders = std::env::var_os("COMPOSITES").expect("COMPOSITES names folders of composites");
    for folder in std::env::split_paths(&folders) {
        let (mut files, mut tally) = (Vec::new(), Tally::default());
        composites(&folder, &mut files);
        files.sort();
        for file in files {
            let composite: Composite = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
            let cuts: Vec<u64> = composite.parts.iter().skip(1).map(|part| u64::from(part.first_frame)).collect();
            let video = file.with_file_name(&composite.video);
            tally.add(&video, &cuts, 0, changes(&video, usize::MAX));
        }
        tally.print(&folder.to_string_lossy());
        assert!(tally.f1() >= 0.95, "{}: F1 {}", folder.display(), tally.f1());
    }
}
