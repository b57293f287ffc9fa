//! The one table of commands: what each is called, how many arguments it takes, where its keys
//! are, what it does, and who runs it.
//!
//! Everything else follows from it: dispatch, arity errors, `COMMAND` and its subcommands,
//! `INFO commandstats` and the metrics.

use core::ops::BitOr;

use engine::ReadView;
use kv_core::Batch;
use resp::{Encoder, Request};

use super::commands;
use super::error::CommandError;
use super::session::{Flow, Session};

/// Properties that clients route and retry by; the names are Redis's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Flags(u16);

impl Flags {
    pub(super) const NONE: Self = Self(0);
    pub(super) const WRITE: Self = Self(1);
    pub(super) const READONLY: Self = Self(1 << 1);
    pub(super) const DENYOOM: Self = Self(1 << 2);
    pub(super) const ADMIN: Self = Self(1 << 3);
    pub(super) const NOSCRIPT: Self = Self(1 << 4);
    pub(super) const BLOCKING: Self = Self(1 << 5);
    pub(super) const LOADING: Self = Self(1 << 6);
    pub(super) const STALE: Self = Self(1 << 7);
    pub(super) const FAST: Self = Self(1 << 8);
    pub(super) const NO_AUTH: Self = Self(1 << 9);

    const NAMES: [(Self, &'static str); 10] = [
        (Self::WRITE, "write"),
        (Self::READONLY, "readonly"),
        (Self::DENYOOM, "denyoom"),
        (Self::ADMIN, "admin"),
        (Self::NOSCRIPT, "noscript"),
        (Self::BLOCKING, "blocking"),
        (Self::LOADING, "loading"),
        (Self::STALE, "stale"),
        (Self::FAST, "fast"),
        (Self::NO_AUTH, "no_auth"),
    ];

    pub(super) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .into_iter()
            .filter(move |&(flag, _)| self.has(flag))
            .map(|(_, name)| name)
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.with(other)
    }
}

/// Where the keys of a command are: the first, the last (negative: counted from the end), and
/// how far apart. All zero: there are none.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Keys {
    pub(super) first: i32,
    pub(super) last: i32,
    pub(super) step: i32,
}

impl Keys {
    pub(super) const NONE: Self = Self {
        first: 0,
        last: 0,
        step: 0,
    };
    pub(super) const ONE: Self = Self {
        first: 1,
        last: 1,
        step: 1,
    };
    pub(super) const TWO: Self = Self {
        first: 1,
        last: 2,
        step: 1,
    };
    pub(super) const ALL: Self = Self {
        first: 1,
        last: -1,
        step: 1,
    };
    pub(super) const PAIRS: Self = Self {
        first: 1,
        last: -1,
        step: 2,
    };
    pub(super) const SECOND: Self = Self {
        first: 2,
        last: 2,
        step: 1,
    };
}

/// How the replies of a write look: the state machine answers the same for several commands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Shape {
    /// As it comes.
    Plain,
    /// 1 for done, 0 for not done.
    Flag,
}

/// Counts what reads found, to be added to the statistics once per pipeline.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hits {
    pub(super) hits: u64,
    pub(super) misses: u64,
}

/// What a read may use.
pub(super) struct Reading<'a, 'v> {
    pub(super) view: &'a ReadView<'v>,
    pub(super) hits: Hits,
}

pub(super) type ReadHandler =
    fn(&mut Reading<'_, '_>, &Request<'_>, &mut Encoder<'_>) -> Result<(), CommandError>;
pub(super) type WriteHandler = fn(&Request<'_>, &mut Batch) -> Result<Shape, CommandError>;
pub(super) type LocalHandler =
    fn(&mut Session<'_>, &Request<'_>, &mut Encoder<'_>) -> Result<Flow, CommandError>;

/// Commands about transactions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Control {
    Multi,
    Exec,
    Discard,
    Watch,
    Unwatch,
}

/// Who runs a command.
#[derive(Clone, Copy)]
pub(super) enum Handler {
    /// Looks at the data, linearizably.
    Read(ReadHandler),
    /// Becomes an entry of the log. Adds exactly one command to the batch, or fails and adds
    /// none.
    Write(WriteHandler),
    /// Concerns the connection or this node.
    Local(LocalHandler),
    /// Opens, runs or ends a transaction.
    Control(Control),
    /// The first argument says which command it is.
    Container(&'static [Spec]),
}

/// One command.
#[derive(Clone, Copy)]
pub(super) struct Spec {
    /// In small letters; of a subcommand with its container: `client|id`.
    pub(super) name: &'static str,
    /// Number of arguments, the name included; negative: at least so many.
    pub(super) arity: i32,
    pub(super) flags: Flags,
    pub(super) keys: Keys,
    /// The group under which the documentation lists it.
    pub(super) group: &'static str,
    /// The version of Redis that had it first.
    pub(super) since: &'static str,
    pub(super) summary: &'static str,
    pub(super) handler: Handler,
}

impl Spec {
    const fn new(name: &'static str, arity: i32, flags: Flags, handler: Handler) -> Self {
        Self {
            name,
            arity,
            flags,
            keys: Keys::NONE,
            group: "",
            since: "1.0.0",
            summary: "",
            handler,
        }
    }

    /// A command that looks at data.
    pub(super) const fn read(name: &'static str, arity: i32, handler: ReadHandler) -> Self {
        Self::new(name, arity, Flags::READONLY, Handler::Read(handler))
    }

    /// A command that changes data.
    pub(super) const fn write(name: &'static str, arity: i32, handler: WriteHandler) -> Self {
        Self::new(name, arity, Flags::WRITE, Handler::Write(handler))
    }

    /// A command for the connection or the node.
    pub(super) const fn local(name: &'static str, arity: i32, handler: LocalHandler) -> Self {
        Self::new(
            name,
            arity,
            Flags::LOADING.with(Flags::STALE),
            Handler::Local(handler),
        )
    }

    /// A command about transactions.
    pub(super) const fn control(name: &'static str, arity: i32, control: Control) -> Self {
        Self::new(name, arity, Flags::NONE, Handler::Control(control))
    }

    /// A name for several subcommands.
    pub(super) const fn container(name: &'static str, subcommands: &'static [Self]) -> Self {
        Self::new(name, -2, Flags::NONE, Handler::Container(subcommands))
    }

    pub(super) const fn flags(mut self, flags: Flags) -> Self {
        self.flags = self.flags.with(flags);
        self
    }

    /// Replaces the flags that the kind of command brings along.
    pub(super) const fn only_flags(mut self, flags: Flags) -> Self {
        self.flags = flags;
        self
    }

    pub(super) const fn keys(mut self, keys: Keys) -> Self {
        self.keys = keys;
        self
    }

    pub(super) const fn docs(
        mut self,
        group: &'static str,
        since: &'static str,
        summary: &'static str,
    ) -> Self {
        self.group = group;
        self.since = since;
        self.summary = summary;
        self
    }

    /// Whether so many arguments, the name included, are right.
    #[inline]
    pub(super) const fn accepts(&self, arguments: usize) -> bool {
        let wanted = self.arity.unsigned_abs() as usize;
        if self.arity < 0 {
            arguments >= wanted
        } else {
            arguments == wanted
        }
    }

    pub(super) const fn subcommands(&self) -> &'static [Self] {
        match self.handler {
            Handler::Container(subcommands) => subcommands,
            Handler::Read(_) | Handler::Write(_) | Handler::Local(_) | Handler::Control(_) => &[],
        }
    }

    /// The categories of Redis's access lists that the command belongs to.
    pub(super) fn categories(&self) -> Vec<String> {
        let mut categories = Vec::new();
        let mut add = |condition: bool, name: &str| {
            if condition {
                categories.push(format!("@{name}"));
            }
        };
        add(self.flags.has(Flags::WRITE), "write");
        add(self.flags.has(Flags::READONLY), "read");
        add(
            !self.group.is_empty() && self.group != "generic",
            self.group,
        );
        add(self.group == "generic", "keyspace");
        add(self.flags.has(Flags::ADMIN), "admin");
        add(self.flags.has(Flags::ADMIN), "dangerous");
        add(self.flags.has(Flags::BLOCKING), "blocking");
        add(self.flags.has(Flags::FAST), "fast");
        add(!self.flags.has(Flags::FAST), "slow");
        categories
    }
}

/// A command and its index in the table, by which it is counted.
#[derive(Clone, Copy)]
pub(super) struct Command {
    pub(super) index: u16,
    pub(super) spec: &'static Spec,
}

/// What a request's first words name.
pub(super) enum Lookup {
    Known(Command),
    UnknownCommand,
    /// The container is known, its subcommand is not.
    UnknownSubcommand(&'static Spec),
}

/// Bytes of the longest name that can be found.
const NAME_BYTES_MAX: usize = 15;
/// Slots of the hash table: several times the number of commands, so that chains are short.
const SLOTS: usize = 512;
/// Marks an empty slot.
const EMPTY: u16 = u16::MAX;

/// All commands, found by name.
pub(super) struct CommandTable {
    /// Every command, containers and their subcommands too.
    all: Vec<&'static Spec>,
    names: Vec<u128>,
    /// Open addressing over the commands without container, by their packed names.
    slots: Box<[u16; SLOTS]>,
    /// Of each container: where its subcommands begin in `all`.
    first_subcommand: Vec<u16>,
}

impl CommandTable {
    pub(super) fn new() -> Self {
        let top: Vec<&'static Spec> = commands::ALL
            .iter()
            .flat_map(|group| group.iter())
            .collect();
        let mut table = Self {
            all: top.clone(),
            names: Vec::new(),
            slots: Box::new([EMPTY; SLOTS]),
            first_subcommand: Vec::new(),
        };
        for (index, spec) in top.iter().enumerate() {
            let packed = pack(spec.name.as_bytes()).expect("names of commands are short");
            table.names.push(packed);
            let mut slot = hash(packed);
            while table.slots[slot] != EMPTY {
                slot = (slot + 1) % SLOTS;
            }
            table.slots[slot] = index_of(index);
            table.first_subcommand.push(index_of(table.all.len()));
            table.all.extend(spec.subcommands());
        }
        table
    }

    /// All commands; a command's index counts into this.
    pub(super) fn all(&self) -> &[&'static Spec] {
        &self.all
    }

    /// The commands that have no container.
    pub(super) fn top(&self) -> &[&'static Spec] {
        &self.all[..self.names.len()]
    }

    /// Adds the calls of each command up by what the commands do.
    pub(super) fn calls_by_class(&self, calls: &[u64]) -> [(&'static str, u64); 3] {
        let mut classes = [("read", 0), ("write", 0), ("other", 0)];
        for (spec, calls) in self.all.iter().zip(calls) {
            let class = match spec.handler {
                Handler::Read(_) => 0,
                Handler::Write(_) => 1,
                Handler::Local(_) | Handler::Control(_) | Handler::Container(_) => 2,
            };
            classes[class].1 += calls;
        }
        classes
    }

    pub(super) fn spec(&self, index: u16) -> Option<&'static Spec> {
        self.all.get(usize::from(index)).copied()
    }

    /// The command of this name that is no subcommand.
    #[inline]
    pub(super) fn find(&self, name: &[u8]) -> Option<Command> {
        let packed = pack(name)?;
        let mut slot = hash(packed);
        loop {
            let index = self.slots[slot];
            if index == EMPTY {
                return None;
            }
            if self.names[usize::from(index)] == packed {
                return Some(Command {
                    index,
                    spec: self.all[usize::from(index)],
                });
            }
            slot = (slot + 1) % SLOTS;
        }
    }

    /// The command or subcommand that a request names.
    #[inline]
    pub(super) fn lookup(&self, request: &Request<'_>) -> Lookup {
        let Some(command) = self.find(&request[0]) else {
            return Lookup::UnknownCommand;
        };
        match (command.spec.handler, request.get(1)) {
            (Handler::Container(_), Some(word)) => self
                .find_subcommand(command, word)
                .map_or(Lookup::UnknownSubcommand(command.spec), Lookup::Known),
            _ => Lookup::Known(command),
        }
    }

    fn find_subcommand(&self, container: Command, word: &[u8]) -> Option<Command> {
        let first = self.first_subcommand[usize::from(container.index)];
        let position = container.spec.subcommands().iter().position(|spec| {
            spec.name
                .split_once('|')
                .is_some_and(|(_, name)| word.eq_ignore_ascii_case(name.as_bytes()))
        })?;
        let index = first + index_of(position);
        Some(Command {
            index,
            spec: self.all[usize::from(index)],
        })
    }
}

fn index_of(position: usize) -> u16 {
    u16::try_from(position).expect("there are a few hundred commands")
}

/// A name in small letters, and its length, as a number.
#[inline]
fn pack(name: &[u8]) -> Option<u128> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let mut bytes = [0; NAME_BYTES_MAX + 1];
    for (target, byte) in bytes.iter_mut().zip(name) {
        *target = byte.to_ascii_lowercase();
    }
    // So that a zero byte at the end is not the same as none.
    bytes[NAME_BYTES_MAX] = u8::try_from(name.len()).ok()?;
    Some(u128::from_le_bytes(bytes))
}

/// Where to look for a name first.
#[inline]
fn hash(packed: u128) -> usize {
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    let bytes = packed.to_le_bytes();
    let (halves, _) = bytes.as_chunks::<8>();
    let [low, high] = [halves[0], halves[1]].map(u64::from_le_bytes);
    let mixed = (low ^ high.rotate_left(29)).wrapping_mul(MULTIPLIER);
    usize::try_from(mixed >> (u64::BITS - SLOTS.ilog2())).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_under_its_own_name_only() {
        let table = CommandTable::new();
        for spec in table.top() {
            let upper = spec.name.to_ascii_uppercase();
            for name in [spec.name, upper.as_str()] {
                let found = table.find(name.as_bytes()).expect("it is in the table");
                assert_eq!(found.spec.name, spec.name);
            }
        }
        for name in ["", "ge", "gett", "get\0", "averyveryverylongname"] {
            assert!(table.find(name.as_bytes()).is_none(), "{name:?}");
        }
    }

    #[test]
    fn every_command_is_documented_and_named_once() {
        let table = CommandTable::new();
        let mut names: Vec<_> = table.all().iter().map(|spec| spec.name).collect();
        for spec in table.all() {
            assert!(!spec.summary.is_empty(), "{} lacks a summary", spec.name);
            assert!(!spec.group.is_empty(), "{} lacks a group", spec.name);
            assert_ne!(spec.arity, 0, "{}", spec.name);
            let has_keys = spec.keys != Keys::NONE;
            assert_eq!(has_keys, spec.keys.step > 0, "{}", spec.name);
        }
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count, "a name is used twice");
    }
}
