//! What a peer may ask the decoder to hold.

/// Bounds of one request.
///
/// The defaults are Redis's, except for the size of an argument and of a whole request:
/// Redis allows 512 MiB and 1 GiB there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Bytes of one argument.
    pub bulk_bytes_max: usize,
    /// Arguments of one request.
    pub arguments_max: usize,
    /// Bytes of an inline request, and of a line that announces a length.
    pub line_bytes_max: usize,
    /// Bytes of a whole request: bounds what a connection can make the server buffer.
    pub request_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bulk_bytes_max: 16 << 20,
            arguments_max: 1 << 20,
            line_bytes_max: 64 << 10,
            request_bytes_max: 64 << 20,
        }
    }
}
