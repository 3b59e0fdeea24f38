//! Start timecodes that are in a video stream itself: in DV and in MPEG-1 and 2.

use std::sync::{Arc, Mutex, PoisonError};

use gst::prelude::*;

use super::{Number, Start, Timecode};
use desumnet_frames::frame_rate::FrameRate;

/// The timecode of the first picture, once that has come.
#[derive(Clone, Debug, Default)]
pub struct Heard(Arc<Mutex<Option<Start>>>);

impl Heard {
    /// Of the first picture.
    pub fn start(&self) -> Option<Start> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks at the first picture that gets to a decoder of `pipeline`.
pub fn listen(pipeline: &gst::Pipeline) -> Heard {
    let heard = Heard::default();
    let told = heard.clone();
    pipeline.connect_deep_element_added(move |_, _, element| {
        let kind = element.factory().and_then(|factory| factory.metadata("klass").map(str::to_owned));
        let is_decoder = kind.is_some_and(|kind| kind.contains("Decoder") && kind.contains("Video"));
        let Some(sink) = element.static_pad("sink").filter(|_| is_decoder) else { return };
        let told = told.clone();
        sink.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            let caps = pad.current_caps();
            let map = info.buffer().and_then(|buffer| buffer.map_readable().ok());
            if let Some((caps, bytes)) = caps.as_ref().and_then(|caps| caps.structure(0)).zip(map) {
                let start = match caps.name().as_str() {
                    "video/x-dv" => dv(&bytes),
                    "video/mpeg" if caps.get::<i32>("mpegversion").is_ok_and(|version| version <= 2) => mpeg(&bytes),
                    _ => None,
                };
                let mut told = told.0.lock().unwrap_or_else(PoisonError::into_inner);
                *told = told.or(start);
            }
            gst::PadProbeReturn::Remove
        });
    });
    heard
}

/// Of a frame of DV: the first timecode pack among its subcode (IEC 61834-2, 9; SMPTE ST 314, 4.4.2).
fn dv(frame: &[u8]) -> Option<Start> {
    const BLOCK: usize = 80;
    const SUBCODE: u8 = 1;
    const TIMECODE: u8 = 0x13;
    let second = if frame.get(3)? & 0x80 == 0 { 30 } else { 25 };
    let subcode = frame.chunks_exact(BLOCK).filter(|block| block[0] >> 5 == SUBCODE);
    // After the block's number, six packs of five bytes, each after a number of three.
    let mut packs = subcode.flat_map(|block| block[3..51].chunks_exact(8).map(|pack| &pack[3..]));
    let pack = packs.find(|pack| pack[0] == TIMECODE && pack[1..] != [0xff; 4])?;
    let digits = |byte: u8, tens: u8| u64::from(byte >> 4 & tens) * 10 + u64::from(byte & 0xf);
    let number = Number {
        frames: digits(pack[1], 3),
        seconds: digits(pack[2], 7),
        minutes: digits(pack[3], 7),
        hours: digits(pack[4], 3),
        drop: second == 30 && pack[1] & 0x40 != 0,
    };
    Some(Start { number, second: Some(second) })
}

/// Of the first pictures of MPEG-1 or 2, by the header of their group (ISO/IEC 13818-2, 6.2.2.6).
fn mpeg(bytes: &[u8]) -> Option<Start> {
    const SEQUENCE: u8 = 0xb3;
    const GROUP: u8 = 0xb8;
    const PICTURE: u8 = 0;
    /// By the code in the header of the sequence.
    const RATES: [(u32, u32); 8] =
        [(24_000, 1_001), (24, 1), (25, 1), (30_000, 1_001), (30, 1), (50, 1), (60_000, 1_001), (60, 1)];
    let after = |code: u8| {
        let at = bytes.windows(4).position(|bytes| bytes == [0, 0, 1, code])?;
        bytes.get(at + 4..at + 8)
    };
    let (numerator, denominator) = *RATES.get(usize::from(after(SEQUENCE)?[3] & 0xf).checked_sub(1)?)?;
    let group = u32::from_be_bytes(after(GROUP)?.try_into().ok()?);
    let field = |from: u32, bits: u32| u64::from(group >> (32 - from - bits) & ((1 << bits) - 1));
    let number = Number {
        drop: field(0, 1) == 1,
        hours: field(1, 5),
        minutes: field(6, 6),
        seconds: field(13, 6),
        frames: field(19, 6),
    };
    let rate = FrameRate { numerator, denominator };
    let count = Timecode::new(rate, number.drop).or_else(|_| Timecode::new(rate, false)).ok()?;
    let start = Start { number, second: Some(count.second) };
    if field(25, 1) == 1 {
        return Some(start);
    }
    // The group is open: what plays before its first picture is not shown without the group before.
    let picture = after(PICTURE)?;
    let hidden = u64::from(u16::from_be_bytes([picture[0], picture[1]]) >> 6);
    Some(Start { number: count.of(count.frame(start.at(rate)?) + hidden), ..start })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(start: Option<Start>) -> Option<(String, Option<u64>)> {
        start.map(|start| (start.number.to_string(), start.second))
    }

    #[test]
    fn dv_has_it_in_its_subcode() {
        let frame = |pal: bool, pack: [u8; 5]| {
            let mut frame = vec![0xff; 6 * 80];
            for (block, kind) in [0x1f, 0x3f, 0x3f, 0x56, 0x56, 0x56].into_iter().enumerate() {
                frame[80 * block] = kind;
            }
            frame[3] = if pal { 0xbf } else { 0x3f };
            // The third pack of the second block of subcode.
            let at = 2 * 80 + 3 + 2 * 8 + 3;
            frame[at..at + 5].copy_from_slice(&pack);
            told(dv(&frame))
        };
        assert_eq!(frame(true, [0x13, 0x64, 0x59, 0xb7, 0xd0]), Some(("10:37:59:24".into(), Some(25))));
        assert_eq!(frame(false, [0x13, 0x69, 0x59, 0x37, 0x01]), Some(("01:37:59;29".into(), Some(30))));
        assert_eq!(frame(true, [0x13, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(told(dv(&[0x1f; 40])), None);
    }

    #[test]
    fn mpeg_has_it_in_the_header_of_its_group() {
        let bytes = |rate: u8, drop: bool, frames: u32, closed: bool, before: u8| {
            let time = u32::from(drop) << 31 | 10 << 26 | 37 << 20 | 1 << 19 | 59 << 13 | frames << 7;
            let group = (time | u32::from(closed) << 6).to_be_bytes();
            let mut bytes = vec![0, 0, 1, 0xb3, 0x2d, 0x02, 0x40, 0x30 | rate, 0, 0, 1, 0xb8];
            bytes.extend(group);
            bytes.extend([0, 0, 1, 0, before >> 2, before << 6 | 8, 0, 0]);
            told(mpeg(&bytes))
        };
        assert_eq!(bytes(3, false, 24, true, 0), Some(("10:37:59:24".into(), Some(25))));
        assert_eq!(bytes(4, true, 24, true, 2), Some(("10:37:59;24".into(), Some(30))));
        // Two pictures that play before the first one are missing.
        assert_eq!(bytes(3, false, 24, false, 2), Some(("10:38:00:01".into(), Some(25))));
        assert_eq!(bytes(4, true, 29, false, 1), Some(("10:38:00;02".into(), Some(30))));
        assert_eq!((bytes(0, false, 0, true, 0), told(mpeg(&[0, 0, 1, 0xb8, 1, 2]))), (None, None));
    }
}
