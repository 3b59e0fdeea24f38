//! What the messages say of a clip: a kept stretch without a cut.

use desumnet_decide::live::Reason;

/// The clip that plays.
#[derive(Clone, Debug)]
pub struct Clip {
    /// Where its piece begins in the input: what tells it from the next one.
    pub from: u64,
    /// PTS of its first frame, and of the end of its latest one.
    pub start: Option<gst::ClockTime>,
    pub end: Option<gst::ClockTime>,
    /// Running time of its first frame in the output.
    pub output: gst::ClockTime,
    /// Highest of its segments, or of the plan's parts.
    pub score: Option<f64>,
    /// Of its first segment; there is none where a plan is followed.
    pub reason: Option<Reason>,
    /// Highest importance of its segments, and the category of the first.
    pub importance: Option<f64>,
    pub category: Option<String>,
}

impl Clip {
    /// Another frame of it, scored so.
    pub fn add(&mut self, score: Option<f64>, importance: Option<f64>, end: Option<gst::ClockTime>) {
        // `None` is the lowest.
        let highest = |a: Option<f64>, b: Option<f64>| if b > a { b } else { a };
        self.score = highest(self.score, score);
        self.importance = highest(self.importance, importance);
        self.end = end;
    }

    /// `start` and `end` (PTS in the input), `output-start` (running time in the output), `score` and `importance` (of
    /// `clip-start`: of its first segment; of `clip-end`: the highest of its segments; with a plan, only the part's `score`),
    /// `category`, `reason` (`important`, or `unscored`).
    pub fn message(&self, name: &str) -> gst::Structure {
        gst::Structure::builder(name)
            .field("start", self.start)
            .field_if_some("end", (name == END).then_some(self.end))
            .field("output-start", self.output)
            .field_if_some("score", self.score)
            .field_if_some("importance", self.importance)
            .field_if_some("category", self.category.as_ref())
            .field_if_some("reason", self.reason.map(Reason::name))
            .build()
    }
}

/// Names of the messages.
pub const START: &str = "clip-start";
pub const END: &str = "clip-end";
