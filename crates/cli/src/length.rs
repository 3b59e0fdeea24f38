//! Lengths and shares as people write them.

use std::time::Duration;

use desumnet_offline::VideoScores;

/// `90`, `60s`, `1m30s`, `1h`, `500ms`
pub fn length(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let length = seconds.map_or_else(|| humantime::parse_duration(text), Ok);
    let length = length.map_err(|_| "write a length such as 60s, 1m30s or 1h".to_owned())?;
    if length.is_zero() { Err("a length of 0 keeps nothing: give one over 0, such as 60s".into()) } else { Ok(length) }
}

/// `15%` or `0.15`
pub fn ratio(text: &str) -> Result<f64, String> {
    let ratio = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse().map(|percent: f64| percent / 100.0),
        None => text.parse(),
    };
    let in_range = ratio.ok().filter(|ratio| *ratio > 0.0 && *ratio <= 1.0);
    in_range.ok_or_else(|| "write a share over 0 and up to 1, such as 15% or 0.15".into())
}

/// In ns: the longest length that they tell where it is longer.
pub fn ns(length: Duration) -> u64 {
    length.as_nanos().try_into().unwrap_or(u64::MAX)
}

/// What a plan may take, ns, for a file that is no longer than asked, ns: frames are not cut, so it may come out longer by one.
pub fn room(asked: u64, scores: &VideoScores) -> u64 {
    let rate = scores.frame_rate;
    let frame = match rate.numerator {
        // Without a fixed rate, the mean of the segment whose frames last longest.
        0 => scores.segments.iter().map(|s| s.duration_ns / s.frame_scores.len().max(1) as u64).max().unwrap_or(0),
        frames => 1_000_000_000 * u64::from(rate.denominator) / u64::from(frames),
    };
    asked.saturating_sub(frame.min(asked / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_shares_are_read_as_people_write_them() {
        let lengths = ["90", "1.5", "60s", "1m30s", "1h", "500ms"].map(|text| length(text).unwrap().as_millis());
        assert_eq!(lengths, [90_000, 1_500, 60_000, 90_000, 3_600_000, 500]);
        assert!(length("0s").unwrap_err().contains("keeps nothing"));
        assert!(["", "-1", "soon", "1e30"].iter().all(|text| length(text).unwrap_err().contains("such as 60s")));
        assert_eq!(["15%", "0.15", "100 %", "1"].map(|text| ratio(text).unwrap()), [0.15, 0.15, 1.0, 1.0]);
        assert_eq!([length("90"), length("1e12")].map(|length| ns(length.unwrap())), [90_000_000_000, u64::MAX]);
        assert!(["0", "0%", "101%", "1.5", "-1", "x"].iter().all(|text| ratio(text).is_err()));
    }
}
