//! The format that a person can read.

mod payload;

pub use payload::{EscapedText, PayloadText};
