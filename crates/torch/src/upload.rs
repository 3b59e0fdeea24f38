//! Bytes to a GPU, on a stream of their own: those of the next batch while one is computed.

use std::ffi::{CStr, c_char, c_void};

use tch::{TchError, Tensor};

unsafe extern "C" {
    fn desumnet_upload(pinned: *const c_void, index: i64, uploaded: *mut *mut c_void) -> *mut c_char;
}

/// A tensor in pinned memory, to GPU `index`; doesn't wait until it is there: what is computed from it does.
///
/// # Errors
/// From libtorch: out of memory, or no such GPU.
pub fn upload(pinned: &Tensor, index: usize) -> Result<Tensor, TchError> {
    let mut uploaded = std::ptr::null_mut();
    // SAFETY: the tensor lives, and libtorch keeps its memory until it is copied; the other is a new one, ours alone.
    let failed = unsafe { desumnet_upload(pinned.as_ptr().cast(), index as i64, &raw mut uploaded) };
    if failed.is_null() {
        // SAFETY: as above.
        return Ok(unsafe { Tensor::from_ptr(uploaded.cast()) });
    }
    // SAFETY: a text that is ours to free.
    let reason = unsafe {
        let reason = CStr::from_ptr(failed).to_string_lossy().into_owned();
        libc::free(failed.cast());
        reason
    };
    Err(TchError::Torch(reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use desumnet_engine::network::Device;

    #[test]
    fn bytes_get_there_or_it_is_said_why_not() {
        let bytes: Vec<u8> = (0..=255).collect();
        let tensor = Tensor::from_slice(&bytes);
        if let device @ tch::Device::Cuda(index) = crate::resolve(Device::Auto).unwrap() {
            let uploaded = upload(&tensor.pin_memory(device), index).unwrap();
            assert_eq!(uploaded.device(), device);
            assert_eq!(Vec::<u8>::try_from(uploaded).unwrap(), bytes);
        } else {
            let error = upload(&tensor, 0).unwrap_err().to_string();
            assert!(error.contains("not linked with support for cuda"), "{error}");
        }
    }
}
