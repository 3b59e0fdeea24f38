//! Live cameras: the moments that mattered, as clips.
//!
//! ```text
//! source -+-> packets  -> ring ----------------> cutter -> backlog -> recorder -> folder, events
//!         +-> pictures -> scorer -> decisions -----^
//! ```
//!
//! [`cameras`] are watched side by side, each [`camera`] by its own [`source`], [`cutter`] and [`clips`]. Nothing here scores: that is
//! an element's work, which the caller brings.

pub mod backlog;
pub mod camera;
pub mod cameras;
pub mod clips;
pub mod clock;
pub mod complaints;
pub mod cutter;
pub mod events;
pub mod folder;
mod intake;
pub mod keep;
mod lines;
pub mod metrics;
pub mod recorder;
pub mod ring;
pub mod source;
pub mod thumbnail;
