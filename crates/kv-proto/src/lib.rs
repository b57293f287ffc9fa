//! The protobuf messages and gRPC stubs of the database, generated from `proto/`.
//!
//! A crate of its own, because the generated code is large and changes rarely: whoever
//! edits the node does not recompile it. `bytes` fields are `Bytes`, so that a value is
//! sliced out of the frame it arrived in rather than copied.

#![expect(
    unused_qualifications,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::clone_on_ref_ptr,
    clippy::doc_markdown,
    clippy::missing_errors_doc,
    clippy::must_use_candidate,
    clippy::too_many_lines,
    reason = "generated code"
)]

/// Package `kontiki.kv.v1`: keys and values.
pub mod kv {
    /// The first version of the package.
    pub mod v1 {
        tonic::include_proto!("kontiki.kv.v1");
    }
}

/// Package `kontiki.admin.v1`: status and membership.
pub mod admin {
    /// The first version of the package.
    pub mod v1 {
        tonic::include_proto!("kontiki.admin.v1");
    }
}

/// All files as an encoded `FileDescriptorSet`, for the reflection service.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
