//! Which container and codecs a file gets, by its name.

use std::path::{Path, PathBuf};

use gst_pbutils::prelude::*;
use thiserror::Error;

use super::{Shown, ending::end_in_time};

/// Containers by the file name's extension.
const KNOWN: [(&str, Container); 5] = [
    ("mp4", Container { muxer: ("mp4mux", "video/quicktime,variant=iso"), video: H264, pictures: &PLAIN, audio: AAC }),
    ("m4v", Container { muxer: ("mp4mux", "video/quicktime,variant=iso"), video: H264, pictures: &PLAIN, audio: AAC }),
    ("mov", Container { muxer: ("qtmux", "video/quicktime,variant=apple"), video: H264, pictures: &PLAIN, audio: AAC }),
    ("mkv", Container { muxer: ("matroskamux", "video/x-matroska"), video: H264, pictures: &ALL, audio: OPUS }),
    ("webm", Container { muxer: ("webmmux", "video/webm"), video: VP9, pictures: &PLAIN, audio: OPUS }),
];
/// The one format that every browser, phone and television plays: 8 bits, 4:2:0.
const PLAIN: [&str; 1] = ["I420"];
const HDR: [&str; 1] = ["I420_10LE"];
/// Those that H.264 can hold.
const ALL: [&str; 6] = ["I420", "Y42B", "Y444", "I420_10LE", "I422_10LE", "Y444_10LE"];
const H264: &str = "video/x-h264";
/// The codec that keeps 10 bits, and in which players expect HDR.
const HEVC: &str = "video/x-h265,profile=main-10";
/// Its encoder.
pub const HDR_ENCODER: &str = "x265enc";
const VP9: &str = "video/x-vp9";
const AAC: &str = "audio/mpeg,mpegversion=4";
const OPUS: &str = "audio/x-opus";

/// The AAC encoder of choice: it keeps more channels than two.
const AAC_ENCODER: &str = "avenc_aac";
const AAC_FRAME: u64 = 1_024;

/// What encoders and muxers are set to: good quality at a bearable speed. Those that are not there, or are other ones, stay as they
/// are.
const SETTINGS: [(&str, &[(&str, &str)]); 5] = [
    ("x264enc", &[("speed-preset", "veryfast"), ("pass", "qual"), ("quantizer", "20")]),
    (HDR_ENCODER, &[("speed-preset", "veryfast"), ("option-string", "crf=20"), ("log-level", "error")]),
    (
        "vp9enc",
        &[
            ("end-usage", "cq"),
            ("cq-level", "28"),
            ("target-bitrate", "0"),
            ("deadline", "1"),
            ("cpu-used", "6"),
            ("row-mt", "true"),
        ],
    ),
    ("opusenc", &[("bitrate", "128000")]),
    (AAC_ENCODER, &[("bitrate", "160000")]),
];

/// A file name tells no container.
#[derive(Debug, Error)]
#[error("{path} has an ending that names no container: use one of {}", KNOWN.map(|(extension, _)| extension).join(", "))]
pub struct UnknownContainer {
    path: PathBuf,
}

/// A container with the codecs that its players expect, as caps.
#[derive(Clone, Copy)]
pub struct Container {
    /// Element, and caps.
    muxer: (&'static str, &'static str),
    video: &'static str,
    /// Formats of the pictures that its players expect.
    pictures: &'static [&'static str],
    audio: &'static str,
}

impl Container {
    /// Of a file name.
    ///
    /// # Errors
    /// [`UnknownContainer`]
    pub fn of(path: &Path) -> Result<Self, UnknownContainer> {
        let extension = path.extension().unwrap_or_default();
        let found = KNOWN.iter().find(|(known, _)| extension.eq_ignore_ascii_case(known));
        found.map(|(_, container)| *container).ok_or_else(|| UnknownContainer { path: path.into() })
    }

    /// The same for HDR; `None`: it holds none.
    pub fn of_hdr(self) -> Option<Self> {
        (self.video == H264).then_some(Self { video: HEVC, pictures: &HDR, ..self })
    }

    /// Its codec needs an even width and height: chroma is stored for two pixels by two.
    pub fn wants_even_sizes(&self) -> bool {
        self.video != VP9
    }

    /// It can hide the start of what it holds.
    pub fn has_edits(&self) -> bool {
        ["mp4mux", "qtmux"].contains(&self.muxer())
    }

    /// Formats that pictures may have in it, as GStreamer calls them.
    pub fn pictures(&self) -> &'static [&'static str] {
        self.pictures
    }

    /// The element that makes it.
    pub fn muxer(&self) -> &'static str {
        self.muxer.0
    }

    /// For `encodebin`. Frames come when they come: no rate is forced on them.
    pub fn profile(&self) -> gst_pbutils::EncodingContainerProfile {
        let [muxer, video, audio] = [self.muxer.1, self.video, self.audio].map(caps);
        gst_pbutils::EncodingContainerProfile::builder(&muxer)
            .name("desumnet")
            .add_profile(gst_pbutils::EncodingVideoProfile::builder(&video).variable_framerate(true).build())
            .add_profile(gst_pbutils::EncodingAudioProfile::builder(&audio).build())
            .build()
    }
}

/// Has each `encodebin` that is made from now on take the encoder of choice: it goes by rank.
pub fn prefer_encoder() {
    if let Some(factory) = gst::ElementFactory::find(AAC_ENCODER) {
        factory.set_rank(gst::Rank::PRIMARY + 1);
    }
}

/// Samples of a frame, if the element is an encoder whose delay, a frame, is to be made up for.
pub fn delay(element: &gst::Element) -> Option<u64> {
    (element.factory()?.name() == AAC_ENCODER).then_some(AAC_FRAME)
}

fn caps(text: &str) -> gst::Caps {
    text.parse().expect("a constant of this file")
}

/// Gives an encoder or a muxer its settings. The last picture that comes plays as long as `shown` says.
pub(super) fn set_up(element: &gst::Element, shown: &Shown) {
    let Some(factory) = element.factory() else { return };
    if KNOWN.iter().any(|(_, container)| container.has_edits() && factory.name() == container.muxer()) {
        let shown = shown.clone();
        element.connect_pad_added(move |_, pad| {
            if pad.name().starts_with("video") {
                end_in_time(pad, &shown);
            }
        });
    }
    let settings = SETTINGS.iter().find(|(name, _)| factory.name() == *name);
    for (property, value) in settings.into_iter().flat_map(|(_, settings)| *settings) {
        if element.find_property(property).is_some() {
            element.set_property_from_str(property, value);
        }
    }
}
