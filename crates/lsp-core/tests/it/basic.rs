//! Echo: what a client writes comes back, in order, in time. `TestBasic1`-`9`,
//! `TestBasicISN`, `TestSendReceive1`-`3`, `TestRobust1`-`6`.
//!
//! One client at a time waits for its echo before it writes again, and the server
//! is one loop that reads, perhaps sleeps, and writes back: as in the original, so that its
//! time limits mean the same.

use std::collections::VecDeque;

use bytes::Bytes;
use lsp_core::{Config, ConnId, Message};
use stdx::Instant;

use crate::net::{Net, SERVER, ms, params};

struct Echo {
    config: Config,
    clients: usize,
    messages: usize,
    sleep_max_ms: u64,
    drop: u64,
    limit_ms: u64,
}

impl Echo {
    const fn new(clients: usize, messages: usize, limit_ms: u64, config: Config) -> Self {
        Self {
            config,
            clients,
            messages,
            sleep_max_ms: 0,
            drop: 0,
            limit_ms,
        }
    }

    /// Runs it; datagrams written meanwhile.
    fn run(self) -> Net {
        let mut net = Net::new(self.config.clone(), 1);
        net.dial_all(self.clients, |prng| 1 + prng.below(256));
        net.faults.server_drop = self.drop;
        net.faults.client_drop = self.drop;
        let start = net.now;
        let mut server = EchoServer::new(self.sleep_max_ms);
        // What each client waits for, and how many echoes it had.
        let mut waits: Vec<Option<Bytes>> = vec![None; self.clients];
        let mut echoed = vec![0; self.clients];
        let done = net.run(start.after(ms(self.limit_ms)), |net| {
            server.step(net);
            for client in net.clients() {
                self.step_client(net, client, &mut waits[client - 1], &mut echoed[client - 1]);
            }
            echoed.iter().all(|&count| count == self.messages)
        });
        assert!(
            done,
            "echoed {echoed:?} of {} in {} ms",
            self.messages, self.limit_ms
        );
        net
    }

    fn step_client(
        &self,
        net: &mut Net,
        client: usize,
        wait: &mut Option<Bytes>,
        echoed: &mut usize,
    ) {
        while let Some((_, outcome)) = net.read(client) {
            let payload = outcome.expect("the connection lives");
            assert_eq!(Some(payload), wait.take(), "client {client}");
            *echoed += 1;
        }
        if wait.is_none() && *echoed < self.messages {
            let text = Bytes::from((net.prng.below(100) + *echoed as u64).to_string());
            net.client_write(client, text.clone());
            *wait = Some(text);
        }
    }
}

/// Reads, sleeps up to so long, writes back; one message at a time.
struct EchoServer {
    sleep_max_ms: u64,
    asleep: Option<(Instant, ConnId, Bytes)>,
}

impl EchoServer {
    const fn new(sleep_max_ms: u64) -> Self {
        Self {
            sleep_max_ms,
            asleep: None,
        }
    }

    fn step(&mut self, net: &mut Net) {
        loop {
            if let Some((until, id, payload)) = self.asleep.take() {
                if until > net.now {
                    self.asleep = Some((until, id, payload));
                    return;
                }
                net.server_write(id, payload);
            }
            let Some((id, outcome)) = net.read(SERVER) else {
                return;
            };
            let payload = outcome.expect("no client is lost");
            let nap = if self.sleep_max_ms == 0 {
                0
            } else {
                net.prng.below(self.sleep_max_ms)
            };
            let until = net.now.after(ms(nap));
            net.wish(until);
            self.asleep = Some((until, id, payload));
        }
    }
}

// spec: LSP-3.1 LSP-5.1
#[test]
fn basic1() {
    Echo::new(1, 3, 2_000, params(5, 2_000, 1, 0, 1)).run();
}

#[test]
fn basic2() {
    Echo::new(1, 50, 2_000, params(5, 2_000, 1, 0, 1)).run();
}

#[test]
fn basic3() {
    Echo::new(2, 50, 2_000, params(5, 2_000, 1, 0, 1)).run();
}

#[test]
fn basic4() {
    Echo::new(10, 50, 2_000, params(5, 2_000, 2, 0, 2)).run();
}

#[test]
fn basic5() {
    Echo::new(2, 500, 2_000, params(5, 2_000, 2, 0, 1)).run();
}

#[test]
fn basic6() {
    Echo::new(10, 500, 15_000, params(5, 2_000, 20, 0, 10)).run();
}

fn sleepy(clients: usize, messages: usize, config: Config) {
    Echo {
        sleep_max_ms: 100,
        ..Echo::new(clients, messages, 15_000, config)
    }
    .run();
}

#[test]
fn basic7() {
    sleepy(4, 10, params(5, 2_000, 2, 0, 2));
}

#[test]
fn basic8() {
    sleepy(5, 10, params(5, 2_000, 10, 0, 10));
}

#[test]
fn basic9() {
    sleepy(2, 50, params(5, 2_000, 10, 0, 10));
}

/// No epoch may be needed: the limit is one epoch, and nothing is ever sent twice.
fn send_receive(clients: usize, epoch_ms: u64, sleep_max_ms: u64) {
    let net = Echo {
        sleep_max_ms,
        ..Echo::new(clients, 6, epoch_ms, params(3, epoch_ms, 1, 0, 1))
    }
    .run();
    for node in &net.nodes {
        for handle in node.endpoint.handles() {
            assert_eq!(
                node.endpoint
                    .connection(handle)
                    .unwrap()
                    .stats()
                    .data_resent,
                0
            );
        }
    }
}

#[test]
fn send_receive1() {
    send_receive(1, 5_000, 0);
}

#[test]
fn send_receive2() {
    send_receive(4, 5_000, 0);
}

#[test]
fn send_receive3() {
    send_receive(4, 10_000, 100);
}

fn robust(clients: usize, messages: usize, window: usize) {
    Echo {
        drop: 20,
        ..Echo::new(clients, messages, 15_000, params(20, 50, window, 0, window))
    }
    .run();
}

// spec: LSP-6.2
#[test]
fn robust1() {
    robust(1, 10, 1);
}

#[test]
fn robust2() {
    robust(3, 15, 1);
}

#[test]
fn robust3() {
    robust(5, 10, 1);
}

#[test]
fn robust4() {
    robust(1, 10, 2);
}

#[test]
fn robust5() {
    robust(3, 15, 5);
}

#[test]
fn robust6() {
    robust(5, 10, 10);
}

/// Each of 100 connections shows the numbers isn (the Connect's Ack), isn + 1 (Data) and
/// isn + 1 (its Ack), and nothing else but heartbeats.
// spec: LSP-3.3 LSP-3.4
#[test]
fn basic_isn() {
    let mut net = Net::new(params(5, 2_000, 1, 0, 1), 2);
    net.sniffed = Some(crate::net::Sniffed::default());
    net.dial_all(100, |prng| 1 + prng.below(256));
    for client in net.clients() {
        net.client_write(client, "TestMessage");
    }
    net.run(net.now.after(ms(2_000)), |net| {
        while let Some((_, outcome)) = net.read(SERVER) {
            outcome.unwrap();
        }
        false
    });
    let sniffed = net.sniffed.take().unwrap();
    for client in net.clients() {
        let connection = net.nodes[client].endpoint.connection(Net::HANDLE).unwrap();
        let isn = connection.isn().get();
        let numbers: VecDeque<u64> = sniffed
            .sent
            .iter()
            .filter(|(_, message)| message.id() == connection.id())
            .filter_map(|(_, message)| match message {
                Message::Data { seq, .. } | Message::Ack { seq, .. } => Some(seq.get()),
                Message::Connect { .. } | Message::CAck { .. } => None,
            })
            .filter(|&seq| seq != 0)
            .collect();
        assert_eq!(numbers, [isn, isn + 1, isn + 1], "{:?}", connection.id());
    }
}
