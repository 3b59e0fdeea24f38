//! Devices, and the loading of CUDA on demand.
//!
//! This links only libtorch's CPU half. CUDA's half is opened when a device asks for it, before the first CUDA
//! query of the process, because libtorch looks for its CUDA hooks once and remembers what it found.

use desumnet_engine::network::{Device, DeviceError, Precision};
use once_cell::sync::OnceCell;
use tch::Kind;

/// The device itself, its libraries loaded.
///
/// # Errors
/// [`DeviceError::NoCuda`] or [`DeviceError::NoSuchGpu`]; never for `Auto` and `Cpu`.
pub fn resolve(device: Device) -> Result<tch::Device, DeviceError> {
    match device {
        Device::Cpu => Ok(tch::Device::Cpu),
        Device::Auto => Ok(gpus().map_or(tch::Device::Cpu, |_| tch::Device::Cuda(0))),
        Device::Cuda(asked) => match gpus()? {
            found if asked < found => Ok(tch::Device::Cuda(asked)),
            found => Err(DeviceError::NoSuchGpu { asked, found }),
        },
    }
}

/// The element type for a device.
///
/// # Errors
/// [`DeviceError::F16OnCpu`]
pub fn resolve_precision(precision: Precision, device: tch::Device) -> Result<Kind, DeviceError> {
    let cuda = device.is_cuda();
    match precision {
        Precision::F32 => Ok(Kind::Float),
        Precision::Bf16 => Ok(Kind::BFloat16),
        Precision::F16 if cuda => Ok(Kind::Half),
        Precision::F16 => Err(DeviceError::F16OnCpu),
        Precision::Auto if cuda => Ok(Kind::BFloat16),
        Precision::Auto => Ok(Kind::Float),
    }
}

/// The libraries, once opened, stay open to the end of the process.
static CUDA: OnceCell<(Vec<libloading::os::unix::Library>, usize)> = OnceCell::new();

/// Opens CUDA's half of libtorch; the number of GPUs, at least one. Tried anew at each call until it succeeds.
pub fn gpus() -> Result<usize, DeviceError> {
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
                Ok((libraries, n as usize))
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
    fn f16_is_for_cuda() {
        assert_eq!(resolve_precision(Precision::F16, tch::Device::Cuda(0)).unwrap(), Kind::Half);
        assert!(matches!(resolve_precision(Precision::F16, tch::Device::Cpu), Err(DeviceError::F16OnCpu)));
        for precision in [Precision::F32, Precision::Auto] {
            assert_eq!(resolve_precision(precision, tch::Device::Cpu).unwrap(), Kind::Float);
        }
    }

    #[test]
    fn cuda_without_a_driver_is_an_error_with_a_remedy() {
        if gpus().is_ok() {
            assert!(matches!(resolve(Device::Cuda(999)), Err(DeviceError::NoSuchGpu { asked: 999, .. })));
        } else {
            let error = resolve(Device::Cuda(0)).unwrap_err().to_string();
            assert!(error.contains("device=cpu") && error.contains("make setup CUDA=1"), "{error}");
            assert_eq!(resolve(Device::Auto).unwrap(), tch::Device::Cpu);
        }
    }
}
