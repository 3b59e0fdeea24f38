//! Which files are videos, and how they are called.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// What a folder's files must end in to count as videos.
const VIDEOS: [&str; 24] = [
    "3g2", "3gp", "asf", "avi", "dv", "f4v", "flv", "m2t", "m2ts", "m2v", "m4v", "mkv", "mov", "mp4", "mpe", "mpeg",
    "mpg", "mts", "mxf", "ogv", "ts", "vob", "webm", "wmv",
];

/// Why there are no videos.
#[derive(Debug, Error)]
pub enum FolderError {
    #[error("{folder} can't be read: {source}; check its permissions", folder = folder.display())]
    Unreadable { folder: PathBuf, source: std::io::Error },
    #[error("{} holds no videos: give files by name, or folders that hold some themselves", .0.display())]
    Empty(PathBuf),
    #[error("{} can't be told as a URI: rename it", .0.display())]
    Name(PathBuf),
}

/// The videos of a folder, by name. Hidden files are none: a Mac leaves `._A.MP4` beside `A.MP4`.
///
/// # Errors
/// [`FolderError`]: it can't be read, or holds none.
pub fn in_folder(folder: &Path) -> Result<Vec<PathBuf>, FolderError> {
    let entries = std::fs::read_dir(folder).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    let entries = entries.map_err(|source| FolderError::Unreadable { folder: folder.into(), source })?;
    let known = |path: &PathBuf| {
        let extension = path.extension().unwrap_or_default();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        !hidden && VIDEOS.iter().any(|known| extension.eq_ignore_ascii_case(known)) && path.is_file()
    };
    let mut videos: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).filter(known).collect();
    videos.sort();
    if videos.is_empty() { Err(FolderError::Empty(folder.into())) } else { Ok(videos) }
}

/// A path as it is, or as a URI where it is not UTF-8: JSON and GStreamer could not tell it otherwise.
///
/// # Errors
/// [`FolderError::Name`]
pub fn name_of(path: PathBuf) -> Result<String, FolderError> {
    path.into_os_string().into_string().or_else(|path| {
        let uri = std::path::absolute(&path).ok().and_then(|path| glib::filename_to_uri(path, None).ok());
        uri.map(String::from).ok_or_else(|| FolderError::Name(path.into()))
    })
}
