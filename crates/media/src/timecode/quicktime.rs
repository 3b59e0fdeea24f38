//! The start timecode of QuickTime and MP4 files, of their track `tmcd`, which GStreamer does not read (QuickTime File Format
//! Specification, Timecode Media).

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use super::{Number, Start, Timecode};

/// The first bytes of such files.
const FIRST: [&[u8; 4]; 8] = [b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"uuid"];
/// A larger table of contents, bytes, is not looked into.
const MOST: u64 = 512 << 20;
/// Flag: numbers are dropped.
const DROP: u32 = 1;
/// Flag: the track holds a plain counter and no timecode.
const COUNTER: u32 = 8;

/// The timecode that the file's first picture has; `None` where it is no such file or has none.
pub fn start(path: &Path) -> Option<Start> {
    // A pipe would be eaten up.
    let mut file = File::open(path).ok().filter(|file| file.metadata().is_ok_and(|there| there.is_file()))?;
    let contents = contents(&mut file).ok()??;
    let track = boxes(&contents).filter(|(name, _)| name == b"trak").find_map(|(_, track)| Track::of(track))?;
    let mut counted = [0; 4];
    file.seek(SeekFrom::Start(track.first_sample)).and_then(|_| file.read_exact(&mut counted)).ok()?;
    track.start(u32::from_be_bytes(counted))
}

/// The content of the box `moov`.
fn contents(file: &mut File) -> io::Result<Option<Vec<u8>>> {
    let mut at = 0;
    loop {
        let mut head = [0; 16];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut head[..8])?;
        let (size, name) = (u32_at(&head, 0).map(u64::from), &head[4..8]);
        if at == 0 && !FIRST.iter().any(|first| *first == name) {
            return Ok(None);
        }
        let is_moov = name == b"moov";
        let (size, header) = match size {
            Some(1) => {
                file.read_exact(&mut head[8..])?;
                (u64_at(&head, 8).unwrap_or(0), 16)
            }
            size => (size.unwrap_or(0), 8),
        };
        if is_moov && size <= MOST {
            let mut contents = Vec::new();
            file.take(size.saturating_sub(header)).read_to_end(&mut contents)?;
            return Ok(Some(contents));
        }
        // The last box may have no size, and no table of contents comes behind it.
        if size < header {
            return Ok(None);
        }
        at = at.saturating_add(size);
    }
}

/// The track of timecodes.
#[derive(Debug, PartialEq, Eq)]
struct Track {
    flags: u32,
    /// Frames that a second is counted as.
    second: u64,
    /// Where the number of the first frame is in the file.
    first_sample: u64,
    /// Frames before the one that is shown first.
    cut_off: u64,
}

impl Track {
    fn of(track: &[u8]) -> Option<Self> {
        let media = find(track, &[b"mdia"])?;
        if find(media, &[b"hdlr"])?.get(8..12)? != b"tmcd" {
            return None;
        }
        let table = find(media, &[b"minf", b"stbl"])?;
        let entry = find(table, &[b"stsd"])?.get(8..)?;
        let first_sample = match (find(table, &[b"stco"]), find(table, &[b"co64"])) {
            (Some(offsets), _) => u32_at(offsets, 8)?.into(),
            (None, offsets) => u64_at(offsets?, 8)?,
        };
        let (scale, frame) = (u64::from(u32_at(entry, 24)?), u64::from(u32_at(entry, 28)?));
        let media_scale =
            find(media, &[b"mdhd"]).and_then(|head| u32_at(head, if head.first()? == &1 { 20 } else { 12 }));
        let cut_off = find(track, &[b"edts", b"elst"]).and_then(first_edit).unwrap_or(0);
        let (media_scale, per_frame) = (u64::from(media_scale?), u128::from(frame) * u128::from(media_scale?));
        let cut_off = (u128::from(cut_off) * u128::from(scale)).checked_div(per_frame).filter(|_| media_scale > 0);
        let flags = u32_at(entry, 20)?;
        Some(Self { flags, second: (*entry.get(32)?).into(), first_sample, cut_off: cut_off?.try_into().ok()? })
    }

    fn start(&self, counted: u32) -> Option<Start> {
        let (drop, second) = (self.flags & DROP != 0, self.second);
        let dropped = match (drop, second) {
            (true, 30) => 2,
            (true, 60) => 4,
            _ => 0,
        };
        let number: Number = match second {
            0 => return None,
            _ if self.flags & COUNTER != 0 => return None,
            _ => Timecode { second, dropped }.of(u64::from(counted) + self.cut_off),
        };
        Some(Start { number, second: Some(second) })
    }
}

/// Media time at which an edit list begins to show something.
fn first_edit(list: &[u8]) -> Option<u64> {
    let long = list.first()? == &1;
    let entries = list.get(8..)?.chunks_exact(if long { 20 } else { 12 });
    let mut times = entries.filter_map(|entry| {
        if long {
            u64_at(entry, 8).map(|time| time as i64)
        } else {
            u32_at(entry, 4).map(|time| i64::from(time as i32))
        }
    });
    // Nothing is shown at first where it is negative.
    times.find_map(|time| u64::try_from(time).ok())
}

/// The boxes in a box: names and what is in them.
fn boxes(mut bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let name: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
        let (size, header) = match u32_at(bytes, 0)? {
            0 => (bytes.len(), 8),
            1 => (u64_at(bytes, 8)?.try_into().ok()?, 16),
            size => (usize::try_from(size).ok()?, 8),
        };
        let inside = bytes.get(header..size)?;
        bytes = &bytes[size..];
        Some((name, inside))
    })
}

fn find<'a>(bytes: &'a [u8], path: &[&[u8; 4]]) -> Option<&'a [u8]> {
    path.iter()
        .try_fold(bytes, |bytes, wanted| boxes(bytes).find(|(name, _)| name == *wanted).map(|(_, inside)| inside))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn made(name: &[u8; 4], inside: &[&[u8]]) -> Vec<u8> {
        let inside = inside.concat();
        [&(inside.len() as u32 + 8).to_be_bytes()[..], name, &inside].concat()
    }

    fn numbers(numbers: &[u32]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
    }

    /// A file whose track counts `second` frames a second of `frame` ticks of `scale`, and shows it from `media_time` on.
    fn file(flags: u32, scale: u32, frame: u32, second: u8, media_time: i32, counted: u32) -> Vec<u8> {
        let samples = made(b"mdat", &[&counted.to_be_bytes()]);
        let entry =
            [&numbers(&[0, 1, 34]), &b"tmcd"[..], &numbers(&[0, 1, 0, flags, scale, frame]), &[second, 0]].concat();
        let table = made(b"stbl", &[&made(b"stsd", &[&entry]), &made(b"stco", &[&numbers(&[0, 1, 20])])]);
        let of = |kind: &[u8; 4], rest: &[u8]| {
            let head = made(b"mdhd", &[&numbers(&[0, 0, 0, scale, 0])]);
            let handler = made(b"hdlr", &[&numbers(&[0, 0]), kind, &[0; 12]]);
            made(b"mdia", &[&head, &handler, rest])
        };
        let edits =
            made(b"edts", &[&made(b"elst", &[&numbers(&[0, 2, 5, u32::MAX, 1 << 16, 9, media_time as u32, 1 << 16])])]);
        let video = made(b"trak", &[&of(b"vide", &[])]);
        let code = made(b"trak", &[&edits, &of(b"tmcd", &made(b"minf", &[&table]))]);
        [made(b"ftyp", &[b"qt  "]), samples, made(b"moov", &[&video, &code])].concat()
    }

    fn read(bytes: &[u8]) -> Option<(String, Option<u64>)> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        start(file.path()).map(|start| (start.number.to_string(), start.second))
    }

    #[test]
    fn the_track_tells_the_number_of_the_first_picture() {
        let code = |text: &str, second| Some((text.to_owned(), Some(second)));
        assert_eq!(read(&file(0, 24_000, 1_001, 24, 0, 864_000)), code("10:00:00:00", 24));
        assert_eq!(read(&file(DROP, 30_000, 1_001, 30, 0, 1_078_920)), code("10:00:00;00", 30));
        // Trimmed: ten frames are not shown.
        assert_eq!(read(&file(0, 25, 1, 25, 10, 90_000)), code("01:00:00:10", 25));
        assert_eq!((read(&file(COUNTER, 25, 1, 25, 0, 7)), read(&file(0, 25, 1, 0, 0, 7))), (None, None));
        assert_eq!((read(&file(0, 25, 0, 25, 0, 7)), read(b""), read(b"RIFF....")), (None, None, None));
    }

    proptest! {
        /// A damaged file has none or another one, and stops nobody.
        #[test]
        fn damage_is_survived(at in 0_usize..600, byte in any::<u8>(), length in 0_usize..600) {
            let mut bytes = file(DROP, 30_000, 1_001, 30, 5, 1_078_920);
            let at = at % bytes.len();
            bytes[at] = byte;
            bytes.truncate(length.max(1));
            let _ = read(&bytes);
        }
    }
}
