//! Whole files of video: their scores ([`score`]), kept from run to run by [`score_cache`]; and what people marked in them ([`marks`]), which
//! [`gather`] looks at to teach by it.

pub mod gather;
pub mod marks;
pub mod score_cache;
mod scores;

pub use scores::*;
