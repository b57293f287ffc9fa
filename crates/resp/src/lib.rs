//! The Redis serialization protocol, versions 2 and 3: decoder and encoder; no IO.
//!
//! A server holds one [`Decoder`] and one read buffer per connection. It asks the decoder
//! for requests until there is none left, and writes the replies with an [`Encoder`] into
//! one output buffer, so that a pipeline of any length costs one read and one write:
//!
//! ```text
//! loop {
//!     read into input
//!     while let Some(request) = decoder.decode(&input[done..])? {
//!         done += request.consumed();
//!         answer(request, &mut Encoder::new(&mut output, protocol));
//!     }
//!     input.advance(done); write output
//! }
//! ```
//!
//! # What it promises
//!
//! * Arguments are slices of the input: a request is decoded without copying or allocating,
//!   except for inline requests, whose quotes must be resolved.
//! * Decoding is incremental: a request that arrives in a thousand pieces is scanned once,
//!   not a thousand times.
//! * Everything that a peer can make large has a limit in [`Limits`].
//! * No byte sequence makes it panic. Errors are what Redis answers to the same bytes,
//!   word for word; after one, the connection can only be closed.
//!
//! # It is not
//!
//! * a client: [`ValueDecoder`] reads replies for tests and benches, and knows nothing of
//!   pipelines or reconnects;
//! * a table of commands: it doesn't know what `GET` is.

pub mod fuzz;

mod inline;
mod limits;
mod number;
mod reply;
mod request;
mod value;

pub use limits::Limits;
pub use number::{U64_DIGITS_MAX, format_u64, parse_i64};
pub use reply::{Encoder, Protocol};
pub use request::{Decoder, ProtocolError, Request};
pub use value::{Value, ValueDecoder, ValueError, encode_request};
