//! Importance (paper, section 3.1): how strongly the score of a video's category answers to each pixel of a segment.
//!
//! Forward gives the categories' scores. Backward, guided by a one-hot vector for the chosen category, gives the gradient
//! with respect to the input (Equations 1 and 2); weights get none. The map is the largest absolute value over the three
//! colours at each pixel; its mean over a frame is the frame's score, and their mean (or maximum) the segment's.

use tch::{Kind, TchError, Tensor};

use crate::{
    named::Named,
    network::{Network, Pass, rows_of, wide},
};

/// What is differentiated: the `importance` setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Form {
    /// The category's probability times the gradient of its class score. Not Equation 1 but **our choice**, as it ranks best: the
    /// probability's own gradient vanishes where the network is sure.
    Weighted,
    /// Equation 1 of the class score before the softmax.
    Logit,
    /// Equation 1 of the probability after the softmax.
    Probability,
    /// Equation 1 of how far the features depart from the stream's usual, times how far its motion does: see [`crate::unusual`].
    /// **Our choice**.
    Unusual,
    /// [`Self::Weighted`] where a category fits what the stream shows, [`Self::Unusual`] where none does, as far as the model tells: see
    /// [`crate::network::Calibration`]. **Our choice**.
    #[default]
    Auto,
}

impl Named for Form {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("weighted", Self::Weighted),
        ("logit", Self::Logit),
        ("probability", Self::Probability),
        ("unusual", Self::Unusual),
        ("auto", Self::Auto),
    ];
}

/// How frame scores become a segment's score (G in the paper): the `aggregation` setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Aggregation {
    #[default]
    Mean,
    Max,
}

impl Named for Aggregation {
    const NAMES: &'static [(&'static str, Self)] = &[("mean", Self::Mean), ("max", Self::Max)];
}

impl Aggregation {
    /// A segment's score of its frame scores.
    pub fn of(self, frame_scores: &[f32]) -> f32 {
        match self {
            Self::Mean => frame_scores.iter().sum::<f32>() / frame_scores.len() as f32,
            Self::Max => frame_scores.iter().copied().fold(0.0, f32::max),
        }
    }
}

/// What a clip's map answers to, other than by one of the forms of a category.
#[derive(Clone, Debug, PartialEq)]
pub enum Along {
    /// As in [`Form::Weighted`].
    Category(usize),
    /// The features, in this direction.
    Features(Vec<f32>),
}

/// A forward pass of N clips, kept until the category for the backward pass is known.
pub struct Forward<'a> {
    pass: Pass<'a>,
    /// Of the convolutions.
    kind: Kind,
    /// For each clip, the probability of every category.
    pub probabilities: Vec<Vec<f32>>,
}

impl<'a> Forward<'a> {
    /// Runs N clips of RGB bytes ([`desumnet_frames::clip::Geometry::clip_bytes`] each).
    ///
    /// # Errors
    /// From libtorch: out of memory, for one.
    pub fn new(network: &'a Network, clips: &[&[u8]]) -> Result<Self, TchError> {
        Self::of(network, network.forward(clips)?)
    }

    /// What is to be had of a forward pass.
    ///
    /// # Errors
    /// From libtorch.
    pub fn of(network: &Network, pass: Pass<'a>) -> Result<Self, TchError> {
        let rows = pass.logits.f_detach()?.f_softmax(-1, pass.logits.kind())?;
        Ok(Self { pass, kind: network.kind, probabilities: rows_of(&rows)? })
    }

    /// Features that stand for each clip, if the network gives any: see [`Pass::features`].
    ///
    /// # Errors
    /// From libtorch.
    pub fn features(&self) -> Result<Option<Vec<Vec<f32>>>, TchError> {
        self.pass.features.as_ref().map(|features| rows_of(&features.f_detach()?)).transpose()
    }

    /// The importance maps, `[N, T, H, W]`, at least 0: each clip's with respect to its own category.
    ///
    /// # Errors
    /// From libtorch.
    pub fn maps(mut self, categories: &[usize], form: Form) -> Result<Tensor, TchError> {
        let chosen = self.chosen(categories)?;
        match form {
            Form::Weighted | Form::Auto => weighted(&self.logit(&chosen, false)?, &self.probability(&chosen)?),
            Form::Logit => self.logit(&chosen, false),
            Form::Probability => self.backward(&self.softmax()?, &chosen, false),
            Form::Unusual => Err(TchError::Torch("what is unusual is of no category".into())),
        }
    }

    /// The same, of each clip by its own target. All of a batch take one way back.
    ///
    /// # Errors
    /// If the network gives no features, and one is asked for along them; from libtorch.
    pub fn maps_of(mut self, targets: &[Along]) -> Result<Tensor, TchError> {
        let logits = self.pass.logits.shallow_clone();
        let mut guide = vec![0.0f32; logits.numel()];
        let categories = logits.size()[1] as usize;
        for (number, target) in targets.iter().enumerate() {
            if let Along::Category(category) = *target {
                guide[number * categories + category] = self.probabilities[number][category];
            }
        }
        let mut outputs = guided(&logits, &guide)?;
        if targets.iter().any(|target| matches!(target, Along::Features(_))) {
            let features =
                self.pass.features.as_ref().ok_or_else(|| TchError::Torch("there are no features".into()))?;
            let width = features.size()[1] as usize;
            let row = |target: &Along| match target {
                Along::Features(direction) => direction.clone(),
                Along::Category(_) => vec![0.0; width],
            };
            let guide: Vec<f32> = targets.iter().flat_map(row).collect();
            outputs = outputs.f_add(&guided(features, &guide)?)?;
        }
        self.gradient(&outputs, false)
    }

    /// Frame scores, one a frame of each clip, at least 0: [`frame_scores`] of [`Self::maps`].
    ///
    /// # Errors
    /// From libtorch.
    pub fn frame_scores(self, categories: &[usize], form: Form) -> Result<Vec<Vec<f32>>, TchError> {
        frame_scores(&self.maps(categories, form)?)
    }

    /// The same in every form ([`Form::Weighted`], [`Form::Logit`], [`Form::Probability`]), from two backward passes.
    ///
    /// # Errors
    /// From libtorch.
    pub fn frame_scores_in_every_form(mut self, categories: &[usize]) -> Result<[Vec<Vec<f32>>; 3], TchError> {
        let chosen = self.chosen(categories)?;
        let logit = self.logit(&chosen, true)?;
        let weighted = weighted(&logit, &self.probability(&chosen)?)?;
        let probability = self.backward(&self.softmax()?, &chosen, false)?;
        Ok([frame_scores(&weighted)?, frame_scores(&logit)?, frame_scores(&probability)?])
    }

    /// The categories' numbers as `[N, 1]`.
    fn chosen(&self, categories: &[usize]) -> Result<Tensor, TchError> {
        Tensor::f_from_slice(&categories.iter().map(|&c| c as i64).collect::<Vec<_>>())?
            .f_to_device(self.pass.logits.device())?
            .f_unsqueeze(1)
    }

    fn softmax(&self) -> Result<Tensor, TchError> {
        self.pass.logits.f_softmax(-1, wide(self.kind))
    }

    /// Probability of each clip's category, `[N, 1]`.
    fn probability(&self, chosen: &Tensor) -> Result<Tensor, TchError> {
        self.softmax()?.f_detach()?.f_gather(1, chosen, false)
    }

    fn logit(&mut self, chosen: &Tensor, again: bool) -> Result<Tensor, TchError> {
        self.backward(&self.pass.logits.shallow_clone(), chosen, again)
    }

    /// Largest absolute gradient of the chosen outputs over the colours, `[N, T, H, W]`. `again`: another backward pass follows.
    fn backward(&mut self, output: &Tensor, chosen: &Tensor, again: bool) -> Result<Tensor, TchError> {
        self.gradient(&output.f_gather(1, chosen, false)?, again)
    }

    /// The same of all these outputs.
    fn gradient(&mut self, outputs: &Tensor, again: bool) -> Result<Tensor, TchError> {
        let wide = wide(self.kind);
        // Half precision has no room for gradients of 1e-8: they are scaled up on the way and down again after it.
        let scale = if self.kind == Kind::Half { 4096.0 } else { 1.0 };
        let score = outputs.f_sum(wide)?.f_mul_scalar(scale)?;
        self.pass.map(&score, again)?.f_to_kind(wide)?.f_div_scalar(scale)
    }
}

/// Each output of `[N, D]` times its number, summed over a clip's: `[N]`.
fn guided(outputs: &Tensor, guide: &[f32]) -> Result<Tensor, TchError> {
    let guide = Tensor::f_from_slice(guide)?.f_view(&*outputs.size())?;
    let guide = guide.f_to_device(outputs.device())?.f_to_kind(outputs.kind())?;
    outputs.f_mul(&guide)?.f_sum_dim_intlist([1].as_slice(), false, outputs.kind())
}

/// Maps `[N, T, H, W]`, each clip's times its probability of `[N, 1]`.
fn weighted(maps: &Tensor, probability: &Tensor) -> Result<Tensor, TchError> {
    maps.f_mul(&probability.f_reshape([-1, 1, 1, 1])?)
}

/// The mean of every frame's map, one row a clip, of maps `[N, T, H, W]`.
///
/// # Errors
/// From libtorch.
pub fn frame_scores(maps: &Tensor) -> Result<Vec<Vec<f32>>, TchError> {
    let means = maps.f_mean_dim([-2, -1].as_slice(), false, maps.kind())?;
    rows_of(&means)
}
