//! Numbers of H.264's pictures (ITU-T H.264, 7.3.2, 7.3.3, 8.2.1), changed so that a group of pictures follows another one than it did.

use std::collections::HashMap;

use super::splice::units;

const SLICE: u8 = 1;
const PARTITION: u8 = 2;
const IDR: u8 = 5;
const SEQUENCE: u8 = 7;
const PICTURE: u8 = 8;
/// Bytes that no header is longer than.
const HEADER: usize = 64;
/// Profiles whose sequence parameters tell of chroma and scaling.
const HIGH: [u32; 13] = [44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244];

/// Of a sequence of pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sequence {
    colour_planes: bool,
    frame_num_bits: u32,
    /// Of the number that orders pictures for display; `None`: frame numbers do.
    order_bits: Option<u32>,
    frames_only: bool,
}

/// What a slice's header says, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    sequence: Sequence,
    is_reference: bool,
    is_idr: bool,
    frame_num: u32,
    frame_num_at: usize,
    order: u32,
    order_at: usize,
}

/// A stream of pictures with their parts' lengths before them, as in MP4 and Matroska.
pub struct Stream {
    length: usize,
    sequences: HashMap<u32, Sequence>,
    /// Picture parameters: the number of their sequence.
    pictures: HashMap<u32, u32>,
    /// What is added to frame numbers and to the order of display since the last cut.
    shift: (u32, u32),
    last: Option<Last>,
}

/// How far the numbers are.
#[derive(Clone, Copy, Default)]
struct Last {
    /// Of the latest picture that others may refer to.
    frame_num: u32,
    /// Of the same picture.
    order: i64,
    /// Highest order since the last picture that makes the decoder forget all.
    highest: i64,
}

impl Stream {
    /// By the codec's data in its caps; `None`: it is none of H.264.
    pub fn new(data: &[u8]) -> Option<Self> {
        let mut stream = Self {
            length: usize::from(data.get(4)? & 3) + 1,
            sequences: HashMap::new(),
            pictures: HashMap::new(),
            shift: (0, 0),
            last: None,
        };
        let mut at = 5;
        for mask in [0x1f, 0xff] {
            let count = *data.get(at)? & mask;
            at += 1;
            for _ in 0..count {
                let size = usize::from(u16::from_be_bytes(data.get(at..at + 2)?.try_into().ok()?));
                stream.learn(data.get(at + 2..at + 2 + size)?);
                at += 2 + size;
            }
        }
        Some(stream)
    }

    /// Takes parameters from a unit, if it holds any.
    fn learn(&mut self, unit: &[u8]) {
        match unit.first().map(|first| first & 0x1f) {
            Some(SEQUENCE) => self.sequences.extend(sequence(&plain(unit))),
            Some(PICTURE) => {
                let unit = plain(unit);
                let mut bits = Bits { bytes: &unit, at: 8 };
                self.pictures.extend(bits.exp().zip(bits.exp()));
            }
            _ => {}
        }
    }

    /// The next picture; `joins`: it is a key frame after a cut. Its bytes, where they have to be others.
    pub fn next(&mut self, picture: &[u8], joins: bool) -> Option<Vec<u8>> {
        units(picture, self.length).for_each(|unit| self.learn(&picture[unit]));
        let begin = |unit: std::ops::Range<usize>| &picture[unit.start..unit.end.min(unit.start + HEADER)];
        let first = units(picture, self.length).find_map(|unit| self.header(&plain(begin(unit))))?;
        self.follow(&first, joins);
        if self.shift == (0, 0) {
            return None;
        }
        let mut new = Vec::with_capacity(picture.len() + 16);
        for unit in units(picture, self.length) {
            let unit = self.renumbered(&picture[unit]);
            new.extend_from_slice(&(unit.len() as u64).to_be_bytes()[8 - self.length..]);
            new.extend(unit);
        }
        Some(new)
    }

    /// Counts a picture, and finds what its numbers and those after it are to be shifted by.
    fn follow(&mut self, header: &Header, joins: bool) {
        let (frame_nums, orders) = header.sequence.ranges();
        if header.is_idr {
            self.shift = (0, 0);
        } else if let Some(last) = self.last.filter(|_| joins) {
            let shift = |to: i64, from: u32, range: i64| (to - i64::from(from)).rem_euclid(range) as u32;
            let order =
                if header.sequence.order_bits.is_some() { shift(last.highest + 2, header.order, orders) } else { 0 };
            self.shift = (shift(i64::from(last.frame_num) + 1, header.frame_num, frame_nums), order);
        }
        let last = self.last.filter(|_| !header.is_idr);
        let frame_num = (i64::from(header.frame_num) + i64::from(self.shift.0)).rem_euclid(frame_nums) as u32;
        // The nearest to the last one that ends so.
        let low = (i64::from(header.order) + i64::from(self.shift.1)).rem_euclid(orders);
        let base = last.map_or(0, |last| last.order);
        let ahead = (low - base).rem_euclid(orders);
        let order = match last {
            None => low,
            Some(_) if ahead <= orders / 2 => base + ahead,
            Some(_) => base + ahead - orders,
        };
        let highest = last.map_or(order, |last| last.highest.max(order));
        self.last = Some(match last {
            Some(last) if !header.is_reference => Last { highest, ..last },
            _ => Last { frame_num, order, highest },
        });
    }

    /// A unit with its numbers shifted, if it is of a picture.
    fn renumbered(&self, unit: &[u8]) -> Vec<u8> {
        let mut bytes = plain(unit);
        let Some(header) = self.header(&bytes) else { return unit.to_vec() };
        let sequence = header.sequence;
        let shifted = |number: u32, by: u32, bits: u32| number.wrapping_add(by) & (u32::MAX >> (32 - bits));
        put(
            &mut bytes,
            header.frame_num_at,
            sequence.frame_num_bits,
            shifted(header.frame_num, self.shift.0, sequence.frame_num_bits),
        );
        if let Some(bits) = sequence.order_bits {
            put(&mut bytes, header.order_at, bits, shifted(header.order, self.shift.1, bits));
        }
        escaped(&bytes)
    }

    /// Of a unit without its escapes, if it is of a picture.
    fn header(&self, unit: &[u8]) -> Option<Header> {
        let first = *unit.first()?;
        let kind = first & 0x1f;
        if ![SLICE, PARTITION, IDR].contains(&kind) {
            return None;
        }
        let mut bits = Bits { bytes: unit, at: 8 };
        let (_first_block, _kind, picture) = (bits.exp()?, bits.exp()?, bits.exp()?);
        let sequence = *self.sequences.get(self.pictures.get(&picture)?)?;
        if sequence.colour_planes {
            bits.take(2)?;
        }
        let frame_num_at = bits.at;
        let frame_num = bits.take(sequence.frame_num_bits)?;
        if !sequence.frames_only && bits.take(1)? == 1 {
            bits.take(1)?;
        }
        if kind == IDR {
            bits.exp()?;
        }
        let order_at = bits.at;
        let order = sequence.order_bits.map_or(Some(0), |count| bits.take(count))?;
        let (is_reference, is_idr) = (first & 0x60 != 0, kind == IDR);
        Some(Header { sequence, is_reference, is_idr, frame_num, frame_num_at, order, order_at })
    }
}

impl Sequence {
    /// Where frame numbers and the order of display begin anew.
    fn ranges(&self) -> (i64, i64) {
        (1 << self.frame_num_bits, 1 << self.order_bits.unwrap_or(4))
    }
}

/// Number and contents of sequence parameters without their escapes.
fn sequence(unit: &[u8]) -> Option<(u32, Sequence)> {
    let mut bits = Bits { bytes: unit, at: 8 };
    let profile = bits.take(8)?;
    bits.take(16)?;
    let number = bits.exp()?;
    let mut colour_planes = false;
    if HIGH.contains(&profile) {
        let chroma = bits.exp()?;
        colour_planes = chroma == 3 && bits.take(1)? == 1;
        bits.skip_exps(2)?;
        bits.take(1)?;
        if bits.take(1)? == 1 {
            for list in 0..if chroma == 3 { 12 } else { 8 } {
                if bits.take(1)? == 1 {
                    bits.skip_scaling(if list < 6 { 16 } else { 64 })?;
                }
            }
        }
    }
    let frame_num_bits = bits.exp()?.checked_add(4).filter(|&bits| bits <= 16)?;
    let mut order_bits = None;
    match bits.exp()? {
        0 => order_bits = Some(bits.exp()?.checked_add(4).filter(|&bits| bits <= 16)?),
        1 => {
            bits.take(1)?;
            bits.skip_exps(2)?;
            let more = bits.exp()?;
            bits.skip_exps(more)?;
        }
        _ => {}
    }
    // References, gaps, width, height.
    bits.exp()?;
    bits.take(1)?;
    bits.skip_exps(2)?;
    let frames_only = bits.take(1)? == 1;
    Some((number, Sequence { colour_planes, frame_num_bits, order_bits, frames_only }))
}

/// Reads bit by bit, the highest of a byte first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: u32) -> Option<u32> {
        let mut number = 0;
        for _ in 0..count {
            let byte = self.bytes.get(self.at / 8)?;
            number = number << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(number)
    }

    /// An Exp-Golomb number (9.1).
    fn exp(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.take(1)? == 0 {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some(self.take(zeros)? + ((1 << zeros) - 1))
    }

    fn skip_exps(&mut self, count: u32) -> Option<()> {
        (0..count).try_for_each(|_| self.exp().map(drop))
    }

    fn skip_scaling(&mut self, size: u32) -> Option<()> {
        let (mut last, mut next) = (8i64, 8i64);
        for _ in 0..size {
            if next != 0 {
                let code = i64::from(self.exp()?);
                let delta = if code % 2 == 1 { (code + 1) / 2 } else { -code / 2 };
                next = (last + delta).rem_euclid(256);
            }
            last = if next == 0 { last } else { next };
        }
        Some(())
    }
}

/// Writes a number of so many bits.
fn put(bytes: &mut [u8], at: usize, count: u32, number: u32) {
    for i in 0..count {
        let (place, bit) = (at + i as usize, (number >> (count - 1 - i) & 1) as u8);
        let mask = 0x80 >> (place % 8);
        bytes[place / 8] = bytes[place / 8] & !mask | (mask * bit);
    }
}

/// A unit without the bytes that keep start codes out of it (7.4.1).
fn plain(unit: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(unit.len());
    let mut zeros = 0;
    for &byte in unit {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        bytes.push(byte);
    }
    bytes
}

/// A unit with them.
fn escaped(unit: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(unit.len() + 16);
    let mut zeros = 0;
    for &byte in unit {
        if zeros >= 2 && byte <= 3 {
            bytes.push(3);
            zeros = 0;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        bytes.push(byte);
    }
    if zeros >= 2 {
        bytes.push(3);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes bit by bit.
    #[derive(Default)]
    struct Writer(Vec<bool>);

    impl Writer {
        fn put(mut self, number: u32, count: u32) -> Self {
            self.0.extend((0..count).rev().map(|i| number >> i & 1 == 1));
            self
        }

        fn exp(self, number: u32) -> Self {
            let bits = 32 - (number + 1).leading_zeros();
            self.put(0, bits - 1).put(number + 1, bits)
        }

        fn unit(self, first: u8) -> Vec<u8> {
            let byte = |bits: &[bool]| (0..8).fold(0u8, |byte, i| byte << 1 | u8::from(bits.get(i) == Some(&true)));
            escaped(&[&[first][..], &self.0.chunks(8).map(byte).collect::<Vec<_>>()].concat())
        }
    }

    /// 4 bits of frame numbers, 5 of order; progressive; high profile.
    fn stream() -> Stream {
        let high = Writer::default().put(100, 8).put(0, 16).exp(0).exp(1).exp(0).exp(0).put(0, 2);
        let sequence = high.exp(0).exp(0).exp(1).exp(4).put(0, 1).exp(19).exp(10).put(1, 1).put(1, 8).unit(0x67);
        let picture = Writer::default().exp(0).exp(0).put(1, 8).unit(0x68);
        let with_size = |unit: &[u8]| [&(unit.len() as u16).to_be_bytes()[..], unit].concat();
        let data = [&[1, 100, 0, 30, 0xff, 0xe1][..], &with_size(&sequence), &[1], &with_size(&picture)].concat();
        Stream::new(&data).unwrap()
    }

    /// A picture of one slice.
    fn picture(idr: bool, reference: bool, frame_num: u32, order: u32) -> Vec<u8> {
        let header = Writer::default().exp(0).exp(7).exp(0).put(frame_num, 4);
        let header = if idr { header.exp(0) } else { header };
        let first = if reference { 0x60 } else { 0 } | if idr { IDR } else { SLICE };
        let unit = header.put(order, 5).put(0, 24).put(1, 8).unit(first);
        [&(unit.len() as u32).to_be_bytes()[..], &unit].concat()
    }

    #[test]
    fn parameters_and_headers_are_read() {
        let stream = stream();
        let sequence = Sequence { colour_planes: false, frame_num_bits: 4, order_bits: Some(5), frames_only: true };
        assert_eq!(stream.sequences[&0], sequence);
        let header = stream.header(&plain(&picture(false, true, 9, 26)[4..])).unwrap();
        assert_eq!((header.frame_num, header.order, header.is_reference, header.is_idr), (9, 26, true, false));
    }

    #[test]
    fn pictures_after_a_cut_are_numbered_on() {
        let mut stream = stream();
        // 0 2 1: the last is no reference.
        for (idr, reference, frame_num, order) in [(true, true, 0, 0), (false, true, 1, 4), (false, false, 2, 2)] {
            assert_eq!(stream.next(&picture(idr, reference, frame_num, order), false), None);
        }
        // An open group from far behind: 11 is to be 2, order 30 is to be 6.
        let numbered = [(true, true, 11, 30), (false, true, 12, 2), (false, false, 13, 0)];
        let expected = [(true, 2, 6), (true, 3, 10), (false, 4, 8)];
        for ((joins, reference, frame_num, order), (_, new_frame_num, new_order)) in numbered.into_iter().zip(expected)
        {
            let new = stream.next(&picture(false, reference, frame_num, order), joins);
            assert_eq!(new, Some(picture(false, reference, new_frame_num, new_order)), "{frame_num}");
        }
        // A closed group needs nothing, nor does what follows it.
        assert_eq!(stream.next(&picture(true, true, 0, 0), true), None);
        assert_eq!(stream.next(&picture(false, true, 1, 4), false), None);
    }

    #[test]
    fn start_codes_stay_out_of_units() {
        for unit in [&[1, 0, 0, 0, 0, 1][..], &[0, 0, 3], &[5, 0, 0, 2, 0, 0], &[7]] {
            let escaped = escaped(unit);
            assert!(!escaped.windows(3).any(|bytes| bytes[..2] == [0, 0] && bytes[2] < 3), "{escaped:?}");
            assert_eq!(plain(&escaped), unit, "{escaped:?}");
        }
    }
}
