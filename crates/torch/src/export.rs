//! The C functions of `libdesumnet_torch.so`: what [`desumnet_engine::network::loaded`] calls. Those that can fail give the reason as a text that the
//! caller gives back to [`desumnet_torch_free`]; null: they have not. A panic is a reason like any other.

use std::{
    any::Any,
    ffi::{CStr, CString, OsStr, c_char, c_void},
    os::unix::ffi::OsStrExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    ptr, slice,
};

use desumnet_engine::{
    message_of,
    named::named,
    network::{
        backend::{Computer, ComputerPass, Guide},
        loaded::{ABI, Numbers},
    },
};
use tch::Tensor;

use crate::{TorchNetwork, TorchPass, device};

/// A pass, and the last map that was made of it.
struct Pass {
    pass: TorchPass,
    map: Vec<f32>,
}

fn text(text: &str) -> *mut c_char {
    CString::new(text.replace('\0', " ")).map_or(ptr::null_mut(), CString::into_raw)
}

fn failure(work: impl FnOnce() -> Result<(), String>) -> *mut c_char {
    let done = catch_unwind(AssertUnwindSafe(work));
    let done =
        done.unwrap_or_else(|panic: Box<dyn Any + Send>| Err(format!("libtorch panicked: {}", message_of(&panic))));
    done.map_or_else(|reason| text(&reason), |()| ptr::null_mut())
}

fn numbers(values: &[f32]) -> Numbers {
    Numbers { at: values.as_ptr(), count: values.len() }
}

/// Which functions these are.
#[unsafe(no_mangle)]
pub extern "C" fn desumnet_torch_abi() -> u32 {
    ABI
}

/// # Safety
/// `count` is to be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn desumnet_torch_gpus(count: *mut usize) -> *mut c_char {
    failure(|| {
        let found = device::gpus().map_err(|error| match error {
            desumnet_engine::network::DeviceError::NoCuda(reason) => reason,
            other => other.to_string(),
        })?;
        // SAFETY: as above.
        unsafe { *count = found };
        Ok(())
    })
}

/// # Safety
/// The texts end with a zero; the others are to be written. The network ends with [`desumnet_torch_close`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn desumnet_torch_open(
    path: *const c_char,
    device: *const c_char,
    precision: *const c_char,
    network: *mut *mut c_void,
    about: *mut *mut c_char,
) -> *mut c_char {
    failure(|| {
        // SAFETY: as above.
        let [path, device, precision] = [path, device, precision].map(|text| unsafe { CStr::from_ptr(text) });
        let device = device.to_string_lossy().parse().map_err(|error| format!("{error}"))?;
        let precision = named(&precision.to_string_lossy())?;
        let path = Path::new(OsStr::from_bytes(path.to_bytes()));
        let opened = TorchNetwork::load(path, device, precision).map_err(|error| error.to_string())?;
        let told = serde_json::to_string(&opened.about()).map_err(|error| error.to_string())?;
        // SAFETY: as above.
        unsafe {
            *about = text(&told);
            *network = Box::into_raw(Box::new(opened)).cast();
        }
        Ok(())
    })
}

/// # Safety
/// A network of [`desumnet_torch_open`], once; none of its passes is left.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn desumnet_torch_close(network: *mut c_void) {
    // SAFETY: as above.
    drop(unsafe { Box::from_raw(network.cast::<TorchNetwork>()) });
}

/// # Safety
/// Whole clips of a network's; `prepared` is to be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn desumnet_torch_prepare(
    network: *const c_void,
    clips: *const u8,
    count: usize,
    prepared: *mut *mut c_void,
) -> *mut c_char {
    failure(|| {
        // SAFETY: as above.
        let network = unsafe { &*network.cast::<TorchNetwork>() };
        let bytes = network.clip.clip_bytes();
        // SAFETY: as above.
        let clips: Vec<&[u8]> = unsafe { slice::from_raw_parts(clips, count * bytes) }.chunks_exact(bytes).collect();
        let input = network.input(&clips).map_err(|error| crate::telling_line(&error))?;
        // SAFETY: as above.
        unsafe { *prepared = Box::into_raw(Box::new(input)).cast() };
        Ok(())
    })
}

/// # Safety
/// Of [`desumnet_torch_prepare`], once, and not run.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn desumnet_torch_forget(prepared: *mut c_void) {
    // SAFETY: as above.
    drop(unsafe { Box::from_raw(prepared.cast::<Tensor>()) });
}

/// # Safety
/// What was prepared for this network, and not run before; the others are to be written. The pass ends with [`desumnet_torch_end`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn desumnet_torch_forward(
    network: *const c_void,
    prepared: *mut c_void,
    pass: *mut *mut c_void,
    outputs: *mut Numbers,
    features: *mut Numbers,
) -> *mut c_char {
    failure(|| {
        // SAFETY: as above.
        let (network, input) = unsafe { (&*network.cast::<TorchNetwork>(), Box::from_raw(prepared.cast::<Tensor>())) };
        let made = network.pass(*input).map_err(|error| crate::telling_line(&error))?;
        let made = Box::new(Pass { pass: made, map: Vec::new() });
        // SAFETY: as above; the numbers stay where they are as long as the pass.
        unsafe {
            *outputs = numbers(made.pass.logits());
            *features = made.pass.features().map_or(Numbers::NONE, numbers);
            *pass = Box::into_raw(made).cast();
        }
        Ok(())
    })
}

/// # Safety
/// A pass, and as many numbers as it has outputs, and features unless that is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn desumnet_torch_begin(
    pass: *mut c_void,
    outputs: *const f32,
    features: *const f32,
) -> *mut c_char {
    failure(|| {
        // SAFETY: as above.
        let Pass { pass, .. } = unsafe { &mut *pass.cast::<Pass>() };
        // SAFETY: as above.
        let row = |at: *const f32, count: usize| unsafe { slice::from_raw_parts(at, count) }.to_vec();
        let logits = row(outputs, pass.logits().len());
        let along = pass.features().filter(|_| !features.is_null()).map(|own| row(features, own.len()));
        pass.begin(&Guide { logits, features: along }).map_err(|error| error.to_string())
    })
}

/// # Safety
/// A pass; `map` is to be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn desumnet_torch_finish(pass: *mut c_void, map: *mut Numbers) -> *mut c_char {
    failure(|| {
        // SAFETY: as above.
        let own = unsafe { &mut *pass.cast::<Pass>() };
        own.map = own.pass.finish().map_err(|error| error.to_string())?;
        // SAFETY: as above.
        unsafe { *map = numbers(&own.map) };
        Ok(())
    })
}

/// # Safety
/// A pass of [`desumnet_torch_forward`], once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn desumnet_torch_end(pass: *mut c_void) {
    // SAFETY: as above.
    drop(unsafe { Box::from_raw(pass.cast::<Pass>()) });
}

/// # Safety
/// A text of this library's, once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn desumnet_torch_free(text: *mut c_char) {
    // SAFETY: as above.
    drop(unsafe { CString::from_raw(text) });
}
