//! One client: read what it sent, run all of it, answer with one write.
//!
//! A pipeline is cut into segments of one kind. Consecutive writes become one batch and one
//! proposal; consecutive reads share one view, with one check of the lease before and one after.
//! Segments run one after the other, so replies keep their order and a read sees the writes
//! before it.
//!
//! An idle connection holds no input buffer. One that doesn't read its replies isn't read from.

mod transaction;

use core::future::poll_fn;
use core::pin::{Pin, pin};
use core::sync::atomic::Ordering;
use core::task::{Poll, ready};
use core::time::Duration;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf as _, BytesMut};
use engine::ReadView;
use kv_core::{Batch, Reply};
use resp::{Decoder, Encoder, Protocol, Request};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _};
use tokio::net::TcpStream;

use super::clients::Client;
use super::commands::unknown;
use super::error::CommandError;
use super::limits;
use super::session::{Door, Flow, Session};
use super::table::{Command, Handler, Hits, LocalHandler, Lookup, Reading, Shape, Spec};

/// The reply that a command of the current batch will get.
enum Pending {
    /// From the state machine.
    Reply(&'static Spec, Shape),
    /// Known already: the command was refused before it got into the batch.
    Error(CommandError),
}

/// Why processing stopped.
enum Next {
    /// All complete requests are answered.
    Read,
    /// There is a lot of output.
    Flush,
    /// The batch must run before anything else can.
    Execute,
    /// Reads need to wait for the right to read.
    Barrier,
    /// What was queued must run.
    Transaction,
    /// The client asked for a pause.
    Sleep(Duration),
    /// The output is the last.
    Close,
}

/// A client's connection.
pub(super) struct Connection {
    door: Arc<Door>,
    client: Arc<Client>,
    /// Which thread this runs on, and so which counters are its own.
    thread: usize,
    stream: TcpStream,
    protocol: Protocol,
    decoder: Decoder,
    input: BytesMut,
    /// How much of the input is answered.
    done: usize,
    /// When the last input arrived. One clock reading serves several purposes: at this speed
    /// they are a few percent of the work.
    arrived: Instant,
    output: BytesMut,
    batch: Batch,
    pending: Vec<Pending>,
    /// What was queued since `MULTI`.
    transaction: Option<transaction::Queue>,
}

impl Connection {
    pub(super) fn new(
        door: Arc<Door>,
        client: Arc<Client>,
        thread: usize,
        stream: TcpStream,
    ) -> Self {
        Self {
            door,
            client,
            thread,
            stream,
            protocol: Protocol::default(),
            decoder: Decoder::new(limits::REQUEST),
            input: BytesMut::new(),
            done: 0,
            arrived: Instant::now(),
            output: BytesMut::new(),
            batch: Batch::new(),
            pending: Vec::new(),
            transaction: None,
        }
    }

    /// Serves until the client leaves, is told to, or breaks the protocol.
    pub(super) async fn run(mut self) -> io::Result<()> {
        loop {
            match self.process() {
                Next::Read => {
                    self.flush().await?;
                    if self.fill().await? == 0 {
                        return Ok(());
                    }
                }
                Next::Flush => self.flush().await?,
                Next::Execute => self.execute().await,
                Next::Barrier => self.wait_to_read().await,
                Next::Transaction => self.execute_transaction().await,
                Next::Sleep(pause) => {
                    self.flush().await?;
                    tokio::time::sleep(pause).await;
                }
                Next::Close => return self.flush().await,
            }
        }
    }

    /// Runs requests until something has to be waited for.
    fn process(&mut self) -> Next {
        loop {
            if self.output.len() >= limits::OUTPUT_BYTES_MAX {
                return Next::Flush;
            }
            if let Some(next) = self.step() {
                return next;
            }
        }
    }

    /// Runs one request, or several reads.
    fn step(&mut self) -> Option<Next> {
        let waiting = !self.pending.is_empty();
        let request = match self.decoder.decode(&self.input[self.done..]) {
            Ok(Some(request)) => request,
            // Whatever comes next comes after the batch. The decoder will say the same again.
            Ok(None) | Err(_) if waiting => return Some(Next::Execute),
            Ok(None) => return Some(Next::Read),
            Err(error) => {
                Encoder::new(&mut self.output, self.protocol).error(&format!("ERR {error}"));
                return Some(Next::Close);
            }
        };
        if request.is_empty() {
            self.done += request.consumed();
            return None;
        }
        let command = match check(&self.door, &request) {
            Ok(command) => command,
            Err(Rejected::Hangup) if waiting => return Some(Next::Execute),
            Err(Rejected::Hangup) => return Some(Next::Close),
            Err(Rejected::Error(error)) => {
                self.done += request.consumed();
                self.refuse(error);
                return None;
            }
        };
        if self.transaction.is_some() && !acts_at_once(command.spec) {
            self.queue(command);
            return None;
        }
        match command.spec.handler {
            Handler::Write(write) => {
                let bytes = request.consumed();
                if waiting
                    && (self.pending.len() >= limits::BATCH_COMMANDS_MAX
                        || self.batch.bytes().len() + bytes > limits::BATCH_BYTES_AIM)
                {
                    return Some(Next::Execute);
                }
                let result = if bytes > limits::WRITE_REQUEST_BYTES_MAX {
                    Err(CommandError::COMMAND_TOO_LARGE)
                } else {
                    write(&request, &mut self.batch)
                };
                self.done += bytes;
                self.count(command);
                match result {
                    Ok(shape) => self.pending.push(Pending::Reply(command.spec, shape)),
                    Err(error) => self.refuse(error),
                }
                None
            }
            _ if waiting => Some(Next::Execute),
            Handler::Read(_) => self.read_now(),
            Handler::Local(local) => self.run_local(command, local),
            Handler::Control(control) => self.control(command, control),
            // Answered by `check`: a container without subcommand has the wrong arity.
            Handler::Container(_) => None,
        }
    }

    /// Runs the command that the input begins with.
    fn run_local(&mut self, command: Command, local: LocalHandler) -> Option<Next> {
        let Ok(Some(request)) = self.decoder.decode(&self.input[self.done..]) else {
            return Some(Next::Read);
        };
        let before = self.output.len();
        let mut encoder = Encoder::new(&mut self.output, self.protocol);
        let mut session = Session {
            door: &self.door,
            client: &self.client,
            protocol: &mut self.protocol,
        };
        let result = local(&mut session, &request, &mut encoder);
        self.done += request.consumed();
        self.count(command);
        if command.spec.name == "reset" {
            self.transaction = None;
        }
        match result {
            Ok(Flow::Continue) => None,
            Ok(Flow::Close) => Some(Next::Close),
            Ok(Flow::Sleep(pause)) => Some(Next::Sleep(pause)),
            Err(error) => {
                self.output.truncate(before);
                self.refuse(error);
                None
            }
        }
    }

    /// Notes that a command ran.
    #[inline]
    fn count(&self, command: Command) {
        self.door.stats.thread(self.thread).calls[usize::from(command.index)].add(1);
        self.client
            .last_command
            .store(command.index, Ordering::Relaxed);
    }

    /// Answers with an error, behind the replies that are still to come.
    #[cold]
    fn refuse(&mut self, error: CommandError) {
        self.spoil_transaction();
        self.door.stats.thread(self.thread).errors.add(1);
        if self.pending.is_empty() {
            Encoder::new(&mut self.output, self.protocol).error(error.text());
        } else {
            self.pending.push(Pending::Error(error));
        }
    }

    /// Answers reads at once if this node leads and its lease is running.
    fn read_now(&mut self) -> Option<Next> {
        let door = Arc::clone(&self.door);
        let Some(guard) = door.handle.try_read() else {
            return Some(Next::Barrier);
        };
        let (done, written) = (self.done, self.output.len());
        self.run_reads(&Ok(&guard.view()));
        if guard.confirm() {
            return None;
        }
        // The lease ended on the way: none of it counts.
        self.done = done;
        self.output.truncate(written);
        Some(Next::Barrier)
    }

    /// Waits for the right to read, and answers all reads that have arrived.
    async fn wait_to_read(&mut self) {
        let door = Arc::clone(&self.door);
        match door.handle.read_barrier().await {
            Ok(()) => self.run_reads(&Ok(&door.handle.view())),
            Err(error) => self.run_reads(&Err(CommandError::of_read(error))),
        }
    }

    /// Answers the reads that the input begins with, from a view or all with an error.
    fn run_reads(&mut self, view: &Result<&ReadView<'_>, CommandError>) {
        let stats = self.door.stats.thread(self.thread);
        let mut encoder = Encoder::new(&mut self.output, self.protocol);
        let mut hits = Hits::default();
        let mut last = None;
        for _ in 0..limits::READS_PER_VIEW_MAX {
            if encoder.len() >= limits::OUTPUT_BYTES_MAX {
                break;
            }
            let Ok(Some(request)) = self.decoder.decode(&self.input[self.done..]) else {
                break;
            };
            if request.is_empty() {
                self.done += request.consumed();
                continue;
            }
            let Ok(command) = check(&self.door, &request) else {
                break;
            };
            let Handler::Read(read) = command.spec.handler else {
                break;
            };
            let before = encoder.len();
            let result = match view {
                Ok(view) => {
                    let mut reading = Reading { view, hits };
                    let result = read(&mut reading, &request, &mut encoder);
                    hits = reading.hits;
                    result
                }
                Err(error) => Err(error.clone()),
            };
            if let Err(error) = result {
                encoder.truncate(before);
                encoder.error(error.text());
                stats.errors.add(1);
            }
            self.done += request.consumed();
            stats.calls[usize::from(command.index)].add(1);
            last = Some(command.index);
        }
        if let Some(index) = last {
            self.client.last_command.store(index, Ordering::Relaxed);
        }
        stats.key_hits.add(hits.hits);
        stats.key_misses.add(hits.misses);
        stats.reads.record(self.arrived.elapsed());
    }

    /// Runs the batch and answers its commands.
    async fn execute(&mut self) {
        let began = Instant::now();
        let batch = core::mem::take(&mut self.batch);
        let outcome = if batch.is_empty() {
            Ok(Vec::new())
        } else {
            self.door.handle.execute(batch).await
        };
        let stats = self.door.stats.thread(self.thread);
        stats.writes.record(began.elapsed());
        let mut encoder = Encoder::new(&mut self.output, self.protocol);
        match outcome {
            Ok(replies) => {
                let mut replies = replies.into_iter();
                for pending in self.pending.drain(..) {
                    match pending {
                        Pending::Error(error) => encoder.error(error.text()),
                        Pending::Reply(spec, shape) => match replies.next() {
                            Some(reply) => write_reply(&reply, spec, shape, &mut encoder),
                            // The node promises one reply per command.
                            None => encoder.error("ERR internal error: a reply is missing"),
                        },
                    }
                }
            }
            Err(error) => {
                let failure = CommandError::of_execute(error);
                for pending in self.pending.drain(..) {
                    stats.errors.add(1);
                    match pending {
                        Pending::Error(error) => encoder.error(error.text()),
                        Pending::Reply(..) => encoder.error(failure.text()),
                    }
                }
            }
        }
    }

    /// Sends the output.
    async fn flush(&mut self) -> io::Result<()> {
        let bytes = self.output.len();
        if bytes == 0 {
            return Ok(());
        }
        while !self.output.is_empty() {
            let Self {
                stream,
                output,
                client,
                ..
            } = &mut *self;
            let sent = poll_fn(|context| {
                let written = Pin::new(&mut *stream).poll_write(context, output);
                if written.is_pending() && client.poll_stopped(context.waker()).is_ready() {
                    return Poll::Ready(Ok(0));
                }
                written
            })
            .await?;
            if sent == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.output.advance(sent);
        }
        self.door
            .stats
            .thread(self.thread)
            .bytes_out
            .add(bytes as u64);
        if self.output.capacity() > limits::OUTPUT_BYTES_KEPT {
            self.output = BytesMut::new();
        } else {
            self.output.clear();
        }
        Ok(())
    }

    /// Waits for input; 0 at its end.
    async fn fill(&mut self) -> io::Result<usize> {
        self.input.advance(self.done);
        self.done = 0;
        if self.client.is_stopped() {
            return Ok(0);
        }
        if self.input.is_empty() {
            // An idle connection needs no buffer, and one is quickly made.
            self.input = BytesMut::new();
            self.decoder.shrink();
            self.pending.shrink_to(limits::READS_PER_VIEW_MAX);
            let Self { stream, client, .. } = &mut *self;
            let stopped = poll_fn(|context| {
                if client.poll_stopped(context.waker()).is_ready() {
                    return Poll::Ready(Ok(true));
                }
                Poll::Ready(ready!(stream.poll_read_ready(context)).map(|()| false))
            })
            .await?;
            if stopped {
                return Ok(0);
            }
        }
        let missing = self.decoder.bytes_missing(&self.input);
        self.input
            .reserve(missing.clamp(limits::READ_BYTES, limits::READ_AHEAD_BYTES_MAX));
        let Self {
            stream,
            input,
            client,
            ..
        } = &mut *self;
        let mut read = pin!(stream.read_buf(input));
        let bytes = poll_fn(|context| {
            let bytes = read.as_mut().poll(context);
            if bytes.is_pending() && client.poll_stopped(context.waker()).is_ready() {
                return Poll::Ready(Ok(0));
            }
            bytes
        })
        .await?;
        self.arrived = Instant::now();
        let heard = self.arrived.duration_since(self.client.since).as_millis();
        self.client
            .heard_ms
            .store(u64::try_from(heard).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.door
            .stats
            .thread(self.thread)
            .bytes_in
            .add(bytes as u64);
        Ok(bytes)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.door.clients.leave(self.client.id);
    }
}

/// Whether a command isn't queued in a transaction.
fn acts_at_once(spec: &Spec) -> bool {
    matches!(spec.handler, Handler::Control(_)) || matches!(spec.name, "quit" | "reset")
}

/// Why a request names no command that can run.
enum Rejected {
    Error(CommandError),
    /// A browser that was tricked into talking to a database.
    Hangup,
}

/// The command that a request names, if it is known and gets as many arguments as it wants.
#[inline]
fn check(door: &Door, request: &Request<'_>) -> Result<Command, Rejected> {
    match door.commands.lookup(request) {
        Lookup::Known(command) if command.spec.accepts(request.len()) => Ok(command),
        Lookup::Known(command) => Err(Rejected::Error(CommandError::wrong_arity(
            command.spec.name,
        ))),
        Lookup::UnknownCommand if unknown::is_http(&request[0]) => Err(Rejected::Hangup),
        Lookup::UnknownCommand => Err(Rejected::Error(unknown::command(request))),
        Lookup::UnknownSubcommand(container) => {
            Err(Rejected::Error(unknown::subcommand(container, request)))
        }
    }
}

/// What the state machine answered, as a client wants to hear it.
#[inline]
fn write_reply(reply: &Reply, spec: &Spec, shape: Shape, out: &mut Encoder<'_>) {
    match (reply, shape) {
        (Reply::Ok, Shape::Plain) => out.ok(),
        (Reply::Ok, Shape::Flag) => out.integer(1),
        (Reply::Nil, Shape::Plain) => out.null(),
        (Reply::Nil, Shape::Flag) => out.integer(0),
        (Reply::Integer(number), _) => out.integer(*number),
        (Reply::Value(value), _) => out.optional_bulk(value.as_deref()),
        (Reply::Float(text), _) => out.bulk(text),
        (Reply::Version(version), _) => out.integer(i64::try_from(*version).unwrap_or(i64::MAX)),
        (Reply::Error(error), _) => {
            out.error(CommandError::of_reply(*error, spec.name).text());
        }
    }
}
