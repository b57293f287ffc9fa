//! Jobs in Rust: this binary is coordinator, worker and client at once.
//!
//! ```text
//! cargo run -p mapreduce --example mr_jobs -- run words --input README.md --output /tmp/words
//! ```
//!
//! Besides counting words and indexing them, the jobs can be made to misbehave in ways that the
//! tests need: each fault takes a token, a file in a directory, and happens only while there is
//! one, so that a test knows how often it happened.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use mapreduce::Registry;
use mapreduce::data::{
    Args, Emit, Job, Mapper, Output, Record, Reducer, SpecError, TaskContext, UserError, Values,
};

mapreduce::main!(
    Registry::new()
        .with("words", |args| make(Kind::Words, args))
        .with("index", |args| make(Kind::Index, args))
        .with("random", |args| make(Kind::Random, args))
);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// How often each word is there.
    Words,
    /// In which files each word is.
    Index,
    /// Something else each time: for the audit to find.
    Random,
}

/// A job and what goes wrong in it.
#[derive(Clone, Debug)]
struct Lab {
    kind: Kind,
    args: Args,
}

fn make(kind: Kind, args: &Args) -> Result<Arc<dyn Job>, SpecError> {
    let args = args.clone();
    Ok(Arc::new(Lab { kind, args }))
}

impl Job for Lab {
    fn mapper(&self, context: &TaskContext) -> Result<Box<dyn Mapper>, UserError> {
        self.misbehave("map", context)?;
        Ok(Box::new(LabMapper {
            lab: self.clone(),
            context: context.clone(),
        }))
    }

    fn reducer(&self, context: &TaskContext) -> Result<Box<dyn Reducer>, UserError> {
        self.misbehave("reduce", context)?;
        Ok(Box::new(LabReducer { kind: self.kind }))
    }
}

impl Lab {
    /// Does what the arguments say, before a task of this stage.
    fn misbehave(&self, stage: &str, context: &TaskContext) -> Result<(), UserError> {
        if let Some(dir) = self.args.get(&format!("{stage}-log")) {
            let name = format!("{}-{}-{}", context.task, std::process::id(), nanos());
            write(&PathBuf::from(dir).join(name))?;
        }
        if self.take(&format!("{stage}-exit")) {
            // As a crash does: nobody is told.
            std::process::abort();
        }
        if self.take(&format!("{stage}-panic")) {
            panic!("a token said so");
        }
        if self.take(&format!("{stage}-fail")) {
            return Err(UserError::new("a token said so"));
        }
        if self.args.contains_key(&format!("{stage}-coin")) && nanos().is_multiple_of(2) {
            return Err(UserError::new("the coin said so"));
        }
        if self.take(&format!("{stage}-stall")) {
            wait(Duration::from_secs(20), context);
        }
        if let Some(millis) = self.number(&format!("{stage}-sleep")) {
            wait(Duration::from_millis(millis), context);
        }
        if let Some(dir) = self.args.get(&format!("{stage}-meet")) {
            meet(&PathBuf::from(dir), context)?;
        }
        Ok(())
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.args.get(name)?.parse().ok()
    }

    /// Takes a token from the directory that the argument names. Removing a file succeeds for
    /// one process only: exactly as many faults happen as there are files.
    fn take(&self, name: &str) -> bool {
        let Some(dir) = self.args.get(name) else {
            return false;
        };
        let Ok(tokens) = std::fs::read_dir(dir) else {
            return false;
        };
        tokens
            .flatten()
            .any(|token| std::fs::remove_file(token.path()).is_ok())
    }
}

/// Waits until a second task is here at the same time, and notes that it was.
fn meet(dir: &std::path::Path, context: &TaskContext) -> Result<(), UserError> {
    let mine = dir.join(format!("here-{}-{}", std::process::id(), context.task));
    write(&mine)?;
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(10) {
        let here = std::fs::read_dir(dir).map_or(0, |entries| {
            let names = entries.flatten().map(|e| e.file_name());
            let others = names.filter(|name| name.to_string_lossy().starts_with("here-"));
            let mut processes: Vec<String> = others
                .filter_map(|n| Some(n.to_string_lossy().split('-').nth(1)?.to_owned()))
                .collect();
            processes.sort();
            processes.dedup();
            processes.len()
        });
        if here >= 2 {
            write(&dir.join(format!("met-{}", std::process::id())))?;
            // The other one must see this too.
            sleep(Duration::from_millis(200));
            break;
        }
        sleep(Duration::from_millis(10));
    }
    let removed = std::fs::remove_file(&mine);
    removed.map_err(|error| UserError::new(error.to_string()))
}

fn write(path: &std::path::Path) -> Result<(), UserError> {
    std::fs::write(path, "").map_err(|error| UserError::new(error.to_string()))
}

fn wait(span: Duration, context: &TaskContext) {
    let since = Instant::now();
    while since.elapsed() < span && !context.cancel.is_cancelled() {
        sleep(Duration::from_millis(5));
    }
}

fn nanos() -> u32 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    // The lowest digits of the clock are as good as a coin.
    now.map_or(0, |now| now.subsec_nanos() / 7)
}

struct LabMapper {
    lab: Lab,
    context: TaskContext,
}

impl Mapper for LabMapper {
    fn map(&mut self, record: &Record<'_>, out: &mut dyn Emit) -> Result<(), UserError> {
        if let Some(micros) = self.lab.number("record-sleep") {
            wait(Duration::from_micros(micros), &self.context);
        }
        if let Some(poison) = self.lab.args.get("poison")
            && record.bytes == poison.as_bytes()
        {
            return Err(UserError::new("this record is poison"));
        }
        let words = record.bytes.split(|byte| !byte.is_ascii_alphabetic());
        for word in words.filter(|word| !word.is_empty()) {
            out.count("lab", "words", 1);
            match self.lab.kind {
                Kind::Words => out.emit(word, b"1")?,
                Kind::Index => out.emit(word, record.location.as_bytes())?,
                Kind::Random => out.emit(word, nanos().to_string().as_bytes())?,
            }
        }
        Ok(())
    }
}

struct LabReducer {
    kind: Kind,
}

impl Reducer for LabReducer {
    fn reduce(
        &mut self,
        key: &[u8],
        values: &mut dyn Values,
        out: &mut dyn Output,
    ) -> Result<(), UserError> {
        if self.kind == Kind::Index {
            let mut files = std::collections::BTreeSet::new();
            while let Some(value) = values.next()? {
                files.insert(String::from_utf8_lossy(value).into_owned());
            }
            let list: Vec<String> = files.into_iter().collect();
            let line = format!("{} {}", list.len(), list.join(","));
            return Ok(out.write(key, line.as_bytes())?);
        }
        let mut count = 0_u64;
        while values.next()?.is_some() {
            count += 1;
        }
        Ok(out.write(key, count.to_string().as_bytes())?)
    }
}
