//! The JSON file beside a TorchScript model (same name, `.json`): what the network takes, and what its outputs mean.
//! TorchScript says neither. The fields are in README.md, "Your own network".

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use thiserror::Error;

use super::{Calibration, Header, model::DEVIATIONS};
use desumnet_frames::clip::{CROP, Geometry, HEIGHT, WIDTH};

/// Longest clip, frames: beyond it, a segment would last over ten seconds.
const MAX_FRAMES: usize = 256;
/// Largest side of an analysis frame, pixels.
const MAX_SIDE: usize = 2048;

/// Largest clip, bytes: some of them wait for the network at any time.
const MAX_BYTES: usize = 256 << 20;

/// The fields that there are.
const FIELDS: [&str; 9] =
    ["categories", "clip_length", "size", "resize", "mean", "std", "pixel_range", "layout", "fits"];
const SIDES: &str = "pixels as [height, width], or one number for both";
const LAYOUTS: &str = "NCTHW (the default) or NTCHW";
const RANGES: &str = "1 (pixel values 0..1, the default) or 255 (0..255)";
const FITS: &str = "the least mean probability of a category that fits a video, 0 to 1";
const COLOURS: &str = "three numbers, for red, green and blue";

/// What is wrong with the file beside a TorchScript model. Every message names the file, the reason and the remedy.
#[derive(Debug, Error)]
pub enum SidecarError {
    #[error(
        "{path} can't be read: {source}; a TorchScript model needs this file, which says what the network takes: \
         write it as README.md tells (Your own network), or export the model with examples/export_torchvision.py"
    )]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{path} is not a JSON object ({reason}); write it as README.md tells (Your own network)")]
    NotJson { path: PathBuf, reason: String },
    #[error("{path}: `{field}` {reason}; {remedy}")]
    Field { path: PathBuf, field: String, reason: String, remedy: String },
}

/// In which order the network takes a clip's dimensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// `[N, 3, T, H, W]`
    #[default]
    Ncthw,
    /// `[N, T, 3, H, W]`
    Ntchw,
}

/// The file's contents.
#[derive(Clone, Debug, PartialEq)]
pub struct Sidecar {
    /// The categories; mean and std of pixel values 0..255, whatever range the file gives them in.
    pub header: Header,
    pub clip: Geometry,
    pub layout: Layout,
}

/// Where a model's sidecar lies.
pub fn sidecar_of(model: &Path) -> PathBuf {
    model.with_extension("json")
}

impl Sidecar {
    /// Reads and checks the file.
    ///
    /// # Errors
    /// [`SidecarError`], by what is wrong with it.
    pub fn load(path: &Path) -> Result<Self, SidecarError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| SidecarError::Unreadable { path: path.into(), source })?;
        let fields = serde_json::from_str(&text)
            .map_err(|e| SidecarError::NotJson { path: path.into(), reason: e.to_string() })?;
        Fields { path, fields }.read()
    }
}

/// The fields that are still to be read.
struct Fields<'a> {
    path: &'a Path,
    fields: Map<String, Value>,
}

impl Fields<'_> {
    fn read(mut self) -> Result<Sidecar, SidecarError> {
        // First: a misspelt field is also a missing one.
        if let Some(unknown) = self.fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
            let remedy = format!("remove it or mend its name, one of {}", FIELDS.join(", "));
            return Err(self.wrong(unknown, "is not known", remedy));
        }
        let categories = self.categories()?;
        let frames = self.needed("clip_length", "frames in a clip, for example 16")?;
        if !(1..=MAX_FRAMES).contains(&frames) {
            return Err(self.wrong("clip_length", format!("is {frames}"), format!("give 1 to {MAX_FRAMES} frames")));
        }
        let (crop_height, crop_width) = self.size("size")?.ok_or_else(|| self.missing("size", SIDES))?;
        let share = |side: usize, of: usize| (side * of + CROP / 2) / CROP;
        let paper = (share(crop_height, HEIGHT), share(crop_width, WIDTH));
        let (height, width) = self.size("resize")?.unwrap_or(paper);
        if crop_height > height || crop_width > width {
            let reason = format!("is {height} x {width}, smaller than the crop of {crop_height} x {crop_width}");
            return Err(self.wrong("resize", reason, "make it at least as large as `size`"));
        }
        let clip = Geometry { frames, width, height, crop_width, crop_height };
        let bytes = frames * clip.frame_bytes();
        if bytes > MAX_BYTES {
            let reason = format!("makes a clip of {frames} frames of {height} x {width} pixels, {} MB", bytes >> 20);
            return Err(self.wrong(
                "clip_length",
                reason,
                format!("a clip has at most {} MB: give fewer frames, or a smaller `resize`", MAX_BYTES >> 20),
            ));
        }
        let (mean, std) = self.normalisation()?;
        let layout = match self.optional::<String>("layout", LAYOUTS)?.as_deref() {
            None | Some("NCTHW") => Layout::Ncthw,
            Some("NTCHW") => Layout::Ntchw,
            Some(other) => return Err(self.wrong("layout", format!("is `{other}`"), format!("give {LAYOUTS}"))),
        };
        let calibration = self.optional::<f64>("fits", FITS)?.map(|fits| Calibration { temperature: 1.0, fits });
        if calibration.is_some_and(|calibration| !calibration.is_sound()) {
            return Err(self.wrong("fits", "is no probability", format!("give {FITS}")));
        }
        Ok(Sidecar { header: Header { categories, mean, std, provenance: Value::Null, calibration }, clip, layout })
    }

    fn categories(&mut self) -> Result<Vec<String>, SidecarError> {
        let form = "the names of the network's outputs, in order, as a list";
        let categories: Vec<String> = self.needed("categories", form)?;
        if categories.is_empty() {
            return Err(self.wrong("categories", "is empty", format!("give {form}")));
        }
        let mut seen = HashSet::new();
        if categories.iter().any(|name| name.trim().is_empty()) {
            return Err(self.wrong("categories", "has an empty name", format!("give {form}")));
        }
        if let Some(twice) = categories.iter().find(|name| !seen.insert(*name)) {
            return Err(self.wrong("categories", format!("has `{twice}` twice"), "give each output a name of its own"));
        }
        Ok(categories)
    }

    /// Mean and standard deviation of pixel values 0..255.
    fn normalisation(&mut self) -> Result<([f64; 3], [f64; 3]), SidecarError> {
        let range: f64 = self.optional("pixel_range", RANGES)?.unwrap_or(1.0);
        if range != 1.0 && range != 255.0 {
            return Err(self.wrong("pixel_range", format!("is {range}"), format!("give {RANGES}")));
        }
        let mean: [f64; 3] = self.needed("mean", COLOURS)?;
        let std: [f64; 3] = self.needed("std", COLOURS)?;
        let of_bytes = |values: [f64; 3]| values.map(|value| value / range * 255.0);
        let low = DEVIATIONS.start() / 255.0 * range;
        if std.iter().any(|&std| std < low) {
            let remedy = format!("give the divisors of the pixel values, all above 0 and not below {low:.5}");
            return Err(self.wrong("std", format!("is {std:?}"), remedy));
        }
        for (field, values) in [("mean", mean), ("std", std)] {
            if values.iter().any(|v| !(0.0..=range).contains(v)) {
                let reason = format!("is {values:?}, outside of the pixel values 0..{range}");
                let remedy = if range == 1.0 { "set pixel_range to 255" } else { "give it for pixel values 0..255" };
                return Err(self.wrong(field, reason, remedy));
            }
        }
        Ok((of_bytes(mean), of_bytes(std)))
    }

    /// Height and width.
    fn size(&mut self, field: &str) -> Result<Option<(usize, usize)>, SidecarError> {
        let Some(value) = self.fields.remove(field) else { return Ok(None) };
        let side =
            |value: &Value| value.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| (1..=MAX_SIDE).contains(n));
        let sides = match value.as_array().map(Vec::as_slice) {
            Some([height, width]) => side(height).zip(side(width)),
            Some(_) => None,
            None => side(&value).map(|side| (side, side)),
        };
        let remedy = format!("give {SIDES}, each 1 to {MAX_SIDE}");
        sides.map(Some).ok_or_else(|| self.wrong(field, format!("is {value}"), remedy))
    }

    fn needed<T: DeserializeOwned>(&mut self, field: &str, form: &str) -> Result<T, SidecarError> {
        self.optional(field, form)?.ok_or_else(|| self.missing(field, form))
    }

    fn optional<T: DeserializeOwned>(&mut self, field: &str, form: &str) -> Result<Option<T>, SidecarError> {
        let read = self.fields.remove(field).map(serde_json::from_value).transpose();
        read.map_err(|e| self.wrong(field, format!("can't be read: {e}"), format!("give {form}")))
    }

    fn missing(&self, field: &str, form: &str) -> SidecarError {
        self.wrong(field, "is missing", format!("give {form}"))
    }

    fn wrong(&self, field: &str, reason: impl Into<String>, remedy: impl Into<String>) -> SidecarError {
        let (field, reason, remedy) = (field.into(), reason.into(), remedy.into());
        SidecarError::Field { path: self.path.into(), field, reason, remedy }
    }
}
