//! Whether a node can serve, for those who ask from outside.

use crate::node::Handle;

/// Whether a leader is known and, if it is this node, has taken up its work.
pub(crate) fn is_ready(handle: &Handle) -> bool {
    let leadership = handle.shared.published.leadership();
    match leadership.leader {
        Some(leader) => leader != handle.shared.identity.node || leadership.serves,
        None => false,
    }
}
