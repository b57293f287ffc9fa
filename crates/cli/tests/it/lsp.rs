//! `kontiki lsp`: its commands against each other, as processes.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStderr, Command, Output, Stdio};

fn kontiki(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kontiki"));
    command.arg("lsp").args(words);
    command
}

/// A server that is killed at the end of its test.
struct Running {
    child: Child,
    errors: BufReader<ChildStderr>,
    address: String,
}

impl Running {
    /// Starts a command that says where it is; `before` comes before the address.
    fn start(words: &[&str], before: &str) -> Self {
        let mut child = kontiki(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        errors.read_line(&mut line).unwrap();
        let rest = line
            .strip_prefix(before)
            .unwrap_or_else(|| panic!("{line}"));
        let address = rest.split_whitespace().next().unwrap().to_owned();
        Self {
            child,
            errors,
            address,
        }
    }

    fn listen(command: &str, more: &[&str]) -> Self {
        let words = [&[command, "--listen", "127.0.0.1:0"], more].concat();
        Self::start(&words, "listening on ")
    }

    /// Waits for its end; what it printed.
    fn finish(mut self) -> (bool, String, String) {
        let (mut out, mut errors) = (String::new(), String::new());
        self.errors.read_to_string(&mut errors).unwrap();
        let mut stdout = self.child.stdout.take().unwrap();
        stdout.read_to_string(&mut out).unwrap();
        (self.child.wait().unwrap().success(), out, errors)
    }

    fn interrupt(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        self.child.wait().unwrap();
    }
}

fn run(words: &[&str], input: &str) -> Output {
    let mut child = kontiki(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    child.wait_with_output().unwrap()
}

#[test]
fn lines_arrive_as_lines() {
    for protocol in ["v1", "auto"] {
        let receiver = Running::listen("recv", &["--protocol", protocol]);
        let sent = run(&["send", &receiver.address], "one\ntwo\n\nfour\n");
        assert!(sent.status.success(), "{sent:?}");
        receiver.interrupt();
        let (ok, out, _) = receiver.finish();
        assert!(ok);
        assert_eq!(out, "one\ntwo\n\nfour\n");
    }
}

#[test]
fn a_file_arrives_whole_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("from"), directory.path().join("to"));
    let contents: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(&from, &contents).unwrap();
    let receiver = Running::listen("recv", &["--into", to.to_str().unwrap()]);
    let sent = run(&["send", &receiver.address, from.to_str().unwrap()], "");
    assert!(sent.status.success(), "{sent:?}");
    let (ok, _, errors) = receiver.finish();
    assert!(ok, "{errors}");
    assert_eq!(std::fs::read(&to).unwrap(), contents);

    // One that speaks no such protocol: nothing is left behind.
    let to = directory.path().join("never");
    let receiver = Running::listen("recv", &["--into", to.to_str().unwrap()]);
    let sent = run(&["send", &receiver.address], "not a file\n");
    let (ok, _, errors) = receiver.finish();
    assert!(!ok, "{sent:?}");
    assert!(
        errors.contains("no `kontiki lsp send` with a file"),
        "{errors}"
    );
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn bench_measures_an_echo_server() {
    let echo = Running::listen("echo", &[]);
    let words = ["bench", &echo.address, "--seconds", "0.2", "--json"];
    let output = run(&words, "");
    assert!(output.status.success(), "{output:?}");
    let outcome: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(outcome["messages"].as_u64().unwrap() > 0, "{outcome}");
    assert!(outcome["p99_us"].as_u64() >= outcome["p50_us"].as_u64());
}

#[test]
fn trace_shows_the_handshake_and_the_message() {
    let receiver = Running::listen("recv", &["--protocol", "v1"]);
    let words = [
        "trace",
        &receiver.address,
        "--listen",
        "127.0.0.1:0",
        "--lose",
        "5",
    ];
    let trace = Running::start(&words, "relaying ");
    let sent = run(&["send", &trace.address, "--protocol", "v1"], "hello\n");
    assert!(sent.status.success(), "{sent:?}");
    trace.interrupt();
    let (ok, out, errors) = trace.finish();
    assert!(ok, "{errors}");
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].contains("c1 > Connect s"), "{out}");
    assert!(out.contains("Data c1 s"), "{out}");
    assert!(out.contains("\"hello\""), "{out}");
    assert!(errors.contains("to the server: "), "{errors}");
}

#[test]
fn trouble_gets_one_clear_message() {
    let nobody = run(&["bench", "127.0.0.1:1", "--epoch", "20"], "");
    assert_eq!(nobody.status.code(), Some(2));
    let text = String::from_utf8(nobody.stderr).unwrap();
    assert!(
        text.starts_with("error: cannot connect to 127.0.0.1:1"),
        "{text}"
    );
    assert!(text.contains("hint: is `kontiki lsp echo`"), "{text}");
    let open = run(&["echo", "--listen", "0.0.0.0:0"], "");
    assert_eq!(open.status.code(), Some(2));
    let key = run(&["send", "127.0.0.1:1", "--server-key", "xyz"], "");
    assert_eq!(key.status.code(), Some(2));
    assert!(
        String::from_utf8(key.stderr)
            .unwrap()
            .contains("64 hexadecimal digits")
    );
}
