//! Raw sound as buffers: pieces of them, silence, and the fades at cuts.

use std::ops::Range;

use gst_audio::{AUDIO_FORMAT_F32, AUDIO_FORMAT_F64, AUDIO_FORMAT_S16, AUDIO_FORMAT_S32, AudioInfo, AudioLayout};

use crate::summary::samples::{Chunk, Cutter, Fade};

/// A stream of raw sound, and where it is cut.
#[derive(Debug)]
pub struct Sound {
    info: AudioInfo,
    pub cutter: Cutter,
}

/// What raw sound may not be.
#[derive(Debug, thiserror::Error)]
pub enum SoundError {
    #[error("sound with each channel in its own plane can't be cut: put audioconvert before this pad")]
    Planes,
    #[error("the caps tell no raw sound: {0}; put audioconvert before this pad")]
    Caps(String),
}

/// The sound that caps tell of; `None` if they are of something else.
///
/// # Errors
/// [`SoundError`]: it can't be cut.
pub fn info(caps: &gst::CapsRef) -> Result<Option<AudioInfo>, SoundError> {
    if !caps.structure(0).is_some_and(|structure| structure.has_name("audio/x-raw")) {
        return Ok(None);
    }
    let info = AudioInfo::from_caps(caps).map_err(|_| SoundError::Caps(caps.to_string()))?;
    if info.layout() == AudioLayout::Interleaved { Ok(Some(info)) } else { Err(SoundError::Planes) }
}

impl Sound {
    pub fn new(info: AudioInfo, cutter: Cutter) -> Self {
        Self { info, cutter }
    }

    /// A buffer as the cutter sees it, at this running time, ns.
    pub fn chunk(&self, buffer: &gst::BufferRef, time: u64) -> Chunk {
        Chunk { time, samples: buffer.size() as u64 / u64::from(self.info.bpf().max(1)) }
    }

    /// These samples of a buffer, faded as output samples from `at` on. It has the time of the whole one.
    pub fn part(&self, buffer: &gst::Buffer, samples: Range<u64>, at: u64, fade: &Fade) -> Option<gst::Buffer> {
        let bytes = self.bytes(samples.start)..self.bytes(samples.end);
        let out = at..at + (samples.end - samples.start);
        let whole = bytes == (0..buffer.size());
        if whole && fade.spares(&out) {
            return Some(buffer.clone());
        }
        let mut part = if whole {
            buffer.copy_deep().ok()?
        } else {
            // Metas may speak of samples that are not in it.
            let flags = gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS | gst::BufferCopyFlags::MEMORY;
            buffer.copy_region(flags, bytes).ok()?
        };
        if !fade.spares(&out) {
            self.fade(part.make_mut().map_writable().ok()?.as_mut_slice(), out.start, fade);
        }
        Some(part)
    }

    /// So many samples of silence.
    pub fn silence(&self, samples: u64) -> gst::Buffer {
        let mut bytes = vec![0; self.bytes(samples)];
        self.info.format_info().fill_silence(&mut bytes);
        let mut buffer = gst::Buffer::from_mut_slice(bytes);
        buffer.make_mut().set_flags(gst::BufferFlags::GAP);
        buffer
    }

    fn bytes(&self, samples: u64) -> usize {
        samples as usize * self.info.bpf() as usize
    }

    /// Fades samples of all channels alike, the first of them the output sample `at`. Formats other than 16 and 32 bit integers and
    /// floats in the machine's byte order are cut hard.
    fn fade(&self, bytes: &mut [u8], at: u64, fade: &Fade) {
        let frames = bytes.chunks_exact_mut(self.info.bpf() as usize).zip(at..).map(|(frame, n)| (frame, fade.gain(n)));
        match self.info.format() {
            format if format == AUDIO_FORMAT_S16 => {
                frames.for_each(|(frame, gain)| {
                    scale(frame, |b| i16::from_ne_bytes(b).into(), |v: f64| (v.round() as i16).to_ne_bytes(), gain)
                });
            }
            format if format == AUDIO_FORMAT_S32 => {
                frames.for_each(|(frame, gain)| {
                    scale(frame, |b| i32::from_ne_bytes(b).into(), |v: f64| (v.round() as i32).to_ne_bytes(), gain)
                });
            }
            format if format == AUDIO_FORMAT_F32 => {
                frames.for_each(|(frame, gain)| {
                    scale(frame, |b| f32::from_ne_bytes(b).into(), |v: f64| (v as f32).to_ne_bytes(), gain)
                });
            }
            format if format == AUDIO_FORMAT_F64 => {
                frames.for_each(|(frame, gain)| scale(frame, f64::from_ne_bytes, f64::to_ne_bytes, gain));
            }
            _ => {}
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
        let part = sound.part(&buffer, 5..25, 0, &fade()).unwrap();
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
        assert_eq!(sound.part(&buffer, 0..10, 5, &fade()).unwrap().as_ptr(), buffer.as_ptr());
        assert_ne!(sound.part(&buffer, 0..10, 6, &fade()).unwrap().as_ptr(), buffer.as_ptr());
    }

    #[test]
    fn silence_of_unsigned_formats_is_their_middle() {
        gst::init().unwrap();
        let info = AudioInfo::builder(gst_audio::AudioFormat::U8, 1_000, 2).build().unwrap();
        let silence = Sound::new(info, Cutter::new(1_000, false, 0)).silence(3);
        assert_eq!(silence.map_readable().unwrap().as_slice(), [128; 6]);
    }

    #[test]
    fn sound_that_can_not_be_cut_is_refused_with_the_remedy() {
        gst::init().unwrap();
        let caps = |text: &str| text.parse::<gst::Caps>().unwrap();
        let planes =
            caps("audio/x-raw,format=S16LE,rate=8000,channels=2,channel-mask=(bitmask)3,layout=non-interleaved");
        assert!(info(&planes).unwrap_err().to_string().contains("put audioconvert before this pad"));
        assert!(info(&caps("audio/x-raw,format=NONSENSE")).unwrap_err().to_string().contains("audioconvert"));
        assert!(info(&caps("audio/mpeg")).unwrap().is_none());
    }
}
