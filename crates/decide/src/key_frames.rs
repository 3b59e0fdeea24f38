//! What is kept of encoded video, which can be cut into only where a key frame stands.
//!
//! A *group of pictures* is a key frame and all that is decoded after it, up to the next one. Where anything of a group is to be kept, it is
//! kept from its key frame on, as far as the last of that: what lies between can't be left out. So what comes after the last that is wanted so
//! far waits until more of its group is wanted, or the group is over. One that never ends would wait for ever: [`KeyFrames::give_in`].
//! Times are running times, ns.

use std::collections::VecDeque;

use super::timeline::Timeline;

/// A timeline that follows another one by the key frames of a stream.
#[derive(Debug, Default)]
pub struct KeyFrames {
    /// What is kept.
    pub timeline: Timeline,
    /// When the key frames of the groups play that are not over yet.
    starts: VecDeque<u64>,
    /// When the stream has played.
    end: Option<u64>,
}

impl KeyFrames {
    /// A key frame plays at this time, after those that came before.
    pub fn add(&mut self, time: u64) {
        if self.starts.back().is_none_or(|&last| last < time) {
            self.timeline.begin(time, time);
            self.starts.push_back(time);
        }
        self.end = None;
    }

    /// The stream has ended, and played until then.
    pub fn end(&mut self, time: u64) {
        self.end = Some(time);
    }

    /// What waits is gone.
    pub fn clear(&mut self) {
        (self.starts, self.end) = (VecDeque::new(), None);
    }

    /// What is wanted begins anew.
    pub fn begin_anew(&mut self) {
        self.timeline = Timeline::default();
        if let Some(&first) = self.starts.front() {
            self.timeline.begin(first, first);
        }
    }

    /// When the newest key frame plays.
    pub fn newest(&self) -> Option<u64> {
        self.starts.back().copied()
    }

    /// Decides as far as `wanted` tells.
    pub fn follow(&mut self, wanted: &Timeline) {
        self.timeline.resume();
        while let Some(&start) = self.starts.front() {
            let next = self.starts.get(1).copied().or(self.end);
            let until = next.or(wanted.ended().then_some(u64::MAX));
            let known = until.unwrap_or(u64::MAX).min(if wanted.ended() { u64::MAX } else { wanted.decided() });
            if let Some(last) = wanted.last_kept(start, known) {
                self.timeline.keep(start, last, 1.0);
            }
            if until.is_none_or(|until| until > known) {
                return;
            }
            self.timeline.drop_until(known.min(wanted.decided().max(start)));
            self.starts.pop_front();
        }
        if self.end.is_some() {
            // No picture comes any more: the other streams are not to wait for one.
            self.timeline.drop_until(wanted.decided());
        }
        if wanted.ended() {
            self.timeline.end();
        }
    }

    /// What waits for the end of its group, ns.
    pub fn waiting(&self, wanted: &Timeline) -> u64 {
        let since = self.starts.front().map(|&start| start.max(self.timeline.decided()));
        since.map_or(0, |since| wanted.decided().saturating_sub(since))
    }

    /// Nothing may wait any longer for the end of its group: all of it is kept as far as `wanted` is decided, so that what is wanted later can
    /// be decoded. Where no key frame has come there is nothing to keep.
    pub fn give_in(&mut self, wanted: &Timeline) {
        self.follow(wanted);
        match self.starts.front() {
            Some(&start) => {
                self.timeline.keep(start, wanted.decided().max(start), 1.0);
            }
            None => self.timeline.drop_until(wanted.decided()),
        }
    }

    /// Before this nothing of what is wanted is needed any more.
    pub fn settled(&self) -> u64 {
        self.starts.front().copied().unwrap_or_else(|| self.timeline.decided())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::Piece;

    fn pieces(key_frames: &KeyFrames) -> Vec<(u64, u64, f64)> {
        let timeline = &key_frames.timeline;
        let piece = |number| timeline.stretch(number).unwrap().piece;
        timeline.numbers().map(piece).map(|Piece { from, until, to, .. }| (from, until, to)).collect()
    }

    #[test]
    fn a_clip_begins_with_the_key_frame_before_it_and_ends_where_it_was_to_end() {
        let (mut key_frames, mut wanted) = (KeyFrames::default(), Timeline::default());
        (0..6).for_each(|number| key_frames.add(1_000 + number * 100));
        wanted.begin(1_000, 1_000);
        wanted.drop_until(1_130);
        wanted.keep(1_130, 1_250, 1.0);
        key_frames.follow(&wanted);
        // Of the group at 1200 more may be wanted.
        assert_eq!((pieces(&key_frames), key_frames.timeline.decided()), (vec![(1_100, 1_250, 1_000.0)], 1_250));
        wanted.drop_until(1_320);
        key_frames.follow(&wanted);
        assert_eq!(pieces(&key_frames), [(1_100, 1_250, 1_000.0)]);
        // Two in one group, at other speeds: all between them, at its own.
        wanted.keep(1_320, 1_330, 2.0);
        wanted.drop_until(1_360);
        key_frames.follow(&wanted);
        assert_eq!((key_frames.timeline.decided(), key_frames.waiting(&wanted)), (1_330, 30));
        wanted.keep(1_360, 1_370, 4.0);
        wanted.drop_until(1_450);
        key_frames.follow(&wanted);
        assert_eq!(pieces(&key_frames), [(1_100, 1_250, 1_000.0), (1_300, 1_370, 1_150.0)]);
        assert_eq!(key_frames.settled(), 1_400);
        // The last group's end is not known, but that nothing more is wanted.
        wanted.keep(1_520, 1_540, 1.0);
        key_frames.follow(&wanted);
        assert_eq!((pieces(&key_frames).len(), key_frames.timeline.ended()), (3, false));
        wanted.end();
        key_frames.follow(&wanted);
        assert_eq!(pieces(&key_frames)[2], (1_500, 1_540, 1_220.0));
        assert!(key_frames.timeline.ended());
    }

    #[test]
    fn groups_that_are_kept_one_after_the_other_are_one_piece() {
        let (mut key_frames, mut wanted) = (KeyFrames::default(), Timeline::default());
        [0, 100, 200, 300].into_iter().for_each(|time| key_frames.add(time));
        wanted.keep(50, 260, 1.0);
        wanted.drop_until(400);
        key_frames.end(400);
        key_frames.follow(&wanted);
        assert_eq!((pieces(&key_frames), key_frames.timeline.decided()), (vec![(0, 260, 0.0)], 400));
    }

    #[test]
    fn a_group_without_an_end_is_kept_whole_rather_than_waited_for() {
        let (mut key_frames, mut wanted) = (KeyFrames::default(), Timeline::default());
        key_frames.add(0);
        wanted.drop_until(500);
        key_frames.follow(&wanted);
        assert_eq!((pieces(&key_frames), key_frames.waiting(&wanted)), (vec![], 500));
        key_frames.give_in(&wanted);
        assert_eq!((pieces(&key_frames), key_frames.waiting(&wanted)), (vec![(0, 500, 0.0)], 0));
        // Later it is wanted, and can be decoded.
        wanted.drop_until(700);
        wanted.keep(700, 720, 1.0);
        key_frames.follow(&wanted);
        assert_eq!(pieces(&key_frames), [(0, 720, 0.0)]);
        // With the next key frame all is as usual.
        key_frames.add(800);
        wanted.drop_until(900);
        key_frames.follow(&wanted);
        assert_eq!((pieces(&key_frames), key_frames.timeline.decided()), (vec![(0, 720, 0.0)], 800));
    }

    #[test]
    fn other_streams_do_not_wait_for_pictures_that_never_come() {
        let (mut key_frames, mut wanted) = (KeyFrames::default(), Timeline::default());
        wanted.keep(0, 500, 1.0);
        key_frames.follow(&wanted);
        assert_eq!(key_frames.timeline.decided(), 0);
        key_frames.give_in(&wanted);
        assert_eq!((pieces(&key_frames), key_frames.timeline.decided()), (vec![], 500));
        key_frames.end(0);
        wanted.keep(500, 600, 1.0);
        key_frames.follow(&wanted);
        assert_eq!(key_frames.timeline.decided(), 600);
    }

    #[test]
    fn after_a_flush_the_groups_that_came_since_count() {
        let (mut key_frames, mut wanted) = (KeyFrames::default(), Timeline::default());
        key_frames.add(700);
        key_frames.clear();
        key_frames.add(0);
        key_frames.add(100);
        key_frames.begin_anew();
        wanted.keep(10, 150, 1.0);
        key_frames.follow(&wanted);
        assert_eq!(pieces(&key_frames), [(0, 150, 0.0)]);
    }
}
