//! Version data for the plugin, and where libtorch is.

fn main() {
    gst_plugin_version_helper::info();
    libtorch_rpath::link();
}
