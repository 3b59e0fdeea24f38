//! Marks where H.265 goes on after a cut.
//!
//! A group that begins with a CRA picture is open: pictures that are decoded after it and play before it refer to the group before.
//! Where that one is cut out they are, too, and the CRA picture becomes a BLA picture ("broken link access", ITU-T H.265, 7.4.2.2): decoders then
//! play all that came before, and count anew, rather than put pictures of two groups in the wrong order. Only the type of its NAL units changes.

/// How NAL units are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// By start codes.
    StartCodes,
    /// Each has its length before it, in so many bytes.
    Lengths(usize),
}

/// Types of NAL units, clean random access, and broken link access without leading pictures.
const CRA: u8 = 21;
const BLA_N_LP: u8 = 18;

/// Of H.265, by its caps; `None` of anything else.
pub fn framing(caps: &gst::StructureRef) -> Option<Framing> {
    if !caps.has_name("video/x-h265") {
        return None;
    }
    if caps.get::<&str>("stream-format") == Ok("byte-stream") {
        return Some(Framing::StartCodes);
    }
    // ISO/IEC 14496-15, HEVCDecoderConfigurationRecord: the two last bits of the 22nd byte.
    let record = caps.get::<gst::Buffer>("codec_data").ok()?;
    let record = record.map_readable().ok()?;
    Some(Framing::Lengths(usize::from(record.get(21)? & 3) + 1))
}

/// Makes a CRA picture of `bytes` a BLA picture without leading pictures.
pub fn mark(bytes: &mut [u8], framing: Framing) {
    let mut at = 0;
    while let Some((header, next)) = unit(bytes, at, framing) {
        if let Some(byte) = bytes.get_mut(header)
            && *byte >> 1 & 0x3f == CRA
        {
            *byte = *byte & 0x81 | BLA_N_LP << 1;
        }
        at = next;
    }
}

/// Where the header of the next unit from `at` on is, and where to look for the one after it.
fn unit(bytes: &[u8], at: usize, framing: Framing) -> Option<(usize, usize)> {
    match framing {
        Framing::StartCodes => {
            let code = bytes.get(at..)?.windows(3).position(|code| code == [0, 0, 1])?;
            Some((at + code + 3, at + code + 3))
        }
        Framing::Lengths(size) => {
            let length = bytes.get(at..at + size)?.iter().fold(0, |length, &byte| length << 8 | usize::from(byte));
            Some((at + size, at.checked_add(size)?.checked_add(length)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_random_access_picture_becomes_a_broken_link() {
        // Parameters (type 32), and a picture in two slices, 0x2a: type 21; 0x02 after it is an ordinary one's.
        let mut lengths =
            vec![0, 0, 0, 3, 0x40, 1, 9, 0, 0, 0, 4, 0x2a, 1, 0x80, 7, 0, 0, 0, 3, 0x2a, 1, 5, 0, 0, 0, 2, 0x02, 1];
        let expected =
            vec![0, 0, 0, 3, 0x40, 1, 9, 0, 0, 0, 4, 0x24, 1, 0x80, 7, 0, 0, 0, 3, 0x24, 1, 5, 0, 0, 0, 2, 0x02, 1];
        mark(&mut lengths, Framing::Lengths(4));
        assert_eq!(lengths, expected);
        let mut codes = vec![0, 0, 0, 1, 0x40, 1, 9, 0, 0, 1, 0x2a, 1, 0x80, 0x2a, 0, 0, 1, 0x2a, 1];
        mark(&mut codes, Framing::StartCodes);
        assert_eq!(codes, [0, 0, 0, 1, 0x40, 1, 9, 0, 0, 1, 0x24, 1, 0x80, 0x2a, 0, 0, 1, 0x24, 1]);
    }

    #[test]
    fn other_pictures_and_nonsense_stay_as_they_are() {
        for bytes in [&[0, 2, 0x26, 1][..], &[0, 9, 0x2a], &[0], &[], &[0xff, 0xff, 0x2c, 1]] {
            let mut marked = bytes.to_vec();
            mark(&mut marked, Framing::Lengths(2));
            assert_eq!(marked.len(), bytes.len());
            assert!(bytes.len() != 4 || marked == bytes, "{bytes:?}");
        }
    }

    #[test]
    fn the_caps_tell_the_framing() {
        gst::init().unwrap();
        let of = |caps: &str| framing(caps.parse::<gst::Caps>().unwrap().structure(0).unwrap());
        assert_eq!(of("video/x-h265,stream-format=byte-stream"), Some(Framing::StartCodes));
        let record = format!("{}fd", "00".repeat(21));
        assert_eq!(
            of(&format!("video/x-h265,stream-format=hvc1,codec_data=(buffer){record}")),
            Some(Framing::Lengths(2))
        );
        assert_eq!(of("video/x-h265,stream-format=hvc1"), None);
        assert_eq!(of("video/x-h264,stream-format=byte-stream"), None);
    }
}
