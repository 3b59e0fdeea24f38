use std::fs;

use hdf5_pure::mat::{Matrix, to_bytes};
use matrw::{MatVariable, matfile, matvar, save_matfile_v7};
use proptest::prelude::*;
use serde::Serialize;
use tempfile::TempDir;

use super::*;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What reading says.
fn error(kind: Kind, path: &Path, shots: Option<&Path>) -> String {
    read(kind, path, shots).unwrap_err().to_string()
}

/// A video of SumMe: four frames, two people.
fn summe(folder: &Path, name: &str, frames: f64, marks: MatVariable) {
    let file = matfile!(user_score: marks, FPS: matvar!(25.0), nFrames: matvar!(frames));
    save_matfile_v7(text(&folder.join(name)), file, true).unwrap();
}

#[test]
fn summe_is_a_file_a_video() {
    let folder = TempDir::new().unwrap();
    let marks = || matvar!([[0.0, 1.0], [0.0, 1.0], [2.0, 0.0], [1.0, 0.0]]);
    summe(folder.path(), "A b.mat", 4.0, marks());
    fs::write(folder.path().join("README.txt"), "no annotation").unwrap();
    let dataset = read(Kind::Summe, folder.path(), None).unwrap();
    let people = [[false, false, true, true], [true, true, false, false]].map(|chosen| Marks::Chosen(chosen.into()));
    let expected =
        Video { name: "A b".into(), topic: None, frames: 4, fps: Some(25.0), shots: Vec::new(), people: people.into() };
    assert_eq!((dataset.videos, dataset.warnings), (vec![expected], Vec::new()));

    summe(folder.path(), "B.mat", 5.0, marks());
    let error = error(Kind::Summe, folder.path(), None);
    assert!(error.ends_with("B.mat, video B: user_score has 4 rows and nFrames is 5"), "{error}");
}

/// A file as it should be.
fn published() -> Vec<u8> {
    let folder = TempDir::new().unwrap();
    summe(folder.path(), "a.mat", 4.0, matvar!([[0.0, 1.0], [0.0, 1.0], [2.0, 0.0], [1.0, 0.0]]));
    fs::read(folder.path().join("a.mat")).unwrap()
}

/// A file with some bytes changed.
fn damaged(mut bytes: Vec<u8>, at: usize, damage: &[u8]) -> Vec<u8> {
    for (byte, damage) in bytes[at..].iter_mut().zip(damage) {
        *byte = *damage;
    }
    bytes
}

proptest! {
    #[test]
    fn damaged_files_are_errors_that_name_them(
        at in 0usize..1_000_000, damage in prop::collection::vec(any::<u8>(), 1..9), summe in any::<bool>(),
    ) {
        let folder = TempDir::new().unwrap();
        let (kind, path) = if summe {
            (Kind::Summe, folder.path().join("a.mat"))
        } else {
            (Kind::Tvsum, tvsum(folder.path(), vec![entry("one"), entry("two")]))
        };
        let bytes = if summe { published() } else { fs::read(&path).unwrap() };
        let at = at % bytes.len();
        fs::write(&path, damaged(bytes, at, &damage)).unwrap();
        if let Err(error) = read(kind, folder.path(), None) {
            prop_assert!(error.to_string().contains(text(path.file_name().unwrap().as_ref())), "{error}");
        }
    }
}

#[test]
fn a_compressed_variable_that_does_not_end_is_read_as_far_as_it_goes() {
    let folder = TempDir::new().unwrap();
    let mut bytes = published();
    let whole = {
        fs::write(folder.path().join("a.mat"), &bytes).unwrap();
        read(Kind::Summe, folder.path(), None).unwrap().videos
    };
    // Without the checksum of the first variable.
    let size = u32::from_le_bytes(bytes[132..136].try_into().unwrap());
    bytes[132..136].copy_from_slice(&(size - 4).to_le_bytes());
    bytes.drain(136 + size as usize - 4..136 + size as usize);
    fs::write(folder.path().join("a.mat"), &bytes).unwrap();
    assert_eq!(read(Kind::Summe, folder.path(), None).unwrap().videos, whole);
}

#[test]
fn what_is_no_matlab_file_of_the_right_version_is_named() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.mat");
    let said = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        error(Kind::Summe, folder.path(), None)
    };
    assert!(said(b"frames,score\n").contains("a.mat is not a MATLAB file of version 5 to 7: it does not begin as one"));
    assert!(said(b"MATLAB 7.3 MAT-file, ").contains("it is version 7.3; save it again with -v7"));
    assert!(said(b"MATLAB 5.0 MAT-file, Platform: none").contains("it is damaged"));

    assert!(said(&published()[..200]).contains("it is damaged, fetch it again (it ends early)"));

    save_matfile_v7(text(&path), matfile!(nFrames: matvar!(4.0), FPS: matvar!("fast")), false).unwrap();
    assert!(error(Kind::Summe, folder.path(), None).contains("a.mat has no matrix FPS"));
}

#[test]
fn folders_without_annotations_say_what_to_give() {
    let folder = TempDir::new().unwrap();
    assert!(error(Kind::Summe, folder.path(), None).contains("has no MATLAB files: give the folder GT"));
    assert!(error(Kind::Tvsum, folder.path(), None).contains("has no annotations of TVSum: give ydata-tvsum50.mat"));
    assert!(error(Kind::Cosum, folder.path(), None).contains("shots can't be read"));
    fs::create_dir(folder.path().join("shots")).unwrap();
    assert!(error(Kind::Cosum, folder.path(), None).contains("has no lists of shots: give the folder"));
    assert!(error(Kind::Tvsum, &folder.path().join("none.mat"), None).contains("none.mat can't be read"));
}

#[derive(Serialize)]
struct Release {
    tvsum50: Vec<Entry>,
}

#[derive(Serialize, Clone)]
struct Entry {
    video: String,
    category: String,
    length: f64,
    nframes: f64,
    user_anno: Matrix<f64>,
}

/// Two people score three frames.
fn entry(video: &str) -> Entry {
    let user_anno = Matrix::from_row_major(3, 2, vec![1.0, 5.0, 2.0, 4.0, 3.0, 3.5]);
    Entry { video: video.into(), category: "VT".into(), length: 0.12, nframes: 3.0, user_anno }
}

fn tvsum(folder: &Path, tvsum50: Vec<Entry>) -> PathBuf {
    let path = folder.join("ydata-tvsum50.mat");
    fs::write(&path, to_bytes(&Release { tvsum50 }).unwrap()).unwrap();
    path
}

#[test]
fn tvsum_has_scores_and_shots_in_the_same_order() {
    let folder = TempDir::new().unwrap();
    let path = tvsum(folder.path(), vec![entry("one"), entry("two")]);
    let dataset = read(Kind::Tvsum, folder.path(), None).unwrap();
    let [one, two] = &dataset.videos[..] else { panic!("{:?}", dataset.videos) };
    assert_eq!((one.name.as_str(), two.name.as_str(), one.topic.as_deref()), ("one", "two", Some("VT")));
    assert_eq!(one.people, [vec![1.0, 2.0, 3.0], vec![5.0, 4.0, 3.5]].map(Marks::Importance));
    assert_eq!((one.frames, one.fps.map(f64::round), &one.shots[..]), (3, Some(25.0), &[][..]));

    let shots = folder.path().join("shot_TVSum.mat");
    let list = |first: MatVariable, second: MatVariable| {
        let cells = MatVariable::CellArray(matrw::CellArray::new(vec![2, 1], vec![first, second]).unwrap());
        save_matfile_v7(text(&shots), matfile!(shot_boundaries: cells), true).unwrap();
        read(Kind::Tvsum, &path, None).map_err(|error| error.to_string())
    };
    let videos = list(matvar!([0, 1, 3]), matvar!([0, 2, 3])).unwrap().videos;
    assert_eq!((&videos[0].shots[..], &videos[1].shots[..]), (&[0..1, 1..3][..], &[0..2, 2..3][..]));
    let error = list(matvar!([0, 1, 3]), matvar!([0, 4])).unwrap_err();
    assert!(error.ends_with("shot_TVSum.mat, video two: its shots end at frame 4 and it has 3 frames"), "{error}");
    let error = list(matvar!([0, 2, 2, 3]), matvar!([0, 3])).unwrap_err();
    assert!(error.ends_with("video one: shot boundary 2 does not lie after 2"), "{error}");
    tvsum(folder.path(), vec![entry("one")]);
    let error = read(Kind::Tvsum, &path, Some(&shots)).unwrap_err().to_string();
    assert!(error.contains("it has shots of 2 videos and 1 are annotated"), "{error}");
}

#[test]
fn a_broken_video_of_tvsum_is_named() {
    let folder = TempDir::new().unwrap();
    let said = |broken: Entry| {
        let path = tvsum(folder.path(), vec![entry("one"), broken]);
        error(Kind::Tvsum, &path, None)
    };
    assert!(said(Entry { nframes: 4.0, ..entry("two") }).contains("video two: 3 frames have scores and nframes is 4"));
    assert!(said(Entry { length: 0.0, ..entry("two") }).contains("video two: its length is not above 0 s"));
    let user_anno = Matrix::from_row_major(3, 1, vec![1.0, 6.0, 2.0]);
    assert!(said(Entry { user_anno, ..entry("two") }).contains("video two: the score 6 is not within 1 to 5"));
    let path = folder.path().join("other.mat");
    fs::write(&path, to_bytes(&entry("x")).unwrap()).unwrap();
    assert!(error(Kind::Tvsum, &path, None).contains("tvsum50"));
    save_matfile_v7(text(&path), matfile!(tvsum50: matvar!(1.0)), false).unwrap();
    assert!(error(Kind::Tvsum, &path, None).contains("does not begin as a MATLAB file of version 7.3"));
}

#[test]
fn the_tables_of_tvsum_are_the_same_annotations() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("ydata-tvsum50-anno.tsv");
    fs::write(&path, "one\tVT\t1,2,3\none\tVT\t5,4,3.5\ntwo\tDS\t1,1,1\n").unwrap();
    let dataset = read(Kind::Tvsum, folder.path(), None).unwrap();
    assert_eq!(
        dataset.videos.iter().map(|video| (video.people.len(), video.fps)).collect::<Vec<_>>(),
        [(2, None), (1, None)]
    );
    let info = folder.path().join("ydata-tvsum50-info.tsv");
    fs::write(&info, "category\tvideo_id\ttitle\turl\tlength\nVT\tone\t\"12\" wheels\tu\t1:40\n").unwrap();
    let dataset = read(Kind::Tvsum, &path, None).unwrap();
    let [one, two] = &dataset.videos[..] else { panic!("{:?}", dataset.videos) };
    assert_eq!(one.people, [vec![1.0, 2.0, 3.0], vec![5.0, 4.0, 3.5]].map(Marks::Importance));
    assert_eq!((one.fps, two.fps, two.topic.as_deref()), (Some(0.03), None, Some("DS")));

    let said = |table: &str| {
        fs::write(&path, table).unwrap();
        error(Kind::Tvsum, &path, None)
    };
    assert!(said("one\tVT\t1,2\none\tVT\t1,2,3\n").contains("video one: one person scored 2 frames and another 3"));
    assert!(said("one\tVT\t1,x\n").contains("video one: a score is not a number"));
    assert!(said("one\tVT\n").contains("a line has 2 columns"));
    assert!(said("").contains("has no scores"));
    fs::write(&info, "id\tlength\n").unwrap();
    assert!(said("one\tVT\t1\n").contains("ydata-tvsum50-info.tsv has no column video_id"));
}

/// A video of three shots, from frame 4 on, and the shots that people chose of it.
fn cosum(folder: &Path, shots: &str, people: &[(&str, MatVariable)]) {
    let (lists, annotations) = (folder.join("shots/01_surfing"), folder.join("annotation/01_surfing"));
    fs::create_dir_all(&lists).unwrap();
    fs::create_dir_all(&annotations).unwrap();
    fs::write(lists.join("surf12_shots.txt"), shots).unwrap();
    for (person, labels) in people {
        save_matfile_v7(text(&annotations.join(person)), matfile!(labels: labels.clone()), true).unwrap();
    }
}

#[test]
fn cosum_counts_frames_and_shots_from_one() {
    let folder = TempDir::new().unwrap();
    let people = [
        ("12__a.mat", matvar!([[1, 1], [3, 1]])),
        ("12__b.mat", matvar!([[2, 1], [4, 1]])),
        ("2__a.mat", matvar!([[1, 1]])),
    ];
    cosum(folder.path(), "4\n6\n7\n9\n", &people);
    let dataset = read(Kind::Cosum, folder.path(), None).unwrap();
    assert_eq!(dataset.warnings, ["01_surfing/12__b: shot 4 is left out, the video surf12 has 3"]);
    let chosen = |frames: [u8; 8]| Marks::Chosen(frames.map(|chosen| chosen == 1).into());
    let expected = Video {
        name: "surf12".into(),
        topic: Some("01_surfing".into()),
        frames: 8,
        fps: None,
        shots: vec![3..5, 5..6, 6..8],
        people: vec![chosen([0, 0, 0, 1, 1, 0, 1, 1]), chosen([0, 0, 0, 0, 0, 1, 0, 0])],
    };
    assert_eq!(dataset.videos, [expected]);
}

/// A composite of two parts of 50 frames, the second one relevant.
fn composite(folder: &Path, change: impl FnOnce(&mut serde_json::Value)) {
    let part = |first_frame: u64, relevant: bool| {
        serde_json::json!({
            "source": "a/clip.mp4", "category": "a", "first_frame": first_frame, "frames": 50, "start_ns": first_frame * 40_000_000,
            "duration_ns": 2_000_000_000u64, "relevant": relevant,
        })
    };
    let mut document = serde_json::json!({
        "video": "a_01.mp4", "category": "a", "frame_rate": [25, 1], "frames": 100, "duration_ns": 4_000_000_000u64,
        "parts": [part(0, false), part(50, true)],
        "relevant": [{ "start_ns": 2_000_000_000u64, "duration_ns": 2_000_000_000u64 }],
    });
    change(&mut document);
    fs::create_dir_all(folder.join("a")).unwrap();
    fs::write(folder.join("a/a_01.json"), document.to_string()).unwrap();
}

#[test]
fn a_composite_that_contradicts_itself_is_named_with_the_field() {
    let folder = TempDir::new().unwrap();
    composite(folder.path(), |_| {});
    let video = &read(Kind::Composites, folder.path(), None).unwrap().videos[0];
    assert_eq!((video.name.as_str(), video.frames, &video.shots[..]), ("a/a_01", 100, &[0..50, 50..100][..]));
    let set = |path: &str, value: serde_json::Value| {
        composite(folder.path(), |document| *document.pointer_mut(path).unwrap() = value);
        let said = error(Kind::Composites, folder.path(), None);
        assert!(said.contains("a_01.json contradicts itself: "), "{path}: {said}");
        assert!(said.ends_with("; make it anew with `desumnet-train compose`"), "{said}");
        said
    };
    // Past the last frame, of length 0, with a hole, overlapping, fewer than all.
    assert!(
        set("/parts/1/frames", 51.into()).contains("part 1 has another `start_ns` or `duration_ns` than its frames")
            || set("/parts/1/frames", 51.into()).contains("101 frames together")
    );
    assert!(set("/parts/1/frames", 4_000_000_000u32.into()).contains("part 1 has another"));
    assert!(set("/parts/0/frames", 0.into()).contains("part 0 has 0 frames"));
    assert!(set("/parts/1/first_frame", 60.into()).contains("`first_frame` 60, and 50 is the next one"));
    assert!(set("/parts/1/first_frame", 40.into()).contains("`first_frame` 40, and 50 is the next one"));
    assert!(set("/parts/1/start_ns", u64::MAX.into()).contains("part 1 has another `start_ns`"));
    assert!(set("/frames", 150.into()).contains("`duration_ns` is 4000000000, and 150 frames are another length"));
    assert!(set("/frames", 0.into()).contains("`frames` is 0"));
    assert!(
        set("/frames", 4_000_000_000u32.into()).contains("`frames` is 4000000000, which is not within 1 to 8640000")
    );
    assert!(set("/duration_ns", 800_000_000_000_000_000u64.into()).contains("`duration_ns` is 800000000000000000"));
    assert!(set("/frame_rate/1", 0.into()).contains("`frame_rate` is 25/0"));
    assert!(set("/frame_rate/0", 0.into()).contains("`frame_rate` is 0/1"));
    assert!(set("/relevant/0/duration_ns", 2_000_000_001u64.into()).contains("span 0 of `relevant`"));
    assert!(set("/relevant/0/duration_ns", 0.into()).contains("span 0 of `relevant`"));
    assert!(set("/relevant/0/start_ns", u64::MAX.into()).contains("span 0 of `relevant`"));
    assert!(set("/video", "../other.mp4".into()).contains("`video` is \"../other.mp4\""));
    assert!(set("/category", "".into()).contains("`category` is empty"));
    composite(folder.path(), |document| document["parts"] = serde_json::json!([]));
    assert!(error(Kind::Composites, folder.path(), None).contains("its parts have 0 frames together"));
}

#[test]
fn figures_beyond_reason_are_named_and_make_no_room() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("ydata-tvsum50-anno.tsv");
    let said = |length: &str| {
        fs::write(&path, "one\tVT\t1,2,3\n").unwrap();
        fs::write(path.with_file_name("ydata-tvsum50-info.tsv"), format!("video_id\tlength\none\t{length}\n")).unwrap();
        error(Kind::Tvsum, &path, None)
    };
    assert!(
        said("1e-300").contains("video one: ")
            && said("1e-300").contains("frames a second are not within 0.01 to 1000")
    );
    assert!(said("1e300").contains("frames a second are not within 0.01 to 1000"));
    assert!(said("0").contains("its length is not above 0 s"));

    let twice = tvsum(TempDir::new().unwrap().path().parent().unwrap(), vec![entry("one"), entry("one")]);
    assert!(error(Kind::Tvsum, &twice, None).contains("video one: another has the same name"));
    fs::remove_file(twice).unwrap();

    let marks = || matvar!([[0.0, 1.0], [0.0, 1.0], [2.0, 0.0], [1.0, 0.0]]);
    for (fps, frames, reason) in [
        (1e-9, 4.0, "frames a second are not within"),
        (25.0, 4.5, "nFrames is 4.5, which is no whole number"),
        (25.0, 1e300, "nFrames is"),
    ] {
        let file = matfile!(user_score: marks(), FPS: matvar!(fps), nFrames: matvar!(frames));
        save_matfile_v7(text(&folder.path().join("a.mat")), file, true).unwrap();
        let said = error(Kind::Summe, folder.path(), None);
        assert!(said.contains("a: ") && said.contains(reason), "{said}");
    }

    let surf = TempDir::new().unwrap();
    let people = [("12__a.mat", matvar!([[1.0, 1.0], [1.5, 1.0], [0.0, 1.0], [1e300, 1.0]]))];
    cosum(surf.path(), "4\n6\n", &people);
    let dataset = read(Kind::Cosum, surf.path(), None).unwrap();
    assert_eq!(dataset.warnings.len(), 3, "{:?}", dataset.warnings);
    cosum(surf.path(), "4\n99999999999999\n", &people);
    let said = error(Kind::Cosum, surf.path(), None);
    assert!(said.contains("video surf12: 99999999999998 frames are not within 1 to 8640000"), "{said}");
}

#[test]
fn a_broken_video_of_cosum_is_named() {
    let folder = TempDir::new().unwrap();
    let said = |shots: &str| {
        cosum(folder.path(), shots, &[]);
        error(Kind::Cosum, folder.path(), None)
    };
    assert!(
        said("1\n5\n").contains("video surf12: nobody annotated it: there is no annotation/01_surfing/12__PERSON.mat")
    );
    assert!(said("1\nx\n").contains("video surf12: a line is not a frame number, from 1"));
    assert!(said("0\n5\n").contains("video surf12: a line is not a frame number, from 1"));
    assert!(said("5\n").contains("video surf12: 1 shot boundaries; at least 2 are needed"));
}
