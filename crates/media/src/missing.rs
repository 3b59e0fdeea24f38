//! Which package brings what a GStreamer installation lacks. Names are Debian's and Ubuntu's.

use std::fmt;

/// Name of the structure that GStreamer's missing-plugin messages carry.
const MESSAGE: &str = "missing-plugin";

const BASE: &str = "gstreamer1.0-plugins-base";
const GOOD: &str = "gstreamer1.0-plugins-good";
const BAD: &str = "gstreamer1.0-plugins-bad";
const UGLY: &str = "gstreamer1.0-plugins-ugly";
const LIBAV: &str = "gstreamer1.0-libav";

/// Packages that decode, demux or parse media types, by how the type begins. `gstreamer1.0-libav` has most other decoders.
const DECODERS: [(&str, &[&str]); 4] = [
    (BASE, &["application/ogg", "audio/x-opus", "audio/x-vorbis", "video/x-theora", "subpicture/", "text/"]),
    (
        GOOD,
        &[
            "application/x-rtp",
            "application/x-3gp",
            "audio/mpeg, mpegversion=(int)1",
            "audio/x-flac",
            "audio/x-m4a",
            "audio/x-speex",
            "audio/x-wav",
            "image/jpeg",
            "image/png",
            "video/quicktime",
            "video/webm",
            "video/x-dv",
            "video/x-flv",
            "video/x-matroska",
            "video/x-msvideo",
            "video/x-vp8",
            "video/x-vp9",
        ],
    ),
    (
        BAD,
        &[
            "application/dash",
            "application/mxf",
            "application/x-hls",
            "audio/x-dts",
            "image/x-jpc",
            "video/mpegts",
            "video/mpeg, mpegversion=(int)1, systemstream=(boolean)true",
            "video/mpeg, mpegversion=(int)2, systemstream=(boolean)true",
            "video/mpeg, systemstream=(boolean)true",
            "video/x-av1",
        ],
    ),
    (UGLY, &["audio/AMR", "video/x-ms-asf"]),
];

/// Packages that encode media types.
const ENCODERS: [(&str, &[&str]); 5] = [
    (BASE, &["audio/x-opus", "audio/x-vorbis"]),
    (GOOD, &["image/jpeg", "video/x-vp8", "video/x-vp9", "video/quicktime", "video/webm", "video/x-matroska"]),
    (BAD, &["video/x-h265", "video/x-av1", "video/mpegts"]),
    (UGLY, &["video/x-h264"]),
    (LIBAV, &["audio/mpeg"]),
];

/// Elements by how their names begin. `gstreamer1.0-plugins-bad` has most others.
const ELEMENTS: [(&str, &[&str]); 4] = [
    (
        BASE,
        &[
            "app",
            "audioconvert",
            "audiorate",
            "audioresample",
            "decodebin",
            "encodebin",
            "opusdec",
            "opusenc",
            "parsebin",
            "playbin",
            "uridecodebin",
            "videoconvert",
            "videorate",
            "videoscale",
            "vorbis",
        ],
    ),
    (
        GOOD,
        &[
            "aacparse",
            "avidemux",
            "deinterlace",
            "flv",
            "jpeg",
            "matroska",
            "mp4mux",
            "multifile",
            "qt",
            "rtp",
            "rtsp",
            "scaletempo",
            "souphttp",
            "splitmux",
            "udpsrc",
            "v4l2src",
            "videobox",
            "videocrop",
            "videoflip",
            "vp8",
            "vp9dec",
            "vp9enc",
            "webmmux",
        ],
    ),
    (UGLY, &["a52dec", "asfdemux", "x264enc"]),
    (LIBAV, &["avdec_", "avenc_", "avmux_", "avdemux_"]),
];

/// Protocols of sources; `gstreamer1.0-plugins-bad` has most others.
const SOURCES: [(&str, &[&str]); 1] = [(GOOD, &["http", "https", "rtsp", "rtsps", "udp", "v4l2"])];

/// Media types of containers that are named as if they were video or audio.
const CONTAINERS: [&str; 9] = [
    "audio/x-m4a",
    "video/mpegts",
    "video/quicktime",
    "video/webm",
    "video/x-dv",
    "video/x-flv",
    "video/x-matroska",
    "video/x-ms-asf",
    "video/x-msvideo",
];

/// What media types contain that demuxers make up for codecs that they don't know.
const UNKNOWN: [&str; 2] = ["unknown", "-fourcc-"];

/// How media types of what goes beside pictures begin.
const BESIDE: [&str; 9] = [
    "application/x-ass",
    "application/x-ssa",
    "application/x-subtitle",
    "application/x-teletext",
    "audio/",
    "closedcaption/",
    "meta/",
    "subpicture/",
    "text/",
];

/// Something that GStreamer has no plugin for here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// For people: `H.264 (Main Profile) decoder`.
    pub name: String,
    /// Media type of the stream that can't be decoded or encoded; otherwise the element's name or the protocol.
    pub of: String,
    /// Empty: none is known.
    pub package: &'static str,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { name, package, .. } = self;
        match *package {
            "" => write!(
                f,
                "GStreamer has no {name}, and no package is known that brings one: convert it with another program"
            ),
            package => write!(f, "GStreamer has no {name} here: install the package {package}"),
        }
    }
}

impl Missing {
    /// What a message on the bus says is missing; `None` if it is another kind of message.
    pub fn of_message(message: &gst::MessageRef) -> Option<Self> {
        let structure = message.structure().filter(|structure| structure.name() == MESSAGE)?;
        let kind = structure.get::<&str>("type").ok()?;
        let detail = match structure.get::<gst::Caps>("detail") {
            Ok(caps) => caps.to_string(),
            Err(_) => structure.get::<String>("detail").ok()?,
        };
        let of = detail.split([',', ';']).next().unwrap_or_default().to_string();
        let name = structure.get::<String>("name").unwrap_or_else(|_| format!("{kind} for {of}"));
        let package = match kind {
            "encoder" => package(&ENCODERS, &detail).unwrap_or(BAD),
            "element" => return Some(Self::element(&detail)),
            "urisource" | "urisink" => SOURCES
                .iter()
                .find(|(_, protocols)| protocols.contains(&of.as_str()))
                .map_or(BAD, |(package, _)| package),
            _ if UNKNOWN.iter().any(|unknown| of.contains(unknown)) => "",
            _ => package(&DECODERS, &detail).unwrap_or(LIBAV),
        };
        Some(Self { name, of, package })
    }

    /// An element that can't be made.
    pub fn element(factory: &str) -> Self {
        let package = package(&ELEMENTS, factory).unwrap_or(BAD);
        Self { name: format!("element {factory}"), of: factory.into(), package }
    }

    /// It decodes or encodes streams of this kind: `video` or `audio`. Containers are none.
    pub fn is_of(&self, kind: &str) -> bool {
        self.of.starts_with(kind) && !CONTAINERS.contains(&self.of.as_str())
    }

    /// Without it there may be no pictures: it is not about sound, subtitles or other data beside them.
    pub fn hides_pictures(&self) -> bool {
        !BESIDE.iter().any(|kind| self.is_of(kind))
    }
}

/// The package under which `what` or how it begins stands.
fn package(table: &[(&'static str, &[&str])], what: &str) -> Option<&'static str> {
    let stands = |(_, beginnings): &&(&'static str, &[&str])| beginnings.iter().any(|begin| what.starts_with(begin));
    table.iter().find(stands).map(|(package, _)| *package)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: &str, detail: impl Into<glib::SendValue>, name: &str) -> gst::Message {
        let structure =
            gst::Structure::builder(MESSAGE).field("type", kind).field("detail", detail.into()).field("name", name);
        gst::message::Element::new(structure.build())
    }

    #[test]
    fn what_is_missing_is_told_with_the_package_that_brings_it() {
        gst::init().unwrap();
        let caps = |text: &str| text.parse::<gst::Caps>().unwrap();
        for (kind, detail, package) in [
            ("decoder", "video/x-h264, stream-format=(string)avc", LIBAV),
            ("decoder", "audio/mpeg, mpegversion=(int)4", LIBAV),
            ("decoder", "audio/mpeg, mpegversion=(int)1, layer=(int)3", GOOD),
            ("decoder", "video/mpegts, systemstream=(boolean)true", BAD),
            ("decoder", "video/mpeg, mpegversion=(int)2, systemstream=(boolean)false", LIBAV),
            ("decoder", "video/mpeg, mpegversion=(int)2, systemstream=(boolean)true", BAD),
            ("decoder", "video/quicktime", GOOD),
            ("decoder", "video/x-av1", BAD),
            ("decoder", "video/x-avi-unknown", ""),
            ("decoder", "video/x-gst-fourcc-YVYU", ""),
            ("encoder", "video/x-h264", UGLY),
            ("encoder", "audio/mpeg, mpegversion=(int)4", LIBAV),
        ] {
            let missing = Missing::of_message(&message(kind, &caps(detail), "name")).unwrap();
            assert_eq!(missing.package, package, "{kind} of {detail}");
        }
        for (kind, detail, package) in [
            ("element", "x264enc", UGLY),
            ("element", "avdec_h264", LIBAV),
            ("element", "h264parse", BAD),
            ("urisource", "rtsp", GOOD),
            ("urisource", "srt", BAD),
        ] {
            assert_eq!(Missing::of_message(&message(kind, detail, "name")).unwrap().package, package, "{detail}");
        }
    }

    #[test]
    fn a_sentence_names_the_thing_and_the_remedy() {
        gst::init().unwrap();
        let caps = "video/x-h264, profile=(string)main".parse::<gst::Caps>().unwrap();
        let missing = Missing::of_message(&message("decoder", &caps, "H.264 (Main Profile) decoder")).unwrap();
        assert_eq!(
            missing.to_string(),
            "GStreamer has no H.264 (Main Profile) decoder here: install the package gstreamer1.0-libav"
        );
        assert_eq!(
            Missing::element("mp4mux").to_string(),
            "GStreamer has no element mp4mux here: install the package gstreamer1.0-plugins-good"
        );
        assert!(missing.is_of("video") && !missing.is_of("audio"));
        let hides = |of: &str| Missing { of: of.into(), ..missing.clone() }.hides_pictures();
        assert_eq!(
            ["video/x-h264", "video/quicktime", "audio/x-m4a", "audio/mpeg", "text/x-raw"].map(hides),
            [true, true, true, false, false]
        );
        let other = gst::message::Element::new(gst::Structure::new_empty("level"));
        assert_eq!(Missing::of_message(&other), None);
    }
}
