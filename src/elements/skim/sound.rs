//! Raw sound as buffers: pieces of them, silence, what plays faster, and the fades at cuts.

use std::ops::Range;

use gst_audio::{
    AUDIO_FORMAT_F32, AUDIO_FORMAT_F64, AUDIO_FORMAT_S16, AUDIO_FORMAT_S32, AudioInfo, AudioLayout, AudioMeta,
};

use desumnet_decide::{
    samples::{Chunk, Cutter, Fade, Scaled},
    stretch::Stretch,
};

/// A stream of raw sound, and where it is cut.
#[derive(Debug)]
pub struct Sound {
    info: AudioInfo,
    pub cutter: Cutter,
    /// What is being scaled, and how it fades.
    stretch: Option<(Stretch, Fade)>,
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
    /// `scales`: what plays faster is scaled, if its channels lie side by side and its format is one that fades.
    pub fn new(info: AudioInfo, cutter: Cutter, scales: bool) -> Self {
        let possible = info.layout() == AudioLayout::Interleaved && values(&info, &[]).is_some();
        Self { cutter: cutter.scaling(scales && possible), info, stretch: None }
    }

    /// What is being scaled is gone.
    pub fn forget(&mut self) {
        self.stretch = None;
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

    /// A buffer as output samples, which begins at `start`.
    pub fn stamped(&self, mut buffer: gst::Buffer, at: Range<u64>, start: gst::ClockTime) -> gst::Buffer {
        let [from, until] = [at.start, at.end].map(|sample| self.cutter.time_of(sample));
        let fields = buffer.make_mut();
        fields.set_pts(start);
        fields.set_dts(None);
        fields.set_duration(gst::ClockTime::from_nseconds(until - from));
        fields.set_offset(u64::MAX);
        fields.set_offset_end(u64::MAX);
        buffer
    }

    /// Scales a part of a buffer, or of silence where there is none: what can be told by now.
    pub fn scale(&mut self, buffer: Option<&gst::Buffer>, scaled: &Scaled) -> Option<gst::Buffer> {
        let (channels, bpf) = (self.info.channels() as usize, self.info.bpf() as usize);
        let (stretch, fade) = self
            .stretch
            .get_or_insert_with(|| (Stretch::new(self.info.rate(), channels, scaled.at), scaled.fade.clone()));
        fade.clone_from(&scaled.fade);
        let map = buffer.and_then(|buffer| buffer.map_readable().ok());
        let bytes = map
            .as_ref()
            .zip(scaled.samples.as_ref())
            .and_then(|(map, samples)| map.get(samples.start as usize * bpf..samples.end as usize * bpf));
        let values = bytes.and_then(|bytes| values(&self.info, bytes));
        stretch.play(scaled.at, scaled.speed);
        stretch.push(&values.unwrap_or_else(|| vec![0.0; scaled.count as usize * channels]));
        let (at, made) = stretch.take(scaled.ready);
        let fade = fade.clone();
        self.scaled(at, made, &fade)
    }

    /// The rest of what is being scaled.
    pub fn finish(&mut self) -> Option<gst::Buffer> {
        let (stretch, fade) = self.stretch.take()?;
        let (at, made) = stretch.finish(self.cutter.sent());
        self.scaled(at, made, &fade)
    }

    /// Values of all channels, from the output sample `at` on; `None` if there are none.
    fn scaled(&self, at: u64, mut values: Vec<f64>, fade: &Fade) -> Option<gst::Buffer> {
        let channels = self.info.channels() as usize;
        let out = at..at + (values.len() / channels) as u64;
        if out.is_empty() {
            return None;
        }
        fade_values(&mut values, channels, at, fade);
        let mut bytes = vec![0; values.len() / channels * self.info.bpf() as usize];
        write(&self.info, &values, &mut bytes);
        let start = gst::ClockTime::from_nseconds(self.cutter.time_of(at));
        Some(self.stamped(gst::Buffer::from_mut_slice(bytes), out, start))
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
        let channels = self.info.channels() as usize / planes.len();
        let Ok(mut map) = buffer.map_writable() else { return };
        for plane in planes {
            let bytes = &mut map[plane..plane + count * step];
            if let Some(mut values) = values(&self.info, bytes) {
                fade_values(&mut values, channels, at, fade);
                write(&self.info, &values, bytes);
            }
        }
    }
}

/// Fades interleaved values, the first of them of the output sample `at`.
fn fade_values(values: &mut [f64], channels: usize, at: u64, fade: &Fade) {
    for (frame, sample) in values.chunks_exact_mut(channels).zip(at..) {
        let gain = fade.gain(sample);
        frame.iter_mut().for_each(|value| *value *= gain);
    }
}

/// The samples in bytes, on the scale of their format; `None` of a format other than 16 and 32 bit integers and floats in the
/// machine's byte order.
fn values(info: &AudioInfo, bytes: &[u8]) -> Option<Vec<f64>> {
    fn read<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f64) -> Vec<f64> {
        bytes.as_chunks().0.iter().map(|&sample| value(sample)).collect()
    }
    match info.format() {
        format if format == AUDIO_FORMAT_S16 => Some(read(bytes, |sample| i16::from_ne_bytes(sample).into())),
        format if format == AUDIO_FORMAT_S32 => Some(read(bytes, |sample| i32::from_ne_bytes(sample).into())),
        format if format == AUDIO_FORMAT_F32 => Some(read(bytes, |sample| f32::from_ne_bytes(sample).into())),
        format if format == AUDIO_FORMAT_F64 => Some(read(bytes, f64::from_ne_bytes)),
        _ => None,
    }
}

/// Writes what [`values`] has read.
fn write(info: &AudioInfo, values: &[f64], bytes: &mut [u8]) {
    fn write<const N: usize>(values: &[f64], bytes: &mut [u8], sample: impl Fn(f64) -> [u8; N]) {
        for (bytes, &value) in bytes.as_chunks_mut().0.iter_mut().zip(values) {
            *bytes = sample(value);
        }
    }
    match info.format() {
        format if format == AUDIO_FORMAT_S16 => write(values, bytes, |value| (value.round() as i16).to_ne_bytes()),
        format if format == AUDIO_FORMAT_S32 => write(values, bytes, |value| (value.round() as i32).to_ne_bytes()),
        format if format == AUDIO_FORMAT_F32 => write(values, bytes, |value| (value as f32).to_ne_bytes()),
        format if format == AUDIO_FORMAT_F64 => write(values, bytes, f64::to_ne_bytes),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use desumnet_decide::{samples::Step, timeline::Timeline};

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
        let sound = Sound::new(info, Cutter::new(1_000, false, 0), false);
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
        let sound = Sound::new(info, Cutter::new(1_000, false, 0), false);
        let buffer = gst::Buffer::with_size(20).unwrap();
        assert_eq!(sound.part(&buffer, 0..10, 5, &fade()).as_ptr(), buffer.as_ptr());
        assert_ne!(sound.part(&buffer, 0..10, 6, &fade()).as_ptr(), buffer.as_ptr());
    }

    #[test]
    fn silence_of_unsigned_formats_is_their_middle() {
        gst::init().unwrap();
        let info = AudioInfo::builder(gst_audio::AudioFormat::U8, 1_000, 2).build().unwrap();
        let silence = Sound::new(info, Cutter::new(1_000, false, 0), false).silence(3);
        assert_eq!(silence.map_readable().unwrap().as_slice(), [128; 6]);
    }

    #[test]
    fn planes_are_cut_and_fade_like_channels_side_by_side() {
        gst::init().unwrap();
        let planes =
            AudioInfo::builder(AUDIO_FORMAT_S16, 1_000, 2).layout(AudioLayout::NonInterleaved).build().unwrap();
        let sound = Sound::new(planes.clone(), Cutter::new(1_000, false, 0), false);
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
