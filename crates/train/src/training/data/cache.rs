//! Analysis frames on disk, so that an epoch costs no decoding: a file per video, lossless.
//!
//! A video is stored as the segments that the element would cut, 16 frames each, the last of a stretch perhaps fewer. In a
//! segment each frame is kept as its difference from the one before (the first: from the pixel to the left), compressed with zstd.
//! The file ends with an index in JSON, its length (u64, little endian) and a magic word; without them it is taken for unfinished
//! and made anew.

use std::{
    fs::File,
    hash::{DefaultHasher, Hash, Hasher},
    io::{Read, Seek, SeekFrom, Write},
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use desumnet_files::whole_file::WRITING;
use desumnet_frames::{
    clip::{Clip, FRAME_BYTES, FRAMES, Frame, Geometry},
    segmenter::Stride,
};
use desumnet_media::decode::{DecodeError, Segments};

/// The last bytes of a whole file; the number is the version of the format and of what the pixels are.
const MAGIC: &[u8; 16] = b"desumnet-frames1";
/// zstd's level: higher ones save little on pixels and cost much.
const LEVEL: i32 = 1;

/// Why frames can't be had.
#[derive(Debug, Error)]
pub enum CacheError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("{path} can't be written: {source}; free disk space or give another --cache")]
    Unwritable { path: PathBuf, source: std::io::Error },
    #[error("{path} can't be read back: {source}; remove it and start again")]
    Damaged { path: PathBuf, source: std::io::Error },
}

/// A folder of decoded videos.
pub struct Cache {
    folder: PathBuf,
}

/// A segment in the file.
#[derive(Clone, Serialize, Deserialize)]
struct Chunk {
    offset: u64,
    bytes: u64,
    frames: usize,
    start_ns: Option<u64>,
    duration_ns: u64,
}

#[derive(Serialize, Deserialize)]
struct Index {
    /// What the frames were made from; two videos may have file names of the same hash.
    source: String,
    chunks: Vec<Chunk>,
    pixels: PixelSums,
}

/// Sums over pixels, RGB, for their mean and standard deviation.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub struct PixelSums {
    sum: [u64; 3],
    squares: [u64; 3],
    count: u64,
}

impl PixelSums {
    fn add_frame(&mut self, frame: &Frame) {
        for pixel in frame.pixels().chunks_exact(3) {
            for (channel, &value) in pixel.iter().enumerate() {
                let value = u64::from(value);
                self.sum[channel] += value;
                self.squares[channel] += value * value;
            }
            self.count += 1;
        }
    }

    pub fn add(&mut self, other: &Self) {
        for channel in 0..3 {
            self.sum[channel] += other.sum[channel];
            self.squares[channel] += other.squares[channel];
        }
        self.count += other.count;
    }

    /// A deviation is at least 1, so that it can be divided by.
    pub fn mean_and_std(&self) -> ([f64; 3], [f64; 3]) {
        let count = self.count.max(1) as f64;
        let mean = self.sum.map(|sum| sum as f64 / count);
        let std = std::array::from_fn(|c| (self.squares[c] as f64 / count - mean[c] * mean[c]).sqrt().max(1.0));
        (mean, std)
    }
}

/// A video's frames, on disk.
pub struct Stored {
    path: PathBuf,
    chunks: Vec<Chunk>,
    /// Number of the first frame of every segment, and of all frames.
    firsts: Vec<usize>,
    pixels: PixelSums,
}

impl Cache {
    /// Makes the folder if need be.
    ///
    /// # Errors
    /// [`CacheError::Unwritable`]
    pub fn open(folder: &Path) -> Result<Self, CacheError> {
        std::fs::create_dir_all(folder).map_err(|source| CacheError::Unwritable { path: folder.into(), source })?;
        Ok(Self { folder: folder.into() })
    }

    /// A video's frames; decoded if the cache does not hold them, or holds those of an older file of that name.
    ///
    /// # Errors
    /// [`CacheError`]
    pub fn frames_of(&self, video: &Path) -> Result<Stored, CacheError> {
        let source = identity(video);
        let mut hasher = DefaultHasher::new();
        source.hash(&mut hasher);
        let path = self.folder.join(format!("{:016x}.frames", hasher.finish()));
        if let Some(index) = read_index(&path).filter(|index| index.source == source) {
            return Ok(Stored::new(path, index));
        }
        let unwritable = |source| CacheError::Unwritable { path: path.clone(), source };
        let mut file = tempfile::Builder::new().prefix(WRITING).tempfile_in(&self.folder).map_err(unwritable)?;
        let mut index = Index { source, chunks: Vec::new(), pixels: PixelSums::default() };
        let (mut offset, mut seen) = (0, 0);
        let name = video.to_string_lossy();
        for segment in Segments::open(&name, Stride::Auto, Geometry::PAPER)? {
            let segment = segment?;
            let frames = (segment.frames.div_ceil(segment.stride) as usize).min(FRAMES);
            let frames = &segment.clip.frames()[..frames];
            for frame in frames {
                if seen % 10 == 0 {
                    index.pixels.add_frame(frame);
                }
                seen += 1;
            }
            let packed = pack(frames).map_err(unwritable)?;
            file.write_all(&packed).map_err(unwritable)?;
            index.chunks.push(Chunk {
                offset,
                bytes: packed.len() as u64,
                frames: frames.len(),
                start_ns: segment.start,
                duration_ns: segment.duration,
            });
            offset += packed.len() as u64;
        }
        if index.chunks.is_empty() {
            return Err(DecodeError::Empty { video: name.into() }.into());
        }
        let tail = serde_json::to_vec(&index).map_err(|e| unwritable(e.into()))?;
        file.write_all(&tail)
            .and_then(|()| file.write_all(&(tail.len() as u64).to_le_bytes()))
            .and_then(|()| file.write_all(MAGIC))
            .map_err(unwritable)?;
        file.persist(&path).map_err(|e| unwritable(e.error))?;
        Ok(Stored::new(path, index))
    }
}

/// Tells a file from others, and from what it was before it was changed.
fn identity(video: &Path) -> String {
    let path = video.canonicalize().unwrap_or_else(|_| video.into());
    let metadata = path.metadata().ok();
    let written = metadata.as_ref().and_then(|m| m.modified().ok()?.duration_since(UNIX_EPOCH).ok());
    let size = metadata.map_or(0, |m| m.len());
    format!("{} {size} {}", path.display(), written.map_or(0, |time| time.as_nanos()))
}

/// The index of a whole file.
fn read_index(path: &Path) -> Option<Index> {
    let mut file = File::open(path).ok()?;
    let tail = (MAGIC.len() + 8) as u64;
    let end = file.seek(SeekFrom::End(0)).ok()?.checked_sub(tail)?;
    file.seek(SeekFrom::Start(end)).ok()?;
    let (mut length, mut magic) = ([0; 8], [0; MAGIC.len()]);
    file.read_exact(&mut length).ok()?;
    file.read_exact(&mut magic).ok()?;
    let length = u64::from_le_bytes(length);
    if &magic != MAGIC || length > end {
        return None;
    }
    let mut json = vec![0; length as usize];
    file.read_exact_at(&mut json, end - length).ok()?;
    serde_json::from_slice::<Index>(&json).ok().filter(|index| index.is_whole(end - length))
}

impl Index {
    /// Whether the segments, one after the other, fill so many bytes.
    fn is_whole(&self, bytes: u64) -> bool {
        let mut end = 0u64;
        let follows = self.chunks.iter().all(|chunk| {
            let here = chunk.offset == end && (1..=FRAMES).contains(&chunk.frames);
            end = end.saturating_add(chunk.bytes);
            here
        });
        follows && end == bytes && !self.chunks.is_empty()
    }
}

fn pack(frames: &[Frame]) -> std::io::Result<Vec<u8>> {
    let mut differences = Vec::with_capacity(frames.len() * FRAME_BYTES);
    for (i, frame) in frames.iter().enumerate() {
        let pixels = frame.pixels();
        match i.checked_sub(1) {
            None => {
                differences.extend_from_slice(&pixels[..3]);
                differences.extend(pixels[3..].iter().zip(pixels).map(|(p, left)| p.wrapping_sub(*left)));
            }
            Some(before) => {
                differences.extend(pixels.iter().zip(frames[before].pixels()).map(|(p, b)| p.wrapping_sub(*b)));
            }
        }
    }
    zstd::bulk::compress(&differences, LEVEL)
}

fn unpack(packed: &[u8], frames: usize) -> std::io::Result<Vec<Frame>> {
    let mut pixels = zstd::bulk::decompress(packed, frames * FRAME_BYTES)?;
    if pixels.len() != frames * FRAME_BYTES {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    for i in 3..FRAME_BYTES {
        pixels[i] = pixels[i].wrapping_add(pixels[i - 3]);
    }
    for start in (FRAME_BYTES..pixels.len()).step_by(FRAME_BYTES) {
        let (before, here) = pixels[start - FRAME_BYTES..start + FRAME_BYTES].split_at_mut(FRAME_BYTES);
        for (p, b) in here.iter_mut().zip(before) {
            *p = p.wrapping_add(*b);
        }
    }
    Ok(pixels.chunks_exact(FRAME_BYTES).map(Frame::new).collect())
}

impl Stored {
    fn new(path: PathBuf, index: Index) -> Self {
        let mut firsts = vec![0];
        for chunk in &index.chunks {
            firsts.push(firsts[firsts.len() - 1] + chunk.frames);
        }
        Self { path, chunks: index.chunks, firsts, pixels: index.pixels }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of frames, at least 1.
    pub fn frames(&self) -> usize {
        self.firsts[self.chunks.len()]
    }

    /// Number of segments, at least 1.
    pub fn segments(&self) -> usize {
        self.chunks.len()
    }

    /// Numbers of a segment's frames.
    ///
    /// # Panics
    /// If there is no such segment.
    pub fn frames_of(&self, segment: usize) -> Range<usize> {
        self.firsts[segment]..self.firsts[segment + 1]
    }

    /// PTS of a segment's first frame, ns (`None` if it had none), and how long it lasts, ns.
    ///
    /// # Panics
    /// If there is no such segment.
    pub fn times_of(&self, segment: usize) -> (Option<u64>, u64) {
        (self.chunks[segment].start_ns, self.chunks[segment].duration_ns)
    }

    /// Over every tenth frame.
    pub fn pixel_sums(&self) -> &PixelSums {
        &self.pixels
    }

    /// A clip of these frames, 16 at most; a shorter one is filled up with its last.
    ///
    /// # Errors
    /// [`CacheError::Damaged`]
    ///
    /// # Panics
    /// If the range is empty or reaches past the end.
    pub fn clip(&self, range: Range<usize>) -> Result<Clip, CacheError> {
        let damaged = |source| CacheError::Damaged { path: self.path.clone(), source };
        let file = File::open(&self.path).map_err(damaged)?;
        let mut frames = Vec::with_capacity(FRAMES);
        let first = self.firsts.partition_point(|&first| first <= range.start) - 1;
        for (chunk, &start) in self.chunks.iter().zip(&self.firsts).skip(first) {
            if start >= range.end {
                break;
            }
            let mut packed = vec![0; chunk.bytes as usize];
            file.read_exact_at(&mut packed, chunk.offset).map_err(damaged)?;
            let unpacked = unpack(&packed, chunk.frames).map_err(damaged)?;
            let wanted = range.start.saturating_sub(start)..(range.end - start).min(chunk.frames);
            frames.extend_from_slice(&unpacked[wanted]);
        }
        Ok(Clip::padded(frames).expect("the range is not empty"))
    }

    /// A segment as the element would score it.
    ///
    /// # Errors
    /// [`CacheError::Damaged`]
    ///
    /// # Panics
    /// If there is no such segment.
    pub fn segment(&self, segment: usize) -> Result<Clip, CacheError> {
        self.clip(self.frames_of(segment))
    }
}
