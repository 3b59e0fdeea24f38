//! Files on disk.

pub mod whole_file;
