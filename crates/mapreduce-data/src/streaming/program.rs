//! A program and its three pipes, served by one thread that never waits for one of them alone.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write as _};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::error::{Stopped, UserError};
use crate::limits;
use crate::progress::Cancel;
use crate::streaming::report::{Errors, Report};

/// Larger pipes mean fewer changes between the processes; the system may refuse.
const PIPE_BYTES: usize = 1 << 20;
const READ_BYTES: usize = 64 << 10;
/// So often a pipe is read before the others get their turn.
const READS: usize = 32;
/// How often the cancellation is looked at while the program is silent.
const LOOK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};

/// Takes what a program writes.
pub(crate) trait Sink {
    fn line(&mut self, line: &[u8]) -> Result<(), Stopped>;
    fn count(&mut self, group: &str, name: &str, amount: i64);
    fn status(&mut self, text: &str);
}

/// A running program. Dropping it kills it, and the programs that it started.
pub(crate) struct Program {
    command: String,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    /// What is to be sent.
    pub(crate) input: Vec<u8>,
    /// A line whose end has not come yet.
    partial: Vec<u8>,
    errors: Errors,
    buffer: Vec<u8>,
    cancel: Cancel,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("command", &self.command)
            .finish_non_exhaustive()
    }
}

/// What is waited for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Until {
    /// All input was taken (or nobody wants it).
    Sent,
    /// Both outputs have ended.
    Ended,
}

impl Program {
    pub(crate) fn start(
        words: &[String],
        env: &BTreeMap<String, String>,
        cancel: &Cancel,
    ) -> Result<Self, UserError> {
        let command = words.join(" ");
        let (program, args) = words.split_first().expect("a command line has a word");
        let start = || -> io::Result<(Child, ChildStdin, ChildStdout, ChildStderr)> {
            let mut child = Command::new(program)
                .args(args)
                .envs(env)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                // A group of its own, so that a pipeline can be killed as a whole.
                .process_group(0)
                .spawn()?;
            let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
            let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
                unreachable!("all three are piped");
            };
            prepare(&stdin)?;
            prepare(&stdout)?;
            prepare(&stderr)?;
            Ok((child, stdin, stdout, stderr))
        };
        let (child, stdin, stdout, stderr) = start().map_err(|source| UserError::Start {
            command: command.clone(),
            source,
        })?;
        Ok(Self {
            command,
            child,
            stdin: Some(stdin),
            stdout: Some(stdout),
            stderr: Some(stderr),
            input: Vec::new(),
            partial: Vec::new(),
            errors: Errors::default(),
            buffer: vec![0; READ_BYTES],
            cancel: cancel.clone(),
        })
    }

    /// Sends the input, and takes what comes meanwhile.
    pub(crate) fn pump(&mut self, sink: &mut dyn Sink) -> Result<(), UserError> {
        self.run(Until::Sent, sink)
    }

    /// Ends the input, takes the rest, and waits for the program.
    pub(crate) fn finish(mut self, sink: &mut dyn Sink) -> Result<(), UserError> {
        self.stdin = None;
        self.run(Until::Ended, sink)?;
        if !self.partial.is_empty() {
            let line = core::mem::take(&mut self.partial);
            sink.line(&line)?;
        }
        self.errors.finish(&mut |report| pass_on(report, sink));
        let status = self.wait()?;
        if !status.success() {
            return Err(UserError::Exit {
                command: self.command.clone(),
                status: shown(status),
                stderr: self.errors.tail(),
            });
        }
        Ok(())
    }

    /// The outputs have ended, so the program is about to; one that lingers is looked at now and
    /// then, so that the task can be cancelled.
    fn wait(&mut self) -> Result<ExitStatus, UserError> {
        let mut pause = Duration::from_micros(50);
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) => {}
                Err(error) => return Err(self.broken(&error)),
            }
            if self.cancel.is_cancelled() {
                return Err(Stopped.into());
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    fn run(&mut self, until: Until, sink: &mut dyn Sink) -> Result<(), UserError> {
        let mut sent = 0;
        loop {
            let done = match until {
                Until::Sent => self.stdin.is_none() || sent == self.input.len(),
                Until::Ended => self.stdout.is_none() && self.stderr.is_none(),
            };
            if done {
                self.input.clear();
                return Ok(());
            }
            if self.cancel.is_cancelled() {
                return Err(Stopped.into());
            }
            self.wait_for_pipes(sent < self.input.len())?;
            self.write_input(&mut sent)?;
            self.read_output(sink)?;
            self.read_errors(sink)?;
        }
    }

    /// Waits until a pipe can be served, or it is time to look at the cancellation.
    fn wait_for_pipes(&self, more_input: bool) -> Result<(), UserError> {
        let mut pipes = Vec::with_capacity(3);
        if let Some(stdin) = self.stdin.as_ref().filter(|_| more_input) {
            pipes.push(PollFd::new(stdin, PollFlags::OUT));
        }
        if let Some(stdout) = &self.stdout {
            pipes.push(PollFd::new(stdout, PollFlags::IN));
        }
        if let Some(stderr) = &self.stderr {
            pipes.push(PollFd::new(stderr, PollFlags::IN));
        }
        match poll(&mut pipes, Some(&LOOK)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(self.broken(&error.into())),
        }
    }

    fn write_input(&mut self, sent: &mut usize) -> Result<(), UserError> {
        let Some(stdin) = &mut self.stdin else {
            return Ok(());
        };
        while *sent < self.input.len() {
            match stdin.write(&self.input[*sent..]) {
                Ok(count) => *sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // It wants no more; whether that is a failure its exit will say.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                    self.stdin = None;
                    break;
                }
                Err(error) => return Err(self.broken(&error)),
            }
        }
        Ok(())
    }

    fn read_output(&mut self, sink: &mut dyn Sink) -> Result<(), UserError> {
        for _ in 0..READS {
            let Some(stdout) = &mut self.stdout else {
                break;
            };
            match read(stdout, &mut self.buffer).map_err(|error| self.broken(&error))? {
                Got::Bytes(count) => lines(&mut self.partial, &self.buffer[..count], sink)?,
                Got::NothingYet => break,
                Got::End => self.stdout = None,
            }
        }
        Ok(())
    }

    fn read_errors(&mut self, sink: &mut dyn Sink) -> Result<(), UserError> {
        for _ in 0..READS {
            let Some(stderr) = &mut self.stderr else {
                break;
            };
            match read(stderr, &mut self.buffer).map_err(|error| self.broken(&error))? {
                Got::Bytes(count) => {
                    let bytes = &self.buffer[..count];
                    self.errors.push(bytes, &mut |report| pass_on(report, sink));
                }
                Got::NothingYet => break,
                Got::End => self.stderr = None,
            }
        }
        Ok(())
    }

    #[cold]
    fn broken(&self, error: &io::Error) -> UserError {
        UserError::Failed(format!("the pipes of `{}`: {error}", self.command))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // An error means that it is gone already.
        if let Ok(None) = self.child.try_wait() {
            let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
            if let Some(group) = group {
                let _gone = kill_process_group(group, Signal::KILL);
            }
            let _gone = self.child.wait();
        }
    }
}

/// Takes what came of the output; whole lines go to `sink`.
pub(crate) fn lines(
    partial: &mut Vec<u8>,
    bytes: &[u8],
    sink: &mut dyn Sink,
) -> Result<(), UserError> {
    let mut rest = bytes;
    if !partial.is_empty() {
        let Some(end) = memchr::memchr(b'\n', rest) else {
            partial.extend_from_slice(rest);
            return check_length(partial.len());
        };
        partial.extend_from_slice(&rest[..end]);
        check_length(partial.len())?;
        sink.line(partial)?;
        partial.clear();
        rest = &rest[end + 1..];
    }
    while let Some(end) = memchr::memchr(b'\n', rest) {
        sink.line(&rest[..end])?;
        rest = &rest[end + 1..];
    }
    partial.extend_from_slice(rest);
    Ok(())
}

fn check_length(len: usize) -> Result<(), UserError> {
    if len > limits::RECORD_BYTES_MAX {
        let text = format!(
            "wrote a line of more than {} bytes",
            limits::RECORD_BYTES_MAX
        );
        return Err(UserError::Failed(text));
    }
    Ok(())
}

pub(crate) fn pass_on(report: Report<'_>, sink: &mut dyn Sink) {
    match report {
        Report::Counter {
            group,
            name,
            amount,
        } => sink.count(group, name, amount),
        Report::Status(text) => sink.status(text),
        Report::Text => {}
    }
}

fn prepare(pipe: impl AsFd) -> io::Result<()> {
    let flags = fcntl_getfl(&pipe)?;
    fcntl_setfl(&pipe, flags | OFlags::NONBLOCK)?;
    // Beyond a limit of the system for each user this fails, and the pipe stays as it is.
    let _size = rustix::pipe::fcntl_setpipe_size(&pipe, PIPE_BYTES);
    Ok(())
}

enum Got {
    Bytes(usize),
    NothingYet,
    End,
}

fn read(from: &mut impl Read, into: &mut [u8]) -> io::Result<Got> {
    loop {
        return match from.read(into) {
            Ok(0) => Ok(Got::End),
            Ok(count) => Ok(Got::Bytes(count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Got::NothingYet),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
    }
}

fn shown(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no exit code".to_owned(),
    }
}
