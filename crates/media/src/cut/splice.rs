//! What encoded pictures need so that those after a cut follow those before it as if they always had.
//!
//! A group of pictures is closed where its key frame makes the decoder forget all that was: it can follow anything. Open groups are
//! numbered on from the group before. Of H.265, a key frame can say that something else came before it (a "broken link"); of H.264,
//! none can: so the pictures after the cut get the numbers that follow those before it.

use super::h264;

/// Puts the pictures of one stream together.
pub enum Splice {
    /// Frames need nothing.
    Plain,
    H264(h264::Stream),
    /// Bytes that tell the length of a unit.
    H265(usize),
}

impl Splice {
    /// For a codec (name of its caps) whose pictures come as units with their lengths before them.
    pub fn of(codec: &str, codec_data: &[u8]) -> Self {
        match codec {
            "video/x-h264" => h264::Stream::new(codec_data).map_or(Self::Plain, Self::H264),
            "video/x-h265" => codec_data.get(21).map_or(Self::Plain, |length| Self::H265(usize::from(length & 3) + 1)),
            _ => Self::Plain,
        }
    }

    /// The next picture; `joins`: it is a key frame after a cut. Its bytes, where they have to be others.
    pub fn next(&mut self, picture: &[u8], joins: bool) -> Option<Vec<u8>> {
        match self {
            Self::Plain => None,
            Self::H264(stream) => stream.next(picture, joins),
            Self::H265(length) => joins.then(|| break_link(picture, *length)).flatten(),
        }
    }
}

const H265_CRA: u8 = 21;
const H265_BLA_N_LP: u8 = 18;

/// A clean random access picture of H.265 as one with a broken link and nothing that plays before it.
fn break_link(picture: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut new = picture.to_vec();
    let mut changed = false;
    for unit in units(picture, length) {
        if new[unit.start] >> 1 & 0x3f == H265_CRA {
            new[unit.start] = new[unit.start] & 0x81 | H265_BLA_N_LP << 1;
            changed = true;
        }
    }
    changed.then_some(new)
}

/// Where the units of a picture are, without their lengths. Ends where one is broken.
pub fn units(picture: &[u8], length: usize) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let size = picture.get(at..at + length)?.iter().fold(0usize, |size, &byte| size << 8 | usize::from(byte));
        let start = at + length;
        let unit = start..start.checked_add(size)?;
        at = unit.end;
        (size > 0 && unit.end <= picture.len()).then_some(unit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_frame_of_an_open_group_of_h265_says_that_its_link_is_broken() {
        // Parameter sets, and a picture of two slices.
        let picture = [&[0, 2, 0x40, 1][..], &[0, 3, 0x2a, 1, 0x80], &[0, 3, 0x2b, 1, 0x10]].concat();
        let expected = [&[0, 2, 0x40, 1][..], &[0, 3, 0x24, 1, 0x80], &[0, 3, 0x25, 1, 0x10]].concat();
        let mut splice = Splice::H265(2);
        assert_eq!(splice.next(&picture, true), Some(expected));
        assert_eq!(splice.next(&picture, false), None);
        // One that makes the decoder forget all is enough as it is.
        assert_eq!(splice.next(&[0, 3, 0x26, 1, 0x80], true), None);
    }

    #[test]
    fn broken_units_end_a_picture() {
        let found = |picture: &[u8]| units(picture, 2).collect::<Vec<_>>();
        assert_eq!(found(&[0, 1, 7, 0, 2, 8, 9]), [2..3, 5..7]);
        assert_eq!(found(&[0, 1, 7, 0, 3, 8, 9]), Vec::from_iter(Some(2..3)));
        assert_eq!(found(&[0]), []);
    }
}
