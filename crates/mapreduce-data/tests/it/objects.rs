//! Inputs in an object store, against moto's S3 server on this machine.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use mapreduce_data::{InputError, InputOptions, plan_splits};

use crate::world::{World, builtin, text, word_counts};

/// Within the ports that tests of this crate use.
const PORT: u16 = 26_017;

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

/// `None` where moto is absent.
fn start() -> Option<Server> {
    let script = "import sys\nfrom moto.server import ThreadedMotoServer\n\
                  server = ThreadedMotoServer(ip_address='127.0.0.1', port=int(sys.argv[1]))\n\
                  server.start()\nprint('ready', flush=True)\nsys.stdin.read()\n";
    let child = Command::new("python3")
        .args(["-c", script, &PORT.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut server = Server(child.ok()?);
    // It may say other things first.
    let lines = BufReader::new(server.0.stdout.take()?).lines();
    let ready = lines.map_while(Result::ok).any(|line| line == "ready");
    ready.then_some(server)
}

/// A request without a signature, which moto does not check.
fn request(method: &str, path: &str, body: &[u8]) {
    let mut stream = TcpStream::connect(("127.0.0.1", PORT)).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{PORT}\r\nContent-Length: {}\r\n\
         Connection: close\r\nAuthorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200"),
        "{method} {path}: {answer}"
    );
}

/// The environment is the process's, so a process of its own runs the test below.
#[test]
fn objects_are_read_like_files() {
    let Some(server) = start() else {
        println!("skipped: no moto (PyPI) for python3 here");
        return;
    };
    let status = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "objects::against_the_server",
            "--ignored",
            "--nocapture",
        ])
        .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{PORT}"))
        .env("AWS_ALLOW_HTTP", "true")
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_REGION", "us-east-1")
        .status()
        .unwrap();
    drop(server);
    assert!(status.success());
}

#[test]
#[ignore = "started by the test above, which starts the server"]
fn against_the_server() {
    let mut world = World::new();
    // Larger than what one request asks for.
    let large = text(20, 9 << 20);
    let small = text(21, 100_000);
    request("PUT", "/bucket", b"");
    request("PUT", "/bucket/logs/a.txt", large.as_bytes());
    request("PUT", "/bucket/logs/b.log", small.as_bytes());
    request("PUT", "/bucket/logs/_SUCCESS", b"no input");
    world.split_bytes = 3 << 20;
    let job = builtin("wordcount", &[]);
    let run = |inputs: &[&str]| {
        let inputs: Vec<String> = inputs.iter().map(|input| (*input).to_owned()).collect();
        world.lines(&job, &inputs)
    };
    assert_eq!(run(&["s3://bucket/logs/b.log"]), word_counts(&small));
    assert_eq!(run(&["s3://bucket/logs/*.txt"]), word_counts(&large));
    let both = format!("{large}{small}");
    assert_eq!(run(&["s3://bucket/logs/"]), word_counts(&both));
    assert_eq!(run(&["s3://bucket/logs"]), word_counts(&both));
    let local = world.write("b.log", &small);
    assert_eq!(run(&["s3://bucket/logs/a.txt", &local]), word_counts(&both));
    let missing = ["s3://bucket/none".to_owned()];
    let error = plan_splits(&missing, &InputOptions::default()).unwrap_err();
    assert!(matches!(error, InputError::Missing { .. }), "{error:?}");
}
