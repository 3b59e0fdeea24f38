use super::*;
use desumnet_engine::ScoreError;
use desumnet_frames::{
    clip::{Clip, Frame, Geometry},
    segmenter::Segment,
};
use std::time::Duration;

pub fn span(index: u64, frames: u32) -> Span {
    let segment = Segment {
        index,
        start: Some(index * 640),
        duration: 640,
        frames,
        stride: 1,
        padded: frames < 16,
        clip: Clip::padded(vec![Frame::black(&Geometry::PAPER)]).unwrap(),
    };
    Span::new(&segment, 0, None)
}

fn score(value: f32) -> Result<Score, ScoreError> {
    let frame_scores = (0..16).map(|i| value + i as f32).collect();
    Ok(Score {
        category: Some(1),
        confidence: 0.5,
        unusual: None,
        frame_scores,
        score: value,
        maps: None,
        inference: Duration::ZERO,
    })
}

/// Everything that can be done now, in words.
fn steps(pending: &mut Pending<&'static str>, now: Instant) -> Vec<String> {
    let mut done = Vec::new();
    loop {
        done.push(match pending.step(now) {
            Step::Resolved(outcome) => format!("#{} {} {:?}", outcome.span.index, outcome.score, outcome.flags),
            Step::Frame(name, outcome, frame, shot) => {
                let shot = if shot.starts { format!(" shot {}", shot.number) } else { String::new() };
                format!("{name} #{}.{frame} {}{shot}", outcome.span.index, outcome.frame_score(frame))
            }
            Step::Other(name) | Step::Passing(name) => name.to_string(),
            Step::Close(segment) => format!("close #{segment}"),
            Step::Wait(_) => return done,
        });
    }
}

/// Frames for which it is known that they start no shot.
fn frames(pending: &mut Pending<&'static str>, segment: u64, names: &[&'static str]) {
    pending.settle(1);
    for (frame, name) in names.iter().enumerate() {
        pending.add_frame(
            name,
            Place { segment, frame: frame as u32 },
            Stay { sample: 0, due: None, pts: None, bytes: 100 },
        );
    }
}

/// The first segment, scored: frames that are analysis frames of the same numbers.
fn scored(names: &[&'static str], due: Option<Instant>) -> Pending<&'static str> {
    let mut pending = Pending::default();
    for (frame, name) in names.iter().enumerate() {
        let pts = Some(frame as u64 * 40_000_000);
        let stay = Stay { sample: frame as u64, due, pts, bytes: 100 };
        pending.add_frame(*name, Place { segment: 0, frame: frame as u32 }, stay);
    }
    pending.await_score(span(0, 16), None);
    pending.answer(0, 0, score(3.0));
    pending
}

#[test]
fn frames_wait_until_it_is_known_which_start_shots() {
    let (mut pending, now) = (scored(&["a", "b", "c"], None), Instant::now());
    pending.add_shot(0, 0);
    pending.settle(1);
    assert_eq!(steps(&mut pending, now)[1..], ["a #0.0 3 shot 0"]);
    pending.add_event("tag");
    assert!(steps(&mut pending, now).is_empty());
    pending.add_shot(2, 1);
    pending.settle(3);
    assert_eq!(steps(&mut pending, now), ["b #0.1 4", "c #0.2 5 shot 1", "tag"]);
    // What a flush throws away is no start of what comes after it.
    pending.add_shot(3, 2);
    pending.clear();
    frames(&mut pending, 1, &["d"]);
    pending.add_shot(4, 3);
    pending.carry(span(1, 16), Flags::empty());
    assert_eq!(steps(&mut pending, now)[1..], ["d #1.0 3"]);
}

#[test]
fn a_frame_that_is_due_goes_on_and_a_start_told_later_is_the_next_ones() {
    let now = Instant::now();
    let due = now + Duration::from_millis(5);
    let mut pending = scored(&["a", "b", "c"], Some(due));
    pending.add_shot(0, 0);
    pending.settle(1);
    assert_eq!(steps(&mut pending, now)[1..], ["a #0.0 3 shot 0"]);
    assert!(matches!(pending.step(now), Step::Wait(Some(until)) if until == due));
    let Step::Frame("b", _, 1, shot) = pending.step(due) else { panic!("it is due") };
    assert_eq!(shot, Shot { number: 0, starts: false });
    pending.add_shot(1, 1);
    assert_eq!(steps(&mut pending, due), ["c #0.2 5 shot 1"]);
}

#[test]
fn frames_and_events_wait_for_their_segment_and_keep_their_order() {
    let (mut pending, now) = (Pending::default(), Instant::now());
    pending.add_event("caps");
    frames(&mut pending, 0, &["a", "b"]);
    assert_eq!(steps(&mut pending, now), ["caps"]);
    pending.await_score(span(0, 2), None);
    pending.add_event("tag");
    frames(&mut pending, 1, &["c"]);
    pending.await_score(span(1, 1), None);
    pending.add_event("eos");
    assert!(steps(&mut pending, now).is_empty());
    // The second answer alone releases nothing.
    pending.answer(0, 1, score(7.0));
    assert!(steps(&mut pending, now).is_empty());
    pending.answer(0, 0, score(3.0));
    let padded = Flags::PADDED;
    assert_eq!(
        steps(&mut pending, now),
        [
            format!("#0 3 {padded:?}"),
            format!("#1 7 {padded:?}"),
            "a #0.0 3".into(),
            "b #0.1 4".into(),
            "tag".into(),
            "c #1.0 7".into(),
            "eos".into()
        ]
    );
    assert!(pending.is_empty());
}

#[test]
fn carried_segments_take_the_last_score_when_their_turn_comes() {
    let (mut pending, now) = (Pending::default(), Instant::now());
    frames(&mut pending, 0, &["a"]);
    pending.await_score(span(0, 16), None);
    frames(&mut pending, 1, &["b"]);
    pending.carry(span(1, 16), Flags::empty());
    assert!(steps(&mut pending, now).is_empty());
    pending.answer(0, 0, score(3.0));
    let carried = Flags::CARRIED;
    let none = Flags::empty();
    assert_eq!(
        steps(&mut pending, now),
        [format!("#0 3 {none:?}"), format!("#1 3 {carried:?}"), "a #0.0 3".into(), "b #1.0 3".into()]
    );
}

#[test]
fn a_late_segment_goes_on_and_its_answer_counts_for_the_next() {
    let (mut pending, now) = (Pending::default(), Instant::now());
    frames(&mut pending, 0, &["a"]);
    pending.await_score(span(0, 16), Some(now + Duration::from_millis(5)));
    let Step::Wait(Some(until)) = pending.step(now) else { panic!("nothing can be done yet") };
    let late = Flags::LATE | Flags::UNSCORED;
    assert_eq!(steps(&mut pending, until), [format!("#0 0 {late:?}"), "a #0.0 0".into()]);
    pending.answer(0, 0, score(9.0));
    frames(&mut pending, 1, &["b"]);
    pending.carry(span(1, 16), Flags::LATE);
    let late = Flags::LATE | Flags::CARRIED;
    assert_eq!(steps(&mut pending, now), [format!("#1 9 {late:?}"), "b #1.0 9".into()]);
}

#[test]
fn failed_scoring_holds_nothing_back() {
    let (mut pending, now) = (Pending::default(), Instant::now());
    frames(&mut pending, 0, &["a"]);
    pending.await_score(span(0, 16), None);
    pending.answer(0, 0, Err(ScoreError::Stopped));
    let failed = Flags::FAILED | Flags::UNSCORED;
    assert_eq!(steps(&mut pending, now), [format!("#0 0 {failed:?}"), "a #0.0 0".into()]);
}

#[test]
fn segments_that_would_carry_a_score_that_failed_have_failed_too() {
    let (mut pending, now) = (Pending::default(), Instant::now());
    for segment in 0..8 {
        match segment {
            0 | 2 | 4 | 6 => pending.await_score(span(segment, 16), None),
            _ => pending.carry(span(segment, 16), Flags::empty()),
        }
    }
    // Answers run ahead of what is resolved.
    pending.answer(0, 0, score(3.0));
    pending.answer(0, 2, Err(ScoreError::Stopped));
    pending.answer(0, 4, Err(ScoreError::Shed));
    pending.answer(0, 6, score(5.0));
    let (own, carried) = (Flags::empty(), Flags::CARRIED);
    let (failed, late) = (Flags::FAILED | carried, Flags::FAILED | Flags::LATE | carried);
    let expected = [(3, own), (3, carried), (3, failed), (3, failed), (3, late), (3, failed), (5, own), (5, carried)];
    let expected: Vec<_> =
        expected.iter().enumerate().map(|(number, (score, flags))| format!("#{number} {score} {flags:?}")).collect();
    assert_eq!(steps(&mut pending, now), expected);
    // One that failed after it was given up.
    pending.await_score(span(8, 16), Some(now));
    assert_eq!(steps(&mut pending, now), [format!("#8 5 {:?}", Flags::LATE | carried)]);
    pending.answer(0, 8, Err(ScoreError::Stopped));
    pending.carry(span(9, 16), Flags::empty());
    assert_eq!(steps(&mut pending, now), [format!("#9 5 {failed:?}")]);
}

#[test]
fn scores_of_one_stream_say_nothing_of_the_next() {
    let (mut pending, now) = (Pending::<&str>::default(), Instant::now());
    for (index, stream) in [(0, 0), (1, 0), (2, 1), (3, 1)] {
        pending.await_score(Span { stream, ..span(index, 16) }, None);
    }
    pending.carry(Span { stream: 2, ..span(4, 16) }, Flags::empty());
    for (stream, index, value) in [(0, 0, 5.0), (0, 1, 9.0), (1, 2, 3.0), (1, 3, 1.0)] {
        pending.answer(stream, index, score(value));
    }
    let mut ranks = Vec::new();
    while let Step::Resolved(outcome) = pending.step(now) {
        ranks.push((outcome.score, outcome.importance, outcome.flags));
    }
    let own = Flags::empty();
    assert_eq!(
        ranks,
        [(5.0, 0.5, own), (9.0, 0.75, own), (3.0, 0.5, own), (1.0, 0.25, own), (0.0, 0.0, Flags::UNSCORED)]
    );
    // A flush is none.
    pending.clear();
    pending.carry(Span { stream: 1, ..span(5, 16) }, Flags::empty());
    assert_eq!(steps(&mut pending, now), [format!("#5 1 {:?}", Flags::CARRIED)]);
}

#[test]
fn an_unfinished_segment_is_to_be_finished_in_time() {
    let now = Instant::now();
    let [close, due] = [5, 7].map(|ms| now + Duration::from_millis(ms));
    let mut pending = Pending::default();
    let stay = Stay { sample: 0, due: Some(due), pts: None, bytes: 100 };
    pending.add_frame("a", Place { segment: 0, frame: 0 }, stay);
    pending.open(0, Some(close));
    assert!(matches!(pending.step(now), Step::Wait(Some(until)) if until == close));
    // Once.
    assert_eq!(steps(&mut pending, close), ["close #0"]);
    pending.await_score(span(0, 1), Some(due));
    assert!(matches!(pending.step(close), Step::Wait(Some(until)) if until == due));
    let flags = Flags::LATE | Flags::UNSCORED | Flags::PADDED;
    assert_eq!(steps(&mut pending, due), [format!("#0 0 {flags:?}"), "a #0.0 0".into()]);
    // One that is finished or thrown away is not.
    pending.open(1, Some(close));
    pending.carry(span(1, 16), Flags::empty());
    assert_eq!(steps(&mut pending, due).len(), 1);
    pending.open(2, Some(close));
    pending.clear();
    assert!(steps(&mut pending, due).is_empty());
}

#[test]
fn frames_that_are_not_scored_keep_their_places() {
    let (mut pending, now) = (Pending::default(), Instant::now());
    frames(&mut pending, 0, &["a"]);
    pending.add_passing("b");
    pending.add_event("tag");
    pending.add_passing("c");
    assert_eq!(pending.frames(), 3);
    assert!(steps(&mut pending, now).is_empty());
    pending.carry(span(0, 16), Flags::empty());
    assert_eq!(steps(&mut pending, now)[1..], ["a #0.0 0", "b", "tag", "c"]);
    assert_eq!(pending.frames(), 0);
}

#[test]
fn frames_that_downstream_does_not_want_are_dropped_up_to_the_next_segment() {
    let (mut pending, now) = (Pending::default(), Instant::now());
    frames(&mut pending, 0, &["a"]);
    pending.add_event("tag");
    pending.add_passing("b");
    pending.add_event("segment");
    frames(&mut pending, 1, &["c"]);
    assert!(pending.drop_frames_until(|event| *event == "segment"));
    assert_eq!((pending.frames(), pending.is_heavy(99)), (1, false));
    assert_eq!(steps(&mut pending, now), ["tag", "segment"]);
    pending.carry(span(1, 1), Flags::empty());
    assert!(pending.is_heavy(99) && !pending.is_heavy(100));
    assert!(!pending.drop_frames_until(|event| *event == "segment"));
    assert_eq!((pending.frames(), steps(&mut pending, now).len()), (0, 1));
    assert!(pending.is_empty());
}

#[test]
fn a_recordings_upstream_waits_for_bytes_only_where_that_helps() {
    let (mut pending, now) = (Pending::default(), Instant::now());
    pending.add_event("tag");
    frames(&mut pending, 0, &["a", "b", "c"]);
    // 300 bytes, of a segment that needs more frames.
    assert!(!pending.is_heavy(299));
    pending.await_score(span(0, 3), None);
    assert!(pending.is_heavy(299) && !pending.is_heavy(300));
    pending.settle(0);
    assert!(!pending.is_heavy(299), "a shot may still start");
    pending.settle(1);
    pending.answer(0, 0, score(3.0));
    assert!(matches!(pending.step(now), Step::Resolved(_)) && pending.is_heavy(299));
    assert!(matches!(pending.step(now), Step::Other("tag")) && pending.is_heavy(299));
    assert!(matches!(pending.step(now), Step::Frame("a", ..)) && !pending.is_heavy(299) && pending.is_heavy(199));
}

#[test]
fn live_frames_are_overdue_a_second_after_the_latency() {
    let (now, tick) = (Instant::now(), Duration::from_nanos(1));
    let mut pending = scored(&["a"], Some(now));
    assert!(!pending.is_overdue(now + MOST_OVERDUE, 0));
    assert!(pending.is_overdue(now + MOST_OVERDUE + tick, 0));
    // Large ones at once.
    let large = Stay { sample: 1, due: None, pts: None, bytes: MOST_BYTES };
    pending.add_frame("b", Place { segment: 0, frame: 1 }, large);
    assert!(pending.is_overdue(now + tick, 0) && !pending.is_overdue(now, 0));
    pending.clear();
    assert!(!pending.is_overdue(now + 2 * MOST_OVERDUE, 0));
}

#[test]
fn live_frames_that_come_faster_than_the_clock_are_overdue_by_their_timestamps() {
    let now = Instant::now();
    // 30 frames of 40 ms: from the first to the last, 1.16 s.
    let mut pending = scored(&["a"; 30], Some(now + Duration::from_secs(60)));
    let (less, enough) = (159_999_999, 160_000_000);
    assert!(!pending.is_overdue(now, less), "it is not known yet whether a shot starts");
    pending.settle(1);
    assert!(pending.is_overdue(now, less) && !pending.is_overdue(now, enough));
    // Nor while a frame waits for its segment.
    pending.clear();
    pending.add_event("tag");
    for (frame, pts) in [(0, 0), (1, 5_000_000_000)] {
        let stay = Stay { sample: 0, due: None, pts: Some(pts), bytes: 100 };
        pending.add_frame("a", Place { segment: 1, frame }, stay);
    }
    assert!(!pending.is_overdue(now, 0));
    pending.await_score(span(1, 2), Some(now + Duration::from_millis(5)));
    assert!(!pending.is_overdue(now, 0) && pending.is_overdue(now + Duration::from_millis(5), 0));
}
