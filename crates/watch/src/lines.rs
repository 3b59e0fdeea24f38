//! Files that get line after line, and hold whole ones only: a disk that is full takes a line whole or not at all.

use std::{
    fs::File,
    io::{Read, Result, Seek, SeekFrom, Write},
};

/// A file that can be made shorter.
pub trait Shorten {
    /// Cuts off all after so many bytes.
    ///
    /// # Errors
    /// What the system says.
    fn shorten(&mut self, bytes: u64) -> Result<()>;
}

impl Shorten for File {
    fn shorten(&mut self, bytes: u64) -> Result<()> {
        self.set_len(bytes)
    }
}

/// Adds lines to the end of a file; what is there of a line that a crash cut short stays one of its own. Where the file refuses a part,
/// it is as it was before.
///
/// # Errors
/// What the system says.
pub fn append(file: &mut (impl Read + Write + Seek + Shorten), lines: &str) -> Result<()> {
    let end = file.seek(SeekFrom::End(0))?;
    let written = end_line(file, end).and_then(|()| file.write_all(lines.as_bytes()));
    if written.is_err() {
        // Else the next line would begin in the middle of this one; that is seen to then.
        let _ = file.shorten(end);
    }
    written
}

/// Ends the last line, if a crash did not let it. What can't be read is taken to be whole.
fn end_line(file: &mut (impl Read + Write + Seek), end: u64) -> Result<()> {
    let mut last = [0];
    let read = file.seek(SeekFrom::Start(end.saturating_sub(1))).and_then(|_| file.read_exact(&mut last));
    file.seek(SeekFrom::Start(end))?;
    if read.is_err() || last == [b'\n'] { Ok(()) } else { file.write_all(b"\n") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Cursor, Error, ErrorKind};

    /// A file on a disk with room for so many bytes.
    struct Disk {
        file: Cursor<Vec<u8>>,
        room: usize,
    }

    impl Read for Disk {
        fn read(&mut self, bytes: &mut [u8]) -> Result<usize> {
            self.file.read(bytes)
        }
    }

    impl Seek for Disk {
        fn seek(&mut self, to: SeekFrom) -> Result<u64> {
            self.file.seek(to)
        }
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> Result<usize> {
            match self.room - self.file.get_ref().len() {
                0 => Err(Error::from(ErrorKind::StorageFull)),
                room => self.file.write(&bytes[..bytes.len().min(room)]),
            }
        }

        fn flush(&mut self) -> Result<()> {
            Ok(())
        }
    }

    impl Shorten for Disk {
        fn shorten(&mut self, bytes: u64) -> Result<()> {
            self.file.get_mut().truncate(bytes as usize);
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_takes_no_part_of_a_line_and_goes_on_when_there_is_room() {
        let mut disk = Disk { file: Cursor::new(b"one\nhal".to_vec()), room: 12 };
        append(&mut disk, "two\n").unwrap();
        assert_eq!(append(&mut disk, "three\n").unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(disk.file.get_ref(), b"one\nhal\ntwo\n");
        disk.room = 99;
        append(&mut disk, "three\n").unwrap();
        assert_eq!(disk.file.get_ref(), b"one\nhal\ntwo\nthree\n");
    }

    #[test]
    fn a_file_is_read_and_added_to() {
        let mut file = tempfile::tempfile().unwrap();
        append(&mut file, "one\n").unwrap();
        append(&mut file, "two\n").unwrap();
        let mut text = String::new();
        file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_string(&mut text)).unwrap();
        assert_eq!(text, "one\ntwo\n");
    }
}
