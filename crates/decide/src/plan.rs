//! The plan: which parts of a video play, in which order and how fast, and the file that carries it.
//!
//! A plan file is one JSON document, times in nanoseconds since the video's first picture:
//!
//! ```json
//! {
//!   "format": "desumnet-plan",
//!   "version": 1,
//!   "parts": [
//!     { "start_ns": 2000000000, "duration_ns": 4000000000, "score": 0.83 },
//!     { "start_ns": 6000000000, "duration_ns": 3000000000, "score": 0.12, "speed": 12.5 }
//!   ]
//! }
//! ```
//!
//! | field | what |
//! |---|---|
//! | `start_ns`, `duration_ns` | of the part in the video, ns; a duration is over 0 |
//! | `score` | how much the part matters, on the scale of whatever chose it |
//! | `speed` | how many times faster than the video it plays, at least 1; 1 where it is left out |
//!
//! `first_ns`, beside `parts`, is the stream time of the first picture, ns, for whoever follows the plan in a pipeline: a transport
//! stream begins up to a second before its first picture. 0 where it is left out. Files are cut by the first picture that they have.
//!
//! Parts are in the order of time and share none of it; they may touch. Other fields are an error, so that a slip of the pen
//! is not a silent change.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

const FORMAT: &str = "desumnet-plan";
const VERSION: u32 = 1;

/// A part that plays.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Since the first picture, ns.
    pub start_ns: u64,
    /// In the video, ns; over 0.
    pub duration_ns: u64,
    /// How much it matters.
    pub score: f64,
    /// How many times faster than the video it plays, at least 1.
    #[serde(default = "normal_speed", skip_serializing_if = "is_normal_speed")]
    pub speed: f64,
}

fn normal_speed() -> f64 {
    1.0
}

fn is_normal_speed(speed: &f64) -> bool {
    *speed == 1.0
}

impl Part {
    /// Where it ends in the video, ns.
    pub fn end_ns(&self) -> u64 {
        self.start_ns + self.duration_ns
    }

    /// How long it plays, ns.
    pub fn played_ns(&self) -> f64 {
        self.duration_ns as f64 / self.speed
    }
}

/// Why parts are no plan; they count from 0.
#[derive(Debug, Error)]
pub enum PlanError {
    #[error("the plan keeps nothing: ask for a longer length")]
    Empty,
    #[error("part {0} lasts 0 ns: leave it out")]
    NoDuration(usize),
    #[error(
        "part {0} ends after the last moment that 64 bits of nanoseconds can tell: check its start_ns and duration_ns"
    )]
    TooLate(usize),
    #[error("part {0} starts before part {before}: put the parts in the order of time", before = .0 - 1)]
    Order(usize),
    #[error("part {0} starts before part {before} has ended: end that one earlier, or make one part of both", before = .0 - 1)]
    Overlap(usize),
    #[error("part {0} has a speed of {1}: it must be at least 1, and finite")]
    Speed(usize, f64),
    #[error("part {0} has a score of {1}: it must be finite")]
    Score(usize, f64),
    #[error("its format is {0:?}, not {FORMAT:?}: give a file that holds a plan")]
    Format(String),
    #[error("it is of version {0}, and this program reads version {VERSION}: make it anew, or take a newer program")]
    Version(u32),
    #[error("it is no plan in JSON: {0}; make it anew, or mend it there")]
    Json(#[from] serde_json::Error),
    #[error("{0}; check the path and its permissions")]
    Io(#[from] std::io::Error),
}

/// A plan file can't be used.
#[derive(Debug, Error)]
#[error("plan {path} can't be used: {reason}")]
pub struct PlanFileError {
    path: PathBuf,
    #[source]
    reason: PlanError,
}

/// Parts in the order of time, none of which shares any with another. Serialises to the JSON above.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    format: &'static str,
    version: u32,
    #[serde(skip_serializing_if = "is_beginning")]
    first_ns: u64,
    parts: Vec<Part>,
}

fn is_beginning(first_ns: &u64) -> bool {
    *first_ns == 0
}

/// What tells whether the rest can be read.
#[derive(Deserialize)]
struct Head {
    format: String,
    version: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "format")]
    _format: String,
    #[serde(rename = "version")]
    _version: u32,
    #[serde(default)]
    first_ns: u64,
    parts: Vec<Part>,
}

impl Plan {
    /// A plan of these parts.
    ///
    /// # Errors
    /// [`PlanError`]: there are none, or one of them is impossible, out of order or overlaps the one before.
    pub fn new(parts: Vec<Part>) -> Result<Self, PlanError> {
        if parts.is_empty() {
            return Err(PlanError::Empty);
        }
        for (i, part) in parts.iter().enumerate() {
            if part.duration_ns == 0 {
                return Err(PlanError::NoDuration(i));
            }
            if part.start_ns.checked_add(part.duration_ns).is_none() {
                return Err(PlanError::TooLate(i));
            }
            if !(part.speed >= 1.0 && part.speed.is_finite()) {
                return Err(PlanError::Speed(i, part.speed));
            }
            if !part.score.is_finite() {
                return Err(PlanError::Score(i, part.score));
            }
            if let Some(before) = i.checked_sub(1).map(|before| &parts[before]) {
                if part.start_ns < before.start_ns {
                    return Err(PlanError::Order(i));
                }
                if part.start_ns < before.end_ns() {
                    return Err(PlanError::Overlap(i));
                }
            }
        }
        Ok(Self { format: FORMAT, version: VERSION, first_ns: 0, parts })
    }

    /// The plan in a JSON document.
    ///
    /// # Errors
    /// [`PlanError`]
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        let head: Head = serde_json::from_str(text)?;
        if head.format != FORMAT {
            return Err(PlanError::Format(head.format));
        }
        if head.version != VERSION {
            return Err(PlanError::Version(head.version));
        }
        let document: Document = serde_json::from_str(text)?;
        let plan = Self::new(document.parts)?.counted_from(document.first_ns);
        let last = plan.parts.len() - 1;
        plan.parts[last].end_ns().checked_add(plan.first_ns).ok_or(PlanError::TooLate(last))?;
        Ok(plan)
    }

    /// The plan in a file. `report::document` writes one.
    ///
    /// # Errors
    /// [`PlanFileError`]
    pub fn read(path: &Path) -> Result<Self, PlanFileError> {
        let plan = std::fs::read_to_string(path).map_err(PlanError::from).and_then(|text| Self::parse(&text));
        plan.map_err(|reason| PlanFileError { path: path.into(), reason })
    }

    /// At least one, in the order of time.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The plan of a video whose first picture has this stream time, ns.
    #[must_use]
    pub fn counted_from(self, first_ns: u64) -> Self {
        Self { first_ns, ..self }
    }

    /// The parts at their stream times.
    pub fn in_stream_time(&self) -> Vec<Part> {
        self.parts.iter().map(|part| Part { start_ns: part.start_ns.saturating_add(self.first_ns), ..*part }).collect()
    }

    /// How long it plays, ns.
    pub fn played_ns(&self) -> u64 {
        self.parts.iter().map(Part::played_ns).sum::<f64>().round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn part(start_ns: u64, duration_ns: u64) -> Part {
        Part { start_ns, duration_ns, score: 0.5, speed: 1.0 }
    }

    fn document(parts: &str) -> String {
        format!(r#"{{"format": "desumnet-plan", "version": 1, "parts": [{parts}]}}"#)
    }

    fn error(text: &str) -> String {
        Plan::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn a_plan_file_is_as_documented() {
        let plan = Plan::new(vec![part(2, 4), Part { speed: 12.5, score: 0.25, ..part(6, 25) }]).unwrap();
        let json = serde_json::json!({
            "format": "desumnet-plan",
            "version": 1,
            "parts": [
                { "start_ns": 2, "duration_ns": 4, "score": 0.5 },
                { "start_ns": 6, "duration_ns": 25, "score": 0.25, "speed": 12.5 },
            ],
        });
        assert_eq!(serde_json::to_value(&plan).unwrap(), json);
        assert_eq!(Plan::parse(&json.to_string()).unwrap(), plan);
        assert_eq!(plan.played_ns(), 6);
        // Of a transport stream.
        let plan = plan.counted_from(700);
        let json = serde_json::to_value(&plan).unwrap();
        assert_eq!((&json["first_ns"], &json["parts"][0]["start_ns"]), (&700.into(), &2.into()));
        assert_eq!(Plan::parse(&json.to_string()).unwrap(), plan);
        assert_eq!(plan.in_stream_time().iter().map(|part| part.start_ns).collect::<Vec<_>>(), [702, 706]);
        let late = json.to_string().replace("700", &u64::MAX.to_string());
        assert!(error(&late).starts_with("part 1 ends after the last moment"));
    }

    #[test]
    fn broken_parts_are_named_with_the_remedy() {
        let one = r#"{"start_ns": 10, "duration_ns": 5, "score": 1}"#;
        let with = |other: &str| error(&document(&format!("{one}, {other}")));
        assert_eq!(
            with(r#"{"start_ns": 9, "duration_ns": 1, "score": 1}"#),
            "part 1 starts before part 0: put the parts in the order of time"
        );
        assert_eq!(
            with(r#"{"start_ns": 14, "duration_ns": 1, "score": 1}"#),
            "part 1 starts before part 0 has ended: end that one earlier, or make one part of both"
        );
        assert_eq!(with(r#"{"start_ns": 15, "duration_ns": 0, "score": 1}"#), "part 1 lasts 0 ns: leave it out");
        assert_eq!(
            with(r#"{"start_ns": 15, "duration_ns": 1, "score": 1, "speed": 0.5}"#),
            "part 1 has a speed of 0.5: it must be at least 1, and finite"
        );
        assert!(
            with(r#"{"start_ns": 18446744073709551615, "duration_ns": 1, "score": 1}"#)
                .starts_with("part 1 ends after the last moment")
        );
        assert!(
            with(r#"{"start_ns": 15, "duration_ns": 1, "score": 1, "sped": 2}"#)
                .starts_with("it is no plan in JSON: unknown field `sped`")
        );
        assert_eq!(error(&document("")), "the plan keeps nothing: ask for a longer length");
        assert!(matches!(Plan::new(vec![Part { score: f64::NAN, ..part(0, 1) }]), Err(PlanError::Score(0, _))));
    }

    #[test]
    fn other_documents_are_refused() {
        assert_eq!(
            error(r#"{"format": "desumnet-plan", "version": 2, "pieces": []}"#),
            "it is of version 2, and this program reads version 1: make it anew, or take a newer program"
        );
        assert_eq!(
            error(r#"{"format": "edl", "version": 1}"#),
            r#"its format is "edl", not "desumnet-plan": give a file that holds a plan"#
        );
        assert!(error("").starts_with("it is no plan in JSON: EOF"));
        assert!(error(r#"{"video": "a.mp4"}"#).starts_with("it is no plan in JSON: missing field `format`"));
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("no.json");
        let message = Plan::read(&path).unwrap_err().to_string();
        assert!(message.starts_with(&format!("plan {} can't be used: No such file", path.display())), "{message}");
        std::fs::write(&path, document(r#"{"start_ns": 0, "duration_ns": 7, "score": 1}"#)).unwrap();
        assert_eq!(Plan::read(&path).unwrap().played_ns(), 7);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            parts in prop::collection::vec((0u64..1_000, 1u64..1_000_000, 0.0f64..1.0, 1.0f64..100.0), 1..30),
        ) {
            let mut end = 0;
            let parts: Vec<Part> = parts.into_iter().map(|(gap, duration_ns, score, speed)| {
                let part = Part { start_ns: end + gap, duration_ns, score, speed };
                end = part.end_ns();
                part
            }).collect();
            let plan = Plan::new(parts).unwrap();
            let back = Plan::parse(&serde_json::to_string(&plan).unwrap()).unwrap();
            // A decimal number may miss the last bit.
            for (a, b) in plan.parts().iter().zip(back.parts()) {
                prop_assert_eq!((a.start_ns, a.duration_ns), (b.start_ns, b.duration_ns));
                prop_assert!((a.score - b.score).abs() <= 1e-15 && (a.speed / b.speed - 1.0).abs() <= 1e-15);
            }
            prop_assert_eq!(back.parts().len(), plan.parts().len());
        }
    }
}
