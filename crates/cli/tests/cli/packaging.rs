//! Packaging: `make demo`, the service's limits, the packages that the Debian package asks for.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

use gst::prelude::*;
use gst_pbutils::Discoverer;

use test_support::ROOT;

/// The docs promise sources of these schemes.
const SOURCES: [&str; 6] = ["file:///a", "http://a/", "https://a/", "rtsp://a/", "srt://a:1", "v4l2:///dev/video0"];
/// Media that people have: some element must decode, parse or demultiplex each.
const MEDIA: [&str; 27] = [
    "video/quicktime",
    "video/x-matroska",
    "video/webm",
    "video/mpegts,systemstream=true",
    "video/mpeg,mpegversion=2,systemstream=true",
    "video/x-msvideo",
    "video/x-flv",
    "application/x-hls",
    "application/x-rtp,media=video,clock-rate=90000,encoding-name=H264",
    "application/x-rtp,media=video,clock-rate=90000,encoding-name=H265",
    "application/x-rtp,media=audio,clock-rate=48000,encoding-name=MPEG4-GENERIC",
    "video/x-h264,stream-format=byte-stream,alignment=au",
    "video/x-h265,stream-format=byte-stream,alignment=au",
    "video/x-vp8",
    "video/x-vp9",
    "video/x-av1",
    "video/mpeg,mpegversion=2,systemstream=false",
    "video/mpeg,mpegversion=4,systemstream=false",
    "video/x-prores",
    "video/x-dnxhd",
    "image/jpeg",
    "image/gif",
    "audio/mpeg,mpegversion=4,stream-format=raw",
    "audio/mpeg,mpegversion=1,layer=3",
    "audio/x-ac3",
    "audio/x-opus",
    "audio/x-vorbis",
];
/// The core elements: their package is that of the library, which the programs are linked with.
const CORE: &str = "libgstreamer1.0-0";

/// The Debian package of a file.
fn package_of(file: &Path) -> Option<String> {
    let output = Command::new("dpkg-query").arg("-S").arg(file).output().ok()?;
    let line = String::from_utf8(output.stdout).ok()?;
    Some(line.split(':').next()?.to_owned()).filter(|name| !name.is_empty())
}

/// The packages of GStreamer in the field `Depends`.
fn depends() -> BTreeSet<String> {
    let control = std::fs::read_to_string(Path::new(ROOT).join("debian/control")).unwrap();
    let field = control.split("\nDepends:").nth(1).unwrap();
    // A field goes on in the lines that are indented.
    let end = field.match_indices('\n').find(|(at, _)| !field[at + 1..].starts_with(' ')).unwrap().0;
    let names = field[..end].split(',').map(|name| name.trim().to_owned());
    names.filter(|name| name.starts_with("gstreamer")).collect()
}

/// All words in a folder's sources. The names of the elements that the sources make are among them.
fn words(folder: &Path) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            words.append(&mut self::words(&path));
        } else {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let of_a_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            words.extend(text.split(|c| !of_a_name(c)).map(String::from));
        }
    }
    words
}

#[test]
fn the_package_depends_on_every_package_whose_elements_are_used() {
    gst::init().unwrap();
    let file_of = |factory: &gst::ElementFactory| -> Option<PathBuf> {
        // The registry may name it by a way that dpkg does not.
        factory.plugin()?.filename()?.canonicalize().ok()
    };
    let mut used: BTreeMap<PathBuf, String> = BTreeMap::new();
    let crates = std::fs::read_dir(Path::new(ROOT).join("crates")).unwrap().map(|entry| entry.unwrap().path());
    let crates = crates.filter(|path| !path.ends_with("test-support")).map(|path| path.join("src"));
    for word in crates.chain([Path::new(ROOT).join("src")]).flat_map(|folder| words(&folder)) {
        if let Some(file) = gst::ElementFactory::find(&word).as_ref().and_then(file_of) {
            used.insert(file, word);
        }
    }
    for source in SOURCES {
        let element = gst::Element::make_from_uri(gst::URIType::Src, source, None).unwrap();
        used.insert(element.factory().as_ref().and_then(file_of).unwrap(), source.into());
    }
    if package_of(used.keys().next().unwrap()).is_none() {
        println!("skipped: GStreamer's plugins are not of Debian's packages here");
        return;
    }
    let depends = depends();
    let covered = |file: &Path| package_of(file).is_some_and(|name| name == CORE || depends.contains(&name));
    let mut asked = BTreeSet::new();
    for (file, word) in &used {
        let package = package_of(file).unwrap_or_else(|| format!("no package has {}", file.display()));
        assert!(covered(file), "`{word}` is of {package}: add it to Depends in debian/control, and to tools/setup");
        asked.insert(package);
    }
    let kinds = gst::ElementFactoryType::DECODABLE | gst::ElementFactoryType::PARSER;
    let factories = gst::ElementFactory::factories_with_type(kinds, gst::Rank::MARGINAL);
    for media in MEDIA {
        let caps: gst::Caps = media.parse().unwrap();
        let files = factories.iter().filter(|factory| factory.can_sink_any_caps(&caps)).filter_map(file_of);
        let packages: BTreeSet<String> =
            files.filter(|file| covered(file)).filter_map(|file| package_of(&file)).collect();
        assert!(!packages.is_empty(), "nothing that Depends in debian/control names takes {media}");
        asked.extend(packages);
    }
    asked.remove(CORE);
    assert_eq!(asked, depends, "Depends in debian/control names what nothing needs");
    let setup = std::fs::read_to_string(Path::new(ROOT).join("tools/setup")).unwrap();
    for package in depends {
        assert!(setup.contains(&package), "tools/setup does not install {package}");
    }
}

#[test]
fn the_service_may_do_little_more_than_it_needs() {
    let unit = Path::new(ROOT).join("dist/desumnet-watch.service");
    // Tenths: a rating of 3.
    let rate = ["security", "--no-pager", "--offline=true", "--threshold=30"];
    let Ok(output) = Command::new("systemd-analyze").args(rate).arg(unit).output() else {
        println!("skipped: apt-get install systemd");
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    // systemd goes on without a line that it does not know, and says so here.
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn the_demo_makes_a_skim_with_sound_its_page_its_picture_and_a_time_lapse() {
    test_support::init();
    let folder = tempfile::tempdir().unwrap();
    let video = folder.path().join("balls.mp4");
    test_support::launch(&format!(
        "videotestsrc num-buffers=60 pattern=ball ! video/x-raw,width=64,height=64,framerate=5/1 ! x264enc ! queue ! mp4mux name=m \
         ! filesink location={} audiotestsrc num-buffers=120 samplesperbuffer=4800 ! audio/x-raw,rate=48000 ! avenc_aac ! queue ! m.",
        video.display()
    ));
    let output = Command::new(Path::new(ROOT).join("tools/demo"))
        .args([env!("CARGO_BIN_EXE_desumnet"), "balls.mp4"])
        .current_dir(folder.path())
        .env("XDG_CACHE_HOME", folder.path().join("cache"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let out = folder.path().join("out");
    let mut names: Vec<_> =
        std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["skim.html", "skim.mp4", "skim.svg", "timelapse.mp4"]);
    let discoverer = Discoverer::new(gst::ClockTime::from_seconds(10)).unwrap();
    for (name, most) in [("skim.mp4", 3_000), ("timelapse.mp4", 1_500)] {
        let uri = glib::filename_to_uri(out.join(name), None).unwrap();
        let found = discoverer.discover_uri(&uri).unwrap();
        assert_eq!((found.video_streams().len(), found.audio_streams().len()), (1, 1), "{name}");
        let length = found.duration().unwrap().mseconds();
        assert!((most / 2..=most + 200).contains(&length), "{name}: {length} ms");
    }
    // The commands, as anyone would give them.
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("skim balls.mp4 -o out/skim.mp4 --ratio 25% --report html,svg"), "{told}");
}
