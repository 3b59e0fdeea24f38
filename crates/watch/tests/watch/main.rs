//! Watching cameras.

mod cameras;
mod clips;
mod end_to_end;
mod source;
