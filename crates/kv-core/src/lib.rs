//! Commands, key layout and the replicated key/value state machine; no IO, no clock.

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
