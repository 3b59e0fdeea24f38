//! How good scores are, measured against what is known.

pub mod average_precision;
