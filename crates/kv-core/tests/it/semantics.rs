//! Commands as lines of text, with the reply that each must have.

use bytes::BytesMut;
use kv_core::limits::VALUE_BYTES_MAX;
use kv_core::{
    AppendReturning, Batch, Command, Condition, Deadline, ExpireCondition, Expiry, Put, Reply,
    ReplyError, Returning, StateMachine, begin_payload,
};

use crate::table::MapTable;

/// A state machine, its table and the leader's clock.
#[derive(Default)]
struct World {
    machine: StateMachine,
    table: MapTable,
    now_ms: u64,
}

impl World {
    fn apply(&mut self, command: &Command<'_>) -> Reply {
        let mut batch = Batch::new();
        batch.push(command);
        let mut payload = BytesMut::new();
        begin_payload(&mut payload, self.now_ms);
        payload.extend_from_slice(batch.bytes());
        let mut replies = Vec::new();
        self.machine
            .apply_entry(&mut self.table, &payload, Some(&mut replies))
            .unwrap();
        assert_eq!(replies.len(), 1);
        replies.pop().unwrap()
    }

    fn line(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        if let ["at", time] = words[..] {
            self.now_ms = time.parse().unwrap();
            return String::new();
        }
        let command = parse(&words);
        print(self.apply(&command))
    }
}

/// `''` is the empty string.
fn bytes(word: &str) -> &[u8] {
    word.strip_prefix("''").unwrap_or(word).as_bytes()
}

fn parse<'a>(words: &[&'a str]) -> Command<'a> {
    let key = bytes(words.get(1).copied().unwrap_or(""));
    let number = |at: usize| words[at].parse::<i64>().unwrap();
    match words[0] {
        "set" => Command::Put(parse_put(words)),
        "get" => Command::Get { key },
        "append" => Command::Append {
            key,
            value: bytes(words[2]),
            returning: match words.get(3) {
                Some(&"old-length") => AppendReturning::OldLength,
                Some(&"old") => AppendReturning::OldValue,
                _ => AppendReturning::NewLength,
            },
        },
        "setrange" => Command::SetRange {
            key,
            offset: words[2].parse().unwrap(),
            value: bytes(words[3]),
        },
        "del" => Command::Delete {
            keys: words[1..].iter().map(|word| bytes(word)).collect(),
        },
        "delif" => Command::DeleteIf {
            key,
            condition: parse_condition(&words[2..]),
        },
        "incrby" => Command::Increment { key, by: number(2) },
        "incrbyfloat" => Command::IncrementFloat {
            key,
            by: bytes(words[2]),
        },
        "getdel" => Command::GetDelete { key },
        "getex" => Command::GetExpire {
            key,
            expiry: parse_expiry(&words[2..]),
        },
        "expire" => Command::Expire {
            key,
            deadline: match parse_expiry(&words[2..4]) {
                Expiry::Set(deadline) => deadline,
                other => panic!("{other:?}"),
            },
            condition: match words.get(4) {
                Some(&"nx") => ExpireCondition::IfNone,
                Some(&"xx") => ExpireCondition::IfSome,
                Some(&"gt") => ExpireCondition::IfLater,
                Some(&"lt") => ExpireCondition::IfSooner,
                Some(&"xx-lt") => ExpireCondition::IfSomeAndSooner,
                _ => ExpireCondition::Always,
            },
        },
        "persist" => Command::Persist { key },
        "mset" | "msetnx" => Command::MultiPut {
            pairs: words[1..]
                .chunks(2)
                .map(|pair| (bytes(pair[0]), bytes(pair[1])))
                .collect(),
            only_if_none_exists: words[0] == "msetnx",
        },
        "rename" | "renamenx" => Command::Rename {
            source: key,
            target: bytes(words[2]),
            only_if_absent: words[0] == "renamenx",
        },
        "clear" => Command::Clear,
        "tick" => Command::Tick,
        other => panic!("unknown verb {other}"),
    }
}

fn parse_put<'a>(words: &[&'a str]) -> Put<'a> {
    let mut put = Put::new(bytes(words[1]), bytes(words[2]));
    let mut rest = &words[3..];
    while let [word, tail @ ..] = rest {
        let mut taken = 1;
        match *word {
            "old" => put.returning = Returning::Old,
            "version" => put.returning = Returning::Version,
            "nx" => put.condition = Condition::IfAbsent,
            "xx" => put.condition = Condition::IfPresent,
            "if-version" | "if-value" => {
                put.condition = parse_condition(rest);
                taken = 2;
            }
            _ => {
                put.expiry = parse_expiry(rest);
                taken = if *word == "keep" { 1 } else { 2 };
            }
        }
        rest = &tail[taken - 1..];
    }
    put
}

fn parse_condition<'a>(words: &[&'a str]) -> Condition<'a> {
    match words {
        ["if-version", version, ..] => Condition::IfVersion(version.parse().unwrap()),
        ["if-value", value, ..] => Condition::IfValue(bytes(value)),
        other => panic!("{other:?}"),
    }
}

fn parse_expiry(words: &[&str]) -> Expiry {
    match words {
        [] | ["keep", ..] => Expiry::Keep,
        ["clear", ..] => Expiry::Clear,
        ["at", ms, ..] => Expiry::Set(Deadline::At(ms.parse().unwrap())),
        ["after", ms, ..] => Expiry::Set(Deadline::After(ms.parse().unwrap())),
        other => panic!("{other:?}"),
    }
}

fn print(reply: Reply) -> String {
    match reply {
        Reply::Ok => "OK".to_owned(),
        Reply::Nil => "nil".to_owned(),
        Reply::Integer(number) => number.to_string(),
        Reply::Value(None) => "none".to_owned(),
        Reply::Value(Some(value)) => {
            format!("\"{}\"", String::from_utf8_lossy(&value).replace('\0', "."))
        }
        Reply::Float(text) => String::from_utf8_lossy(&text).into_owned(),
        Reply::Version(version) => format!("v{version}"),
        Reply::Error(error) => format!("error: {error}"),
    }
}

/// Runs lines of `command => reply`.
fn check(script: &str) {
    let mut world = World::default();
    for line in script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let (command, expected) = line.split_once(" => ").unwrap_or((line, ""));
        assert_eq!(world.line(command.trim()), expected, "{line}");
    }
}

#[test]
fn set_with_all_its_options() {
    check(
        r#"
        set k one => OK
        get k => "one"
        set k two nx => nil
        set k two xx => OK
        set absent x xx => nil
        get absent => none
        set k three old => "two"
        set fresh x old => none
        set k four nx old => "three"
        get k => "three"
        set k '' => OK
        get k => ""
        "#,
    );
}

#[test]
fn expiry_is_kept_cleared_and_set() {
    check(
        r#"
        at 1000
        set k v after 500 => OK
        set k w keep => OK
        at 1499
        get k => "w"
        at 1500
        get k => none
        set k v at 2000 => OK
        set k w => OK
        at 3000
        get k => "w"
        set k gone at 2999 => OK
        get k => none
        set k v => OK
        set k gone after -5 old => "v"
        get k => none
        set k v after 9223372036854775807 => error: invalid expire time
        "#,
    );
}

#[test]
fn expire_with_all_its_conditions() {
    check(
        r#"
        at 1000
        expire k at 2000 => 0
        set k v => OK
        expire k at 2000 xx => 0
        expire k at 2000 gt => 0
        expire k at 2000 xx-lt => 0
        expire k at 2000 nx => 1
        expire k at 3000 nx => 0
        expire k at 2000 gt => 0
        expire k at 3000 gt => 1
        expire k at 3000 lt => 0
        expire k at 2500 lt => 1
        expire k at 2400 xx-lt => 1
        expire k at 2450 xx => 1
        persist k => 1
        persist k => 0
        persist absent => 0
        expire k at 2000 lt => 1
        at 1999
        get k => "v"
        at 2000
        get k => none
        set k v => OK
        expire k at 1999 gt => 0
        expire k at 1999 => 1
        get k => none
        set k v => OK
        expire k after -1 nx => 1
        get k => none
        expire k after 9223372036854775807 => error: invalid expire time
        "#,
    );
}

#[test]
fn get_and_change() {
    check(
        r#"
        at 1000
        getdel k => none
        getex k clear => none
        set k v after 100 => OK
        getex k => "v"
        getex k after 500 => "v"
        at 1400
        getex k clear => "v"
        at 9000
        getex k at 8000 => "v"
        get k => none
        set k v => OK
        getdel k => "v"
        get k => none
        "#,
    );
}

#[test]
fn strings_grow() {
    check(
        r#"
        append k ab => 2
        append k cd old-length => 2
        append k e old => "abcd"
        append fresh x old => none
        append empty '' => 0
        get empty => ""
        setrange k 1 XY => 5
        get k => "aXYde"
        setrange k 7 Z => 8
        get k => "aXYde..Z"
        setrange none 0 '' => 0
        get none => none
        setrange k 5 '' => 8
        setrange k 999999999 x => error: string exceeds maximum allowed size
        setrange k 18446744073709551615 x => error: string exceeds maximum allowed size
        "#,
    );
}

#[test]
fn a_value_stops_growing_at_its_limit() {
    let mut world = World::default();
    let half = vec![7; VALUE_BYTES_MAX / 2 + 1];
    let append = Command::Append {
        key: b"k",
        value: &half,
        returning: AppendReturning::OldLength,
    };
    assert_eq!(world.apply(&append), Reply::Integer(0));
    assert_eq!(world.apply(&append), Reply::Error(ReplyError::TooLarge));
    assert_eq!(world.table.0[&b"k"[..]].1.len(), half.len());
}

#[test]
fn counters() {
    check(
        r#"
        at 1000
        incrby k 1 => 1
        incrby k -3 => -2
        set k 9223372036854775807 => OK
        incrby k 1 => error: increment or decrement would overflow
        get k => "9223372036854775807"
        set k 007 => OK
        incrby k 1 => error: value is not an integer or out of range
        set k 5 after 100 => OK
        incrby k 5 => 10
        at 1100
        get k => none
        incrbyfloat f 10.5 => 10.5
        incrbyfloat f 0.1 => 10.6
        incrbyfloat f -5 => 5.6
        incrbyfloat f 5.0e3 => 5005.60000000000000009
        incrbyfloat f x => error: value is not a valid float
        incrbyfloat f inf => error: increment would produce NaN or Infinity
        get f => "5005.60000000000000009"
        "#,
    );
}

#[test]
fn several_keys_at_once() {
    check(
        r#"
        mset a 1 b 2 a 3 => OK
        get a => "3"
        msetnx c 1 b 9 => 0
        get c => none
        msetnx c 1 d 2 => 1
        del a b a absent => 2
        rename absent x => error: no such key
        renamenx absent x => error: no such key
        rename c c => OK
        renamenx c c => 0
        renamenx c d => 0
        rename c d => OK
        get d => "1"
        get c => none
        renamenx d e => 1
        clear => OK
        get e => none
        "#,
    );
}

#[test]
fn a_renamed_key_takes_its_deadline_along() {
    check(
        r#"
        at 1000
        set a v after 100 => OK
        set b w => OK
        rename a b => OK
        at 1099
        get b => "v"
        at 1100
        get b => none
        "#,
    );
}

/// The rules of the versioned store of 6.5840's second lab.
#[test]
fn versions_count_writes() {
    check(
        r#"
        at 1000
        set k a if-version 0 version => v1
        set k b if-version 0 version => error: the version is 1
        set none y if-version 1 => error: the version is 0
        get none => none
        set k b if-version 1 version => v2
        set k c if-value a => error: the value differs (version 2)
        set k c if-value b version => v3
        set none c if-value b => error: the value differs (version 0)
        append k d => 2
        set k e if-version 4 version => v5
        expire k at 9000 => 1
        set k f if-version 6 keep version => v7
        delif k if-version 6 => error: the version is 7
        delif k if-version 7 => 1
        set k a version => v1
        delif k if-value x => error: the value differs (version 1)
        set gone x at 5 version => v0
        "#,
    );
}

#[test]
fn time_never_runs_backwards_when_leaders_change() {
    check(
        r#"
        at 5000
        set k v after 1000 => OK
        at 2000
        set late w after 1000 => OK
        at 5999
        get k => "v"
        get late => "w"
        at 6000
        get k => none
        get late => none
        "#,
    );
}

/// Replicas that get the same entries have the same records, however often they
/// stopped, and whether or not anybody asked for replies.
#[test]
fn expiry_depends_on_the_log_alone() {
    let mut prng = stdx::Prng::from_seed(11);
    let (mut one, mut two) = (MapTable::default(), MapTable::default());
    let (mut machine, mut other) = (StateMachine::default(), StateMachine::default());
    for step in 0..2_000_u64 {
        let mut batch = Batch::new();
        for _ in 0..prng.below(4) {
            let key = format!("k{}", prng.below(50));
            let mut put = Put::new(key.as_bytes(), b"v");
            let span = i64::try_from(prng.below(500)).unwrap();
            put.expiry = Expiry::Set(Deadline::After(span));
            batch.push(&Command::Put(put));
        }
        let mut payload = BytesMut::new();
        begin_payload(&mut payload, (step * 10).saturating_sub(prng.below(100)));
        payload.extend_from_slice(batch.bytes());
        machine
            .apply_entry(&mut one, &payload, Some(&mut Vec::new()))
            .unwrap();
        // The other one restarts with nothing but its time and its records.
        other = StateMachine::new(other.now_ms());
        other.apply_entry(&mut two, &payload, None).unwrap();
        assert_eq!((&one, machine), (&two, other));
    }
    assert!(!one.0.is_empty());
}
