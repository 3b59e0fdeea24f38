//! Adaptation to untrimmed web videos (paper, section 3.2): a network that was fine-tuned keeps the segments that it finds
//! likely enough to be of their video's category.

use super::{
    accuracy::{AccuracyError, predict},
    data::Dataset,
};
use desumnet_engine::network::Network;

/// What a network found in a segment.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Judged {
    pub video: String,
    pub category: String,
    pub segment: usize,
    /// PTS of the first frame, ns; `None` if it had none.
    pub start_ns: Option<u64>,
    pub duration_ns: u64,
    /// Of the video's category.
    pub probability: f32,
    pub kept: bool,
}

/// Leaves in each video only the segments whose probability of the video's category is at least `threshold`; videos without one
/// leave the set. What was found in each segment. `progress` is called with the number of videos done.
///
/// # Errors
/// [`AccuracyError`]
pub fn refine(
    network: &Network,
    set: &mut Dataset,
    threshold: f32,
    mut progress: impl FnMut(usize),
) -> Result<Vec<Judged>, AccuracyError> {
    let mut judged = Vec::new();
    let mut kept_of = Vec::new();
    for (done, video) in set.videos.iter().enumerate() {
        let all: Vec<usize> = (0..video.stored.segments()).collect();
        let mut kept = Vec::new();
        for (segment, row) in predict(network, video, &all)?.into_iter().enumerate() {
            let probability = row[video.category];
            let keep = probability >= threshold;
            if keep {
                kept.push(segment);
            }
            let (start_ns, duration_ns) = video.stored.times_of(segment);
            judged.push(Judged {
                video: video.path.display().to_string(),
                category: set.categories[video.category].clone(),
                segment,
                start_ns,
                duration_ns,
                probability,
                kept: keep,
            });
        }
        kept_of.push(kept);
        progress(done + 1);
    }
    for (video, kept) in set.videos.iter_mut().zip(&kept_of) {
        video.keep_segments(kept);
    }
    let mut kept = kept_of.iter();
    set.videos.retain(|_| kept.next().is_some_and(|kept| !kept.is_empty()));
    Ok(judged)
}
