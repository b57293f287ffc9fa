//! What nobody knows.

use resp::Request;

use crate::resp_server::arguments::{from, text};
use crate::resp_server::error::CommandError;
use crate::resp_server::table::Spec;

/// Bytes of the name and of all arguments that the error quotes.
const QUOTED_BYTES_MAX: usize = 128;

/// The error for a command that doesn't exist, with the beginning of its arguments.
pub(in crate::resp_server) fn command(request: &Request<'_>) -> CommandError {
    let mut arguments = String::new();
    for argument in from(request, 1) {
        if arguments.len() >= QUOTED_BYTES_MAX {
            break;
        }
        let room = QUOTED_BYTES_MAX - arguments.len();
        arguments += &format!("'{}' ", text(&argument[..argument.len().min(room)]));
    }
    let name = &request[0];
    let name = text(&name[..name.len().min(QUOTED_BYTES_MAX)]);
    CommandError::new(format!(
        "ERR unknown command '{name}', with args beginning with: {arguments}"
    ))
}

/// The error for a subcommand that doesn't exist.
pub(in crate::resp_server) fn subcommand(container: &Spec, request: &Request<'_>) -> CommandError {
    let word = &request[1];
    CommandError::new(format!(
        "ERR unknown subcommand '{}'. Try {} HELP.",
        text(&word[..word.len().min(QUOTED_BYTES_MAX)]),
        container.name.to_ascii_uppercase()
    ))
}

/// Whether this is the first line of an HTTP request or its host header. A web page can make a
/// browser send one to a port of its victim, with commands in the body.
pub(in crate::resp_server) fn is_http(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:")
}
