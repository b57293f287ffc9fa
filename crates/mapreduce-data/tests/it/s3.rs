//! A small object store that speaks S3 on this machine: objects are put, looked at, read in ranges
//! and listed in pages. It refuses requests without a signature of its key and counts the others.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// What requests are signed with.
pub(crate) const KEY: &str = "test-key";
/// So few that small tests have several pages.
const PAGE_OBJECTS: usize = 2;

/// Buckets, and the objects in them, by `/bucket/key`.
type Objects = BTreeMap<String, Vec<u8>>;

/// A running store. It ends with the process: its thread waits for connections.
pub(crate) struct Store {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    objects: Mutex<Objects>,
    requests: AtomicU64,
}

impl Store {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let store = Self {
            address: listener.local_addr().unwrap(),
            shared: Arc::default(),
        };
        let shared = Arc::clone(&store.shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(&stream.unwrap(), &shared));
            }
        });
        store
    }

    pub(crate) fn put(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        let mut objects = self.shared.objects.lock().unwrap();
        objects.insert(format!("/{path}"), bytes.into());
    }

    /// How many requests were answered.
    pub(crate) fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// The environment of a process that uses it.
    pub(crate) fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT_URL", format!("http://{}", self.address)),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
        ]
    }
}

struct Request {
    method: String,
    path: String,
    query: String,
    headers: BTreeMap<String, String>,
}

/// Serves a connection until its other end closes it.
fn serve(stream: &TcpStream, shared: &Shared) {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader) {
        let (status, headers, body) = answer(&request, shared);
        let length = match request.method.as_str() {
            "HEAD" => String::new(),
            _ => format!("Content-Length: {}\r\n", body.len()),
        };
        let head = format!("HTTP/1.1 {status}\r\n{length}{headers}\r\n");
        let mut writer = stream;
        if writer
            .write_all(head.as_bytes())
            .and_then(|()| writer.write_all(&body))
            .is_err()
        {
            return;
        }
    }
}

fn read_request(reader: &mut BufReader<&TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (path, query) = (decoded(path), query.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length");
    let length: u64 = length.and_then(|text| text.parse().ok()).unwrap_or(0);
    std::io::copy(&mut reader.take(length), &mut std::io::sink()).ok()?;
    Some(Request {
        method,
        path,
        query,
        headers,
    })
}

/// `a%2Fb` is `a/b`.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, others)) = rest.split_first() {
        rest = others;
        let hex = (byte == b'%').then(|| rest.split_at_checked(2)).flatten();
        if let Some((digits, others)) = hex {
            let digits = core::str::from_utf8(digits).unwrap();
            bytes.push(u8::from_str_radix(digits, 16).unwrap());
            rest = others;
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}

type Answer = (&'static str, String, Vec<u8>);

fn answer(request: &Request, shared: &Shared) -> Answer {
    let signed = request.headers.get("authorization").is_some_and(|text| {
        text.starts_with(&format!("AWS4-HMAC-SHA256 Credential={KEY}/"))
            && text.contains("Signature=")
    });
    if !signed {
        return error("403 Forbidden", "AccessDenied");
    }
    shared.requests.fetch_add(1, Ordering::Relaxed);
    let objects = shared.objects.lock().unwrap();
    let found = objects.get(&request.path);
    match (request.method.as_str(), found) {
        ("GET", _) if request.query.contains("list-type=2") => list(request, &objects),
        ("HEAD", Some(bytes)) => {
            let head = format!("Content-Length: {}\r\n{STAMPS}", bytes.len());
            ("200 OK", head, Vec::new())
        }
        ("GET", Some(bytes)) => read(request, bytes),
        ("HEAD", None) => ("404 Not Found", String::new(), Vec::new()),
        ("GET", None) => error("404 Not Found", "NoSuchKey"),
        _ => error("405 Method Not Allowed", "MethodNotAllowed"),
    }
}

/// What clients want to know of any object.
const STAMPS: &str = "ETag: \"1\"\r\nLast-Modified: Sat, 21 Nov 2026 00:00:00 GMT\r\n";

fn error(status: &'static str, code: &str) -> Answer {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>");
    (status, String::new(), body.into_bytes())
}

/// `Range: bytes=3-7` is inclusive.
fn read(request: &Request, bytes: &[u8]) -> Answer {
    let range = request.headers.get("range").and_then(|text| {
        let (start, end) = text.strip_prefix("bytes=")?.split_once('-')?;
        Some((start.parse::<usize>().ok()?, end.parse::<usize>().ok()?))
    });
    let Some((start, end)) = range else {
        return ("200 OK", STAMPS.to_owned(), bytes.to_vec());
    };
    let end = bytes.len().min(end + 1);
    if start >= end {
        return error("416 Range Not Satisfiable", "InvalidRange");
    }
    let head = format!(
        "Content-Range: bytes {start}-{}/{}\r\n{STAMPS}",
        end - 1,
        bytes.len()
    );
    ("206 Partial Content", head, bytes[start..end].to_vec())
}

/// A page of the objects under a prefix.
fn list(request: &Request, objects: &Objects) -> Answer {
    let parameter = |name: &str| {
        let mut pairs = request
            .query
            .split('&')
            .filter_map(|pair| pair.split_once('='));
        pairs
            .find(|(known, _)| *known == name)
            .map(|(_, value)| decoded(value))
    };
    let bucket = format!("{}/", request.path.trim_end_matches('/'));
    let prefix = parameter("prefix").unwrap_or_default();
    let after = parameter("continuation-token").unwrap_or_default();
    let mut page = String::new();
    let mut rest = objects
        .iter()
        .filter_map(|(path, bytes)| Some((path.strip_prefix(&bucket)?, bytes)))
        .filter(|(key, _)| key.starts_with(&prefix) && **key > *after)
        .peekable();
    let mut last = "";
    for (key, bytes) in rest.by_ref().take(PAGE_OBJECTS) {
        page.push_str(&format!(
            "<Contents><Key>{key}</Key><LastModified>2026-11-21T00:00:00.000Z</LastModified>\
             <ETag>&quot;1&quot;</ETag><Size>{}</Size></Contents>",
            bytes.len()
        ));
        last = key;
    }
    let more = if rest.peek().is_some() {
        format!(
            "<IsTruncated>true</IsTruncated><NextContinuationToken>{last}</NextContinuationToken>"
        )
    } else {
        "<IsTruncated>false</IsTruncated>".to_owned()
    };
    let body = format!("<?xml version=\"1.0\"?><ListBucketResult>{more}{page}</ListBucketResult>");
    ("200 OK", String::new(), body.into_bytes())
}
