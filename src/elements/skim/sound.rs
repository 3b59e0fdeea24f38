//! Raw sound as buffers: pieces of them, silence, and the fades at cuts.

use std::ops::Range;

use gst_audio::{
    AUDIO_FORMAT_F32, AUDIO_FORMAT_F64, AUDIO_FORMAT_S16, AUDIO_FORMAT_S32, AudioInfo, AudioLayout, AudioMeta,
};

use crate::summary::samples::{Chunk, Cutter, Fade};

/// A stream of raw sound, and where it is cut.
#[derive(Debug)]
pub struct Sound {
    info: AudioInfo,
    pub cutter: Cutter,
}

/// Caps that tell of raw sound and not which.
#[derive(Debug, thiserror::Error)]
#[error("the caps tell no raw sound: {0}; put audioconvert before this pad")]
pub struct SoundError(String);

/// The sound that caps tell of; `None` if they are of something else.
///
/// # Errors
/// [`SoundError`]
pub fn info(caps: &gst::CapsRef) -> Result<Option<AudioInfo>, SoundError> {
    if !caps.structure(0).is_some_and(|structure| structure.has_name("audio/x-raw")) {
        return Ok(None);
    }
    AudioInfo::from_caps(caps).map(Some).map_err(|_| SoundError(caps.to_string()))
}

/// How many samples of each channel a buffer has, of `bpf` bytes of all channels.
pub fn samples(buffer: &gst::BufferRef, bpf: u32) -> u64 {
    buffer.meta::<AudioMeta>().map_or(buffer.size() / bpf.max(1) as usize, |meta| meta.samples()) as u64
}

impl Sound {
    pub fn new(info: AudioInfo, cutter: Cutter) -> Self {
        Self { info, cutter }
    }

    /// A buffer as the cutter sees it, at this running time, ns.
    pub fn chunk(&self, buffer: &gst::BufferRef, time: u64) -> Chunk {
        Chunk { time, samples: samples(buffer, self.info.bpf()) }
    }

    /// These samples of a buffer, faded as output samples from `at` on. It may have the time of the whole one, or none.
    pub fn part(&self, buffer: &gst::Buffer, range: Range<u64>, at: u64, fade: &Fade) -> gst::Buffer {
        let count = range.end - range.start;
        let mut part = buffer.clone();
        if count < samples(buffer, self.info.bpf()) {
            part = gst_audio::audio_buffer_truncate(part, self.info.bpf(), range.start as usize, Some(count as usize));
        }
        if !fade.spares(&(at..at + count)) {
            self.fade(part.make_mut(), count as usize, at, fade);
        }
        part
    }

    /// So many samples of silence.
    pub fn silence(&self, samples: u64) -> gst::Buffer {
        let mut bytes = vec![0; samples as usize * self.info.bpf() as usize];
        self.info.format_info().fill_silence(&mut bytes);
        let mut buffer = gst::Buffer::from_mut_slice(bytes);
        let fields = buffer.make_mut();
        fields.set_flags(gst::BufferFlags::GAP);
        if self.info.layout() == AudioLayout::NonInterleaved {
            // It fails only where the planes don't fit into the buffer.
            let _ = AudioMeta::add(fields, &self.info, samples as usize, &[]);
        }
        buffer
    }

    /// Fades `count` samples of all channels alike, the first of them the output sample `at`. Formats other than 16 and 32 bit
    /// integers and floats in the machine's byte order are cut hard.
    fn fade(&self, buffer: &mut gst::BufferRef, count: usize, at: u64, fade: &Fade) {
        // Channels lie side by side, or each in a plane.
        let planes = match buffer.meta::<AudioMeta>() {
            Some(meta) if self.info.layout() == AudioLayout::NonInterleaved => meta.offsets().to_vec(),
            _ => vec![0],
        };
        let step = self.info.bpf() as usize / planes.len();
        let Ok(mut map) = buffer.map_writable() else { return };
        for plane in planes {
            let bytes = &mut map[plane..plane + count * step];
            let frames = bytes.chunks_exact_mut(step).zip(at..).map(|(frame, n)| (frame, fade.gain(n)));
            match self.info.format() {
                format if format == AUDIO_FORMAT_S16 => frames.for_each(|(frame, gain)| {
                    scale(frame, |b| i16::from_ne_bytes(b).into(), |v: f64| (v.round() as i16).to_ne_bytes(), gain)
                }),
                format if format == AUDIO_FORMAT_S32 => frames.for_each(|(frame, gain)| {
                    scale(frame, |b| i32::from_ne_bytes(b).into(), |v: f64| (v.round() as i32).to_ne_bytes(), gain)
                }),
                format if format == AUDIO_FORMAT_F32 => frames.for_each(|(frame, gain)| {
                    scale(frame, |b| f32::from_ne_bytes(b).into(), |v: f64| (v as f32).to_ne_bytes(), gain)
                }),
                format if format == AUDIO_FORMAT_F64 => {
                    frames.for_each(|(frame, gain)| scale(frame, f64::from_ne_bytes, f64::to_ne_bytes, gain))
                }
                _ => {}
            }
        }
    }
}

/// Multiplies each sample of `N` bytes.
fn scale<const N: usize>(frame: &mut [u8], read: impl Fn([u8; N]) -> f64, write: impl Fn(f64) -> [u8; N], gain: f64) {
    if gain == 1.0 {
        return;
    }
    for sample in frame.as_chunks_mut::<N>().0 {
        *sample = write(read(*sample) * gain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::{samples::Step, timeline::Timeline};

    /// The fade at both ends of a piece of 20 samples at 1000 a second, of which it takes 5.
    fn fade() -> Fade {
        let mut timeline = Timeline::default();
        timeline.begin(0, 0);
        timeline.drop_until(10_000_000);
        timeline.keep(10_000_000, 30_000_000, 1.0);
        timeline.drop_until(40_000_000);
        let mut cutter = Cutter::new(1_000, false, 0);
        match cutter.step(&timeline, &Chunk { time: 10_000_000, samples: 20 }) {
            Step::Play { fade, .. } => fade,
            step => panic!("{step:?}"),
        }
    }

    fn faded<const N: usize>(format: gst_audio::AudioFormat, value: [u8; N]) -> Vec<[u8; N]> {
        gst::init().unwrap();
        let info = AudioInfo::builder(format, 1_000, 2).build().unwrap();
        let sound = Sound::new(info, Cutter::new(1_000, false, 0));
        let buffer = gst::Buffer::from_slice(value.repeat(2 * 30));
        let part = sound.part(&buffer, 5..25, 0, &fade());
        let map = part.map_readable().unwrap();
        map.as_chunks::<N>().0.to_vec()
    }

    #[test]
    fn all_channels_and_formats_fade_alike() {
        let gains: Vec<f64> = (0..20).map(|n| fade().gain(n)).collect();
        assert_eq!((gains[0], gains[4], gains[5], gains[15], gains[19]), (0.1, 0.9, 1.0, 0.9, 0.1));
        for (i, gain) in gains.iter().flat_map(|gain| [gain; 2]).enumerate() {
            assert_eq!(
                i16::from_ne_bytes(faded(AUDIO_FORMAT_S16, (-1_000i16).to_ne_bytes())[i]),
                (-1_000.0 * gain) as i16
            );
            assert_eq!(i32::from_ne_bytes(faded(AUDIO_FORMAT_S32, 1_000_000i32.to_ne_bytes())[i]), (1e6 * gain) as i32);
            assert_eq!(f32::from_ne_bytes(faded(AUDIO_FORMAT_F32, 0.5f32.to_ne_bytes())[i]), (0.5 * gain) as f32);
            assert_eq!(f64::from_ne_bytes(faded(AUDIO_FORMAT_F64, 0.5f64.to_ne_bytes())[i]), 0.5 * gain);
        }
    }

    #[test]
    fn whole_buffers_far_from_a_cut_are_not_copied() {
        gst::init().unwrap();
        let info = AudioInfo::builder(AUDIO_FORMAT_S16, 1_000, 1).build().unwrap();
        let sound = Sound::new(info, Cutter::new(1_000, false, 0));
        let buffer = gst::Buffer::with_size(20).unwrap();
        assert_eq!(sound.part(&buffer, 0..10, 5, &fade()).as_ptr(), buffer.as_ptr());
        assert_ne!(sound.part(&buffer, 0..10, 6, &fade()).as_ptr(), buffer.as_ptr());
    }

    #[test]
    fn silence_of_unsigned_formats_is_their_middle() {
        gst::init().unwrap();
        let info = AudioInfo::builder(gst_audio::AudioFormat::U8, 1_000, 2).build().unwrap();
        let silence = Sound::new(info, Cutter::new(1_000, false, 0)).silence(3);
        assert_eq!(silence.map_readable().unwrap().as_slice(), [128; 6]);
    }

    #[test]
    fn planes_are_cut_and_fade_like_channels_side_by_side() {
        gst::init().unwrap();
        let planes =
            AudioInfo::builder(AUDIO_FORMAT_S16, 1_000, 2).layout(AudioLayout::NonInterleaved).build().unwrap();
        let sound = Sound::new(planes.clone(), Cutter::new(1_000, false, 0));
        // 1000, 1001, ... on the left, and 2000, 2001, ... on the right.
        let values: Vec<i16> = (1_000..1_030).chain(2_000..2_030).collect();
        let mut buffer = gst::Buffer::from_slice(values.iter().flat_map(|v| v.to_ne_bytes()).collect::<Vec<u8>>());
        AudioMeta::add(buffer.get_mut().unwrap(), &planes, 30, &[]).unwrap();
        let part = sound.part(&buffer, 5..25, 0, &fade());
        assert_eq!(samples(&part, 4), 20);
        let (map, meta) = (part.map_readable().unwrap(), part.meta::<AudioMeta>().unwrap());
        for (channel, first) in [(0, 1_005.0), (1, 2_005.0)] {
            let bytes = &map[meta.offsets()[channel]..][..40];
            for (i, sample) in bytes.as_chunks().0.iter().enumerate() {
                let expected = ((first + i as f64) * fade().gain(i as u64)).round() as i16;
                assert_eq!(i16::from_ne_bytes(*sample), expected, "{channel} {i}");
            }
        }
        assert_eq!(sound.silence(7).meta::<AudioMeta>().unwrap().samples(), 7);
    }

    #[test]
    fn caps_that_tell_nothing_are_refused_with_the_remedy() {
        gst::init().unwrap();
        let caps = |text: &str| text.parse::<gst::Caps>().unwrap();
        assert!(info(&caps("audio/x-raw,format=NONSENSE")).unwrap_err().to_string().contains("audioconvert"));
        assert!(info(&caps("audio/mpeg")).unwrap().is_none());
    }
}
