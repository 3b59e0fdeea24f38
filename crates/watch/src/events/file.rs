//! Events as lines: in a file, or on the standard output.

use std::{
    fs::{File, OpenOptions},
    io::{Result, Write},
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
};

use super::{Deliver, Failure};
use crate::lines;

/// Adds each event to a file. Where the file was moved away or deleted meanwhile, as logrotate does, another is begun.
///
/// # Errors
/// What the system says when it is opened.
pub fn deliver(path: PathBuf) -> Result<Deliver> {
    let mut file = open(&path)?;
    Ok(Box::new(move |event| {
        let written = reopen(&mut file, &path).and_then(|()| write(&mut file, event));
        written.map_err(|e| Failure::Away(e.to_string()))
    }))
}

/// Writes each event to the standard output.
///
/// # Errors
/// What the system says.
pub fn print() -> Result<Deliver> {
    // Of its own: the library's would keep, and write again, what a full disk refused.
    let mut out = File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
    Ok(Box::new(move |event| write(&mut out, event).map_err(|e| Failure::Away(e.to_string()))))
}

fn open(path: &Path) -> Result<File> {
    // A pipe that is opened for reading, too, never ends for its reader.
    let is_line_file = path.metadata().map_or(true, |metadata| metadata.is_file());
    OpenOptions::new().create(true).append(true).read(is_line_file).open(path)
}

fn reopen(file: &mut File, path: &Path) -> Result<()> {
    let (opened, named) = (file.metadata()?, path.metadata());
    if named.is_ok_and(|named| (named.dev(), named.ino()) == (opened.dev(), opened.ino())) {
        return Ok(());
    }
    *file = open(path)?;
    Ok(())
}

fn write(file: &mut File, event: &str) -> Result<()> {
    let line = format!("{event}\n");
    match file.metadata()?.is_file() {
        true => lines::append(file, &line),
        false => file.write_all(line.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_moved_away_or_deleted_is_begun_anew() {
        let temporary = tempfile::tempdir().unwrap();
        let (path, old) = (temporary.path().join("events"), temporary.path().join("events.1"));
        let mut deliver = deliver(path.clone()).unwrap();
        let mut send = |event: &str| deliver(event).map_err(|_| ()).unwrap();
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        send("one");
        std::fs::rename(&path, &old).unwrap();
        send("two");
        assert_eq!((read(&old).as_str(), read(&path).as_str()), ("one\n", "two\n"));
        std::fs::remove_file(&path).unwrap();
        send("three");
        // As logrotate's copytruncate does.
        File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        send("four");
        assert_eq!(read(&path), "four\n");
    }

    #[test]
    fn a_full_disk_is_waited_for() {
        let mut deliver = deliver("/dev/full".into()).unwrap();
        let Err(Failure::Away(reason)) = deliver("one") else { panic!("it has room") };
        assert!(reason.starts_with("No space left on device"), "{reason}");
    }
}
