//! Times as people read them.

/// A time (ns) to the tenth of a second, `0:07.4` or `1:02:03.4`; cut off, not rounded: a clock shows the time that has
/// come.
pub fn clock(ns: u64) -> String {
    let tenths = ns / 100_000_000;
    let (seconds, minutes, hours) = (tenths / 10 % 60, tenths / 600 % 60, tenths / 36_000);
    let tenth = tenths % 10;
    match hours {
        0 => format!("{minutes}:{seconds:02}.{tenth}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}.{tenth}"),
    }
}

/// A length (ns) to the tenth of a second, rounded.
pub fn length(ns: u64) -> String {
    clock(ns.saturating_add(50_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_told_from_the_first_on() {
        let times = [0, 7_450_000_000, 59_999_999_999, 60_000_000_000, 3_599_999_999_999, 3_723_400_000_000];
        assert_eq!(times.map(clock), ["0:00.0", "0:07.4", "0:59.9", "1:00.0", "59:59.9", "1:02:03.4"]);
        assert_eq!(clock(100 * 3_600_000_000_000), "100:00:00.0");
        assert_eq!([2_949_999_999, 2_950_000_000, 3_599_960_000_000].map(length), ["0:02.9", "0:03.0", "1:00:00.0"]);
    }
}
