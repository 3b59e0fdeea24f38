//! A running mean of the weights of a run (Polyak averaging): it scores better than the weights of any one step, as their noise cancels.
//! **Our choice**.

use std::collections::HashMap;

use tch::{Device, Kind, TchError, Tensor, nn};

use super::network::TrainingNetwork;

/// Name of its variables in a checkpoint, before the network's own.
const PREFIX: &str = "average.";

/// The mean, as a network.
pub struct Average {
    /// Of what was, that which each step keeps, (0, 1); less in a run's first steps.
    keep: f64,
    store: nn::VarStore,
    pub network: TrainingNetwork,
}

impl Average {
    /// Of a network with these variables.
    ///
    /// # Errors
    /// From libtorch.
    pub fn new(
        keep: f64,
        network: &TrainingNetwork,
        variables: &HashMap<String, Tensor>,
        device: Device,
        kind: Kind,
    ) -> Result<Self, TchError> {
        let store = nn::VarStore::new(device);
        let (widths, outputs) = network.widths();
        let network = TrainingNetwork::new(&store.root(), &widths, outputs, network.fc6(), kind)?;
        let mut average = Self { keep, store, network };
        average.add(variables, 0)?;
        Ok(average)
    }

    /// Takes the network as it is after so many steps; at the beginning, all of it.
    ///
    /// # Errors
    /// From libtorch.
    pub fn add(&mut self, variables: &HashMap<String, Tensor>, steps: u64) -> Result<(), TchError> {
        let _guard = tch::no_grad_guard();
        let keep = self.keep.min(steps as f64 / (9.0 + steps as f64));
        for (name, mut mean) in self.store.variables() {
            if let Some(value) = variables.get(&name) {
                let _ = mean.f_lerp_(&value.f_detach()?, 1.0 - keep)?;
            }
        }
        Ok(())
    }

    /// Its variables, as a checkpoint names them.
    pub fn variables(&self) -> impl Iterator<Item = (String, Tensor)> {
        self.store.variables().into_iter().map(|(name, tensor)| (format!("{PREFIX}{name}"), tensor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::{network::Fc6, seeded};

    #[test]
    fn it_is_the_mean_that_the_formula_says() {
        let _alone = seeded(1);
        let store = nn::VarStore::new(Device::Cpu);
        let widths = [2, 2, 2, 2, 2, 3, 3];
        let network = TrainingNetwork::new(&store.root(), &widths, 4, Fc6::Shared, Kind::Float).unwrap();
        let mut average = Average::new(0.25, &network, &store.variables(), Device::Cpu, Kind::Float).unwrap();
        let value = |store: &nn::VarStore| store.variables()["fc8.bias"].double_value(&[2]);
        let set = |to: f64| {
            let _guard = tch::no_grad_guard();
            let _ = store.variables()["fc8.bias"].shallow_clone().fill_(to);
        };
        let mut means = vec![value(&average.store)];
        for (steps, to) in [(1, 1.0), (2, 2.0), (100, 4.0)] {
            set(to);
            average.add(&store.variables(), steps).unwrap();
            means.push(value(&average.store));
        }
        // Kept: 1/10, 2/11, then 1/4.
        let second = 2.0 / 11.0 * 0.9 + 9.0 / 11.0 * 2.0;
        for (mean, expected) in means.iter().zip([0.0, 0.9, second, 0.25 * second + 3.0]) {
            assert!((mean - expected).abs() < 1e-6, "{means:?}");
        }
        assert_eq!(average.variables().count(), store.variables().len());
    }
}
