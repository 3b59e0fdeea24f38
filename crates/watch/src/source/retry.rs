//! How long to wait before a camera is tried again.

use std::time::Duration;

/// Wait before the second try to connect; doubled with each, up to [`LONGEST`].
const FIRST: Duration = Duration::from_secs(1);
/// The longest wait.
pub const LONGEST: Duration = Duration::from_secs(60);
/// A connection that brought pictures for as long was a good one: what ended it was something new.
const GOOD: Duration = Duration::from_secs(10);

/// The waits between the tries.
#[derive(Debug)]
pub struct Retry {
    wait: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { wait: FIRST }
    }
}

impl Retry {
    /// The wait after a connection that brought pictures for a time: none, if it brought none.
    pub fn after(&mut self, pictures: Duration) -> Duration {
        if pictures >= GOOD {
            self.wait = FIRST;
        }
        let wait = self.wait;
        self.wait = (2 * wait).min(LONGEST);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_until_a_connection_was_good() {
        let mut retry = Retry::default();
        let mut wait = |seconds| retry.after(Duration::from_secs(seconds)).as_secs();
        // A camera that breaks off after each first picture is not asked every second for ever.
        assert_eq!([0, 1, 0, 9, 1, 1, 0, 0].map(&mut wait), [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!([10, 0, 3600].map(&mut wait), [1, 2, 1]);
    }
}
