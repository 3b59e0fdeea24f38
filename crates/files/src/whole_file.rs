//! Files that are there whole or not at all: models, checkpoints, tables, videos.

use std::{
    fs::{File, OpenOptions, Permissions},
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// How the names of files begin that are not whole yet.
pub const WRITING: &str = ".writing-";

/// Files of this process that are not whole yet.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn unfinished() -> MutexGuard<'static, Vec<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes what is not whole yet, for a process that ends on a signal. What is being written is lost.
pub fn discard() {
    let mut unfinished = unfinished();
    for path in unfinished.drain(..) {
        // It may have been finished a moment ago, and is then no longer there by this name.
        let _ = std::fs::remove_file(path);
    }
    // No other comes until the process is gone.
    std::mem::forget(unfinished);
}

/// A place in the list of what is not whole yet.
struct Listed(PathBuf);

impl Drop for Listed {
    fn drop(&mut self) {
        unfinished().retain(|path| *path != self.0);
    }
}

/// A file under a name of its own beside the one that it will have; gone when dropped unfinished.
pub struct Unfinished {
    file: tempfile::NamedTempFile,
    path: PathBuf,
    listed: Listed,
}

impl Unfinished {
    /// An empty file for `path`, in its folder and with its extension. Where `path` is a link to a file, that file is replaced and
    /// the link stays. The new file has the permissions of the one that it replaces.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(path: &Path) -> std::io::Result<Self> {
        let path = path.canonicalize().unwrap_or_else(|_| path.into());
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let extension = path.extension().map(|e| format!(".{}", e.to_string_lossy())).unwrap_or_default();
        // Temporary files are private; this one is for everyone whom the umask allows.
        let everyone = Permissions::from_mode(0o666);
        let mut making = tempfile::Builder::new();
        let mut unfinished = unfinished();
        let file = making.prefix(WRITING).suffix(&extension).permissions(everyone).tempfile_in(folder)?;
        unfinished.push(file.path().into());
        drop(unfinished);
        let listed = Listed(file.path().into());
        if let Ok(before) = path.metadata() {
            file.as_file().set_permissions(before.permissions())?;
        }
        Ok(Self { file, path, listed })
    }

    /// What it is written to.
    pub fn file(&self) -> &File {
        self.file.as_file()
    }

    /// Gives it its name, in place of what was there before.
    ///
    /// # Errors
    /// What the system says.
    pub fn finish(self) -> std::io::Result<()> {
        let Self { file, path, listed } = self;
        file.as_file().sync_all()?;
        let finished = file.persist(path);
        drop(listed);
        finished.map(drop).map_err(|e| e.error)
    }
}

/// Writes a file; what was there before stays if it fails. A pipe or a device (`/dev/null`, `>(...)` of a shell) is written to as it
/// is, and not replaced.
///
/// # Errors
/// What the system says.
pub fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if path.metadata().is_ok_and(|there| !there.is_file()) {
        return OpenOptions::new().write(true).open(path)?.write_all(bytes);
    }
    let mut file = Unfinished::new(path)?;
    file.file.write_all(bytes)?;
    file.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_unfinished_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("video.mp4");
        write(&path, b"before").unwrap();
        let half = Unfinished::new(&path).unwrap();
        let written = half.file.path().to_owned();
        assert!(written.extension().is_some_and(|e| e == "mp4"));
        assert!(unfinished().contains(&written));
        drop(half);
        assert!(!written.exists() && !unfinished().contains(&written));
        assert_eq!(std::fs::read(&path).unwrap(), b"before");
    }

    #[test]
    fn a_link_and_permissions_stay() {
        let folder = tempfile::tempdir().unwrap();
        let [file, link] = ["file.json", "link.json"].map(|name| folder.path().join(name));
        std::fs::write(&file, "before").unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink("file.json", &link).unwrap();
        write(&link, b"after").unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"after");
        assert_eq!(std::fs::read_link(&link).unwrap(), Path::new("file.json"));
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_pipe_is_written_to_and_stays() {
        use std::os::{fd::AsRawFd, unix::fs::FileTypeExt};
        let (mut reader, writer) = std::io::pipe().unwrap();
        let path = PathBuf::from(format!("/proc/self/fd/{}", writer.as_raw_fd()));
        write(&path, b"bytes").unwrap();
        assert!(path.metadata().unwrap().file_type().is_fifo());
        drop(writer);
        let mut read = Vec::new();
        std::io::Read::read_to_end(&mut reader, &mut read).unwrap();
        assert_eq!(read, b"bytes");
    }
}
