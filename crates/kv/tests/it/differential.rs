//! The same commands to this server and to `redis-server`: every reply must be the same bytes.
//!
//! Skipped, with a message, where `redis-server` is not installed.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use stdx::Prng;
use tempfile::TempDir;

use crate::doors::{Client, Doors};

struct Redis {
    process: Child,
    port: u16,
    _dir: TempDir,
}

impl Redis {
    /// A server of its own on a free port; `None` if there is no program.
    fn start() -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let process = Command::new("redis-server")
            .args([
                "--port",
                &port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
            ])
            .args(["--databases", "1", "--dir"])
            .arg(dir.path())
            .stdout(Stdio::null())
            .spawn()
            .ok()?;
        let redis = Self {
            process,
            port,
            _dir: dir,
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "redis-server does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(redis)
    }

    fn connect(&self) -> Client {
        Client::connect(([127, 0, 0, 1], self.port).into())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Lines that meet options, errors and corners which random ones seldom meet.
const LINES: &str = r#"
SET k v EX 100 NX GET
SET k v GET NX
SET k v GET XX EX 100
SET k v EX 9223372036854775807
SET k v EX 9223372036854776
SET k v PX 0
SET k v PX -1
SET k v EXAT 0
SET k v PXAT abc
SET k v EX 1.5
SET k v KEEPTTL EX 5
SET k v EX 5 KEEPTTL
SET k v EX 5 EX 6
SET k v EX 5 PX 6
SET k v NX NX
SET k v PERSIST
SET k v bogus
SET k v EX 100
TTL k
SET k v
TTL k
SETEX k -1 v
SETEX k abc v
PSETEX k 0 v
GETEX k EX 0
GETEX k EX 100 PERSIST
GETEX k PERSIST EX 100
GETEX k KEEPTTL
GETEX k NX
GETEX k EX
GETEX k
GETEX nosuch EX 10
GETEX k PXAT 9999999999999
PEXPIRETIME k
GETEX k PERSIST
PEXPIRETIME k
PEXPIRETIME nosuch
EXPIRETIME nosuch
EXPIRE k abc
EXPIRE k 9223372036854775807
EXPIRE k -9223372036854775808
PEXPIRE k 9223372036854775807
EXPIRE k 100 NX
EXPIRE k 100 nx
EXPIRE k 50 LT
EXPIRE k 60 LT
EXPIRE k 70 GT
EXPIRE k 70 XX GT
EXPIRE k 10 XX LT
EXPIRE k 10 XX NX
EXPIRE k 10 bogus
EXPIRE nosuch 10 XX
EXPIREAT k 9999999999
EXPIRETIME k
PEXPIREAT k 0
EXISTS k
TTL k
PTTL nosuch
PERSIST nosuch
GETRANGE nosuch 0 -1
GETRANGE k a b
SETRANGE nosuch 5 ""
EXISTS nosuch
SETRANGE pad 5 x
GET pad
SETRANGE pad abc x
SETRANGE pad -1 x
SETRANGE pad 600000000 x
APPEND pad ""
APPEND newempty ""
EXISTS newempty
INCR pad
SET n " 1"
INCR n
SET n 1.5
INCR n
SET n ""
INCR n
SET n 0x10
INCR n
SET n 007
INCR n
SET n -0
INCR n
SET n 9223372036854775807
INCRBY n 1
INCRBY n abc
INCRBY n 1.5
INCRBY n 9223372036854775808
DECRBY n -9223372036854775808
DECRBY n abc
INCRBYFLOAT n 1.5
INCRBYFLOAT fl 3.0e3
INCRBYFLOAT fl 200
INCRBYFLOAT fl -1.1
INCRBYFLOAT fl 0.1
INCRBYFLOAT fl 1e-10
INCRBYFLOAT fl inf
INCRBYFLOAT fl nan
INCRBYFLOAT fl abc
INCRBYFLOAT fl ""
INCRBYFLOAT fl " 1"
INCRBYFLOAT fl 1e308
INCRBYFLOAT fl 0x10
SET fl abc
INCRBYFLOAT fl 1
MSET
MSET a
MSET a 1 a 2
GET a
MSETNX a 1
MSETNX p 1 q 2 p 3
MGET p q nosuch
DEL
DEL p p q
UNLINK nosuch
RENAME nosuch x
RENAME a a
RENAMENX a a
RENAMENX nosuch x
SET x 1 EX 100
RENAME x y
TTL y
EXISTS
EXISTS y y y
TYPE y
TYPE
TOUCH y nosuch
OBJECT ENCODING y
OBJECT ENCODING nosuch
OBJECT ENCODING
OBJECT REFCOUNT nosuch
OBJECT FREQ y
OBJECT FREQ nosuch
OBJECT bogus y
OBJECT
MEMORY USAGE nosuch
MEMORY USAGE y SAMPLES
MEMORY USAGE y SAMPLES -1
SET e abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqr
OBJECT ENCODING e
SET e abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrs
OBJECT ENCODING e
SCAN
SCAN abc
SCAN 0 COUNT abc
SCAN 0 COUNT -1
SCAN 0 COUNT
SCAN 0 bogus x
SCAN 0 MATCH nosuch* COUNT 10000
SCAN 0 TYPE hash COUNT 10000
KEYS nosuch*
KEYS
DBSIZE x
PING a b
ECHO
SELECT 5
SELECT abc
SELECT -1
AUTH a
AUTH a b
AUTH default x
AUTH a b c
HELLO 9
HELLO abc
HELLO 2 bogus
HELLO 2 AUTH x
HELLO 2 SETNAME
HELLO 2 SETNAME "a b"
HELLO 2 AUTH nobody x
CLIENT
CLIENT bogus
CLIENT SETNAME "a b"
CLIENT SETNAME abc
CLIENT GETNAME
CLIENT SETNAME ""
CLIENT GETNAME
CLIENT KILL
CLIENT KILL bogus bogus
CLIENT KILL ID abc
CLIENT KILL ID 0
CLIENT KILL ADDR 1.2.3.4:5
CLIENT KILL 1.2.3.4:5
CLIENT KILL TYPE bogus
CLIENT KILL TYPE replica
CLIENT KILL USER nobody
CLIENT KILL SKIPME maybe
CLIENT LIST TYPE bogus
CLIENT LIST bogus
CLIENT LIST ID abc
CLIENT LIST ID 999999
CLIENT NO-EVICT on
CLIENT NO-EVICT bogus
CLIENT REPLY on
CLIENT REPLY bogus
CLIENT GETREDIR
CLIENT TRACKINGINFO
CLIENT TRACKING off
CLIENT TRACKING bogus
CLIENT UNBLOCK abc
CLIENT UNBLOCK 99999
CLIENT UNBLOCK 99999 bogus
CONFIG
CONFIG bogus
CONFIG GET
CONFIG GET save
CONFIG GET nosuch
CONFIG SET nosuch 1
CONFIG SET a
CONFIG RESETSTAT
CONFIG RESETSTAT x
CONFIG REWRITE
COMMAND bogus
COMMAND COUNT x
COMMAND INFO nosuch
COMMAND GETKEYS
COMMAND GETKEYS GET a
COMMAND GETKEYS MSET a 1 b 2
COMMAND GETKEYS DEL a b c
COMMAND LIST FILTERBY bogus x
COMMAND LIST FILTERBY PATTERN msetn*
COMMAND LIST FILTERBY MODULE x
DEBUG
SLOWLOG
SLOWLOG GET abc
SLOWLOG GET -2
SLOWLOG RESET
SLOWLOG bogus
LATENCY LATEST
LATENCY RESET
LATENCY bogus
WAIT 0
WAIT 0 0
WAIT abc 0
WAIT 0 abc
WAIT 0 -1
TIME x
RANDOMKEY x
FLUSHDB bogus
FLUSHALL ASYNC x
FLUSHALL SYNC
DBSIZE
RANDOMKEY
nosuchcommand
nosuchcommand a b "c d" e
nosuchcommand aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb cccc
GET
GET a b
SET a
INCR
INCR a b
APPEND a
LCS a b
SET a ohmytext
SET b mynewtext
LCS a b
LCS a b LEN
LCS a b bogus
QUIT2
RESET x
RESET
"#;

#[tokio::test(flavor = "multi_thread")]
async fn redis_gives_the_same_replies() {
    let Some(redis) = Redis::start() else {
        println!("skipped: redis-server is not installed");
        return;
    };
    let doors = Doors::open().await;
    let (mut theirs, mut ours) = (redis.connect(), doors.connect());
    let mut different = Vec::new();
    for line in LINES.lines().filter(|line| !line.is_empty()) {
        let (expected, found) = (theirs.line(line), ours.line(line));
        if expected != found {
            different.push(format!("{line}\n  redis: {expected}\n  ours:  {found}"));
        }
    }
    assert!(
        different.is_empty(),
        "{} differ:\n{}",
        different.len(),
        different.join("\n")
    );
    doors.close().await;
}

/// What random requests look like: K is a key, V a value, N a number, S a small one.
const TEMPLATES: &str = "SET K V|SET K V NX|SET K V XX|SET K V GET|SET K V XX GET|SETNX K V|GET K|GETSET K V\
    |GETDEL K|MGET K K K|MSET K V K V|MSETNX K V K V|APPEND K V|STRLEN K|GETRANGE K N N\
    |SETRANGE K S V|INCR K|DECR K|INCRBY K N|DECRBY K N|INCRBYFLOAT K V|DEL K K|EXISTS K K\
    |TYPE K|RENAME K K|RENAMENX K K|TTL K|PERSIST K|GETEX K|GETEX K PERSIST|DBSIZE|UNLINK K\
    |TOUCH K K|SUBSTR K N N";
const KEYS: [&str; 5] = ["a", "b", "c", "{a}d", ""];
const VALUES: [&str; 12] = [
    "",
    "0",
    "1",
    "-1",
    "10.5",
    "9223372036854775807",
    "hello",
    "007",
    "1e3",
    " 2",
    "abc",
    "x",
];
const NUMBERS: [&str; 10] = [
    "0",
    "1",
    "-1",
    "5",
    "-3",
    "100",
    "9223372036854775807",
    "-9223372036854775808",
    "x",
    "",
];
const SMALL: [&str; 6] = ["0", "1", "3", "17", "-1", "x"];

/// A random request over few keys.
fn request(prng: &mut Prng) -> Vec<String> {
    let templates: Vec<&str> = TEMPLATES.split('|').collect();
    let template = prng.choose(&templates).unwrap();
    let mut words = Vec::new();
    for word in template.split(' ') {
        let word = match word {
            "K" => prng.choose(&KEYS).unwrap(),
            "V" => prng.choose(&VALUES).unwrap(),
            "N" => prng.choose(&NUMBERS).unwrap(),
            "S" => prng.choose(&SMALL).unwrap(),
            word => word,
        };
        words.push(word.to_owned());
    }
    words
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_gives_the_same_replies_to_random_sessions() {
    let Some(redis) = Redis::start() else {
        println!("skipped: redis-server is not installed");
        return;
    };
    let doors = Doors::open().await;
    let mut prng = Prng::from_seed(0xd1ff);
    let mut history = Vec::new();
    let (mut theirs, mut ours) = (redis.connect(), doors.connect());
    for _ in 0..1_500 {
        let words = request(&mut prng);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        history.push(words.join(" "));
        let (expected, found) = (theirs.call(&words), ours.call(&words));
        let tail = &history[history.len().saturating_sub(12)..];
        assert_eq!(expected, found, "after {tail:#?}");
    }
    doors.close().await;
}
