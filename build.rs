//! Version data for the plugin, and an rpath so that everything built here finds libtorch without `LD_LIBRARY_PATH`.

use std::{env, path::PathBuf};

fn main() {
    gst_plugin_version_helper::info();

    println!("cargo:rerun-if-env-changed=LIBTORCH");
    println!("cargo:rerun-if-env-changed=DESUMNET_LIBTORCH_RPATH");
    // An installed tree first (`make install` names it), then the one that was built against.
    let libtorch = PathBuf::from(env::var_os("LIBTORCH").unwrap_or_else(|| ".libtorch/torch".into()));
    if let Ok(installed) = env::var("DESUMNET_LIBTORCH_RPATH") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{installed}");
    } else if let Ok(lib) = libtorch.join("lib").canonicalize() {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    } else {
        println!("cargo:warning=no libtorch in {}; run `make setup`", libtorch.display());
    }
}
