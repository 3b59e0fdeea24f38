//! JSON documents for other programs.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use serde::Serialize;
use thiserror::Error;

use desumnet_files::whole_file;

/// A document can't be written.
#[derive(Debug, Error)]
#[error("{path} can't be written: {source}; check the folder and the free disk space")]
pub struct DocumentError {
    path: PathBuf,
    source: std::io::Error,
}

/// Writes one indented JSON document to a file, whole or not at all, or to standard output (`-`).
///
/// # Errors
/// [`DocumentError`]
pub fn write(path: &Path, document: &impl Serialize) -> Result<(), DocumentError> {
    let text = serde_json::to_string_pretty(document).map_err(std::io::Error::from).map(|text| text + "\n");
    let written = text.and_then(|text| match path.to_str() {
        Some("-") => std::io::stdout().write_all(text.as_bytes()),
        _ => whole_file::write(path, text.as_bytes()),
    });
    written.map_err(|source| DocumentError { path: path.into(), source })
}
