//! Every phase of a connection against everything that can happen to it.
//!
//! The first test prints the table of phases; the page of the specification must hold
//! the same. The second puts a real connection into each phase, lets each thing happen to
//! it, and prints what it answers, does and sends: the whole behaviour on one page.

use bytes::Bytes;
use expect_test::expect;
use lsp_core::{Config, ConnId, Connection, Message, Phase, SeqNum, TransitionTable, Trigger};
use stdx::Instant;

use crate::net::ms;

// spec: LSP-7.1
#[test]
fn the_table_of_phases_is_the_one_in_the_specification() {
    let table = TransitionTable.to_string();
    let page = include_str!("../../../../docs/spec/lsp.md");
    assert!(page.contains(&table), "docs/spec/lsp.md needs:\n{table}");
    for trigger in Trigger::ALL {
        assert_eq!(Phase::Closed.next(trigger), None, "closed is the end");
        assert_eq!(Phase::Lost.next(trigger), None, "lost is the end");
    }
}

const ID: ConnId = ConnId::new(1);
const ISN: SeqNum = SeqNum::new(7);

fn seq(offset: u64) -> SeqNum {
    ISN.plus(offset)
}

/// A client's connection in a phase, with one message sent and one more waiting where
/// that is possible, and one message that can be read. Quiet: all that was due is sent.
fn connection_in(phase: Phase) -> (Connection, Instant) {
    let config = Config {
        epoch_limit: 2,
        ..Config::default()
    };
    let mut now = Instant::EPOCH;
    let mut client = Connection::connect(config.validate().unwrap(), ISN, now);
    drain(&mut client, now);
    if phase != Phase::Connecting {
        client.on_message(now, Message::Ack { id: ID, seq: ISN });
        client.on_message(now, data(1));
        client.write(Bytes::from_static(b"one")).unwrap();
        client.write(Bytes::from_static(b"two")).unwrap();
    }
    match phase {
        Phase::Connecting | Phase::Open => {}
        Phase::Draining => client.close().unwrap(),
        Phase::Closed => {
            client.close().unwrap();
            drain(&mut client, now);
            client.on_message(
                now,
                Message::CAck {
                    id: ID,
                    seq: seq(1),
                },
            );
            drain(&mut client, now);
            client.on_message(
                now,
                Message::CAck {
                    id: ID,
                    seq: seq(2),
                },
            );
        }
        Phase::Lost => {
            while client.phase() != Phase::Lost {
                now = now.after(ms(2_000));
                client.on_timeout(now);
                drain(&mut client, now);
            }
        }
    }
    assert_eq!(client.phase(), phase);
    drain(&mut client, now);
    (client, now)
}

fn drain(connection: &mut Connection, now: Instant) -> Vec<String> {
    let mut seen = Vec::new();
    while let Some(message) = connection.poll_transmit(now) {
        seen.push(format!("sends {message:?}"));
    }
    while let Some(event) = connection.poll_event() {
        seen.push(format!("says {event:?}"));
    }
    seen
}

fn data(offset: u64) -> Message {
    Message::Data {
        id: ID,
        seq: seq(offset),
        payload: Bytes::from_static(b"data"),
    }
}

type Input = fn(&mut Connection, Instant) -> Option<String>;

fn message(connection: &mut Connection, now: Instant, message: Message) -> Option<String> {
    connection.on_message(now, message);
    None
}

fn outcome<T: core::fmt::Debug, E: core::fmt::Display>(outcome: Result<T, E>) -> Option<String> {
    Some(match outcome {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("error: {error}"),
    })
}

/// Everything that can happen to a connection.
const INPUTS: [(&str, Input); 19] = [
    ("Connect, same isn", |c, t| {
        message(
            c,
            t,
            Message::Connect {
                isn: ISN,
                offer: Bytes::new(),
            },
        )
    }),
    ("Ack of the Connect", |c, t| {
        message(c, t, Message::Ack { id: ID, seq: ISN })
    }),
    ("Ack of the Connect, id 0", |c, t| {
        message(
            c,
            t,
            Message::Ack {
                id: ConnId::ZERO,
                seq: ISN,
            },
        )
    }),
    ("Ack of another Connect", |c, t| {
        message(
            c,
            t,
            Message::Ack {
                id: ID,
                seq: seq(9),
            },
        )
    }),
    ("Ack of data", |c, t| {
        message(
            c,
            t,
            Message::Ack {
                id: ID,
                seq: seq(1),
            },
        )
    }),
    ("Ack of what wasn't sent", |c, t| {
        message(
            c,
            t,
            Message::Ack {
                id: ID,
                seq: seq(2),
            },
        )
    }),
    ("Ack of another connection", |c, t| {
        message(
            c,
            t,
            Message::Ack {
                id: ConnId::new(2),
                seq: seq(1),
            },
        )
    }),
    ("CAck of data", |c, t| {
        message(
            c,
            t,
            Message::CAck {
                id: ID,
                seq: seq(1),
            },
        )
    }),
    ("CAck beyond all data", |c, t| {
        message(
            c,
            t,
            Message::CAck {
                id: ID,
                seq: seq(99),
            },
        )
    }),
    ("heartbeat", |c, t| message(c, t, Message::heartbeat(ID))),
    ("Data, next in order", |c, t| message(c, t, data(2))),
    ("Data, early", |c, t| message(c, t, data(3))),
    ("Data, again", |c, t| message(c, t, data(1))),
    ("Data, numbered as the Connect", |c, t| {
        message(c, t, data(0))
    }),
    ("Data of another connection", |c, t| {
        let payload = Bytes::from_static(b"data");
        message(
            c,
            t,
            Message::Data {
                id: ConnId::new(2),
                seq: seq(2),
                payload,
            },
        )
    }),
    ("an epoch ends", |c, t| {
        c.on_timeout(t.after(ms(2_000)));
        None
    }),
    ("write", |c, _| {
        outcome(c.write(Bytes::from_static(b"three")))
    }),
    ("read", |c, _| outcome(c.read())),
    ("close", |c, _| outcome(c.close())),
];

fn print(phase: Phase) -> String {
    let mut page = format!("{phase:?}\n");
    for (name, input) in INPUTS {
        let (mut connection, now) = connection_in(phase);
        let answer = input(&mut connection, now);
        connection.check_invariants();
        let mut seen: Vec<String> = answer.into_iter().collect();
        seen.extend(drain(&mut connection, now.after(ms(2_000))));
        if connection.phase() != phase {
            seen.push(format!("becomes {:?}", connection.phase()));
        }
        let seen = if seen.is_empty() {
            "-".to_owned()
        } else {
            seen.join(", ")
        };
        page += &format!("  {name:30} {seen}\n");
    }
    page
}

// spec: LSP-3.3 LSP-7.1
#[test]
fn everything_that_can_happen_while_connecting() {
    expect![[r#"
        Connecting
          Connect, same isn              -
          Ack of the Connect             says Connected, becomes Open
          Ack of the Connect, id 0       -
          Ack of another Connect         -
          Ack of data                    -
          Ack of what wasn't sent        -
          Ack of another connection      -
          CAck of data                   -
          CAck beyond all data           -
          heartbeat                      -
          Data, next in order            -
          Data, early                    -
          Data, again                    -
          Data, numbered as the Connect  -
          Data of another connection     -
          an epoch ends                  sends Connect s7
          write                          error: connection is not open yet
          read                           None
          close                          (), says Closed, becomes Closed
    "#]]
    .assert_eq(&print(Phase::Connecting));
}

// spec: LSP-5.1 LSP-5.2 LSP-6.3
#[test]
fn everything_that_can_happen_while_open() {
    expect![[r#"
        Open
          Connect, same isn              -
          Ack of the Connect             -
          Ack of the Connect, id 0       -
          Ack of another Connect         -
          Ack of data                    sends Data c1 s9 3 B
          Ack of what wasn't sent        -
          Ack of another connection      -
          CAck of data                   sends Data c1 s9 3 B
          CAck beyond all data           sends Data c1 s9 3 B
          heartbeat                      -
          Data, next in order            sends Ack c1 s9
          Data, early                    sends Ack c1 s10
          Data, again                    sends Ack c1 s8
          Data, numbered as the Connect  -
          Data of another connection     -
          an epoch ends                  sends Data c1 s8 3 B
          write                          ()
          read                           Some(b"data")
          close                          (), becomes Draining
    "#]]
    .assert_eq(&print(Phase::Open));
}

// spec: LSP-7.2
#[test]
fn everything_that_can_happen_while_draining() {
    expect![[r#"
        Draining
          Connect, same isn              -
          Ack of the Connect             -
          Ack of the Connect, id 0       -
          Ack of another Connect         -
          Ack of data                    sends Data c1 s9 3 B
          Ack of what wasn't sent        -
          Ack of another connection      -
          CAck of data                   sends Data c1 s9 3 B
          CAck beyond all data           sends Data c1 s9 3 B
          heartbeat                      -
          Data, next in order            sends Ack c1 s9
          Data, early                    sends Ack c1 s10
          Data, again                    sends Ack c1 s8
          Data, numbered as the Connect  -
          Data of another connection     -
          an epoch ends                  sends Data c1 s8 3 B
          write                          error: connection is closed
          read                           error: connection is closed
          close                          error: connection is closed
    "#]]
    .assert_eq(&print(Phase::Draining));
}

// spec: LSP-7.4
#[test]
fn everything_that_can_happen_when_closed() {
    expect![[r#"
        Closed
          Connect, same isn              -
          Ack of the Connect             -
          Ack of the Connect, id 0       -
          Ack of another Connect         -
          Ack of data                    -
          Ack of what wasn't sent        -
          Ack of another connection      -
          CAck of data                   -
          CAck beyond all data           -
          heartbeat                      -
          Data, next in order            -
          Data, early                    -
          Data, again                    -
          Data, numbered as the Connect  -
          Data of another connection     -
          an epoch ends                  -
          write                          error: connection is closed
          read                           error: connection is closed
          close                          error: connection is closed
    "#]]
    .assert_eq(&print(Phase::Closed));
}

// spec: LSP-7.3 LSP-7.4
#[test]
fn everything_that_can_happen_when_lost() {
    expect![[r#"
        Lost
          Connect, same isn              -
          Ack of the Connect             -
          Ack of the Connect, id 0       -
          Ack of another Connect         -
          Ack of data                    -
          Ack of what wasn't sent        -
          Ack of another connection      -
          CAck of data                   -
          CAck beyond all data           -
          heartbeat                      -
          Data, next in order            -
          Data, early                    -
          Data, again                    -
          Data, numbered as the Connect  -
          Data of another connection     -
          an epoch ends                  -
          write                          error: connection was lost
          read                           Some(b"data")
          close                          error: connection is closed
    "#]]
    .assert_eq(&print(Phase::Lost));
}
