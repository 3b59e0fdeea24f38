//! For build scripts of packages of which something links libtorch: an rpath, so that it finds it without `LD_LIBRARY_PATH`. What is
//! installed gets another (tools/install).

use std::{env, path::PathBuf};

/// Links the package's targets of these kinds, `tests` or `benches`, with an rpath to libtorch; of none, all of its targets. Where libtorch is; `None`
/// where it is not there.
pub fn link(targets: &[&str]) -> Option<PathBuf> {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let libtorch = PathBuf::from(env::var_os("LIBTORCH").unwrap_or_else(|| ".libtorch/torch".into()));
    let lib = libtorch.join("lib").canonicalize().ok()?;
    let rpath = format!("-Wl,-rpath,{}", lib.display());
    for target in targets {
        println!("cargo:rustc-link-arg-{target}={rpath}");
    }
    if targets.is_empty() {
        println!("cargo:rustc-link-arg={rpath}");
    }
    Some(libtorch)
}
