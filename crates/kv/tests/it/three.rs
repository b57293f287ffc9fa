//! Three nodes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kv::config::Cluster;
use kv::node::{ExecuteError, Handle, Role};
use stdx::{ByteSize, NodeId};

use crate::cluster::{TestCluster, n, put, read, within, write};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_elect_a_leader_and_agree() {
    let cluster = TestCluster::started(3).await;
    let leader = cluster.leader().await;
    for number in 0..50 {
        write(&cluster.handle(leader), &format!("key-{number}"), "value").await;
    }
    cluster.assert_agreement().await;
    for id in cluster.nodes.keys() {
        assert_eq!(
            read(&cluster.handle(*id), "key-49").await.as_deref(),
            Some("value")
        );
    }
    let status = cluster.handle(leader).status();
    assert_eq!(
        status.members.iter().filter(|member| member.voter).count(),
        3
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_forwards_writes_and_serves_linearizable_reads() {
    let cluster = TestCluster::started(3).await;
    let leader = cluster.leader().await;
    let followers: Vec<_> = cluster
        .nodes
        .keys()
        .copied()
        .filter(|id| *id != leader)
        .collect();
    for (number, follower) in followers.iter().cycle().take(20).enumerate() {
        let value = number.to_string();
        write(&cluster.handle(*follower), "key", &value).await;
        // Whatever was acknowledged anywhere is seen everywhere.
        for id in cluster.nodes.keys() {
            assert_eq!(read(&cluster.handle(*id), "key").await, Some(value.clone()));
        }
    }
    assert!(
        cluster.handle(followers[0]).try_read().is_none(),
        "a follower has no lease"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_nothing_is_acknowledged_and_nothing_is_read() {
    let mut cluster = TestCluster::new(3);
    cluster.tune = |config| {
        config.execute_timeout = Duration::from_secs(1);
        config.leader_wait = Duration::from_millis(500);
        config.read_timeout = Duration::from_secs(1);
    };
    for id in 1..=3 {
        cluster.start(n(id)).await;
    }
    let leader = cluster.leader().await;
    write(&cluster.handle(leader), "key", "value").await;
    let others: Vec<_> = cluster
        .nodes
        .keys()
        .copied()
        .filter(|id| *id != leader)
        .collect();
    for id in others {
        cluster.kill(id);
    }
    let handle = cluster.handle(leader);
    let outcome = within("an error", handle.execute(put("key", "lost?"))).await;
    assert_eq!(outcome, Err(ExecuteError::Unknown));
    cluster
        .until("the step down", |it| {
            it[0].role != Role::Leader && !it[0].has_lease
        })
        .await;
    assert!(handle.try_read().is_none());
    within("an error", handle.read_barrier()).await.unwrap_err();
    let outcome = within("an error", handle.execute(put("key", "no"))).await;
    assert!(
        matches!(outcome, Err(ExecuteError::NoLeader { .. })),
        "{outcome:?}"
    );
}

/// Writes ever new keys until told to stop; remembers what was acknowledged.
async fn write_until(handle: Handle, stop: Arc<AtomicBool>, writer: usize) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let key = format!("w{writer}-{number}");
        number += 1;
        match handle.execute(put(&key, "value")).await {
            Ok(_) => acknowledged.push(key),
            // The write may be there or not; nobody was told that it is.
            Err(ExecuteError::Unknown | ExecuteError::NoLeader { .. }) => {}
            Err(ExecuteError::ShuttingDown) => break,
            Err(error) => panic!("not a retryable error: {error}"),
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_write_is_lost_when_leaders_are_killed_again_and_again() {
    let mut cluster = TestCluster::started(3).await;
    let mut acknowledged = Vec::new();
    for round in 0..4 {
        let leader = cluster.leader().await;
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = cluster
            .nodes
            .values()
            .enumerate()
            .map(|(writer, node)| {
                let handle = node.handle();
                tokio::spawn(write_until(handle, Arc::clone(&stop), round * 10 + writer))
            })
            .collect();
        let reached = cluster.handle(leader).status().applied.get() + 20;
        cluster
            .until("some writes", |it| {
                it.iter().all(|status| status.applied.get() >= reached)
            })
            .await;
        cluster.kill(leader);
        let next = cluster.leader().await;
        assert_ne!(next, leader);
        let reached = cluster.handle(next).status().applied.get() + 20;
        cluster
            .until("some writes", |it| {
                it.iter().all(|status| status.applied.get() >= reached)
            })
            .await;
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            acknowledged.extend(within("a writer", writer).await.unwrap());
        }
        cluster.start(leader).await;
    }
    cluster.leader().await;
    cluster.assert_agreement().await;
    assert!(acknowledged.len() > 100, "{} writes", acknowledged.len());
    for id in cluster.nodes.keys() {
        let handle = cluster.handle(*id);
        let view = handle.view();
        for key in &acknowledged {
            assert!(view.exists(key.as_bytes()).unwrap(), "{id} lost {key}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_three_may_crash_at_once() {
    let mut cluster = TestCluster::started(3).await;
    let leader = cluster.leader().await;
    for number in 0..50 {
        write(&cluster.handle(leader), &format!("key-{number}"), "value").await;
    }
    for id in 1..=3 {
        cluster.kill(n(id));
    }
    for id in 1..=3 {
        cluster.start(n(id)).await;
    }
    let leader = cluster.leader().await;
    for number in 0..50 {
        let found = read(&cluster.handle(leader), &format!("key-{number}")).await;
        assert_eq!(found.as_deref(), Some("value"), "key-{number}");
    }
    cluster.assert_agreement().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_handed_over_without_losing_a_write() {
    let cluster = TestCluster::started(3).await;
    let mut leader = cluster.leader().await;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(write_until(cluster.handle(leader), Arc::clone(&stop), 0));
    for _ in 0..3 {
        let to = cluster
            .nodes
            .keys()
            .copied()
            .find(|id| *id != leader)
            .unwrap();
        let answer = within("the hand-over", cluster.handle(leader).transfer(Some(to))).await;
        assert_eq!(answer.unwrap(), to);
        leader = cluster.leader().await;
        assert_eq!(leader, to);
    }
    stop.store(true, Ordering::Relaxed);
    let acknowledged = within("the writer", writer).await.unwrap();
    cluster.assert_agreement().await;
    let handle = cluster.handle(leader);
    let view = handle.view();
    for key in &acknowledged {
        assert!(view.exists(key.as_bytes()).unwrap(), "{key} is lost");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_shuts_down_hands_over_first() {
    let mut cluster = TestCluster::started(3).await;
    let leader = cluster.leader().await;
    let term = cluster.handle(leader).status().term;
    write(&cluster.handle(leader), "key", "value").await;
    cluster.shut_down(leader).await;
    let next = cluster.leader().await;
    let status = cluster.handle(next).status();
    // A hand-over costs one term; an election that nobody prepared may cost more.
    assert_eq!(status.term, term.next());
    assert_eq!(
        read(&cluster.handle(next), "key").await.as_deref(),
        Some("value")
    );
}

fn keep_little(config: &mut kv::config::Config) {
    config.checkpoint_dirty = ByteSize::kib(64);
    config.checkpoint_log = ByteSize::kib(256);
    config.log_keep = ByteSize::kib(256);
    config.raft.log_cache_bytes = 64 << 10;
    config.raft.snapshot_chunk_bytes = 64 << 10;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_far_behind_gets_a_snapshot() {
    let mut cluster = TestCluster::new(3);
    cluster.tune = keep_little;
    for id in 1..=3 {
        cluster.start(n(id)).await;
    }
    let leader = cluster.leader().await;
    write(&cluster.handle(leader), "early", "value").await;
    cluster.assert_agreement().await;
    let behind = cluster
        .nodes
        .keys()
        .copied()
        .find(|id| *id != leader)
        .unwrap();
    let stands = cluster.handle(behind).status().last_index;
    cluster.kill(behind);
    let value = "v".repeat(32 << 10);
    let handle = cluster.handle(leader);
    let mut number = 0;
    // Until the log no longer reaches back to where the follower stands.
    while handle.status().first_index <= stands.next() {
        write(&handle, &format!("key-{}", number % 20), &value).await;
        number += 1;
        assert!(number < 2_000, "the log is never cut");
    }
    cluster.start(behind).await;
    cluster.assert_agreement().await;
    let first = cluster.handle(behind).status().first_index;
    assert!(first > stands.next(), "{first}: it did not get a snapshot");
    // And what it got is there after a restart.
    cluster.kill(behind);
    cluster.start(behind).await;
    cluster.assert_agreement().await;
    assert_eq!(
        read(&cluster.handle(behind), "early").await.as_deref(),
        Some("value")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_cluster_is_refused() {
    let mut cluster = TestCluster::started(3).await;
    let leader = cluster.leader().await;
    let stranger = cluster
        .nodes
        .keys()
        .copied()
        .find(|id| *id != leader)
        .unwrap();
    cluster.kill(stranger);
    // The same addresses, another name: another cluster that wants to be heard.
    let mut config = cluster.config(stranger);
    config.data_dir = cluster.data_dir(n(99));
    let Cluster::Static { name, .. } = &mut config.cluster else {
        panic!("three nodes")
    };
    name.push_str("-other");
    let node = cluster.try_start_with(config).await.unwrap();
    let before = cluster.handle(leader).status().term;
    write(&cluster.handle(leader), "key", "value").await;
    let status = node.handle().status();
    assert_ne!(
        status.cluster_id,
        cluster.handle(leader).status().cluster_id
    );
    assert_eq!(
        status.last_index.get(),
        0,
        "it took entries of a cluster that is not its own"
    );
    assert_eq!(cluster.handle(leader).status().term, before);
    drop(node);
    cluster.start(stranger).await;
    cluster.assert_agreement().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_entries_are_read_back_from_disk_for_a_follower_that_was_away() {
    let mut cluster = TestCluster::new(3);
    cluster.tune = |config| config.raft.log_cache_bytes = 16 << 10;
    for id in 1..=3 {
        cluster.start(n(id)).await;
    }
    let leader = cluster.leader().await;
    let away = cluster
        .nodes
        .keys()
        .copied()
        .find(|id| *id != leader)
        .unwrap();
    cluster.kill(away);
    let mut expected = BTreeMap::new();
    for number in 0..40 {
        let (key, value) = (format!("key-{number}"), "v".repeat(8 << 10));
        write(&cluster.handle(leader), &key, &value).await;
        expected.insert(key, value);
    }
    cluster.start(away).await;
    cluster.assert_agreement().await;
    let first = cluster.handle(away).status().first_index;
    assert_eq!(first.get(), 1, "the log was enough");
    for (key, value) in expected {
        assert_eq!(read(&cluster.handle(away), &key).await, Some(value));
    }
}

/// Ids are checked, not only clusters.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_answers_under_a_wrong_id_is_not_used() {
    let mut cluster = TestCluster::started(3).await;
    let leader = cluster.leader().await;
    let [one, two]: [NodeId; 2] = cluster
        .nodes
        .keys()
        .copied()
        .filter(|id| *id != leader)
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    cluster.kill(one);
    // Node `two` at the address of node `one`: its own place stays empty.
    let address = cluster.address(one).to_owned();
    cluster.kill(two);
    let mut config = cluster.config(two);
    config.listen = address;
    let node = cluster.try_start_with(config).await.unwrap();
    // It says where it is now, so the leader finds it, and finds that `one` is not there.
    cluster.nodes.insert(two, node);
    cluster.leader().await;
    write(&cluster.handle(two), "key", "value").await;
    cluster.assert_agreement().await;
}
