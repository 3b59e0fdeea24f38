//! Hides the start of an MP4 or QuickTime file by its edit lists.

use std::{fs::File, io, os::unix::fs::FileExt};

use crate::iso_boxes::{Edit, EditList, boxes, clock, find, number, put};

/// Where tracks tell their length, by the version of their header.
const TRACK_DURATION: [(usize, usize); 2] = [(20, 4), (28, 8)];

/// Has a finished file play without its first `hidden` ns, which stay in it for the decoder. What its index does not tell stays.
///
/// # Errors
/// What the system says.
pub fn hide_start(file: &File, hidden: u64) -> io::Result<()> {
    let end = file.metadata()?.len();
    let mut at = 0;
    while at + 16 <= end {
        let mut header = [0; 16];
        file.read_exact_at(&mut header, at)?;
        let size = match number(&header, 0, 4).unwrap_or_default() {
            0 => end - at,
            1 => number(&header, 8, 8).unwrap_or_default(),
            size => size,
        };
        if size < 8 || size > end - at {
            break;
        }
        if header[4..8] == *b"moov" {
            let mut movie = vec![0; size as usize];
            file.read_exact_at(&mut movie, at)?;
            hide(&mut movie, hidden);
            return file.write_all_at(&movie, at);
        }
        at += size;
    }
    Ok(())
}

/// The same in a `moov` box.
fn hide(movie: &mut [u8], hidden: u64) -> Option<()> {
    let whole = find(movie, 0..movie.len(), &[b"moov"])?;
    let (timescale, at, width) = clock(movie, &find(movie, whole.clone(), &[b"mvhd"])?)?;
    let hidden_units = units(hidden, timescale);
    let less = |movie: &mut [u8], at: usize, width: usize| {
        let duration = number(movie, at, width)?;
        put(movie, at, width, duration.saturating_sub(hidden_units));
        Some(())
    };
    less(movie, at, width)?;
    let tracks: Vec<_> = boxes(movie, whole).filter(|(kind, _)| kind == b"trak").map(|(_, body)| body).collect();
    for track in tracks {
        let header = find(movie, track.clone(), &[b"tkhd"])?;
        let (offset, width) = TRACK_DURATION[usize::from(*movie.get(header.start)?).min(1)];
        less(movie, header.start + offset, width)?;
        let (media, _, _) = clock(movie, &find(movie, track.clone(), &[b"mdia", b"mdhd"])?)?;
        if let Some(list) = EditList::of(movie, track) {
            write(movie, &list, &later(&list.edits, hidden, timescale, media));
        }
    }
    Some(())
}

fn units(ns: u64, timescale: u64) -> u64 {
    ((u128::from(ns) * u128::from(timescale) + 500_000_000) / 1_000_000_000) as u64
}

/// Edits that begin to play `hidden` ns later.
fn later(edits: &[Edit], hidden: u64, timescale: u64, media: u64) -> Vec<Edit> {
    let mut left = hidden;
    let shorter = |edit: &Edit| {
        let length = (u128::from(edit.duration) * 1_000_000_000 / u128::from(timescale)) as u64;
        if edit.duration > 0 && length <= left {
            left -= length;
            return None;
        }
        let skipped = std::mem::take(&mut left);
        Some(Edit {
            duration: edit.duration.saturating_sub(units(skipped, timescale)),
            media_time: edit.media_time.map(|time| time + units(skipped, media)),
            ..*edit
        })
    };
    edits.iter().filter_map(shorter).collect()
}

/// Writes no more edits than there were in place of a list; what is left of its room is free.
fn write(movie: &mut [u8], list: &EditList, edits: &[Edit]) {
    let width = if list.wide { 8 } else { 4 };
    let size = 16 + edits.len() * (2 * width + 4);
    let at = list.at.start;
    put(movie, at, 4, size as u64);
    put(movie, at + 12, 4, edits.len() as u64);
    for (i, edit) in edits.iter().enumerate() {
        let at = at + 16 + i * (2 * width + 4);
        put(movie, at, width, edit.duration);
        put(movie, at + width, width, edit.media_time.unwrap_or(u64::MAX));
        put(movie, at + 2 * width, 4, u64::from(edit.rate));
    }
    let free = list.at.len() - size;
    if free >= 8 {
        put(movie, at + size, 4, free as u64);
        movie[at + size + 4..at + size + 8].copy_from_slice(b"free");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iso_boxes::tests::{a_box, words};

    const ONE: u32 = 0x1_0000;

    fn track(media: u32, edits: &[[u32; 3]]) -> Vec<u8> {
        let list = [&[0, edits.len() as u32][..], edits.as_flattened()].concat();
        let header = a_box(b"tkhd", &words(&[7, 0, 0, 1, 0, 10_500]));
        let media = a_box(b"mdia", &a_box(b"mdhd", &words(&[0, 0, 0, media, 0, 0])));
        a_box(b"trak", &[header, a_box(b"edts", &a_box(b"elst", &words(&list))), media].concat())
    }

    #[test]
    fn what_is_hidden_goes_from_every_track() {
        // Pictures from the beginning; sound after 2.5 s.
        let pictures = track(12_800, &[[10_500, 1_024, ONE]]);
        let sound = track(48_000, &[[2_500, u32::MAX, ONE], [8_000, 1_024, ONE]]);
        let header = a_box(b"mvhd", &words(&[0, 0, 0, 1_000, 10_500, 0]));
        let movie = a_box(b"moov", &[header, pictures, sound].concat());
        let file = tempfile::tempfile().unwrap();
        let data = a_box(b"mdat", &[1; 100]);
        file.write_all_at(&[&data[..], &movie].concat(), 0).unwrap();
        hide_start(&file, 2_500_000_000).unwrap();
        let mut trimmed = vec![0; movie.len()];
        file.read_exact_at(&mut trimmed, data.len() as u64).unwrap();
        let whole = find(&trimmed, 0..trimmed.len(), &[b"moov"]).unwrap();
        let (_, at, width) = clock(&trimmed, &find(&trimmed, whole.clone(), &[b"mvhd"]).unwrap()).unwrap();
        assert_eq!(number(&trimmed, at, width), Some(8_000));
        let tracks: Vec<_> = boxes(&trimmed, whole).filter(|(kind, _)| kind == b"trak").map(|(_, body)| body).collect();
        let edit = |media_time| vec![Edit { duration: 8_000, media_time: Some(media_time), rate: ONE }];
        for (body, expected) in tracks.into_iter().zip([edit(1_024 + 32_000), edit(1_024)]) {
            assert_eq!(EditList::of(&trimmed, body.clone()).unwrap().edits, expected);
            let header = find(&trimmed, body.clone(), &[b"tkhd"]).unwrap();
            assert_eq!(number(&trimmed, header.start + 20, 4), Some(8_000));
            // Nothing after the list has moved.
            assert!(find(&trimmed, body, &[b"mdia", b"mdhd"]).is_some());
        }
    }

    #[test]
    fn a_file_without_an_index_stays_as_it_is() {
        let file = tempfile::tempfile().unwrap();
        let data = a_box(b"mdat", &[1; 100]);
        file.write_all_at(&data, 0).unwrap();
        hide_start(&file, 1_000).unwrap();
        let mut after = vec![0; data.len()];
        file.read_exact_at(&mut after, 0).unwrap();
        assert_eq!(after, data);
    }
}
