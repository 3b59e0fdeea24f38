//! Mends what `matroskamux` writes of tracks, for want of properties: untitled ones are named `Video` and `Audio`, all of them are
//! the default one, and those of unknown language are English.
//!
//! No byte moves: what a track gets takes the place of the name that it loses, or of the zeros before the size of its entry.

use std::{collections::HashSet, fs::File, io, ops::Range, os::unix::fs::FileExt};

use gst::prelude::*;

/// The tracks lie within the first bytes of a file.
const HEAD: u64 = 1 << 20;
const EBML: u32 = 0x1A45_DFA3;
const SEGMENT: u32 = 0x1853_8067;
const CLUSTER: u32 = 0x1F43_B675;
const TRACKS: u32 = 0x1654_AE6B;
const ENTRY: u32 = 0xAE;
const TYPE: u32 = 0x83;
const DEFAULT: u32 = 0x88;
const NAME: u32 = 0x536E;
const LANGUAGE: u32 = 0x0022_B59C;
/// `matroskamux` writes every entry's size in eight bytes.
const LONG: usize = 9;
/// The names that it gives.
const NAMES: [&[u8]; 2] = [b"Video\0", b"Audio\0"];
const NOT_DEFAULT: [u8; 3] = [0x88, 0x81, 0];
const UNKNOWN_LANGUAGE: [u8; 7] = [0x22, 0xB5, 0x9C, 0x83, b'u', b'n', b'd'];

/// Lets no title that `matroskamux` gave a track of the source pass a pad: it would be written again, as somebody's own.
pub fn forget_titles(pad: &gst::Pad) {
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, |_, info| {
        if let Some(event) = info.event_mut()
            && let gst::EventView::Tag(tag) = event.view()
            && let Some(title) = tag.tag().get::<gst::tags::Title>()
            && NAMES.iter().any(|name| name.strip_suffix(b"\0") == Some(title.get().as_bytes()))
        {
            let mut tags = tag.tag_owned();
            tags.make_mut().remove::<gst::tags::Title>();
            *event = gst::event::Tag::new(tags);
        }
        gst::PadProbeReturn::Ok
    });
}

/// Mends a finished file. One of another make stays as it is.
pub fn mend(file: &File) -> io::Result<()> {
    let mut head = vec![0; file.metadata()?.len().min(HEAD) as usize];
    file.read_exact_at(&mut head, 0)?;
    let Some(tracks) = tracks(&head) else { return Ok(()) };
    let mut entries = &mut head[tracks.clone()];
    let mut kinds = HashSet::new();
    while let Some(entry) = Element::of(entries).filter(|entry| entry.end <= entries.len()) {
        let (this, rest) = std::mem::take(&mut entries).split_at_mut(entry.end);
        if (entry.id, entry.start) == (ENTRY, LONG) {
            mend_entry(this, &mut kinds);
        }
        entries = rest;
    }
    file.write_all_at(&head[tracks.clone()], tracks.start as u64)
}

/// Where the entries of the tracks are.
fn tracks(head: &[u8]) -> Option<Range<usize>> {
    let mut at = 0;
    loop {
        let element = Element::of(head.get(at..)?).filter(|element| at > 0 || element.id == EBML)?;
        let inside = at + element.start..at.checked_add(element.end)?;
        match element.id {
            TRACKS => return Some(inside).filter(|inside| inside.end <= head.len()),
            CLUSTER => return None,
            SEGMENT => at = inside.start,
            _ => at = inside.end,
        }
    }
}

/// The first of its kind is the default one. `kinds` are those that were there before.
fn mend_entry(entry: &mut [u8], kinds: &mut HashSet<u8>) {
    let inside = &mut entry[LONG..];
    let (mut at, mut kind, mut name, mut has_default, mut has_language) = (0, 0, None, false, false);
    while let Some(element) = Element::of(&inside[at..]).filter(|element| at + element.end <= inside.len()) {
        let content = at + element.start..at + element.end;
        match element.id {
            TYPE => kind = inside[content.end - 1],
            DEFAULT => has_default = true,
            LANGUAGE => has_language = true,
            NAME if NAMES.contains(&&inside[content.clone()]) => name = Some(at..content.end),
            _ => {}
        }
        at += element.end;
    }
    if let Some(mut place) = name {
        if !has_language && (place.len() == UNKNOWN_LANGUAGE.len() || place.len() >= UNKNOWN_LANGUAGE.len() + 2) {
            inside[place.start..][..UNKNOWN_LANGUAGE.len()].copy_from_slice(&UNKNOWN_LANGUAGE);
            place.start += UNKNOWN_LANGUAGE.len();
        }
        if let [id, size, rest @ ..] = &mut inside[place] {
            // An element that is skipped.
            (*id, *size) = (0xEC, 0x80 | rest.len() as u8);
            rest.fill(0);
        }
    }
    if !kinds.insert(kind) && !has_default {
        // The size in five bytes leaves room for three.
        let size = (1 << 35) | (entry.len() - LONG + NOT_DEFAULT.len()) as u64;
        entry[1..6].copy_from_slice(&size.to_be_bytes()[3..]);
        entry[6..LONG].copy_from_slice(&NOT_DEFAULT);
    }
}

/// Where an element's content begins and ends, from its first byte on.
struct Element {
    id: u32,
    start: usize,
    end: usize,
}

impl Element {
    fn of(bytes: &[u8]) -> Option<Self> {
        let id_length = length(bytes, 4)?;
        let id = bytes[..id_length].iter().fold(0, |id, byte| id << 8 | u32::from(*byte));
        let size_bytes = &bytes[id_length..];
        let size_length = length(size_bytes, 8)?;
        let size = size_bytes[..size_length].iter().fold(0_u64, |size, byte| size << 8 | u64::from(*byte));
        let size = size & ((1 << (7 * size_length)) - 1);
        let start = id_length + size_length;
        Some(Self { id, start, end: start.saturating_add(usize::try_from(size).ok()?) })
    }
}

/// Bytes of a number of variable length, at most `most`: one more than its first byte has leading zeros.
fn length(bytes: &[u8], most: usize) -> Option<usize> {
    let length = bytes.first()?.leading_zeros() as usize + 1;
    (length <= most && length <= bytes.len()).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With its size in eight bytes.
    fn made(id: &[u8], inside: &[&[u8]]) -> Vec<u8> {
        let inside = inside.concat();
        let size = 1 << 56 | inside.len() as u64;
        [id, &size.to_be_bytes(), &inside].concat()
    }

    fn short(id: &[u8], inside: &[u8]) -> Vec<u8> {
        [id, &[0x80 | inside.len() as u8], inside].concat()
    }

    #[test]
    fn untitled_tracks_have_no_name_and_the_first_of_a_kind_is_the_default() {
        let kind = |kind: u8| short(&[0x83], &[kind]);
        let name = |name: &[u8]| short(&[0x53, 0x6E], name);
        let german = short(&[0x22, 0xB5, 0x9C], b"ger");
        let entries = [
            made(&[0xAE], &[&kind(1), &name(b"Video\0")]),
            made(&[0xAE], &[&kind(2), &name(b"Audio\0")]),
            made(&[0xAE], &[&kind(2), &german, &name(b"Audio\0")]),
            made(&[0xAE], &[&kind(2), &name(b"Commentary\0")]),
        ];
        let head = made(&[0x1A, 0x45, 0xDF, 0xA3], &[&short(&[0x42, 0x82], b"matroska")]);
        // Its size is not known, as in a file that was never finished.
        let segment = [&[0x18, 0x53, 0x80, 0x67, 0x01][..], &[0xFF; 7]].concat();
        let (info, tracks) =
            (short(&[0x15, 0x49, 0xA9, 0x66], b"info"), made(&[0x16, 0x54, 0xAE, 0x6B], &[&entries.concat()]));
        let cluster = made(&[0x1F, 0x43, 0xB6, 0x75], &[b"frames"]);
        let file = tempfile::tempfile().unwrap();
        let before = [head, segment, info, tracks, cluster].concat();
        file.write_all_at(&before, 0).unwrap();
        mend(&file).unwrap();
        let mut after = vec![0; before.len()];
        file.read_exact_at(&mut after, 0).unwrap();
        let unknown = [&UNKNOWN_LANGUAGE[..], &[0xEC, 0x80]].concat();
        let later = |inside: &[&[u8]]| {
            let inside = inside.concat();
            [&[0xAE, 0x08, 0, 0, 0, inside.len() as u8 + 3, 0x88, 0x81, 0], &inside[..]].concat()
        };
        let mended = [
            made(&[0xAE], &[&kind(1), &unknown]),
            made(&[0xAE], &[&kind(2), &unknown]),
            later(&[&kind(2), &german, &[0xEC, 0x87, 0, 0, 0, 0, 0, 0, 0]]),
            later(&[&kind(2), &name(b"Commentary\0")]),
        ];
        let at = before.windows(entries[0].len()).position(|bytes| bytes == entries[0]).unwrap();
        let expected = [&before[..at], &mended.concat(), &before[at + entries.concat().len()..]].concat();
        assert_eq!(after, expected);
    }

    #[test]
    fn other_files_stay_as_they_are() {
        for bytes in [&b""[..], b"RIFF....", &[0x1A, 0x45, 0xDF, 0xA3, 0x88], &[0; 64], &[0xFF; 64]] {
            let file = tempfile::tempfile().unwrap();
            file.write_all_at(bytes, 0).unwrap();
            mend(&file).unwrap();
            let mut after = vec![0; bytes.len()];
            file.read_exact_at(&mut after, 0).unwrap();
            assert_eq!(after, bytes);
        }
    }
}
