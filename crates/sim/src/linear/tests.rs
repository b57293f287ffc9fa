//! Histories that must pass, histories that must fail, and many calls.

use core::time::Duration;

use stdx::Prng;

use super::*;

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn at(time: u64) -> Instant {
    Instant::from_nanos(time * 1_000_000)
}

fn call(span: (u64, u64), operation: Operation, outcome: Outcome) -> Call {
    Call {
        client: span.0,
        operation,
        outcome,
        called: at(span.0),
        returned: at(span.1),
    }
}

fn put(span: (u64, u64), value: &str) -> Call {
    call(span, Operation::Put(bytes(value)), Outcome::Done)
}

fn get(span: (u64, u64), value: &str) -> Call {
    let found = (!value.is_empty()).then(|| bytes(value));
    call(span, Operation::Get, Outcome::Found(found))
}

fn append(span: (u64, u64), value: &str) -> Call {
    call(span, Operation::Append(bytes(value)), Outcome::Done)
}

fn delete(span: (u64, u64)) -> Call {
    call(span, Operation::Delete, Outcome::Done)
}

fn set_if(span: (u64, u64), expected: &str, value: &str, outcome: Outcome) -> Call {
    let expected = (!expected.is_empty()).then(|| bytes(expected));
    let value = bytes(value);
    call(span, Operation::CompareAndSet { expected, value }, outcome)
}

fn unknown(mut call: Call) -> Call {
    call.outcome = Outcome::Unknown;
    call
}

#[track_caller]
fn passes(calls: Vec<Call>) {
    let verdict = check(calls);
    assert_eq!(verdict, Verdict::Linearizable);
}

#[track_caller]
fn fails(calls: Vec<Call>) {
    let verdict = check(calls);
    assert!(matches!(verdict, Verdict::Violated { .. }), "{verdict:?}");
}

fn check(calls: Vec<Call>) -> Verdict {
    let mut history = History::new();
    for call in calls {
        history.push(bytes("k"), call);
    }
    history.check(1_000_000)
}

#[test]
fn sequential_histories() {
    passes(vec![
        get((0, 1), ""),
        put((2, 3), "a"),
        get((4, 5), "a"),
        delete((6, 7)),
        get((8, 9), ""),
    ]);
    passes(vec![
        append((0, 1), "a"),
        append((2, 3), "b"),
        get((4, 5), "ab"),
    ]);
    fails(vec![put((0, 1), "a"), get((2, 3), "")]);
    fails(vec![put((0, 1), "a"), put((2, 3), "b"), get((4, 5), "a")]);
    fails(vec![
        append((0, 1), "a"),
        append((2, 3), "b"),
        get((4, 5), "ba"),
    ]);
    fails(vec![put((0, 1), "a"), delete((2, 3)), get((4, 5), "a")]);
}

#[test]
fn overlapping_calls_may_take_either_order_but_only_one() {
    passes(vec![
        put((0, 10), "a"),
        put((1, 9), "b"),
        get((11, 12), "a"),
    ]);
    passes(vec![
        put((0, 10), "a"),
        put((1, 9), "b"),
        get((11, 12), "b"),
    ]);
    passes(vec![put((0, 10), "a"), get((1, 2), ""), get((3, 4), "a")]);
    // Once the new value was seen, nobody sees the old one again.
    fails(vec![put((0, 10), "a"), get((1, 2), "a"), get((3, 4), "")]);
    fails(vec![
        put((0, 10), "a"),
        put((0, 10), "b"),
        get((11, 12), "a"),
        get((13, 14), "b"),
    ]);
    // Two appends at once: one of the orders, for all readers.
    passes(vec![
        append((0, 9), "a"),
        append((0, 9), "b"),
        get((10, 11), "ba"),
    ]);
    fails(vec![
        append((0, 9), "a"),
        append((0, 9), "b"),
        get((10, 11), "ba"),
        get((12, 13), "ab"),
    ]);
}

#[test]
fn a_call_that_returned_as_another_was_called_overlaps_it() {
    passes(vec![put((0, 5), "a"), get((5, 6), "")]);
}

#[test]
fn an_unknown_write_may_happen_now_later_or_never() {
    passes(vec![unknown(put((0, 0), "a")), get((5, 6), "")]);
    passes(vec![unknown(put((0, 0), "a")), get((5, 6), "a")]);
    passes(vec![
        unknown(put((0, 0), "a")),
        get((5, 6), ""),
        get((7, 8), "a"),
    ]);
    fails(vec![
        unknown(put((0, 0), "a")),
        get((5, 6), "a"),
        get((7, 8), ""),
    ]);
    // Not before it was called, and not twice.
    fails(vec![get((0, 1), "a"), unknown(put((2, 2), "a"))]);
    fails(vec![unknown(append((0, 0), "a")), get((5, 6), "aa")]);
    passes(vec![unknown(get((0, 0), "")), put((1, 2), "a")]);
}

#[test]
fn compare_and_set_tells_what_it_saw() {
    passes(vec![
        set_if((0, 1), "", "a", Outcome::Done),
        set_if((2, 3), "x", "b", Outcome::Refused),
        set_if((4, 5), "a", "b", Outcome::Done),
        get((6, 7), "b"),
    ]);
    // Two locks of one lock.
    fails(vec![
        set_if((0, 9), "", "a", Outcome::Done),
        set_if((0, 9), "", "b", Outcome::Done),
    ]);
    fails(vec![
        put((0, 1), "a"),
        set_if((2, 3), "a", "b", Outcome::Refused),
    ]);
    passes(vec![
        put((0, 1), "a"),
        unknown(set_if((2, 2), "a", "b", Outcome::Done)),
        get((4, 5), "b"),
    ]);
    passes(vec![
        put((0, 1), "a"),
        unknown(set_if((2, 2), "x", "b", Outcome::Done)),
        get((4, 5), "a"),
    ]);
}

#[test]
fn keys_are_independent_and_the_broken_one_is_named() {
    let mut history = History::new();
    history.push(bytes("good"), put((0, 1), "a"));
    history.push(bytes("good"), get((2, 3), "a"));
    history.push(bytes("bad"), put((0, 1), "a"));
    history.push(bytes("bad"), get((2, 3), "z"));
    let Verdict::Violated { key, story } = history.check(1_000) else {
        panic!("it must fail");
    };
    assert_eq!(key, bytes("bad"));
    assert!(story.contains("Found(Some(b\"z\"))"), "{story}");
}

/// Clients that act on a real register at one moment within each call's span; every tenth
/// outcome is lost.
fn generate(seed: u64, count: u64, keys: u64, clients: u64) -> History {
    let mut prng = Prng::from_seed(seed);
    let mut history = History::new();
    let mut registers: BTreeMap<u64, Bytes> = BTreeMap::new();
    // Calls in the order in which they take effect.
    for number in 0..count {
        let effect = at(number * 10 + 1_000);
        let width = 10_000_000 * clients / 2;
        let called = Instant::from_nanos(effect.as_nanos() - prng.below(width));
        let returned = effect.after(Duration::from_nanos(prng.below(width)));
        let key = prng.below(keys);
        let value = bytes(&format!("{number}."));
        let lost = prng.chance(1, 10);
        let (operation, outcome) = match prng.below(10) {
            0..5 => {
                let found = registers.get(&key).cloned();
                (Operation::Get, Outcome::Found(found))
            }
            5..8 => {
                registers.insert(key, value.clone());
                (Operation::Put(value), Outcome::Done)
            }
            8 => {
                let old = registers.get(&key).cloned().unwrap_or_default();
                let new: Vec<u8> = old.iter().chain(&value).copied().collect();
                registers.insert(key, new.into());
                (Operation::Append(value), Outcome::Done)
            }
            _ => {
                registers.remove(&key);
                (Operation::Delete, Outcome::Done)
            }
        };
        let outcome = if lost { Outcome::Unknown } else { outcome };
        let call = Call {
            client: number % clients,
            operation,
            outcome,
            called,
            returned,
        };
        history.push(bytes(&key.to_string()), call);
    }
    history
}

#[test]
fn ten_thousand_calls_are_checked_quickly() {
    for (seed, keys) in [(1, 1), (2, 10), (3, 100)] {
        let history = generate(seed, 10_000, keys, 8);
        assert_eq!(history.len(), 10_000);
        assert_eq!(history.check(2_000_000), Verdict::Linearizable);
    }
}

#[test]
fn one_stale_read_among_thousands_is_found() {
    for seed in 0..5 {
        let mut history = generate(seed, 2_000, 5, 6);
        // A read at the very end that sees a value which was overwritten long before.
        let stale = get((1_000_000, 1_000_001), "17.");
        history.push(bytes("3"), stale);
        assert!(matches!(history.check(2_000_000), Verdict::Violated { .. }));
    }
}

#[test]
fn it_gives_up_when_told_to() {
    let calls = (0..30).map(|n| append((0, 100), &format!("{n}")));
    let mut calls: Vec<Call> = calls.collect();
    calls.push(get((200, 201), "impossible"));
    assert!(matches!(check(calls), Verdict::Undecided { states, .. } if states > 1_000_000));
}
