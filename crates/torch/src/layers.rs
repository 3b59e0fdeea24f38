//! DeSumNet's own layers (paper, section 3.2): five 3D convolutions, each with ReLU and max pooling, then three fully
//! connected layers.

use tch::{Device, Kind, TchError, Tensor};

use desumnet_engine::network::{CONVS, Layer, pool_kernel};

use crate::{
    network::{channels_last, wide},
    tensor,
};

/// The weights on a device. Convolutions are in the network's kind and channels-last, the others in [`wide`] of it.
pub struct Layers(Vec<Placed>);

struct Placed {
    weight: Tensor,
    bias: Tensor,
}

impl Layers {
    pub fn new(layers: &[Layer], device: Device, kind: Kind) -> Result<Self, TchError> {
        let place = |(i, layer): (usize, &Layer)| {
            let kind = if i < CONVS { kind } else { wide(kind) };
            let weight = tensor(&layer.weight)?.f_to_device(device)?.f_to_kind(kind)?;
            let weight = if i < CONVS { channels_last(&weight)? } else { weight.f_contiguous()? };
            Ok(Placed { weight, bias: tensor(&layer.bias)?.f_to_device(device)?.f_to_kind(kind)? })
        };
        layers.iter().enumerate().map(place).collect::<Result<_, TchError>>().map(Self)
    }

    /// What the convolutions give, `[N, 4096]`, of an input `[N, 3, 16, 112, 112]`, by libtorch.
    pub fn convolve(&self, input: &Tensor) -> Result<Tensor, TchError> {
        let mut x = input.shallow_clone();
        for (i, layer) in self.0[..CONVS].iter().enumerate() {
            let pool = pool_kernel(i);
            x = x
                .f_conv3d(&layer.weight, Some(&layer.bias), [1, 1, 1], [1, 1, 1], [1, 1, 1], 1)?
                .f_relu_()?
                .f_max_pool3d(pool, pool, [0, 0, 0], [1, 1, 1], true)?;
        }
        x.f_flatten(1, -1)?.f_to_kind(wide(input.kind()))
    }

    /// Outputs of fc6.
    pub fn feature_width(&self) -> usize {
        self.0[CONVS].bias.numel()
    }

    /// Of what the convolutions give: what fc6 gives after its ReLU, `[N, 2048]`, and the class scores, `[N, C]`.
    pub fn head(&self, pooled: &Tensor) -> Result<(Tensor, Tensor), TchError> {
        let [fc6, fc7, fc8] = [0, 1, 2].map(|i| &self.0[CONVS + i]);
        let linear = |x: &Tensor, layer: &Placed| x.f_linear(&layer.weight, Some(&layer.bias));
        let features = linear(pooled, fc6)?.f_relu()?;
        let logits = linear(&linear(&features, fc7)?.f_relu()?, fc8)?;
        Ok((features, logits))
    }
}
