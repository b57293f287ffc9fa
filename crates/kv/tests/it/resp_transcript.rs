//! What every command answers, as lines of a session. The replies of commands that Redis has too
//! are Redis's: `differential` compares them where `redis-server` is installed.

use crate::doors::{Client, Doors, show};

/// Lines of requests, each followed by the reply behind `=> `.
fn play(client: &mut Client, script: &str) {
    for line in script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let (request, expected) = line
            .split_once(" => ")
            .expect("a line is `request => reply`");
        assert_eq!(client.line(request), expected, "{request}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strings_counters_and_keys() {
    let doors = Doors::open().await;
    let mut client = doors.connect();
    play(
        &mut client,
        r#"
        SET k v => +OK
        GET k => $1 v
        GET missing => _
        SET k w NX => _
        SET k w XX GET => $1 v
        SET new x XX => _
        SET k v EX 0 => -ERR invalid expire time in 'set' command
        SET k v EX => -ERR syntax error
        SET k v EX 10 PX 10 => -ERR syntax error
        SET k v NX XX => -ERR syntax error
        SET k v EX ten => -ERR value is not an integer or out of range
        SET k v EX 100 => +OK
        SET k w KEEPTTL => +OK
        TTL k => :100
        PERSIST k => :1
        TTL k => :-1
        TTL missing => :-2
        SETNX k x => :0
        SETNX n x => :1
        GETSET n y => $1 x
        GETDEL n => $1 y
        GETDEL n => _
        APPEND s Hello => :5
        APPEND s " World" => :11
        STRLEN s => :11
        GETRANGE s 0 4 => $5 Hello
        SUBSTR s -5 -1 => $5 World
        SETRANGE s 6 Redis => :11
        GET s => $11 Hello Redis
        SETRANGE s -1 x => -ERR offset is out of range
        INCR c => :1
        INCRBY c 41 => :42
        DECR c => :41
        DECRBY c -9223372036854775808 => -ERR decrement would overflow
        INCR s => -ERR value is not an integer or out of range
        SET c 9223372036854775807 => +OK
        INCR c => -ERR increment or decrement would overflow
        SET f 10.5 => +OK
        INCRBYFLOAT f 0.1 => $4 10.6
        INCRBYFLOAT f abc => -ERR value is not a valid float
        MSET a 1 b 2 => +OK
        MSET a 1 b => -ERR wrong number of arguments for 'mset' command
        MSETNX a 1 z 2 => :0
        MGET a b z => *3 $1 1 $1 2 _
        EXISTS a a z => :2
        TYPE a => +string
        TYPE z => +none
        TOUCH a z => :1
        RENAME a q => +OK
        RENAME a q => -ERR no such key
        RENAMENX b q => :0
        OBJECT ENCODING c => $3 int
        OBJECT ENCODING f => $6 embstr
        DEL q b z => :2
        UNLINK f => :1
        "#,
    );
    doors.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expiry_is_kept_and_keys_go_away() {
    let doors = Doors::open().await;
    let mut client = doors.connect();
    play(
        &mut client,
        "
        SET k v => +OK
        EXPIRE k 100 => :1
        EXPIRE k 50 GT => :0
        EXPIRE k 200 GT => :1
        EXPIRE k 100 NX => :0
        EXPIRE k 100 LT => :1
        EXPIRE k 10 NX XX => -ERR NX and XX, GT or LT options at the same time are not compatible
        EXPIRE k 10 GT LT => -ERR GT and LT options at the same time are not compatible
        EXPIRE k 10 FOO => -ERR Unsupported option FOO
        TTL k => :100
        GETEX k PERSIST => $1 v
        TTL k => :-1
        EXPIREAT k 9999999999 => :1
        EXPIRETIME k => :9999999999
        PEXPIRETIME k => :9999999999000
        PEXPIREAT k 1 => :1
        EXISTS k => :0
        SETEX k 0 v => -ERR invalid expire time in 'setex' command
        PSETEX k 100000 v => +OK
        EXPIRE k -1 => :1
        GET k => _
        SET k v PX 1 => +OK
        ",
    );
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while client.line("GET k") != "_" {
        assert!(
            std::time::Instant::now() < deadline,
            "the key did not expire"
        );
    }
    assert_eq!(client.line("DBSIZE"), ":0");
    doors.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scanning_finds_every_key_once() {
    let doors = Doors::open().await;
    let mut client = doors.connect();
    for index in 0..1_000 {
        assert_eq!(client.line(&format!("SET key:{index} x")), "+OK");
    }
    assert_eq!(client.line("SET other x"), "+OK");
    let (mut cursor, mut found) = ("0".to_owned(), Vec::new());
    loop {
        let reply = client.call(&["SCAN", &cursor, "MATCH", "key:*", "COUNT", "50"]);
        let resp::Value::Array(parts) = reply else {
            panic!("SCAN answers with an array")
        };
        let [resp::Value::Bulk(next), resp::Value::Array(keys)] = parts.as_slice() else {
            panic!("SCAN answers with a cursor and keys");
        };
        found.extend(keys.iter().map(show));
        cursor = String::from_utf8(next.to_vec()).unwrap();
        if cursor == "0" {
            break;
        }
    }
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 1_000);
    play(
        &mut client,
        "
        SCAN x => -ERR invalid cursor
        SCAN 0 COUNT 0 => -ERR syntax error
        SCAN 0 TYPE list COUNT 100000 => *2 $1 0 *0
        KEYS oth* => *1 $5 other
        DBSIZE => :1001
        FLUSHALL => +OK
        RANDOMKEY => _
        DBSIZE => :0
        ",
    );
    doors.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_and_operators() {
    let doors = Doors::open().await;
    let mut client = doors.connect();
    play(
        &mut client,
        r#"
        PING => +PONG
        PING hello => $5 hello
        PING a b => -ERR wrong number of arguments for 'ping' command
        ECHO "a b" => $3 a b
        SELECT 0 => +OK
        SELECT 1 => -ERR DB index is out of range
        SELECT x => -ERR value is not an integer or out of range
        AUTH x => -ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?
        AUTH somebody x => -WRONGPASS invalid username-password pair or user is disabled.
        CLIENT SETNAME me => +OK
        CLIENT GETNAME => $2 me
        CLIENT SETNAME "a b" => -ERR Client names cannot contain spaces, newlines or special characters.
        CLIENT SETINFO LIB-NAME test => +OK
        CLIENT MAINT_NOTIFICATIONS ON => -ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.
        CLIENT NO-EVICT ON => +OK
        CLIENT KILL 1.2.3.4:5 => -ERR No such client
        CLIENT KILL ID 999 => :0
        HELLO 4 => -NOPROTO unsupported protocol version
        HELLO 2 FOO => -ERR Syntax error in HELLO option 'FOO'
        RESET => +RESET
        CLIENT GETNAME => _
        CONFIG GET appendonly => *2 $10 appendonly $3 yes
        CONFIG SET save 60 => -ERR CONFIG SET failed (possibly related to argument 'save') - can't set immutable config
        CONFIG SET nosuch 1 => -ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'
        CONFIG RESETSTAT => +OK
        COMMAND GETKEYS MSET a 1 b 2 => *2 $1 a $1 b
        COMMAND GETKEYS PING => -ERR The command has no key arguments
        COMMAND INFO nosuch => *1 _
        WAIT 0 0 => :0
        SLOWLOG GET => *0
        SLOWLOG LEN => :0
        LATENCY LATEST => *0
        CLUSTER KEYSLOT foo => :12182
        CLUSTER COUNTKEYSINSLOT 0 => :0
        READONLY => +OK
        OBJECT FREQ nosuch => _
        MEMORY USAGE nosuch => _
        OBJECT => -ERR wrong number of arguments for 'object' command
        DEBUG SLEEP 0.001 => +OK
        HELLO 3 => %7 $6 server $5 redis $7 version $5 7.2.0 $5 proto :3 $2 id :1 $4 mode $10 standalone $4 role $6 master $7 modules *0
        CONFIG GET appendonly => %1 $10 appendonly $3 yes
        GET nosuch => _
        "#,
    );
    doors.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_run_at_one_moment_or_not_at_all() {
    let doors = Doors::open().await;
    let mut client = doors.connect();
    play(
        &mut client,
        "
        EXEC => -ERR EXEC without MULTI
        DISCARD => -ERR DISCARD without MULTI
        MULTI => +OK
        MULTI => -ERR MULTI calls can not be nested
        SET a 1 => +QUEUED
        INCR a => +QUEUED
        GET a => +QUEUED
        MGET a b => +QUEUED
        PING => +QUEUED
        INCRBY a x => +QUEUED
        EXEC => *6 +OK :2 $1 2 *2 $1 2 _ +PONG -ERR value is not an integer or out of range
        MULTI => +OK
        SET a 5 => +QUEUED
        GET => -ERR wrong number of arguments for 'get' command
        EXEC => -EXECABORT Transaction discarded because of previous errors.
        GET a => $1 2
        MULTI => +OK
        SET a 6 => +QUEUED
        DISCARD => +OK
        GET a => $1 2
        MULTI => +OK
        STRLEN a => +QUEUED
        DBSIZE => +QUEUED
        EXEC => *2 :1 :1
        MULTI => +OK
        SET a 7 => +QUEUED
        STRLEN a => +QUEUED
        EXEC => -EXECABORT Transaction discarded: 'strlen' can't stand next to writes in a transaction, only 'get' and 'mget' can
        GET a => $1 2
        MULTI => +OK
        EXEC => *0
        WATCH a => -ERR WATCH is not supported: use SET with NX, or CompareAndSet of the gRPC door
        UNWATCH => +OK
        ",
    );
    doors.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_client_is_gone_and_the_killer_may_be_itself() {
    let doors = Doors::open().await;
    let (mut victim, mut killer) = (doors.connect(), doors.connect());
    let id = victim.line("CLIENT ID");
    let id = id.trim_start_matches(':');
    assert_eq!(killer.line(&format!("CLIENT KILL ID {id}")), ":1");
    assert_eq!(victim.receive_all(), "");
    let own = killer.line("CLIENT ID");
    let own = own.trim_start_matches(':').to_owned();
    assert_eq!(
        killer.line(&format!("CLIENT KILL ID {own} SKIPME yes")),
        ":0"
    );
    assert_eq!(
        killer.line(&format!("CLIENT KILL ID {own} SKIPME no")),
        ":1"
    );
    assert_eq!(killer.receive_all(), "");
    doors.close().await;
}
