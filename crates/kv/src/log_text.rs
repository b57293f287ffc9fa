//! The log's entries as a person reads them, for [`wal::dump`].

use std::borrow::Cow;
use std::fmt::Write as _;

use bytes::Bytes;
use kv_core::{Command, StateMachine};
use wal::PayloadText;

use crate::node::log_writer::{KIND_DATA, KIND_MEMBERSHIP, KIND_NOOP};

/// What is shown of an entry unless all of it is wanted.
const COMMANDS_SHOWN: usize = 8;
const KEY_BYTES_SHOWN: usize = 64;
const VALUE_BYTES_SHOWN: usize = 32;

/// Shows commands, keys and values.
#[derive(Clone, Copy, Debug)]
pub struct LogText {
    /// How much of an entry is shown.
    pub extent: Extent,
}

/// How much of an entry is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Extent {
    /// A few commands and the beginning of each value.
    Brief,
    /// All of it.
    Full,
}

impl PayloadText for LogText {
    fn kind_name(&self, kind: u8) -> Option<Cow<'static, str>> {
        let name = match kind {
            KIND_NOOP => "noop",
            KIND_MEMBERSHIP => "members",
            KIND_DATA => "commands",
            _ => return None,
        };
        Some(name.into())
    }

    fn kind_named(&self, name: &str) -> Option<u8> {
        [KIND_NOOP, KIND_MEMBERSHIP, KIND_DATA]
            .into_iter()
            .find(|&kind| self.kind_name(kind).as_deref() == Some(name))
    }

    fn render(&self, kind: u8, payload: &[u8]) -> Option<String> {
        match kind {
            KIND_NOOP => Some(String::new()),
            KIND_MEMBERSHIP => members(payload),
            KIND_DATA => self.commands(payload),
            _ => None,
        }
    }

    /// What is shown is not all there is.
    fn parse(&self, _kind: u8, _text: &str) -> Option<Bytes> {
        None
    }
}

impl LogText {
    fn commands(self, payload: &[u8]) -> Option<String> {
        let mut machine = StateMachine::default();
        let mut commands = machine.begin(payload).ok()?;
        let mut text = format!("at {} ms:", machine.now_ms());
        let mut count = 0;
        while !commands.is_empty() {
            let command = Command::decode(&mut commands).ok()?;
            count += 1;
            if self.extent == Extent::Full || count <= COMMANDS_SHOWN {
                text.push_str(if count == 1 { " " } else { "; " });
                self.command(&mut text, &command);
            }
        }
        if self.extent == Extent::Brief && count > COMMANDS_SHOWN {
            // Writing to a string can't fail.
            let _ = write!(text, "; and {} more", count - COMMANDS_SHOWN);
        }
        Some(text)
    }

    fn command(self, text: &mut String, command: &Command<'_>) {
        let (name, value) = match command {
            Command::Get { .. } => ("get", None),
            Command::Put(put) => ("put", Some(put.value)),
            Command::Append { value, .. } => ("append", Some(*value)),
            Command::SetRange { value, .. } => ("setrange", Some(*value)),
            Command::Delete { .. } => ("delete", None),
            Command::DeleteIf { .. } => ("delete-if", None),
            Command::Increment { .. } => ("increment", None),
            Command::IncrementFloat { by, .. } => ("increment-float", Some(*by)),
            Command::GetDelete { .. } => ("get-delete", None),
            Command::GetExpire { .. } => ("get-expire", None),
            Command::Expire { .. } => ("expire", None),
            Command::Persist { .. } => ("persist", None),
            Command::MultiPut { .. } => ("multi-put", None),
            Command::Rename { target, .. } => ("rename", Some(*target)),
            Command::Clear => ("clear", None),
            Command::Tick => ("tick", None),
        };
        text.push_str(name);
        if let Some(key) = command.first_key() {
            text.push(' ');
            self.bytes(text, key, KEY_BYTES_SHOWN);
        }
        let more = match command {
            Command::Delete { keys } => keys.len().saturating_sub(1),
            Command::MultiPut { pairs, .. } => pairs.len().saturating_sub(1),
            _ => 0,
        };
        if more > 0 {
            let _ = write!(text, " and {more} more keys");
        }
        if let Some(value) = value {
            text.push(' ');
            self.bytes(text, value, VALUE_BYTES_SHOWN);
        }
    }

    /// Bytes in quotation marks, escaped, and cut if they are many.
    fn bytes(self, text: &mut String, bytes: &[u8], shown: usize) {
        let cut = self.extent == Extent::Brief && bytes.len() > shown;
        let part = if cut { &bytes[..shown] } else { bytes };
        let _ = write!(text, "\"{}\"", part.escape_ascii());
        if cut {
            let _ = write!(text, ".. ({} bytes)", bytes.len());
        }
    }
}

fn members(payload: &[u8]) -> Option<String> {
    let mut payload = Bytes::copy_from_slice(payload);
    let membership = raft::wire::decode_membership(&mut payload).ok()?;
    let list = |nodes: &std::collections::BTreeSet<stdx::NodeId>| {
        let nodes: Vec<String> = nodes.iter().map(ToString::to_string).collect();
        nodes.join(" ")
    };
    let mut text = format!("voters {}", list(&membership.voters));
    for (name, nodes) in [
        ("outgoing", &membership.outgoing),
        ("learners", &membership.learners),
    ] {
        if !nodes.is_empty() {
            let _ = write!(text, ", {name} {}", list(nodes));
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kv_core::{Batch, begin_payload};
    use raft::Membership;
    use stdx::NodeId;

    use super::*;

    fn payload(batch: &Batch) -> BytesMut {
        let mut payload = BytesMut::new();
        begin_payload(&mut payload, 7);
        payload.extend_from_slice(batch.bytes());
        payload
    }

    #[test]
    fn commands_are_shown_briefly_or_in_full() {
        let mut batch = Batch::new();
        batch.put(b"name", b"line\n\"quoted\"");
        batch.push(&Command::Delete {
            keys: vec![b"a", b"b", b"c"],
        });
        batch.put(b"long", &[b'v'; 40]);
        let brief = LogText {
            extent: Extent::Brief,
        };
        let text = brief.render(KIND_DATA, &payload(&batch)).unwrap();
        let value = "v".repeat(32);
        assert_eq!(
            text,
            format!(
                "at 7 ms: put \"name\" \"line\\n\\\"quoted\\\"\"; delete \"a\" and 2 more keys; \
                 put \"long\" \"{value}\".. (40 bytes)"
            )
        );
        for _ in 0..20 {
            batch.push(&Command::Tick);
        }
        let text = brief.render(KIND_DATA, &payload(&batch)).unwrap();
        assert!(text.ends_with("tick; and 15 more"), "{text}");
        let full = LogText {
            extent: Extent::Full,
        };
        let text = full.render(KIND_DATA, &payload(&batch)).unwrap();
        assert!(
            text.contains(&"v".repeat(40)) && text.ends_with("tick"),
            "{text}"
        );
    }

    #[test]
    fn members_are_shown_and_what_is_not_understood_is_left_to_others() {
        let text = LogText {
            extent: Extent::Brief,
        };
        let membership = Membership::of_voters([NodeId::new(1), NodeId::new(2)]);
        let mut payload = BytesMut::new();
        raft::wire::encode_membership(&membership, &mut payload);
        let shown = text.render(KIND_MEMBERSHIP, &payload);
        assert_eq!(shown.as_deref(), Some("voters n1 n2"));
        assert_eq!(text.render(KIND_DATA, b"\x09nonsense"), None);
        assert_eq!(text.render(77, b""), None);
        assert_eq!(text.kind_named("commands"), Some(KIND_DATA));
        assert_eq!(text.kind_named("other"), None);
    }
}
