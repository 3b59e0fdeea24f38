//! DeSumNet's own layers (paper, section 3.2): five 3D convolutions, each with ReLU and max pooling, then three fully
//! connected layers.

use tch::{Device, Kind, TchError, Tensor};

use super::{
    channels_last,
    model::{CONVS, LAYERS, Layer},
    pool_kernel, wide,
};

/// The weights on a device. Convolutions are in the network's kind and channels-last, the others in [`wide`] of it.
pub struct Layers(Vec<Layer>);

impl Layers {
    pub fn new(layers: Vec<Layer>, device: Device, kind: Kind) -> Result<Self, TchError> {
        let place = |(i, layer): (usize, Layer)| {
            let kind = if i < CONVS { kind } else { wide(kind) };
            let weight = layer.weight.f_to_device(device)?.f_to_kind(kind)?;
            let weight = if i < CONVS { channels_last(&weight)? } else { weight.f_contiguous()? };
            Ok(Layer { weight, bias: layer.bias.f_to_device(device)?.f_to_kind(kind)? })
        };
        layers.into_iter().enumerate().map(place).collect::<Result<_, TchError>>().map(Self)
    }

    /// Class scores `[N, C]` of an input `[N, 3, 16, 112, 112]`.
    pub fn forward(&self, input: &Tensor) -> Result<Tensor, TchError> {
        let mut x = input.shallow_clone();
        for (i, layer) in self.0.iter().enumerate() {
            if i < CONVS {
                let pool = pool_kernel(i);
                x = x
                    .f_conv3d(&layer.weight, Some(&layer.bias), [1, 1, 1], [1, 1, 1], [1, 1, 1], 1)?
                    .f_relu_()?
                    .f_max_pool3d(pool, pool, [0, 0, 0], [1, 1, 1], true)?;
            } else {
                if i == CONVS {
                    x = x.f_flatten(1, -1)?.f_to_kind(wide(input.kind()))?;
                }
                x = x.f_linear(&layer.weight, Some(&layer.bias))?;
                if i + 1 < LAYERS.len() {
                    x = x.f_relu()?;
                }
            }
        }
        Ok(x)
    }
}
