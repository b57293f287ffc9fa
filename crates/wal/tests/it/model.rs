//! A naive log in memory, and a generator of operations, to compare the real ones with.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use stdx::{ByteSize, GroupId, LogIndex, NodeId, Prng, Term};
use wal::disk::{Disk, MemoryDisk};
use wal::{Append, Base, Format, Identity, LogEntry, OpenError, Opened, Options, Vote};

/// The kind that tests ask to have back at start.
pub(crate) const SPECIAL: u8 = 2;

/// Everything that is known of one group.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct GroupState {
    pub(crate) vote: Vote,
    pub(crate) base: Base,
    pub(crate) entries: Vec<LogEntry>,
}

impl GroupState {
    pub(crate) fn last(&self) -> LogIndex {
        self.entries
            .last()
            .map_or(self.base.index, |entry| entry.index)
    }

    fn term_at(&self, index: LogIndex) -> Option<Term> {
        if index == self.base.index {
            return Some(self.base.term);
        }
        self.entries
            .iter()
            .find(|entry| entry.index == index)
            .map(|entry| entry.term)
    }

    fn install(&mut self, base: Base) {
        if base.index <= self.base.index {
            return;
        }
        if self.term_at(base.index) != Some(base.term) {
            self.entries.clear();
        }
        self.entries.retain(|entry| entry.index > base.index);
        self.base = base;
    }

    fn push(&mut self, entries: &[LogEntry]) {
        if let Some(first) = entries.first() {
            self.entries.retain(|entry| entry.index < first.index);
            self.entries.extend_from_slice(entries);
        }
    }
}

/// All groups.
pub(crate) type State = BTreeMap<GroupId, GroupState>;

/// One call to the log.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Append(Vec<OwnedAppend>),
    Sync,
    Compact(GroupId, Base),
}

#[derive(Clone, Debug)]
pub(crate) struct OwnedAppend {
    pub(crate) group: GroupId,
    pub(crate) vote: Option<Vote>,
    pub(crate) entries: Vec<LogEntry>,
    pub(crate) base: Option<Base>,
}

impl OwnedAppend {
    pub(crate) fn borrow(&self) -> Append<'_> {
        Append {
            group: self.group,
            vote: self.vote,
            entries: &self.entries,
            base: self.base.clone(),
        }
    }

    /// Applies it to the naive log, as the interface says: vote, base, entries.
    pub(crate) fn apply(&self, state: &mut State) {
        if self.vote.is_none() && self.base.is_none() && self.entries.is_empty() {
            return;
        }
        let group = state.entry(self.group).or_default();
        group.vote = self.vote.unwrap_or(group.vote);
        if let Some(base) = &self.base {
            group.install(base.clone());
        }
        group.push(&self.entries);
    }
}

impl OwnedAppend {
    /// The steps in which the text format makes an append durable.
    pub(crate) fn steps(&self) -> Vec<Self> {
        let nothing = Self {
            group: self.group,
            vote: None,
            entries: Vec::new(),
            base: None,
        };
        let vote = Self {
            vote: self.vote,
            ..nothing.clone()
        };
        let base = Self {
            base: self.base.clone(),
            ..nothing.clone()
        };
        let entries = self.entries.iter().map(|entry| Self {
            entries: vec![entry.clone()],
            ..nothing.clone()
        });
        [vote, base].into_iter().chain(entries).collect()
    }
}

pub(crate) fn apply_compact(state: &mut State, group: GroupId, base: &Base) {
    if let Some(group) = state.get_mut(&group)
        && base.index > group.base.index
    {
        if base.index > group.last() {
            group.entries.clear();
        }
        group.entries.retain(|entry| entry.index > base.index);
        group.base = base.clone();
    }
}

/// Draws operations that are right for the present state.
pub(crate) struct Generator {
    pub(crate) prng: Prng,
    pub(crate) groups: u64,
    pub(crate) payload_bytes_max: u64,
}

impl Generator {
    pub(crate) fn operation(&mut self, state: &State) -> Operation {
        match self.prng.below(10) {
            0..=4 => {
                let mut after = state.clone();
                let parts = self.prng.range(1..4);
                Operation::Append((0..parts).map(|_| self.append(&mut after)).collect())
            }
            5..=7 => Operation::Sync,
            _ => {
                let group = self.group();
                let known = state.get(&group).cloned().unwrap_or_default();
                let span = known.last().get() - known.base.index.get();
                let index = LogIndex::new(known.base.index.get() + self.prng.below(span + 1));
                let term = known.term_at(index).unwrap_or_default();
                Operation::Compact(
                    group,
                    Base {
                        index,
                        term,
                        data: self.payload(),
                    },
                )
            }
        }
    }

    fn group(&mut self) -> GroupId {
        // The last group is used rarely, so that it lags.
        let group = self.prng.below(self.groups);
        if group == self.groups - 1 && self.prng.chance(9, 10) {
            return GroupId::new(0);
        }
        GroupId::new(group * group)
    }

    fn append(&mut self, state: &mut State) -> OwnedAppend {
        let group = self.group();
        let known = state.entry(group).or_default();
        let mut append = OwnedAppend {
            group,
            vote: None,
            entries: Vec::new(),
            base: None,
        };
        let newest = known
            .entries
            .last()
            .map_or(known.base.term, |entry| entry.term);
        if self.prng.chance(1, 4) {
            let vote = self
                .prng
                .chance(1, 2)
                .then(|| NodeId::new(self.prng.range(1..4)));
            append.vote = Some(Vote {
                term: newest.next(),
                vote,
            });
        }
        if self.prng.chance(1, 20) {
            let index = LogIndex::new(known.base.index.get() + self.prng.range(1..12));
            let known_term = known.term_at(index).filter(|_| self.prng.chance(1, 2));
            let term = known_term.unwrap_or_else(|| newest.next());
            let base = Base {
                index,
                term,
                data: self.payload(),
            };
            known.install(base.clone());
            append.base = Some(base);
        }
        append.entries = self.entries(known);
        append.apply(state);
        append
    }

    fn entries(&mut self, known: &GroupState) -> Vec<LogEntry> {
        let end = known.last().get();
        let back = if self.prng.chance(1, 6) {
            self.prng.below(6)
        } else {
            0
        };
        let first = (end + 1 - back.min(end - known.base.index.get())).max(1);
        let term = known.term_at(LogIndex::new(first - 1)).unwrap_or_default();
        let term = Term::new(term.get() + self.prng.below(2) + u64::from(back > 0));
        let count = self.prng.below(5);
        (first..first + count)
            .map(|index| LogEntry {
                index: LogIndex::new(index),
                term,
                kind: if self.prng.chance(1, 8) { SPECIAL } else { 1 },
                payload: self.payload(),
            })
            .collect()
    }

    fn payload(&mut self) -> Bytes {
        let size = if self.prng.chance(1, 20) {
            self.prng.below(self.payload_bytes_max * 8)
        } else {
            self.prng.below(self.payload_bytes_max)
        };
        let mut bytes = vec![0; usize::try_from(size).unwrap()];
        if self.prng.chance(1, 2) {
            self.prng.fill(&mut bytes);
        }
        bytes.into()
    }
}

/// The two ways of keeping a log.
pub(crate) fn formats() -> [Format; 2] {
    [Format::Binary, Format::escaped_text()]
}

pub(crate) fn options(format: &Format) -> Options {
    let mut options = Options::new(Identity {
        cluster: 0xc1,
        node: NodeId::new(1),
    });
    options.format = format.clone();
    options.segment_bytes = ByteSize::kib(4);
    options.special_kinds = vec![SPECIAL];
    options
}

pub(crate) fn open(disk: &MemoryDisk, format: &Format) -> Result<Opened, OpenError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    wal::open_on(disk, options(format))
}

/// What an open log holds, read back in full, and checked against what recovery said.
pub(crate) fn state_of(opened: &Opened) -> State {
    let reader = opened.log.reader();
    let mut state = State::new();
    for (&group, recovered) in &opened.groups {
        let first = recovered.base.index.next();
        let mut entries: Vec<LogEntry> = Vec::new();
        while recovered.base.index.plus(entries.len() as u64) < recovered.last_index {
            let from = recovered.base.index.plus(entries.len() as u64).next();
            let read = reader.entries(group, from, recovered.last_index, 700);
            entries.extend(read.expect("what was recovered can be read"));
        }
        check_terms(&recovered.terms, &entries, first);
        let special = entries.iter().filter(|entry| entry.kind == SPECIAL);
        assert_eq!(recovered.special, special.cloned().collect::<Vec<_>>());
        let base = recovered.base.clone();
        state.insert(
            group,
            GroupState {
                vote: recovered.vote,
                base,
                entries,
            },
        );
    }
    state
}

fn check_terms(terms: &[(LogIndex, Term)], entries: &[LogEntry], first: LogIndex) {
    let mut runs: Vec<(LogIndex, Term)> = Vec::new();
    for (entry, at) in entries.iter().zip(0..) {
        assert_eq!(entry.index, first.plus(at));
        if runs.last().is_none_or(|&(_, term)| term != entry.term) {
            runs.push((entry.index, entry.term));
        }
    }
    assert_eq!(terms, runs);
}

/// Groups that hold nothing are the same as groups that were never heard of.
pub(crate) fn without_empty(mut state: State) -> State {
    state.retain(|_, group| *group != GroupState::default());
    state
}
