//! Version data for the plugin, and an rpath so that everything built here finds libtorch without `LD_LIBRARY_PATH`.

use std::{env, path::PathBuf};

fn main() {
    gst_plugin_version_helper::info();

    println!("cargo:rerun-if-env-changed=LIBTORCH");
    println!("cargo:rerun-if-env-changed=DESUMNET_LIBTORCH_RPATH");
    // `make install` names the folder that libtorch is installed to; the one that is built against works in this tree.
    if let Ok(installed) = env::var("DESUMNET_LIBTORCH_RPATH") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{installed}");
    }
    let libtorch = PathBuf::from(env::var_os("LIBTORCH").unwrap_or_else(|| ".libtorch/torch".into()));
    match libtorch.join("lib").canonicalize() {
        Ok(lib) => println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display()),
        Err(_) => println!("cargo:warning=no libtorch in {}; run `make setup`", libtorch.display()),
    }
}
