//! Proves that the codec reads and writes what Redis does, however the bytes arrive.

mod fuzz;
mod replies;
mod requests;
