//! Inputs in an object store: the small one of these tests, and moto's where Python has it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use mapreduce_data::{InputError, InputOptions, plan_splits};

use crate::s3;
use crate::world::{World, builtin, text, word_counts};

/// Larger than what one request asks for.
fn large() -> String {
    text(20, 9 << 20)
}

fn small() -> String {
    text(21, 100_000)
}

/// The environment is the process's, so a process of its own runs a test.
fn run_apart(test: &str, environment: &[(&str, String)]) {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn objects_are_read_like_files() {
    let store = s3::Store::start();
    store.put("bucket/logs/a.txt", large());
    store.put("bucket/logs/b.log", small());
    store.put("bucket/logs/_SUCCESS", "no input");
    store.put("bucket/logs/deep/er/c d.log", "the last one\n");
    store.put("bucket/other", "not under the prefix");
    run_apart("objects::against_a_store", &store.environment());
    assert!(store.requests() > 10, "all of it came from the store");
}

#[test]
fn a_wrong_key_is_an_error_that_says_so() {
    let store = s3::Store::start();
    store.put("bucket/logs/b.log", small());
    let mut environment = store.environment();
    environment[2].1 = "another-key".to_owned();
    run_apart("objects::without_permission", &environment);
    assert_eq!(store.requests(), 0);
}

#[test]
#[ignore = "started by the tests above, which start the store"]
fn against_a_store() {
    let mut world = World::new();
    world.split_bytes = 3 << 20;
    let job = builtin("wordcount", &[]);
    let run = |inputs: &[&str]| {
        let inputs: Vec<String> = inputs.iter().map(|input| (*input).to_owned()).collect();
        world.lines(&job, &inputs)
    };
    let (large, small) = (large(), small());
    assert_eq!(run(&["s3://bucket/logs/b.log"]), word_counts(&small));
    assert_eq!(run(&["s3://bucket/logs/*.txt"]), word_counts(&large));
    let all = format!("{large}{small}the last one\n");
    assert_eq!(run(&["s3://bucket/logs"]), word_counts(&all));
    let planned = |input: &str| plan_splits(&[input.to_owned()], &InputOptions::default()).unwrap();
    assert_eq!(planned("s3://bucket/logs/"), planned("s3://bucket/logs"));
    let local = world.write("b.log", &small);
    let both = format!("{large}{small}");
    assert_eq!(run(&["s3://bucket/logs/a.txt", &local]), word_counts(&both));
    let missing = ["s3://bucket/none".to_owned()];
    let error = plan_splits(&missing, &InputOptions::default()).unwrap_err();
    assert!(matches!(error, InputError::Missing { .. }), "{error:?}");
}

#[test]
#[ignore = "started by the test above, which starts the store"]
fn without_permission() {
    let inputs = ["s3://bucket/logs/b.log".to_owned()];
    let error = plan_splits(&inputs, &InputOptions::default()).unwrap_err();
    let InputError::Io { location, source } = error else {
        panic!("{error:?}");
    };
    assert_eq!(location, inputs[0]);
    assert!(source.to_string().contains("403"), "{source}");
}

struct Moto(Child);

impl Drop for Moto {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

/// `None` where moto is absent.
fn start_moto(port: u16) -> Option<Moto> {
    let script = "import sys\nfrom moto.server import ThreadedMotoServer\n\
                  server = ThreadedMotoServer(ip_address='127.0.0.1', port=int(sys.argv[1]))\n\
                  server.start()\nprint('ready', flush=True)\nsys.stdin.read()\n";
    let python = std::env::var("KONTIKI_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let child = Command::new(python)
        .args(["-c", script, &port.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut moto = Moto(child.ok()?);
    // It may say other things first.
    let lines = BufReader::new(moto.0.stdout.take()?).lines();
    let ready = lines.map_while(Result::ok).any(|line| line == "ready");
    ready.then_some(moto)
}

/// A request whose signature moto does not check.
fn put(port: u16, path: &str, body: &[u8]) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let key = s3::KEY;
    let head = format!(
        "PUT {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {}\r\n\
         Connection: close\r\nAuthorization: AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/s3/aws4_request\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "PUT {path}: {answer}");
}

/// The same objects in a store that somebody else wrote.
#[test]
fn moto_gives_the_same_if_it_is_here() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let Some(moto) = start_moto(port) else {
        println!("skipped: no moto (PyPI) for python3 here; KONTIKI_PYTHON names another");
        return;
    };
    put(port, "/bucket", b"");
    put(port, "/bucket/logs/a.txt", large().as_bytes());
    put(port, "/bucket/logs/b.log", small().as_bytes());
    put(port, "/bucket/logs/_SUCCESS", b"no input");
    put(port, "/bucket/logs/deep/er/c%20d.log", b"the last one\n");
    let mut environment = s3::Store::start().environment();
    environment[0].1 = format!("http://127.0.0.1:{port}");
    run_apart("objects::against_a_store", &environment);
    drop(moto);
}
