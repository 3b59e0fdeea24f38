//! Where labelled videos come from, and their frames on disk.

use std::{fs, path::Path};

use crate::labelled::{labelled, open, render_labelled};
use desumnet_train::training::data::{
    Dataset, Mark,
    source::{self, Listing},
};
use test_support::{init, render};

/// Empty files with these names.
fn touch(folder: &Path, names: &[&str]) {
    for name in names {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
}

/// File names by category.
fn names(listing: &Listing) -> Vec<(&str, String)> {
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    listing.items.iter().map(|item| (listing.categories[item.category].as_str(), name(&item.path))).collect()
}

#[test]
fn a_folder_has_a_category_per_folder() {
    let folder = tempfile::tempdir().unwrap();
    touch(folder.path(), &["b/2.mp4", "b/1.mp4", "a/3.avi", "a/3.json", "a/.hidden", "a/deeper/4.mp4", "readme.txt"]);
    let split = source::read(folder.path()).unwrap();
    let expected = [("a", "3.avi"), ("b", "1.mp4"), ("b", "2.mp4")];
    assert_eq!(names(&split.training), expected.map(|(c, n)| (c, n.to_owned())));
    assert!(split.validation.is_none());

    fs::create_dir(folder.path().join("c")).unwrap();
    let error = source::read(folder.path()).unwrap_err().to_string();
    assert!(error.contains("the category `c` has no videos to train on; add some or remove it"), "{error}");
    let error = source::read(&folder.path().join("nowhere")).unwrap_err().to_string();
    assert!(error.contains("nowhere") && error.contains("a folder of videos per category"), "{error}");
    let one = tempfile::tempdir().unwrap();
    touch(one.path(), &["a/1.mp4"]);
    let listing = source::read(one.path()).unwrap().training;
    let error = listing.for_training(one.path()).unwrap_err().to_string();
    assert!(error.contains("only the category `a`") && error.contains("add another"), "{error}");
}

#[test]
fn ucf101_is_split_by_its_official_lists() {
    let folder = tempfile::tempdir().unwrap();
    let lists = folder.path().join("ucfTrainTestlist");
    fs::create_dir(&lists).unwrap();
    fs::write(lists.join("classInd.txt"), "1 Zoom\r\n2 Archery\r\n").unwrap();
    fs::write(lists.join("trainlist01.txt"), "Zoom/v_Zoom_g08_c01.avi 1\r\nArchery/v_Archery_g09_c02.avi 2\r\n")
        .unwrap();
    fs::write(lists.join("testlist01.txt"), "Archery/v_Archery_g01_c01.avi\r\n").unwrap();
    let split = source::ucf101(&folder.path().join("UCF-101"), &lists.join("trainlist01.txt")).unwrap();
    assert_eq!(split.training.categories, ["Zoom", "Archery"]);
    let expected = [("Zoom", "v_Zoom_g08_c01.avi"), ("Archery", "v_Archery_g09_c02.avi")];
    assert_eq!(names(&split.training), expected.map(|(c, n)| (c, n.to_owned())));
    assert_eq!(split.training.items[0].path, folder.path().join("UCF-101/Zoom/v_Zoom_g08_c01.avi"));
    assert!(split.training.items[0].marks.contains(&Mark::Group("v_Zoom_g08".into())));
    assert_eq!(names(&split.validation.unwrap()), [("Archery", "v_Archery_g01_c01.avi".to_owned())]);

    fs::write(lists.join("testlist01.txt"), "Archery/v_Archery_g01_c01.avi\nDiving/v_Diving_g01_c01.avi\n").unwrap();
    let error = source::ucf101(folder.path(), &lists.join("trainlist01.txt")).unwrap_err().to_string();
    assert!(error.contains("testlist01.txt, line 2") && error.contains("classInd.txt"), "{error}");
    fs::write(lists.join("classInd.txt"), "1 Zoom\n2 Zoom\n").unwrap();
    let error = source::ucf101(folder.path(), &lists.join("trainlist01.txt")).unwrap_err().to_string();
    assert!(error.contains("classInd.txt, line 2: `2 Zoom` has a number or a category"), "{error}");
}

#[test]
fn a_manifest_names_path_category_and_split() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("videos.csv");
    let read = |text: &str| {
        fs::write(&path, text).unwrap();
        source::read(&path)
    };
    let split = read("path,category,split\nx/1.mp4,b,train\n/abs/2.mp4, a ,test\n3.mp4,a,\n").unwrap();
    assert_eq!(split.training.categories, ["a", "b"]);
    assert_eq!(names(&split.training), [("b", "1.mp4".to_owned()), ("a", "3.mp4".to_owned())]);
    assert_eq!(split.training.items[0].path, folder.path().join("x/1.mp4"));
    let validation = split.validation.unwrap();
    assert_eq!(validation.items[0].path, Path::new("/abs/2.mp4"));

    let error = |text: &str| read(text).unwrap_err().to_string();
    let text = error("path,category,split\n1.mp4,a,train\n2.mp4,a,tset\n");
    assert!(text.contains("line 3") && text.contains("`tset`") && text.contains("train, val or test"), "{text}");
    let text = error("file,label\n1.mp4,a\n");
    assert!(text.contains("the columns are path,category,split"), "{text}");
    for category in ["", "a/b", "../a"] {
        let text = error(&format!("path,category,split\n1.mp4,{category},train\n"));
        assert!(text.contains(&format!("1.mp4 has the category `{category}`; give it a name")), "{text}");
    }
    // Only videos to measure by: enough for that, not for training.
    let split = read("path,category,split\n1.mp4,a,test\n2.mp4,b,test\n").unwrap();
    assert_eq!(split.validation.unwrap().items.len(), 2);
    let text = split.training.for_training(&path).unwrap_err().to_string();
    assert!(text.contains("holds no videos for training"), "{text}");
    // The usual layout of splits, in which names say nothing.
    assert!(read("path,category,split\ntrain/001.mp4,a,train\nval/001.mp4,a,val\n").is_ok());
    assert!(error("path,category,split\n").contains("holds no videos"));
    assert!(error("path,category,split\n,a,train\n").contains("videos.csv, line 2: it has no path"));
    // As spreadsheets write it.
    assert_eq!(read("\u{feff}path,category,split\n1.mp4,a,train\n").unwrap().training.items.len(), 1);
}

#[test]
fn a_recording_is_trained_on_or_measured_by_whatever_it_is_called() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("videos.csv");
    fs::create_dir(folder.path().join("x")).unwrap();
    for (name, text) in [("1.mp4", "one"), ("copy.mp4", "one"), ("2.mp4", "two")] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    std::os::unix::fs::symlink("../1.mp4", folder.path().join("x/link.mp4")).unwrap();
    let read = |rows: &str| {
        fs::write(&path, format!("path,category,split,group\n{rows}")).unwrap();
        source::read(&path)
    };
    let absolute = folder.path().join("1.mp4").canonicalize().unwrap().display().to_string();
    let same = format!("both are the file {absolute}");
    for category in ["a", "b"] {
        for (other, reason) in [
            ("1.mp4", same.as_str()),
            ("./1.mp4", same.as_str()),
            ("x/../1.mp4", same.as_str()),
            ("x/link.mp4", same.as_str()),
            (absolute.as_str(), same.as_str()),
            ("copy.mp4", "both have the same content"),
        ] {
            let text = read(&format!("1.mp4,a,train,\n{other},{category},val,\n")).unwrap_err().to_string();
            let expected = format!(
                "{}/1.mp4 is in training and {} in validation, and {reason}: that would measure memory; leave one of them out",
                folder.path().display(),
                folder.path().join(other).display(),
            );
            assert_eq!(text, expected);
        }
        // Files that are not there yet have no content, but a name.
        let text = read(&format!("x/none.mp4,a,train,\nx/./none.mp4,{category},test,\n")).unwrap_err().to_string();
        assert!(text.contains("both are the file") && text.contains("x/none.mp4"), "{text}");
        let text = read(&format!("1.mp4,a,train,match 7\n2.mp4,{category},val,match 7\n")).unwrap_err().to_string();
        assert!(text.contains("both are of the group match 7"), "{text}");
        let text =
            read(&format!("v_A_g01_c01.avi,A,train,\ny/v_A_g01_c02.avi,{category},val,\n")).unwrap_err().to_string();
        assert!(text.contains("both are of the group v_A_g01"), "{text}");
    }
    assert!(read("1.mp4,a,train,x\n2.mp4,a,val,y\n").is_ok());
    assert!(read("v_A_g01_c01.avi,A,train,\nv_B_g01_c01.avi,B,val,\n").is_ok());
    assert!(read("1.mp4,a,train,\ncopy.mp4,b,train,\n2.mp4,a,val,\n").is_ok());
}

#[test]
fn a_recording_of_several_categories_is_held_out_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("videos.csv");
    // Ten recordings, each with a cut of a and one of b; and one of a alone.
    let rows = (0..10).map(|n| format!("a{n}.mp4,a,,match {n}\nb{n}.mp4,b,,match {n}\n"));
    let rows: String = rows.chain(["a10.mp4,a,,\n".into()]).collect();
    fs::write(&path, format!("path,category,split,group\n{rows}")).unwrap();
    for seed in 1..20 {
        let (kept, held) = source::read(&path).unwrap().training.hold_out(0.3, seed);
        kept.shares_nothing_with(&held).unwrap();
        let count = |category| held.items.iter().filter(|item| item.category == category).count();
        assert!([(3, 3), (3, 2), (2, 2)].contains(&(count(0), count(1))), "{seed}: {} {}", count(0), count(1));
    }
    // Of every category one stays, though all are of one recording.
    fs::write(&path, "path,category,split,group\n1.mp4,a,,x\n2.mp4,b,,x\n3.mp4,b,,y\n").unwrap();
    for seed in 1..20 {
        let (kept, held) = source::read(&path).unwrap().training.hold_out(0.9, seed);
        assert!(kept.items.iter().any(|item| item.category == 0), "{held:?}");
    }
}

#[test]
fn held_out_videos_share_no_group_with_the_others() {
    let folder = tempfile::tempdir().unwrap();
    // Ten groups of three cuts; and videos that are groups of their own.
    for group in 1..=10 {
        for cut in 1..=3 {
            touch(folder.path(), &[&format!("A/v_A_g{group:02}_c{cut:02}.avi")]);
        }
        touch(folder.path(), &[&format!("B/video_{group}.mp4")]);
    }
    touch(folder.path(), &["C/v_C_g01_c01.avi", "C/v_C_g01_c02.avi"]);
    let listing = source::read(folder.path()).unwrap().training;
    let (kept, held) = listing.clone().hold_out(0.2, 1);
    let count = |listing: &Listing, category| listing.items.iter().filter(|i| i.category == category).count();
    assert_eq!([0, 1, 2].map(|c| count(&held, c)), [6, 2, 0]);
    assert_eq!([0, 1, 2].map(|c| count(&kept, c)), [24, 8, 2]);
    kept.shares_nothing_with(&held).unwrap();
    assert_eq!(listing.clone().hold_out(0.2, 1).1, held);
    assert_ne!(listing.clone().hold_out(0.2, 2).1, held);
    assert!(listing.hold_out(0.0, 1).1.items.is_empty());
}

#[test]
fn categories_are_numbered_as_the_model_has_them() {
    let folder = tempfile::tempdir().unwrap();
    touch(folder.path(), &["b/1.mp4", "c/2.mp4"]);
    let listing = || source::read(folder.path()).unwrap().training;
    let expected = ["c", "a", "b"].map(String::from);
    let numbered = listing().numbered_as(&expected, folder.path()).unwrap();
    assert_eq!(names(&numbered), [("b", "1.mp4".to_owned()), ("c", "2.mp4".to_owned())]);
    assert_eq!(numbered.items[0].category, 2);
    let error = listing().numbered_as(&expected[..1], folder.path()).unwrap_err().to_string();
    assert!(error.contains(r#"["b", "c"]"#) && error.contains("the same names in both"), "{error}");
}

#[test]
fn frames_on_disk_are_those_that_the_element_would_score() {
    use desumnet_frames::{clip::Geometry, segmenter::Stride};
    use desumnet_media::decode::Segments;
    init();
    let folder = tempfile::tempdir().unwrap();
    let videos = folder.path().join("videos");
    for (category, caps) in [
        ("portrait", "width=90,height=160,framerate=25/1"),
        ("fast", "width=320,height=240,framerate=60/1"),
        ("tiny", "width=16,height=16,framerate=10/1"),
    ] {
        fs::create_dir_all(videos.join(category)).unwrap();
        test_support::launch(&format!(
            "videotestsrc pattern=ball num-buffers=75 ! video/x-raw,{caps} ! x264enc speed-preset=ultrafast ! mp4mux \
             ! filesink location={}",
            videos.join(category).join("v.mp4").display()
        ));
    }
    let set = open(&videos, &folder.path().join("cache"));
    // 60 a second: every second frame is sampled.
    let frames: Vec<_> = set.videos.iter().map(|v| (set.categories[v.category].as_str(), v.stored.frames())).collect();
    assert_eq!(frames, [("fast", 38), ("portrait", 75), ("tiny", 75)]);
    for video in &set.videos {
        for (n, segment) in
            Segments::open(&video.path.to_string_lossy(), Stride::Auto, Geometry::PAPER).unwrap().enumerate()
        {
            let segment = segment.unwrap();
            let stored = video.stored.segment(n).unwrap();
            for (a, b) in segment.clip.frames().iter().zip(stored.frames()) {
                assert!(a.pixels() == b.pixels(), "{} segment {n}", video.path.display());
            }
            assert_eq!(video.stored.times_of(n), (segment.start, segment.duration));
        }
    }
}

#[test]
fn frames_are_decoded_once_and_again_when_the_video_changes_or_the_file_is_damaged() {
    init();
    let folder = tempfile::tempdir().unwrap();
    let (videos, cache) = (folder.path().join("videos"), folder.path().join("cache"));
    let set = labelled(folder.path());
    let (mean, std) = set.pixel_statistics();
    assert!(mean.iter().all(|m| (60.0..190.0).contains(m)) && std.iter().all(|s| (30.0..120.0).contains(s)));
    let fingerprint = set.fingerprint();
    let files = || {
        let mut files: Vec<_> = fs::read_dir(&cache).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        files
    };
    assert_eq!(files().len(), 6);
    let written = |path: &Path| path.metadata().unwrap().modified().unwrap();
    let before: Vec<_> = files().iter().map(|f| written(f)).collect();
    let again = open(&videos, &cache);
    assert_eq!((again.fingerprint(), again.pixel_statistics()), (fingerprint, (mean, std)));
    assert_eq!(files().iter().map(|f| written(f)).collect::<Vec<_>>(), before);

    // Cut short, as by a full disk or a power cut.
    let torn = &files()[0];
    let whole = fs::read(torn).unwrap();
    fs::write(torn, &whole[..whole.len() - 9]).unwrap();
    assert_eq!(open(&videos, &cache).fingerprint(), fingerprint);
    assert!(fs::read(torn).unwrap() == whole);

    render(&videos.join("calm/smpte75.mp4"), "snow", 40);
    let changed = open(&videos, &cache);
    assert_ne!(changed.fingerprint(), fingerprint);
    assert_eq!(changed.videos[1].path.file_name().unwrap(), "smpte75.mp4");
    assert_eq!(changed.videos[1].stored.frames(), 40);
}

#[test]
fn a_few_broken_videos_are_left_out_and_many_stop_the_run() {
    init();
    let folder = tempfile::tempdir().unwrap();
    let (videos, cache) = (folder.path().join("videos"), folder.path().join("cache"));
    render_labelled(&videos);
    // Twenty good ones more, so that one in 27 is broken.
    for n in 0..20 {
        fs::copy(videos.join("calm/gradient.mp4"), videos.join(format!("calm/{n:02}.mp4"))).unwrap();
    }
    fs::write(videos.join("wild/broken.mp4"), "this is no video").unwrap();
    let set = open(&videos, &cache);
    assert_eq!((set.videos.len(), set.broken.len()), (26, 1));
    assert!(set.broken[0].contains("wild/broken.mp4"), "{}", set.broken[0]);

    fs::write(videos.join("calm/empty.mp4"), "").unwrap();
    let listing = source::read(&videos).unwrap().training;
    let error = Dataset::open(listing, &cache, |_, _| {}).err().unwrap().to_string();
    assert!(error.contains("2 of 28 videos can't be decoded"), "{error}");
    assert!(error.contains("wild/broken.mp4") && error.contains("calm/empty.mp4"), "{error}");

    fs::remove_file(videos.join("calm/empty.mp4")).unwrap();
    fs::create_dir(videos.join("odd")).unwrap();
    fs::rename(videos.join("wild/broken.mp4"), videos.join("odd/broken.mp4")).unwrap();
    let listing = source::read(&videos).unwrap().training;
    let error = Dataset::open(listing, &cache, |_, _| {}).err().unwrap().to_string();
    assert!(error.contains("of the category `odd` no video is left"), "{error}");

    let nowhere = Path::new("/proc/no-such-cache");
    let listing = source::read(&videos).unwrap().training;
    let error = Dataset::open(listing, nowhere, |_, _| {}).err().unwrap().to_string();
    assert!(error.contains("no-such-cache") && error.contains("--cache"), "{error}");
}
