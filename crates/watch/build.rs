//! Where tests find libtorch.

fn main() {
    libtorch_rpath::link(&["tests"]);
}
