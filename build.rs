//! Version data for the plugin, the few lines of C++ that tch has no words for, and an rpath so that everything built here finds
//! libtorch without `LD_LIBRARY_PATH`; what is installed gets another (tools/install).

use std::{env, path::PathBuf};

fn main() {
    gst_plugin_version_helper::info();

    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let libtorch = PathBuf::from(env::var_os("LIBTORCH").unwrap_or_else(|| ".libtorch/torch".into()));
    match libtorch.join("lib").canonicalize() {
        Ok(lib) => {
            println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
            let upload = "src/network/upload.cpp";
            println!("cargo:rerun-if-changed={upload}");
            let mut compiler = cc::Build::new();
            compiler.cpp(true).std("c++17").warnings(false).include(libtorch.join("include"));
            compiler.file(upload).compile("desumnet_upload");
        }
        Err(_) => println!("cargo:warning=no libtorch in {}; run `make setup`", libtorch.display()),
    }
}
