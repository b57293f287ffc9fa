//! The replicated key/value state machine: commands, what they mean, how they and the
//! records are written as bytes. No input or output, no clock, no chance.
//!
//! ```text
//! front door      Batch::put / push(&Command)         borrowed keys and values, encoded once
//! leader          begin_payload + batches' bytes      one log entry, stamped with its clock
//! every replica   StateMachine::apply_entry(table)    in log order, the same everywhere
//! front door      Reply, one a command
//! ```
//!
//! Where to look: [`command`] and [`reply`] for what can be said, [`machine`] for what it
//! means and how time works, [`codec`] and [`batch`] for the bytes, [`table`] for what
//! storage must do, [`layout`] for how it stores, [`slot`] for hash slots, [`glob`] for
//! patterns, [`limits`] for every bound.
//!
//! # Trade-offs
//!
//! * Semantics are Redis's, to the last digit of `INCRBYFLOAT`, because its clients are
//!   ours; but expiry and relative deadlines follow the log's time, never a local clock.
//! * A record carries its number of writes from the first day, for compare-and-set; it
//!   starts again when a key is deleted and made anew.
//! * Commands borrow from the log entry: nothing is copied before it reaches the table,
//!   and a command can't outlive its entry.
//!
//! # It is not
//!
//! * A parser of any client's protocol: front doors turn words into commands, check
//!   lengths and refuse deadlines that Redis refuses.
//! * A guard against doing a command twice: client sessions come on top.

pub mod batch;
pub mod codec;
pub mod command;
mod extended;
pub mod glob;
pub mod layout;
pub mod limits;
pub mod machine;
pub mod number;
pub mod reply;
pub mod slot;
pub mod table;
pub mod value;

pub use batch::{Batch, begin_payload, decode_replies, encode_replies};
pub use codec::{DecodeError, encode_put};
pub use command::{
    AppendReturning, Command, Condition, Deadline, ExpireCondition, Expiry, Put, Returning,
};
pub use extended::Extended;
pub use glob::glob_match;
pub use machine::{ApplyError, StateMachine};
pub use reply::{Reply, ReplyError};
pub use slot::{SLOT_COUNT, hash_slot};
pub use table::{Record, Table};
pub use value::{Kind, Meta};
