//! Where a file can be cut without decoding it.

use std::collections::BTreeMap;

use desumnet_decide::{
    plan::{Part, Plan, PlanError},
    shot_scores::Scored,
};

/// Times, ns, at which a file can be cut without decoding it: those of its key frames, and its end. With what copying needs to
/// know of the pictures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grid {
    places: Vec<u64>,
    /// Of key frames of open groups: where a part ends that takes the key frame along. Pictures that play before it need it.
    open: BTreeMap<u64, u64>,
    /// How many pictures that play later come before a picture at most.
    pub(super) reorder: usize,
    /// From one picture to the next, ns.
    pub(super) spacing: u64,
    /// How long the pictures are that nobody is to see but the first part needs, ns: of a trimmed file.
    pub(super) hidden: u64,
    /// When the stream's first picture plays, ns: all other times count from there.
    pub(super) starts: i64,
}

/// An encoded picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// In the video, ns; below 0: hidden.
    pub time: i64,
    /// ns; 0: unknown.
    pub duration: u64,
    pub is_key: bool,
}

/// A key frame and what is decoded after it.
struct Group {
    key: Encoded,
    /// Of the pictures that are seen.
    first: Option<u64>,
    is_open: bool,
}

impl Grid {
    /// Of a stream's pictures in the order of decoding, the first of which plays at `starts`, ns.
    pub(super) fn of_pictures(mut pictures: Vec<Encoded>, starts: i64) -> Option<Self> {
        for picture in &mut pictures {
            picture.time -= starts;
        }
        Some(Self { starts, ..Self::new(&pictures)? })
    }

    /// Of a stream's pictures in the order of decoding; `None` if none of them is a key frame.
    pub fn new(pictures: &[Encoded]) -> Option<Self> {
        let mut groups: Vec<Group> = Vec::new();
        for picture in pictures {
            if picture.is_key {
                groups.push(Group { key: *picture, first: None, is_open: false });
            }
            let Some(group) = groups.last_mut() else { continue };
            group.is_open |= picture.time < group.key.time;
            if let Ok(time) = u64::try_from(picture.time)
                && picture.time >= group.key.time
            {
                group.first = Some(group.first.map_or(time, |first| first.min(time)));
            }
        }
        let mut times: Vec<i64> = pictures.iter().map(|picture| picture.time).collect();
        times.sort_unstable();
        let spacing = match times[..] {
            [first, .., last] => first.abs_diff(last) / (times.len() as u64 - 1),
            _ => 0,
        };
        let length = |picture: &Encoded| if picture.duration > 0 { picture.duration } else { spacing.max(1) };
        let end = pictures.iter().filter_map(|p| (p.time + length(p) as i64).try_into().ok()).max()?;
        let seen = groups.iter().filter_map(|group| Some((group, group.first?)));
        let mut places: Vec<u64> = seen.clone().map(|(_, first)| first).chain([end]).collect();
        places.sort_unstable();
        places.dedup();
        let open = seen.clone().filter(|(group, first)| group.is_open && group.key.time == *first as i64);
        Some(Self {
            open: open.map(|(group, first)| (first, (first + length(&group.key)).min(end))).collect(),
            reorder: reorder(pictures),
            spacing,
            hidden: seen.clone().next().map(|(group, first)| hidden(group, first))?,
            starts: 0,
            places: if places.len() > 1 { places } else { return None },
        })
    }

    /// Whether it is the first place at which a part may begin.
    pub(super) fn begins_at(&self, time: u64) -> bool {
        self.places.first() == Some(&time)
    }

    /// Start and duration, ns, of shots whose borders are moved to the nearest places of the grid; one too short to hold any goes
    /// into its neighbours.
    pub fn fit(&self, shots: &[Scored]) -> Vec<(u64, u64)> {
        let moved = shots.iter().map(|shot| (self.nearest(shot.start_ns), self.nearest(shot.end_ns())));
        moved.filter(|(start, end)| end > start).map(|(start, end)| (start, end - start)).collect()
    }

    /// Whether every part of the plan begins and ends at a place of the grid.
    pub fn holds(&self, plan: &Plan) -> bool {
        let on_grid = |time| self.places.binary_search(&time).is_ok();
        plan.parts().iter().all(|part| on_grid(part.start_ns) && on_grid(part.end_ns()))
    }

    /// The plan with its borders moved to the nearest places of the grid; parts that come to touch stay apart.
    ///
    /// # Errors
    /// [`PlanError::Empty`]: no part is long enough to hold one.
    pub fn fit_plan(&self, plan: &Plan) -> Result<Plan, PlanError> {
        let fit = |part: &Part| {
            let (start_ns, end) = (self.nearest(part.start_ns), self.nearest(part.end_ns()));
            (end > start_ns).then(|| Part { start_ns, duration_ns: end - start_ns, ..*part })
        };
        Plan::new(plan.parts().iter().filter_map(fit).collect())
    }

    /// How much of a plan is after the last picture, ns.
    pub fn lacks(&self, plan: &Plan) -> u64 {
        let end = self.places.last().copied().unwrap_or(0);
        plan.parts().iter().map(|part| part.end_ns().saturating_sub(part.start_ns.max(end))).sum()
    }

    /// The plan with the key frame behind each part whose last pictures need it: as far as all is no longer than `room`, ns.
    ///
    /// # Errors
    /// [`PlanError`]
    pub fn close(&self, plan: &Plan, room: u64) -> Result<Plan, PlanError> {
        let mut parts = plan.parts().to_vec();
        let mut left = room.saturating_sub(plan.played_ns());
        for i in 0..parts.len() {
            let end = parts[i].end_ns();
            let next = parts.get(i + 1).map(|next| next.start_ns);
            let Some(more) = self.open.get(&end).map(|closed| closed - end).filter(|&more| more <= left) else {
                continue;
            };
            if next.is_none_or(|next| next >= end + more) {
                parts[i].duration_ns += more;
                left -= more;
            }
        }
        Plan::new(parts)
    }

    fn nearest(&self, time: u64) -> u64 {
        let after = self.places.partition_point(|&place| place < time);
        let near = self.places[after.saturating_sub(1)..].iter().take(2).copied();
        near.min_by_key(|place| place.abs_diff(time)).unwrap_or(time)
    }
}

/// How long the pictures are from a group's key frame to the first that is seen, ns, if the key frame is not.
fn hidden(group: &Group, first: u64) -> u64 {
    if group.key.time < 0 { first.saturating_add_signed(group.key.time.saturating_neg()) } else { 0 }
}

/// How many pictures at most are decoded before one and play after it.
fn reorder(pictures: &[Encoded]) -> usize {
    // Decoders hold 16 at most; a few more may stand before them.
    const WINDOW: usize = 32;
    let before = |i: usize| &pictures[i.saturating_sub(WINDOW)..i];
    let later = |i: usize| before(i).iter().filter(|picture| picture.time > pictures[i].time).count();
    (0..pictures.len()).map(later).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One every 10, in the order of decoding; key frames are marked.
    fn grid(pictures: &[(i64, bool)]) -> Grid {
        let encoded = |&(time, is_key): &(i64, bool)| Encoded { time, duration: 10, is_key };
        Grid::new(&pictures.iter().map(encoded).collect::<Vec<_>>()).unwrap()
    }

    fn part(start_ns: u64, end: u64) -> Part {
        Part { start_ns, duration_ns: end - start_ns, score: 0.5, speed: 1.0 }
    }

    fn plan(parts: &[(u64, u64)]) -> Plan {
        Plan::new(parts.iter().map(|&(start, end)| part(start, end)).collect()).unwrap()
    }

    #[test]
    fn borders_go_to_the_nearest_key_frame() {
        let grid = grid(&[(0, true), (100, true), (300, true), (410, false)]);
        let shot = |start_ns, end: u64| Scored { start_ns, duration_ns: end - start_ns, score: 0.0 };
        // The second one holds no key frame of its own.
        let shots = [shot(0, 90), shot(90, 110), shot(110, 290), shot(290, 425)];
        assert_eq!(grid.fit(&shots), [(0, 100), (100, 200), (300, 120)]);
        let plan = plan(&[(20, 80), (90, 105), (190, 430)]);
        assert!(!grid.holds(&plan));
        let fitted = grid.fit_plan(&plan).unwrap();
        assert_eq!(fitted.parts(), [part(0, 100), part(100, 420)]);
        assert!(grid.holds(&fitted));
        let short = Plan::new(vec![part(10, 30)]).unwrap();
        assert!(matches!(grid.fit_plan(&short), Err(PlanError::Empty)));
    }

    #[test]
    fn a_part_takes_the_key_frame_along_that_its_last_pictures_need() {
        // Two open groups, then a closed one.
        let open = [(0, true), (20, false), (10, false), (50, true), (30, false), (40, false), (60, false)];
        let rest = [(90, true), (70, false), (80, false), (100, true), (110, false)];
        let grid = grid(&[&open[..], &rest].concat());
        assert_eq!(grid.places, [0, 50, 90, 100, 120]);
        assert_eq!((grid.reorder, grid.spacing, grid.hidden), (1, 10, 0));
        let closed = |parts: &[(u64, u64)], room| grid.close(&plan(parts), room).unwrap().parts().to_vec();
        assert_eq!(closed(&[(0, 50), (90, 100)], 1_000), [part(0, 60), part(90, 100)]);
        assert_eq!(closed(&[(0, 50), (50, 90)], 1_000), [part(0, 50), part(50, 100)]);
        assert_eq!(grid.lacks(&plan(&[(0, 50), (100, 300), (400, 410)])), 190);
        // As long as may be, and not longer.
        assert_eq!(closed(&[(0, 50), (100, 120)], 79), [part(0, 50), part(100, 120)]);
    }

    #[test]
    fn the_hidden_start_of_a_trimmed_file_goes_with_its_first_part() {
        let grid = grid(&[(-55, true), (-25, false), (-45, false), (-35, false), (5, false), (-5, false), (15, true)]);
        assert_eq!((grid.places.clone(), grid.hidden, grid.reorder), (vec![5, 15, 25], 60, 1));
        // Nothing of the first group is seen.
        let unseen = super::tests::grid(&[(-20, true), (-10, false), (0, true), (10, false)]);
        assert_eq!((unseen.places, unseen.hidden), (vec![0, 20], 0));
    }

    #[test]
    fn without_a_key_frame_there_is_no_grid() {
        let delta = Encoded { time: 0, duration: 10, is_key: false };
        assert_eq!(Grid::new(&[delta]), None);
        assert_eq!(Grid::new(&[]), None);
    }

    #[test]
    fn pyramids_of_pictures_are_counted() {
        let pictures = [(0, true), (80, false), (40, false), (20, false), (10, false), (30, false), (60, false)];
        assert_eq!(grid(&pictures).reorder, 3);
    }
}
