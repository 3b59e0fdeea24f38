//! Calibrates a model on videos that it has not learned from: how sure it may be, and from where on a category fits at all.
//!
//! The temperature (Guo et al., 2017) is the one by which the segments' right categories are likeliest, each with the doubt that the number of
//! segments leaves (Platt, 1999): a few that are all named right prove no certainty. What fits is **our choice**: a
//! video's leading category does from the mean probability on that so many videos of the categories reach; how many of those that show none
//! of them do so too is told.

use super::data::{Dataset, Video};

use rand::{SeedableRng, rngs::StdRng, seq::index};

use super::accuracy::{AccuracyError, predict};
use desumnet_engine::network::{Calibration, Network};
use desumnet_offline::SEGMENTS;

/// Temperatures that are looked through.
const TEMPERATURES: [f64; 2] = [0.05, 20.0];
/// Halvings, or nearly, of what is left of them.
const STEPS: usize = 60;
/// Least probability, as logarithms go.
const LEAST: f64 = 1e-30;

/// What a network says of a video.
#[derive(Clone, Debug, PartialEq)]
pub struct Predicted {
    /// Of each segment, the logarithm of each category's probability.
    logs: Vec<Vec<f64>>,
    /// Its category; `None`: none of them.
    category: Option<usize>,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Found {
    #[serde(flatten)]
    pub calibration: Calibration,
    /// Mean of -ln p(right category) over the segments, before and after.
    pub loss: [f64; 2],
    /// Share of the videos of a category that one fits, and of those of none.
    pub kept: f64,
    pub wrongly: f64,
}

impl Predicted {
    /// `rows`: of each segment, the probability of each category.
    pub fn new(rows: &[Vec<f32>], category: Option<usize>) -> Self {
        let logs = rows.iter().map(|row| row.iter().map(|&p| f64::from(p).max(LEAST).ln()).collect());
        Self { logs: logs.collect(), category }
    }

    /// Mean probability of the leading category at a temperature.
    fn leader(&self, temperature: f64) -> f64 {
        let mut sum = vec![0.0; self.logs.first().map_or(0, Vec::len)];
        for row in &self.logs {
            sum.iter_mut().zip(softened(row, temperature)).for_each(|(sum, log)| *sum += log.exp());
        }
        sum.into_iter().fold(0.0, f64::max) / self.logs.len().max(1) as f64
    }
}

/// Logarithms of probabilities at a temperature.
fn softened(logs: &[f64], temperature: f64) -> Vec<f64> {
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let scaled: Vec<f64> = logs.iter().map(|log| (log - most) / temperature).collect();
    let total = scaled.iter().map(|log| log.exp()).sum::<f64>().ln();
    scaled.into_iter().map(|log| log - total).collect()
}

/// What a network says of up to ten segments of each video, drawn at random, always the same. Their categories are the network's, or none.
///
/// # Errors
/// [`AccuracyError`]
pub fn predicted(
    network: &Network,
    set: &Dataset,
    shows_none: bool,
    mut progress: impl FnMut(usize),
) -> Result<Vec<Predicted>, AccuracyError> {
    let mut rng = StdRng::seed_from_u64(1);
    let predicted = set.videos.iter().enumerate().map(|(number, video)| {
        let rows = predict(network, video, &drawn(video, &mut rng))?;
        progress(number + 1);
        Ok(Predicted::new(&rows, (!shows_none).then_some(video.category)))
    });
    predicted.collect()
}

fn drawn(video: &Video, rng: &mut StdRng) -> Vec<usize> {
    let all = video.stored.segments();
    index::sample(rng, all, SEGMENTS.min(all)).into_vec()
}

/// The calibration by which at least the share `keep` of the videos of a category keep it. `None` if there are none of these.
pub fn calibrate(videos: &[Predicted], keep: f64) -> Option<Found> {
    let own = || videos.iter().filter_map(|video| Some((video.category?, &video.logs)));
    let segments = own().map(|(_, logs)| logs.len()).sum::<usize>() as f64;
    // `doubt`: share of a segment's target that goes to each of the other categories.
    let loss = |temperature: f64, doubt: f64| {
        let of = |(category, row): (usize, &Vec<f64>)| {
            let logs = softened(row, temperature);
            let others = logs.iter().sum::<f64>() - logs[category];
            -(1.0 - doubt * (logs.len() - 1) as f64) * logs[category] - doubt * others
        };
        own().flat_map(|(category, logs)| logs.iter().map(move |row| (category, row))).map(of).sum::<f64>() / segments
    };
    let categories = own().find_map(|(_, logs)| logs.first()).map_or(0, Vec::len) as f64;
    let temperature = lowest(|temperature| loss(temperature, 1.0 / (segments + categories)));
    let leaders = |of_one: bool| {
        let own = videos.iter().filter(|video| video.category.is_some() == of_one);
        let mut leaders: Vec<f64> = own.map(|video| video.leader(temperature)).collect();
        leaders.sort_by(f64::total_cmp);
        leaders
    };
    let (of_one, of_none) = (leaders(true), leaders(false));
    let lost = ((1.0 - keep) * of_one.len() as f64 + 1e-9) as usize;
    let least = *of_one.get(lost)?;
    // Halfway to the next below, of whatever kind, as another machine computes a little otherwise.
    let below = of_one.iter().chain(&of_none).filter(|&&leader| leader < least).copied().fold(0.0, f64::max);
    let fits = 0.5 * (least + below);
    let share =
        |leaders: &[f64]| leaders.iter().filter(|&&leader| leader >= fits).count() as f64 / leaders.len().max(1) as f64;
    Some(Found {
        calibration: Calibration { temperature, fits },
        loss: [loss(1.0, 0.0), loss(temperature, 0.0)],
        kept: share(&of_one),
        wrongly: share(&of_none),
    })
}

/// The temperature of the lowest loss, which has no second low: by golden sections of its logarithm.
fn lowest(loss: impl Fn(f64) -> f64) -> f64 {
    let golden = 0.5 * (5f64.sqrt() - 1.0);
    let [mut low, mut high] = TEMPERATURES.map(f64::ln);
    for _ in 0..STEPS {
        let [left, right] = [high - golden * (high - low), low + golden * (high - low)];
        if loss(left.exp()) <= loss(right.exp()) { high = right } else { low = left }
    }
    (0.5 * (low + high)).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rows: &[[f32; 2]], category: Option<usize>) -> Predicted {
        Predicted::new(&rows.iter().map(|row| row.to_vec()).collect::<Vec<_>>(), category)
    }

    #[test]
    fn a_network_that_is_too_sure_is_cooled_to_what_is_true() {
        // It says 0.99 and is right 3 times in 4; of so few, 5/6 of what is right and 1/6 of what is not count, which makes 2/3:
        // p^(1/T) / (p^(1/T) + q^(1/T)) = 2/3, so T = ln 99 / ln 2.
        let videos: Vec<Predicted> = (0..4).map(|n| of(&[[0.99, 0.01]], Some(usize::from(n == 3)))).collect();
        let found = calibrate(&videos, 0.95).unwrap();
        let expected = 99f64.ln() / 2f64.ln();
        assert!((found.calibration.temperature / expected - 1.0).abs() < 1e-4, "{found:?}");
        let entropy = -(0.75 * (2.0f64 / 3.0).ln() + 0.25 * (1.0f64 / 3.0).ln());
        assert!((found.loss[1] - entropy).abs() < 1e-4 && found.loss[0] > 1.0, "{found:?}");
        // Always right is not certain: 5/6 of four.
        let videos = [0.9; 4].map(|p| of(&[[p, 1.0 - p]], Some(0)));
        let sharpened = calibrate(&videos, 0.95).unwrap().calibration.temperature;
        assert!((sharpened / (9f64.ln() / 5f64.ln()) - 1.0).abs() < 1e-4, "{sharpened}");
    }

    #[test]
    fn so_many_as_asked_for_keep_their_category_and_who_else_has_one_is_told() {
        // Right half of the time at 0.5 each: the temperature changes nothing of these.
        let leaders = [0.5, 0.6, 0.7, 0.8, 0.9];
        let mut videos: Vec<Predicted> = leaders.iter().map(|&p| of(&[[p, 1.0 - p]; 3], Some(0))).collect();
        videos.extend([0.55, 0.65, 0.99].map(|p| of(&[[p, 1.0 - p]], None)));
        let found = calibrate(&videos, 0.8).unwrap();
        let at = |p: f64| {
            let [a, b] = [p, 1.0 - p].map(|p| p.powf(1.0 / found.calibration.temperature));
            a / (a + b)
        };
        // One of five may be lost; halfway between 0.6 and 0.55, as they are at the temperature.
        let expected = 0.5 * (at(f64::from(0.6f32)) + at(f64::from(0.55f32)));
        assert!((found.calibration.fits - expected).abs() < 1e-6, "{found:?}");
        assert!((found.kept - 0.8).abs() < 1e-9 && (found.wrongly - 2.0 / 3.0).abs() < 1e-9, "{found:?}");
        assert_eq!(calibrate(&videos[5..], 0.8), None);
    }

    #[test]
    fn a_video_is_judged_by_the_mean_over_its_segments() {
        let video = of(&[[0.9, 0.1], [0.2, 0.8]], None);
        assert!((video.leader(1.0) - 0.55).abs() < 1e-6);
        // Cold, each is sure.
        assert!((video.leader(0.01) - 0.5).abs() < 1e-6);
    }
}
