//! Looks at what a person marked: the network's features, and the motion, of the segments there.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::ops::Range;
use thiserror::Error;

use crate::marks::Mark;
use desumnet_engine::{
    network::{ComputeError, Network},
    taught::Example,
    unusual::motion,
};
use desumnet_frames::{clip::Geometry, segmenter::Stride};
use desumnet_media::decode::{DecodeError, Segments};

/// About so many segments of marked moments are looked at, and so many of one at least and at most.
const SEGMENTS: u64 = 200;
const OF_ONE: [u64; 2] = [4, 100];
/// Where nothing is marked as unwanted: so many segments from the rest of the videos, this far from what is marked, ns.
const OTHERS: usize = 60;
const MARGIN: u64 = 2_000_000_000;

/// Why marks teach nothing.
#[derive(Debug, Error)]
pub enum GatherError {
    #[error("nothing is marked as wanted: give --like")]
    NothingWanted,
    #[error(
        "nothing is marked as unwanted, and of {video} nothing is left beside what is wanted: give --unlike, or mark a part, as in {video}@1:20-1:30"
    )]
    NothingElse { video: String },
    #[error("{video} has no picture between {from:.1} s and {until:.1} s: mark a part of the video")]
    Empty { video: String, from: f64, until: f64 },
    #[error("{video} is marked as wanted and as unwanted from {from:.1} s to {until:.1} s: leave one of the marks out")]
    Contradiction { video: String, from: f64, until: f64 },
    #[error("the model gives no features, which a head reads: export it with features [N, D] as a second output")]
    NoFeatures,
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Compute(#[from] ComputeError),
}

/// A moment to look at.
struct Moment {
    /// ns since the first picture.
    span: Range<u64>,
    wanted: bool,
    number: usize,
    /// Most segments of it.
    most: u64,
    /// Marks that say otherwise, and are no longer: where they overlap with it, theirs is the word.
    against: Vec<Range<u64>>,
}

impl Moment {
    fn is_against(&self, span: &Range<u64>) -> bool {
        self.against.iter().any(|other| other.start < span.end && span.start < other.end)
    }
}

/// The examples that marks stand for, each wanted where its `like` says so or, where that says nothing, wanted. Where none is unwanted,
/// other places of the same videos, drawn at random, but always the same, are. `progress` is told how many moments of how many are done.
///
/// # Errors
/// [`GatherError`]
pub fn gather(
    marks: &[Mark],
    network: &Network,
    stride: Stride,
    mut progress: impl FnMut(usize, usize),
) -> Result<Vec<Example>, GatherError> {
    let is_wanted = |mark: &Mark| mark.like.unwrap_or(true);
    let whole = |mark: &&Mark| is_wanted(mark) && mark.span.is_none();
    if !marks.iter().any(is_wanted) {
        return Err(GatherError::NothingWanted);
    }
    let draws = marks.iter().all(is_wanted);
    if let Some(mark) = marks.iter().find(whole).filter(|_| draws) {
        return Err(GatherError::NothingElse { video: mark.video.clone() });
    }
    let mut videos: Vec<&str> = marks.iter().map(|mark| &*mark.video).collect();
    videos.sort_unstable();
    videos.dedup();
    let most = (SEGMENTS / marks.len() as u64).clamp(OF_ONE[0], OF_ONE[1]);
    let all = marks.len() + if draws { OTHERS } else { 0 };
    let (mut examples, mut done) = (Vec::new(), 0);
    for (place, video) in videos.iter().enumerate() {
        let mut source = Segments::open(video, stride, network.clip)?;
        let first = source.next().transpose()?.ok_or_else(|| DecodeError::Empty { video: (*video).into() })?;
        let duration = source.duration().unwrap_or(0);
        let own = marks.iter().enumerate().filter(|(_, mark)| mark.video == *video);
        let mut moments: Vec<Moment> = own
            .map(|(number, mark)| {
                let span = mark.span.clone().unwrap_or(0..duration.max(first.duration));
                Moment { span, wanted: is_wanted(mark), number, most, against: Vec::new() }
            })
            .collect();
        let spans: Vec<(Range<u64>, bool)> = moments.iter().map(|m| (m.span.clone(), m.wanted)).collect();
        for moment in &mut moments {
            let length = |span: &Range<u64>| span.end - span.start;
            let against =
                spans.iter().filter(|(span, wanted)| *wanted != moment.wanted && length(span) <= length(&moment.span));
            moment.against = against.map(|(span, _)| span.clone()).collect();
        }
        if draws {
            // As many of each video, and the rest of the first ones.
            let count = OTHERS / videos.len() + usize::from(place < OTHERS % videos.len());
            let others = others(&spans, duration, first.duration, count);
            let numbered = others.into_iter().enumerate();
            moments.extend(numbered.map(|(n, span)| Moment {
                span,
                wanted: false,
                number: marks.len() + place * OTHERS + n,
                most: 1,
                against: Vec::new(),
            }));
        }
        moments.sort_by_key(|moment| moment.span.start);
        for moment in moments {
            let before = examples.len();
            look(&mut source, &moment, network, &mut examples)?;
            if examples.len() == before && moment.number < marks.len() {
                let [from, until] = [moment.span.start, moment.span.end].map(|ns| ns as f64 / 1e9);
                let video = (*video).into();
                return Err(if moment.is_against(&moment.span) {
                    GatherError::Contradiction { video, from, until }
                } else {
                    GatherError::Empty { video, from, until }
                });
            }
            done += 1;
            progress(done, all);
        }
    }
    if examples.iter().all(|example| example.wanted) {
        return Err(GatherError::NothingElse { video: videos[0].into() });
    }
    Ok(examples)
}

/// Adds the segments of a moment, evenly spread if there are many.
fn look(
    source: &mut Segments,
    moment: &Moment,
    network: &Network,
    examples: &mut Vec<Example>,
) -> Result<(), GatherError> {
    let Range { start, end } = moment.span;
    let step = (end - start) / moment.most;
    let (mut taken, mut from, mut at) = (0, start, start);
    source.seek(start);
    while let Some(segment) = source.next().transpose()? {
        let begin = segment.start.unwrap_or(at);
        let middle = begin + segment.duration / 2;
        at = begin + segment.duration;
        // A source that can't seek comes to it in its time.
        if middle < from {
            continue;
        }
        // Of a moment that is shorter than a segment, the one that begins in it.
        // What is filled up with its last picture, at a video's end, hardly moves.
        if begin >= end || taken > 0 && (middle >= end || segment.padded) {
            break;
        }
        if !moment.is_against(&(begin..at)) {
            examples.push(example(&segment.clip.centre_crop(), moment, network)?);
        }
        taken += 1;
        from = start + taken * step;
        if taken == moment.most || from >= end {
            break;
        }
        if from > at {
            source.seek(from);
        }
    }
    Ok(())
}

fn example(clip: &[u8], moment: &Moment, network: &Network) -> Result<Example, GatherError> {
    let features = network.features_of(&[clip])?.and_then(|mut rows| rows.pop()).ok_or(GatherError::NoFeatures)?;
    let Geometry { frames, crop_width, .. } = network.clip;
    let motion = motion::motion(clip, frames, crop_width);
    Ok(Example { features, motion, wanted: moment.wanted, moment: moment.number })
}

/// Places of a video that are not marked: up to so many, each a segment long, evenly spread with a random shift each.
fn others(marked: &[(Range<u64>, bool)], duration: u64, segment: u64, count: usize) -> Vec<Range<u64>> {
    let mut rng = StdRng::seed_from_u64(0);
    let Some(room) = duration.checked_sub(segment).filter(|&room| room > 0 && segment > 0) else { return Vec::new() };
    // More are tried than are needed: some fall on what is marked, and a short video has no room for all.
    let tries = (2 * count as u64).min(room / segment).max(1);
    let places = (0..tries).map(|n| {
        let share = room / tries;
        n * share + rng.random_range(0..=share.saturating_sub(segment))
    });
    let free =
        |at: &u64| marked.iter().all(|(span, _)| at + segment + MARGIN <= span.start || *at >= span.end + MARGIN);
    let free: Vec<u64> = places.filter(free).collect();
    let chosen = count.min(free.len());
    (0..chosen).map(|n| free[n * free.len() / chosen]).map(|at| at..at + segment).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_places_are_spread_over_the_video_and_keep_away_from_what_is_marked() {
        const SECOND: u64 = 1_000_000_000;
        let marked = 100 * SECOND..130 * SECOND;
        let others = others(&[(marked.clone(), true)], 600 * SECOND, SECOND / 2, 60);
        assert_eq!(others.len(), 60);
        assert!(others.iter().all(|o| o.end + MARGIN <= marked.start || o.start >= marked.end + MARGIN));
        assert!(others.windows(2).all(|pair| pair[0].end <= pair[1].start));
        assert!(others[0].start < 20 * SECOND && others[59].start > 570 * SECOND && others[59].end <= 600 * SECOND);
    }

    #[test]
    fn a_video_that_is_all_marked_has_no_other_places() {
        assert_eq!(others(&[(0..60, true)], 60, 10, 60), []);
        assert_eq!(others(&[], 0, 10, 60), []);
    }
}
