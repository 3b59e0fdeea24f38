//! What the command lines of both programs share.

pub mod manual;
pub mod tell;
