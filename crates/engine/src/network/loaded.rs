//! libtorch, loaded when it is asked for: `libdesumnet_torch.so`, a library of C functions, so that whatever compiled it does not matter.

use std::{
    ffi::{CStr, CString, c_char, c_void},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    ptr,
};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use super::{
    ComputeError, Device, DeviceError, NetworkError, Precision,
    backend::{About, Backend, Computer, ComputerPass, Guide, Prepared},
};
use crate::{models::own_file, named::Named};

/// The library's file.
const NAME: &str = "libdesumnet_torch.so";
/// Where it is installed, below a folder of libraries.
const FOLDER: &str = "gst-plugin-desumnet";
/// Number of the functions below: another one means others.
pub const ABI: u32 = 1;

/// A text that the library made; null: none.
type Text = *mut c_char;

/// The library's functions. Those that can fail give the reason as a text, null if they have not.
struct Functions {
    gpus: unsafe extern "C" fn(count: *mut usize) -> Text,
    open: unsafe extern "C" fn(
        path: *const c_char,
        device: *const c_char,
        precision: *const c_char,
        network: *mut *mut c_void,
        about: *mut Text,
    ) -> Text,
    close: unsafe extern "C" fn(network: *mut c_void),
    /// `clips`: of `count`, one after the other.
    prepare: unsafe extern "C" fn(
        network: *const c_void,
        clips: *const u8,
        count: usize,
        prepared: *mut *mut c_void,
    ) -> Text,
    forget: unsafe extern "C" fn(prepared: *mut c_void),
    /// Takes `prepared` over. The numbers of outputs and features are the lengths of what they point to, which lives as long as the pass.
    forward: unsafe extern "C" fn(
        network: *const c_void,
        prepared: *mut c_void,
        pass: *mut *mut c_void,
        outputs: *mut Numbers,
        features: *mut Numbers,
    ) -> Text,
    /// `features` is null where nothing is asked for along them.
    begin: unsafe extern "C" fn(pass: *mut c_void, outputs: *const f32, features: *const f32) -> Text,
    /// `map` lives as long as the pass, or until the next one.
    finish: unsafe extern "C" fn(pass: *mut c_void, map: *mut Numbers) -> Text,
    end: unsafe extern "C" fn(pass: *mut c_void),
    free: unsafe extern "C" fn(text: Text),
    _library: Library,
}

/// Numbers in the library's memory.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Numbers {
    pub at: *const f32,
    pub count: usize,
}

impl Numbers {
    pub const NONE: Self = Self { at: ptr::null(), count: 0 };

    /// SAFETY: as the library says, and for as long.
    unsafe fn slice<'a>(self) -> &'a [f32] {
        // SAFETY: as above.
        if self.at.is_null() { &[] } else { unsafe { std::slice::from_raw_parts(self.at, self.count) } }
    }
}

/// The library, loaded until the process ends.
pub struct Loaded(&'static Functions);

impl Loaded {
    /// Looks for it beside this code, and where it is installed.
    ///
    /// # Errors
    /// [`NetworkError::NoTorch`]
    pub fn find() -> Result<Self, NetworkError> {
        let own = own_file().unwrap_or_default();
        let places = places(&own);
        let path = places.iter().find(|path| path.is_file()).ok_or_else(|| NetworkError::NoTorch {
            reason: format!("no {NAME} beside {}, nor where it is installed", own.display()),
        })?;
        Self::load(path).map_err(|reason| NetworkError::NoTorch { reason: format!("{}: {reason}", path.display()) })
    }

    fn load(path: &Path) -> Result<Self, String> {
        // SAFETY: this project's own library, and libtorch behind it; their initialisers have no conditions.
        let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map_err(reason)?;
        // SAFETY: they have the types that the library of this ABI gives them, which is asked first.
        unsafe {
            let abi = library.get::<unsafe extern "C" fn() -> u32>(b"desumnet_torch_abi\0").map_err(reason)?;
            if abi() != ABI {
                return Err("it is of another version: install the one of this version".into());
            }
            macro_rules! function {
                ($name:literal) => {
                    *library.get($name).map_err(reason)?
                };
            }
            let functions = Functions {
                gpus: function!(b"desumnet_torch_gpus\0"),
                open: function!(b"desumnet_torch_open\0"),
                close: function!(b"desumnet_torch_close\0"),
                prepare: function!(b"desumnet_torch_prepare\0"),
                forget: function!(b"desumnet_torch_forget\0"),
                forward: function!(b"desumnet_torch_forward\0"),
                begin: function!(b"desumnet_torch_begin\0"),
                finish: function!(b"desumnet_torch_finish\0"),
                end: function!(b"desumnet_torch_end\0"),
                free: function!(b"desumnet_torch_free\0"),
                _library: library,
            };
            Ok(Self(Box::leak(Box::new(functions))))
        }
    }
}

impl Functions {
    /// A text of the library's, as ours.
    fn take(&self, text: Text) -> Option<String> {
        if text.is_null() {
            return None;
        }
        // SAFETY: a text of the library's that is ours to give back.
        unsafe {
            let own = CStr::from_ptr(text).to_string_lossy().into_owned();
            (self.free)(text);
            Some(own)
        }
    }

    fn computed(&self, failure: Text) -> Result<(), ComputeError> {
        self.take(failure).map_or(Ok(()), |reason| Err(ComputeError::Torch(reason)))
    }
}

impl Backend for Loaded {
    fn gpus(&self) -> Result<usize, NetworkError> {
        let mut count = 0;
        // SAFETY: it writes the number.
        let failure = unsafe { (self.0.gpus)(&raw mut count) };
        match self.0.take(failure) {
            Some(reason) => Err(DeviceError::NoCuda(reason).into()),
            None => Ok(count),
        }
    }

    fn open(&self, path: &Path, device: Device, precision: Precision) -> Result<Box<dyn Computer>, NetworkError> {
        let text = |bytes: &[u8]| CString::new(bytes).map_err(|_| NetworkError::Torch("a zero in a path".into()));
        let (path, device) = (text(path.as_os_str().as_bytes())?, text(device.to_string().as_bytes())?);
        let precision = text(precision.name().as_bytes())?;
        let (mut network, mut about) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: the texts live, and it writes the others.
        let failure = unsafe {
            let [path, device, precision] = [&path, &device, &precision].map(|text| text.as_ptr());
            (self.0.open)(path, device, precision, &raw mut network, &raw mut about)
        };
        if let Some(reason) = self.0.take(failure) {
            return Err(NetworkError::Torch(reason));
        }
        // It is closed also where the text can't be read.
        let network = Handle { at: network, end: self.0.close };
        let about = self.0.take(about).unwrap_or_default();
        let about = serde_json::from_str(&about).map_err(|error| NetworkError::Torch(error.to_string()))?;
        Ok(Box::new(LoadedNetwork { library: self.0, network, about }))
    }
}

/// Something of the library's, and what ends it.
struct Handle {
    at: *mut c_void,
    end: unsafe extern "C" fn(*mut c_void),
}

// SAFETY: the library's networks and inputs may move between threads; nobody shares them.
unsafe impl Send for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        if !self.at.is_null() {
            // SAFETY: it is there, and nobody else's.
            unsafe { (self.end)(self.at) }
        }
    }
}

struct LoadedNetwork {
    library: &'static Functions,
    network: Handle,
    about: About,
}

impl Computer for LoadedNetwork {
    fn about(&self) -> About {
        self.about.clone()
    }

    fn prepare(&self, clips: &[&[u8]]) -> Result<Prepared, ComputeError> {
        let (bytes, mut prepared) = (clips.concat(), ptr::null_mut());
        // SAFETY: whole clips, which the caller has measured.
        let failure =
            unsafe { (self.library.prepare)(self.network.at, bytes.as_ptr(), clips.len(), &raw mut prepared) };
        self.library.computed(failure)?;
        Ok(Box::new(Handle { at: prepared, end: self.library.forget }))
    }

    fn forward(&self, input: Prepared) -> Result<Box<dyn ComputerPass + '_>, ComputeError> {
        let Ok(mut input) = input.downcast::<Handle>() else {
            return Err(ComputeError::Torch("the input is not of this network".into()));
        };
        let prepared = std::mem::replace(&mut input.at, ptr::null_mut());
        let (mut pass, mut logits, mut features) = (ptr::null_mut(), Numbers::NONE, Numbers::NONE);
        // SAFETY: it takes the input over, and writes the others.
        let failure = unsafe {
            (self.library.forward)(self.network.at, prepared, &raw mut pass, &raw mut logits, &raw mut features)
        };
        self.library.computed(failure)?;
        let pass = Handle { at: pass, end: self.library.end };
        Ok(Box::new(LoadedPass { library: self.library, pass, logits, features }))
    }
}

struct LoadedPass {
    library: &'static Functions,
    pass: Handle,
    logits: Numbers,
    features: Numbers,
}

impl ComputerPass for LoadedPass {
    fn logits(&self) -> &[f32] {
        // SAFETY: as long as the pass.
        unsafe { self.logits.slice() }
    }

    fn features(&self) -> Option<&[f32]> {
        // SAFETY: as long as the pass.
        (!self.features.at.is_null()).then(|| unsafe { self.features.slice() })
    }

    fn begin(&mut self, guide: &Guide) -> Result<(), ComputeError> {
        if guide.logits.len() != self.logits.count
            || guide.features.as_ref().is_some_and(|along| along.len() != self.features.count)
        {
            return Err(ComputeError::NoFeatures);
        }
        let along = guide.features.as_ref().map_or(ptr::null(), Vec::as_ptr);
        // SAFETY: as many numbers as the pass has.
        let failure = unsafe { (self.library.begin)(self.pass.at, guide.logits.as_ptr(), along) };
        self.library.computed(failure)
    }

    fn finish(&mut self) -> Result<Vec<f32>, ComputeError> {
        let mut map = Numbers::NONE;
        // SAFETY: it writes where the numbers are.
        let failure = unsafe { (self.library.finish)(self.pass.at, &raw mut map) };
        self.library.computed(failure)?;
        // SAFETY: until the next map, which needs this pass again.
        Ok(unsafe { map.slice() }.to_vec())
    }
}

/// Where the library may be, for code in this file: beside it, above it (tests lie a folder deeper than what they test), and where `make install`
/// puts it.
fn places(own: &Path) -> Vec<PathBuf> {
    let beside = own.ancestors().skip(1).take(2).map(|folder| folder.join(NAME));
    let libraries = [
        "lib".to_owned(),
        format!("lib/{}-linux-gnu", std::env::consts::ARCH),
        "lib64".to_owned(),
        // The plugin is in a folder of one of them.
        String::new(),
    ];
    let installed = own.ancestors().skip(1).flat_map(|folder| {
        libraries.iter().map(|library| folder.join(library).join(FOLDER).join(NAME)).collect::<Vec<_>>()
    });
    beside.chain(installed).collect()
}

/// The reason that the system gives, which the error itself does not tell.
fn reason(error: libloading::Error) -> String {
    use std::error::Error;
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_looked_for_beside_and_where_it_is_installed() {
        let of = |own: &str| places(Path::new(own)).iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
        let plugin = of("/usr/lib/x86_64-linux-gnu/gstreamer-1.0/libgstdesumnet.so");
        assert!(plugin.contains(&"/usr/lib/x86_64-linux-gnu/gst-plugin-desumnet/libdesumnet_torch.so".to_owned()));
        let program = of("/usr/local/bin/desumnet");
        let library =
            format!("/usr/local/lib/{}-linux-gnu/gst-plugin-desumnet/libdesumnet_torch.so", std::env::consts::ARCH);
        assert!(program.contains(&library), "{program:?}");
        assert_eq!(of("/tree/target/debug/deps/elements-1")[1], "/tree/target/debug/libdesumnet_torch.so");
    }
}
