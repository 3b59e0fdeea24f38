//! Networks on libtorch: their gradients, their precision, and that they give what the engine's own kernels give.

use desumnet_engine::{
    importance::{Aggregation, Along, Form, Forward},
    network::Network,
};
use desumnet_torch::{LARGEST, TorchNetwork, deviation, input_gradient};
use tch::{Kind, Tensor};
use test_support::waves as clip;

fn network(seed: i64, kind: Kind) -> TorchNetwork {
    TorchNetwork::new(&test_support::tiny_network(seed), tch::Device::Cpu, kind).unwrap()
}

#[test]
fn the_kernels_give_what_libtorch_gives_in_float64() {
    let own = Network::new(test_support::tiny_network(3)).unwrap();
    let exact = Network::of(Box::new(network(3, Kind::Double)));
    let clips = [clip(0), clip(1)];
    let clips: Vec<&[u8]> = clips.iter().map(Vec::as_slice).collect();
    let direction: Vec<f32> = (0..16).map(|n| (n as f32 - 7.0) / 8.0).collect();
    let targets = [Along::Category(2), Along::Features(direction)];
    let of = |network: &Network| {
        let forward = Forward::new(network, &clips).unwrap();
        let (probabilities, features) = (forward.probabilities.clone(), forward.features().unwrap().to_vec());
        let frames = forward.maps_of(&targets, &mut || ()).unwrap().frame_scores();
        let forms = Forward::new(network, &clips).unwrap().frame_scores_in_every_form(&[1, 0]).unwrap();
        [vec![probabilities.concat(), features.concat(), frames.concat()], forms.map(|form| form.concat()).to_vec()]
            .concat()
    };
    for (number, (own, exact)) in of(&own).iter().zip(of(&exact)).enumerate() {
        let largest = exact.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        let apart = own.iter().zip(&exact).map(|(own, exact)| (own - exact).abs() / largest).fold(0.0, f32::max);
        assert!(largest > 0.0 && apart < 1e-4, "{number}: {apart}");
    }
}

#[test]
fn gradient_equals_finite_differences() {
    let network = network(1, Kind::Double);
    let clip = clip(4);
    let input = network.input(&[&clip]).unwrap().set_requires_grad(true);
    let score = network.logits(&input).unwrap().get(0).get(1);
    let gradient = input_gradient(&score, &input).unwrap();
    let at = |x: &Tensor| network.logits(x).unwrap().get(0).double_value(&[1]);
    let mut compared = 0;
    for place in [[0, 0, 3, 5, 7], [0, 1, 9, 60, 60], [0, 2, 15, 111, 30], [0, 1, 0, 0, 111], [0, 0, 12, 80, 14]] {
        let slope = gradient.double_value(&place);
        let moved = |by: f64| {
            let x = input.detach().copy();
            let mut cell = x.shallow_clone();
            for i in place {
                cell = cell.get(i);
            }
            let _ = cell.f_add_scalar_(by).unwrap();
            at(&x)
        };
        // Small enough that no ReLU and no maximum changes sides.
        let step = 1e-6;
        let measured = (moved(step) - moved(-step)) / (2.0 * step);
        assert!((measured - slope).abs() < 1e-6 + 1e-4 * slope.abs(), "{place:?}: {measured} {slope}");
        compared += usize::from(slope != 0.0);
    }
    assert!(compared >= 4, "most gradients compared should not be 0");
}

#[test]
fn sixteen_bits_are_told_from_wrong_scores() {
    let exact = network(1, Kind::Float);
    let rounded = deviation(&network(1, Kind::BFloat16), &exact).unwrap();
    assert!(rounded > 1e-4 && rounded < LARGEST / 2.0, "{rounded}");
    let mut model = test_support::tiny_network(1);
    // Each filter takes another's place.
    let filter = model.layers[2].weight.values.len() / model.layers[2].weight.shape[0];
    model.layers[2].weight.values.rotate_right(filter);
    let wrong = TorchNetwork::new(&model, tch::Device::Cpu, Kind::Float).unwrap();
    let wrong = deviation(&wrong, &exact).unwrap();
    assert!(wrong > LARGEST, "{wrong}");
    assert_eq!(deviation(&exact, &exact).unwrap(), 0.0);
}

#[test]
fn sixteen_bits_rank_segments_as_float32_does() {
    let clips: Vec<Vec<u8>> = (0..24).map(|i| clip(i * 7)).collect();
    // Ranks about their mean.
    let ranks = |kind| {
        let network = Network::of(Box::new(network(1, kind)));
        let scores = |clip: &[u8]| Forward::new(&network, &[clip]).unwrap().frame_scores(&[1], Form::Weighted).unwrap();
        let segment = |clip: &Vec<u8>| Aggregation::Mean.of(&scores(clip)[0]);
        let scores: Vec<f32> = clips.iter().map(segment).collect();
        let ranks = desumnet_decide::quantile::ranks(&scores);
        ranks.into_iter().map(|r| f64::from(r) - 0.5).collect::<Vec<f64>>()
    };
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    let exact = ranks(Kind::Float);
    for kind in [Kind::BFloat16, Kind::Half] {
        let coarse = ranks(kind);
        let correlation = dot(&exact, &coarse) / (dot(&exact, &exact) * dot(&coarse, &coarse)).sqrt();
        assert!(correlation > 0.99, "{kind:?}: {correlation}");
    }
}
