//! Clips in, one video out: every clip's frames pass one size and rate and enter one encoder with new times.

use std::path::Path;

use super::{ComposeError, Piece, Planned, Settings};
use desumnet_media::{
    decode::Decoder,
    film::{self, FilmError, Frame, Look},
};

impl Settings {
    /// What every frame becomes.
    fn look(&self) -> Look {
        Look { size: self.size, rate: self.rate, quality: 18 }
    }
}

/// Makes a picture of any kind a frame of the video.
pub(super) fn filter(settings: &Settings) -> Result<gst::Element, ComposeError> {
    settings.look().filter().map_err(|error| ComposeError::Plugins(error.to_string()))
}

/// A clip, each frame as the video is to have it.
fn open(clip: &Path, settings: &Settings) -> Result<Decoder, ComposeError> {
    Ok(Decoder::through(&clip.to_string_lossy(), Some(filter(settings)?))?)
}

/// How many frames a clip has at the video's rate.
pub(super) fn count(clip: &Path, settings: &Settings) -> Result<u32, ComposeError> {
    let (mut decoder, mut frames) = (open(clip, settings)?, 0);
    while decoder.next_picture()?.is_some() {
        frames += 1;
    }
    Ok(frames)
}

/// The frames of a video, one after another.
struct Frames {
    settings: Settings,
    pieces: std::vec::IntoIter<Piece>,
    open: Option<(Piece, Decoder)>,
    /// Frames still to come of the open piece.
    left: u32,
}

impl Frames {
    fn new(video: &Planned, settings: &Settings) -> Self {
        Self { settings: settings.clone(), pieces: video.pieces.clone().into_iter(), open: None, left: 0 }
    }

    /// A piece begins with a key frame.
    fn advance(&mut self) -> Result<Option<Frame>, ComposeError> {
        let first = self.left == 0;
        if first {
            let Some(piece) = self.pieces.next() else { return Ok(None) };
            let mut decoder = open(&piece.path, &self.settings)?;
            for _ in 0..piece.skip {
                decoder.next_picture()?;
            }
            self.left = piece.frames;
            self.open = Some((piece, decoder));
        }
        let Some((piece, decoder)) = &mut self.open else { return Ok(None) };
        let picture = decoder.next_picture()?.and_then(|picture| picture.into_buffer());
        let buffer = picture.ok_or_else(|| ComposeError::Changed(piece.path.clone()))?;
        self.left -= 1;
        Ok(Some(Frame { buffer, key: first }))
    }
}

/// A frame can't be had, or not be encoded.
enum Failure {
    Frame(ComposeError),
    Film(FilmError),
}

impl From<FilmError> for Failure {
    fn from(error: FilmError) -> Self {
        Self::Film(error)
    }
}

/// Encodes a video into a file. `progress` is called at every frame.
pub(super) fn encode(
    video: &Planned,
    file: &Path,
    settings: &Settings,
    progress: impl Fn(),
) -> Result<(), ComposeError> {
    let mut frames = Frames::new(video, settings);
    let encoded = film::encode(file, &settings.look(), move || frames.advance().map_err(Failure::Frame), progress);
    encoded.map_err(|failure| match failure {
        Failure::Frame(error) => error,
        Failure::Film(error) => {
            ComposeError::Encode { video: video.composite.video.clone(), reason: error.to_string() }
        }
    })
}
