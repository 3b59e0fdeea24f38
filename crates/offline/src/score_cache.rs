//! Scores of videos that were scored before, so that a second length is instant.
//!
//! A file a video, named by a hash of all that its scores depend on: the video's content, the model's, and the settings. The
//! folder may be deleted at any time.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

use crate::{Options, VideoScores};
use desumnet_files::whole_file;

/// Changes when scores, shots or their document do.
const VERSION: u32 = 2;

/// A folder of scores.
pub struct ScoreCache {
    folder: PathBuf,
}

/// What names a video's scores in the cache.
pub struct Key(String);

impl Key {
    /// Of a video file; both it and the model are read through.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(video: &Path, options: &Options) -> std::io::Result<Self> {
        let mut hasher = blake3::Hasher::new();
        // Every setting counts; the model by what it holds and not by its path.
        let settings = Options { model: PathBuf::new(), ..options.clone() };
        write!(hasher, "{VERSION} {} {settings:?}", env!("CARGO_PKG_VERSION"))?;
        hasher.update_reader(File::open(&options.model)?)?;
        let sidecar = options.model.with_extension("json");
        if sidecar.exists() {
            hasher.update_reader(File::open(sidecar)?)?;
        }
        hasher.update_reader(File::open(video)?)?;
        Ok(Self(hasher.finalize().to_hex().to_string()))
    }
}

impl ScoreCache {
    /// The user's: `$XDG_CACHE_HOME/desumnet/scores`, by default in `~/.cache`.
    pub fn of_user() -> Self {
        Self { folder: glib::user_cache_dir().join("desumnet/scores") }
    }

    /// The scores, if they are there and whole. `video` is how it is called now.
    pub fn load(&self, key: &Key, video: &str, model: &Path) -> Option<VideoScores> {
        let scores: VideoScores = serde_json::from_slice(&std::fs::read(self.path(key)).ok()?).ok()?;
        Some(VideoScores { video: video.into(), model: model.display().to_string(), ..scores })
    }

    /// Keeps the scores.
    ///
    /// # Errors
    /// What the system says.
    pub fn store(&self, key: &Key, scores: &VideoScores) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        whole_file::write(&self.path(key), &serde_json::to_vec(scores)?)
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.folder.join(format!("{}.json", key.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SegmentScores;
    use desumnet_decide::shot_scores::Scored;
    use desumnet_engine::{
        importance::{Aggregation, Form},
        network::{Device, Precision},
    };
    use desumnet_frames::{frame_rate::FrameRate, segmenter::Stride};

    #[test]
    fn scores_come_back_for_the_same_content_and_settings_only() {
        let folder = tempfile::tempdir().unwrap();
        let cache = ScoreCache { folder: folder.path().join("not/there/yet") };
        let [video, copy, other, model] = ["a.mp4", "b.mp4", "c.mp4", "m.safetensors"].map(|f| folder.path().join(f));
        for (path, content) in [(&video, "video"), (&copy, "video"), (&other, "other"), (&model, "model")] {
            std::fs::write(path, content).unwrap();
        }
        let options = Options {
            model: model.clone(),
            device: Device::Cpu,
            precision: Precision::F32,
            category: "auto".into(),
            form: Form::Weighted,
            aggregation: Aggregation::Mean,
            stride: Stride::Auto,
            interval: 1,
        };
        let scores = VideoScores {
            video: "a.mp4".into(),
            model: "m.safetensors".into(),
            category: "sailing".into(),
            confidence: 0.1,
            duration_ns: 7,
            first_ns: 21_000_000,
            timecode: Some("10:00:00;02".parse().unwrap()),
            told_ns: 8,
            frame_rate: FrameRate { numerator: 30_000, denominator: 1_001 },
            sound: true,
            segments: vec![SegmentScores {
                index: 0,
                start_ns: 0,
                duration_ns: 7,
                score: 1.0 / 3.0,
                importance: 0.5,
                category: "sailing".into(),
                confidence: 0.1,
                frame_scores: vec![1e-9, 0.7],
                padded: true,
                carried: false,
            }],
            shots: vec![Scored { start_ns: 0, duration_ns: 7, score: 0.1 }],
        };
        let key = |video: &Path, options: &Options| Key::new(video, options).unwrap();
        let find = |key: Key| cache.load(&key, "b.mp4", Path::new("n.safetensors"));
        assert_eq!(find(key(&video, &options)), None);
        cache.store(&key(&video, &options), &scores).unwrap();
        let expected = VideoScores { video: "b.mp4".into(), model: "n.safetensors".into(), ..scores };
        assert_eq!(find(key(&copy, &options)).as_ref(), Some(&expected));
        assert_eq!(find(key(&other, &options)), None);
        assert_eq!(find(key(&video, &Options { interval: 2, ..options.clone() })), None);
        assert_eq!(find(key(&video, &Options { form: Form::Logit, ..options.clone() })), None);
        std::fs::write(&model, "retrained").unwrap();
        assert_eq!(find(key(&video, &options)), None);
        // A broken file counts as none.
        std::fs::write(&model, "model").unwrap();
        std::fs::write(cache.path(&key(&video, &options)), "{").unwrap();
        assert_eq!(find(key(&video, &options)), None);
    }
}
