//! The few lines of C++ that tch has no words for.

fn main() {
    let Some(libtorch) = libtorch_rpath::link(&[]) else {
        println!("cargo:warning=there is no libtorch; run `make build`");
        return;
    };
    let upload = "src/upload.cpp";
    println!("cargo:rerun-if-changed={upload}");
    let mut compiler = cc::Build::new();
    compiler.cpp(true).std("c++17").warnings(false).include(libtorch.join("include"));
    compiler.file(upload).compile("desumnet_upload");
}
