//! Closing, and servers that start late. `TestServerSlowStart1`-`2`, `TestServerClose1`-`2`,
//! `TestServerCloseConns1`-`2`, `TestClientClose1`-`2`.
//!
//! Ten messages are echoed by each client, then somebody closes; the other side must
//! notice within the limit of epochs, after it has read everything.

use bytes::Bytes;
use lsp_core::{CloseError, Config, Event, ReadError, WriteError};

use crate::net::{Net, SERVER, ms, params};

const MESSAGES: usize = 10;

/// Who closes once everything was echoed.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Closer {
    Server,
    ServerConns,
    Clients,
}

/// The state of one client of the test.
#[derive(Clone, Default)]
struct Client {
    written: usize,
    echoed: usize,
    ended: bool,
}

struct Closing {
    net: Net,
    clients: Vec<Client>,
    echoed: usize,
    lost_by_server: usize,
}

impl Closing {
    fn new(clients: usize, config: Config) -> Self {
        let mut net = Net::new(config, 5);
        for _ in 0..clients {
            net.dial(0);
        }
        Self {
            net,
            clients: vec![Client::default(); clients],
            echoed: 0,
            lost_by_server: 0,
        }
    }

    /// One turn of everybody's loop.
    fn step(&mut self, closer: Option<Closer>) {
        while let Some((id, outcome)) = self.net.read(SERVER) {
            match outcome {
                Ok(payload) => {
                    self.net.server_write(id, payload);
                    self.echoed += 1;
                }
                Err(ReadError::Lost) => self.lost_by_server += 1,
                Err(ReadError::Closed) => {}
                Err(ReadError::Unknown) => panic!("the server knows {id}"),
            }
        }
        for client in self.net.clients() {
            self.step_client(client, closer);
        }
    }

    fn step_client(&mut self, client: usize, closer: Option<Closer>) {
        let state = &mut self.clients[client - 1];
        while let Some((_, outcome)) = self.net.read(client) {
            if let Ok(payload) = outcome {
                assert_eq!(payload, Bytes::from(state.echoed.to_string()));
                state.echoed += 1;
            } else {
                assert_eq!(
                    state.echoed, MESSAGES,
                    "everything is read before the error"
                );
                state.ended = true;
            }
        }
        if !self.net.is_connected(client) || state.ended {
            return;
        }
        if state.written == state.echoed && state.written < MESSAGES {
            let text = state.written.to_string();
            state.written += 1;
            self.net.client_write(client, text);
        }
        if state.echoed == MESSAGES && closer == Some(Closer::Clients) {
            state.ended = true;
            let handle = Net::HANDLE;
            self.net.close(client, handle);
        }
    }

    fn all_ended(&self) -> bool {
        self.clients.iter().all(|client| client.ended)
    }
}

/// After the end, nothing can be read, written or closed.
fn assert_over(net: &mut Net, client: usize) {
    let handle = Net::HANDLE;
    let endpoint = &mut net.nodes[client].endpoint;
    assert_eq!(
        endpoint.write(handle, Bytes::new()),
        Err(WriteError::Unknown)
    );
    assert_eq!(endpoint.read(handle), Err(ReadError::Unknown));
    assert_eq!(endpoint.close(net.now, handle), Err(CloseError::Unknown));
    assert!(endpoint.is_empty(), "nothing is left");
    assert_eq!(endpoint.poll_timeout(), None, "nothing is left to do");
}

fn slow_start(clients: usize) {
    let epoch = 500;
    let mut closing = Closing::new(clients, params(5, epoch, 1, 0, 1));
    closing.net.nodes[SERVER].up = false;
    closing.net.pass(ms(3 * epoch));
    closing.net.nodes[SERVER].up = true;
    let deadline = closing.net.now.after(ms(2 * epoch));
    run(&mut closing, deadline, Some(Closer::Clients), |closing| {
        closing.all_ended()
            && closing
                .net
                .clients()
                .all(|node| closing.net.nodes[node].endpoint.is_empty())
    });
    for client in closing.net.clients() {
        assert_over(&mut closing.net, client);
    }
}

fn run(
    closing: &mut Closing,
    deadline: stdx::Instant,
    closer: Option<Closer>,
    done: impl Fn(&Closing) -> bool,
) {
    // The net is taken out so that its loop can borrow the rest.
    let mut net = core::mem::replace(&mut closing.net, Net::new(Config::default(), 0));
    let satisfied = net.run(deadline, |net| {
        core::mem::swap(net, &mut closing.net);
        closing.step(closer);
        let done = done(closing);
        core::mem::swap(net, &mut closing.net);
        done
    });
    closing.net = net;
    assert!(satisfied, "in time: {} echoes", closing.echoed);
}

// spec: LSP-3.3
#[test]
fn server_slow_start1() {
    slow_start(1);
}

#[test]
fn server_slow_start2() {
    slow_start(3);
}

fn server_closes(clients: usize, epochs: u64, config: Config, closer: Closer) {
    let deadline = stdx::Instant::EPOCH.after(config.epoch * u32::try_from(epochs).unwrap());
    let mut closing = Closing::new(clients, config);
    run(&mut closing, deadline, Some(closer), |closing| {
        closing.echoed == clients * MESSAGES
    });
    match closer {
        Closer::Server => {
            let now = closing.net.now;
            closing.net.nodes[SERVER].endpoint.shut_down(now);
            closing.net.flush(SERVER);
        }
        Closer::ServerConns => {
            let handles: Vec<_> = closing.net.nodes[SERVER].endpoint.handles().collect();
            for handle in handles {
                closing.net.close(SERVER, handle);
            }
        }
        Closer::Clients => unreachable!("the server closes"),
    }
    let id = closing.net.id(1);
    let handle = closing.net.server_handle(id).unwrap();
    let server = &mut closing.net.nodes[SERVER].endpoint;
    assert!(
        server.write(handle, Bytes::new()).is_err(),
        "no writes after close"
    );
    assert!(server.read(handle).is_err(), "no reads after close");
    // The clients notice, each after it has read its last echo.
    run(&mut closing, deadline, Some(closer), Closing::all_ended);
    for client in closing.net.clients() {
        assert!(closing.net.has_event(client, Event::Lost));
        assert_over(&mut closing.net, client);
    }
    let server = &closing.net.nodes[SERVER].endpoint;
    assert!(
        server.is_empty(),
        "everything was acknowledged, so nothing is left"
    );
    assert_eq!(closing.lost_by_server, 0, "the server lost nobody");
}

// spec: LSP-7.2 LSP-7.3 LSP-7.4
#[test]
fn server_close1() {
    server_closes(1, 10, params(5, 500, 1, 0, 1), Closer::Server);
}

#[test]
fn server_close2() {
    server_closes(3, 5, params(2, 500, 1, 0, 1), Closer::Server);
}

#[test]
fn server_close_conns1() {
    server_closes(1, 10, params(5, 500, 1, 0, 1), Closer::ServerConns);
}

#[test]
fn server_close_conns2() {
    server_closes(3, 5, params(2, 500, 1, 0, 1), Closer::ServerConns);
}

fn clients_close(clients: usize, epochs: u64) {
    let epoch = 500;
    let mut closing = Closing::new(clients, params(5, epoch, 1, 0, 1));
    let deadline = stdx::Instant::EPOCH.after(ms(epochs * epoch));
    run(&mut closing, deadline, Some(Closer::Clients), |closing| {
        closing.lost_by_server == clients
    });
    assert_eq!(closing.echoed, clients * MESSAGES);
    for client in closing.net.clients() {
        assert!(closing.net.has_event(client, Event::Closed));
        assert_over(&mut closing.net, client);
    }
    assert!(closing.net.nodes[SERVER].endpoint.is_empty());
}

#[test]
fn client_close1() {
    clients_close(2, 10);
}

#[test]
fn client_close2() {
    clients_close(3, 15);
}
