//! Training (paper, sections 3.2 and 4): from a folder of videos with a category each to a model file.

pub mod accuracy;
pub mod augment;
pub mod data;
pub mod network;
pub mod trainer;
