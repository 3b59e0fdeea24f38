//! Where and how precisely the network runs.

use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::named::Named;

/// A `device` setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Device {
    /// The first GPU where there is one, else the processor.
    #[default]
    Auto,
    Cpu,
    /// GPU of this number.
    Cuda(usize),
}

/// A `precision` setting: of the convolutions' arithmetic, whatever the model file holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// bf16 on CUDA, float32 on a CPU.
    #[default]
    Auto,
    F32,
    /// On a CPU, DeSumNet is computed in float32 all the same, which is faster there.
    Bf16,
    F16,
}

impl Named for Precision {
    const NAMES: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("f32", Self::F32), ("bf16", Self::Bf16), ("f16", Self::F16)];
}

/// Why a device can't be used.
#[derive(Debug, Error)]
pub enum DeviceError {
    #[error("device `{0}` is not known: use auto, cpu, cuda or cuda:N")]
    Unknown(String),
    #[error(
        "no CUDA on this machine ({0}): use device=cpu or device=auto, or install NVIDIA's driver and run `make setup CUDA=1`"
    )]
    NoCuda(String),
    #[error("GPU {asked} asked for, {found} found: use a number below {found}, or device=auto")]
    NoSuchGpu { asked: usize, found: usize },
    #[error("precision f16 needs a CUDA device: use precision=f32 or bf16 on a CPU")]
    F16OnCpu,
}

impl FromStr for Device {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            other => other
                .strip_prefix("cuda:")
                .and_then(|n| n.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| DeviceError::Unknown(text.into())),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => write!(f, "auto"),
            Self::Cpu => write!(f, "cpu"),
            Self::Cuda(n) => write!(f, "cuda:{n}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_names_are_read_and_written() {
        for (text, device) in
            [("auto", Device::Auto), ("cpu", Device::Cpu), ("cuda:3", Device::Cuda(3)), ("cuda:0", Device::Cuda(0))]
        {
            assert_eq!(text.parse::<Device>().unwrap(), device);
            assert_eq!(device.to_string(), text);
        }
        assert_eq!("cuda".parse::<Device>().unwrap(), Device::Cuda(0));
        for wrong in ["gpu", "cuda:", "cuda:x", "CPU", ""] {
            let error = wrong.parse::<Device>().unwrap_err().to_string();
            assert!(error.contains("use auto, cpu, cuda or cuda:N"), "{error}");
        }
    }
}
