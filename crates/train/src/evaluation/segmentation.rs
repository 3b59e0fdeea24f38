//! Which shots a video is measured by.

use std::{ops::Range, str::FromStr};

use serde::Serialize;
use thiserror::Error;

use super::annotations::{Kind, Video};

/// How a video is cut into shots. The paper does not tell how it cut TVSum's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(into = "String")]
pub enum Segmentation {
    /// The shots that come with the annotations.
    File,
    /// Shots of this length, s, the last one perhaps shorter. TVSum's people scored stretches of 2 s.
    Uniform(f64),
}

/// Why a video has no shots.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum NoShots {
    #[error("{0} has no shots: give a list of them, or the length of uniform ones in seconds")]
    File(String),
    #[error("the frame rate of {0} is not known: uniform shots can't be cut; use those of the data set (file)")]
    FrameRate(String),
}

impl Segmentation {
    /// The data set's shots where it has them, else shots of 2 s.
    pub fn usual(kind: Kind) -> Self {
        if kind == Kind::Summe { Self::Uniform(2.0) } else { Self::File }
    }

    /// Frames of each shot, rising, none empty.
    ///
    /// # Errors
    /// [`NoShots`]
    pub fn shots(self, video: &Video) -> Result<Vec<Range<usize>>, NoShots> {
        match self {
            Self::File if video.shots.is_empty() => Err(NoShots::File(video.name.clone())),
            Self::File => Ok(video.shots.clone()),
            Self::Uniform(seconds) => {
                let fps = video.fps.ok_or_else(|| NoShots::FrameRate(video.name.clone()))?;
                let length = (seconds * fps).max(1.0);
                let start = |shot: usize| ((shot as f64 * length).round() as usize).min(video.frames);
                let shots = (0..).map(|shot| start(shot)..start(shot + 1));
                Ok(shots.take_while(|shot| !shot.is_empty()).collect())
            }
        }
    }
}

impl FromStr for Segmentation {
    type Err = String;

    /// `file`, or a length in seconds.
    fn from_str(text: &str) -> Result<Self, String> {
        let seconds = text.trim_end_matches('s').parse::<f64>().ok();
        match seconds.filter(|seconds| seconds.is_finite() && *seconds > 0.0) {
            Some(seconds) => Ok(Self::Uniform(seconds)),
            None if text == "file" => Ok(Self::File),
            None => Err(format!("{text} is neither file nor the length of a shot, as in 2s")),
        }
    }
}

impl From<Segmentation> for String {
    fn from(segmentation: Segmentation) -> Self {
        match segmentation {
            Segmentation::File => "file".into(),
            Segmentation::Uniform(seconds) => format!("{seconds}s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn video(fps: Option<f64>, shots: Vec<Range<usize>>) -> Video {
        Video { name: "a".into(), topic: None, frames: 110, fps, shots, people: Vec::new() }
    }

    #[test]
    fn uniform_shots_last_as_long_as_told_but_the_last() {
        let shots = Segmentation::Uniform(2.0).shots(&video(Some(25.0), Vec::new())).unwrap();
        assert_eq!(shots, [0..50, 50..100, 100..110]);
        // 19.98 frames.
        let shots = Segmentation::Uniform(2.0 / 3.0).shots(&video(Some(29.97), Vec::new())).unwrap();
        assert_eq!(shots, [0..20, 20..40, 40..60, 60..80, 80..100, 100..110]);
        // Shots below a frame are frames.
        assert_eq!(Segmentation::Uniform(0.01).shots(&video(Some(25.0), Vec::new())).unwrap().len(), 110);
    }

    #[test]
    fn shots_that_are_not_known_are_an_error() {
        assert_eq!(Segmentation::File.shots(&video(None, vec![0..9, 9..110])).unwrap(), [0..9, 9..110]);
        assert_eq!(Segmentation::File.shots(&video(None, Vec::new())), Err(NoShots::File("a".into())));
        assert_eq!(Segmentation::Uniform(2.0).shots(&video(None, Vec::new())), Err(NoShots::FrameRate("a".into())));
    }

    #[test]
    fn it_is_written_as_it_is_read() {
        for text in ["file", "2s", "0.5s"] {
            assert_eq!(String::from(text.parse::<Segmentation>().unwrap()), text);
        }
        assert_eq!("5".parse(), Ok(Segmentation::Uniform(5.0)));
        for text in ["", "0", "-1s", "inf", "shots"] {
            assert!(text.parse::<Segmentation>().is_err(), "{text}");
        }
    }
}
