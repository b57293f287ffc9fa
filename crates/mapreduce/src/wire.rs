//! Messages between processes: the generated code, and JSON in and out of it.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Context as _, Error};

/// Generated from `proto/kontiki/mapreduce/v1`.
#[expect(
    unreachable_pub,
    unused_qualifications,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::clone_on_ref_ptr,
    clippy::doc_markdown,
    clippy::too_many_lines,
    reason = "generated code"
)]
pub(crate) mod v1 {
    tonic::include_proto!("kontiki.mapreduce.v1");
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Result<bytes::Bytes, Error> {
    serde_json::to_vec(value)
        .map(bytes::Bytes::from)
        .context("a message can't be written as JSON")
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).context("a message is not the JSON that it should be")
}
