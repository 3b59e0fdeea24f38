//! A video's scores and what a skim takes of it: what every report tells.

use std::ops::Range;

use desumnet_decide::plan::Plan;
use desumnet_frames::frame_rate::FrameRate;
use desumnet_media::timecode::{Number, Timecode};
use desumnet_offline::VideoScores;

/// A scored video. All times are ns since its first picture.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Its file name, by which editors find it.
    pub name: String,
    /// Its URL, absolute or relative to the report, percent-encoded.
    pub url: String,
    /// The URL of the skim, where there is one.
    pub skim_url: Option<String>,
    pub duration_ns: u64,
    /// Time of the first picture in players.
    pub first_ns: u64,
    pub frame_rate: FrameRate,
    /// Of the first picture, where the file has timecode.
    pub timecode: Option<Number>,
    /// It has sound, which the skim keeps.
    pub sound: bool,
    pub category: String,
    /// Probability of the category, [0, 1].
    pub confidence: f32,
    /// In the order of time, as are the shots and the parts.
    pub segments: Vec<Segment>,
    pub shots: Vec<Shot>,
    /// What the skim consists of.
    pub parts: Vec<Part>,
}

/// How a video and its skim are called and found: as in [`Summary`].
pub struct Files {
    pub name: String,
    pub url: String,
    pub skim_url: Option<String>,
}

/// A segment's score.
#[derive(Clone, Debug)]
pub struct Segment {
    pub start_ns: u64,
    pub duration_ns: u64,
    /// At least 0.
    pub score: f32,
    /// Rank of the score in the video, [0, 1].
    pub importance: f32,
}

/// What one camera saw without a cut.
#[derive(Clone, Debug)]
pub struct Shot {
    pub start_ns: u64,
    pub duration_ns: u64,
    /// Mean of its segments' scores.
    pub score: f32,
    /// The skim has it, or some of it.
    pub chosen: bool,
    /// A small JPEG picture of it.
    pub thumbnail: Option<Vec<u8>>,
}

/// A stretch of the video that the skim has.
#[derive(Clone, Debug)]
pub struct Part {
    pub start_ns: u64,
    pub duration_ns: u64,
    /// Where it is in the skim.
    pub output_start_ns: u64,
    /// Mean of its segments' scores.
    pub score: f32,
}

impl Summary {
    /// Of a scored video and the plan of its skim, if it has one, at normal speed. Its shots have no thumbnails yet.
    pub fn new(scores: &VideoScores, plan: Option<&Plan>, files: Files) -> Self {
        let mut output_start_ns = 0;
        let parts = plan.map_or(&[][..], Plan::parts).iter().map(|part| {
            let start = output_start_ns;
            output_start_ns += part.duration_ns;
            Part {
                start_ns: part.start_ns,
                duration_ns: part.duration_ns,
                output_start_ns: start,
                score: part.score as f32,
            }
        });
        let parts: Vec<Part> = parts.collect();
        let shots = scores.shots.iter().map(|shot| Shot {
            start_ns: shot.start_ns,
            duration_ns: shot.duration_ns,
            score: shot.score as f32,
            chosen: parts.iter().any(|part| shot.shared_ns(part.span().start, part.span().end) > 0),
            thumbnail: None,
        });
        let segments = scores.segments.iter().map(|segment| Segment {
            start_ns: segment.start_ns,
            duration_ns: segment.duration_ns,
            score: segment.score,
            importance: segment.importance,
        });
        Self {
            name: files.name,
            url: files.url,
            skim_url: files.skim_url,
            duration_ns: scores.duration_ns,
            first_ns: scores.first_ns,
            frame_rate: scores.frame_rate,
            timecode: scores.timecode,
            sound: scores.sound,
            category: scores.category.clone(),
            confidence: scores.confidence,
            segments: segments.collect(),
            shots: shots.collect(),
            parts,
        }
    }

    /// Mean importance of the segments in `span` (ns), weighted by their time in it; `None` where none is.
    pub fn importance(&self, span: Range<u64>) -> Option<f64> {
        let first = self.segments.partition_point(|s| s.start_ns + s.duration_ns <= span.start);
        let (mut sum, mut time) = (0.0, 0.0);
        for segment in self.segments[first..].iter().take_while(|s| s.start_ns < span.end) {
            let end = (segment.start_ns + segment.duration_ns).min(span.end);
            let weight = end.saturating_sub(segment.start_ns.max(span.start)) as f64;
            sum += weight * f64::from(segment.importance);
            time += weight;
        }
        (time > 0.0).then(|| sum / time)
    }

    /// The same of `count` equal steps of the video, without those that have no segment.
    pub(super) fn steps(&self, count: u64) -> impl Iterator<Item = (Range<u64>, f64)> {
        (0..count).filter_map(move |step| {
            let span = self.duration_ns * step / count..self.duration_ns * (step + 1) / count;
            self.importance(span.clone()).map(|importance| (span, importance))
        })
    }

    /// Length of the skim, ns.
    pub fn skim_ns(&self) -> u64 {
        self.parts.iter().map(|part| part.duration_ns).sum()
    }

    /// The number of the first frame: 0 where the video has no timecode.
    pub(super) fn first_frame(&self) -> u64 {
        let count = self.timecode.and_then(|number| Timecode::new(self.frame_rate, number.drop).ok().zip(Some(number)));
        count.map_or(0, |(count, number)| count.frame(number))
    }

    /// The parts in frames, counted from [`Self::first_frame`] in the video, one after another without gaps in the skim. A part too
    /// short for a frame is left out.
    pub(super) fn cuts(&self) -> impl Iterator<Item = Cut<'_>> {
        let (mut end, first) = (0, self.first_frame());
        self.parts.iter().filter_map(move |part| {
            let frame = |ns| first + self.frame_rate.frame(ns);
            let source = frame(part.span().start)..frame(part.span().end);
            let record = end..end + (source.end - source.start);
            end = record.end;
            (!source.is_empty()).then_some(Cut { part, source, record })
        })
    }

    /// The name without line breaks and other control characters, for formats that have a line for it.
    pub(super) fn line(&self) -> String {
        self.name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    }
}

impl Segment {
    /// Its time, ns.
    pub fn span(&self) -> Range<u64> {
        self.start_ns..self.start_ns + self.duration_ns
    }
}

impl Shot {
    /// Its time, ns.
    pub fn span(&self) -> Range<u64> {
        self.start_ns..self.start_ns + self.duration_ns
    }
}

impl Part {
    /// Its time in the video, ns.
    pub fn span(&self) -> Range<u64> {
        self.start_ns..self.start_ns + self.duration_ns
    }
}

/// A part in frames: of the video, and of the skim.
pub(super) struct Cut<'a> {
    pub part: &'a Part,
    pub source: Range<u64>,
    pub record: Range<u64>,
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub const SECOND: u64 = 1_000_000_000;

    /// Ten seconds at 25 a second: five segments of two seconds, three shots, of which the skim has the second (2 to 6 s)
    /// and a second of the third (8 to 9 s).
    pub fn sample() -> Summary {
        let segments = [0.125, 0.75, 1.0, 0.25, 0.5].into_iter().enumerate().map(|(i, importance)| Segment {
            start_ns: 2 * SECOND * i as u64,
            duration_ns: 2 * SECOND,
            score: importance / 4.0,
            importance,
        });
        let shot = |start: u64, end: u64, score, chosen| Shot {
            start_ns: start * SECOND,
            duration_ns: (end - start) * SECOND,
            score,
            chosen,
            thumbnail: None,
        };
        let part = |start: u64, end: u64, output: u64, score| Part {
            start_ns: start * SECOND,
            duration_ns: (end - start) * SECOND,
            output_start_ns: output * SECOND,
            score,
        };
        Summary {
            name: "clip.mp4".into(),
            url: "clip.mp4".into(),
            skim_url: Some("clip-skim.mp4".into()),
            duration_ns: 10 * SECOND,
            first_ns: 0,
            frame_rate: FrameRate { numerator: 25, denominator: 1 },
            timecode: None,
            sound: false,
            category: "cooking".into(),
            confidence: 0.5,
            segments: segments.collect(),
            shots: vec![shot(0, 2, 0.03125, false), shot(2, 6, 0.21875, true), shot(6, 10, 0.09375, true)],
            parts: vec![part(2, 6, 0, 0.21875), part(8, 9, 4, 0.125)],
        }
    }

    #[test]
    fn importance_is_weighted_by_the_time_in_the_span() {
        let summary = sample();
        let importance = |span: Range<u64>| summary.importance(span.start * SECOND / 2..span.end * SECOND / 2);
        assert_eq!(importance(4..12), Some(0.875));
        // Half a second of the second segment, two seconds of the third.
        assert_eq!(importance(7..12), Some((0.5 * 0.75 + 2.0 * 1.0) / 2.5));
        assert_eq!(importance(16..100), Some(0.5));
        assert_eq!((importance(20..30), importance(6..6)), (None, None));
    }

    #[test]
    fn cuts_follow_each_other_in_whole_frames() {
        let mut summary = sample();
        let part = |start_ns, duration_ns| Part { start_ns, duration_ns, output_start_ns: 0, score: 0.0 };
        let ms = 1_000_000;
        summary.parts = vec![part(19 * ms, 62 * ms), part(100 * ms, 19 * ms), part(1_000 * ms, 40 * ms)];
        let cuts: Vec<_> = summary.cuts().map(|cut| (cut.source, cut.record)).collect();
        assert_eq!(cuts, [(0..2, 0..2), (25..26, 2..3)]);
    }
}
