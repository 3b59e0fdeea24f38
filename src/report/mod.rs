//! What people look at.

pub mod confusion;
pub mod curve;
pub mod document;
