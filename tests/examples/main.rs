//! What lies in `examples/`, as its users run it.

mod janus;
mod nginx;
mod other_languages;
mod rtsp_server;
