//! DeSumNet's own layers (paper, section 3.2): five 3D convolutions, each with ReLU and max pooling, then three fully
//! connected layers.

use tch::{Device, Kind, TchError, Tensor};

use super::{
    channels_last,
    model::{CONVS, Layer},
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

    /// Of an input `[N, 3, 16, 112, 112]`: what fc6 gives after its ReLU, `[N, 2048]`, and the class scores, `[N, C]`.
    pub fn forward(&self, input: &Tensor) -> Result<(Tensor, Tensor), TchError> {
        let mut x = input.shallow_clone();
        for (i, layer) in self.0[..CONVS].iter().enumerate() {
            let pool = pool_kernel(i);
            x = x
                .f_conv3d(&layer.weight, Some(&layer.bias), [1, 1, 1], [1, 1, 1], [1, 1, 1], 1)?
                .f_relu_()?
                .f_max_pool3d(pool, pool, [0, 0, 0], [1, 1, 1], true)?;
        }
        let [fc6, fc7, fc8] = [0, 1, 2].map(|i| &self.0[CONVS + i]);
        let linear = |x: Tensor, layer: &Layer| x.f_linear(&layer.weight, Some(&layer.bias));
        let features = linear(x.f_flatten(1, -1)?.f_to_kind(wide(input.kind()))?, fc6)?.f_relu()?;
        let hidden = linear(features.shallow_clone(), fc7)?.f_relu()?;
        Ok((features, linear(hidden, fc8)?))
    }
}
