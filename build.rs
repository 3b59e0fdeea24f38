//! Version data for the plugin, and where its tests find libtorch.

fn main() {
    gst_plugin_version_helper::info();
    libtorch_rpath::link(&["tests"]);
}
