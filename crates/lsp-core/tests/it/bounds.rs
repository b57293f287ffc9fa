//! What a stranger can't do to us, and what our own application can't.
//!
//! Floods of connections, forged addresses, readers that don't read, writers that don't
//! stop, messages for connections that aren't theirs; and that silence is noticed at
//! exactly the stated moments.

use std::net::SocketAddr;

use bytes::Bytes;
use lsp_core::{
    Acks, Config, ConnId, ConnectError, Connection, Endpoint, Event, Handle, Message, Phase,
    SeqNum, WriteError, wire,
};
use stdx::Instant;

use crate::net::{Net, SERVER, Sniffed, ms, params};

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 9], port))
}

fn datagram(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    wire::encode(message, &mut bytes);
    bytes
}

fn connect(isn: u64) -> Vec<u8> {
    datagram(&Message::Connect {
        isn: SeqNum::new(isn),
        offer: Bytes::new(),
    })
}

fn data(id: u64, seq: u64, payload: &[u8]) -> Vec<u8> {
    datagram(&Message::Data {
        id: ConnId::new(id),
        seq: SeqNum::new(seq),
        payload: Bytes::copy_from_slice(payload),
    })
}

fn heartbeat(id: u64) -> Vec<u8> {
    datagram(&Message::heartbeat(ConnId::new(id)))
}

/// A server that is given datagrams by hand.
struct Server {
    endpoint: Endpoint,
    now: Instant,
}

impl Server {
    fn new(config: Config) -> Self {
        Self {
            endpoint: Endpoint::server(config.validate().unwrap()),
            now: Instant::EPOCH,
        }
    }

    fn give(&mut self, from: u16, datagram: &[u8]) {
        self.endpoint.on_datagram(self.now, address(from), datagram);
        self.endpoint.check_invariants();
    }

    /// What it wants to send: to which port, and what.
    fn sends(&mut self) -> Vec<(u16, String)> {
        let mut buffer = Vec::new();
        let mut sent = Vec::new();
        while let Some(transmit) = self.endpoint.poll_transmit(self.now, &mut buffer) {
            let message = wire::decode(&buffer).unwrap();
            sent.push((transmit.to.port(), format!("{message:?}")));
            buffer.clear();
        }
        self.endpoint.check_invariants();
        sent
    }

    /// Bytes that it wants to send.
    fn sends_bytes(&mut self) -> usize {
        let mut buffer = Vec::new();
        while self.endpoint.poll_transmit(self.now, &mut buffer).is_some() {}
        buffer.len()
    }

    fn pass(&mut self, millis: u64) {
        self.now = self.now.after(ms(millis));
        self.endpoint.on_timeout(self.now);
        self.endpoint.check_invariants();
    }
}

fn sent(port: u16, message: &str) -> (u16, String) {
    (port, message.to_owned())
}

// spec: LSP-3.4 LSP-3.5
#[test]
fn a_connect_again_is_acknowledged_again_and_makes_no_second_connection() {
    let mut server = Server::new(Config::default());
    server.give(1, &connect(7));
    assert_eq!(server.sends(), [sent(1, "Ack c1 s7")]);
    server.give(1, &connect(7));
    assert_eq!(server.sends(), [sent(1, "Ack c1 s7")]);
    server.give(2, &connect(7));
    assert_eq!(server.sends(), [sent(2, "Ack c2 s7")]);
    assert_eq!(server.endpoint.handles().count(), 2);
}

// spec: LSP-3.5 LSP-6.4
#[test]
fn a_new_process_on_an_old_port_connects_once_the_old_connection_is_lost() {
    let mut server = Server::new(Config::default());
    server.give(1, &connect(7));
    server.sends();
    // It keeps asking, which must not keep the old connection alive.
    let mut answers = Vec::new();
    for _ in 0..6 {
        server.pass(2_000);
        server.give(1, &connect(8));
        answers.extend(server.sends());
    }
    assert!(answers.contains(&sent(1, "Ack c2 s8")), "{answers:?}");
    assert!(!answers.contains(&sent(1, "Ack c1 s7")), "{answers:?}");
}

#[test]
fn messages_for_another_connection_or_from_another_address_do_nothing() {
    let mut server = Server::new(Config::default());
    server.give(1, &connect(7));
    server.give(2, &connect(7));
    server.sends();
    server.give(1, &data(2, 8, b"not mine"));
    server.give(3, &data(1, 8, b"who am I"));
    server.give(3, &heartbeat(1));
    assert_eq!(server.sends(), []);
    for handle in server.endpoint.handles().collect::<Vec<_>>() {
        assert_eq!(server.endpoint.read(handle), Ok(None));
    }
    assert_eq!(server.endpoint.stats().unrouted, 2);
}

// spec: LSP-8.4
#[test]
fn connections_are_bounded_in_all_per_address_and_while_unproven() {
    let limits = [
        (
            "all",
            Config {
                connections_max: 5,
                ..Config::default()
            },
        ),
        (
            "address",
            Config {
                connections_per_address_max: 5,
                ..Config::default()
            },
        ),
        (
            "unproven",
            Config {
                unproven_connections_max: 5,
                ..Config::default()
            },
        ),
    ];
    for (name, config) in limits {
        let mut server = Server::new(config);
        for port in 1..=20 {
            server.give(port, &connect(7));
        }
        assert_eq!(server.endpoint.handles().count(), 5, "{name}");
        assert_eq!(server.endpoint.stats().refused, 15, "{name}");
        // Proof makes room only among the unproven; loss makes room everywhere.
        server.give(1, &heartbeat(1));
        server.give(30, &connect(7));
        let proven_makes_room = usize::from(name == "unproven");
        assert_eq!(
            server.endpoint.handles().count(),
            5 + proven_makes_room,
            "{name}"
        );
        for _ in 0..8 {
            server.pass(2_000);
        }
        while let Some((handle, event)) = server.endpoint.poll_event() {
            if event == Event::Lost {
                let _gone = server.endpoint.read(handle);
            }
        }
        assert!(server.endpoint.is_empty(), "{name}");
        server.give(31, &connect(7));
        assert_eq!(server.endpoint.handles().count(), 1, "{name}");
    }
}

// spec: LSP-8.3
#[test]
fn a_forged_address_gets_three_times_what_it_sent_and_no_more() {
    let mut server = Server::new(Config {
        window_size: 100,
        max_unacked_messages: 100,
        ..Config::default()
    });
    let bytes = connect(7).len();
    server.give(1, &connect(7));
    let (handle, _) = server.endpoint.poll_event().unwrap();
    for _ in 0..50 {
        server
            .endpoint
            .write(handle, Bytes::from(vec![b'x'; 40]))
            .unwrap();
    }
    let mut total = server.sends_bytes();
    for _ in 0..5 {
        server.pass(2_000);
        total += server.sends_bytes();
    }
    assert!(total > 0, "it is answered");
    assert!(total <= 3 * bytes, "{total} bytes for {bytes}");
    assert_eq!(
        server.endpoint.connection(handle).unwrap().phase(),
        Phase::Lost
    );
}

// spec: LSP-8.3
#[test]
fn proof_lifts_the_limit() {
    for (name, proof) in [("heartbeat", heartbeat(1)), ("data", data(1, 8, b"hello"))] {
        let mut server = Server::new(Config::default());
        server.give(1, &connect(7));
        let (handle, _) = server.endpoint.poll_event().unwrap();
        server
            .endpoint
            .write(handle, Bytes::from(vec![b'x'; 1_000]))
            .unwrap();
        assert_eq!(
            server.sends(),
            [sent(1, "Ack c1 s7")],
            "{name}: too long for a stranger"
        );
        server.give(1, &heartbeat(2));
        assert_eq!(server.sends(), [], "{name}: a wrong id proves nothing");
        server.give(1, &proof);
        assert!(
            server.sends().contains(&sent(1, "Data c1 s8 1000 B")),
            "{name}"
        );
    }
}

// spec: LSP-8.1 LSP-8.2
#[test]
fn a_flood_that_nobody_reads_is_bounded_and_read_in_order_later() {
    let config = Config {
        receive_messages_max: 10,
        reorder_messages_max: 5,
        ..Config::default()
    };
    let mut server = Server::new(config);
    server.give(1, &connect(7));
    let (handle, _) = server.endpoint.poll_event().unwrap();
    for seq in 8..1_000 {
        server.give(1, &data(1, seq, seq.to_string().as_bytes()));
    }
    let acks = server.sends();
    assert!(
        !acks.contains(&sent(1, "Ack c1 s18")),
        "the Ack of the 11th is withheld"
    );
    assert!(
        acks.contains(&sent(1, "Ack c1 s19")),
        "those of later ones aren't"
    );
    let mut expected = 8;
    while let Some(payload) = server.endpoint.read(handle).unwrap() {
        assert_eq!(payload, expected.to_string());
        expected += 1;
    }
    assert_eq!(expected, 23, "10, and 5 from the withheld one on");
    assert_eq!(server.sends(), [sent(1, "Ack c1 s18")], "and now it comes");
    assert_eq!(server.endpoint.held_bytes(), 0);
}

// spec: LSP-8.2 LSP-5.3
#[test]
fn no_cack_includes_a_withheld_message() {
    let config = Config {
        receive_messages_max: 2,
        acks: Acks::Coalesced,
        ..Config::default()
    };
    let mut server = Server::new(config);
    server.give(1, &connect(7));
    let (handle, _) = server.endpoint.poll_event().unwrap();
    server.sends();
    for seq in 8..13 {
        server.give(1, &data(1, seq, b"x"));
    }
    assert_eq!(
        server.sends(),
        [
            sent(1, "CAck c1 s9"),
            sent(1, "Ack c1 s11"),
            sent(1, "Ack c1 s12")
        ]
    );
    while let Ok(Some(_)) = server.endpoint.read(handle) {}
    assert_eq!(server.sends(), [sent(1, "CAck c1 s12")]);
}

// spec: LSP-8.1
#[test]
fn all_connections_together_hold_no_more_than_the_endpoint_may() {
    let config = Config {
        endpoint_bytes_max: 10_000,
        ..Config::default()
    };
    let mut server = Server::new(config);
    for port in 1..=30 {
        server.give(port, &connect(7));
        for seq in 8..30 {
            server.give(port, &data(u64::from(port), seq, &[b'x'; 900]));
        }
    }
    let held = server.endpoint.held_bytes();
    assert!((9_000..11_000).contains(&held), "{held}");
    assert!(server.endpoint.stats().overloaded > 500);
}

// spec: LSP-8.1
#[test]
fn a_writer_is_told_when_the_queue_is_full_and_when_there_is_room() {
    let mut net = Net::new(
        Config {
            send_messages_max: 10,
            ..params(5, 500, 4, 0, 4)
        },
        14,
    );
    net.dial_all(1, |_| 1);
    net.mute_clients(true);
    let endpoint = &mut net.nodes[1].endpoint;
    for _ in 0..10 {
        endpoint
            .write(Net::HANDLE, Bytes::from_static(b"x"))
            .unwrap();
    }
    assert_eq!(
        endpoint.write(Net::HANDLE, Bytes::from_static(b"x")),
        Err(WriteError::Full)
    );
    net.flush(1);
    assert!(!net.has_event(1, Event::Writable));
    net.mute_clients(false);
    net.pass(ms(1_000));
    assert!(net.has_event(1, Event::Writable));
    net.client_write(1, "x");
}

#[test]
fn a_message_that_is_too_long_is_refused() {
    let mut net = Net::new(Config::default(), 15);
    net.dial_all(1, |_| 1);
    let outcome = net.nodes[1]
        .endpoint
        .write(Net::HANDLE, Bytes::from(vec![0; 1_001]));
    let refused = WriteError::TooLong {
        bytes: 1_001,
        bytes_max: 1_000,
    };
    assert_eq!(outcome, Err(refused));
}

/// A slow reader slows its writer, and loses nothing.
// spec: LSP-8.2
#[test]
fn flow_control_holds_the_writer_until_the_reader_reads() {
    for base in [params(5, 500, 20, 2, 20), Config::adaptive()] {
        let config = Config {
            receive_messages_max: 16,
            ..base
        };
        let window = config.window_size;
        let mut net = Net::new(config, 16);
        net.dial_all(1, |_| 1);
        for number in 0..1_000 {
            net.client_write(1, number.to_string());
        }
        net.pass(ms(30_000));
        let connection = net.nodes[SERVER]
            .endpoint
            .connection(Handle::new(1))
            .unwrap();
        assert!(connection.is_withholding());
        let received = connection.stats().data_received;
        // What was early, and acknowledged, when the queue filled may come on top.
        assert!(
            received <= 16 + 2 * window as u64,
            "{received} messages were taken"
        );
        assert!(
            net.nodes[1].endpoint.connection(Net::HANDLE).is_some(),
            "and it lives"
        );
        let mut read = 0;
        let done = net.run(net.now.after(ms(60_000)), |net| {
            while let Some((_, outcome)) = net.read(SERVER) {
                assert_eq!(outcome.unwrap(), read.to_string());
                read += 1;
            }
            read == 1_000
        });
        assert!(done, "only {read} were read");
    }
}

// spec: LSP-3.3 LSP-6.4
#[test]
fn a_client_that_nobody_answers_gives_up_after_exactly_the_limit() {
    let mut net = Net::new(params(5, 2_000, 1, 0, 1), 17);
    net.nodes[SERVER].up = false;
    net.sniffed = Some(Sniffed::default());
    net.dial(1);
    net.run(Instant::EPOCH.after(ms(60_000)), |_| false);
    let lost: Vec<_> = net.nodes[1]
        .events
        .iter()
        .map(|&(at, _, event)| (at, event))
        .collect();
    assert_eq!(lost, [(Instant::EPOCH.after(ms(10_000)), Event::Lost)]);
    assert_eq!(
        net.sniffed.unwrap().sent.len(),
        5,
        "a Connect at 0 and at each epoch"
    );
}

// spec: LSP-6.3 LSP-6.4
#[test]
fn silence_is_noticed_within_one_epoch_after_the_limit_and_never_before() {
    for quiet_after in [0, 1, 777, 1_999, 2_000, 2_001, 3_333] {
        let mut net = Net::new(params(3, 2_000, 1, 0, 1), 18);
        net.dial_all(1, |_| 1);
        net.pass(ms(quiet_after));
        net.mute_clients(true);
        net.run(net.now.after(ms(30_000)), |net| {
            net.has_event(SERVER, Event::Lost)
        });
        let heard = net.nodes[SERVER].heard_at;
        let (lost, _, _) = *net.nodes[SERVER].events.last().unwrap();
        let silence = lost.since(heard);
        assert!(silence >= ms(6_000), "after {silence:?}");
        assert!(silence < ms(8_000), "after {silence:?}");
        // The client hears the server's heartbeats until then, and outlives it by its own limit.
        assert!(!net.has_event(1, Event::Lost));
        net.run(net.now.after(ms(9_000)), |net| {
            net.has_event(1, Event::Lost)
        });
        assert!(net.has_event(1, Event::Lost));
    }
}

// spec: LSP-6.3
#[test]
fn an_idle_connection_lives_for_ever_on_heartbeats() {
    let mut net = Net::new(Config::default(), 19);
    net.dial_all(3, |_| 1);
    net.sniffed = Some(Sniffed::default());
    net.pass(ms(3_600_000));
    for node in 0..4 {
        assert!(!net.has_event(node, Event::Lost));
    }
    let sniffed = net.sniffed.take().unwrap();
    assert_eq!(sniffed.data, 0);
    let heartbeats = sniffed.sent.len();
    assert_eq!(heartbeats, 3 * 2 * 1_800, "one an epoch from each end");
}

// spec: LSP-1.2
#[test]
fn the_defaults_are_the_originals() {
    let config = Config::default();
    assert_eq!(config.epoch_limit, 5);
    assert_eq!(config.epoch, ms(2_000));
    assert_eq!((config.window_size, config.max_unacked_messages), (1, 1));
    assert_eq!(config.max_backoff_interval, 0);
    assert_eq!(config.recovery, lsp_core::Recovery::Epochs);
    assert_eq!(config.acks, Acks::Each);
    let error = Config {
        window_size: 0,
        ..config
    }
    .validate()
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "window_size is 0, must be between 1 and 65536"
    );
}

#[test]
fn an_endpoint_has_one_connection_to_each_address() {
    let mut client = Endpoint::client(Config::default().validate().unwrap());
    let (remote, now) = (address(1), Instant::EPOCH);
    client.connect(now, remote, SeqNum::new(1)).unwrap();
    let outcome = client.connect(now, remote, SeqNum::new(2));
    assert_eq!(outcome, Err(ConnectError::Exists { remote }));
    client.connect(now, address(2), SeqNum::new(1)).unwrap();
    // A client takes no connections.
    client.on_datagram(now, address(3), &connect(7));
    assert_eq!(client.handles().count(), 2);
}

#[test]
fn an_idle_connection_is_small() {
    let bytes = size_of::<Connection>();
    assert!(bytes <= 1_024, "{bytes} bytes");
}
