//! Files that are there whole or not at all: models, checkpoints, tables and pictures of a run.

use std::{fs::Permissions, io::Write, os::unix::fs::PermissionsExt, path::Path};

/// How the names of files begin that are not whole yet.
pub const WRITING: &str = ".writing-";

/// Writes a file; what was there before stays if it fails.
///
/// # Errors
/// What the system says.
pub fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Temporary files are private; this one is for everyone whom the umask allows.
    let everyone = Permissions::from_mode(0o666);
    let mut file = tempfile::Builder::new().prefix(WRITING).permissions(everyone).tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(|e| e.error)
}
