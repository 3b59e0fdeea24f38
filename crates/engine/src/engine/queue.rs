//! What waits for the engine: jobs of several streams, which take turns.
//!
//! Pure: a job is any `T`, and the time is given. A batch is filled stream by stream, so that none waits for another's backlog. Who can
//! wait (files) is never refused anything. A live stream has use for a score only until some instant: when the engine falls behind,
//! each live stream loses its own oldest jobs, and so about every n-th of them, and as many as any other.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::importance::Form;

/// Jobs of a live stream that may wait.
pub const LIVE: usize = 8;

/// What a job asks of the queue.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Which stream it is of.
    pub stream: u64,
    /// When its answer must be there to be of use; `None` if it can wait.
    pub due: Option<Instant>,
    /// Only jobs of one form make a batch.
    pub form: Form,
    /// Most jobs in a batch with it.
    pub batch_size: usize,
    /// How long it may wait for others to fill the batch.
    pub batch_timeout: Duration,
}

struct Entry<T> {
    terms: Terms,
    since: Instant,
    job: T,
}

/// What the engine does next.
#[derive(Debug, PartialEq)]
pub enum Turn<T> {
    /// These together.
    Batch(Vec<T>),
    /// Nothing; until that instant, or until something is added.
    Wait(Option<Instant>),
}

/// What waits of a stream.
struct Lane<T> {
    stream: u64,
    jobs: VecDeque<Entry<T>>,
}

impl<T> Lane<T> {
    fn first(&self) -> Option<&Terms> {
        self.jobs.front().map(|entry| &entry.terms)
    }
}

/// The queue.
pub struct Queue<T> {
    /// Whoever has had no turn for the longest comes first.
    lanes: VecDeque<Lane<T>>,
    /// Given up, not yet taken by [`Self::shed`].
    shed: Vec<T>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { lanes: VecDeque::new(), shed: Vec::new() }
    }
}

impl<T> Queue<T> {
    /// Adds a job. Of a live stream that has [`LIVE`] waiting, the oldest is given up.
    pub fn push(&mut self, terms: Terms, job: T, now: Instant) {
        let place = self.lanes.iter().position(|lane| lane.stream == terms.stream).unwrap_or_else(|| {
            self.lanes.push_back(Lane { stream: terms.stream, jobs: VecDeque::new() });
            self.lanes.len() - 1
        });
        let jobs = &mut self.lanes[place].jobs;
        if terms.due.is_some() && jobs.len() >= LIVE {
            self.shed.extend(jobs.pop_front().map(|oldest| oldest.job));
        }
        jobs.push_back(Entry { terms, since: now, job });
    }

    /// Nothing more comes of this stream, and nobody waits for it: its jobs.
    pub fn close(&mut self, stream: u64) -> Vec<T> {
        let place = self.lanes.iter().position(|lane| lane.stream == stream);
        let lane = place.and_then(|place| self.lanes.remove(place));
        lane.into_iter().flat_map(|lane| lane.jobs).map(|entry| entry.job).collect()
    }

    /// What was given up since the last call.
    pub fn shed(&mut self) -> Vec<T> {
        std::mem::take(&mut self.shed)
    }

    /// Everything that waits.
    pub fn drain(&mut self) -> Vec<T> {
        self.lanes.drain(..).flat_map(|lane| lane.jobs).map(|entry| entry.job).collect()
    }

    /// What to do at the instant `now`, if a batch takes about `expected`.
    pub fn next(&mut self, now: Instant, expected: Duration) -> Turn<T> {
        let done = now + expected;
        for lane in &mut self.lanes {
            // Of no use any more, while a newer one may be. The newest is scored however late: its score is carried on.
            while lane.jobs.len() > 1 && lane.first().is_some_and(|terms| terms.due.is_some_and(|due| due < done)) {
                self.shed.extend(lane.jobs.pop_front().map(|late| late.job));
            }
        }
        let Some(first) = self.whose_turn(None, done).and_then(|turn| self.lanes[turn].jobs.front()) else {
            return Turn::Wait(None);
        };
        let Terms { form, batch_size, .. } = first.terms;
        let alike = |lane: &&Lane<T>| lane.first().is_some_and(|terms| terms.form == form);
        // Nobody waits for others for longer than it may, or than it has time.
        let patience = |entry: &Entry<T>| {
            let waited = entry.since.checked_add(entry.terms.batch_timeout);
            let due = entry.terms.due.map(|due| due.checked_sub(expected).unwrap_or(now));
            [waited, due].into_iter().flatten().min()
        };
        let until = self.lanes.iter().filter(alike).filter_map(|lane| lane.jobs.front().and_then(patience)).min();
        let waiting: usize = self.lanes.iter().filter(alike).map(|lane| lane.jobs.len()).sum();
        if waiting < batch_size && until.is_none_or(|until| now < until) {
            return Turn::Wait(until);
        }
        let mut batch = Vec::new();
        while batch.len() < batch_size.max(1)
            && let Some(turn) = self.whose_turn(Some(form), done)
            && let Some(mut lane) = self.lanes.remove(turn)
        {
            batch.extend(lane.jobs.pop_front().map(|entry| entry.job));
            self.lanes.push_back(lane);
        }
        Turn::Batch(batch)
    }

    /// The lane whose turn it is, of those that want this form. One that is late anyway lets live ones pass that are not: or else, once the
    /// engine has fallen behind, it would score everything late.
    fn whose_turn(&self, form: Option<Form>, done: Instant) -> Option<usize> {
        let terms =
            || self.lanes.iter().map(|lane| lane.first().filter(|terms| form.is_none_or(|form| terms.form == form)));
        let hurry = terms().flatten().any(|terms| terms.due.is_some_and(|due| due >= done));
        terms().position(|terms| terms.is_some_and(|terms| !(hurry && terms.due.is_some_and(|due| due < done))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn file(stream: u64, batch_size: usize) -> Terms {
        Terms { stream, due: None, form: Form::Weighted, batch_size, batch_timeout: Duration::ZERO }
    }

    fn batch(queue: &mut Queue<&'static str>, now: Instant) -> Vec<&'static str> {
        match queue.next(now, Duration::ZERO) {
            Turn::Batch(jobs) => jobs,
            Turn::Wait(until) => panic!("waits until {until:?}"),
        }
    }

    #[test]
    fn streams_take_turns_and_each_keeps_its_order() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for (stream, job) in [(1, "a1"), (1, "a2"), (1, "a3"), (2, "b1"), (3, "c1"), (2, "b2")] {
            queue.push(file(stream, 1), job, now);
        }
        let order: Vec<_> = (0..6).flat_map(|_| batch(&mut queue, now)).collect();
        assert_eq!(order, ["a1", "b1", "c1", "a2", "b2", "a3"]);
        assert_eq!(queue.next(now, Duration::ZERO), Turn::Wait(None));
    }

    #[test]
    fn a_batch_takes_one_of_each_before_a_second_of_any() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for (stream, job) in [(1, "a1"), (1, "a2"), (1, "a3"), (2, "b1"), (3, "c1")] {
            queue.push(file(stream, 4), job, now);
        }
        assert_eq!(batch(&mut queue, now), ["a1", "b1", "c1", "a2"]);
        assert_eq!(batch(&mut queue, now), ["a3"]);
    }

    #[test]
    fn whoever_had_no_turn_for_the_longest_is_first_and_a_closed_stream_has_none() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.push(file(1, 1), "a1", now);
        queue.push(file(2, 1), "b1", now);
        assert_eq!(batch(&mut queue, now), ["a1"]);
        for job in ["a2", "a3"] {
            queue.push(file(1, 1), job, now);
        }
        queue.push(file(3, 1), "c1", now);
        assert_eq!((queue.close(1), queue.close(4)), (vec!["a2", "a3"], vec![]));
        let order: Vec<_> = (0..2).flat_map(|_| batch(&mut queue, now)).collect();
        assert_eq!(order, ["b1", "c1"]);
        assert_eq!(queue.lanes.len(), 2);
        assert!(queue.close(2).is_empty() && queue.close(3).is_empty() && queue.lanes.is_empty());
    }

    #[test]
    fn nobody_waits_for_others_beyond_its_time() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let patient = Terms { batch_timeout: 1000 * MS, ..file(1, 8) };
        queue.push(patient, "a1", now);
        assert_eq!(queue.next(now, 10 * MS), Turn::Wait(Some(now + 1000 * MS)));
        // Of use until 300 ms from now, and it takes 10.
        queue.push(Terms { stream: 2, due: Some(now + 300 * MS), ..patient }, "b1", now);
        assert_eq!(queue.next(now, 10 * MS), Turn::Wait(Some(now + 290 * MS)));
        assert_eq!(queue.next(now + 290 * MS, 10 * MS), Turn::Batch(vec!["a1", "b1"]));
        queue.push(Terms { batch_timeout: Duration::MAX, ..patient }, "a2", now);
        assert_eq!(queue.next(now, 10 * MS), Turn::Wait(None));
        queue.push(file(3, 8), "c1", now);
        assert_eq!(queue.next(now, 10 * MS), Turn::Batch(vec!["a2", "c1"]));
    }

    #[test]
    fn forms_do_not_mix_and_none_is_left_behind() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let logit = |stream| Terms { form: Form::Logit, ..file(stream, 8) };
        queue.push(file(1, 8), "a1", now);
        queue.push(logit(2), "b1", now);
        queue.push(logit(2), "b2", now);
        queue.push(file(3, 8), "c1", now);
        assert_eq!(batch(&mut queue, now), ["a1", "c1"]);
        assert_eq!(batch(&mut queue, now), ["b1", "b2"]);
    }

    #[test]
    fn a_batch_waits_for_others_as_long_as_it_may() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let patient = |stream| Terms { batch_timeout: 5 * MS, ..file(stream, 2) };
        queue.push(patient(1), "a1", now);
        assert_eq!(queue.next(now + MS, Duration::ZERO), Turn::Wait(Some(now + 5 * MS)));
        queue.push(patient(2), "b1", now + 2 * MS);
        assert_eq!(batch(&mut queue, now + 2 * MS), ["a1", "b1"]);
        queue.push(patient(2), "b2", now + 3 * MS);
        assert_eq!(batch(&mut queue, now + 8 * MS), ["b2"]);
    }

    #[test]
    fn a_full_live_stream_loses_its_oldest_and_a_file_nothing() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for job in 0..LIVE + 2 {
            queue.push(Terms { due: Some(now + 9000 * MS), ..file(1, 1) }, job, now);
            queue.push(file(2, 1), 100 + job, now);
        }
        assert_eq!(queue.shed(), [0, 1]);
        assert!(queue.shed().is_empty());
        assert_eq!(queue.drain().len(), LIVE + LIVE + 2);
    }

    #[test]
    fn the_newest_is_scored_however_late() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for job in ["a1", "a2", "a3"] {
            queue.push(Terms { due: Some(now), ..file(1, 1) }, job, now);
        }
        assert_eq!(batch(&mut queue, now + MS), ["a3"]);
        assert_eq!(queue.shed(), ["a1", "a2"]);
    }

    #[test]
    fn who_is_late_anyway_lets_those_pass_who_are_not() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let live = |stream, due: u32| Terms { due: Some(now + due * MS), ..file(stream, 1) };
        for (terms, job) in [(live(1, 0), "late"), (file(2, 1), "file"), (live(3, 10), "b"), (live(4, 10), "c")] {
            queue.push(terms, job, now);
        }
        let order: Vec<_> = (0..4).flat_map(|_| batch(&mut queue, now + MS)).collect();
        assert_eq!(order, ["file", "b", "c", "late"]);
    }

    /// Sixteen live streams, each with a segment every two seconds, four of them at a time, and time for three.
    #[test]
    fn an_engine_that_has_fallen_behind_still_scores_in_time_what_it_can() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        let (mut free, mut in_time) = (0, vec![0; 16]);
        for at in 0..100_000u32 {
            let now = start + at * MS;
            if at % 500 == 0 {
                for stream in 0..4 {
                    let terms = Terms { due: Some(now + 1000 * MS), ..file(u64::from(at / 500 % 4 * 4 + stream), 1) };
                    queue.push(terms, (terms.stream, now), now);
                }
            }
            if at >= free
                && let Turn::Batch(jobs) = queue.next(now, 165 * MS)
            {
                free = at + 165;
                for (stream, since) in jobs {
                    in_time[stream as usize] += usize::from(now + 165 * MS <= since + 1000 * MS);
                }
            }
            queue.shed();
        }
        // Of 50 segments each.
        assert!(in_time.iter().all(|count| (36..=39).contains(count)), "{in_time:?}");
    }

    /// Four live streams and a file, with a device that has time for half of the live ones' segments.
    #[test]
    fn overload_is_shared_evenly_among_live_streams_and_over_time() {
        const PERIOD: u32 = 600;
        const COST: u32 = 240;
        const LIVE_STREAMS: u64 = 4;
        let (mut queue, start) = (Queue::default(), Instant::now());
        let (mut scored, mut shed) = (vec![Vec::new(); 5], vec![Vec::new(); 5]);
        let mut free = 0;
        for at in 0..120_000 {
            let now = start + at * MS;
            if at % PERIOD == 0 {
                for stream in 0..LIVE_STREAMS {
                    queue.push(
                        Terms { due: Some(now + 1000 * MS), ..file(stream, 1) },
                        (stream, at / PERIOD, now),
                        now,
                    );
                }
                if at == 0 {
                    (0..200).for_each(|job| queue.push(file(LIVE_STREAMS, 1), (LIVE_STREAMS, job, now), now));
                }
            }
            if at >= free
                && let Turn::Batch(jobs) = queue.next(now, COST * MS)
            {
                free = at + COST;
                for (stream, job, since) in jobs {
                    assert!(stream == LIVE_STREAMS || now + COST * MS <= since + 1000 * MS + PERIOD * MS);
                    scored[stream as usize].push(job);
                }
            }
            queue.shed().into_iter().for_each(|(stream, job, _)| shed[stream as usize].push(job));
        }
        assert_eq!(scored[4], (0..100).collect::<Vec<_>>());
        assert!(shed[4].is_empty());
        for stream in 0..4 {
            assert!((98..=102).contains(&scored[stream].len()), "{}", scored[stream].len());
            assert!((97..=102).contains(&shed[stream].len()), "{}", shed[stream].len());
            // In any ten segments in a row, four to six were scored.
            for window in 0..190 {
                let of_ten = scored[stream].iter().filter(|&&job| (window..window + 10).contains(&job)).count();
                assert!((4..=6).contains(&of_ten), "{of_ten} of ten from {window}");
            }
        }
    }
}
