//! Steps of gradient descent. libtorch has these optimizers, but keeps their state to itself: a run that is to go on
//! exactly where it was stopped must be able to save it.

use tch::{TchError, Tensor};

/// What makes a step of a gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Stochastic gradient descent with momentum (paper, section 4).
    Sgd,
    /// Adam with decoupled weight decay: less sensitive to the learning rate where videos are few.
    Adamw,
}

/// Shares of the old averages that Adam keeps at each step, and what keeps it from dividing by zero.
const BETAS: (f64, f64) = (0.9, 0.999);
const EPSILON: f64 = 1e-8;

/// A variable and how it is learned.
pub struct Parameter {
    pub name: String,
    pub value: Tensor,
    /// Weight decay applies.
    pub decays: bool,
    /// Learning rate beside the others'.
    pub rate: f64,
    /// Momentum of SGD; running mean of the gradient of Adam.
    pub first: Tensor,
    /// Running mean of the squared gradient; Adam only.
    pub second: Option<Tensor>,
}

/// An optimizer with its state.
pub struct Optimizer {
    method: Method,
    momentum: f64,
    weight_decay: f64,
    pub parameters: Vec<Parameter>,
    /// Steps made so far.
    pub steps: u64,
}

impl Optimizer {
    /// Of variables with their names; `decays` and `rate` tell of a name whether weight decay applies, and the learning rate
    /// beside the others'.
    ///
    /// # Errors
    /// From libtorch.
    pub fn new(
        method: Method,
        momentum: f64,
        weight_decay: f64,
        variables: impl IntoIterator<Item = (String, Tensor)>,
        decays: impl Fn(&str) -> bool,
        rate: impl Fn(&str) -> f64,
    ) -> Result<Self, TchError> {
        let parameters = variables
            .into_iter()
            .map(|(name, value)| {
                let zeros = || value.f_detach()?.f_zeros_like();
                let second = if method == Method::Adamw { Some(zeros()?) } else { None };
                Ok(Parameter { decays: decays(&name), rate: rate(&name), first: zeros()?, second, name, value })
            })
            .collect::<Result<_, TchError>>()?;
        Ok(Self { method, momentum, weight_decay, parameters, steps: 0 })
    }

    /// One step along the gradients that the last backward pass left, shortened to `longest` over all variables together if it is given,
    /// and clears them. The gradients' length before that; if it is not finite, the variables stay as they are.
    ///
    /// # Errors
    /// From libtorch.
    pub fn step(&mut self, learning_rate: f64, longest: Option<f64>) -> Result<f64, TchError> {
        let _guard = tch::no_grad_guard();
        let gradients: Vec<Tensor> = self.parameters.iter().map(|p| p.value.grad()).collect();
        let norms = gradients.iter().map(Tensor::f_norm).collect::<Result<Vec<_>, _>>()?;
        let length = Tensor::f_stack(&norms, 0)?.f_norm()?.f_double_value(&[])?;
        if length.is_finite() {
            self.steps += 1;
            let scale = longest.map_or(1.0, |longest| (longest / (length + 1e-6)).min(1.0));
            for (parameter, gradient) in self.parameters.iter_mut().zip(&gradients) {
                let mut gradient = gradient.shallow_clone();
                let gradient = gradient.f_mul_scalar_(scale)?;
                let rate = learning_rate * parameter.rate;
                let decay = if parameter.decays { self.weight_decay } else { 0.0 };
                match self.method {
                    Method::Sgd => sgd(parameter, &gradient, rate, self.momentum, decay)?,
                    Method::Adamw => adamw(parameter, &gradient, rate, decay, self.steps)?,
                }
            }
        }
        for mut gradient in gradients {
            let _ = gradient.f_zero_()?;
        }
        Ok(length)
    }
}

fn sgd(p: &mut Parameter, gradient: &Tensor, rate: f64, momentum: f64, decay: f64) -> Result<(), TchError> {
    let gradient = gradient.f_add(&p.value.f_mul_scalar(decay)?)?;
    let _ = p.first.f_mul_scalar_(momentum)?.f_add_(&gradient)?;
    let _ = p.value.f_sub_(&p.first.f_mul_scalar(rate)?)?;
    Ok(())
}

fn adamw(p: &mut Parameter, gradient: &Tensor, rate: f64, decay: f64, steps: u64) -> Result<(), TchError> {
    let Some(second) = &mut p.second else { return Ok(()) };
    let unbias = |beta: f64| 1.0 - beta.powi(i32::try_from(steps).unwrap_or(i32::MAX));
    let _ = p.value.f_mul_scalar_(1.0 - rate * decay)?;
    let _ = p.first.f_mul_scalar_(BETAS.0)?.f_add_(&gradient.f_mul_scalar(1.0 - BETAS.0)?)?;
    let _ = second.f_mul_scalar_(BETAS.1)?.f_add_(&gradient.f_square()?.f_mul_scalar_(1.0 - BETAS.1)?)?;
    let spread = second.f_div_scalar(unbias(BETAS.1))?.f_sqrt_()?.f_add_scalar_(EPSILON)?;
    let _ = p.value.f_sub_(&p.first.f_mul_scalar(rate / unbias(BETAS.0))?.f_div_(&spread)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{
        Device, Kind,
        nn::{self, OptimizerConfig},
    };

    /// Ten steps on a small problem by libtorch's optimizer and by ours.
    fn compare(method: Method, theirs: impl FnOnce(&nn::VarStore) -> nn::Optimizer) {
        let _alone = crate::training::seeded(5);
        let start = Tensor::randn([4, 3], (Kind::Float, Device::Cpu));
        let inputs = Tensor::randn([6, 3], (Kind::Float, Device::Cpu));
        let loss = |w: &Tensor| inputs.matmul(&w.tr()).tanh().square().sum(Kind::Float);
        let store = nn::VarStore::new(Device::Cpu);
        let w = store.root().var_copy("w", &start);
        let mut reference = theirs(&store);
        let ours = start.copy().set_requires_grad(true);
        let named = [("w".to_owned(), ours.shallow_clone())];
        let mut optimizer = Optimizer::new(method, 0.9, 0.05, named, |_| true, |_| 0.5).unwrap();
        for _ in 0..10 {
            reference.backward_step(&loss(&w));
            loss(&ours).backward();
            optimizer.step(0.02, None).unwrap();
        }
        assert_eq!(optimizer.steps, 10);
        let apart = (&ours - &w).abs().max().double_value(&[]);
        assert!(apart < 1e-6 && (&w - &start).abs().max().double_value(&[]) > 0.05, "{apart}");
    }

    #[test]
    fn sgd_steps_as_libtorch_does() {
        compare(Method::Sgd, |store| {
            nn::Sgd { momentum: 0.9, wd: 0.05, ..Default::default() }.build(store, 0.01).unwrap()
        });
    }

    #[test]
    fn adamw_steps_as_libtorch_does() {
        compare(Method::Adamw, |store| nn::AdamW { wd: 0.05, ..Default::default() }.build(store, 0.01).unwrap());
    }

    #[test]
    fn long_gradients_are_shortened_and_infinite_ones_not_taken() {
        let w = Tensor::from_slice(&[3.0f64, 4.0]).set_requires_grad(true);
        let named = [("w".to_owned(), w.shallow_clone())];
        let mut optimizer = Optimizer::new(Method::Sgd, 0.0, 0.0, named, |_| true, |_| 1.0).unwrap();
        (&w * &w).sum(Kind::Double).backward();
        // The gradient is (6, 8), 10 long.
        assert_eq!(optimizer.step(1.0, Some(5.0)).unwrap(), 10.0);
        let values = Vec::<f64>::try_from(&w).unwrap();
        assert!((values[0] - 0.0).abs() < 1e-5 && (values[1] - 0.0).abs() < 1e-5, "{values:?}");
        (w.sqrt() * f64::INFINITY).sum(Kind::Double).backward();
        assert!(!optimizer.step(1.0, Some(5.0)).unwrap().is_finite());
        assert_eq!(Vec::<f64>::try_from(&w).unwrap(), values);
    }
}
