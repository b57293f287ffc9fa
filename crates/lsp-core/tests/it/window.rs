//! The window, the limit of unacknowledged messages, order, and back-off.
//! `TestWindow1`-`6`, `TestMaxUnackedMessages1`-`6`, `TestOutOfOrderMsg1`-`3`,
//! `TestExpBackOff1`-`2`.

use std::collections::BTreeMap;

use lsp_core::{Config, ConnId};
use stdx::Instant;

use crate::net::{Net, SERVER, Sniffed, ms, params};

/// What was read, by connection.
type ReadBy = BTreeMap<ConnId, Vec<String>>;

/// A stream in each direction, and who has read what.
struct Streams {
    net: Net,
    texts: Vec<String>,
    /// What the server read, by connection.
    by_server: ReadBy,
    /// What clients read, by connection.
    by_clients: ReadBy,
}

impl Streams {
    fn new(clients: usize, messages: usize, config: Config) -> Self {
        let mut net = Net::new(config, 3);
        net.dial_all(clients, |_| 0);
        let texts = (0..messages)
            .map(|_| net.prng.next_u64().to_string())
            .collect();
        let ids: Vec<ConnId> = net.clients().map(|client| net.id(client)).collect();
        let empty: BTreeMap<_, _> = ids.iter().map(|&id| (id, Vec::new())).collect();
        Self {
            net,
            texts,
            by_server: empty.clone(),
            by_clients: empty,
        }
    }

    fn write_to_server(&mut self, from: usize, to: usize) {
        for client in self.net.clients() {
            for text in &self.texts[from..to] {
                self.net.client_write(client, text.clone());
            }
        }
    }

    fn write_to_clients(&mut self, from: usize, to: usize) {
        for client in self.net.clients() {
            let id = self.net.id(client);
            for text in &self.texts[from..to] {
                self.net.server_write(id, text.clone());
            }
        }
    }

    /// Lets time pass while everybody reads.
    fn pass(&mut self, millis: u64) {
        let deadline = self.net.now.after(ms(millis));
        self.read_until(deadline, |_, _| false);
    }

    /// Reads until one side has read everything.
    fn finish(&mut self, deadline: Instant, by_clients: bool) {
        let count = self.texts.len();
        let done = self.read_until(deadline, |server, clients| {
            let side = if by_clients { clients } else { server };
            side.values().all(|read| read.len() == count)
        });
        assert!(done, "in time");
    }

    fn read_until(&mut self, deadline: Instant, done: impl Fn(&ReadBy, &ReadBy) -> bool) -> bool {
        let Self {
            net,
            by_server,
            by_clients,
            ..
        } = self;
        net.run(deadline, |net| {
            for node in 0..net.nodes.len() {
                let read = if node == SERVER {
                    &mut *by_server
                } else {
                    &mut *by_clients
                };
                while let Some((id, outcome)) = net.read(node) {
                    let text = String::from_utf8(outcome.unwrap().to_vec()).unwrap();
                    read.get_mut(&id).unwrap().push(text);
                }
            }
            done(by_server, by_clients)
        })
    }

    fn server_has_read(&self, count: usize) {
        for (id, read) in &self.by_server {
            assert_eq!(read, &self.texts[..count], "server from {id}");
        }
    }

    fn clients_have_read(&self, count: usize) {
        for (id, read) in &self.by_clients {
            assert_eq!(read, &self.texts[..count], "client {id}");
        }
    }
}

/// With all Acks lost, exactly the smaller of the two bounds arrives; then the rest.
fn max_capacity(clients: usize, messages: usize, config: Config) {
    let most = config.window_size.min(config.max_unacked_messages);
    let epoch = u64::try_from(config.epoch.as_millis()).unwrap();
    let mut streams = Streams::new(clients, messages, config);
    let start = streams.net.now;
    streams.net.mute_server(true);
    streams.write_to_server(0, messages);
    streams.pass(50);
    streams.server_has_read(most);
    streams.net.mute_server(false);
    streams.pass(epoch + 50);
    streams.server_has_read(messages);

    streams.net.mute_clients(true);
    streams.write_to_clients(0, messages);
    streams.pass(50);
    streams.clients_have_read(most);
    streams.net.mute_clients(false);
    streams.pass(epoch + 50);
    streams.clients_have_read(messages);
    assert!(
        streams.net.now.since(start) <= ms(5 * epoch),
        "within 5 epochs"
    );
}

// spec: LSP-4.1
#[test]
fn window1() {
    max_capacity(1, 10, params(3, 500, 5, 0, 50));
}

#[test]
fn window2() {
    max_capacity(5, 25, params(3, 500, 10, 0, 50));
}

#[test]
fn window3() {
    max_capacity(10, 25, params(3, 500, 10, 0, 50));
}

// spec: LSP-4.2
#[test]
fn max_unacked_messages1() {
    max_capacity(1, 10, params(3, 500, 50, 0, 5));
}

#[test]
fn max_unacked_messages2() {
    max_capacity(5, 25, params(3, 500, 50, 0, 10));
}

#[test]
fn max_unacked_messages3() {
    max_capacity(10, 25, params(3, 500, 50, 0, 10));
}

/// The first half is lost, the second arrives: nothing is read until the first is repeated.
fn scattered(clients: usize, messages: usize, config: Config) {
    let half = messages / 2;
    let epoch = u64::try_from(config.epoch.as_millis()).unwrap();
    let mut streams = Streams::new(clients, messages, config);
    let start = streams.net.now;
    streams.net.mute_clients(true);
    streams.write_to_server(0, half);
    streams.net.mute_clients(false);
    streams.write_to_server(half, messages);
    streams.pass(50);
    streams.server_has_read(0);
    streams.pass(epoch);
    streams.server_has_read(messages);

    streams.net.mute_server(true);
    streams.write_to_clients(0, half);
    streams.net.mute_server(false);
    streams.write_to_clients(half, messages);
    streams.pass(50);
    streams.clients_have_read(0);
    streams.pass(epoch);
    streams.clients_have_read(messages);
    assert!(
        streams.net.now.since(start) <= ms(5 * epoch),
        "within 5 epochs"
    );
}

// spec: LSP-3.1
#[test]
fn window4() {
    scattered(1, 10, params(3, 1_000, 20, 0, 20));
}

#[test]
fn window5() {
    scattered(5, 10, params(3, 1_000, 20, 0, 20));
}

#[test]
fn window6() {
    scattered(10, 10, params(3, 1_000, 20, 0, 20));
}

/// Quarters of the stream are sent with Acks lost, then coming, then lost: the first
/// quarter stays unacknowledged, so that of the last two only what both bounds leave goes.
fn both_bind(clients: usize, config: Config) {
    let mut streams = Streams::new(clients, 20, config);
    let deadline = streams.net.now.after(ms(10_000));
    streams.net.mute_server(true);
    streams.write_to_server(0, 5);
    streams.pass(2_000);
    streams.net.mute_server(false);
    streams.write_to_server(5, 10);
    streams.pass(200);
    streams.net.mute_server(true);
    streams.write_to_server(10, 20);
    streams.pass(500);
    streams.server_has_read(15);
    streams.net.mute_server(false);
    streams.finish(deadline, false);
    streams.server_has_read(20);

    streams.net.mute_clients(true);
    streams.write_to_clients(0, 5);
    streams.pass(2_000);
    streams.net.mute_clients(false);
    streams.write_to_clients(5, 10);
    streams.pass(200);
    streams.net.mute_clients(true);
    streams.write_to_clients(10, 20);
    streams.pass(700);
    streams.clients_have_read(15);
    streams.net.mute_clients(false);
    streams.finish(deadline, true);
    streams.clients_have_read(20);
}

// spec: LSP-4.1 LSP-4.2
#[test]
fn max_unacked_messages4() {
    both_bind(1, params(100, 1_000, 20, 10, 10));
}

#[test]
fn max_unacked_messages5() {
    both_bind(5, params(100, 1_000, 15, 10, 10));
}

#[test]
fn max_unacked_messages6() {
    both_bind(5, params(100, 1_000, 20, 10, 10));
}

/// Half of all datagrams are 500 ms late; within 5 epochs all is read, in order.
fn out_of_order(clients: usize, messages: usize) {
    let mut net = Net::new(params(3, 5_000, 30, 0, 30), 4);
    net.faults.delay = 50;
    net.dial_all(clients, |_| 0);
    let texts: Vec<String> = (0..messages)
        .map(|_| net.prng.next_u64().to_string())
        .collect();
    for client in net.clients() {
        for text in &texts {
            net.client_write(client, text.clone());
        }
    }
    let mut read: BTreeMap<ConnId, Vec<String>> = BTreeMap::new();
    let done = net.run(net.now.after(ms(25_000)), |net| {
        while let Some((id, outcome)) = net.read(SERVER) {
            let text = String::from_utf8(outcome.unwrap().to_vec()).unwrap();
            read.entry(id).or_default().push(text);
        }
        read.values().map(Vec::len).sum::<usize>() == clients * messages
    });
    assert!(done, "within 5 epochs");
    assert!(read.values().all(|read| *read == texts), "in order");
}

// spec: LSP-3.1 LSP-3.2
#[test]
fn out_of_order_msg1() {
    out_of_order(1, 10);
}

#[test]
fn out_of_order_msg2() {
    out_of_order(5, 25);
}

#[test]
fn out_of_order_msg3() {
    out_of_order(10, 25);
}

/// In 14 epochs without an Ack, each message of the window is sent 4 to 6 times.
fn exp_back_off(clients: usize, messages: usize) {
    let config = params(100, 2_000, 5, 4, 5);
    let window = config.window_size;
    let mut streams = Streams::new(clients, messages, config);
    streams.net.mute_server(true);
    streams.net.sniffed = Some(Sniffed::default());
    streams.write_to_server(0, messages);
    streams.pass(14 * 2_000);
    let sent = streams.net.sniffed.take().unwrap().data;
    let each = window * clients;
    assert!(
        (4 * each..=6 * each).contains(&sent),
        "{sent} of {each} messages"
    );
    // Not only about right: 0, 1, 3, 6, 11 are the epochs in which a message goes.
    assert_eq!(sent, 5 * each);
}

// spec: LSP-6.2
#[test]
fn exp_back_off1() {
    exp_back_off(1, 10);
}

#[test]
fn exp_back_off2() {
    exp_back_off(10, 15);
}
