//! How far a stream may be ahead of the video: whether what comes in may enter, or its upstream waits.
//!
//! Upstream of both may be one thread, a demuxer's. Then a stream that waits keeps the video from coming, and the video may be what it waits
//! for: the decoder, `desumnet` and queues hold frames, and nobody here knows how many. So a stream waits only as long as the video moves. If it
//! stands still, more may enter; memory ends that, too.

use std::time::Duration;

/// How far ahead of the video a stream may be while that moves: this long, ns, and as many frames.
const AHEAD: u64 = 60_000_000_000;
const AHEAD_FRAMES: u64 = 64;
/// What of a stream may wait while the video stands still, or downstream does not take it, bytes: 20 minutes of raw stereo.
pub const MOST: usize = 256 << 20;
/// The video stands still if no frame has come for so long.
const PATIENCE: Duration = Duration::from_secs(2);
/// It is not about to begin or to go on if no frame has come for so long.
const LONG_PATIENCE: Duration = Duration::from_secs(30);

/// The video, as a stream beside it sees it.
#[derive(Clone, Copy, Debug)]
pub struct Video {
    /// Running time up to which it has come in or is decided, ns.
    pub reached: u64,
    /// Usual time between its frames, ns.
    pub spacing: u64,
    /// Since when its upstream has sent nothing, though it may; `None`: a frame is on its way downstream.
    pub idle: Option<Duration>,
}

/// A stream.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    /// Running time up to which it has come in, ns.
    pub arrived: u64,
    /// Bytes of it that wait.
    pub bytes: usize,
    /// Downstream is at what it got last.
    pub sending: bool,
}

/// What becomes of what comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    Enters,
    /// Until something changes; until so much time has gone by, if that is a change.
    Waits(Option<Duration>),
    /// It is lost: there is no room, and nothing moves.
    Lost,
}

/// Of the next buffer of a stream.
pub fn entry(stream: Stream, video: Video) -> Entry {
    let far = stream.arrived > video.reached.saturating_add(AHEAD.max(AHEAD_FRAMES.saturating_mul(video.spacing)));
    let full = stream.bytes >= MOST && (far || stream.sending);
    let (patience, then) = match (full, far) {
        (true, _) => (LONG_PATIENCE, Entry::Lost),
        (false, true) => (PATIENCE, Entry::Enters),
        (false, false) => return Entry::Enters,
    };
    match video.idle.map(|idle| patience.saturating_sub(idle)) {
        Some(Duration::ZERO) => then,
        rest => Entry::Waits(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// By seconds that the stream is ahead, its bytes, and seconds that the video has been idle.
    fn of(ahead: u64, bytes: usize, sending: bool, idle: Option<u64>) -> Entry {
        let stream = Stream { arrived: (100 + ahead) * SECOND, bytes, sending };
        entry(stream, Video { reached: 100 * SECOND, spacing: SECOND / 25, idle: idle.map(Duration::from_secs) })
    }

    #[test]
    fn a_stream_waits_while_the_video_moves_and_enters_where_it_does_not() {
        assert_eq!(of(60, MOST - 1, true, None), Entry::Enters);
        assert_eq!(of(61, 0, false, None), Entry::Waits(None));
        assert_eq!(of(61, 0, false, Some(0)), Entry::Waits(Some(PATIENCE)));
        assert_eq!(of(61, 0, false, Some(2)), Entry::Enters);
        assert_eq!(of(10_000, MOST - 1, false, Some(2)), Entry::Enters);
    }

    #[test]
    fn what_waits_is_bounded() {
        assert_eq!(of(61, MOST, false, None), Entry::Waits(None));
        assert_eq!(of(61, MOST, false, Some(2)), Entry::Waits(Some(Duration::from_secs(28))));
        assert_eq!(of(61, MOST, false, Some(30)), Entry::Lost);
        // Downstream does not take it.
        assert_eq!(of(0, MOST, true, None), Entry::Waits(None));
        assert_eq!(of(0, MOST, true, Some(30)), Entry::Lost);
        // It waits for what is decided of the video: a long look-ahead.
        assert_eq!(of(0, MOST, false, Some(30)), Entry::Enters);
    }

    #[test]
    fn of_slow_videos_as_many_frames_may_be_missing() {
        let stream = Stream { arrived: 192 * SECOND, bytes: 0, sending: false };
        let video = Video { reached: 0, spacing: 3 * SECOND, idle: None };
        assert_eq!(entry(stream, video), Entry::Enters);
        assert_eq!(entry(Stream { arrived: 193 * SECOND, ..stream }, video), Entry::Waits(None));
        assert_eq!(entry(stream, Video { reached: u64::MAX, ..video }), Entry::Enters);
    }
}
