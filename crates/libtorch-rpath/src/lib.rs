//! For build scripts of crates that link libtorch: an rpath, so that everything built here finds it without `LD_LIBRARY_PATH`. What is
//! installed gets another (tools/install).

use std::{env, path::PathBuf};

/// Links what this package builds with an rpath to libtorch, and says where libtorch is; `None`, with a warning, where it is not there.
pub fn link() -> Option<PathBuf> {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let libtorch = PathBuf::from(env::var_os("LIBTORCH").unwrap_or_else(|| ".libtorch/torch".into()));
    match libtorch.join("lib").canonicalize() {
        Ok(lib) => {
            println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
            Some(libtorch)
        }
        Err(_) => {
            println!("cargo:warning=no libtorch in {}; run `make setup`", libtorch.display());
            None
        }
    }
}
