//! `MULTI` and `EXEC`: the queued commands become one batch, which is one entry of the log or
//! part of one, so all of them take effect at the same moment or none does.
//!
//! What that leaves out: reads next to writes would have to be done inside the state machine, and
//! only `GET` and `MGET` can be. A transaction of reads alone may have any of them: it is answered
//! from one view. `WATCH` needs a comparison in the log and isn't there.

use bytes::BytesMut;
use kv_core::limits::{BATCH_BYTES_MAX, BATCH_COMMANDS_MAX};
use kv_core::{Batch, Command as Write, Reply};
use resp::{Decoder, Encoder, Request, encode_request};

use super::{Connection, Next, check, write_reply};
use crate::resp_server::error::CommandError;
use crate::resp_server::limits;
use crate::resp_server::session::Session;
use crate::resp_server::table::{Command, Control, Handler, Hits, Reading, Shape};

/// Commands between `MULTI` and `EXEC`.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Encoded requests, as a client would send them.
    requests: BytesMut,
    count: usize,
    /// A command was refused when it was queued: nothing will run.
    refused: bool,
}

/// What becomes of a queued command.
enum Part {
    /// It is the next command of the batch.
    Write(Command, Shape),
    /// It is the next so many commands of the batch: reads through the log.
    Get(usize),
    /// Refused by its handler: the others run, as in Redis.
    Refused(CommandError),
    /// It runs when its turn to reply comes.
    Local(Command),
}

/// Names of the reads that can be done in the log.
const GET: &str = "get";
const MGET: &str = "mget";

impl Connection {
    /// Runs the command that the input begins with while a transaction is open, unless it is one
    /// that acts at once.
    pub(super) fn queue(&mut self, command: Command) {
        let Self {
            decoder,
            input,
            done,
            transaction,
            ..
        } = &mut *self;
        let Ok(Some(request)) = decoder.decode(&input[*done..]) else {
            return;
        };
        *done += request.consumed();
        let Some(queue) = transaction else { return };
        let full = queue.count == BATCH_COMMANDS_MAX
            || queue.requests.len() + request.consumed() > BATCH_BYTES_MAX;
        let error = if full {
            CommandError::fixed("ERR the transaction exceeds 65,536 commands or 16 MiB")
        } else if command.spec.name == "hello" {
            CommandError::fixed("ERR Command not allowed inside a transaction")
        } else {
            let arguments: Vec<&[u8]> = request.iter().collect();
            encode_request(&mut queue.requests, &arguments);
            queue.count += 1;
            self.output.extend_from_slice(b"+QUEUED\r\n");
            return;
        };
        self.refuse(error);
    }

    /// Notes that a command could not be queued.
    pub(super) fn spoil_transaction(&mut self) {
        if let Some(queue) = &mut self.transaction {
            queue.refused = true;
        }
    }

    /// Runs a command about transactions that the input begins with.
    pub(super) fn control(&mut self, command: Command, control: Control) -> Option<Next> {
        if let Ok(Some(request)) = self.decoder.decode(&self.input[self.done..]) {
            self.done += request.consumed();
        }
        self.count(command);
        let open = self.transaction.is_some();
        let error = match (control, open) {
            (Control::Multi, false) => {
                self.transaction = Some(Queue::default());
                self.output.extend_from_slice(b"+OK\r\n");
                return None;
            }
            (Control::Discard, true) => {
                self.transaction = None;
                self.output.extend_from_slice(b"+OK\r\n");
                return None;
            }
            (Control::Unwatch, _) => {
                self.output.extend_from_slice(b"+OK\r\n");
                return None;
            }
            (Control::Exec, true) => return Some(Next::Transaction),
            (Control::Exec, false) => "ERR EXEC without MULTI",
            (Control::Discard, false) => "ERR DISCARD without MULTI",
            (Control::Multi, true) => "ERR MULTI calls can not be nested",
            (Control::Watch, true) => "ERR WATCH inside MULTI is not allowed",
            (Control::Watch, false) => {
                "ERR WATCH is not supported: use SET with NX, or CompareAndSet of the gRPC door"
            }
        };
        // A transaction that is open stays whole.
        Encoder::new(&mut self.output, self.protocol).error(error);
        None
    }

    /// Runs what was queued.
    pub(super) async fn execute_transaction(&mut self) {
        let queue = self.transaction.take().unwrap_or_default();
        let before = self.output.len();
        let result = if queue.refused {
            Err(CommandError::fixed(
                "EXECABORT Transaction discarded because of previous errors.",
            ))
        } else {
            self.execute_queue(&queue).await
        };
        if let Err(error) = result {
            self.output.truncate(before);
            self.refuse(error);
        }
    }

    async fn execute_queue(&mut self, queue: &Queue) -> Result<(), CommandError> {
        let mut batch = Batch::new();
        let mut parts = Vec::with_capacity(queue.count);
        let (mut writes, mut reads) = (false, None);
        for_each_request(queue, |request| {
            let Ok(command) = check(&self.door, request) else {
                return;
            };
            parts.push(match command.spec.handler {
                Handler::Write(write) => {
                    writes = true;
                    match write(request, &mut batch) {
                        Ok(shape) => Part::Write(command, shape),
                        Err(error) => Part::Refused(error),
                    }
                }
                Handler::Read(_) if matches!(command.spec.name, GET | MGET) => {
                    for key in request.iter().skip(1) {
                        batch.push(&Write::Get { key });
                    }
                    Part::Get(request.len() - 1)
                }
                Handler::Read(_) => {
                    reads = Some(command.spec.name);
                    Part::Local(command)
                }
                Handler::Local(_) | Handler::Control(_) | Handler::Container(_) => {
                    Part::Local(command)
                }
            });
        });
        match (writes, reads) {
            (false, _) => self.answer_from_a_view(queue).await,
            (true, Some(name)) => Err(CommandError::new(format!(
                "EXECABORT Transaction discarded: '{name}' can't stand next to writes in a \
                 transaction, only 'get' and 'mget' can"
            ))),
            (true, None) => {
                let replies = self
                    .door
                    .handle
                    .execute(batch)
                    .await
                    .map_err(CommandError::of_execute)?;
                self.answer_from_the_log(queue, &parts, &replies);
                Ok(())
            }
        }
    }

    /// Answers a transaction that writes.
    fn answer_from_the_log(&mut self, queue: &Queue, parts: &[Part], replies: &[Reply]) {
        let Self {
            output,
            protocol,
            door,
            client,
            ..
        } = self;
        let mut out = Encoder::new(output, *protocol);
        out.array(queue.count);
        let (mut replies, mut parts) = (replies.iter(), parts.iter());
        for_each_request(queue, |request| match parts.next() {
            Some(Part::Write(command, shape)) => {
                if let Some(reply) = replies.next() {
                    write_reply(reply, command.spec, *shape, &mut out);
                }
            }
            Some(Part::Get(count)) => {
                let is_array = check(door, request).is_ok_and(|found| found.spec.name == MGET);
                if is_array {
                    out.array(*count);
                }
                for reply in replies.by_ref().take(*count) {
                    match reply {
                        Reply::Value(value) => out.optional_bulk(value.as_deref()),
                        _ => out.null(),
                    }
                }
            }
            Some(Part::Local(command)) => {
                let mut session = Session {
                    door,
                    client,
                    protocol,
                };
                run_local(*command, request, &mut session, &mut out);
            }
            Some(Part::Refused(error)) => out.error(error.text()),
            None => {}
        });
    }

    /// Answers a transaction that only reads, from one view.
    async fn answer_from_a_view(&mut self, queue: &Queue) -> Result<(), CommandError> {
        let door = std::sync::Arc::clone(&self.door);
        let before = self.output.len();
        if let Some(guard) = door.handle.try_read() {
            self.run_queue(queue, &guard.view());
            if guard.confirm() {
                return Ok(());
            }
            self.output.truncate(before);
        }
        door.handle
            .read_barrier()
            .await
            .map_err(CommandError::of_read)?;
        self.run_queue(queue, &door.handle.view());
        Ok(())
    }

    fn run_queue(&mut self, queue: &Queue, view: &engine::ReadView<'_>) {
        let Self {
            output,
            protocol,
            door,
            client,
            ..
        } = self;
        let mut out = Encoder::new(output, *protocol);
        out.array(queue.count);
        for_each_request(queue, |request| {
            let Ok(command) = check(door, request) else {
                return;
            };
            if let Handler::Read(read) = command.spec.handler {
                let before = out.len();
                let mut reading = Reading {
                    view,
                    hits: Hits::default(),
                };
                if let Err(error) = read(&mut reading, request, &mut out) {
                    out.truncate(before);
                    out.error(error.text());
                }
            } else {
                let mut session = Session {
                    door,
                    client,
                    protocol,
                };
                run_local(command, request, &mut session, &mut out);
            }
        });
    }
}

/// A command about the connection or the node; what it wants to happen after it doesn't.
fn run_local(
    command: Command,
    request: &Request<'_>,
    session: &mut Session<'_>,
    out: &mut Encoder<'_>,
) {
    let Handler::Local(local) = command.spec.handler else {
        out.error("ERR Command not allowed inside a transaction");
        return;
    };
    let before = out.len();
    if let Err(error) = local(session, request, out) {
        out.truncate(before);
        out.error(error.text());
    }
}

/// Calls back for every queued request.
fn for_each_request(queue: &Queue, mut visit: impl FnMut(&Request<'_>)) {
    let mut decoder = Decoder::new(limits::REQUEST);
    let mut done = 0;
    // What was encoded here can be decoded here; the end of the buffer ends it.
    while let Ok(Some(request)) = decoder.decode(&queue.requests[done..]) {
        done += request.consumed();
        visit(&request);
    }
}
