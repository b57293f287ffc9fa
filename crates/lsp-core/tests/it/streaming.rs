//! Streams over a network that is switched off and on, with Close while it is off.
//! `TestServerFastClose1`-`3`, `TestServerToClient1`-`3`, `TestClientToServer1`-`3`,
//! `TestRoundTrip1`-`3`.
//!
//! ```text
//!  network   on | off          | on, 2 epochs | off            | on, 2 epochs | off
//!  clients      | write (close)|              |                |              | read, close
//!  server       |              |              | read, write    |              |
//!               |              |              | (close)        |              |
//! ```
//!
//! So each side must hold what was written while nothing could be sent, and what arrived
//! while nobody read.

use std::collections::BTreeMap;

use bytes::Bytes;
use lsp_core::{Config, ConnId};
use stdx::Instant;

use crate::net::{Net, SERVER, params};

#[derive(Clone, Copy, Eq, PartialEq)]
enum Mode {
    /// Both directions, the server closing while the network is off.
    ServerFastClose,
    /// Only from the server, which closes while the network is off.
    ServerToClient,
    /// Only from the clients, which close while the network is off.
    ClientToServer,
    /// Both directions, everybody closing at the end.
    RoundTrip,
}

struct Stream {
    net: Net,
    mode: Mode,
    config: Config,
    texts: BTreeMap<ConnId, Vec<Bytes>>,
    deadline: Instant,
}

impl Stream {
    fn run(clients: usize, messages: usize, epochs: u32, mode: Mode, config: Config) {
        let mut net = Net::new(config.clone(), 6);
        let deadline = net.now.after(config.epoch * epochs);
        net.dial_all(clients, |_| 0);
        let mut texts = BTreeMap::new();
        for client in net.clients() {
            let numbers = (0..messages).map(|_| Bytes::from(net.prng.next_u64().to_string()));
            let numbers: Vec<Bytes> = numbers.collect();
            texts.insert(net.id(client), numbers);
        }
        let stream = Self {
            net,
            mode,
            config,
            texts,
            deadline,
        };
        stream.script();
    }

    fn script(mut self) {
        self.net.cut(true);
        if self.mode != Mode::ServerToClient {
            self.clients_write();
            if self.mode == Mode::ClientToServer {
                self.clients_close();
            }
            self.window_of_two_epochs();
            if self.mode == Mode::ClientToServer {
                self.wait_until_gone(self.net.clients());
                self.net.cut(true);
            }
            self.server_reads();
        }
        if self.mode != Mode::ClientToServer {
            self.server_writes();
            if self.mode != Mode::RoundTrip {
                self.server_closes();
            }
            self.window_of_two_epochs();
            if self.mode != Mode::RoundTrip {
                self.wait_until_gone(SERVER..SERVER + 1);
                self.net.cut(true);
            }
            self.clients_read();
            self.clients_close();
            self.wait_until_gone(self.net.clients());
        } else {
            self.server_closes();
        }
        if self.mode == Mode::RoundTrip {
            self.server_closes();
        }
        self.wait_until_gone(SERVER..SERVER + 1);
        assert!(self.net.now <= self.deadline, "in time");
    }

    /// The network is on for two epochs, then off again; unless somebody's Close is under
    /// way, which the original waits for with the network on.
    fn window_of_two_epochs(&mut self) {
        self.net.cut(false);
        self.net.pass(self.config.epoch * 2);
        let closing = match self.mode {
            Mode::ClientToServer => true,
            Mode::ServerFastClose | Mode::ServerToClient => {
                self.net.nodes[SERVER].endpoint.handles().any(|handle| {
                    let connection = self.net.nodes[SERVER].endpoint.connection(handle);
                    connection.is_some_and(|c| c.phase() == lsp_core::Phase::Draining)
                })
            }
            Mode::RoundTrip => false,
        };
        if !closing {
            self.net.cut(true);
        }
    }

    fn clients_write(&mut self) {
        for client in self.net.clients() {
            for text in self.texts[&self.net.id(client)].clone() {
                self.net.client_write(client, text);
            }
        }
    }

    fn server_writes(&mut self) {
        for (id, texts) in self.texts.clone() {
            for text in texts {
                self.net.server_write(id, text);
            }
        }
    }

    fn server_reads(&mut self) {
        let mut read: BTreeMap<ConnId, Vec<Bytes>> = BTreeMap::new();
        let wanted: usize = self.texts.values().map(Vec::len).sum();
        for _ in 0..wanted {
            let (id, outcome) = self.net.read(SERVER).expect("all arrived before the cut");
            read.entry(id).or_default().push(outcome.unwrap());
        }
        assert_eq!(read, self.texts);
    }

    fn clients_read(&mut self) {
        for client in self.net.clients() {
            for text in self.texts[&self.net.id(client)].clone() {
                let (_, outcome) = self.net.read(client).expect("all arrived before the cut");
                assert_eq!(outcome, Ok(text));
            }
        }
    }

    fn clients_close(&mut self) {
        for client in self.net.clients() {
            let handle = Net::HANDLE;
            let node = &mut self.net.nodes[client];
            // One that was lost meanwhile is closed by forgetting it.
            node.endpoint.close(self.net.now, handle).unwrap();
            self.net.flush(client);
        }
    }

    fn server_closes(&mut self) {
        let now = self.net.now;
        self.net.nodes[SERVER].endpoint.shut_down(now);
        self.net.flush(SERVER);
    }

    fn wait_until_gone(&mut self, nodes: core::ops::Range<usize>) {
        let deadline = self.deadline;
        let gone = self.net.run(deadline, |net| {
            nodes
                .clone()
                .all(|node| net.nodes[node].endpoint.is_empty())
        });
        assert!(gone, "closed in time");
    }
}

fn small(clients: usize, mode: Mode) {
    Stream::run(clients, 10, 12, mode, params(5, 500, 1, 0, 1));
}

fn large(mode: Mode) {
    Stream::run(5, 500, 20, mode, params(5, 2_000, 1, 0, 1));
}

// spec: LSP-7.2
#[test]
fn server_fast_close1() {
    small(1, Mode::ServerFastClose);
}

#[test]
fn server_fast_close2() {
    small(3, Mode::ServerFastClose);
}

#[test]
fn server_fast_close3() {
    large(Mode::ServerFastClose);
}

#[test]
fn server_to_client1() {
    small(1, Mode::ServerToClient);
}

#[test]
fn server_to_client2() {
    small(3, Mode::ServerToClient);
}

#[test]
fn server_to_client3() {
    large(Mode::ServerToClient);
}

#[test]
fn client_to_server1() {
    small(1, Mode::ClientToServer);
}

#[test]
fn client_to_server2() {
    small(3, Mode::ClientToServer);
}

#[test]
fn client_to_server3() {
    large(Mode::ClientToServer);
}

// spec: LSP-7.3
#[test]
fn round_trip1() {
    small(1, Mode::RoundTrip);
}

#[test]
fn round_trip2() {
    small(3, Mode::RoundTrip);
}

#[test]
fn round_trip3() {
    large(Mode::RoundTrip);
}
