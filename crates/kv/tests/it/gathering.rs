//! Commands gather while an entry is on its way, but not for ever.

use std::time::Duration;

use kv::config::Config;
use kv_core::Reply;
use stdx::{LogIndex, NodeId};

use crate::cluster::{TestCluster, n, put, within};

/// A leader whose entries are not committed as long as nobody else runs, and its last index.
async fn leader_alone(entry_delay: fn(&mut Config)) -> (TestCluster, NodeId, LogIndex) {
    let mut cluster = TestCluster::new(3);
    cluster.tune = entry_delay;
    for id in 1..=3 {
        cluster.start(n(id)).await;
    }
    let leader = cluster.leader().await;
    cluster
        .until("an idle cluster", |all| {
            let last = all[0].last_index;
            all.iter().all(|it| it.applied == last)
        })
        .await;
    let last = cluster.handle(leader).status().last_index;
    for id in (1..=3).map(n).filter(|id| *id != leader) {
        cluster.kill(id);
    }
    (cluster, leader, last)
}

/// Long enough to be no leader's concern in a test: nobody else is there to elect.
fn patient(config: &mut Config) {
    config.raft.election_timeout_min = Duration::from_secs(5);
    config.raft.election_timeout_max = Duration::from_secs(6);
    config.execute_timeout = Duration::from_secs(60);
}

#[tokio::test]
async fn commands_that_come_while_an_entry_is_under_way_go_together() {
    let (mut cluster, leader, before) = leader_alone(|config| {
        patient(config);
        config.entry_delay = Duration::from_secs(3_600);
    })
    .await;
    let handle = cluster.handle(leader);
    let write = |key: &'static str| {
        let handle = handle.clone();
        tokio::spawn(async move { handle.execute(put(key, "value")).await })
    };
    let mut writes = vec![write("first")];
    cluster
        .until("the first entry", |all| {
            all.iter().any(|it| it.last_index == before.next())
        })
        .await;
    for key in ["second", "third", "fourth"] {
        writes.push(write(key));
        tokio::task::yield_now().await;
    }
    let other = (1..=3).map(n).find(|id| *id != leader).unwrap();
    cluster.start(other).await;
    for write in writes {
        let replies = within("a write", write).await.unwrap();
        assert_eq!(replies, Ok(vec![Reply::Ok]));
    }
    // The engine's own word: a status may be a little old.
    let after = handle.view().applied();
    assert_eq!(after, before.next().next(), "the last three share an entry");
}

#[tokio::test]
async fn commands_do_not_wait_longer_than_they_may() {
    let (cluster, leader, before) = leader_alone(|config| {
        patient(config);
        config.entry_delay = Duration::from_millis(20);
    })
    .await;
    let handle = cluster.handle(leader);
    let mut writes = Vec::new();
    let mut last = before;
    for key in ["first", "second", "third"] {
        let handle = handle.clone();
        writes.push(tokio::spawn(async move {
            handle.execute(put(key, "value")).await
        }));
        last = last.next();
        // Nothing is committed, and yet the next one is on its way.
        cluster
            .until("an entry", |all| all.iter().any(|it| it.last_index == last))
            .await;
        assert!(handle_is_waiting(&writes));
    }
    drop(cluster);
}

fn handle_is_waiting<T>(writes: &[tokio::task::JoinHandle<T>]) -> bool {
    writes.iter().all(|write| !write.is_finished())
}
