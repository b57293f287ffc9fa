//! The thread that carries packets between two devices.

use std::os::fd::OwnedFd;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use crate::pipe::{Counts, Pipe};
use crate::tun::Tun;

/// The longest packet of IP.
const PACKET_BYTES_MAX: usize = 1 << 16;
/// Packets read from one device before others have their turn.
const READS_MAX: usize = 64;
/// How much the relay goes before other work: packets shouldn't wait for the processor.
const PRIORITY: i32 = -15;

/// A running relay.
#[derive(Debug)]
pub(crate) struct Relay {
    stop: OwnedFd,
    thread: JoinHandle<Result<(Counts, Counts)>>,
}

impl Relay {
    pub(crate) fn start(a: Tun, b: Tun, there: Pipe, back: Pipe) -> Result<Self> {
        let stop = eventfd(0, EventfdFlags::empty()).context("cannot make an event")?;
        let stopped = stop.try_clone().context("cannot share an event")?;
        let thread = thread::Builder::new()
            .name("relay".to_owned())
            .spawn(move || run(&a, &b, there, back, &stopped))
            .context("cannot start a thread")?;
        Ok(Self { stop, thread })
    }

    /// Ends it; what went there and what came back.
    pub(crate) fn stop(self) -> Result<(Counts, Counts)> {
        rustix::io::write(&self.stop, &1_u64.to_ne_bytes()).context("cannot stop the relay")?;
        self.thread
            .join()
            .map_err(|_| anyhow!("the relay panicked"))?
    }
}

fn run(
    a: &Tun,
    b: &Tun,
    mut there: Pipe,
    mut back: Pipe,
    stop: &OwnedFd,
) -> Result<(Counts, Counts)> {
    if let Err(error) = rustix::process::setpriority_process(None, PRIORITY) {
        eprintln!("warning: the link has no priority, and may be late: {error}");
    }
    let mut buffer = vec![0; PACKET_BYTES_MAX];
    loop {
        let now = Instant::now();
        // What the receiver has no room for is lost as on any link: a device whose queue is
        // full, or one that is not up yet.
        there.pop_due(now, |packet| drop(b.write(packet)));
        back.pop_due(now, |packet| drop(a.write(packet)));
        let due = [there.next_due(), back.next_due()]
            .into_iter()
            .flatten()
            .min();
        if wait(a, b, stop, due)? {
            return Ok((there.counts(), back.counts()));
        }
        take(a, &mut there, &mut buffer)?;
        take(b, &mut back, &mut buffer)?;
    }
}

/// Waits for a packet or until `due`; whether to stop.
fn wait(a: &Tun, b: &Tun, stop: &OwnedFd, due: Option<Instant>) -> Result<bool> {
    let timeout = due.map(|due| {
        let span = due.saturating_duration_since(Instant::now());
        Timespec::try_from(span).unwrap_or(Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        })
    });
    let mut fds = [
        PollFd::new(a, PollFlags::IN),
        PollFd::new(b, PollFlags::IN),
        PollFd::new(stop, PollFlags::IN),
    ];
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error).context("cannot wait for packets"),
    }
    Ok(fds[2].revents().contains(PollFlags::IN))
}

fn take(from: &Tun, pipe: &mut Pipe, buffer: &mut [u8]) -> Result<()> {
    for _ in 0..READS_MAX {
        let Some(bytes) = from.read(buffer).context("cannot read a device")? else {
            break;
        };
        pipe.push(Instant::now(), &buffer[..bytes]);
    }
    Ok(())
}
