//! Lets MP4 and QuickTime files with an edit list play to their end.
//!
//! An edit list can hide the start of a track: phones and cutters trim a file so, as pictures can only be decoded from a key frame
//! on. qtdemux (1.22) stops at the end of the file's told length, but counts from the start of what is hidden: as much is missing at
//! the end. Where it reads no length, it plays every track to the end of its edits.
//!
//! It decodes what is hidden only where it pulls its bytes. From a web server they are pushed to it, unless a store between them lets it
//! pull.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use gst::prelude::*;

use crate::iso_boxes::{EditList, boxes, clock, find, number, put};

const DEMUXER: &str = "qtdemux";
/// Bytes from a web server that are kept in memory at a time.
const STORE: u64 = 64 << 20;

/// Length of a file that its demuxer was not to know.
#[derive(Clone, Debug, Default)]
pub struct Told(Arc<AtomicU64>);

impl Told {
    /// ns; `None`: ask the pipeline.
    pub fn duration(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|&duration| duration > 0)
    }
}

/// Hides the length of files with edit lists from every demuxer that gets into `pipeline` from now on, and lets those behind an
/// `uridecodebin` pull what comes from a web server.
pub fn play_to_the_end(pipeline: &gst::Pipeline) -> Told {
    let told = Told::default();
    let tell = told.clone();
    pipeline.connect_deep_element_added(move |_, _, element| {
        let factory = element.factory().map(|factory| factory.name()).unwrap_or_default();
        if factory == "uridecodebin" {
            // Of the formats that can be played from anywhere, MP4 among them.
            element.set_property("download", true);
            element.set_property("ring-buffer-max-size", STORE);
        }
        let Some(sink) = element.static_pad("sink").filter(|_| factory == DEMUXER) else { return };
        let tell = tell.clone();
        sink.add_probe(gst::PadProbeType::PULL | gst::PadProbeType::BUFFER, move |_, info| {
            let Some(buffer) = info.buffer_mut() else { return gst::PadProbeReturn::Ok };
            let movie =
                buffer.map_readable().ok().filter(|map| map.get(4..8) == Some(&b"moov"[..])).map(|map| map.to_vec());
            let Some(mut movie) = movie else { return gst::PadProbeReturn::Ok };
            if let Some(duration) = hide_length(&mut movie) {
                tell.0.store(duration, Ordering::Relaxed);
                let mut new = gst::Buffer::from_mut_slice(movie);
                let fields = new.make_mut();
                fields.set_offset(buffer.offset());
                fields.set_offset_end(buffer.offset_end());
                *buffer = new;
            }
            gst::PadProbeReturn::Ok
        });
    });
    told
}

/// An element that lets a demuxer pull what comes from this URI; `None`: nothing is needed.
pub fn store(uri: &str) -> Option<Result<gst::Element, glib::BoolError>> {
    let is_web = uri.split_once("://").is_some_and(|(scheme, _)| scheme.to_ascii_lowercase().starts_with("http"));
    is_web.then(|| {
        let store = gst::ElementFactory::make("queue2").property("ring-buffer-max-size", STORE);
        store
            .property("max-size-bytes", STORE as u32)
            .property("max-size-buffers", 0u32)
            .property("max-size-time", 0u64)
            .build()
    })
}

/// Sets the length in a `moov` box to unknown if one of its tracks has a hidden start. The length that it told, ns.
fn hide_length(movie: &mut [u8]) -> Option<u64> {
    let whole = find(movie, 0..movie.len(), &[b"moov"])?;
    let tracks: Vec<_> =
        boxes(movie, whole.clone()).filter(|(kind, _)| kind == b"trak").map(|(_, body)| body).collect();
    if !tracks.into_iter().filter_map(|track| EditList::of(movie, track)).any(|list| list.hides_start()) {
        return None;
    }
    let header = find(movie, whole.clone(), &[b"mvhd"])?;
    let (timescale, at, width) = clock(movie, &header)?;
    let mut duration = number(movie, at, width)?;
    put(movie, at, width, 0);
    // Fragmented files tell theirs here.
    if let Some(header) = find(movie, whole, &[b"mvex", b"mehd"]) {
        let width = if movie.get(header.start)? == &1 { 8 } else { 4 };
        duration = duration.max(number(movie, header.start + 4, width)?);
        put(movie, header.start + 4, width, 0);
    }
    u64::try_from(u128::from(duration) * 1_000_000_000 / u128::from(timescale)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iso_boxes::tests::{a_box, words};

    fn movie(media_time: u32) -> Vec<u8> {
        let header = a_box(b"mvhd", &words(&[0, 0, 0, 1_000, 8_000, 0]));
        let list = a_box(b"elst", &words(&[0, 1, 8_000, media_time, 0x1_0000]));
        a_box(b"moov", &[header, a_box(b"trak", &a_box(b"edts", &list))].concat())
    }

    #[test]
    fn only_of_trimmed_files_the_length_is_hidden() {
        let mut whole = movie(0);
        assert_eq!(hide_length(&mut whole), None);
        assert_eq!(whole, movie(0));
        let mut trimmed = movie(32_256);
        assert_eq!(hide_length(&mut trimmed), Some(8_000_000_000));
        let changed: Vec<usize> = (0..trimmed.len()).filter(|&i| trimmed[i] != movie(32_256)[i]).collect();
        // The last two bytes of 8,000 = 0x1F40.
        assert_eq!((changed, &trimmed[32..36]), (vec![34, 35], &[0; 4][..]));
        assert_eq!(hide_length(&mut movie(1)[..40].to_vec()), None);
    }
}
