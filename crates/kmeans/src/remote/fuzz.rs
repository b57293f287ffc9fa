//! The body of a fuzz target: messages between master, mappers and reducers.

use std::fmt::Debug;

use prost::Message;

use super::{codec, proto, segment_from_proto, segment_to_proto, worker};
use crate::part::Question;

/// The first byte chooses the message, the rest is it.
pub(crate) fn run(bytes: &[u8]) {
    let Some((what, bytes)) = bytes.split_first() else {
        return;
    };
    match what % 7 {
        0 => part(travels::<proto::LoadRequest>(bytes).and_then(|load| load.part)),
        1 => {
            if let Some(map) = travels::<proto::MapRequest>(bytes) {
                let dimension = map.part.as_ref().map_or(0, |part| part.dimension as usize);
                let _refused = worker::centers_of(&map.centers, dimension.max(1));
                part(map.part);
            }
        }
        2 => {
            if let Some(reply) = travels::<proto::FetchReply>(bytes) {
                let _refused = codec::to_u64(&reply.counts);
                let _refused = codec::to_i64(&reply.sums);
            }
        }
        3 => {
            travels::<proto::ReduceRequest>(bytes);
        }
        4 => {
            if let Some(ask) = travels::<proto::AskRequest>(bytes) {
                question(&ask.question);
                part(ask.part);
            }
        }
        5 => {
            if let Some(reply) = travels::<proto::AskReply>(bytes) {
                let _refused = codec::to_u128(&reply.total);
                for row in &reply.rows {
                    let _refused = codec::to_f32(&row.values);
                }
            }
        }
        _ => {
            if let Some(reply) = travels::<proto::AssignReply>(bytes) {
                let _refused = codec::to_u32(&reply.centers);
            }
        }
    }
}

fn travels<M: Message + Default + PartialEq + Debug>(bytes: &[u8]) -> Option<M> {
    let message = M::decode(bytes).ok()?;
    let again = M::decode(&*message.encode_to_vec()).expect("what was written can be read");
    // NaN is not equal to itself; its bytes are.
    assert_eq!(message.encode_to_vec(), again.encode_to_vec());
    Some(message)
}

/// A part is refused, or all its segments are what they were.
fn part(part: Option<proto::Part>) {
    let segments = part.as_ref().map(|part| part.segments.clone());
    let Ok(_described) = worker::describe(part) else {
        return;
    };
    for segment in segments.unwrap_or_default() {
        let known = segment_from_proto(&segment).expect("it was just described");
        let again = segment_from_proto(&segment_to_proto(&known));
        assert_eq!(again.as_ref(), Some(&known));
    }
}

fn question(text: &str) {
    if let Ok(question) = serde_json::from_str::<Question>(text) {
        let written = serde_json::to_string(&question).expect("a question is plain data");
        let again: Question = serde_json::from_str(&written).expect("it was just written");
        assert_eq!(again, question, "{text}");
    }
}

/// A part with a segment of every kind.
fn sample_part() -> Option<proto::Part> {
    let segment = |format, kind: &str| proto::Segment {
        location: "points".to_owned(),
        format,
        start: 10,
        length: 90,
        kind: kind.to_owned(),
        size: 100,
        compression: 1,
        header: 4,
        group: 2,
        before: 50,
    };
    Some(proto::Part {
        run: 7,
        part: 1,
        segments: vec![segment(1, ""), segment(2, "<f4"), segment(3, "")],
        dimension: 2,
        shift: vec![0.5, -1.0],
        first_row: 100,
    })
}

/// One message of every kind.
///
/// # Panics
///
/// Never: questions are plain data.
#[must_use]
pub fn samples() -> Vec<Vec<u8>> {
    let part = sample_part();
    let centers = codec::from_f64(&[1.0, 2.0, 3.0, 4.0]);
    let question = Question::Oversample {
        seed: 1,
        round: 2,
        factor: 0.25,
    };
    vec![
        encoded(0, &proto::LoadRequest { part: part.clone() }),
        encoded(
            1,
            &proto::MapRequest {
                part: part.clone(),
                step: 3,
                centers: centers.clone(),
                scale: 20,
                reducers: 2,
                ..proto::MapRequest::default()
            },
        ),
        encoded(
            2,
            &proto::FetchReply {
                counts: codec::from_u64(&[1, 2]),
                sums: codec::from_i64(&[-1, 2, 3, -4]),
            },
        ),
        encoded(
            4,
            &proto::AskRequest {
                part,
                question: serde_json::to_string(&question).expect("a question is plain data"),
                centers,
            },
        ),
        encoded(
            5,
            &proto::AskReply {
                counts: codec::from_u64(&[5]),
                total: codec::from_u128(1 << 70),
                rows: vec![proto::Row {
                    row: 3,
                    key: 0.5,
                    center: 1,
                    values: codec::from_f32(&[0.5, 1.5]),
                }],
            },
        ),
        encoded(
            6,
            &proto::AssignReply {
                centers: codec::from_u32(&[0, 1, 1]),
            },
        ),
    ]
}

fn encoded(what: u8, message: &impl Message) -> Vec<u8> {
    let mut bytes = vec![what];
    bytes.extend_from_slice(&message.encode_to_vec());
    bytes
}
