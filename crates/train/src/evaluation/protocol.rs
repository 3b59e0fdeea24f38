//! The rules of the measurement. Where the paper (section 4.1) leaves one open, it is a setting; docs/EVALUATION.md tells what
//! each makes of the rows for people.

use std::ops::Range;

use clap::ValueEnum;
use serde::Serialize;

use super::{annotations::Kind, f_score::Over, precision_at::Depth, segmentation::Segmentation};

/// The settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Options {
    /// Which shots are ranked.
    pub shots: Segmentation,
    /// The share of a video that a person's summary has, where people gave scores (TVSum): the paper's half, 0.5.
    pub share: f64,
    pub share_of: ShareOf,
    pub order: Order,
    pub ties: Ties,
    pub against: Against,
    pub depth: Depth,
    /// The longest that a summary may be for the F-score, of the video: 0.15 as in the field.
    pub length: f64,
    /// By whom a video's F-score is.
    pub f_score: Over,
}

/// Of what a person's summary has a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ShareOf {
    /// Of the time: the best shots that fit, as the paper makes any skim. Nearest to the paper's rows for people.
    Time,
    /// Of the number of shots, rounded: the paper's words.
    Shots,
}

/// How a person's own shots are ranked against other people's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// The shots of the summary first, in no order: it is summaries that the paper compares, and CoSum's people gave no order. Nearest
    /// to the paper's rows for people.
    Summary,
    /// By the mean of the person's frame scores. Where people only chose frames, by the share that was chosen.
    Scores,
}

/// How shots of equal score are ranked. The shots of a person's summary of scores fall to the shorter one in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ties {
    /// In all orders: the exact mean over them. No order of the shots is favoured.
    Exact,
    /// The shorter shot first, then the earlier one: the paper's rule for skims.
    Shorter,
    /// The earlier shot first.
    Earlier,
}

/// Against whom a person is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Against {
    /// Everybody else: "the rest of the human-created groundtruth summaries" of the paper.
    Others,
    /// Everybody: people, like methods, are measured against all summaries, but agree with themselves. Nearer still to the paper's rows.
    All,
}

impl Options {
    /// The defaults for a data set.
    pub fn usual(kind: Kind) -> Self {
        Self {
            shots: Segmentation::usual(kind),
            share: 0.5,
            share_of: ShareOf::Time,
            order: Order::Summary,
            ties: Ties::Exact,
            against: Against::Others,
            depth: Depth::Relevant,
            length: 0.15,
            f_score: if kind == Kind::Summe { Over::Max } else { Over::Mean },
        }
    }
}

impl Ties {
    /// Numbers that rank the shots by falling score, ties by this rule: equal ones only where the rule is [`Ties::Exact`].
    pub fn ranking(self, scores: &[f64], shots: &[Range<usize>]) -> Vec<f64> {
        let length = |shot: usize| if self == Self::Shorter { shots[shot].len() } else { 0 };
        if self == Self::Exact {
            return scores.to_vec();
        }
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(length(a).cmp(&length(b))));
        let mut ranking = vec![0.0; scores.len()];
        for (place, shot) in order.into_iter().enumerate() {
            ranking[shot] = -(place as f64);
        }
        ranking
    }
}
