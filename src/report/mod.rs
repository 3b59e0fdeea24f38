//! What people look at.

pub mod curve;
