//! Where libtorch is.

fn main() {
    libtorch_rpath::link(&[]);
}
