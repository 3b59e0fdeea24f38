//! DeSumNet as it is trained: batch normalisation behind every convolution, dropout behind fc6 and fc7, and a fc6 that
//! gives the places of pool5's output equal weight. [`TrainingNetwork::to_model`] folds all of it into the plain network.
//!
//! Normalisation and ReLU stand behind the pooling, where they have an eighth of the work. That is the same network as
//! long as the normalisation's scale is positive, for then it and the maximum may change places;
//! [`TrainingNetwork::keep_monotonic`] sees to it.
//!
//! Equal weights make fc6 a function of pool5's mean: far fewer parameters to fit with few videos, and a network that takes
//! pictures of any size, so that most of the training can run on small ones (progressive resizing).

use tch::{
    Device, Kind, TchError, Tensor,
    nn::{self, Init},
};

use crate::network::{CONVS, Header, Layer, Model, POOLED, pool_kernel};

/// Probability that dropout sets an output of fc6 or fc7 to zero (paper, section 4).
pub const DROPOUT: f64 = 0.5;
/// Group of the variables that weight decay leaves alone: biases, and the normalisation's scale and shift.
pub const UNDECAYED: usize = 1;
const EPSILON: f64 = 1e-5;
/// Share of the newest batch in the running statistics.
const MOMENTUM: f64 = 0.1;
/// Smallest scale of a normalisation.
const MIN_GAMMA: f64 = 0.01;

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
    /// Weight `[out, in]` and bias of fc6 (per filter of conv5), fc7 and fc8.
    connected: Vec<(Tensor, Tensor)>,
}

impl TrainingNetwork {
    /// A network with the given widths (as in [`crate::network::WIDTHS`]) and random weights.
    ///
    /// # Errors
    /// From libtorch.
    pub fn new(vars: &nn::Path, widths: &[i64; 7], categories: usize) -> Result<Self, TchError> {
        let kaiming = Init::Kaiming {
            dist: nn::init::NormalOrUniform::Normal,
            fan: nn::init::FanInOut::FanOut,
            non_linearity: nn::init::NonLinearity::ReLU,
        };
        let (mut convolutions, mut connected, mut inputs) = (Vec::new(), Vec::new(), 3);
        for (i, &out) in widths[..CONVS].iter().enumerate() {
            let path = vars / format!("conv{}", i + 1);
            let plain = path.set_group(UNDECAYED);
            convolutions.push(Convolution {
                weight: path.f_var("weight", &[out, inputs, 3, 3, 3], kaiming)?,
                gamma: plain.f_var("gamma", &[out], Init::Const(1.0))?,
                beta: plain.f_var("beta", &[out], Init::Const(0.0))?,
                mean: path.f_zeros_no_train("mean", &[out])?,
                variance: path.f_ones_no_train("variance", &[out])?,
            });
            inputs = out;
        }
        for (i, &out) in [widths[CONVS], widths[CONVS + 1], categories as i64].iter().enumerate() {
            let path = vars / format!("fc{}", i + 6);
            let plain = path.set_group(UNDECAYED);
            let init = if i < 2 { kaiming } else { Init::Randn { mean: 0.0, stdev: 0.01 } };
            connected
                .push((path.f_var("weight", &[out, inputs], init)?, plain.f_var("bias", &[out], Init::Const(0.0))?));
            inputs = out;
        }
        Ok(Self { convolutions, connected })
    }

    /// Class scores `[N, C]` of normalised clips `[N, 3, 16, H, W]` (channels-last in memory).
    ///
    /// # Errors
    /// From libtorch.
    pub fn logits(&self, input: &Tensor, training: bool) -> Result<Tensor, TchError> {
        let mut x = input.shallow_clone();
        for (i, conv) in self.convolutions.iter().enumerate() {
            let pool = pool_kernel(i);
            x = x
                .f_conv3d(&conv.weight, None::<&Tensor>, [1, 1, 1], [1, 1, 1], [1, 1, 1], 1)?
                .f_max_pool3d(pool, pool, [0, 0, 0], [1, 1, 1], true)?
                .f_batch_norm(
                    Some(&conv.gamma),
                    Some(&conv.beta),
                    Some(&conv.mean),
                    Some(&conv.variance),
                    training,
                    MOMENTUM,
                    EPSILON,
                    true,
                )?
                .f_relu()?;
        }
        x = x.f_mean_dim([-3, -2, -1].as_slice(), false, None)?;
        for (i, (weight, bias)) in self.connected.iter().enumerate() {
            x = x.f_linear(weight, Some(bias))?;
            if i < 2 {
                x = x.f_relu()?.f_dropout(DROPOUT, training)?;
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
                weight: plain(&conv.weight)?.f_mul(&scale.f_view([-1, 1, 1, 1, 1])?)?,
                bias: plain(&conv.beta)?.f_sub(&plain(&conv.mean)?.f_mul(&scale)?)?,
            });
        }
        for (i, (weight, bias)) in self.connected.iter().enumerate() {
            let mut weight = plain(weight)?;
            if i == 0 {
                weight = weight.f_div_scalar(POOLED as f64)?.f_repeat_interleave_self_int(POOLED as i64, 1, None)?;
            }
            layers.push(Layer { weight, bias: plain(bias)? });
        }
        for layer in &mut layers {
            layer.weight = layer.weight.f_to_kind(Kind::Float)?;
            layer.bias = layer.bias.f_to_kind(Kind::Float)?;
        }
        Ok(Model { header, layers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clip::FRAMES,
        network::{CLIP_BYTES, Network, channels_last},
    };

    #[test]
    fn folded_network_gives_the_logits_of_the_trained_one() {
        tch::manual_seed(3);
        let store = nn::VarStore::new(Device::Cpu);
        let trained = TrainingNetwork::new(&store.root(), &[4, 5, 6, 7, 8, 9, 10], 3).unwrap();
        let header = Header {
            categories: ["a", "b", "c"].map(String::from).to_vec(),
            mean: [100.0, 110.0, 120.0],
            std: [50.0, 60.0, 70.0],
            provenance: serde_json::Value::Null,
        };
        // A few batches, so that the running statistics are not what they began with.
        for _ in 0..3 {
            let noise = Tensor::randn([4, 3, FRAMES as i64, 28, 28], (Kind::Float, Device::Cpu)) * 2.0 + 0.5;
            let _ = trained.logits(&channels_last(&noise).unwrap(), true).unwrap();
        }
        let network = Network::new(trained.to_model(header).unwrap(), Device::Cpu, Kind::Double).unwrap();
        let clip: Vec<u8> = (0..CLIP_BYTES).map(|i| (i * 31 % 251) as u8).collect();
        let input = network.input(&[&clip]).unwrap();
        let expected = trained.logits(&input.to_kind(Kind::Float), false).unwrap().to_kind(Kind::Double);
        let got = network.logits(&input).unwrap();
        let apart = (&got - &expected).abs().max().double_value(&[]);
        assert!(apart < 1e-5 * expected.abs().max().double_value(&[]), "{apart}\n{got:?}\n{expected:?}");
    }
}
