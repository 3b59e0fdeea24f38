//! How much of what the best skim of a whole video shows, a live one shows too.
//!
//! `desumnet score VIDEOS --json FOLDER`, then `SCORES=FOLDER cargo test -p desumnet-offline --test online_share -- --ignored --nocapture`.

use desumnet_decide::{
    choose::{Choice, value},
    online::{Online, Segment, Settings},
    shot_scores::{Scored, at_least, score_shots},
};
use desumnet_offline::VideoScores;

/// What the segments show that a live skim keeps, as a share of what the best shots show within the same time: the budget, or the
/// time that the live one keeps where that is more; `None` where no shot is that short. Worth is importance in the whole video; the live skim knows its rank so far.
fn share(scores: &VideoScores, settings: Settings) -> Option<f64> {
    let worth = |s: &desumnet_offline::SegmentScores| Scored {
        start_ns: s.start_ns,
        duration_ns: s.duration_ns,
        score: s.importance.into(),
    };
    let segments: Vec<Scored> = scores.segments.iter().map(worth).collect();
    let mut online = Online::new(settings);
    let mut decisions = Vec::new();
    for s in &scores.segments {
        decisions.extend(online.push(Segment {
            start: s.start_ns,
            duration: s.duration_ns,
            score: Some(s.score.into()),
            of_category: true,
        }));
    }
    decisions.extend(online.finish());
    let kept: Vec<usize> = (0..decisions.len()).filter(|&i| decisions[i].keep).collect();
    let time: u64 = kept.iter().map(|&i| segments[i].duration_ns).sum();
    let shots: Vec<(u64, u64)> = scores.shots.iter().map(|s| (s.start_ns, s.duration_ns)).collect();
    let shots = at_least(score_shots(&shots, &segments), settings.min_clip);
    let room = time.max((settings.ratio * scores.duration_ns as f64) as u64);
    let best = Choice::Knapsack.of(&shots, room);
    (!best.is_empty()).then(|| value(&segments, &kept) / value(&shots, &best))
}

#[test]
#[ignore = "measures the scores in the folder SCORES"]
fn a_live_skim_catches_most_of_the_best_one() {
    let folder = std::env::var_os("SCORES").expect("SCORES names a folder of what `desumnet score --json` writes");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "SCORES holds no scores");
    println!("| video | length, s | look-ahead 5 s | 10 s | 15 s |\n|---|---|---|---|---|");
    let mut at_ten = Vec::new();
    for file in files {
        let scores: VideoScores = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let of = |seconds: u64| share(&scores, Settings { look_ahead: seconds * 1_000_000_000, ..Settings::default() });
        let name = file.file_stem().unwrap().to_string_lossy();
        let shares = [5, 10, 15].map(|s| of(s).map_or("no shot fits".into(), |share| format!("{share:.2}")));
        println!("| {name} | {:.0} | {} |", scores.duration_ns as f64 / 1e9, shares.join(" | "));
        at_ten.extend(of(10));
    }
    let mean = at_ten.iter().sum::<f64>() / at_ten.len() as f64;
    assert!(mean >= 0.9, "{mean:.2} of the best skim on average, with a look-ahead of 10 s");
}
