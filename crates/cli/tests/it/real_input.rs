//! The main job on real input: a word list goes in, one key a word, through an ordinary Redis
//! client, while leaders die. Every acknowledged write must be there afterwards, and every
//! node must hold the same.
//!
//! Environment: `KONTIKI_DEMO_WORDS` (how many; default 3,000), `KONTIKI_DEMO_SECONDS` (of
//! faults; default 12), `KONTIKI_DEMO_SEED` (of the schedule; default 7).

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kv::client::{Consistency, Listing};
use tokio::task::JoinSet;

use crate::cluster::{Cluster, client_of};
use crate::faults::{self, Fault};
use crate::writers::{Work, value_of, write};

const WRITERS: usize = 16;
/// Debian's package wamerican has these, and so many.
const WORD_LIST: &str = "/usr/share/dict/words";
const WORD_LIST_LEN: usize = 104_334;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_words_survive_killed_and_paused_leaders() {
    let words = words(usize::try_from(setting("KONTIKI_DEMO_WORDS", 3_000)).unwrap());
    let duration = Duration::from_secs(setting("KONTIKI_DEMO_SECONDS", 12));
    let seed = setting("KONTIKI_DEMO_SEED", 7);
    let directory = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(directory.path(), 3);
    println!(
        "{} words, {WRITERS} clients, {duration:?} of faults, seed {seed}",
        words.len()
    );
    let (work, done) = load(&mut cluster, words, seed, duration).await;
    assert!(
        done.contains_key(&Fault::KillLeader),
        "the schedule kills leaders"
    );

    check(&cluster, &work.words).await;
    println!("every acknowledged word is there, and the nodes agree");
    for at in 0..cluster.len() {
        cluster.kill_node(at);
    }
    for at in 0..cluster.len() {
        cluster.start_node(at);
    }
    check(&cluster, &work.words).await;
    println!("and again after all nodes were killed and started from disk");
    cluster.stop();
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// So many words, evenly from the list.
fn words(count: usize) -> Vec<String> {
    let all: Vec<String> = if let Ok(text) = fs::read_to_string(WORD_LIST) {
        text.lines().map(str::to_owned).collect()
    } else {
        println!("note: {WORD_LIST} is not there (Debian: wamerican): using generated words");
        (0..WORD_LIST_LEN).map(|at| format!("word-{at}")).collect()
    };
    let step = (all.len() / count.max(1)).max(1);
    all.into_iter().step_by(step).take(count).collect()
}

/// Writes all words while faults happen; returns once every word is acknowledged.
async fn load(
    cluster: &mut Cluster,
    words: Vec<String>,
    seed: u64,
    duration: Duration,
) -> (Arc<Work>, BTreeMap<Fault, u32>) {
    let urls = (0..cluster.len()).map(|at| cluster.resp_url(at)).collect();
    let work = Work::new(words, urls, duration);
    let started = Instant::now();
    let mut writers = JoinSet::new();
    for first in 0..WRITERS {
        writers.spawn(write(Arc::clone(&work), first));
    }
    let done = faults::run(cluster, seed, duration).await;
    while let Some(writer) = writers.join_next().await {
        writer.expect("a writer saw only errors that may be tried again");
    }
    let taken = started.elapsed().as_secs_f64();
    println!("acknowledged: {} words in {taken:.1} s", work.words.len());
    println!("done to the nodes: {done:?}");
    println!(
        "seen by the clients, and tried again: {:?}",
        work.errors.lock().await
    );
    (work, done)
}

/// Compares what every node holds with what was acknowledged.
async fn check(cluster: &Cluster, words: &[String]) {
    cluster.settle().await;
    let first = contents(cluster, 0).await;
    for word in words {
        let (value, _) = first
            .get(word.as_bytes())
            .unwrap_or_else(|| panic!("{word:?} is lost"));
        assert_eq!(value, value_of(word).as_bytes(), "the value of {word:?}");
    }
    assert_eq!(
        first.len(),
        words.len(),
        "nothing is there that nobody wrote"
    );
    for at in 1..cluster.len() {
        let other = contents(cluster, at).await;
        assert!(other == first, "node {} differs from node 1", at + 1);
    }
}

/// Keys, values and versions that one node holds, as that node alone sees them.
async fn contents(cluster: &Cluster, at: usize) -> BTreeMap<Vec<u8>, (Vec<u8>, u64)> {
    let client = client_of([cluster.grpc(at)]);
    let mut listing = Listing {
        consistency: Consistency::Stale,
        ..Listing::default()
    };
    let mut contents = BTreeMap::new();
    loop {
        let page = client.list(&listing).await.expect("the node answers");
        for (key, value) in page.entries {
            let value = value.expect("values were asked for");
            contents.insert(key.to_vec(), (value.value.to_vec(), value.version));
        }
        let Some(next) = page.next else {
            return contents;
        };
        listing.after = Some(next);
    }
}
