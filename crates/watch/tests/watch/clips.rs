//! Clips as files: what is in them, while they grow, and after a crash.

use std::{
    fs::File,
    io::Write,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Stdio},
};

use desumnet_watch::{
    recorder::Recorder,
    ring::{Limits, Packet, Ring},
    thumbnail,
};
use test_support::watching::{Rendered, decode, hashes, pictures, probe, render, render_from, try_probe, wait_for};

const PLAIN: &str =
    "x264enc speed-preset=ultrafast threads=1 key-int-max=25 ! h264parse ! video/x-h264,stream-format=avc";
const REORDERED: &str = "x264enc speed-preset=ultrafast threads=1 key-int-max=25 bframes=2 b-adapt=false ! h264parse \
                         ! video/x-h264,stream-format=avc";
const H265: &str = "x265enc speed-preset=ultrafast key-int-max=25 option-string=pools=1:log-level=none ! h265parse \
                    ! video/x-h265,stream-format=hvc1";
const LATE: u64 = 300_000_000;

fn caps(rendered: &Rendered) -> Vec<gst::Caps> {
    [&rendered.video, &rendered.sound].map(|packets| packets[0].data.caps_owned().unwrap()).to_vec()
}

fn begin(path: &Path, rendered: &Rendered) -> Recorder {
    Recorder::begin(File::create(path).unwrap(), path, &caps(rendered), rendered.video[0].time).unwrap()
}

fn record(path: &Path, rendered: &Rendered) {
    let mut recorder = begin(path, rendered);
    recorder.push(vec![rendered.video.clone(), rendered.sound.clone()]).unwrap();
    let end = rendered.video.iter().chain(&rendered.sound).map(Packet::end).max().unwrap();
    assert_eq!(recorder.finish(end).unwrap().abs_diff(end) / 1_000, 0);
}

#[test]
fn packets_are_the_cameras_and_sound_is_in_step() {
    for encoder in [PLAIN, REORDERED, H265] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clip.mp4");
        let rendered = render(encoder, 75, LATE);
        record(&path, &rendered);
        let (video, sound) = (probe(&path, "v"), probe(&path, "a"));
        assert_eq!(video.iter().map(|p| p.hash.clone()).collect::<Vec<_>>(), hashes(&rendered.video), "{encoder}");
        assert_eq!(sound.iter().map(|p| p.hash.clone()).collect::<Vec<_>>(), hashes(&rendered.sound), "{encoder}");
        assert!(video[0].key);
        assert_eq!(decode(&path), 75);
        let start = rendered.video[0].time;
        let first = video[0].pts;
        for (packet, probed) in rendered.video.iter().zip(&video) {
            let expected = (packet.time - start) as f64 / 1e9;
            assert!((probed.pts - first - expected).abs() < 1e-4, "{encoder}: {} for {expected}", probed.pts);
        }
        // The first one reaches from the beginning to where the second belongs.
        for (packet, probed) in rendered.sound.iter().zip(&sound).skip(1) {
            let (late, expected) = (probed.pts - first, (packet.time - start) as f64 / 1e9);
            assert!((late - expected).abs() < 1e-4, "{encoder}: sound after {late}, not {expected}");
        }
        assert_eq!(sound[0].pts, 0.0);
    }
}

/// Pictures that refer to the group before are left out where that is.
#[test]
fn a_clip_of_open_groups_plays_in_order_with_nothing_broken() {
    let folder = tempfile::tempdir().unwrap();
    let [encoded, all, clip] = ["open.mp4", "all.mp4", "clip.mp4"].map(|name| folder.path().join(name));
    // Groups are open unless x265 is told otherwise.
    let made = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=4", "-c:v", "libx265"])
        .args(["-x265-params", "log-level=none:keyint=27:min-keyint=27:scenecut=0:bframes=3:b-adapt=0"])
        .args(["-pix_fmt", "yuv420p", "-tag:v", "hvc1"])
        .arg(&encoded)
        .status();
    assert!(made.unwrap().success());
    let source =
        format!("filesrc location={} ! qtdemux ! h265parse ! video/x-h265,stream-format=hvc1", encoded.display());
    let rendered = render_from(&source, 100, 0);
    record(&all, &rendered);
    let mut ring = Ring::new(Limits { time: 60_000_000_000, bytes: 1 << 30 }, 1);
    for packet in &rendered.video {
        ring.push_video(packet.clone());
    }
    for packet in &rendered.sound {
        ring.push_other(0, packet.clone());
    }
    let mut cursor = ring.open(1_900_000_000).unwrap();
    let start = cursor.start();
    assert_eq!(start, rendered.video[0].time + 27 * 40_000_000);
    let leads = |packet: &&Packet<gst::Sample>| packet.time < start;
    let key = rendered.video.iter().position(|packet| packet.time == start).unwrap();
    assert_eq!(rendered.video[key..].iter().filter(leads).count(), 2);
    let mut streams = ring.read(&mut cursor, u64::MAX).streams;
    let [video, sound] = [streams.remove(0), streams.remove(0)];
    record(&clip, &Rendered { video, sound });
    assert_eq!(pictures(&clip), pictures(&all)[27..]);
}

#[test]
fn what_turns_out_to_be_too_much_is_cut_off() {
    for encoder in [PLAIN, REORDERED, H265] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clip.mp4");
        let rendered = render(encoder, 75, LATE);
        let start = rendered.video[0].time;
        let mut recorder = begin(&path, &rendered);
        recorder.push(vec![rendered.video.clone(), rendered.sound.clone()]).unwrap();
        let asked = start + 1_500_000_000;
        let end = recorder.finish(asked).unwrap();
        assert!((asked..asked + 250_000_000).contains(&end), "{encoder}: {end} for {asked}");
        let (video, sound) = (probe(&path, "v"), probe(&path, "a"));
        // All that is decided before, of both.
        let before = |packets: &[Packet<gst::Sample>]| packets.iter().filter(|packet| packet.decode < asked).count();
        let (pictures, sounds) = (before(&rendered.video), before(&rendered.sound));
        assert!((pictures..pictures + 6).contains(&video.len()), "{encoder}: {} of {pictures}", video.len());
        assert!((sounds..sounds + 11).contains(&sound.len()), "{encoder}: {} of {sounds}", sound.len());
        assert_eq!(
            video.iter().map(|p| &p.hash).collect::<Vec<_>>(),
            hashes(&rendered.video[..video.len()]).iter().collect::<Vec<_>>()
        );
        assert_eq!(decode(&path), video.len());
        // As after a crash: no length and no index is told, which would be those of all that was written.
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(4).any(|four| four == b"mfra"));
    }
}

#[test]
fn sound_that_stops_holds_up_no_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    let rendered = render(PLAIN, 500, 0);
    let is_there = |time: u64| !(2_000_000_000..12_000_000_000).contains(&time);
    let sound: Vec<Packet<gst::Sample>> = rendered.sound.iter().filter(|p| is_there(p.time)).cloned().collect();
    let mut recorder = begin(&path, &rendered);
    let between = |packets: &[Packet<gst::Sample>], second: u64| -> Vec<Packet<gst::Sample>> {
        packets.iter().filter(|packet| packet.time / 1_000_000_000 == second).cloned().collect()
    };
    for second in 0..12 {
        recorder.push(vec![between(&rendered.video, second), between(&sound, second)]).unwrap();
    }
    // All but the last seconds are in the file, without any sound.
    wait_for("the pictures", || {
        recorder.write_out().unwrap();
        (try_probe(&path, "v").ok()?.len() >= 140).then_some(())
    });
    for second in 12..20 {
        recorder.push(vec![between(&rendered.video, second), between(&sound, second)]).unwrap();
    }
    let end = recorder.finish(20_000_000_000).unwrap();
    assert!(end.abs_diff(20_000_000_000) < 1_000_000, "{end}");
    let (video, heard) = (probe(&path, "v"), probe(&path, "a"));
    assert_eq!((video.len(), decode(&path)), (500, 500));
    // What comes of it when the file has gone on without is left out.
    let before: Vec<Packet<gst::Sample>> = sound.iter().filter(|p| p.time < 2_000_000_000).cloned().collect();
    assert_eq!(heard.iter().map(|p| p.hash.clone()).collect::<Vec<_>>(), hashes(&before));
}

/// The other side of the test below.
#[test]
fn child_that_is_killed() {
    let Some(path) = std::env::var_os("DESUMNET_TEST_CLIP") else { return };
    let rendered = render(REORDERED, 200, LATE);
    let mut recorder = begin(Path::new(&path), &rendered);
    let sound = rendered.sound.iter().filter(|packet| packet.time < 6_000_000_000).cloned().collect();
    recorder.push(vec![rendered.video[..150].to_vec(), sound]).unwrap();
    std::io::stdout().write_all(b"pushed\n").unwrap();
    loop {
        recorder.write_out().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn what_a_kill_leaves_plays_to_within_a_fragment() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "clips::child_that_is_killed", "--nocapture"])
        .env("DESUMNET_TEST_CLIP", &path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Six seconds were pushed: all but the last fragment gets there, and plays while the file is open.
    let reached = || {
        let last = try_probe(&path, "v").ok()?.iter().map(|p| p.pts).reduce(f64::max);
        last.filter(|last| *last >= 5.7)
    };
    wait_for("the growing clip", reached);
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
    let (video, sound) = (probe(&path, "v"), probe(&path, "a"));
    let end = |packets: &[test_support::watching::Probed]| packets.iter().map(|p| p.pts).fold(0.0, f64::max);
    assert!(video[0].key);
    assert!(end(&video) >= 5.7 && end(&sound) >= 5.7, "{} {}", end(&video), end(&sound));
    let (late, expected) = (sound[1].pts - video[0].pts, 0.3 + 1_024.0 / 48_000.0);
    assert!((late - expected).abs() < 1e-4, "sound after {late}, not {expected}");
    assert_eq!(decode(&path), video.len());
}

#[test]
fn a_full_disk_is_told_and_what_is_written_stays() {
    let rendered = render(PLAIN, 50, 0);
    let mut recorder = begin(Path::new("/dev/full"), &rendered);
    let pushed = recorder.push(vec![rendered.video.clone(), rendered.sound.clone()]);
    let error = pushed.and_then(|()| recorder.finish(2_000_000_000)).unwrap_err();
    assert!(error.to_string().starts_with("/dev/full can't be written: "), "{error}");
}

#[test]
fn after_a_failure_the_file_ends_with_what_is_whole() {
    let rendered = render(PLAIN, 75, LATE);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    let mut recorder = begin(&path, &rendered);
    recorder.push(vec![rendered.video.clone(), rendered.sound.clone()]).unwrap();
    // The muxer keeps what the next fragment will hold.
    wait_for("fragments", || {
        recorder.write_out().unwrap();
        (recorder.reached() >= 2_500_000_000).then_some(())
    });
    let end = recorder.give_up();
    let (video, sound) = (probe(&path, "v"), probe(&path, "a"));
    let last = video.iter().chain(&sound).map(|packet| packet.pts).fold(0.0, f64::max);
    assert!((end as f64 / 1e9 - last - video[0].pts).abs() < 0.05, "{end} for {last}");
    assert!((2_000_000_000..3_000_000_000).contains(&end), "{end}");
    assert_eq!(decode(&path), video.len());
}

#[test]
fn a_codec_that_does_not_fit_is_named() {
    gst::init().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let theora = gst::Caps::builder("video/x-theora").build();
    let path = folder.path().join("a.mp4");
    let error = Recorder::begin(File::create(&path).unwrap(), &path, &[theora], 0).err().unwrap();
    assert!(error.to_string().starts_with("video/x-theora can't be put into "), "{error}");
}

#[test]
fn a_key_frame_makes_a_picture_and_nothing_else_does() {
    let rendered = render(PLAIN, 2, 0);
    let jpeg = thumbnail::jpeg(&rendered.video[0].data).unwrap();
    assert_eq!((&jpeg[..2], &jpeg[jpeg.len() - 2..]), (&[0xff, 0xd8][..], &[0xff, 0xd9][..]));
    let caps = rendered.video[0].data.caps_owned().unwrap();
    let noise = gst::Sample::builder().buffer(&gst::Buffer::from_slice([7; 100])).caps(&caps).build();
    let error = thumbnail::jpeg(&noise).unwrap_err().to_string();
    assert!(error.starts_with("no picture could be made of it: "), "{error}");
}
