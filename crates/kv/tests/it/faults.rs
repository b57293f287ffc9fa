//! Disks that are full, that fail, that hang; and threads that panic. Nothing acknowledged is lost,
//! what is refused says why, and the other nodes go on.

mod child;
mod small_disk;

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use kv::node::{ExecuteError, Handle};
use kv_core::Reply;
use stdx::{ByteSize, NodeId};
use wal::disk::{CrashPlan, MemoryDisk};

use crate::cluster::{TestCluster, n, put, read, within};

use small_disk::SmallDisk;

/// What became of the writes of a test: each key is written once.
#[derive(Default)]
struct Ledger {
    next: usize,
    fates: BTreeMap<String, Result<(), ExecuteError>>,
}

impl Ledger {
    /// Writes the next key; what came of it.
    async fn write(&mut self, handle: &Handle, value: &str) -> Result<(), ExecuteError> {
        let key = format!("key-{:06}", self.next);
        self.next += 1;
        let result = within("an answer", handle.execute(put(&key, value))).await;
        let fate = result.map(|replies| assert_eq!(replies, [Reply::Ok]));
        self.fates.insert(key, fate);
        fate
    }

    /// Writes until one is acknowledged; every other answer must be one to try again after.
    async fn write_until_acknowledged(&mut self, handle: &Handle) {
        within("an acknowledged write", async {
            while let Err(error) = self.write(handle, "value").await {
                assert!(is_retryable(error), "{error}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// Writes until the disk is full.
    async fn fill(&mut self, handle: &Handle, value: &str) {
        within("a full disk", async {
            loop {
                match self.write(handle, value).await {
                    // The write that found the disk full may be waiting for space.
                    Ok(()) | Err(ExecuteError::Unknown) => {}
                    Err(ExecuteError::DiskFull) => return,
                    Err(error) => panic!("{error}"),
                }
            }
        })
        .await;
    }

    /// What was acknowledged is there, and what was refused is not.
    async fn check(&self, handle: &Handle) {
        within("a barrier", handle.read_barrier()).await.unwrap();
        let view = handle.view();
        for (key, fate) in &self.fates {
            let found = view.get(key.as_bytes()).unwrap().is_some();
            match fate {
                Ok(()) => assert!(found, "{key} was acknowledged and is lost"),
                Err(ExecuteError::Unknown) => {}
                Err(error) => assert!(!found, "{key} was refused and is there: {error}"),
            }
        }
    }

    fn acknowledged(&self) -> usize {
        self.fates.values().filter(|fate| fate.is_ok()).count()
    }
}

fn is_retryable(error: ExecuteError) -> bool {
    match error {
        ExecuteError::NoLeader { .. }
        | ExecuteError::Overloaded
        | ExecuteError::DiskFull
        | ExecuteError::Unknown => true,
        ExecuteError::TooLarge { .. } | ExecuteError::ShuttingDown => false,
    }
}

/// A cluster whose logs are in memory.
async fn on_memory_disks(size: u64, tune: fn(&mut kv::config::Config)) -> TestCluster {
    let mut cluster = TestCluster::new(size);
    cluster.tune = tune;
    for id in 1..=size {
        cluster.disks.insert(n(id), MemoryDisk::new());
        cluster.start(n(id)).await;
    }
    cluster
}

/// What a power loss leaves is what the node starts with again.
async fn restart_after_power_loss(cluster: &mut TestCluster, id: NodeId) {
    cluster.kill(id);
    let disk = cluster.disks[&id].crash(CrashPlan::LoseUnsynced);
    cluster.disks.insert(id, disk);
    cluster.start(id).await;
}

/// Only what the log has now fits its disk.
fn fill_up(disk: &MemoryDisk) {
    let names = disk.names();
    let used: usize = names.iter().map(|name| disk.content(name).len()).sum();
    disk.set_capacity(Some(used as u64));
}

#[tokio::test]
async fn a_full_log_refuses_writes_serves_reads_and_goes_on_when_there_is_space() {
    let mut cluster = on_memory_disks(1, |config| {
        config.execute_timeout = Duration::from_secs(2);
        // A leader whose log hangs for so long stops serving reads too.
        config.raft.disk_stall_timeout = Duration::from_secs(60);
    })
    .await;
    let handle = cluster.handle(n(1));
    let mut ledger = Ledger::default();
    ledger.write(&handle, "first").await.unwrap();
    fill_up(&cluster.disks[&n(1)]);
    let value = "v".repeat(64 << 10);
    ledger.fill(&handle, &value).await;
    assert!(ledger.acknowledged() > 3, "the segment took some more");
    assert!(handle.status().disk.full);
    let first = read(&handle, "key-000000").await;
    assert_eq!(first.as_deref(), Some("first"));

    cluster.disks[&n(1)].set_capacity(None);
    ledger.write_until_acknowledged(&handle).await;
    assert!(!handle.status().disk.full);
    ledger.check(&handle).await;
    drop(handle);
    restart_after_power_loss(&mut cluster, n(1)).await;
    ledger.check(&cluster.handle(n(1))).await;
}

#[tokio::test]
async fn a_restart_while_the_log_is_full_starts_or_says_what_to_do() {
    let mut cluster = on_memory_disks(1, |config| {
        config.execute_timeout = Duration::from_secs(1);
    })
    .await;
    let handle = cluster.handle(n(1));
    let mut ledger = Ledger::default();
    ledger.write(&handle, "first").await.unwrap();
    fill_up(&cluster.disks[&n(1)]);
    ledger.fill(&handle, &"v".repeat(64 << 10)).await;
    drop(handle);
    cluster.kill(n(1));
    let disk = cluster.disks[&n(1)].crash(CrashPlan::KeepUnsynced);
    fill_up(&disk);
    cluster.disks.insert(n(1), disk);
    match cluster.try_start(n(1)).await {
        Ok(node) => {
            cluster.nodes.insert(n(1), node);
            cluster.disks[&n(1)].set_capacity(None);
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains("the disk is full"), "{text}");
            assert!(text.contains("free some space"), "{text}");
            cluster.disks[&n(1)].set_capacity(None);
            cluster.start(n(1)).await;
        }
    }
    let handle = cluster.handle(n(1));
    ledger.write_until_acknowledged(&handle).await;
    ledger.check(&handle).await;
}

#[tokio::test]
async fn a_leader_with_a_full_disk_gives_leadership_away() {
    let mut cluster = on_memory_disks(3, |config| {
        config.execute_timeout = Duration::from_secs(2);
    })
    .await;
    let leader = cluster.leader().await;
    let mut ledger = Ledger::default();
    let other = cluster.handle(n(leader.get() % 3 + 1));
    ledger.write_until_acknowledged(&other).await;
    fill_up(&cluster.disks[&leader]);
    let value = "v".repeat(64 << 10);
    let fill = async {
        while other.leader().is_some_and(|(known, _)| known == leader) {
            if let Err(error) = ledger.write(&other, &value).await {
                assert!(is_retryable(error), "{error}");
            }
        }
    };
    within("another leader", fill).await;
    // The others have space, and a majority is enough.
    ledger.write_until_acknowledged(&other).await;
    ledger.write_until_acknowledged(&other).await;
    cluster.disks[&leader].set_capacity(None);
    ledger.write_until_acknowledged(&other).await;
    cluster.assert_agreement().await;
    drop(other);
    for id in [n(1), n(2), n(3)] {
        restart_after_power_loss(&mut cluster, id).await;
    }
    ledger.check(&cluster.handle(n(1))).await;
}

#[tokio::test]
async fn a_failed_fsync_stops_the_node_and_the_others_go_on() {
    let mut cluster = on_memory_disks(3, |config| {
        config.execute_timeout = Duration::from_secs(2);
    })
    .await;
    let leader = cluster.leader().await;
    let other = cluster.handle(n(leader.get() % 3 + 1));
    let mut ledger = Ledger::default();
    for _ in 0..10 {
        ledger.write_until_acknowledged(&other).await;
    }
    let mut failed = cluster.nodes[&leader].failed();
    cluster.disks[&leader].fail_syncs(Some(io::ErrorKind::Other));
    // Its own copy counts for nothing any more, the others' do.
    ledger.write_until_acknowledged(&other).await;
    let reason = within("the end of the node", failed.wait_for(Option::is_some)).await;
    let reason = reason.unwrap().clone().unwrap();
    assert!(!reason.contains('\n'), "one line: {reason}");
    assert!(reason.contains("fsync"), "{reason}");
    assert!(
        reason.contains("check the disk, then restart the node"),
        "{reason}"
    );
    let refused = cluster.handle(leader).execute(put("late", "x")).await;
    assert_eq!(refused, Err(ExecuteError::ShuttingDown));
    for _ in 0..10 {
        ledger.write_until_acknowledged(&other).await;
    }
    restart_after_power_loss(&mut cluster, leader).await;
    cluster.assert_agreement().await;
    ledger.check(&cluster.handle(leader)).await;
}

#[tokio::test]
async fn a_failed_fsync_of_a_node_alone_is_recovered_from_by_a_restart() {
    let mut cluster = on_memory_disks(1, |_| {}).await;
    let handle = cluster.handle(n(1));
    let mut ledger = Ledger::default();
    for _ in 0..10 {
        ledger.write_until_acknowledged(&handle).await;
    }
    cluster.disks[&n(1)].fail_syncs(Some(io::ErrorKind::Other));
    let fate = ledger.write(&handle, "value").await;
    assert_eq!(fate, Err(ExecuteError::Unknown), "it may be on the disk");
    drop(handle);
    restart_after_power_loss(&mut cluster, n(1)).await;
    let handle = cluster.handle(n(1));
    ledger.check(&handle).await;
    ledger.write_until_acknowledged(&handle).await;
}

#[tokio::test]
async fn a_leader_whose_disk_hangs_is_replaced_and_nothing_is_lost() {
    let mut cluster = on_memory_disks(3, |config| {
        config.execute_timeout = Duration::from_secs(2);
        config.raft.disk_stall_timeout = Duration::from_secs(1);
    })
    .await;
    let leader = cluster.leader().await;
    let other = cluster.handle(n(leader.get() % 3 + 1));
    let mut ledger = Ledger::default();
    ledger.write_until_acknowledged(&other).await;
    cluster.disks[&leader].stall(true);
    let replaced = async {
        while other.leader().is_none_or(|(known, _)| known == leader) {
            if let Err(error) = ledger.write(&other, "value").await {
                assert!(is_retryable(error), "{error}");
            }
        }
    };
    within("another leader", replaced).await;
    for _ in 0..10 {
        ledger.write_until_acknowledged(&other).await;
    }
    cluster.disks[&leader].stall(false);
    cluster.assert_agreement().await;
    drop(other);
    for id in [n(1), n(2), n(3)] {
        restart_after_power_loss(&mut cluster, id).await;
    }
    ledger.check(&cluster.handle(leader)).await;
}

#[tokio::test]
async fn a_node_alone_whose_disk_hangs_answers_in_time_and_goes_on() {
    let mut cluster = on_memory_disks(1, |config| {
        config.execute_timeout = Duration::from_millis(500);
        config.leader_wait = Duration::from_millis(500);
        config.raft.disk_stall_timeout = Duration::from_secs(1);
    })
    .await;
    let handle = cluster.handle(n(1));
    let mut ledger = Ledger::default();
    ledger.write_until_acknowledged(&handle).await;
    cluster.disks[&n(1)].stall(true);
    for _ in 0..6 {
        let error = ledger.write(&handle, "value").await.unwrap_err();
        assert!(is_retryable(error), "{error}");
    }
    cluster.disks[&n(1)].stall(false);
    ledger.write_until_acknowledged(&handle).await;
    ledger.check(&handle).await;
    drop(handle);
    restart_after_power_loss(&mut cluster, n(1)).await;
    ledger.check(&cluster.handle(n(1))).await;
}

#[tokio::test]
async fn a_real_disk_below_its_reserve_refuses_writes_and_serves_reads() {
    let Some(disk) = SmallDisk::mount("size=96m") else {
        return;
    };
    let mut cluster = disk.cluster();
    cluster.tune = |config| {
        config.disk_reserve = ByteSize::mib(16);
        config.checkpoint_dirty = ByteSize::mib(4);
        config.checkpoint_log = ByteSize::mib(8);
        config.log_keep = ByteSize::mib(1);
    };
    cluster.start(n(1)).await;
    let handle = cluster.handle(n(1));
    let mut ledger = Ledger::default();
    ledger.write(&handle, "first").await.unwrap();
    disk.fill(24 << 20);
    ledger.fill(&handle, &"v".repeat(32 << 10)).await;
    assert!(handle.status().disk.full);
    let first = read(&handle, "key-000000").await;
    assert_eq!(first.as_deref(), Some("first"));
    disk.free();
    ledger.write_until_acknowledged(&handle).await;
    ledger.check(&handle).await;
    drop(handle);
    cluster.kill(n(1));
    cluster.start(n(1)).await;
    ledger.check(&cluster.handle(n(1))).await;
}

#[tokio::test]
async fn a_checkpoint_without_room_is_made_up_for_when_there_is_space() {
    let Some(disk) = SmallDisk::mount("size=32m") else {
        return;
    };
    let mut cluster = disk.cluster();
    // The log has a disk of its own, so that it is the checkpoint which runs out of space.
    cluster.disks.insert(n(1), MemoryDisk::new());
    cluster.tune = |config| {
        config.checkpoint_dirty = ByteSize::mib(2);
        config.checkpoint_log = ByteSize::mib(4);
        config.log_keep = ByteSize::mib(1);
    };
    cluster.start(n(1)).await;
    let handle = cluster.handle(n(1));
    let mut ledger = Ledger::default();
    ledger.write(&handle, "first").await.unwrap();
    disk.fill(0);
    let value = "v".repeat(32 << 10);
    ledger.fill(&handle, &value).await;
    assert!(handle.status().disk.full);
    assert!(cluster.nodes[&n(1)].failed().borrow().is_none());
    let first = read(&handle, "key-000000").await;
    assert_eq!(first.as_deref(), Some("first"));
    // Whatever happens now, the log has all of it.
    drop(handle);
    restart_after_power_loss(&mut cluster, n(1)).await;
    let handle = cluster.handle(n(1));
    ledger.check(&handle).await;
    ledger.fill(&handle, &value).await;
    disk.free();
    ledger.write_until_acknowledged(&handle).await;
    // Space comes back with a checkpoint, behind which the log is cut.
    for _ in 0..200 {
        ledger.write(&handle, &value).await.unwrap();
    }
    cluster
        .until("a shorter log", |statuses| {
            statuses[0].first_index.get() > 1
        })
        .await;
    ledger.check(&handle).await;
    drop(handle);
    restart_after_power_loss(&mut cluster, n(1)).await;
    ledger.check(&cluster.handle(n(1))).await;
}

#[tokio::test]
async fn a_real_disk_without_any_space_loses_nothing() {
    let Some(disk) = SmallDisk::mount("size=64m") else {
        return;
    };
    let mut cluster = disk.cluster();
    cluster.tune = |config| {
        // Nothing warns in advance: log and checkpoints run into the wall.
        config.disk_reserve = ByteSize::bytes(0);
        config.execute_timeout = Duration::from_secs(2);
        config.checkpoint_dirty = ByteSize::mib(4);
        config.checkpoint_log = ByteSize::mib(8);
        config.log_keep = ByteSize::mib(1);
    };
    cluster.start(n(1)).await;
    let handle = cluster.handle(n(1));
    let mut ledger = Ledger::default();
    ledger.write(&handle, "first").await.unwrap();
    disk.fill(0);
    ledger.fill(&handle, &"v".repeat(32 << 10)).await;
    assert!(cluster.nodes[&n(1)].failed().borrow().is_none());
    disk.free();
    ledger.write_until_acknowledged(&handle).await;
    ledger.check(&handle).await;

    disk.fill(0);
    ledger.fill(&handle, &"v".repeat(32 << 10)).await;
    drop(handle);
    cluster.kill(n(1));
    disk.free();
    cluster.start(n(1)).await;
    let handle = cluster.handle(n(1));
    ledger.check(&handle).await;
    ledger.write_until_acknowledged(&handle).await;
}
