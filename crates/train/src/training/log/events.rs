//! TensorBoard's event files: protobuf messages in TFRecord frames.
//!
//! Own code: of the crates for it, `tboard` needs the protobuf compiler at every build, and `tensorboard-rs` panics where a disk
//! is full. The messages have the fields that scalars need, with the numbers that
//! `tensorboard/compat/proto/{event,summary}.proto` gives them.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prost::Message;

#[derive(Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "What", tags = "3, 5, 7")]
    what: Option<What>,
}

#[derive(prost::Oneof)]
enum What {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
    #[prost(message, tag = "7")]
    SessionLog(SessionLog),
}

#[derive(Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    values: Vec<Value>,
}

#[derive(Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    /// Of a oneof: it is written even where it is 0.
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

#[derive(Message)]
struct SessionLog {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// `SessionLog.status`: earlier events of this step or a later one are void.
const START: i32 = 1;

/// An event file that grows.
pub struct EventFile {
    path: PathBuf,
    file: File,
    /// Bytes of whole records.
    length: u64,
}

impl EventFile {
    /// Begins a file for what follows after `steps` steps. TensorBoard reads a folder's files in the order of their names:
    /// those of the time that they began at.
    ///
    /// # Errors
    /// If the file can't be made or written.
    pub fn create(folder: &Path, steps: u64) -> io::Result<Self> {
        let now = now();
        let name = format!("events.out.tfevents.{:010}.{:09}.desumnet", now.as_secs(), now.subsec_nanos());
        let path = folder.join(name);
        let file = File::options().append(true).create_new(true).open(&path)?;
        let mut events = Self { path, file, length: 0 };
        events.write(0, What::FileVersion("brain.Event:2".into()))?;
        events.write(steps + 1, What::SessionLog(SessionLog { status: START }))?;
        Ok(events)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds values, each with its name, at a step.
    ///
    /// # Errors
    /// If they can't be written; the file is then as it was.
    pub fn scalars(&mut self, step: u64, values: &[(&str, f64)]) -> io::Result<()> {
        let value = |&(tag, value): &(&str, f64)| Value { tag: tag.into(), simple_value: Some(value as f32) };
        self.write(step, What::Summary(Summary { values: values.iter().map(value).collect() }))
    }

    fn write(&mut self, step: u64, what: What) -> io::Result<()> {
        let event = Event { wall_time: now().as_secs_f64(), step: step as i64, what: Some(what) };
        let record = record(&event.encode_to_vec());
        if let Err(error) = self.file.write_all(&record) {
            // A reader would stop at half a record, whatever follows it.
            self.file.set_len(self.length)?;
            return Err(error);
        }
        self.length += record.len() as u64;
        Ok(())
    }
}

/// A TFRecord: the length, its checksum, the data, its checksum.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let checksum = |bytes: &[u8]| (crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)).to_le_bytes();
    [&length, &checksum(&length)[..], data, &checksum(data)].concat()
}

fn now() -> Duration {
    // A clock before 1970 is no reason to stop a run.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Castagnoli's checksum a bit at a time, masked as TensorFlow does.
    fn masked_crc(bytes: &[u8]) -> u32 {
        let mut crc = !0u32;
        for byte in bytes {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
            }
        }
        (!crc).rotate_right(15).wrapping_add(0xa282_ead8)
    }

    /// The data of each record, all checksums checked.
    fn records(mut file: &[u8]) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        while !file.is_empty() {
            let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
            assert_eq!(file[8..12], masked_crc(&file[..8]).to_le_bytes());
            let data = &file[12..12 + length];
            assert_eq!(file[12 + length..16 + length], masked_crc(data).to_le_bytes());
            found.push(data.to_vec());
            file = &file[16 + length..];
        }
        found
    }

    /// An event without its time: protobuf writes it first, as nine bytes.
    fn timeless(data: &[u8]) -> Vec<u8> {
        assert_eq!(data[0], 0x09);
        let time = f64::from_le_bytes(data[1..9].try_into().unwrap());
        assert!(time > 1.7e9, "{time}");
        data[9..].to_vec()
    }

    #[test]
    fn records_are_as_tensorboard_reads_them() {
        // The check value of CRC-32C, 0xe3069283, masked.
        assert_eq!(masked_crc(b"123456789"), 0xc78a_b0e5);
        let folder = tempfile::tempdir().unwrap();
        let mut file = EventFile::create(folder.path(), 299).unwrap();
        file.scalars(300, &[("loss/step", 0.0), ("learning_rate", 0.5)]).unwrap();
        let name = file.path().file_name().unwrap().to_str().unwrap().to_string();
        assert!(name.starts_with("events.out.tfevents.") && name.ends_with(".desumnet"), "{name}");
        let bytes = std::fs::read(file.path()).unwrap();
        let events: Vec<_> = records(&bytes).iter().map(|data| timeless(data)).collect();
        // 300 is 0xac 0x02 as a varint. Step 0, the default, is left out.
        let loss = b"\x0a\x10\x0a\x09loss/step\x15\0\0\0\0";
        let rate = b"\x0a\x14\x0a\x0dlearning_rate\x15\0\0\0\x3f";
        let summary = [b"\x10\xac\x02\x2a\x28".as_slice(), loss, rate].concat();
        let expected = [b"\x1a\x0dbrain.Event:2".to_vec(), b"\x10\xac\x02\x3a\x02\x08\x01".to_vec(), summary];
        assert_eq!(events, expected);
    }

    #[test]
    fn files_of_one_second_are_several_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<_> = (0..3).map(|_| EventFile::create(folder.path(), 0).unwrap().path().to_path_buf()).collect();
        assert!(paths.is_sorted() && paths[0] != paths[1] && paths[1] != paths[2], "{paths:?}");
    }
}
