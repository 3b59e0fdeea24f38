//! Trains DeSumNet models, and measures what scores are worth. [`training`] makes a model file of the same clips that the elements score;
//! [`evaluation`] measures scores against people's summaries, and lets people judge time-lapses. [`foreign`] reads what others have written.

pub mod evaluation;
pub mod foreign;
pub mod training;
