//! Importance (paper, section 3.1): how strongly the score of a video's category answers to each pixel of a segment.
//!
//! Forward gives the categories' scores. Backward, guided by a one-hot vector for the chosen category, gives the gradient
//! with respect to the input (Equations 1 and 2); weights get none. The map is the largest absolute value over the three
//! colours at each pixel; its mean over a frame is the frame's score, and their mean (or maximum) the segment's.

use crate::{
    named::Named,
    network::{ComputeError, Gradients, Network, Pass, backend::Guide},
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
    /// For each clip, the probability of every category.
    pub probabilities: Vec<Vec<f32>>,
}

impl<'a> Forward<'a> {
    /// Runs N clips of RGB bytes ([`desumnet_frames::clip::Geometry::clip_bytes`] each).
    ///
    /// # Errors
    /// [`ComputeError`]
    pub fn new(network: &'a Network, clips: &[&[u8]]) -> Result<Self, ComputeError> {
        Ok(Self::of(network.forward(clips, None)?))
    }

    /// What is to be had of a forward pass.
    pub fn of(pass: Pass<'a>) -> Self {
        Self { probabilities: pass.logits.iter().map(|row| softmax(row)).collect(), pass }
    }

    /// Features that stand for each clip, if the network gives any: see [`Pass::features`].
    pub fn features(&self) -> Option<&[Vec<f32>]> {
        self.pass.features.as_deref()
    }

    /// The importance maps: each clip's with respect to its own category. `meanwhile`: see [`Pass::map`].
    ///
    /// # Errors
    /// [`ComputeError`]
    pub fn maps(
        mut self,
        categories: &[usize],
        form: Form,
        meanwhile: &mut dyn FnMut(),
    ) -> Result<Gradients, ComputeError> {
        self.form(categories, form, meanwhile)
    }

    /// The same, of each clip by its own target. All of a batch take one way back.
    ///
    /// # Errors
    /// If the network gives no features, and one is asked for along them; [`ComputeError`].
    pub fn maps_of(mut self, targets: &[Along], meanwhile: &mut dyn FnMut()) -> Result<Gradients, ComputeError> {
        let logits = self.guide(|clip, category| match targets[clip] {
            Along::Category(own) if own == category => self.probabilities[clip][category],
            _ => 0.0,
        });
        let along = targets.iter().any(|target| matches!(target, Along::Features(_)));
        let width = self.pass.features.as_ref().map(|rows| rows.first().map_or(0, Vec::len));
        if along && width.is_none() {
            return Err(ComputeError::NoFeatures);
        }
        let row = |target: &Along| match target {
            Along::Features(direction) => direction.clone(),
            Along::Category(_) => vec![0.0; width.unwrap_or(0)],
        };
        let features = along.then(|| targets.iter().flat_map(row).collect());
        self.pass.map(&Guide { logits, features }, meanwhile)
    }

    /// Frame scores, one a frame of each clip, at least 0: [`Gradients::frame_scores`] of [`Self::maps`].
    ///
    /// # Errors
    /// [`ComputeError`]
    pub fn frame_scores(self, categories: &[usize], form: Form) -> Result<Vec<Vec<f32>>, ComputeError> {
        Ok(self.maps(categories, form, &mut || ())?.frame_scores())
    }

    /// The same in every form ([`Form::Weighted`], [`Form::Logit`], [`Form::Probability`]).
    ///
    /// # Errors
    /// [`ComputeError`]
    pub fn frame_scores_in_every_form(mut self, categories: &[usize]) -> Result<[Vec<Vec<f32>>; 3], ComputeError> {
        let mut gradients = self.form(categories, Form::Logit, &mut || ())?;
        let logit = gradients.frame_scores();
        gradients.scale(self.probabilities_of(categories));
        let probability = self.form(categories, Form::Probability, &mut || ())?;
        Ok([gradients.frame_scores(), logit, probability.frame_scores()])
    }

    fn form(
        &mut self,
        categories: &[usize],
        form: Form,
        meanwhile: &mut dyn FnMut(),
    ) -> Result<Gradients, ComputeError> {
        let hot = |clip: usize, category: usize| f32::from(u8::from(categories[clip] == category));
        let logits = match form {
            Form::Weighted | Form::Auto | Form::Logit => self.guide(hot),
            // The gradient of the softmax.
            Form::Probability => self.guide(|clip, category| {
                let row = &self.probabilities[clip];
                row[categories[clip]] * (hot(clip, category) - row[category])
            }),
            Form::Unusual => return Err(ComputeError::NoCategory),
        };
        let mut gradients = self.pass.map(&Guide { logits, features: None }, meanwhile)?;
        // Not before the way back, on which so small a number may vanish.
        if matches!(form, Form::Weighted | Form::Auto) {
            gradients.scale(self.probabilities_of(categories));
        }
        Ok(gradients)
    }

    /// A number a class score: what `of` says of clip and category.
    fn guide(&self, of: impl Fn(usize, usize) -> f32) -> Vec<f32> {
        let rows = self.probabilities.iter().enumerate();
        rows.flat_map(|(clip, row)| (0..row.len()).map(move |category| (clip, category)))
            .map(|(clip, category)| of(clip, category))
            .collect()
    }

    /// That of each clip's category.
    fn probabilities_of(&self, categories: &[usize]) -> Vec<f32> {
        self.probabilities.iter().zip(categories).map(|(row, &category)| row[category]).collect()
    }
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = logits.iter().map(|&logit| f64::from(logit - most).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| (power / sum) as f32).collect()
}
