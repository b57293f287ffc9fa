//! Payloads that were cut, lengthened or changed on the way. `TestVariableLengthMsgServer`,
//! `TestVariableLengthMsgClient`, `TestCorruptedMsgServer`, `TestCorruptedMsgClient`.

use bytes::Bytes;

use crate::net::{Net, SERVER, ms, params};

/// Which side receives.
#[derive(Clone, Copy)]
enum Receiver {
    Server,
    Client,
}

struct Damage {
    net: Net,
    receiver: Receiver,
}

impl Damage {
    fn new(receiver: Receiver) -> Self {
        let mut net = Net::new(params(5, 2_000, 1, 0, 1), 7);
        net.dial_all(1, |prng| 1 + prng.below(256));
        Self { net, receiver }
    }

    fn write(&mut self, payload: &Bytes) {
        match self.receiver {
            Receiver::Server => self.net.client_write(1, payload.clone()),
            Receiver::Client => {
                let id = self.net.id(1);
                self.net.server_write(id, payload.clone());
            }
        }
    }

    /// What is read within 2 s, if anything is.
    fn read(&mut self) -> Option<Bytes> {
        let node = match self.receiver {
            Receiver::Server => SERVER,
            Receiver::Client => 1,
        };
        let mut read = None;
        self.net.run(self.net.now.after(ms(2_000)), |net| {
            read = net.read(node).map(|(_, outcome)| outcome.unwrap());
            read.is_some()
        });
        read
    }
}

fn variable_length(receiver: Receiver) {
    let mut damage = Damage::new(receiver);
    let payload = Bytes::from_static(b"417000");
    damage.write(&payload);
    assert_eq!(damage.read(), Some(payload.clone()), "a normal message");
    damage.net.faults.lengthen = true;
    damage.write(&payload);
    assert_eq!(
        damage.read(),
        Some(payload.clone()),
        "a longer one, cut to its size"
    );
    damage.net.faults.lengthen = false;
    damage.net.faults.shorten = true;
    damage.write(&payload);
    assert_eq!(damage.read(), None, "a shorter one is dropped");
    // Beyond the original: it wasn't acknowledged either, so it comes through later.
    damage.net.faults.shorten = false;
    assert_eq!(damage.read(), Some(payload));
}

// spec: LSP-2.3
#[test]
fn variable_length_msg_server() {
    variable_length(Receiver::Server);
}

#[test]
fn variable_length_msg_client() {
    variable_length(Receiver::Client);
}

fn corrupted(receiver: Receiver) {
    let mut damage = Damage::new(receiver);
    let payload = Bytes::from_static(b"417000");
    damage.write(&payload);
    assert_eq!(damage.read(), Some(payload.clone()), "an untouched message");
    damage.net.faults.corrupt = 100;
    damage.write(&payload);
    assert_eq!(damage.read(), None, "a changed one is dropped");
    damage.net.faults.corrupt = 0;
    assert_eq!(
        damage.read(),
        Some(payload),
        "and sent again until it is whole"
    );
}

// spec: LSP-2.5
#[test]
fn corrupted_msg_server() {
    corrupted(Receiver::Server);
}

#[test]
fn corrupted_msg_client() {
    corrupted(Receiver::Client);
}
