//! `desumnet skim` and `desumnet timelapse` as a user runs them: what the files hold, and what is said when there is none.

use std::{
    path::Path,
    process::{Command, Output},
};

use desumnet_media::decode::Decoder;
use gst::prelude::*;
use test_support::{failure, text};

const SECOND: u64 = 1_000_000_000;
/// A frame at 25 a second, ns.
const FRAME: u64 = SECOND / 25;
/// Sound may end this much before or after the picture, ns.
const IN_STEP: u64 = SECOND / 50;

fn desumnet(arguments: &[&str]) -> Output {
    let cache = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_desumnet")).args(arguments).env("XDG_CACHE_HOME", cache.path()).output().unwrap()
}

/// Four seconds at 25 frames a second, each of one colour: red, green, blue and yellow; green and yellow sound, the others are
/// silent. A key frame every second.
fn colours(path: &Path) {
    encoded(path, "x264enc speed-preset=ultrafast threads=1 key-int-max=25");
}

/// The same by another encoder.
fn encoded(path: &Path, encoder: &str) {
    let second = |colour: &str, volume: f32| {
        format!(
            "videotestsrc pattern={colour} num-buffers=25 ! video/x-raw,width=160,height=120,framerate=25/1 ! v. \
             audiotestsrc volume={volume} num-buffers=10 samplesperbuffer=4800 ! audio/x-raw,rate=48000,channels=2 ! a. "
        )
    };
    test_support::launch(&format!(
        "concat name=v ! {encoder} ! queue ! matroskamux name=m ! filesink location={} \
         concat name=a ! queue ! opusenc ! m. {}{}{}{}",
        path.display(),
        second("red", 0.0),
        second("green", 0.5),
        second("blue", 0.0),
        second("solid-color foreground-color=0xffffff00", 0.5)
    ));
}

/// Runs ffmpeg, for what GStreamer does not write.
fn ffmpeg(arguments: &[&str]) {
    let ffmpeg = Command::new("ffmpeg").args(["-nostdin", "-v", "error", "-y"]).args(arguments).output().unwrap();
    assert!(ffmpeg.status.success(), "{ffmpeg:?}");
}

/// Caps of a video's pictures, each that is new, and their times.
fn pictures(path: &Path) -> (Vec<gst_video::VideoInfo>, Vec<u64>) {
    test_support::init();
    let mut decoder = Decoder::open(text(path)).unwrap();
    let (mut found, mut times): (Vec<gst_video::VideoInfo>, _) = (Vec::new(), Vec::new());
    while let Some(picture) = decoder.next_picture().unwrap() {
        let info = gst_video::VideoInfo::from_caps(picture.sample().caps().unwrap()).unwrap();
        if found.last() != Some(&info) {
            found.push(info);
        }
        times.push(picture.pts.unwrap());
    }
    (found, times)
}

fn plan(path: &Path, parts: &[(u64, u64, f64)]) {
    let part = |&(start_ns, duration_ns, speed): &(u64, u64, f64)| serde_json::json!({ "start_ns": start_ns, "duration_ns": duration_ns, "score": 0.5, "speed": speed });
    let parts: Vec<_> = parts.iter().map(part).collect();
    let document = serde_json::json!({ "format": "desumnet-plan", "version": 1, "parts": parts });
    std::fs::write(path, document.to_string()).unwrap();
}

/// Colours of a video's frames, as letters, and their times from the first, ns.
fn frames(path: &Path) -> (String, Vec<u64>) {
    test_support::init();
    let mut decoder = Decoder::open(text(path)).unwrap();
    let (mut colours, mut times) = (String::new(), Vec::new());
    while let Some(picture) = decoder.next_picture().unwrap() {
        let frame = decoder.scale(&picture).unwrap();
        let middle = (128 / 2 * 171 + 171 / 2) * 3;
        colours.push(
            match frame.pixels()[middle..middle + 3].iter().map(|&value| value > 128).collect::<Vec<_>>()[..] {
                [true, true, false] => 'y',
                [true, false, false] => 'r',
                [false, true, false] => 'g',
                [false, false, true] => 'b',
                _ => '-',
            },
        );
        times.push(picture.pts.unwrap());
    }
    let first = times[0];
    (colours, times.into_iter().map(|time| time - first).collect())
}

/// The sound of a file at 48000 samples a second.
fn samples(path: &Path) -> Vec<i16> {
    test_support::init();
    let pipeline = gst::parse::launch(&format!(
        "uridecodebin uri=file://{} expose-all-streams=false caps=audio/x-raw ! audioconvert \
         ! audio/x-raw,format=S16LE,channels=1 ! appsink name=sink sync=false",
        path.display()
    ));
    let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
    let sink = pipeline.by_name("sink").unwrap().downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let mut samples: Vec<i16> = Vec::new();
    while let Ok(sample) = sink.pull_sample() {
        let map = sample.buffer().unwrap().map_readable().unwrap();
        samples.extend(map.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])));
    }
    pipeline.set_state(gst::State::Null).unwrap();
    samples
}

/// Where sound is heard, ns from the beginning, and its whole length.
fn sound(path: &Path) -> (Vec<(u64, u64)>, u64) {
    let samples = samples(path);
    let time = |sample: usize| sample as u64 * SECOND / 48_000;
    // Loud or not, by 2 ms.
    let loud: Vec<bool> = samples.chunks(96).map(|chunk| chunk.iter().any(|s| s.unsigned_abs() > 1_000)).collect();
    let mut heard: Vec<(u64, u64)> = Vec::new();
    for i in (0..loud.len()).filter(|&i| loud[i]) {
        match heard.last_mut() {
            Some((_, end)) if *end == time(i * 96) => *end = time((i + 1) * 96),
            _ => heard.push((time(i * 96), time((i + 1) * 96))),
        }
    }
    (heard, time(samples.len()))
}

fn near(got: u64, expected: u64) -> bool {
    got.abs_diff(expected) <= IN_STEP
}

#[test]
fn a_skim_has_the_plans_frames_and_their_sound_in_every_container() {
    let folder = tempfile::tempdir().unwrap();
    let [video, file] = ["colours.mkv", "plan.json"].map(|name| folder.path().join(name));
    colours(&video);
    // The last five frames of red, all of green, and the last ten of yellow.
    plan(&file, &[(20 * FRAME, 30 * FRAME, 1.0), (90 * FRAME, 10 * FRAME, 1.0)]);
    for name in ["skim.mp4", "skim.mov", "skim.mkv", "skim.webm"] {
        let out = folder.path().join(name);
        let output = desumnet(&["skim", text(&video), "-o", text(&out), "--plan", text(&file)]);
        assert!(output.status.success(), "{name}: {output:?}");
        let told = format!("{}: 0:01.6, 2 parts\n", out.display());
        assert_eq!(String::from_utf8(output.stdout).unwrap(), told);
        let (colours, times) = frames(&out);
        assert_eq!(colours, format!("{}{}{}", "r".repeat(5), "g".repeat(25), "y".repeat(10)), "{name}");
        // Matroska's times are in milliseconds.
        assert!(times.iter().zip(0..).all(|(&time, i)| time.abs_diff(i * FRAME) < 1_000_000), "{name}: {times:?}");
        let (heard, length) = sound(&out);
        assert!(near(length, 40 * FRAME), "{name}: {length}");
        let [(start, end)] = heard[..] else { panic!("{name}: {heard:?}") };
        // Matroska's muxer makes up titles for tracks without one.
        let probe = ["-v", "error", "-show_entries", "stream_tags=title", "-of", "csv=p=0", text(&out)];
        let titles = String::from_utf8(Command::new("ffprobe").args(probe).output().unwrap().stdout).unwrap();
        assert_eq!(titles.trim(), "", "{name}");
        assert!(near(start, 5 * FRAME) && near(end, 40 * FRAME), "{name}: {heard:?}");
    }
}

#[test]
fn a_copy_goes_from_key_frame_to_key_frame() {
    let folder = tempfile::tempdir().unwrap();
    let [video, file, out] = ["colours.mkv", "plan.json", "skim.mkv"].map(|name| folder.path().join(name));
    colours(&video);
    plan(&file, &[(20 * FRAME, 32 * FRAME, 1.0), (80 * FRAME, 19 * FRAME, 1.0)]);
    let output = desumnet(&["skim", text(&video), "-o", text(&out), "--plan", text(&file), "--copy"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(frames(&out).0, format!("{}{}", "g".repeat(25), "y".repeat(25)));
    let (heard, length) = sound(&out);
    // It goes by packets of 20 ms.
    assert!(length.abs_diff(2 * SECOND) <= 2 * IN_STEP, "{length}");
    assert!(heard.iter().map(|(start, end)| end - start).sum::<u64>() > 2 * SECOND - 4 * IN_STEP, "{heard:?}");
}

/// A group of pictures that begins before what its edit list shows.
#[test]
fn a_trimmed_file_is_shown_whole() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, video, file] = ["whole.mkv", "trimmed.mp4", "plan.json"].map(|name| folder.path().join(name));
    encoded(&whole, "x264enc speed-preset=ultrafast threads=1 key-int-max=1000");
    // With the 6.5 ms that Opus begins earlier, its edit list begins with a picture.
    ffmpeg(&["-ss", "1.2065", "-i", text(&whole), "-t", "2.4", "-c", "copy", "-strict", "-2", text(&video)]);
    let expected = [("g", 20), ("b", 25), ("y", 15)].map(|(colour, count)| colour.repeat(count)).concat();
    assert_eq!(frames(&video).0, expected);
    plan(&file, &[(0, 60 * FRAME, 1.0)]);
    let (local, web) = (text(&video), format!("http://{}/trimmed.mp4", test_support::serve(&video)));
    let copies = [("copy.mp4", true), ("copy.mov", true), ("copy.mkv", true)].map(|(name, copy)| (local, name, copy));
    let from_the_web = [("web.mp4", false), ("web-copy.mp4", true)].map(|(name, copy)| (web.as_str(), name, copy));
    for (video, name, copy) in [(local, "skim.mp4", false)].into_iter().chain(copies).chain(from_the_web) {
        let out = folder.path().join(name);
        let skim = ["skim", video, "-o", text(&out), "--plan", text(&file)];
        let output = desumnet(&[&skim[..], if copy { &["--copy"] } else { &[] }].concat());
        assert!(output.status.success(), "{name}: {output:?}");
        let (colours, times) = frames(&out);
        // Matroska can't hide what the decoder needs.
        let hidden = if name == "copy.mkv" { "r".repeat(25) + "ggggg" } else { String::new() };
        assert_eq!(colours, hidden + &expected, "{name}");
        assert!(times.iter().zip(0..).all(|(&time, i)| time.abs_diff(i * FRAME) < 1_000_000), "{name}: {times:?}");
        let (heard, _) = sound(&out);
        let [(start, end), _] = heard[..] else { panic!("{name}: {heard:?}") };
        assert!(near(start, 0) && near(end, 20 * FRAME), "{name}: {heard:?}");
        // It begins with the picture that is seen first.
        let hidden = if name == "copy.mkv" { 30 * FRAME } else { 0 };
        let probe = ["-v", "error", "-select_streams", "a", "-show_entries", "stream=start_time", "-of", "csv=p=0"];
        let begins = Command::new("ffprobe").args(probe).arg(&out).output().unwrap();
        let begins: f64 = String::from_utf8(begins.stdout).unwrap().trim().parse().unwrap();
        assert!(near((begins.max(0.0) * 1e9) as u64, hidden), "{name}: {begins}");
    }
}

#[test]
fn a_copy_tells_when_pictures_are_decoded_that_matroska_tells_only_when_to_show() {
    let folder = tempfile::tempdir().unwrap();
    let [video, file, out] = ["colours.mkv", "plan.json", "skim.mp4"].map(|name| folder.path().join(name));
    encoded(&video, "x264enc speed-preset=medium threads=1 key-int-max=25 bframes=3 b-pyramid=true b-adapt=false");
    plan(&file, &[(25 * FRAME, 25 * FRAME, 1.0), (75 * FRAME, 25 * FRAME, 1.0)]);
    let output = desumnet(&["skim", text(&video), "-o", text(&out), "--plan", text(&file), "--copy", "--no-sound"]);
    assert!(output.status.success(), "{output:?}");
    let (colours, times) = frames(&out);
    assert_eq!(colours, "g".repeat(25) + &"y".repeat(25));
    assert_eq!(times, (0..50).map(|i| i * FRAME).collect::<Vec<_>>());
    let probe = ["-v", "error", "-show_entries", "packet=dts", "-of", "csv=p=0", text(&out)];
    let packets = Command::new("ffprobe").args(probe).output().unwrap();
    let packets = String::from_utf8(packets.stdout).unwrap();
    let decoded: Vec<i64> = packets.split_whitespace().map(|dts| dts.trim_end_matches(',').parse().unwrap()).collect();
    let steps: Vec<i64> = decoded.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(steps.iter().all(|step| *step == steps[0]), "{steps:?}");
}

/// The last pictures of a part need the key frame after it, which goes along.
#[test]
fn open_groups_are_copied_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let [colours, video, file] = ["colours.mkv", "open.mkv", "plan.json"].map(|name| folder.path().join(name));
    self::colours(&colours);
    // A key frame every ten pictures; the one before it is decoded after it.
    let open = "open-gop=1:keyint=10:min-keyint=10:scenecut=0:bframes=3:b-adapt=0:log-level=none";
    plan(&file, &[(20 * FRAME, 10 * FRAME, 1.0), (70 * FRAME, 10 * FRAME, 1.0)]);
    for (codec, parameters) in [("libx264", "-x264-params"), ("libx265", "-x265-params")] {
        let open = if codec == "libx264" { open.trim_end_matches(":log-level=none") } else { open };
        ffmpeg(&["-i", text(&colours), "-an", "-c:v", codec, parameters, open, text(&video)]);
        for name in ["skim.mp4", "skim.mkv"] {
            let out = folder.path().join(name);
            let output = desumnet(&["skim", text(&video), "-o", text(&out), "--plan", text(&file), "--copy"]);
            assert!(output.status.success(), "{codec}: {output:?}");
            let (colours, times) = frames(&out);
            assert_eq!(colours, "rrrrrggggggbbbbbyyyyyy", "{codec} {name}");
            assert!(times.windows(2).all(|pair| pair[1].abs_diff(pair[0] + FRAME) <= 1_000_000), "{name}: {times:?}");
        }
    }
}

#[test]
fn pictures_of_every_format_become_what_players_show() {
    use gst_video::VideoFormat::{I420, I42010le, I42210le, Y42b, Y444};
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plan.json");
    plan(&file, &[(0, 3 * FRAME, 1.0)]);
    // Format and size of the input; format in Matroska.
    for (format, size, kept) in [
        ("Y42B", (64, 48), Y42b),
        ("Y444", (64, 48), Y444),
        ("Y41B", (64, 48), Y444),
        ("BGRA", (64, 48), Y444),
        ("GRAY8", (64, 48), I420),
        ("I420_10LE", (64, 48), I42010le),
        ("I422_10LE", (64, 48), I42210le),
        ("I420", (63, 47), I420),
        ("I420", (1, 1), I420),
    ] {
        let (width, height) = size;
        let video = folder.path().join(format!("{format}-{width}.mkv"));
        test_support::launch(&format!(
            "videotestsrc num-buffers=3 ! video/x-raw,format={format},width={width},height={height},framerate=25/1 \
             ! avenc_ffv1 ! matroskamux ! filesink location={}",
            video.display()
        ));
        for (name, made) in [("skim.mp4", I420), ("skim.webm", I420), ("skim.mkv", kept)] {
            let out = folder.path().join(name);
            let output = desumnet(&["skim", text(&video), "-o", text(&out), "--plan", text(&file)]);
            assert!(output.status.success(), "{format} {name}: {output:?}");
            let (found, times) = pictures(&out);
            assert_eq!((found.len(), times.len()), (1, 3), "{format} {name}: {found:?}");
            assert_eq!(found[0].format(), made, "{format} {name}");
            // MP4 and WebM hold nothing smaller than 16 by 16.
            let expected = match (width, name) {
                (1, "skim.mkv") => (2, 2),
                (1, _) => (16, 16),
                (_, "skim.webm") => size,
                _ => (width - width % 2, height - height % 2),
            };
            assert_eq!((found[0].width(), found[0].height()), expected, "{format} {name}");
        }
    }
}

#[test]
fn hdr_becomes_sdr_or_stays_on_request() {
    use gst_video::{VideoFormat, VideoTransferFunction::*};
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plan.json");
    plan(&file, &[(0, 3 * FRAME, 1.0)]);
    for (colours, transfer) in [("bt2100-hlg", AribStdB67), ("bt2100-pq", Smpte2084)] {
        let video = folder.path().join(format!("{colours}.mkv"));
        test_support::launch(&format!(
            "videotestsrc pattern=white num-buffers=3 ! video/x-raw,width=64,height=64,framerate=25/1,format=I420_10LE,colorimetry={colours} \
             ! x265enc speed-preset=ultrafast log-level=error ! h265parse ! matroskamux ! filesink location={}",
            video.display()
        ));
        for (name, keep) in
            [("skim.mp4", false), ("skim.webm", false), ("kept.mp4", true), ("kept.mov", true), ("kept.mkv", true)]
        {
            let out = folder.path().join(name);
            let skim = [
                "skim",
                text(&video),
                "-o",
                text(&out),
                "--plan",
                text(&file),
                "--hdr",
                if keep { "keep" } else { "sdr" },
            ];
            let output = desumnet(&skim);
            assert!(output.status.success(), "{colours} {name}: {output:?}");
            let (found, times) = pictures(&out);
            assert_eq!((found.len(), times.len()), (1, 3), "{colours} {name}: {found:?}");
            let expected = if keep { (VideoFormat::I42010le, transfer) } else { (VideoFormat::I420, Bt709) };
            assert_eq!((found[0].format(), found[0].colorimetry().transfer()), expected, "{colours} {name}");
            let luma = first_luma(&out);
            assert!(
                luma.abs_diff(if keep { 940 } else { 235 }) <= if keep { 4 } else { 2 },
                "{colours} {name}: {luma}"
            );
        }
    }
    let [video, out] = ["bt2100-pq.mkv", "kept.webm"].map(|name| folder.path().join(name));
    let skim = ["skim", text(&video), "-o", text(&out), "--plan", text(&file), "--hdr", "keep"];
    assert!(
        failure(&desumnet(&skim)).contains("kept.webm can't keep HDR: name it mp4, mov or mkv, or leave --hdr out")
    );
}

/// Of the first pixel.
fn first_luma(path: &Path) -> u16 {
    let picture = Decoder::open(text(path)).unwrap().next_picture().unwrap().unwrap();
    let deep = gst_video::VideoInfo::from_caps(picture.sample().caps().unwrap()).unwrap().comp_depth(0) > 8;
    let map = picture.sample().buffer().unwrap().map_readable().unwrap();
    if deep { u16::from_le_bytes([map[0], map[1]]) } else { map[0].into() }
}

/// Where pictures are decoded in another order than they play in, others come after the last one.
#[test]
fn the_last_picture_plays_no_longer_than_its_sound() {
    let folder = tempfile::tempdir().unwrap();
    let [video, file] = ["colours.mkv", "plan.json"].map(|name| folder.path().join(name));
    colours(&video);
    for frames in [30, 31, 32, 33] {
        let end = frames * FRAME + 5_000_000;
        plan(&file, &[(0, end, 1.0)]);
        for name in ["skim.mp4", "skim.mov"] {
            let out = folder.path().join(name);
            let output = desumnet(&["skim", text(&video), "-o", text(&out), "--plan", text(&file)]);
            assert!(output.status.success(), "{name}: {output:?}");
            let probe = ["-v", "error", "-select_streams", "v", "-show_entries", "stream=duration", "-of", "csv=p=0"];
            let told = Command::new("ffprobe").args(probe).arg(&out).output().unwrap();
            let told: f64 = String::from_utf8(told.stdout).unwrap().trim().parse().unwrap();
            assert!((told * 1e9 - end as f64).abs() < 2e6, "{frames} {name}: {told}");
            let (heard, whole) = sound(&out);
            assert!(near(whole, end), "{frames} {name}: {heard:?}");
        }
    }
}

#[test]
fn the_first_size_holds() {
    let folder = tempfile::tempdir().unwrap();
    let [video, file] = ["sizes.ts", "plan.json"].map(|name| folder.path().join(name));
    let mut whole = Vec::new();
    for (colour, width) in [("green", 160), ("red", 80)] {
        let part = folder.path().join(format!("{colour}.ts"));
        test_support::launch(&format!(
            "videotestsrc pattern={colour} num-buffers=25 ! video/x-raw,width={width},height=120,framerate=25/1 \
             ! x264enc speed-preset=ultrafast threads=1 ! mpegtsmux ! filesink location={}",
            part.display()
        ));
        whole.extend(std::fs::read(part).unwrap());
    }
    // Byte after byte, as recorders do it.
    std::fs::write(&video, whole).unwrap();
    plan(&file, &[(0, 4 * SECOND, 1.0)]);
    for name in ["skim.mp4", "skim.mkv", "skim.webm"] {
        let out = folder.path().join(name);
        let output = desumnet(&["skim", text(&video), "-o", text(&out), "--plan", text(&file)]);
        assert!(output.status.success(), "{name}: {output:?}");
        let (found, _) = pictures(&out);
        assert_eq!(found.iter().map(|info| (info.width(), info.height())).collect::<Vec<_>>(), [(160, 120)], "{name}");
        let colours = frames(&out).0;
        assert!(colours.starts_with(&"g".repeat(25)) && colours.ends_with(&"r".repeat(20)), "{name}: {colours}");
        // Borders on both sides.
        let mut decoder = Decoder::open(text(&out)).unwrap();
        let mut last = None;
        while let Some(picture) = decoder.next_picture().unwrap() {
            last = Some(picture);
        }
        let frame = decoder.scale(&last.unwrap()).unwrap();
        assert!(frame.pixels()[..3].iter().all(|&value| value < 32), "{name}: {:?}", &frame.pixels()[..3]);
    }
}

#[test]
fn a_turned_picture_becomes_upright_at_its_own_size() {
    let folder = tempfile::tempdir().unwrap();
    let [video, turned, file] = ["colours.mkv", "turned.mp4", "plan.json"].map(|name| folder.path().join(name));
    colours(&video);
    ffmpeg(&["-i", text(&video), "-an", "-c", "copy", "-metadata:s:v", "rotate=90", text(&turned)]);
    plan(&file, &[(0, 4 * SECOND, 1.0)]);
    for name in ["skim.mp4", "skim.mkv"] {
        let out = folder.path().join(name);
        let output = desumnet(&["skim", text(&turned), "-o", text(&out), "--plan", text(&file)]);
        assert!(output.status.success(), "{output:?}");
        let (found, times) = pictures(&out);
        assert_eq!(found.iter().map(|info| (info.width(), info.height())).collect::<Vec<_>>(), [(120, 160)], "{name}");
        assert_eq!(times.len(), 100);
    }
}

#[test]
fn interlaced_pictures_become_progressive_and_keep_their_times() {
    let folder = tempfile::tempdir().unwrap();
    let [file, out] = ["plan.json", "skim.mp4"].map(|name| folder.path().join(name));
    plan(&file, &[(0, 20 * FRAME, 1.0)]);
    for (field, top) in [("tff", "1"), ("bff", "0")] {
        let video = folder.path().join(format!("{field}.mpg"));
        let source = format!("testsrc2=s=160x120:r=50:d=0.8,interlace=scan={field}:lowpass=0");
        let codec = ["-c:v", "mpeg2video", "-flags", "+ildct+ilme", "-top", top, "-bf", "2", "-b:v", "2M"];
        ffmpeg(&[&["-f", "lavfi", "-i", &source][..], &codec, &[text(&video)]].concat());
        let (input, _) = pictures(&video);
        assert!(input[0].is_interlaced(), "{input:?}");
        let output = desumnet(&["skim", text(&video), "-o", text(&out), "--plan", text(&file), "--no-sound"]);
        assert!(output.status.success(), "{output:?}");
        let (found, times) = pictures(&out);
        assert!(found.len() == 1 && !found[0].is_interlaced(), "{field}: {found:?}");
        let steps: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(times.len() >= 19 && steps.iter().all(|&step| step == FRAME), "{field}: {times:?}");
    }
}

#[test]
fn what_a_file_lacks_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let [video, short, file, out] =
        ["whole.mp4", "short.mp4", "plan.json", "skim.mp4"].map(|name| folder.path().join(name));
    let model = test_support::tiny_model(folder.path());
    test_support::launch(&format!(
        "videotestsrc pattern=snow num-buffers=100 ! video/x-raw,width=64,height=64,framerate=25/1 \
         ! x264enc key-int-max=25 ! mp4mux faststart=true ! filesink location={}",
        video.display()
    ));
    let bytes = std::fs::read(&video).unwrap();
    std::fs::write(&short, &bytes[..bytes.len() / 2]).unwrap();
    plan(&file, &[(0, 4 * SECOND, 1.0)]);
    for copy in [false, true] {
        let skim = ["skim", text(&short), "-o", text(&out), "--plan", text(&file)];
        let output = desumnet(&[&skim[..], if copy { &["--copy"] } else { &[] }].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("short.mp4") && said.contains(" s "), "{said}");
        assert!(!output.status.success() || said.contains("can't be read"), "{said}");
    }
    let output = desumnet(&["score", text(&short), "--model", text(&model)]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() || said.contains("though it tells of 4.0 s"), "{said}");
    // The decoders of H.264.
    let score = ["score", text(&video), "--no-cache", "--model", text(&model)];
    for verb in [&["skim", text(&video), "-o", text(&out), "--plan", text(&file)][..], &score] {
        let output = Command::new(env!("CARGO_BIN_EXE_desumnet"))
            .args(verb)
            .env("GST_PLUGIN_FEATURE_RANK", "avdec_h264:NONE,openh264dec:NONE,vah264dec:NONE,v4l2h264dec:NONE")
            .output()
            .unwrap();
        let error = failure(&output);
        assert!(error.contains("H.264") && error.contains("install the package gstreamer1.0-libav"), "{error}");
    }
}

#[test]
fn a_time_lapse_plays_every_part_at_its_speed() {
    let folder = tempfile::tempdir().unwrap();
    let [video, file, out] = ["colours.mkv", "plan.json", "lapse.mp4"].map(|name| folder.path().join(name));
    colours(&video);
    plan(&file, &[(0, 50 * FRAME, 5.0), (50 * FRAME, 25 * FRAME, 1.0), (75 * FRAME, 25 * FRAME, 2.5)]);
    let output = desumnet(&["timelapse", text(&video), "-o", text(&out), "--plan", text(&file)]);
    assert!(output.status.success(), "{output:?}");
    let (colours, times) = frames(&out);
    assert_eq!(colours, ["r", "g"].map(|c| c.repeat(5)).concat() + &"b".repeat(25) + &"y".repeat(10));
    assert_eq!(times, (0..45).map(|i| i * FRAME).collect::<Vec<_>>());
}

#[test]
fn a_time_lapse_keeps_the_pitch_of_its_sound() {
    let folder = tempfile::tempdir().unwrap();
    let [video, file, out] = ["colours.mkv", "plan.json", "lapse.mp4"].map(|name| folder.path().join(name));
    colours(&video);
    plan(&file, &[(0, 100 * FRAME, 1.5)]);
    let lapse = ["timelapse", text(&video), "-o", text(&out), "--plan", text(&file)];
    let output = desumnet(&[&lapse[..], &["--audio", "scale"]].concat());
    assert!(output.status.success(), "{output:?}");
    let (heard, length) = sound(&out);
    assert!(near(length, 100 * FRAME * 2 / 3), "{length}");
    // The tones of green and yellow.
    let [green, yellow] = heard[..] else { panic!("{heard:?}") };
    for ((start, end), expected) in [(green, 1), (yellow, 3)] {
        let [from, until] = [expected, expected + 1].map(|second| second * SECOND * 2 / 3);
        assert!(near(start, from) && near(end, until), "{heard:?}");
    }
    let second = |time: u64| (time * 48 / 1_000_000) as usize;
    let tone = &samples(&out)[second(green.0 + 2 * IN_STEP)..second(green.1 - 2 * IN_STEP)];
    let rising: Vec<usize> = (1..tone.len()).filter(|&i| tone[i - 1] < 0 && tone[i] >= 0).collect();
    let pitch = (rising.len() - 1) as f64 * 48_000.0 / (rising[rising.len() - 1] - rising[0]) as f64;
    assert!((pitch / 440.0 - 1.0).abs() < 0.01, "{pitch} Hz");
    assert!(desumnet(&lapse).status.success());
    let discoverer = gst_pbutils::Discoverer::new(gst::ClockTime::from_seconds(20)).unwrap();
    let found = discoverer.discover_uri(&format!("file://{}", out.display())).unwrap();
    assert_eq!((found.video_streams().len(), found.audio_streams().len()), (1, 0));
}

#[test]
fn a_skim_is_no_longer_than_asked_and_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let [video, file, out] = ["colours.mkv", "plan.json", "skim.mp4"].map(|name| folder.path().join(name));
    let model = test_support::tiny_model(folder.path());
    colours(&video);
    let skim = |length: &str, more: &[&str]| {
        let arguments = ["skim", text(&video), "-o", text(&out), "--length", length, "--model", text(&model)];
        let own = ["--min-clip", "500ms", "--save-plan", text(&file), "--stdout-format", "json"];
        let output = desumnet(&[&arguments, &own[..], more].concat());
        assert!(output.status.success(), "{output:?}");
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (told, String::from_utf8(output.stderr).unwrap())
    };
    let (told, _) = skim("2.1s", &["--report", "html,csv,otio,edl,ffmetadata,vtt,svg"]);
    assert_eq!((&told["video"], &told["output"]), (&text(&video).into(), &text(&out).into()));
    assert_eq!(told["duration_ns"], 4 * SECOND);
    let saved: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(told["parts"], saved["parts"]);
    // Two of the four shots.
    assert_eq!(told["output_duration_ns"], 2 * SECOND);
    let (kept, _) = frames(&out);
    assert_eq!(kept.len(), 50);
    for kind in ["html", "csv", "otio", "edl", "ffmetadata", "vtt", "svg"] {
        let report = std::fs::read_to_string(out.with_extension(kind)).unwrap();
        assert!(report.contains("colours.mkv"), "{kind}: {report}");
    }
    let page = std::fs::read_to_string(out.with_extension("html")).unwrap();
    assert!(page.contains("src=\"colours.mkv\"") && page.contains("src=\"skim.mp4\""), "{page}");
    assert_eq!(page.matches("data:image/jpeg;base64,").count(), 4);
    let picture = std::fs::read_to_string(out.with_extension("svg")).unwrap();
    // Two or three frames of each of four shots, as the container rounds their times.
    assert!((8..=12).contains(&picture.matches("<image").count()), "{picture}");
    // A part is shaded, and its frames have a border.
    let parts = told["parts"].as_array().unwrap().len();
    assert_eq!(picture.matches("#f2a93b").count(), 2 * parts);
    // Longer than the video: all of it.
    let (told, said) = skim("1h", &[]);
    assert!(said.contains("colours.mkv is no longer than that: all of it is taken"), "{said}");
    assert_eq!(told["output_duration_ns"], 4 * SECOND);
    for choose in ["knapsack", "diverse"] {
        assert_eq!(skim("2.1s", &["--choose", choose]).0["output_duration_ns"], 2 * SECOND, "{choose}");
    }
}

#[test]
fn people_are_told_of_a_category_only_where_it_is_likely() {
    let folder = tempfile::tempdir().unwrap();
    let [video, out] = ["colours.mkv", "skim.mp4"].map(|name| folder.path().join(name));
    let model = test_support::tiny_model(folder.path());
    colours(&video);
    let skim = |more: &[&str]| {
        let arguments = ["skim", text(&video), "-o", text(&out), "--length", "2.1s", "--model", text(&model)];
        let output = desumnet(&[&arguments[..], &["--min-clip", "500ms"], more].concat());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let mut named = 0;
    for category in test_support::CATEGORIES {
        let told: serde_json::Value =
            serde_json::from_str(&skim(&["--category", category, "--stdout-format", "json"])).unwrap();
        let confidence = told["confidence"].as_f64().unwrap();
        let end = format!(", for {category} ({:.0} %)\n", 100.0 * confidence);
        let line = skim(&["--category", category]);
        assert_eq!((line.ends_with(&end), line.contains(category)), (confidence >= 0.5, confidence >= 0.5), "{line}");
        named += usize::from(confidence >= 0.5);
    }
    assert!(named < 3);
}

#[test]
fn a_report_that_can_not_be_made_stops_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let [video, out] = ["slow.mp4", "skim.mp4"].map(|name| folder.path().join(name));
    let model = test_support::tiny_model(folder.path());
    test_support::launch(&format!(
        "videotestsrc num-buffers=20 ! video/x-raw,width=64,height=64,framerate=25/2 ! x264enc speed-preset=ultrafast \
         threads=1 ! mp4mux ! filesink location={}",
        video.display()
    ));
    // A folder is in the way.
    std::fs::create_dir(out.with_extension("csv")).unwrap();
    let skim = ["skim", text(&video), "-o", text(&out), "--ratio", "100%", "--model", text(&model)];
    let output = desumnet(&[&skim[..], &["--report", "edl,csv,otio,vtt", "--stdout-format", "json"]].concat());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&told["output"], &told["output_duration_ns"]), (&text(&out).into(), &(20 * 80_000_000_u64).into()));
    let error = told["error"].as_str().unwrap();
    assert!(error.contains("slow.mp4 can't be told as an edit decision list: 25/2 frames a second"), "{error}");
    assert!(error.contains("skim.csv can't be written: Is a directory"), "{error}");
    assert_eq!(["otio", "vtt", "edl"].map(|kind| out.with_extension(kind).is_file()), [true, true, false]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(error), "{said}");
}

#[test]
fn reports_go_by_the_timecode_and_the_first_picture() {
    let folder = tempfile::tempdir().unwrap();
    let model = test_support::tiny_model(folder.path());
    let film = |name: &str, muxer: &str| {
        let path = folder.path().join(name);
        test_support::launch(&format!(
            "videotestsrc num-buffers=60 ! video/x-raw,width=64,height=64,framerate=30000/1001 ! timecodestamper set=always \
             drop-frame=true timecode-offset=1078920 ! x264enc speed-preset=ultrafast threads=1 key-int-max=20 ! h264parse \
             ! {muxer} ! filesink location={}",
            path.display()
        ));
        path
    };
    let cut = |video: &Path, out: &Path, more: &[&str]| {
        let skim =
            ["skim", text(video), "-o", text(out), "--ratio", "1", "--report", "edl,otio", "--model", text(&model)];
        let output = desumnet(&[&skim[..], more].concat());
        assert!(output.status.success(), "{output:?}");
        assert_eq!(frames(out).1.len(), 60);
        let list = std::fs::read_to_string(out.with_extension("edl")).unwrap();
        let times = list.lines().find_map(|line| line.split_once("C        ")).unwrap().1.to_owned();
        let timeline = std::fs::read_to_string(out.with_extension("otio")).unwrap();
        let timeline: serde_json::Value = serde_json::from_str(&timeline).unwrap();
        let clip = &timeline["tracks"]["children"][0]["children"][0];
        let range = &clip["media_references"]["DEFAULT_MEDIA"]["available_range"];
        let frames = ["start_time", "duration"].map(|time| range[time]["value"].as_f64().unwrap());
        (times, frames)
    };
    let out = folder.path().join("skim.mp4");
    let (movie, stream) = (film("film.mov", "qtmux"), film("film.ts", "mpegtsmux"));
    // Two that have it in the pictures.
    let coded = |name: &str, encoder: &[&str]| {
        let path = folder.path().join(name);
        let [picture, tone] = ["testsrc2=s=720x480:r=30000/1001:d=2.002", "sine=r=48000:d=2.002"];
        let source = ["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", tone, "-ac", "2", "-timecode", "10:00:00;00"];
        ffmpeg(&[&source[..], encoder, &[text(&path)]].concat());
        path
    };
    let mpeg = coded("film.mpg", &["-c:v", "mpeg2video", "-bf", "0", "-g", "15", "-c:a", "mp2"]);
    let dv = coded("film.dv", &["-c:v", "dvvideo", "-pix_fmt", "yuv411p"]);
    let times = "10:00:00;00 10:00:02;00 00:00:00;00 00:00:02;00".to_owned();
    for video in [movie, mpeg, dv] {
        assert_eq!(cut(&video, &out, &[]), (times.clone(), [1_078_920.0, 60.0]), "{}", video.display());
    }
    // A transport stream has no timecode, and begins an eighth of a second before its picture.
    let times = "00:00:00:00 00:00:02:00 00:00:00:00 00:00:02:00".to_owned();
    for more in [&[][..], &["--copy"]] {
        assert_eq!(cut(&stream, &out, more), (times.clone(), [0.0, 60.0]), "{more:?}");
    }
}

#[test]
fn links_lead_to_videos_of_any_name_from_another_folder() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let folder = tempfile::tempdir().unwrap();
    let [videos, skims] = ["videos", "skims"].map(|name| folder.path().join(name));
    for folder in [&videos, &skims] {
        std::fs::create_dir(folder).unwrap();
    }
    let model = test_support::tiny_model(folder.path());
    let name = OsStr::from_bytes(b"a:\xe9.mp4");
    test_support::render(&videos.join("v.mp4"), "ball", 16);
    std::fs::rename(videos.join("v.mp4"), videos.join(name)).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_desumnet"))
        .args([
            "skim",
            "-o",
            "../skims/s.mp4",
            "--ratio",
            "1",
            "--report",
            "otio,html",
            "--model",
            text(&model),
            "--no-cache",
        ])
        .arg(name)
        .current_dir(&videos)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let report = |kind: &str| std::fs::read_to_string(skims.join("s").with_extension(kind)).unwrap();
    assert!(report("otio").contains("\"target_url\": \"../videos/a%3A%E9.mp4\""), "{}", report("otio"));
    assert!(
        report("html").contains("src=\"..&#x2f;videos&#x2f;a%3A%E9.mp4\"") && report("html").contains("src=\"s.mp4\"")
    );
}

#[test]
fn what_can_not_be_made_is_said_and_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let [video, file, out] = ["colours.mkv", "plan.json", "skim.mp4"].map(|name| folder.path().join(name));
    colours(&video);
    plan(&file, &[(0, SECOND, 1.0)]);
    let before = std::fs::read_dir(folder.path()).unwrap().count();
    let skim = |video: &Path, out: &Path, more: &[&str]| {
        failure(&desumnet(&[&["skim", text(video), "-o", text(out), "--plan", text(&file)], more].concat()))
    };
    let error = skim(&video, &out.with_extension("gif"), &[]);
    assert!(error.contains("names no container: use one of mp4, m4v, mov, mkv, webm"), "{error}");
    let error = skim(&video, &folder.path().join("no/such/skim.mp4"), &[]);
    assert!(error.contains("can't be written") && error.contains("check the folder"), "{error}");
    let error = skim(&video, &video, &[]);
    assert!(error.contains("is both the input and the output"), "{error}");
    let error = skim(&folder.path().join("none.mp4"), &out, &[]);
    assert!(error.contains("none.mp4: no such file"), "{error}");
    let error = skim(&file, &out, &[]);
    assert!(error.contains("plan.json can't be") || error.contains("can't be cut"), "{error}");
    let sound = folder.path().join("sound.ogg");
    test_support::launch(&format!(
        "audiotestsrc num-buffers=20 ! vorbisenc ! oggmux ! filesink location={}",
        sound.display()
    ));
    for more in [&[][..], &["--copy"]] {
        let error = skim(&sound, &out, more);
        assert!(error.contains("sound.ogg has no video stream"), "{error}");
    }
    std::fs::remove_file(&sound).unwrap();
    std::fs::write(&file, "{}").unwrap();
    let error = skim(&video, &out, &[]);
    assert!(error.contains("plan.json can't be used"), "{error}");
    for (arguments, said) in [
        (&["--length", "0s"][..], "a length of 0 keeps nothing"),
        (&["--ratio", "150%"], "write a share over 0 and up to 1"),
        (&[], "--length <LENGTH>|--ratio <RATIO>|--plan <FILE>"),
    ] {
        let output = desumnet(&[&["skim", text(&video), "-o", text(&out)], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(said), "{output:?}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), before);
}

/// A limit on the size of files stands in for the full disk.
#[test]
fn a_full_disk_leaves_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let [video, file, out] = ["colours.mkv", "plan.json", "skim.mp4"].map(|name| folder.path().join(name));
    colours(&video);
    plan(&file, &[(0, 4 * SECOND, 1.0)]);
    std::fs::write(&out, "before").unwrap();
    let call = "trap '' XFSZ; ulimit -f 8; exec \"$@\"";
    let output = Command::new("bash")
        .args(["-c", call, "bash", env!("CARGO_BIN_EXE_desumnet"), "skim", text(&video), "-o", text(&out)])
        .args(["--plan", text(&file)])
        .output()
        .unwrap();
    let error = failure(&output);
    assert!(error.contains("skim.mp4 can't be written") && error.contains("free disk space"), "{error}");
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "before");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[test]
fn an_interrupt_leaves_no_half_file() {
    let folder = tempfile::tempdir().unwrap();
    let [video, file, out] = ["endless.mkv", "plan.json", "out"].map(|name| folder.path().join(name));
    plan(&file, &[(0, SECOND, 1.0)]);
    std::fs::create_dir(&out).unwrap();
    // Nothing ever comes out of it.
    assert!(Command::new("mkfifo").arg(&video).status().unwrap().success());
    let writer = std::fs::OpenOptions::new().read(true).write(true).open(&video).unwrap();
    let arguments = ["skim", text(&video), "-o", text(&out), "--plan", text(&file)];
    let mut program = Command::new(env!("CARGO_BIN_EXE_desumnet")).args(arguments).spawn().unwrap();
    let entries = || std::fs::read_dir(&out).unwrap().count();
    while entries() == 0 {
        assert_eq!(program.try_wait().unwrap(), None);
        std::thread::yield_now();
    }
    let kill = Command::new("kill").args(["-INT", &program.id().to_string()]).status().unwrap();
    assert!(kill.success());
    assert_eq!(program.wait().unwrap().code(), Some(130));
    assert_eq!(entries(), 0);
    drop(writer);
}
