//! Proves that a log gives back what was made durable, after any crash, and refuses damaged files.

mod crash;
mod files;
mod flip;
mod model;
mod random;
