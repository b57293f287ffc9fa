//! What a packet says, and what makes it notable.

use std::collections::BTreeMap;
use std::time::Instant;

use lsp_core::{Message, SeqNum, wire};

/// Messages that are remembered of each direction: more than any window.
const REMEMBERED_MAX: usize = 1 << 17;
/// Bytes of a payload that are shown.
const SHOWN_BYTES: usize = 16;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Direction {
    /// From a client to the server.
    There,
    /// From the server to a client.
    Back,
}

impl Direction {
    pub(super) const fn index(self) -> usize {
        match self {
            Self::There => 0,
            Self::Back => 1,
        }
    }

    const fn other(self) -> usize {
        1 - self.index()
    }
}

/// A packet in words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Described {
    pub(super) text: String,
    pub(super) is_heartbeat: bool,
}

/// What passed between one client and the server.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Data by number, one map a direction.
    data: [BTreeMap<SeqNum, Sent>; 2],
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    first: Instant,
    latest: Instant,
    times: u32,
    acked: bool,
}

impl Seen {
    pub(super) fn describe(
        &mut self,
        now: Instant,
        direction: Direction,
        datagram: &[u8],
    ) -> Described {
        if datagram.first().is_some_and(|first| first & 0x80 != 0) {
            return Described {
                text: describe_v2(datagram),
                is_heartbeat: false,
            };
        }
        match wire::decode(datagram) {
            Ok(message) => {
                let note = self.note(now, direction, &message);
                let is_heartbeat =
                    matches!(message, Message::Ack { seq, .. } if seq == SeqNum::ZERO);
                let text = match &message {
                    Message::Data { payload, .. } => {
                        format!("{message:?} {}{note}", preview(payload))
                    }
                    Message::Connect { .. } | Message::Ack { .. } | Message::CAck { .. } => {
                        format!("{message:?}{note}")
                    }
                };
                Described { text, is_heartbeat }
            }
            Err(error) => Described {
                text: format!("no message: {error}"),
                is_heartbeat: false,
            },
        }
    }

    /// What is notable about a message.
    fn note(&mut self, now: Instant, direction: Direction, message: &Message) -> String {
        match message {
            Message::Data { seq, .. } => self.note_data(now, direction, *seq),
            Message::Ack { seq, .. } => self.note_ack(now, direction, *seq),
            Message::CAck { seq, .. } => {
                let sent = &mut self.data[direction.other()];
                let newly: Vec<_> = sent.range_mut(..=*seq).filter(|(_, s)| !s.acked).collect();
                let count = newly.len();
                for (_, sent) in newly {
                    sent.acked = true;
                }
                format!("  acknowledges {count}")
            }
            Message::Connect { .. } => String::new(),
        }
    }

    fn note_data(&mut self, now: Instant, direction: Direction, seq: SeqNum) -> String {
        let sent = &mut self.data[direction.index()];
        if let Some(sent) = sent.get_mut(&seq) {
            let after = milliseconds(now, sent.latest);
            sent.times += 1;
            sent.latest = now;
            let useless = if sent.acked {
                ", acknowledged before"
            } else {
                ""
            };
            return format!("  time {}, {after} ms after the last{useless}", sent.times);
        }
        if sent.len() == REMEMBERED_MAX {
            sent.pop_first();
        }
        let one = Sent {
            first: now,
            latest: now,
            times: 1,
            acked: false,
        };
        sent.insert(seq, one);
        String::new()
    }

    fn note_ack(&mut self, now: Instant, direction: Direction, seq: SeqNum) -> String {
        let Some(sent) = self.data[direction.other()].get_mut(&seq) else {
            return String::new();
        };
        let again = if sent.acked { "again, " } else { "" };
        sent.acked = true;
        format!(
            "  {again}{} ms after it came by",
            milliseconds(now, sent.first)
        )
    }
}

/// The outer form of a packet of version 2; what is within is encrypted. The id is the one
/// that the receiver chose for the connection.
fn describe_v2(datagram: &[u8]) -> String {
    let length = datagram.len();
    let id = datagram.get(1..).and_then(|rest| rest.first_chunk());
    let Some(id) = id.copied().map(u64::from_be_bytes) else {
        return format!("no message: {length} B");
    };
    let number = datagram.get(9..).and_then(|rest| rest.first_chunk());
    let number = number.copied().map(u64::from_be_bytes);
    match (datagram[0], number) {
        (0x80 | 0x81, Some(number)) => format!("Packet {number} to {id:016x}, {length} B"),
        (0x90, _) => format!("Accept to {id:016x}, {length} B"),
        (0xa0, _) => format!("Retry to {id:016x}: ask again with this cookie, {length} B"),
        (0xb0, _) => format!("Reset of {id:016x}: no such connection, {length} B"),
        (kind, _) => format!("no message: kind {kind:#04x}, {length} B"),
    }
}

fn milliseconds(now: Instant, then: Instant) -> String {
    let seconds = now.saturating_duration_since(then).as_secs_f64();
    format!("{:.1}", seconds * 1e3)
}

fn preview(payload: &[u8]) -> String {
    let shown = &payload[..payload.len().min(SHOWN_BYTES)];
    let more = if shown.len() < payload.len() {
        ".."
    } else {
        ""
    };
    format!("\"{}\"{more}", shown.escape_ascii())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use lsp_core::ConnId;

    use super::*;

    fn encoded(message: &Message) -> Vec<u8> {
        let mut datagram = Vec::new();
        wire::encode(message, &mut datagram);
        datagram
    }

    #[test]
    fn what_is_notable_is_said() {
        let (id, seq) = (ConnId::new(1), SeqNum::new(8));
        let payload = Bytes::from_static(b"hello\n");
        let data = encoded(&Message::Data { id, seq, payload });
        let ack = encoded(&Message::Ack { id, seq });
        let start = Instant::now();
        let mut seen = Seen::default();
        let mut say = |after_ms, direction, datagram: &[u8]| {
            let now = start + Duration::from_millis(after_ms);
            seen.describe(now, direction, datagram).text
        };
        let (there, back) = (Direction::There, Direction::Back);
        assert_eq!(say(0, there, &data), r#"Data c1 s8 6 B "hello\n""#);
        assert_eq!(
            say(200, there, &data),
            r#"Data c1 s8 6 B "hello\n"  time 2, 200.0 ms after the last"#
        );
        assert_eq!(say(250, back, &ack), "Ack c1 s8  250.0 ms after it came by");
        assert_eq!(
            say(300, back, &ack),
            "Ack c1 s8  again, 300.0 ms after it came by"
        );
        assert_eq!(
            say(301, there, &data),
            r#"Data c1 s8 6 B "hello\n"  time 3, 101.0 ms after the last, acknowledged before"#
        );
        let all = encoded(&Message::CAck { id, seq });
        assert_eq!(say(302, back, &all), "CAck c1 s8  acknowledges 0");
        assert_eq!(say(303, there, b"{"), "no message: not a JSON message");
        assert_eq!(
            say(304, there, &[0x40; 30]),
            "no message: not a JSON message"
        );
    }

    #[test]
    fn version_2_shows_its_outer_form() {
        let packet = |kind: u8, length: usize| {
            let mut packet = vec![0; length];
            packet[0] = kind;
            packet[8] = 7;
            if length > 16 {
                packet[16] = 3;
            }
            describe_v2(&packet)
        };
        assert_eq!(packet(0x81, 40), "Packet 3 to 0000000000000007, 40 B");
        assert_eq!(packet(0x90, 90), "Accept to 0000000000000007, 90 B");
        assert_eq!(packet(0x80, 12), "no message: kind 0x80, 12 B");
        assert_eq!(describe_v2(&[0x80]), "no message: 1 B");
    }

    #[test]
    fn heartbeats_are_known() {
        let beat = encoded(&Message::heartbeat(ConnId::new(1)));
        let described = Seen::default().describe(Instant::now(), Direction::Back, &beat);
        assert!(described.is_heartbeat);
        assert_eq!(described.text, "Heartbeat c1");
    }
}
