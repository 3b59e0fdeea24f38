//! Where the model lies that the element takes when it is told none.

use std::path::{Path, PathBuf};

/// The default model under a folder: in the source tree, and after `make install`.
const PLACES: [&str; 2] = ["models/desumnet.safetensors", "share/gst-plugin-desumnet/models/desumnet.safetensors"];

/// The nearest default model in the folders above the plugin's or program's own file: `<source>/target/release/...`
/// finds the source tree's, `<prefix>/lib/.../gstreamer-1.0/...` the installed one.
pub fn default_model() -> Option<PathBuf> {
    own_file().as_deref().and_then(above)
}

fn above(file: &Path) -> Option<PathBuf> {
    file.ancestors().skip(1).flat_map(|folder| PLACES.map(|place| folder.join(place))).find(|path| path.is_file())
}

/// The file that this code was loaded from: the plugin, a program or a test.
pub(crate) fn own_file() -> Option<PathBuf> {
    use std::{ffi::CStr, os::unix::ffi::OsStrExt};
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::uninit();
    // SAFETY: dladdr only reads the address, and fills `info` where it returns other than 0; the name that it points to
    // lives as long as the file is loaded, which it is: this is its code.
    let name = unsafe {
        if libc::dladdr(default_model as *const libc::c_void, info.as_mut_ptr()) == 0 {
            return None;
        }
        CStr::from_ptr(info.assume_init().dli_fname)
    };
    // A program may name itself as it was called, without a folder.
    let path = Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()));
    path.canonicalize().ok().or_else(|| std::env::current_exe().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_is_found_in_the_source_tree_and_after_install() {
        let root = tempfile::tempdir().unwrap();
        for (plugin, model) in [
            ("src/target/debug/deps/libgstdesumnet.so", "src/models/desumnet.safetensors"),
            (
                "usr/lib/x86_64-linux-gnu/gstreamer-1.0/libgstdesumnet.so",
                "usr/share/gst-plugin-desumnet/models/desumnet.safetensors",
            ),
        ] {
            let (plugin, model) = (root.path().join(plugin), root.path().join(model));
            assert_eq!(above(&plugin), None);
            std::fs::create_dir_all(model.parent().unwrap()).unwrap();
            std::fs::write(&model, "").unwrap();
            assert_eq!(above(&plugin), Some(model));
        }
    }

    #[test]
    fn this_tests_own_file_is_known() {
        assert_eq!(own_file().unwrap(), std::env::current_exe().unwrap().canonicalize().unwrap());
    }
}
