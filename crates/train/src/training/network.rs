//! DeSumNet as it is trained: batch normalisation behind every convolution, dropout behind fc6 and fc7, and perhaps a fc6
//! that gives the places of pool5's output equal weight. [`TrainingNetwork::to_model`] folds all of it into the plain
//! network; [`TrainingNetwork::of_model`] takes a plain one apart again, to train it further.
//!
//! Normalisation and ReLU stand behind the pooling, where they have an eighth of the work. That is the same network as
//! long as the normalisation's scale is positive, for then it and the maximum may change places;
//! [`TrainingNetwork::keep_monotonic`] sees to it.
//!
//! Equal weights ([`Fc6::Shared`]) make fc6 a function of pool5's mean: far fewer parameters to fit with few videos, and a network that takes
//! pictures of any size, so that most of the training can run on small ones (progressive resizing).

use tch::{
    Device, Kind, TchError, Tensor,
    nn::{self, Init},
};

use desumnet_engine::network::{CONVS, Header, Layer, Model, POOLED, Storage, pool_kernel};
use desumnet_torch::{array, tensor};

/// Probability that dropout sets an output of fc6 or fc7 to zero (paper, section 4).
pub const DROPOUT: f64 = 0.5;
const EPSILON: f64 = 1e-5;
/// Share of the newest batch in the running statistics.
const MOMENTUM: f64 = 0.1;
/// Smallest scale of a normalisation.
const MIN_GAMMA: f64 = 0.01;

/// Shape of fc6's weight while it is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fc6 {
    /// A weight for each of the 16 places of a filter (paper, section 3.2).
    Full,
    /// One weight for all places of a filter: learns from fewer videos, and from small clips.
    Shared,
}

impl Fc6 {
    /// Shared if a model's places have equal weight; and the weight of the first place, `[out, filters, 1]`.
    ///
    /// # Errors
    /// From libtorch.
    pub fn of_model(model: &Model) -> Result<(Self, Tensor), TchError> {
        let weight = tensor(&model.layers[CONVS].weight)?;
        let places = weight.f_view([weight.size()[0], -1, POOLED as i64])?;
        let one = places.f_slice(2, 0, 1, 1)?;
        Ok((if one.f_expand_as(&places)?.f_equal(&places)? { Self::Shared } else { Self::Full }, one))
    }
}

struct Convolution {
    /// `[out, in, 3, 3, 3]`
    weight: Tensor,
    gamma: Tensor,
    beta: Tensor,
    mean: Tensor,
    variance: Tensor,
}

/// The network with everything that training needs; its tensors belong to a [`nn::VarStore`].
pub struct TrainingNetwork {
    convolutions: Vec<Convolution>,
    /// Weight `[out, in]` and bias of fc6, fc7 and fc8; fc6's inputs are places or filters of conv5, by [`Fc6`].
    connected: Vec<(Tensor, Tensor)>,
    fc6: Fc6,
    /// Element type of the convolutions' arithmetic; the weights themselves are float32.
    kind: Kind,
}

impl TrainingNetwork {
    /// A network with the given widths (as in [`desumnet_engine::network::WIDTHS`]) and random weights, whose convolutions run in `kind`.
    ///
    /// # Errors
    /// From libtorch.
    pub fn new(vars: &nn::Path, widths: &[i64; 7], categories: usize, fc6: Fc6, kind: Kind) -> Result<Self, TchError> {
        let kaiming = Init::Kaiming {
            dist: nn::init::NormalOrUniform::Normal,
            fan: nn::init::FanInOut::FanOut,
            non_linearity: nn::init::NonLinearity::ReLU,
        };
        let (mut convolutions, mut connected, mut inputs) = (Vec::new(), Vec::new(), 3);
        for (i, &out) in widths[..CONVS].iter().enumerate() {
            let path = vars / format!("conv{}", i + 1);
            convolutions.push(Convolution {
                weight: path.f_var("weight", &[out, inputs, 3, 3, 3], kaiming)?,
                gamma: path.f_var("gamma", &[out], Init::Const(1.0))?,
                beta: path.f_var("beta", &[out], Init::Const(0.0))?,
                mean: path.f_zeros_no_train("mean", &[out])?,
                variance: path.f_ones_no_train("variance", &[out])?,
            });
            inputs = out;
        }
        if fc6 == Fc6::Full {
            inputs *= POOLED as i64;
        }
        for (i, &out) in [widths[CONVS], widths[CONVS + 1], categories as i64].iter().enumerate() {
            let path = vars / format!("fc{}", i + 6);
            let init = if i < 2 { kaiming } else { Init::Randn { mean: 0.0, stdev: 0.01 } };
            connected
                .push((path.f_var("weight", &[out, inputs], init)?, path.f_var("bias", &[out], Init::Const(0.0))?));
            inputs = out;
        }
        Ok(Self { convolutions, connected, fc6, kind })
    }

    /// A network that gives what a model gives. With `new_fc8`, that layer is new, random and for so many categories (paper,
    /// section 4). fc6 is [`Fc6::Shared`] if the model's places have equal weight.
    ///
    /// # Errors
    /// From libtorch.
    pub fn of_model(vars: &nn::Path, model: &Model, new_fc8: Option<usize>, kind: Kind) -> Result<Self, TchError> {
        let _guard = tch::no_grad_guard();
        let out = |layer: &Layer| layer.weight.shape[0] as i64;
        let widths: [i64; 7] = std::array::from_fn(|i| out(&model.layers[i]));
        let (fc6, one_place) = Fc6::of_model(model)?;
        let categories = new_fc8.unwrap_or(model.header.categories.len());
        let network = Self::new(vars, &widths, categories, fc6, kind)?;
        let copy = |to: &Tensor, from: &Tensor| to.shallow_clone().f_copy_(from);
        for (conv, layer) in network.convolutions.iter().zip(&model.layers) {
            copy(&conv.weight, &tensor(&layer.weight)?)?;
            copy(&conv.beta, &tensor(&layer.bias)?)?;
            // Normalises by nothing until that is measured.
            let _ = conv.variance.shallow_clone().f_fill_(1.0 - EPSILON)?;
        }
        for (i, ((weight, bias), layer)) in network.connected.iter().zip(&model.layers[CONVS..]).enumerate() {
            if i == 2 && new_fc8.is_some() {
                continue;
            }
            let shared = i == 0 && fc6 == Fc6::Shared;
            let from =
                if shared { one_place.f_squeeze_dim(2)?.f_mul_scalar(POOLED as f64)? } else { tensor(&layer.weight)? };
            copy(weight, &from)?;
            copy(bias, &tensor(&layer.bias)?)?;
        }
        Ok(network)
    }

    /// Outputs of the layers but for fc8, as in [`desumnet_engine::network::WIDTHS`], and of that.
    pub fn widths(&self) -> ([i64; 7], usize) {
        let convolutions = self.convolutions.iter().map(|conv| &conv.weight);
        let weights: Vec<&Tensor> = convolutions.chain(self.connected.iter().map(|(weight, _)| weight)).collect();
        (std::array::from_fn(|i| weights[i].size()[0]), weights[CONVS + 2].size()[0] as usize)
    }

    pub fn fc6(&self) -> Fc6 {
        self.fc6
    }

    /// Sets the normalisations to what they do to these clips, `[N, 3, 16, H, W]`, such that the network gives what it gave
    /// before: a model's convolutions carry their normalisation inside, and training it further needs it outside.
    ///
    /// # Errors
    /// From libtorch.
    pub fn measure_normalisation(&self, input: &Tensor) -> Result<(), TchError> {
        let _guard = tch::no_grad_guard();
        let mut x = input.shallow_clone();
        for (i, conv) in self.convolutions.iter().enumerate() {
            let pooled = self.pooled(&x, i)?;
            let over = [0, 2, 3, 4];
            let mean = pooled.f_mean_dim(over.as_slice(), false, Kind::Float)?;
            let variance = pooled.f_to_kind(Kind::Float)?.f_var_dim(over.as_slice(), false, false)?;
            x = self.normalised(&pooled, i, false)?;
            let scale = conv.gamma.f_div(&conv.variance.f_add_scalar(EPSILON)?.f_sqrt()?)?;
            let set = |to: &Tensor, value: &Tensor| to.shallow_clone().f_copy_(value);
            set(&conv.beta, &conv.beta.f_add(&mean.f_sub(&conv.mean)?.f_mul(&scale)?)?)?;
            set(&conv.gamma, &scale.f_mul(&variance.f_add_scalar(EPSILON)?.f_sqrt()?)?)?;
            set(&conv.mean, &mean)?;
            set(&conv.variance, &variance)?;
        }
        Ok(())
    }

    /// Convolution `i` and its pooling.
    fn pooled(&self, x: &Tensor, i: usize) -> Result<Tensor, TchError> {
        // libtorch 2.11 computes weight gradients in bf16 wrongly on a CPU where two frames are left: conv5's of whole clips, conv4's of
        // clips of 8 frames.
        let kind = if x.size()[2] <= 2 && !x.device().is_cuda() { Kind::Float } else { self.kind };
        let weight = self.convolutions[i].weight.f_to_kind(kind)?;
        let pool = pool_kernel(i);
        x.f_to_kind(kind)?.f_conv3d(&weight, None::<&Tensor>, [1, 1, 1], [1, 1, 1], [1, 1, 1], 1)?.f_max_pool3d(
            pool,
            pool,
            [0, 0, 0],
            [1, 1, 1],
            true,
        )
    }

    fn normalised(&self, pooled: &Tensor, i: usize, training: bool) -> Result<Tensor, TchError> {
        let conv = &self.convolutions[i];
        let (gamma, beta) = (Some(&conv.gamma), Some(&conv.beta));
        let (mean, variance) = (Some(&conv.mean), Some(&conv.variance));
        pooled.f_batch_norm(gamma, beta, mean, variance, training, MOMENTUM, EPSILON, true)?.f_relu()
    }

    /// Class scores `[N, C]` of normalised clips `[N, 3, 16, H, W]` (channels-last in memory); [`Fc6::Full`] needs them 112 x 112.
    ///
    /// # Errors
    /// From libtorch.
    pub fn logits(&self, input: &Tensor, training: bool) -> Result<Tensor, TchError> {
        self.connected(&self.convolved(input, training)?, training, DROPOUT)
    }

    /// Output of the convolutions, as fc6 takes it.
    ///
    /// # Errors
    /// From libtorch.
    pub fn convolved(&self, input: &Tensor, training: bool) -> Result<Tensor, TchError> {
        let mut x = input.shallow_clone();
        for i in 0..CONVS {
            x = self.normalised(&self.pooled(&x, i)?, i, training)?;
        }
        x = x.f_to_kind(Kind::Float)?;
        match self.fc6 {
            Fc6::Full => x.f_flatten(1, -1),
            Fc6::Shared => x.f_mean_dim([-3, -2, -1].as_slice(), false, None),
        }
    }

    /// Output of fc8 for that, with this share of fc6's and fc7's outputs set to zero in training.
    ///
    /// # Errors
    /// From libtorch.
    pub fn connected(&self, convolved: &Tensor, training: bool, dropout: f64) -> Result<Tensor, TchError> {
        let mut x = convolved.shallow_clone();
        for (i, (weight, bias)) in self.connected.iter().enumerate() {
            x = x.f_linear(weight, Some(bias))?;
            if i < 2 {
                x = x.f_relu()?.f_dropout(dropout, training)?;
            }
        }
        Ok(x)
    }

    /// To be called after every step of the optimizer.
    ///
    /// # Errors
    /// From libtorch.
    pub fn keep_monotonic(&self) -> Result<(), TchError> {
        let _guard = tch::no_grad_guard();
        for conv in &self.convolutions {
            // In place, on the variable itself.
            let _ = conv.gamma.shallow_clone().f_clamp_min_(MIN_GAMMA)?;
        }
        Ok(())
    }

    /// The plain network, on the CPU: normalisation folded in, fc6 spread over pool5's places.
    ///
    /// # Errors
    /// From libtorch.
    pub fn to_model(&self, header: Header) -> Result<Model, TchError> {
        let _guard = tch::no_grad_guard();
        let plain = |t: &Tensor| t.f_detach()?.f_to_device(Device::Cpu)?.f_to_kind(Kind::Double);
        let mut layers = Vec::new();
        for conv in &self.convolutions {
            let scale = plain(&conv.gamma)?.f_div(&plain(&conv.variance)?.f_add_scalar(EPSILON)?.f_sqrt()?)?;
            layers.push(Layer {
                weight: array(&plain(&conv.weight)?.f_mul(&scale.f_view([-1, 1, 1, 1, 1])?)?)?,
                bias: array(&plain(&conv.beta)?.f_sub(&plain(&conv.mean)?.f_mul(&scale)?)?)?,
            });
        }
        for (i, (weight, bias)) in self.connected.iter().enumerate() {
            let mut weight = plain(weight)?;
            if i == 0 && self.fc6 == Fc6::Shared {
                weight = weight.f_div_scalar(POOLED as f64)?.f_repeat_interleave_self_int(POOLED as i64, 1, None)?;
            }
            layers.push(Layer { weight: array(&weight)?, bias: array(&plain(bias)?)? });
        }
        Ok(Model { header, layers, storage: Storage::F32 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::seeded;
    use desumnet_engine::network::CLIP_BYTES;
    use desumnet_frames::clip::FRAMES;
    use desumnet_torch::{TorchNetwork, channels_last};

    const FEW: [i64; 7] = [4, 5, 6, 7, 8, 9, 10];

    fn header() -> Header {
        Header {
            categories: ["a", "b", "c"].map(String::from).to_vec(),
            mean: [100.0, 110.0, 120.0],
            std: [50.0, 60.0, 70.0],
            provenance: serde_json::Value::Null,
            calibration: None,
        }
    }

    fn noise(clips: i64, side: i64) -> Tensor {
        let noise = Tensor::randn([clips, 3, FRAMES as i64, side, side], (Kind::Float, Device::Cpu)) * 2.0 + 0.5;
        channels_last(&noise).unwrap()
    }

    /// After a few batches, so that the running statistics are not what they began with.
    fn trained(store: &nn::VarStore, fc6: Fc6) -> TrainingNetwork {
        let network = TrainingNetwork::new(&store.root(), &FEW, 3, fc6, Kind::Float).unwrap();
        for _ in 0..3 {
            let _ = network.logits(&noise(2, 112), true).unwrap();
        }
        network
    }

    /// Largest difference as a share of the largest value.
    fn apart(got: &Tensor, expected: &Tensor) -> f64 {
        let largest = |t: &Tensor| t.to_kind(Kind::Double).abs().max().double_value(&[]);
        largest(&(got.to_kind(Kind::Double) - expected.to_kind(Kind::Double))) / largest(expected)
    }

    #[test]
    fn folded_network_gives_the_logits_of_the_trained_one() {
        let _alone = seeded(3);
        for fc6 in [Fc6::Shared, Fc6::Full] {
            let store = nn::VarStore::new(Device::Cpu);
            let trained = trained(&store, fc6);
            let network = TorchNetwork::new(&trained.to_model(header()).unwrap(), Device::Cpu, Kind::Double).unwrap();
            let clip: Vec<u8> = (0..CLIP_BYTES).map(|i| (i * 31 % 251) as u8).collect();
            let input = network.input(&[&clip]).unwrap();
            let expected = trained.logits(&input.to_kind(Kind::Float), false).unwrap();
            let apart = apart(&network.logits(&input).unwrap(), &expected);
            assert!(apart < 1e-5, "{fc6:?} {apart}");
        }
    }

    #[test]
    fn a_model_taken_apart_again_gives_the_same_in_evaluation_and_nearly_so_in_training() {
        let _alone = seeded(4);
        for fc6 in [Fc6::Shared, Fc6::Full] {
            let (first, second) = (nn::VarStore::new(Device::Cpu), nn::VarStore::new(Device::Cpu));
            let original = trained(&first, fc6);
            let model = original.to_model(header()).unwrap();
            let again = TrainingNetwork::of_model(&second.root(), &model, None, Kind::Float).unwrap();
            assert_eq!(again.fc6, fc6);
            let clips = noise(4, 112);
            let expected = original.logits(&clips, false).unwrap();
            assert!(apart(&again.logits(&clips, false).unwrap(), &expected) < 1e-5);
            again.measure_normalisation(&clips).unwrap();
            assert!(apart(&again.logits(&clips, false).unwrap(), &expected) < 1e-5);
            // With the batch's own statistics, which are now the running ones: what is left is dropout.
            let convolved = |training| {
                (0..CONVS).fold(clips.shallow_clone(), |x, i| {
                    again.normalised(&again.pooled(&x, i).unwrap(), i, training).unwrap()
                })
            };
            let expected = convolved(false);
            assert!(apart(&convolved(true), &expected) < 1e-4);
        }
    }

    #[test]
    fn a_new_fc8_is_all_that_changes() {
        let _alone = seeded(5);
        let (first, second) = (nn::VarStore::new(Device::Cpu), nn::VarStore::new(Device::Cpu));
        let model = trained(&first, Fc6::Shared).to_model(header()).unwrap();
        let tuned = TrainingNetwork::of_model(&second.root(), &model, Some(7), Kind::Float).unwrap();
        let seven = Header { categories: (0..7).map(|n| n.to_string()).collect(), ..header() };
        let layers = tuned.to_model(seven).unwrap().layers;
        assert_eq!(layers[7].weight.shape, [7, 10]);
        assert!(tensor(&layers[7].weight).unwrap().std(false).double_value(&[]) < 0.015);
        for (before, after) in model.layers.iter().zip(&layers[..7]) {
            for (after, before) in [(&after.weight, &before.weight), (&after.bias, &before.bias)] {
                assert!(tensor(after).unwrap().allclose(&tensor(before).unwrap(), 1e-5, 1e-7, false));
            }
        }
    }

    #[test]
    fn every_gradient_in_bf16_is_that_in_float32_but_for_rounding() {
        // Widths at which libtorch takes its fast kernels: there the weight gradients of what has two frames are wrong in bf16.
        let _alone = seeded(6);
        let store = nn::VarStore::new(Device::Cpu);
        let widths = [64, 64, 256, 256, 256, 32, 32];
        let mut network = TrainingNetwork::new(&store.root(), &widths, 3, Fc6::Shared, Kind::Float).unwrap();
        let labels = Tensor::from_slice(&[0i64, 2]);
        let gradients = |network: &TrainingNetwork, clips: &Tensor| {
            // With fixed statistics: those of two clips would magnify every rounding.
            network.logits(clips, false).unwrap().cross_entropy_for_logits(&labels).backward();
            let mut named: Vec<_> = store.variables().into_iter().filter(|(_, v)| v.requires_grad()).collect();
            named.sort_by(|a, b| a.0.cmp(&b.0));
            named
                .into_iter()
                .map(|(name, mut variable)| {
                    let gradient = variable.grad().copy();
                    variable.zero_grad();
                    (name, gradient)
                })
                .collect::<Vec<_>>()
        };
        let whole = noise(2, 56);
        for clips in [whole.slice(2, 0, None, 2), whole] {
            let clips = channels_last(&clips).unwrap();
            network.kind = Kind::Float;
            let expected = gradients(&network, &clips);
            network.kind = Kind::BFloat16;
            for ((name, got), (_, expected)) in gradients(&network, &clips).iter().zip(&expected) {
                let apart = (got - expected).norm().double_value(&[]) / expected.norm().double_value(&[]);
                // The first layers' gradients have passed through all others' rounding.
                let bound = if name.starts_with("fc") {
                    0.01
                } else if name.starts_with("conv5") {
                    0.1
                } else {
                    0.35
                };
                assert!(apart < bound, "{:?} {name}: {apart}", clips.size());
            }
        }
    }
}
