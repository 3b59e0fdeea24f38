//! DeSumNet on a processor, by this project's own kernels: nothing else is needed.

use std::sync::{Mutex, PoisonError};

use desumnet_frames::clip::Geometry;
use rayon::prelude::*;

use super::{
    ComputeError, Guide, Header,
    kernels::{Convolutions, Simd, Size, Weights},
    model::{CONVS, Layer, Model},
};

/// Inputs of a layer whose gradients are computed together, on the way back.
const COLUMNS: usize = 256;

/// The layers, and what passes borrow.
pub struct Own {
    /// conv1 to conv5, for as many passes at once as there ever are.
    convolutions: Vec<Layer>,
    /// Those that no pass holds.
    idle: Mutex<Vec<Convolutions>>,
    /// fc6, fc7 and fc8.
    connected: [Connected; 3],
    /// Normalised pixel values by colour and byte: x = (pixel - mean) / std.
    pixels: [[f32; 256]; 3],
}

impl Own {
    /// Packs the weights.
    ///
    /// # Errors
    /// [`ComputeError::Threads`]
    pub fn new(model: Model) -> Result<Self, ComputeError> {
        let Model { header, mut layers, .. } = model;
        let connected = layers.split_off(CONVS);
        let convolutions = packed(&layers)?;
        let mut connected = connected.into_iter().map(Connected::new);
        let mut next = || connected.next().unwrap_or_default();
        Ok(Self {
            connected: [next(), next(), next()],
            idle: Mutex::new(vec![convolutions]),
            convolutions: layers,
            pixels: table(&header),
        })
    }

    /// Features that a clip has.
    pub fn features(&self) -> usize {
        self.connected[0].bias.len()
    }

    /// A pass of whole clips of RGB bytes.
    ///
    /// # Errors
    /// [`ComputeError::Threads`]
    pub fn forward(&self, clips: &[&[u8]]) -> Result<OwnPass<'_>, ComputeError> {
        let waiting = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut convolutions = waiting.map_or_else(|| packed(&self.convolutions), Ok)?;
        let pooled = convolutions.forward(&self.normalised(clips));
        let [fc6, fc7, fc8] = &self.connected;
        let (features, hidden, logits) = convolutions.install(|| {
            let features = fc6.forward(&pooled, relu);
            let hidden = fc7.forward(&features, relu);
            let logits = fc8.forward(&hidden, |sum| sum);
            (features, hidden, logits)
        });
        Ok(OwnPass { network: self, convolutions: Some(convolutions), features, hidden, logits })
    }

    fn normalised(&self, clips: &[&[u8]]) -> Vec<f32> {
        let [red, green, blue] = &self.pixels;
        let rgb = clips.iter().flat_map(|clip| clip.as_chunks::<3>().0);
        rgb.flat_map(|&[r, g, b]| [red[usize::from(r)], green[usize::from(g)], blue[usize::from(b)]]).collect()
    }
}

/// A forward pass. Its convolutions go back when it is over.
pub struct OwnPass<'a> {
    network: &'a Own,
    convolutions: Option<Convolutions>,
    /// Outputs of fc6 after its ReLU, one clip's after the other.
    pub features: Vec<f32>,
    /// The same of fc7.
    hidden: Vec<f32>,
    /// Outputs of fc8.
    pub logits: Vec<f32>,
}

impl OwnPass<'_> {
    /// The importance maps, `[N, T, H, W]`.
    pub fn map(&mut self, guide: &Guide) -> Vec<f32> {
        let [fc6, fc7, fc8] = &self.network.connected;
        let (features, hidden) = (&self.features, &self.hidden);
        let Some(convolutions) = &mut self.convolutions else { return Vec::new() };
        let pooled = convolutions.install(|| {
            let mut gradient = if guide.logits.iter().all(|&by| by == 0.0) {
                vec![0.0; features.len()]
            } else {
                fc7.backward(&let_through(fc8.backward(&guide.logits), hidden))
            };
            if let Some(along) = &guide.features {
                gradient.iter_mut().zip(along).for_each(|(gradient, by)| *gradient += by);
            }
            fc6.backward(&let_through(gradient, features))
        });
        convolutions.backward(&pooled)
    }
}

impl Drop for OwnPass<'_> {
    fn drop(&mut self) {
        self.network.idle.lock().unwrap_or_else(PoisonError::into_inner).extend(self.convolutions.take());
    }
}

/// The convolutions by our own kernels, on as many threads as there are processors.
fn packed(layers: &[Layer]) -> Result<Convolutions, ComputeError> {
    let layers: Vec<Weights> =
        layers.iter().map(|Layer { weight, bias }| Weights { weight: &weight.values, bias: &bias.values }).collect();
    let Geometry { frames, crop_height: height, crop_width: width, .. } = Geometry::PAPER;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    Convolutions::new(&layers, Size { frames, height, width }, threads, Simd::best())
        .map_err(|error| ComputeError::Threads(error.to_string()))
}

fn table(header: &Header) -> [[f32; 256]; 3] {
    std::array::from_fn(|colour| {
        let (mean, std) = (header.mean[colour], header.std[colour]);
        std::array::from_fn(|byte| ((byte as f64 - mean) / std) as f32)
    })
}

fn relu(sum: f32) -> f32 {
    sum.max(0.0)
}

/// A gradient behind a ReLU, as it is before it.
fn let_through(mut gradient: Vec<f32>, outputs: &[f32]) -> Vec<f32> {
    for (gradient, output) in gradient.iter_mut().zip(outputs) {
        if *output <= 0.0 {
            *gradient = 0.0;
        }
    }
    gradient
}

/// A fully connected layer.
#[derive(Default)]
struct Connected {
    /// `[outputs, inputs]`
    weight: Vec<f32>,
    bias: Vec<f32>,
    inputs: usize,
}

impl Connected {
    fn new(Layer { weight, bias }: Layer) -> Self {
        let inputs = weight.shape.get(1).copied().unwrap_or(1).max(1);
        Self { weight: weight.values, bias: bias.values, inputs }
    }

    /// `[N, outputs]` of `[N, inputs]`; each sum becomes what `end` makes of it.
    fn forward(&self, inputs: &[f32], end: impl Fn(f32) -> f32 + Sync) -> Vec<f32> {
        let clips: Vec<&[f32]> = inputs.chunks_exact(self.inputs).collect();
        // Each weight is read once, whatever the number of clips.
        let rows = self.weight.par_chunks_exact(self.inputs).zip(&self.bias);
        let (clips, end) = (&clips, &end);
        let of = |(row, bias)| clips.iter().map(move |clip| end(product(row, clip) + bias));
        let by_output: Vec<f32> = rows.flat_map_iter(of).collect();
        let outputs = self.bias.len();
        (0..clips.len() * outputs).map(|i| by_output[i % outputs * clips.len() + i / outputs]).collect()
    }

    /// The gradient with respect to the inputs, `[N, inputs]`, of that with respect to the outputs.
    fn backward(&self, gradient: &[f32]) -> Vec<f32> {
        let mut of_inputs = vec![0.0; gradient.len() / self.bias.len() * self.inputs];
        let clips = of_inputs.par_chunks_exact_mut(self.inputs).zip(gradient.par_chunks_exact(self.bias.len()));
        clips.for_each(|(to, gradient)| {
            to.par_chunks_mut(COLUMNS).enumerate().for_each(|(number, to)| {
                let from = number * COLUMNS;
                for (row, by) in self.weight.chunks_exact(self.inputs).zip(gradient) {
                    // Half of them, behind a ReLU.
                    if *by != 0.0 {
                        to.iter_mut().zip(&row[from..]).for_each(|(to, weight)| *to += by * weight);
                    }
                }
            });
        });
        of_inputs
    }
}

/// Sum of the products. Sixteen sums side by side are what processors add at once, and are the more exact, too.
fn product(a: &[f32], b: &[f32]) -> f32 {
    let ((a, rest_a), (b, rest_b)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    let mut sums = [0.0f32; 16];
    for (a, b) in a.iter().zip(b) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    sums.iter().sum::<f32>() + rest_a.iter().zip(rest_b).map(|(a, b)| a * b).sum::<f32>()
}
