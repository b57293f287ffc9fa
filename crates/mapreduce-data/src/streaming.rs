//! Programs that speak Hadoop Streaming's protocol.
//!
//! A mapper reads records as lines and writes lines of `key`, tab, `value`; a line without a tab is
//! a key with an empty value. A reducer reads such lines sorted by key and writes lines that are
//! the output as they are. On standard error, `reporter:counter:GROUP,NAME,AMOUNT` adds to a
//! counter and `reporter:status:TEXT` sets the status; the rest is kept for error messages. A
//! program that does not end with 0 fails the task. One that stops reading its input but ends with
//! 0 is fine, as in a shell pipeline.
//!
//! The programs see `mapreduce_task_partition`, `mapreduce_job_reduces` and, in a map task,
//! `mapreduce_map_input_file` in their environment, besides what the job adds.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::{SpecError, Stopped, UserError};
use crate::function::{Emit, Job, Mapper, Output, Record, Reducer, TaskContext, Values};
use crate::spec::StreamingSpec;

mod command_line;
mod program;
mod report;

pub(crate) use command_line::split as split_command;
pub(crate) use program::{Sink, lines, pass_on};
pub(crate) use report::Errors;

use crate::streaming::program::Program;

/// So much input is gathered before the program gets it.
const BATCH_BYTES: usize = 64 << 10;

pub(crate) fn resolve(spec: &StreamingSpec) -> Result<Arc<dyn Job>, SpecError> {
    let words = |command: &Option<String>| command.as_deref().map(command_line::split).transpose();
    Ok(Arc::new(Streaming {
        map: command_line::split(&spec.map)?,
        reduce: words(&spec.reduce)?,
        combine: words(&spec.combine)?,
        env: spec.env.clone(),
    }))
}

/// A line's key and value: what stands before the first tab and after it.
pub(crate) fn split_pair(line: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'\t', line) {
        Some(tab) => (&line[..tab], &line[tab + 1..]),
        None => (line, &[]),
    }
}

#[derive(Debug)]
struct Streaming {
    map: Vec<String>,
    reduce: Option<Vec<String>>,
    combine: Option<Vec<String>>,
    env: BTreeMap<String, String>,
}

impl Streaming {
    fn pipe(&self, command: &[String], context: &TaskContext) -> Pipe {
        let mut env = self.env.clone();
        env.insert(
            "mapreduce_task_partition".to_owned(),
            context.task.to_string(),
        );
        env.insert(
            "mapreduce_job_reduces".to_owned(),
            context.partitions.to_string(),
        );
        Pipe {
            command: command.to_vec(),
            env,
            context: context.clone(),
            program: None,
        }
    }
}

impl Job for Streaming {
    fn mapper(&self, context: &TaskContext) -> Result<Box<dyn Mapper>, UserError> {
        Ok(Box::new(self.pipe(&self.map, context)))
    }

    fn reducer(&self, context: &TaskContext) -> Result<Box<dyn Reducer>, UserError> {
        Ok(match &self.reduce {
            Some(command) => Box::new(self.pipe(command, context)),
            None => Box::new(Identity),
        })
    }

    fn run_combiner(&self, context: &TaskContext) -> Result<Option<Box<dyn Reducer>>, UserError> {
        let pipe = self
            .combine
            .as_ref()
            .map(|command| self.pipe(command, context));
        Ok(pipe.map(|pipe| Box::new(pipe) as Box<dyn Reducer>))
    }
}

/// A job without a reducer: the sorted pairs are the output.
struct Identity;

impl Reducer for Identity {
    fn reduce(
        &mut self,
        key: &[u8],
        values: &mut dyn Values,
        out: &mut dyn Output,
    ) -> Result<(), UserError> {
        while let Some(value) = values.next()? {
            out.write(key, value)?;
        }
        Ok(())
    }
}

/// A program, started when the first input is there for it.
struct Pipe {
    command: Vec<String>,
    env: BTreeMap<String, String>,
    context: TaskContext,
    program: Option<Program>,
}

impl Pipe {
    fn program(&mut self) -> Result<&mut Program, UserError> {
        if self.program.is_none() {
            let program = Program::start(&self.command, &self.env, &self.context.cancel)?;
            self.program = Some(program);
        }
        Ok(self.program.as_mut().expect("it was just started"))
    }

    /// Appends a line to the program's input, and lets it work when there is enough.
    fn send(&mut self, parts: &[&[u8]], sink: &mut dyn Sink) -> Result<(), UserError> {
        let program = self.program()?;
        for part in parts {
            program.input.extend_from_slice(part);
        }
        if program.input.len() >= BATCH_BYTES {
            program.pump(sink)?;
        }
        Ok(())
    }

    fn finish(&mut self, sink: &mut dyn Sink) -> Result<(), UserError> {
        self.program()?.pump(sink)?;
        let program = self.program.take().expect("it was just used");
        program.finish(sink)
    }
}

impl Mapper for Pipe {
    fn map(&mut self, record: &Record<'_>, out: &mut dyn Emit) -> Result<(), UserError> {
        if self.program.is_none() {
            let name = "mapreduce_map_input_file".to_owned();
            self.env.insert(name, record.location.to_owned());
        }
        self.send(&[record.bytes, b"\n"], &mut Pairs(out))
    }

    fn finish(&mut self, out: &mut dyn Emit) -> Result<(), UserError> {
        Self::finish(self, &mut Pairs(out))
    }
}

impl Reducer for Pipe {
    fn reduce(
        &mut self,
        key: &[u8],
        values: &mut dyn Values,
        out: &mut dyn Output,
    ) -> Result<(), UserError> {
        while let Some(value) = values.next()? {
            self.send(&[key, b"\t", value, b"\n"], &mut Lines(out))?;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn Output) -> Result<(), UserError> {
        Self::finish(self, &mut Lines(out))
    }
}

/// A mapper's lines are pairs.
struct Pairs<'a>(&'a mut dyn Emit);

impl Sink for Pairs<'_> {
    fn line(&mut self, line: &[u8]) -> Result<(), Stopped> {
        let (key, value) = split_pair(line);
        self.0.emit(key, value)
    }

    fn count(&mut self, group: &str, name: &str, amount: i64) {
        self.0.count(group, name, amount);
    }

    fn status(&mut self, text: &str) {
        self.0.status(text);
    }
}

/// A reducer's lines are output.
struct Lines<'a>(&'a mut dyn Output);

impl Sink for Lines<'_> {
    fn line(&mut self, line: &[u8]) -> Result<(), Stopped> {
        self.0.write_line(line)
    }

    fn count(&mut self, group: &str, name: &str, amount: i64) {
        self.0.count(group, name, amount);
    }

    fn status(&mut self, text: &str) {
        self.0.status(text);
    }
}
