//! What people look at, and what their editors and players import.
//!
//! [`page`], [`csv`], [`otio`], [`edl`] and [`chapters`] each tell a [`Summary`], a video's scores and what a skim takes
//! of it, in another way: a plain function from data to text. [`picture`] draws it, [`confusion`] draws a matrix, [`document`]
//! writes JSON.

pub mod chapters;
pub mod clock;
pub mod confusion;
pub mod csv;
pub mod document;
pub mod edl;
pub mod otio;
pub mod page;
pub mod picture;
mod summary;
pub mod template;

pub use summary::{Files, Part, Segment, Shot, Summary};
