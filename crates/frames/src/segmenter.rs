//! Cuts a stream of frames into segments of as many sampled frames as the model's clips have, by their timestamps.
//!
//! Pure: it knows times and analysis frames, nothing of pads. Times are nanoseconds throughout.

use std::collections::VecDeque;

use crate::{
    clip::{Clip, FRAMES, Frame, Geometry},
    times::lasts,
};

/// Rate that [`Stride::Auto`] aims for: the middle of 25 and 30 sampled frames a second.
const AUTO_RATE: f64 = 27.5;
/// A step between two frames that is this many times the usual one, and over [`JUMP`], ends a segment.
const JUMP_FACTOR: u64 = 8;
/// Shortest step, ns, that can end a segment.
const JUMP: u64 = 1_000_000_000;

/// Which frames of the stream go into clips.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stride {
    /// Every n-th, so that 25 to 30 a second are sampled where there are as many. The first clip's worth of frames tells the rate, and
    /// from then on the latest frames before each segment do.
    Auto,
    /// Every n-th frame, n at least 1.
    Every(u32),
}

impl Stride {
    /// From the `frame-stride` setting, where 0 stands for automatic.
    pub fn from_setting(setting: u32) -> Self {
        if setting == 0 { Self::Auto } else { Self::Every(setting) }
    }

    /// The stride for frames that are `spacing` ns apart.
    pub fn at_spacing(self, spacing: u64) -> u32 {
        match self {
            Self::Every(n) => n,
            Self::Auto if spacing == 0 => 1,
            Self::Auto => ((1e9 / spacing as f64 / AUTO_RATE).round() as u32).max(1),
        }
    }
}

/// A frame as it enters: its times, and its analysis pixels unless [`Segmenter::samples_next`] said no.
pub struct Input {
    pub pts: Option<u64>,
    pub duration: Option<u64>,
    pub frame: Option<Frame>,
}

/// Where a frame stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number of the segment, from 0.
    pub segment: u64,
    /// Number of the frame in its segment, from 0.
    pub frame: u32,
}

/// A finished segment.
pub struct Segment {
    pub index: u64,
    /// PTS of the first frame; `None` if it had none.
    pub start: Option<u64>,
    /// From the first frame's PTS to the end of the last.
    pub duration: u64,
    /// Frames of the stream in it, sampled or not.
    pub frames: u32,
    /// Every how many frames one was sampled.
    pub stride: u32,
    /// Fewer frames than a clip has were there to be sampled.
    pub padded: bool,
    pub clip: Clip,
}

impl Segment {
    /// Which of the clip's frames stands for the segment's frame `index`.
    pub fn sample_of(&self, index: u32) -> usize {
        ((index / self.stride) as usize).min(self.clip.frames().len() - 1)
    }
}

/// Time between the latest frames.
#[derive(Default)]
struct Pace {
    last: Option<u64>,
    /// From frame to frame, ns, the newest last.
    steps: VecDeque<u64>,
}

impl Pace {
    /// Steps that it looks back on: those of the paper's clip.
    const STEPS: usize = FRAMES;

    fn push(&mut self, pts: Option<u64>) {
        if let Some(step) = self.last.zip(pts).and_then(|(last, pts)| pts.checked_sub(last)) {
            if self.steps.len() == Self::STEPS {
                self.steps.pop_front();
            }
            self.steps.push_back(step);
        }
        self.last = pts.or(self.last);
    }

    /// Mean of the steps but for the longest, which may be a pause; of a single step, only itself. Where there is only one, `caps` is believed
    /// rather, if it is not 0.
    fn spacing(&self, caps: u64) -> u64 {
        let (sum, longest) = (self.steps.iter().sum::<u64>(), self.steps.iter().max().copied().unwrap_or(0));
        match self.steps.len() as u64 {
            0 => caps,
            1 if caps > 0 => caps,
            1 => longest,
            n => (sum - longest) / (n - 1),
        }
    }
}

struct Open {
    start: Option<u64>,
    last_pts: Option<u64>,
    last_duration: Option<u64>,
    frames: u32,
    sampled: Vec<Frame>,
}

/// The cutter: frames in by [`Segmenter::push`], segments out.
pub struct Segmenter {
    stride: Stride,
    geometry: Geometry,
    /// Of the open segment, or else the last one. Known after the first clip's worth of frames (`Auto`) or at once.
    decided: Option<u32>,
    /// Time between frames as the caps have it, for frames that carry no times.
    nominal_spacing: u64,
    pace: Pace,
    next_index: u64,
    open: Option<Open>,
}

impl Segmenter {
    /// For clips of this geometry.
    pub fn new(stride: Stride, geometry: Geometry) -> Self {
        let decided = if let Stride::Every(n) = stride { Some(n.max(1)) } else { None };
        Self { stride, geometry, decided, nominal_spacing: 0, pace: Pace::default(), next_index: 0, open: None }
    }

    /// New caps: frames are `nominal_spacing` ns apart by their frame rate (0 = unknown). Call [`Self::finish`] first.
    pub fn set_nominal_spacing(&mut self, nominal_spacing: u64) {
        self.nominal_spacing = nominal_spacing;
        self.pace = Pace::default();
        if self.stride == Stride::Auto {
            self.decided = None;
        }
    }

    /// Number of the segment that the next frame belongs to, and whether it is open already.
    pub fn next_segment(&self) -> (u64, bool) {
        (self.next_index, self.open.is_some())
    }

    /// Whether the next frame's pixels are wanted; the others need not be scaled.
    pub fn samples_next(&self) -> bool {
        match (&self.open, self.decided) {
            (Some(open), Some(stride)) => open.frames.is_multiple_of(stride),
            _ => true,
        }
    }

    /// Whether a frame with this timestamp can't belong to the open segment: time ran back or jumped. The caller then
    /// calls [`Self::finish`] before it pushes the frame.
    pub fn breaks_before(&self, pts: Option<u64>) -> bool {
        let (Some(open), Some(pts)) = (&self.open, pts) else { return false };
        let Some(last) = open.last_pts else { return false };
        let usual = self.spacing();
        pts < last || (usual > 0 && pts - last > JUMP.max(JUMP_FACTOR.saturating_mul(usual)))
    }

    /// Takes a frame; with the clip's last sampled one's last follower, the segment is done.
    pub fn push(&mut self, input: Input) -> (Place, Option<Segment>) {
        let in_clip = self.geometry.frames;
        if self.open.is_none() && self.decided.is_some() {
            self.decided = Some(self.stride.at_spacing(self.spacing()).max(1));
        }
        self.pace.push(input.pts);
        let open = self.open.get_or_insert_with(|| Open {
            start: input.pts,
            last_pts: None,
            last_duration: None,
            frames: 0,
            sampled: Vec::with_capacity(in_clip),
        });
        let place = Place { segment: self.next_index, frame: open.frames };
        open.frames += 1;
        open.last_pts = input.pts.or(open.last_pts);
        open.last_duration = input.duration;
        open.sampled.extend(input.frame);
        if self.decided.is_none() && open.frames as usize == in_clip {
            self.decide();
        }
        let whole = self.decided.map(|stride| in_clip as u32 * stride);
        let full = whole.is_some() && whole == self.open.as_ref().map(|open| open.frames);
        (place, if full { self.finish() } else { None })
    }

    /// Ends the open segment, however short; `None` if it is empty.
    pub fn finish(&mut self) -> Option<Segment> {
        let spacing = self.spacing();
        let open = self.open.take()?;
        let stride = self.decided.unwrap_or(1);
        let index = self.next_index;
        self.next_index += 1;
        let end_of_last = lasts(open.last_duration, spacing);
        let duration = match (open.start, open.last_pts) {
            (Some(start), Some(last)) => last.saturating_sub(start) + end_of_last,
            _ => u64::from(open.frames) * end_of_last,
        };
        let padded = open.sampled.len() < self.geometry.frames;
        let clip = Clip::of(open.sampled, self.geometry)?;
        Some(Segment { index, start: open.start, duration, frames: open.frames, stride, padded, clip })
    }

    /// Forgets the open segment and starts over after a flush; numbers go on.
    pub fn reset(&mut self) {
        self.next_index += u64::from(self.open.take().is_some());
        self.set_nominal_spacing(self.nominal_spacing);
    }

    /// Time between frames, ns: by the latest ones, or else by the caps; 0 where neither tells.
    pub fn spacing(&self) -> u64 {
        self.pace.spacing(self.nominal_spacing)
    }

    /// Sets the automatic stride after the first clip's worth of frames, and drops the frames that it would not have sampled.
    fn decide(&mut self) {
        let stride = self.stride.at_spacing(self.spacing());
        self.decided = Some(stride);
        if let Some(open) = &mut self.open {
            let mut index = 0;
            open.sampled.retain(|_| {
                index += 1;
                (index - 1) % stride == 0
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: u64 = 1_000_000;

    /// Runs frames with these timestamps through; every place, and every segment of the paper's clips.
    fn cut(stride: Stride, nominal: u64, times: &[Option<u64>]) -> (Vec<Place>, Vec<Segment>) {
        cut_for(Geometry::PAPER, stride, nominal, times)
    }

    fn cut_for(geometry: Geometry, stride: Stride, nominal: u64, times: &[Option<u64>]) -> (Vec<Place>, Vec<Segment>) {
        let mut segmenter = Segmenter::new(stride, geometry);
        segmenter.set_nominal_spacing(nominal);
        let (mut places, mut segments) = (Vec::new(), Vec::new());
        for (i, &pts) in times.iter().enumerate() {
            if segmenter.breaks_before(pts) {
                segments.extend(segmenter.finish());
            }
            let frame = segmenter.samples_next().then(|| Frame::new(vec![i as u8; geometry.frame_bytes()]));
            let (place, segment) = segmenter.push(Input { pts, duration: None, frame });
            places.push(place);
            segments.extend(segment);
        }
        segments.extend(segmenter.finish());
        (places, segments)
    }

    fn steady(frames: u64, spacing: u64) -> Vec<Option<u64>> {
        (0..frames).map(|i| Some(i * spacing)).collect()
    }

    fn sampled(segment: &Segment) -> Vec<u8> {
        segment.clip.frames().iter().map(|f| f.pixels()[0]).collect()
    }

    #[test]
    fn thirty_three_frames_make_two_segments_and_a_padded_one() {
        let (places, segments) = cut(Stride::Auto, 0, &steady(33, 40 * MS));
        assert_eq!(places[16], Place { segment: 1, frame: 0 });
        let got: Vec<_> = segments.iter().map(|s| (s.index, s.start, s.duration, s.frames, s.padded)).collect();
        let whole = 640 * MS;
        assert_eq!(
            got,
            [
                (0, Some(0), whole, 16, false),
                (1, Some(whole), whole, 16, false),
                (2, Some(2 * whole), 40 * MS, 1, true)
            ]
        );
    }

    #[test]
    fn auto_stride_samples_sixty_a_second_every_second_frame() {
        let (places, segments) = cut(Stride::Auto, 0, &steady(64, 1_000_000_000 / 60));
        assert_eq!(places[32], Place { segment: 1, frame: 0 });
        assert_eq!(segments.len(), 2);
        assert_eq!(sampled(&segments[0]), (0..32).step_by(2).collect::<Vec<u8>>());
        assert_eq!(sampled(&segments[1]), (32..64).step_by(2).collect::<Vec<u8>>());
        assert_eq!((segments[0].sample_of(0), segments[0].sample_of(31)), (0, 15));
    }

    #[test]
    fn auto_stride_believes_timestamps_rather_than_the_caps() {
        // The caps claim 1,000 frames a second; the frames come 25 a second.
        let (_, segments) = cut(Stride::Auto, MS, &steady(16, 40 * MS));
        assert_eq!((segments[0].stride, segments[0].frames), (1, 16));
    }

    #[test]
    fn frames_without_timestamps_count_by_the_caps() {
        let (_, segments) = cut(Stride::Auto, 20 * MS, &[None; 40]);
        let got: Vec<_> = segments.iter().map(|s| (s.start, s.duration, s.frames, s.stride)).collect();
        assert_eq!(got, [(None, 640 * MS, 32, 2), (None, 160 * MS, 8, 2)]);
    }

    #[test]
    fn a_jump_and_a_step_back_end_the_segment() {
        let mut times = steady(8, 40 * MS);
        times.extend([Some(5_000 * MS), Some(5_040 * MS), Some(100 * MS)]);
        let (_, segments) = cut(Stride::Auto, 0, &times);
        let got: Vec<_> = segments.iter().map(|s| (s.start.unwrap() / MS, s.duration / MS, s.frames)).collect();
        assert_eq!(got, [(0, 320, 8), (5_000, 80, 2), (100, 40, 1)]);
    }

    #[test]
    fn slow_streams_are_not_cut_at_every_frame() {
        let (_, segments) = cut(Stride::Auto, 2_000 * MS, &steady(20, 2_000 * MS));
        assert_eq!(segments.iter().map(|s| s.frames).collect::<Vec<_>>(), [16, 4]);
    }

    #[test]
    fn slow_streams_whose_caps_claim_more_are_cut_only_until_their_pace_is_known() {
        // The caps claim 30 frames a second; one comes every three seconds.
        let (_, segments) = cut(Stride::Auto, 33 * MS, &steady(20, 3_000 * MS));
        assert_eq!(segments.iter().map(|s| s.frames).collect::<Vec<_>>(), [1, 1, 16, 2]);
    }

    #[test]
    fn the_automatic_stride_follows_the_rate() {
        // 60 frames a second, 30, 60 and 120.
        let (mut times, mut now) = (Vec::new(), 0);
        for (frames, spacing) in [(64, 16_666_667), (48, 33_333_333), (64, 16_666_667), (192, 8_333_333)] {
            for _ in 0..frames {
                times.push(Some(now));
                now += spacing;
            }
        }
        let (_, segments) = cut(Stride::Auto, 0, &times);
        let strides: Vec<u32> = segments.iter().map(|s| s.stride).collect();
        // A segment has the stride of the frames before it.
        assert_eq!(strides, [2, 2, 2, 1, 1, 2, 2, 4, 4, 4]);
        assert!(segments[..9].iter().all(|s| s.frames == 16 * s.stride && s.clip.frames().len() == 16));
        // What is set stays.
        let (_, segments) = cut(Stride::Every(3), 0, &times);
        assert!(segments.iter().all(|s| s.stride == 3));
    }

    #[test]
    fn a_pause_does_not_change_the_pace() {
        let pace = |steps: &[u64], caps| {
            let (mut pace, mut now) = (Pace::default(), 0);
            pace.push(Some(now));
            for step in steps {
                now += step;
                pace.push(Some(now));
            }
            pace.spacing(caps)
        };
        assert_eq!((pace(&[], 0), pace(&[], 33), pace(&[40], 33), pace(&[40], 0)), (0, 33, 33, 40));
        assert_eq!(pace(&[40, 40, 4_000, 40], 33), 40);
        assert_eq!(pace(&[20, 60, 20, 60, 20, 60, 20], 33), 33);
        assert_eq!(pace(&[[16; 40], [100; 40]].concat(), 33), 100);
    }

    #[test]
    fn segments_are_as_long_as_the_models_clips() {
        for (frames, expected) in [(1, vec![2; 20]), (8, vec![16, 16, 8]), (32, vec![40])] {
            // 50 a second: every second one is sampled, but of a segment that ends before the rate is told.
            let geometry = Geometry { frames, ..Geometry::PAPER };
            let (_, segments) = cut_for(geometry, Stride::Auto, 20 * MS, &steady(40, 20 * MS));
            assert_eq!(segments.iter().map(|s| s.frames).collect::<Vec<_>>(), expected, "{frames}");
            assert!(segments.iter().all(|s| s.clip.frames().len() == frames));
        }
    }

    proptest! {
        #[test]
        fn every_frame_has_one_place_in_order(
            steps in prop::collection::vec(0u64..200 * MS, 1..150), stride in 0u32..4, frames in 1usize..40,
        ) {
            let mut now = 0;
            let times: Vec<_> = steps.iter().map(|s| { now += s; Some(now) }).collect();
            let geometry = Geometry { frames, ..Geometry::PAPER };
            let (places, segments) = cut_for(geometry, Stride::from_setting(stride), 0, &times);
            prop_assert_eq!(places.len(), times.len());
            let expected: Vec<Place> = segments.iter()
                .flat_map(|s| (0..s.frames).map(|frame| Place { segment: s.index, frame }))
                .collect();
            prop_assert_eq!(&places, &expected);
            for segment in &segments[..segments.len() - 1] {
                prop_assert_eq!(segment.frames, frames as u32 * segment.stride);
                prop_assert!(!segment.padded);
            }
        }
    }
}
