//! Where and how precisely the network runs, and the loading of CUDA on demand.
//!
//! The plugin links only libtorch's CPU half. CUDA's half is opened when a device asks for it, before the first CUDA
//! query of the process, because libtorch looks for its CUDA hooks once and remembers what it found.

use std::{fmt, str::FromStr};

use once_cell::sync::OnceCell;
use tch::Kind;
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
    NoSuchGpu { asked: usize, found: i64 },
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

impl Device {
    /// The device itself, its libraries loaded.
    ///
    /// # Errors
    /// [`DeviceError::NoCuda`] or [`DeviceError::NoSuchGpu`]; never for `Auto` and `Cpu`.
    pub fn resolve(self) -> Result<tch::Device, DeviceError> {
        match self {
            Self::Cpu => Ok(tch::Device::Cpu),
            Self::Auto => Ok(load_cuda().map_or(tch::Device::Cpu, |_| tch::Device::Cuda(0))),
            Self::Cuda(asked) => {
                let found = load_cuda()?;
                let exists = i64::try_from(asked).is_ok_and(|n| n < found);
                if exists { Ok(tch::Device::Cuda(asked)) } else { Err(DeviceError::NoSuchGpu { asked, found }) }
            }
        }
    }
}

impl Precision {
    /// The element type for a device.
    ///
    /// # Errors
    /// [`DeviceError::F16OnCpu`]
    pub fn resolve(self, device: tch::Device) -> Result<Kind, DeviceError> {
        let cuda = device.is_cuda();
        match self {
            Self::F32 => Ok(Kind::Float),
            Self::Bf16 => Ok(Kind::BFloat16),
            Self::F16 if cuda => Ok(Kind::Half),
            Self::F16 => Err(DeviceError::F16OnCpu),
            Self::Auto if cuda => Ok(Kind::BFloat16),
            Self::Auto => Ok(Kind::Float),
        }
    }
}

/// The libraries, once opened, stay open to the end of the process.
static CUDA: OnceCell<(Vec<libloading::os::unix::Library>, i64)> = OnceCell::new();

/// Opens CUDA's half of libtorch; the number of GPUs, at least one. Tried anew at each call until it succeeds.
fn load_cuda() -> Result<i64, DeviceError> {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    let open = |name: &str| {
        // SAFETY: these are the libraries that libtorch itself opens; their initialisers have no further conditions.
        unsafe { Library::open(Some(name), RTLD_NOW | RTLD_GLOBAL) }.map_err(|e| DeviceError::NoCuda(e.to_string()))
    };
    CUDA.get_or_try_init(|| {
        // The driver first: without it, the 500 MB of the other need not be read.
        let libraries = vec![open("libcuda.so.1")?, open("libtorch_cuda.so")?];
        match tch::Cuda::device_count() {
            n if n > 0 => {
                // Clips have one size: the fastest algorithm for it is looked for once.
                tch::Cuda::cudnn_set_benchmark(true);
                Ok((libraries, n))
            }
            _ => Err(DeviceError::NoCuda("the driver finds no GPU".into())),
        }
    })
    .map(|(_, gpus)| *gpus)
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

    #[test]
    fn f16_is_for_cuda() {
        assert_eq!(Precision::F16.resolve(tch::Device::Cuda(0)).unwrap(), Kind::Half);
        assert!(matches!(Precision::F16.resolve(tch::Device::Cpu), Err(DeviceError::F16OnCpu)));
        for precision in [Precision::F32, Precision::Auto] {
            assert_eq!(precision.resolve(tch::Device::Cpu).unwrap(), Kind::Float);
        }
    }

    #[test]
    fn cuda_without_a_driver_is_an_error_with_a_remedy() {
        if load_cuda().is_ok() {
            assert!(matches!(Device::Cuda(999).resolve(), Err(DeviceError::NoSuchGpu { asked: 999, .. })));
        } else {
            let error = Device::Cuda(0).resolve().unwrap_err().to_string();
            assert!(error.contains("device=cpu") && error.contains("make setup CUDA=1"), "{error}");
            assert_eq!(Device::Auto.resolve().unwrap(), tch::Device::Cpu);
        }
    }
}
