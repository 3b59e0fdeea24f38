//! The boxes that MP4 and QuickTime files are made of (ISO/IEC 14496-12), as far as edit lists need them.

use std::ops::Range;

/// Where an edit list starts and what it says; times in the units of its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EditList {
    /// The whole box, header included.
    pub at: Range<usize>,
    /// Times take 8 bytes in place of 4.
    pub wide: bool,
    pub edits: Vec<Edit>,
}

/// A stretch of a track's media that plays, or a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edit {
    /// In the movie's timescale; 0: to the end of the track.
    pub duration: u64,
    /// Where it starts, in the track's own timescale; `None`: nothing plays.
    pub media_time: Option<u64>,
    pub rate: u32,
}

/// Kind and body of every box directly in `within`. Ends where a box is broken.
pub fn boxes(bytes: &[u8], within: Range<usize>) -> impl Iterator<Item = ([u8; 4], Range<usize>)> + '_ {
    let (mut at, end) = (within.start, within.end.min(bytes.len()));
    std::iter::from_fn(move || {
        let kind: [u8; 4] = bytes.get(at + 4..at + 8)?.try_into().ok()?;
        let (header, size) = match number(bytes, at, 4)? {
            0 => (8, (end - at) as u64),
            1 => (16, number(bytes, at + 8, 8)?),
            size => (8, size),
        };
        let size = usize::try_from(size).ok().filter(|&size| size >= header && size <= end.saturating_sub(at))?;
        let body = at + header..at + size;
        at += size;
        Some((kind, body))
    })
}

/// Body of the first box at the end of a path of kinds.
pub fn find(bytes: &[u8], within: Range<usize>, path: &[&[u8; 4]]) -> Option<Range<usize>> {
    path.iter()
        .try_fold(within, |within, kind| boxes(bytes, within).find(|(found, _)| found == *kind).map(|(_, body)| body))
}

/// A big-endian number of 4 or 8 bytes.
pub fn number(bytes: &[u8], at: usize, width: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(width)?)?;
    Some(bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

/// Writes one.
pub fn put(bytes: &mut [u8], at: usize, width: usize, number: u64) {
    bytes[at..at + width].copy_from_slice(&number.to_be_bytes()[8 - width..]);
}

/// Timescale of a header box (`mvhd` or `mdhd`), and where its duration stands and how wide it is.
pub fn clock(bytes: &[u8], header: &Range<usize>) -> Option<(u64, usize, usize)> {
    let (timescale, duration, width) = if bytes.get(header.start)? == &1 { (20, 24, 8) } else { (12, 16, 4) };
    let timescale = number(bytes, header.start + timescale, 4).filter(|&timescale| timescale > 0)?;
    let at = header.start + duration;
    (at + width <= header.end).then_some((timescale, at, width))
}

impl EditList {
    /// Of the body of a `trak` box.
    pub fn of(bytes: &[u8], track: Range<usize>) -> Option<Self> {
        let body = find(bytes, track, &[b"edts", b"elst"])?;
        let wide = bytes.get(body.start)? == &1;
        let width = if wide { 8 } else { 4 };
        let count = number(bytes, body.start + 4, 4)?.min((body.len() / (2 * width + 4)) as u64);
        let edit = |i: u64| {
            let at = body.start + 8 + i as usize * (2 * width + 4);
            let (none, media_time) = (u64::MAX >> (64 - 8 * width), number(bytes, at + width, width)?);
            let media_time = (media_time != none).then_some(media_time);
            Some(Edit {
                duration: number(bytes, at, width)?,
                media_time,
                rate: number(bytes, at + 2 * width, 4)? as u32,
            })
        };
        let edits = (0..count).map_while(edit).collect();
        Some(Self { at: body.start - 8..body.end, wide, edits })
    }

    /// A part of the track's media before its first edit is hidden.
    pub fn hides_start(&self) -> bool {
        self.edits.iter().any(|edit| edit.media_time.is_some_and(|time| time > 0))
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn a_box(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32 + 8).to_be_bytes(), &kind[..], body].concat()
    }

    /// Of 32-bit words.
    pub fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn an_edit_list_is_read_in_both_widths() {
        let narrow = a_box(b"elst", &words(&[0, 2, 500, u32::MAX, 0x1_0000, 8_000, 32_256, 0x1_0000]));
        let wide = a_box(b"elst", &words(&[0x0100_0000, 1, 0, 8_000, 0, 32_256, 0x1_0000]));
        let edit = Edit { duration: 8_000, media_time: Some(32_256), rate: 0x1_0000 };
        let pause = Edit { duration: 500, media_time: None, rate: 0x1_0000 };
        for (list, edits, is_wide) in [(narrow, vec![pause, edit], false), (wide, vec![edit], true)] {
            let track = [a_box(b"tkhd", &[0; 20]), a_box(b"edts", &list)].concat();
            let found = EditList::of(&track, 0..track.len()).unwrap();
            assert_eq!((&found.edits, found.wide, found.hides_start()), (&edits, is_wide, true));
            assert_eq!(track[found.at], list);
        }
    }

    #[test]
    fn broken_boxes_end_the_walk() {
        let mut bytes = [a_box(b"free", &[0; 4]), a_box(b"moov", &[0; 8])].concat();
        let kinds = |bytes: &[u8]| boxes(bytes, 0..bytes.len()).map(|(kind, _)| kind).collect::<Vec<_>>();
        assert_eq!(kinds(&bytes), [*b"free", *b"moov"]);
        for size in [3u32, 7, 17, u32::MAX] {
            put(&mut bytes, 12, 4, u64::from(size));
            assert_eq!(kinds(&bytes), [*b"free"], "{size}");
        }
        // 0: to the end.
        put(&mut bytes, 12, 4, 0);
        assert_eq!(kinds(&bytes), [*b"free", *b"moov"]);
    }
}
