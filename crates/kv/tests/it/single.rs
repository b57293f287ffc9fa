//! One node.

use std::fs;

use kv::config::{Cluster, Config};
use kv::node::{ExecuteError, Node, Role, StartError};
use kv_core::limits::BATCH_BYTES_MAX;
use kv_core::{Batch, Command, Deadline, Expiry, Put, Reply};
use stdx::ByteSize;

use crate::cluster::{TestCluster, contents, n, put, read, within, write};

#[tokio::test]
async fn a_single_node_serves_by_itself_and_keeps_everything_over_a_crash() {
    let mut cluster = TestCluster::started(1).await;
    let handle = cluster.handle(n(1));
    within("readiness", handle.wait_ready()).await;
    for number in 0..100 {
        write(
            &handle,
            &format!("key-{number}"),
            &format!("value-{number}"),
        )
        .await;
    }
    assert_eq!(read(&handle, "key-7").await.as_deref(), Some("value-7"));
    let guard = handle.try_read().expect("a leader alone has a lease");
    assert!(guard.view().exists(b"key-99").unwrap());
    assert!(guard.confirm());
    let before = contents(&handle);
    drop(handle);
    for _ in 0..3 {
        cluster.kill(n(1));
        cluster.start(n(1)).await;
        let handle = cluster.handle(n(1));
        within("readiness", handle.wait_ready()).await;
        assert_eq!(read(&handle, "key-42").await.as_deref(), Some("value-42"));
        assert_eq!(contents(&handle), before);
    }
}

#[tokio::test]
async fn an_orderly_shutdown_leaves_nothing_to_replay() {
    let mut cluster = TestCluster::started(1).await;
    let handle = cluster.handle(n(1));
    for number in 0..10 {
        write(&handle, &format!("key-{number}"), "value").await;
    }
    let applied = handle.status().applied;
    within("the shutdown", handle.shutdown()).await;
    assert_eq!(
        handle.execute(put("late", "x")).await,
        Err(ExecuteError::ShuttingDown)
    );
    drop(handle);
    cluster.kill(n(1));
    cluster.start(n(1)).await;
    assert!(cluster.handle(n(1)).status().applied >= applied);
}

#[tokio::test]
async fn commands_of_one_batch_run_in_order_and_answer_one_by_one() {
    let cluster = TestCluster::started(1).await;
    let handle = cluster.handle(n(1));
    let mut batch = Batch::new();
    batch.put(b"n", b"41");
    batch.push(&Command::Increment { key: b"n", by: 1 });
    batch.push(&Command::Get { key: b"n" });
    let replies = within("a batch", handle.execute(batch)).await.unwrap();
    let value = Some(bytes::Bytes::from_static(b"42"));
    assert_eq!(
        replies,
        [Reply::Ok, Reply::Integer(42), Reply::Value(value)]
    );
}

#[tokio::test]
async fn a_batch_over_the_limit_is_refused() {
    let cluster = TestCluster::started(1).await;
    let mut batch = Batch::new();
    let value = vec![0; 8 << 20];
    for key in [b"a", b"b", b"c"] {
        batch.put(key, &value);
    }
    let refused = cluster.handle(n(1)).execute(batch).await.unwrap_err();
    assert!(
        matches!(
            refused,
            ExecuteError::TooLarge {
                bytes_max: BATCH_BYTES_MAX,
                ..
            }
        ),
        "{refused:?}"
    );
}

#[tokio::test]
async fn keys_expire_without_anybody_asking() {
    let cluster = TestCluster::started(1).await;
    let handle = cluster.handle(n(1));
    let mut batch = Batch::new();
    let expiry = Expiry::Set(Deadline::After(50));
    batch.push(&Command::Put(Put {
        expiry,
        ..Put::new(b"short", b"lived")
    }));
    within("a write", handle.execute(batch)).await.unwrap();
    assert_eq!(handle.status().data.keys, 1);
    cluster
        .until("the expiry", |statuses| statuses[0].data.keys == 0)
        .await;
}

#[tokio::test]
async fn the_log_is_cut_behind_a_persisted_state() {
    let mut cluster = TestCluster::new(1);
    cluster.tune = |config| {
        config.checkpoint_dirty = ByteSize::kib(64);
        config.checkpoint_log = ByteSize::mib(1);
        config.log_keep = ByteSize::mib(1);
    };
    cluster.start(n(1)).await;
    let handle = cluster.handle(n(1));
    let value = "v".repeat(64 << 10);
    for number in 0..80 {
        write(&handle, &format!("key-{}", number % 4), &value).await;
    }
    cluster
        .until("a shorter log", |statuses| {
            statuses[0].first_index.get() > 1
        })
        .await;
    let before = contents(&handle);
    drop(handle);
    cluster.kill(n(1));
    cluster.start(n(1)).await;
    let handle = cluster.handle(n(1));
    within("readiness", handle.wait_ready()).await;
    assert_eq!(contents(&handle), before);
}

#[tokio::test]
async fn a_text_log_keeps_everything_too() {
    let mut cluster = TestCluster::new(1);
    cluster.tune = |config| config.log_format = kv::config::LogFormat::Text;
    cluster.start(n(1)).await;
    write(&cluster.handle(n(1)), "key", "value").await;
    cluster.kill(n(1));
    cluster.start(n(1)).await;
    assert_eq!(
        read(&cluster.handle(n(1)), "key").await.as_deref(),
        Some("value")
    );
}

async fn refusal(config: Config) -> String {
    let error = Node::start(config.validate().unwrap()).await.unwrap_err();
    let text = error.to_string();
    assert!(!text.contains('\n'), "one line: {text}");
    text
}

#[tokio::test]
async fn a_directory_in_use_is_refused() {
    let cluster = TestCluster::started(1).await;
    let mut config = cluster.config(n(1));
    config.listen = "127.0.0.1:0".to_owned();
    let text = refusal(config).await;
    assert!(text.contains("is in use by another process"), "{text}");
}

#[tokio::test]
async fn a_port_in_use_is_refused() {
    let cluster = TestCluster::started(1).await;
    let mut config = cluster.config(n(1));
    config.data_dir = cluster.data_dir(n(9));
    let text = refusal(config).await;
    assert!(text.contains("port in use"), "{text}");
}

#[tokio::test]
async fn the_directory_of_another_node_or_cluster_is_refused() {
    let mut cluster = TestCluster::started(1).await;
    cluster.kill(n(1));
    let mut config = cluster.config(n(1));
    config.node_id = n(2);
    let text = refusal(config).await;
    assert!(text.contains("belongs to node 1 of cluster"), "{text}");
    let mut config = cluster.config(n(1));
    let peers = [(n(1), config.listen.clone())].into();
    config.cluster = Cluster::Static {
        name: "other".to_owned(),
        peers,
    };
    let text = refusal(config).await;
    assert!(text.contains("belongs to node 1 of cluster"), "{text}");
}

#[tokio::test]
async fn a_corrupt_log_is_refused_with_file_and_offset() {
    let mut cluster = TestCluster::started(1).await;
    let handle = cluster.handle(n(1));
    for number in 0..20 {
        write(&handle, &format!("key-{number}"), &"v".repeat(1_000)).await;
    }
    drop(handle);
    cluster.kill(n(1));
    let wal = cluster.data_dir(n(1)).join("wal");
    let segment = fs::read_dir(&wal)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.metadata().unwrap().len() > 10_000)
        .min()
        .expect("a segment");
    let mut bytes = fs::read(&segment).unwrap();
    bytes[5_000] ^= 0x10;
    fs::write(&segment, bytes).unwrap();
    let text = cluster.try_start(n(1)).await.unwrap_err().to_string();
    let name = segment.file_name().unwrap().to_str().unwrap();
    assert!(
        text.contains(name) && text.contains("corrupt at byte"),
        "{text}"
    );
}

#[tokio::test]
async fn a_missing_part_of_the_directory_is_noticed() {
    let mut cluster = TestCluster::started(1).await;
    write(&cluster.handle(n(1)), "key", "value").await;
    cluster.shut_down(n(1)).await;
    fs::remove_dir_all(cluster.data_dir(n(1)).join("wal")).unwrap();
    let error = cluster.try_start(n(1)).await.unwrap_err();
    assert!(matches!(error, StartError::Mismatch { .. }), "{error}");
}

#[tokio::test]
async fn the_status_tells_role_and_members() {
    let cluster = TestCluster::started(1).await;
    cluster.leader().await;
    let status = cluster.handle(n(1)).status();
    assert_eq!(status.role, Role::Leader);
    assert_eq!(status.members.len(), 1);
    assert!(status.members[0].voter);
    assert_eq!(
        status.members[0].address.as_deref(),
        Some(cluster.address(n(1)))
    );
}
