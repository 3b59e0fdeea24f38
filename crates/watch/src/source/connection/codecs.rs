//! Which streams can be kept, and what is told by their caps and their bytes.

use gst::prelude::*;

/// Streams that can be kept: their caps, and what brings them into MP4. AAC is told there as that of MPEG-4, whatever a stream calls it.
pub(super) const KEPT: [(&str, &str); 4] = [
    ("video/x-h264", "h264parse ! video/x-h264,stream-format=avc,alignment=au ! identity"),
    ("video/x-h265", "h265parse ! video/x-h265,stream-format=hvc1,alignment=au ! identity"),
    (
        "audio/mpeg,mpegversion=(int){2,4},stream-format=(string){raw,adts,adif}",
        "aacparse ! audio/mpeg,stream-format=raw ! capssetter caps=audio/mpeg,mpegversion=4",
    ),
    ("audio/x-opus", "opusparse"),
];
/// What a stream's sound is called that can't be kept, where its media type doesn't tell.
const CALLED: [(&str, &str); 2] =
    [("audio/mpeg,mpegversion=1", "MP2 or MP3"), ("audio/mpeg,stream-format=loas", "AAC in LATM")];
/// What encodes what a camera sends raw.
pub(super) const RAW: [(&str, &str); 2] = [
    ("video/x-raw", "videoconvert ! x264enc tune=zerolatency speed-preset=veryfast key-int-max=50 ! h264parse"),
    ("audio/x-raw", "audioconvert ! audioresample ! avenc_aac ! aacparse"),
];

/// The caps of a pad: as they are now, or as its container tells of them.
pub(super) fn caps_of(pad: &gst::Pad) -> gst::Caps {
    let unknown = || {
        let caps = pad.query_caps(None);
        let told = pad.stream().and_then(|stream| stream.caps());
        told.filter(|told| name_of(told) == name_of(&caps)).unwrap_or(caps)
    };
    pad.current_caps().unwrap_or_else(unknown)
}

pub(super) fn name_of(caps: &gst::Caps) -> String {
    caps.structure(0).map(|structure| structure.name().to_string()).unwrap_or_default()
}

/// Whether these caps are among those of a description.
pub(super) fn fits(caps: &gst::Caps, description: &str) -> bool {
    description.parse::<gst::Caps>().is_ok_and(|known| caps.can_intersect(&known))
}

/// A codec's name as users say it.
pub(super) fn codec_of(caps: &gst::Caps) -> String {
    CALLED.iter().find(|(known, _)| fits(caps, known)).map_or_else(|| name_of(caps), |(_, name)| (*name).into())
}

/// Whether a frame of a codec, as MP4 holds it, has a part of a picture in it, by the types of its units (H.264, table 7-1; H.265, table
/// 7-1).
pub(super) fn picture_test(codec: &str) -> fn(&[u8]) -> bool {
    match codec {
        "video/x-h264" => |frame| units(frame).any(|unit| matches!(unit & 0x1f, 1..=5)),
        "video/x-h265" => |frame| units(frame).any(|unit| unit >> 1 & 0x3f < 32),
        _ => |_| true,
    }
}

/// The first byte of every unit, each after its length.
fn units(mut frame: &[u8]) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let (length, rest) = frame.split_first_chunk::<4>()?;
        let (unit, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        frame = rest;
        unit.first().copied()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_known_by_its_caps() {
        gst::init().unwrap();
        let kept = |caps: &str| {
            let caps = caps.parse::<gst::Caps>().unwrap();
            KEPT.iter().any(|(known, _)| fits(&caps, known))
        };
        let codec = |caps: &str| codec_of(&caps.parse::<gst::Caps>().unwrap());
        assert!(kept("video/x-h264,stream-format=byte-stream") && kept("video/x-h265") && kept("audio/x-opus"));
        assert!(kept("audio/mpeg,mpegversion=4,stream-format=adts") && kept("audio/mpeg,mpegversion=2"));
        assert!(!kept("audio/mpeg,mpegversion=1") && !kept("audio/mpeg,mpegversion=4,stream-format=loas"));
        assert!(!kept("audio/x-ac3") && !kept("image/jpeg"));
        assert_eq!(codec("audio/mpeg,mpegversion=1,layer=2"), "MP2 or MP3");
        assert_eq!(codec("audio/mpeg,mpegversion=4,stream-format=loas"), "AAC in LATM");
        assert_eq!(codec("audio/x-mulaw,rate=8000"), "audio/x-mulaw");
    }

    #[test]
    fn a_frame_without_a_picture_is_told_by_its_units() {
        let frame = |types: &[u8]| types.iter().flat_map(|byte| [0, 0, 0, 2, *byte, 0xf0]).collect::<Vec<u8>>();
        let (h264, h265) = (picture_test("video/x-h264"), picture_test("video/x-h265"));
        assert!(!h264(&frame(&[0x09])) && !h264(&frame(&[0x67, 0x68])) && !h264(&[]) && !h264(&[0, 0, 0, 9, 0x65]));
        assert!(h264(&frame(&[0x09, 0x67, 0x65])) && h264(&frame(&[0x41])));
        assert!(!h265(&frame(&[0x46, 0x40])) && h265(&frame(&[0x46, 0x26])));
        assert!(picture_test("audio/mpeg")(&[]));
    }
}
