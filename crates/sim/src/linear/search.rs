//! The search of one key's history.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};

use super::{Call, Operation, Outcome};

pub(super) enum Found {
    Order,
    /// `stuck`: the calls that were not yet in the longest order found, by time of call.
    NoOrder {
        stuck: Vec<usize>,
    },
    GaveUp {
        states: u64,
    },
}

/// Values as small numbers, so that a state is one word.
#[derive(Default)]
struct Values {
    numbers: BTreeMap<Option<Bytes>, u32>,
    values: Vec<Option<Bytes>>,
    appended: BTreeMap<(u32, Bytes), u32>,
}

impl Values {
    fn number(&mut self, value: Option<Bytes>) -> u32 {
        if let Some(&number) = self.numbers.get(&value) {
            return number;
        }
        let number = u32::try_from(self.values.len()).expect("fewer than 2^32 values");
        self.numbers.insert(value.clone(), number);
        self.values.push(value);
        number
    }

    fn append(&mut self, state: u32, bytes: &Bytes) -> u32 {
        if let Some(&number) = self.appended.get(&(state, bytes.clone())) {
            return number;
        }
        let old = self.values[state as usize].clone().unwrap_or_default();
        let mut new = BytesMut::with_capacity(old.len() + bytes.len());
        new.extend_from_slice(&old);
        new.extend_from_slice(bytes);
        let number = self.number(Some(new.freeze()));
        self.appended.insert((state, bytes.clone()), number);
        number
    }

    /// The state after a call, or `None` if it can't have had its outcome in `state`.
    fn step(&mut self, state: u32, call: &Call) -> Option<u32> {
        match (&call.operation, &call.outcome) {
            (Operation::Get, Outcome::Found(value)) => {
                (self.values[state as usize] == *value).then_some(state)
            }
            (Operation::Get, _) => Some(state),
            (Operation::Put(value), _) => Some(self.number(Some(value.clone()))),
            (Operation::Append(bytes), _) => Some(self.append(state, bytes)),
            (Operation::Delete, _) => Some(self.number(None)),
            (Operation::CompareAndSet { expected, value }, outcome) => {
                let matches = self.values[state as usize] == *expected;
                match outcome {
                    Outcome::Refused => (!matches).then_some(state),
                    Outcome::Unknown if !matches => Some(state),
                    _ => matches.then(|| self.number(Some(value.clone()))),
                }
            }
        }
    }
}

const NONE: usize = usize::MAX;

/// One end of a call in the list of events by time.
#[derive(Clone, Copy)]
struct Event {
    call: usize,
    is_return: bool,
    previous: usize,
    next: usize,
}

/// Events by time as a doubly linked list, from which calls are lifted and put back.
struct Events {
    events: Vec<Event>,
    /// Where each call's return is, `NONE` if it never returned.
    returns: Vec<usize>,
    head: usize,
}

impl Events {
    fn new(calls: &[Call]) -> Self {
        let unseen = unseen_writes(calls);
        let mut order = Vec::with_capacity(calls.len() * 2);
        for (index, call) in calls.iter().enumerate() {
            match (&call.operation, &call.outcome) {
                // A read that nobody saw the answer of says nothing.
                (Operation::Get, Outcome::Unknown) => {}
                _ if unseen.contains(&index) => {}
                (_, Outcome::Unknown) => order.push((call.called, false, index)),
                _ => {
                    order.push((call.called, false, index));
                    // At one moment calls come before returns: they overlap.
                    order.push((call.returned, true, index));
                }
            }
        }
        order.sort_unstable();
        let last = order.len().wrapping_sub(1);
        let mut returns = vec![NONE; calls.len()];
        let mut events = Vec::with_capacity(order.len());
        for (at, &(_, is_return, call)) in order.iter().enumerate() {
            if is_return {
                returns[call] = at;
            }
            events.push(Event {
                call,
                is_return,
                previous: at.checked_sub(1).unwrap_or(NONE),
                next: if at == last { NONE } else { at + 1 },
            });
        }
        let head = if events.is_empty() { NONE } else { 0 };
        Self {
            events,
            returns,
            head,
        }
    }

    fn lift(&mut self, at: usize) {
        let call = self.events[at].call;
        self.unlink(at);
        if self.returns[call] != NONE {
            self.unlink(self.returns[call]);
        }
    }

    fn put_back(&mut self, at: usize) {
        let call = self.events[at].call;
        if self.returns[call] != NONE {
            self.relink(self.returns[call]);
        }
        self.relink(at);
    }

    fn unlink(&mut self, at: usize) {
        let Event { previous, next, .. } = self.events[at];
        match previous {
            NONE => self.head = next,
            previous => self.events[previous].next = next,
        }
        if next != NONE {
            self.events[next].previous = previous;
        }
    }

    fn relink(&mut self, at: usize) {
        let Event { previous, next, .. } = self.events[at];
        match previous {
            NONE => self.head = at,
            previous => self.events[previous].next = at,
        }
        if next != NONE {
            self.events[next].previous = at;
        }
    }

    fn waiting_calls(&self) -> Vec<usize> {
        let mut waiting = Vec::new();
        let mut at = self.head;
        while at != NONE {
            if !self.events[at].is_return {
                waiting.push(self.events[at].call);
            }
            at = self.events[at].next;
        }
        waiting
    }
}

/// Which calls are in the order so far.
#[derive(Clone, Eq, Ord, PartialEq, PartialOrd)]
struct Bits(Box<[u64]>);

impl Bits {
    fn set(&mut self, at: usize, on: bool) {
        let mask = 1 << (at % 64);
        if on {
            self.0[at / 64] |= mask;
        } else {
            self.0[at / 64] &= !mask;
        }
    }
}

/// Unknown writes whose bytes nobody ever saw. Whatever order has one in it is an order
/// without it as well: between it and the next overwriting nobody looked. Leaving them out
/// keeps the number of orders small where many calls got no answer.
fn unseen_writes(calls: &[Call]) -> BTreeSet<usize> {
    let mut seen = BTreeSet::new();
    for call in calls {
        match (&call.operation, &call.outcome) {
            // What wasn't equal was looked at too, whatever it was.
            (Operation::CompareAndSet { .. }, Outcome::Refused | Outcome::Unknown) => {
                return BTreeSet::new();
            }
            (Operation::CompareAndSet { expected, .. }, _) => seen.extend(expected.as_ref()),
            (_, Outcome::Found(value)) => seen.extend(value.as_ref()),
            _ => {}
        }
    }
    let is_seen = |bytes: &Bytes| {
        bytes.is_empty()
            || seen
                .iter()
                .any(|value| value.windows(bytes.len()).any(|window| window == bytes))
    };
    let unknown = calls.iter().enumerate();
    let unknown = unknown.filter(|(_, call)| call.outcome == Outcome::Unknown);
    let unseen = unknown.filter(|(_, call)| match &call.operation {
        Operation::Put(bytes) | Operation::Append(bytes) => !is_seen(bytes),
        _ => false,
    });
    unseen.map(|(index, _)| index).collect()
}

/// The states that were tried: a set of placed calls and the value they led to.
#[derive(Default)]
struct Tried {
    by_hash: BTreeMap<u64, Vec<(Bits, u32)>>,
    count: u64,
}

impl Tried {
    fn insert(&mut self, hash: u64, placed: &Bits, state: u32) -> bool {
        let slot = self.by_hash.entry(hash ^ u64::from(state)).or_default();
        if slot
            .iter()
            .any(|(bits, value)| *value == state && bits == placed)
        {
            return false;
        }
        slot.push((placed.clone(), state));
        self.count += 1;
        true
    }
}

/// A number per call such that the exclusive or over a set of calls identifies the set
/// almost surely (Zobrist): the set's hash changes by one operation per step.
const fn call_hash(call: usize) -> u64 {
    let mut z = (call as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

pub(super) fn search(calls: &[Call], states_max: u64) -> Found {
    let mut events = Events::new(calls);
    let mut returning = events.events.iter().filter(|event| event.is_return).count();
    let mut values = Values::default();
    let mut state = values.number(None);
    let mut placed = Bits(vec![0; calls.len().div_ceil(64)].into());
    let mut hash = 0;
    let mut tried = Tried::default();
    let mut order: Vec<(usize, u32)> = Vec::new();
    let mut longest = 0;
    let mut stuck = events.waiting_calls();
    let mut at = events.head;
    while returning > 0 {
        let event = events.events[at];
        if event.is_return {
            // The call that returned here must be placed before: undo the last choice.
            if order.len() > longest {
                longest = order.len();
                stuck = events.waiting_calls();
            }
            let Some((last, before)) = order.pop() else {
                return Found::NoOrder { stuck };
            };
            let call = events.events[last].call;
            state = before;
            placed.set(call, false);
            hash ^= call_hash(call);
            returning += usize::from(events.returns[call] != NONE);
            events.put_back(last);
            at = events.events[last].next;
            continue;
        }
        if let Some(next) = values.step(state, &calls[event.call]) {
            placed.set(event.call, true);
            let next_hash = hash ^ call_hash(event.call);
            if tried.insert(next_hash, &placed, next) {
                if tried.count > states_max {
                    return Found::GaveUp {
                        states: tried.count,
                    };
                }
                order.push((at, state));
                hash = next_hash;
                state = next;
                returning -= usize::from(events.returns[event.call] != NONE);
                events.lift(at);
                at = events.head;
                continue;
            }
            placed.set(event.call, false);
        }
        at = event.next;
    }
    Found::Order
}
