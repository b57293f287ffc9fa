//! The same random commands to the state machine and to a real `redis-server`.
//!
//! Skipped with a message where there is no `redis-server`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command as Process, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use engine::{Engine, MemoryEngine};
use kv_core::{
    AppendReturning, Batch, Command, Condition, Deadline, ExpireCondition, Expiry, Put, Reply,
    ReplyError, Returning, begin_payload, glob_match, hash_slot,
};
use stdx::{Prng, Term};

/// A port that two test runs at once hardly share.
fn port() -> u16 {
    21_000 + u16::try_from(std::process::id() % 100).unwrap()
}

/// A running server, killed when dropped.
struct Redis {
    process: Child,
    stream: BufReader<TcpStream>,
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Redis {
    /// A server without persistence; `None` if there is none to start.
    fn start() -> Option<Self> {
        let port = port();
        let process = Process::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--dir", "/tmp"])
            .stdout(Stdio::null())
            .spawn()
            .ok()?;
        let deadline = Instant::now() + Duration::from_secs(10);
        // A listening socket has no event to wait for from outside.
        let stream = loop {
            match TcpStream::connect(("127.0.0.1", port)) {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            std::thread::yield_now();
        };
        stream.set_nodelay(true).unwrap();
        let mut redis = Self {
            process,
            stream: BufReader::new(stream),
        };
        redis.call(&[b"FLUSHALL"]);
        Some(redis)
    }

    fn call(&mut self, arguments: &[&[u8]]) -> Answer {
        let mut request = format!("*{}\r\n", arguments.len()).into_bytes();
        for argument in arguments {
            request.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            request.extend_from_slice(argument);
            request.extend_from_slice(b"\r\n");
        }
        self.stream.get_mut().write_all(&request).unwrap();
        self.answer()
    }

    fn answer(&mut self) -> Answer {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        let rest = line[1..].trim_end();
        match line.as_bytes()[0] {
            b'+' => Answer::Status(rest.to_owned()),
            b'-' => Answer::Error(rest.to_owned()),
            b':' => Answer::Integer(rest.parse().unwrap()),
            b'$' => match usize::try_from(rest.parse::<i64>().unwrap()) {
                Ok(length) => {
                    let mut bytes = vec![0; length + 2];
                    self.stream.read_exact(&mut bytes).unwrap();
                    bytes.truncate(length);
                    Answer::Bulk(Some(bytes))
                }
                Err(_) => Answer::Bulk(None),
            },
            b'*' => {
                let count = rest.parse::<usize>().unwrap();
                Answer::Array((0..count).map(|_| self.answer()).collect())
            }
            other => panic!("unexpected answer {other}"),
        }
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Answer {
    Status(String),
    Error(String),
    Integer(i64),
    Bulk(Option<Vec<u8>>),
    Array(Vec<Self>),
}

/// What a front door would answer.
fn answer_of(reply: Reply, name: &str) -> Answer {
    match (reply, name) {
        (Reply::Ok, "SETNX") => Answer::Integer(1),
        (Reply::Nil, "SETNX") => Answer::Integer(0),
        (Reply::Ok, _) => Answer::Status("OK".to_owned()),
        (Reply::Nil, _) => Answer::Bulk(None),
        (Reply::Integer(number), _) => Answer::Integer(number),
        (Reply::Value(value), _) => Answer::Bulk(value.map(|value| value.to_vec())),
        (Reply::Float(text), _) => Answer::Bulk(Some(text.to_vec())),
        (Reply::Error(ReplyError::TooLarge), _) => {
            Answer::Error("ERR string exceeds maximum allowed size (proto-max-bulk-len)".to_owned())
        }
        (Reply::Error(ReplyError::InvalidExpireTime), name) => Answer::Error(format!(
            "ERR invalid expire time in '{}' command",
            name.to_lowercase()
        )),
        (Reply::Error(error), _) => Answer::Error(format!("ERR {error}")),
        (Reply::Version(version), _) => panic!("nobody asked for version {version}"),
    }
}

/// Takes a command's name, its arguments, and the state machine's form of it.
type Run<'r> = dyn FnMut(&str, Vec<Vec<u8>>, &Command<'_>) + 'r;

/// Draws commands in both forms.
struct Draw {
    prng: Prng,
    now_ms: i64,
}

impl Draw {
    fn key(&mut self) -> Vec<u8> {
        format!("k{}", self.prng.below(12)).into_bytes()
    }

    fn value(&mut self) -> Vec<u8> {
        const VALUES: [&str; 40] = [
            "",
            "0",
            "1",
            "-1",
            "10",
            "007",
            "-0",
            "+5",
            " 5",
            "5 ",
            "9223372036854775807",
            "9223372036854775806",
            "-9223372036854775808",
            "9223372036854775808",
            "1e3",
            "3.0e2",
            "0.1",
            "-2.5",
            "1.000000000000000001",
            "1e-7",
            "123456789.987654321",
            "inf",
            "-inf",
            "nan",
            "0x1A",
            "0x.8p3",
            "1e400",
            "1e4000",
            "1e5000",
            "1e-5000",
            ".5",
            "5.",
            "abc",
            "hello world",
            "3.14159265358979323846264338327950288",
            "99999999999999999999",
            "0.30000000000000004",
            "1e17",
            "1e18",
            "-1e-18",
        ];
        if self.prng.chance(1, 4) {
            let digits = 1 + self.prng.below(25);
            let mut text = String::new();
            for at in 0..digits {
                text.push(char::from(
                    b'0' + u8::try_from(self.prng.below(10)).unwrap(),
                ));
                if at == digits / 2 {
                    text.push('.');
                }
            }
            return text.into_bytes();
        }
        self.prng.choose(&VALUES).unwrap().as_bytes().to_vec()
    }

    /// A deadline long ago or in the far future: none passes during the test.
    fn at_ms(&mut self) -> i64 {
        if self.prng.chance(1, 5) {
            1 + i64::try_from(self.prng.below(1_000)).unwrap()
        } else {
            self.now_ms + 100_000_000 + i64::try_from(self.prng.below(3)).unwrap() * 1_000
        }
    }

    #[expect(clippy::too_many_lines, reason = "a flat list of commands")]
    fn draw(&mut self, run: &mut Run<'_>) {
        let (key, other, value, at_ms) = (self.key(), self.key(), self.value(), self.at_ms());
        let at_text = at_ms.to_string().into_bytes();
        let deadline = Deadline::At(at_ms);
        let by = *self
            .prng
            .choose(&[1, -1, 7, i64::MAX, i64::MIN + 1, 1_000])
            .unwrap();
        let mut put = Put::new(&key, &value);
        match self.prng.below(18) {
            0 | 1 => self.draw_set(&key, &value, at_ms, run),
            2 => {
                put.condition = Condition::IfAbsent;
                run(
                    "SETNX",
                    vec![key.clone(), value.clone()],
                    &Command::Put(put),
                );
            }
            3 => {
                put.returning = Returning::Old;
                run(
                    "GETSET",
                    vec![key.clone(), value.clone()],
                    &Command::Put(put),
                );
            }
            4 => run(
                "GETDEL",
                vec![key.clone()],
                &Command::GetDelete { key: &key },
            ),
            5 => self.draw_getex(&key, at_ms, run),
            6 => {
                let returning = AppendReturning::NewLength;
                let command = Command::Append {
                    key: &key,
                    value: &value,
                    returning,
                };
                run("APPEND", vec![key.clone(), value.clone()], &command);
            }
            7 => {
                let offset = if self.prng.chance(1, 20) {
                    600 << 20
                } else {
                    self.prng.below(30)
                };
                let command = Command::SetRange {
                    key: &key,
                    offset,
                    value: &value,
                };
                let offset = offset.to_string().into_bytes();
                run(
                    "SETRANGE",
                    vec![key.clone(), offset, value.clone()],
                    &command,
                );
            }
            8 => run(
                "INCR",
                vec![key.clone()],
                &Command::Increment { key: &key, by: 1 },
            ),
            9 => {
                let command = Command::Increment { key: &key, by };
                run(
                    "INCRBY",
                    vec![key.clone(), by.to_string().into_bytes()],
                    &command,
                );
            }
            10 => {
                let command = Command::Increment { key: &key, by: -by };
                run(
                    "DECRBY",
                    vec![key.clone(), by.to_string().into_bytes()],
                    &command,
                );
            }
            11 | 12 => {
                let command = Command::IncrementFloat {
                    key: &key,
                    by: &value,
                };
                run("INCRBYFLOAT", vec![key.clone(), value.clone()], &command);
            }
            13 => {
                let only = self.prng.chance(1, 2);
                let pairs = vec![(&key[..], &value[..]), (&other[..], b"x")];
                let command = Command::MultiPut {
                    pairs,
                    only_if_none_exists: only,
                };
                let name = if only { "MSETNX" } else { "MSET" };
                let arguments = vec![key.clone(), value.clone(), other.clone(), b"x".to_vec()];
                run(name, arguments, &command);
            }
            14 => {
                let command = Command::Delete {
                    keys: vec![&key, &other],
                };
                run("DEL", vec![key.clone(), other.clone()], &command);
            }
            15 => {
                let (word, condition) = *self
                    .prng
                    .choose(&[
                        ("", ExpireCondition::Always),
                        ("NX", ExpireCondition::IfNone),
                        ("XX", ExpireCondition::IfSome),
                        ("GT", ExpireCondition::IfLater),
                        ("LT", ExpireCondition::IfSooner),
                    ])
                    .unwrap();
                let mut arguments = vec![key.clone(), at_text];
                if !word.is_empty() {
                    arguments.push(word.as_bytes().to_vec());
                }
                run(
                    "PEXPIREAT",
                    arguments,
                    &Command::Expire {
                        key: &key,
                        deadline,
                        condition,
                    },
                );
            }
            16 => run(
                "PERSIST",
                vec![key.clone()],
                &Command::Persist { key: &key },
            ),
            _ => {
                let only_if_absent = self.prng.chance(1, 2);
                let command = Command::Rename {
                    source: &key,
                    target: &other,
                    only_if_absent,
                };
                let name = if only_if_absent { "RENAMENX" } else { "RENAME" };
                run(name, vec![key.clone(), other.clone()], &command);
            }
        }
    }

    fn draw_set(&mut self, key: &[u8], value: &[u8], at_ms: i64, run: &mut Run<'_>) {
        let mut put = Put::new(key, value);
        let mut arguments = vec![key.to_vec(), value.to_vec()];
        match self.prng.below(3) {
            0 => {}
            1 => {
                put.expiry = Expiry::Keep;
                arguments.push(b"KEEPTTL".to_vec());
            }
            _ => {
                put.expiry = Expiry::Set(Deadline::At(at_ms));
                arguments.extend([b"PXAT".to_vec(), at_ms.to_string().into_bytes()]);
            }
        }
        match self.prng.below(3) {
            0 => {}
            1 => {
                put.condition = Condition::IfAbsent;
                arguments.push(b"NX".to_vec());
            }
            _ => {
                put.condition = Condition::IfPresent;
                arguments.push(b"XX".to_vec());
            }
        }
        if self.prng.chance(1, 2) {
            put.returning = Returning::Old;
            arguments.push(b"GET".to_vec());
        }
        run("SET", arguments, &Command::Put(put));
    }

    fn draw_getex(&mut self, key: &[u8], at_ms: i64, run: &mut Run<'_>) {
        let mut arguments = vec![key.to_vec()];
        let expiry = match self.prng.below(3) {
            0 => Expiry::Keep,
            1 => {
                arguments.push(b"PERSIST".to_vec());
                Expiry::Clear
            }
            _ => {
                arguments.extend([b"PXAT".to_vec(), at_ms.to_string().into_bytes()]);
                Expiry::Set(Deadline::At(at_ms))
            }
        };
        run("GETEX", arguments, &Command::GetExpire { key, expiry });
    }
}

fn apply(engine: &MemoryEngine, now_ms: i64, command: &Command<'_>) -> Reply {
    let mut batch = Batch::new();
    batch.push(command);
    let mut payload = BytesMut::new();
    begin_payload(&mut payload, u64::try_from(now_ms).unwrap());
    payload.extend_from_slice(batch.bytes());
    let mut replies = Vec::new();
    engine
        .apply(
            engine.applied().next(),
            Term::new(1),
            &payload,
            Some(&mut replies),
        )
        .unwrap();
    replies.pop().unwrap()
}

/// Everything in the engine: key, value, deadline as `PEXPIRETIME` gives it.
fn contents(engine: &MemoryEngine) -> Vec<(Vec<u8>, Vec<u8>, i64)> {
    let items = engine.view().list(b"", None, 1_000).unwrap().items;
    items
        .into_iter()
        .map(|item| {
            let deadline = i64::try_from(item.meta.expires_ms).unwrap();
            (
                item.key.to_vec(),
                item.value.to_vec(),
                if deadline == 0 { -1 } else { deadline },
            )
        })
        .collect()
}

fn contents_of_redis(redis: &mut Redis) -> Vec<(Vec<u8>, Vec<u8>, i64)> {
    let Answer::Array(keys) = redis.call(&[b"KEYS", b"*"]) else {
        panic!("KEYS")
    };
    let mut all = Vec::new();
    for key in keys {
        let Answer::Bulk(Some(key)) = key else {
            panic!("a key")
        };
        let Answer::Bulk(value) = redis.call(&[b"GET", &key]) else {
            panic!("GET")
        };
        let Answer::Integer(deadline) = redis.call(&[b"PEXPIRETIME", &key]) else {
            panic!("PEXPIRETIME")
        };
        // It may have had a deadline in the past, and be gone now.
        if let Some(value) = value {
            all.push((key, value, deadline));
        }
    }
    all.sort();
    all
}

#[test]
fn random_commands_have_the_outcome_that_redis_gives_them() {
    let Some(mut redis) = Redis::start() else {
        println!("skipped: there is no redis-server to compare with");
        return;
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now_ms = i64::try_from(now.as_millis()).unwrap();
    for seed in 0..10 {
        redis.call(&[b"FLUSHALL"]);
        let engine = MemoryEngine::new();
        let mut draw = Draw {
            prng: Prng::from_seed(seed),
            now_ms,
        };
        for step in 0..1_000 {
            draw.draw(&mut |name, arguments, command| {
                let mut words = vec![name.as_bytes()];
                words.extend(arguments.iter().map(|argument| &argument[..]));
                let expected = redis.call(&words);
                let actual = answer_of(apply(&engine, now_ms, command), name);
                let text = words.iter().map(|word| String::from_utf8_lossy(word));
                let text: Vec<_> = text.collect();
                assert_eq!(actual, expected, "seed {seed} step {step}: {text:?}");
            });
            if step % 50 == 0 {
                let expected = contents_of_redis(&mut redis);
                assert_eq!(contents(&engine), expected, "seed {seed} step {step}");
            }
        }
    }
    compare_patterns(&mut redis);
    compare_slots(&mut redis);
}

fn compare_patterns(redis: &mut Redis) {
    const ALPHABET: &[u8] = b"ab-*?[]^\\c";
    let mut prng = Prng::from_seed(77);
    let mut draw = |length: usize| -> Vec<u8> {
        (0..prng.index(length) + 1)
            .map(|_| *prng.choose(ALPHABET).unwrap())
            .collect()
    };
    redis.call(&[b"FLUSHALL"]);
    let mut keys: Vec<_> = (0..300).map(|_| draw(5)).collect();
    keys.sort();
    keys.dedup();
    for key in &keys {
        redis.call(&[b"SET", key, b""]);
    }
    for _ in 0..3_000 {
        let pattern = draw(7);
        let Answer::Array(found) = redis.call(&[b"KEYS", &pattern]) else {
            panic!("KEYS")
        };
        let mut expected: Vec<_> = found
            .into_iter()
            .map(|key| match key {
                Answer::Bulk(Some(key)) => key,
                other => panic!("a key: {other:?}"),
            })
            .collect();
        expected.sort();
        let matching = keys.iter().filter(|key| glob_match(&pattern, key));
        let actual: Vec<_> = matching.cloned().collect();
        assert_eq!(actual, expected, "{}", String::from_utf8_lossy(&pattern));
    }
}

fn compare_slots(redis: &mut Redis) {
    let mut prng = Prng::from_seed(78);
    for _ in 0..500 {
        let length = prng.index(40);
        let key: Vec<u8> = (0..length)
            .map(|_| *prng.choose(b"ab{}c12").unwrap())
            .collect();
        match redis.call(&[b"CLUSTER", b"KEYSLOT", &key]) {
            Answer::Integer(slot) => assert_eq!(i64::from(hash_slot(&key)), slot),
            // A server that isn't part of a cluster doesn't tell.
            answer => return assert!(matches!(answer, Answer::Error(_)), "{answer:?}"),
        }
    }
}
