//! What is unusual to the network that ships, in a drawn scene.

use std::path::Path;

use gstdesumnet::{
    clip::Geometry,
    evaluation::average_precision::average_precision,
    network::{Device, Network, Precision},
    unusual::{Eye, Usual, hindsight},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

const SIDE: usize = 112;
const FRAMES: usize = 16;

/// A camera's view of a lawn under trees whose leaves rustle in gusts; someone may walk over the lawn.
struct Lawn {
    rng: StdRng,
    leaves: Vec<u8>,
}

impl Lawn {
    fn new() -> Self {
        let mut rng = StdRng::seed_from_u64(11);
        Self { leaves: (0..SIDE * SIDE).map(|_| rng.random_range(20..120)).collect(), rng }
    }

    /// 16 pictures, RGB.
    fn clip(&mut self, gust: f64, walker: bool) -> Vec<u8> {
        let (mut clip, start) = (Vec::new(), self.rng.random_range(0..60));
        for frame in 0..FRAMES {
            let shift = (gust * self.rng.random_range(-3.0..3.0)).round() as isize;
            for y in 0..SIDE {
                for x in 0..SIDE {
                    let noise = self.rng.random_range(0..4);
                    let left = start + 3 * frame;
                    let [r, g, b] = if y < 60 {
                        let leaf = self.leaves[y * SIDE + (x as isize + shift).rem_euclid(SIDE as isize) as usize];
                        [leaf / 2, leaf, leaf / 3]
                    } else if walker && (78..98).contains(&y) && (left..left + 7).contains(&x) {
                        [150, 40, 40]
                    } else {
                        [90, 140, 70]
                    };
                    clip.extend([r, g, b].map(|c: u8| c.saturating_add(noise)));
                }
            }
        }
        clip
    }
}

/// Mean difference of consecutive pictures.
fn motion(clip: &[u8]) -> f64 {
    let picture = clip.len() / FRAMES;
    let pairs = clip.iter().zip(&clip[picture..]);
    pairs.map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / (clip.len() - picture) as f64
}

#[test]
fn a_walker_stands_out_from_rustling_trees() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/desumnet.safetensors");
    let network = Network::load(&model, Device::Cpu, Precision::Auto).unwrap();
    let eye = Eye::new(network.features.unwrap());
    let Geometry { frames, crop_width, .. } = network.clip;
    assert_eq!((frames, crop_width), (FRAMES, SIDE));
    let (mut lawn, mut usual) = (Lawn::new(), Usual::default());
    let (mut live, mut moves, mut looks, mut truth) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for number in 0..120 {
        let gust = 0.2 + 0.8 * (number as f64 / 5.0).sin().abs();
        let walker = number > 40 && number % 10 == 4;
        let clip = lawn.clip(gust, walker);
        let features = network.features_of(&[&clip]).unwrap().unwrap();
        let look = eye.look(&features[0], &clip, FRAMES, SIDE);
        live.push(usual.judge(&look, 0.64).score);
        looks.push(look);
        moves.push(motion(&clip));
        truth.push(walker);
    }
    let later = |scores: &[f64]| average_precision(&scores[40..], &truth[40..]).unwrap();
    let (live, seen_back, moving) = (later(&live), later(&hindsight(&looks)), later(&moves));
    assert!(moving < 0.5 && live >= 0.9 && seen_back >= 0.9, "motion {moving}, live {live}, with hindsight {seen_back}");
}
