//! Nodes that come and go.

use kv::config::{Cluster, Config};
use kv::node::{AdminError, Node, Role};
use stdx::NodeId;

use crate::cluster::{TestCluster, contents, free_address, n, read, within, write};

/// A node that asks a member of the cluster to take it in.
fn joining(cluster: &TestCluster, id: NodeId, member: NodeId) -> Config {
    let members = vec![cluster.address(member).to_owned()];
    Config {
        listen: free_address(),
        cluster: Cluster::Join { members },
        ..cluster.config(id)
    }
}

async fn started(config: Config) -> Node {
    within("joining", Node::start(config.validate().unwrap()))
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_node_grows_into_three_by_joining() {
    let mut cluster = TestCluster::started(1).await;
    within("readiness", cluster.handle(n(1)).wait_ready()).await;
    for number in 0..20 {
        write(&cluster.handle(n(1)), &format!("key-{number}"), "value").await;
    }
    for id in 2..=3 {
        let node = started(joining(&cluster, n(id), n(1))).await;
        cluster.nodes.insert(n(id), node);
        cluster
            .until("a vote for the new node", |statuses| {
                let voter = |it: &kv::node::NodeStatus| {
                    it.members
                        .iter()
                        .any(|member| member.node_id == n(id) && member.voter)
                };
                statuses.len() == usize::try_from(id).unwrap() && statuses.iter().all(voter)
            })
            .await;
    }
    cluster.assert_agreement().await;
    // The first one isn't needed any more.
    cluster.kill(n(1));
    let leader = cluster.leader().await;
    assert_eq!(
        read(&cluster.handle(leader), "key-19").await.as_deref(),
        Some("value")
    );
    write(&cluster.handle(leader), "after", "value").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_is_added_promoted_and_removed_by_hand() {
    let mut cluster = TestCluster::started(3).await;
    let leader = cluster.leader().await;
    let handle = cluster.handle(leader);
    write(&handle, "key", "value").await;
    let address = free_address();
    within("adding", handle.add_member(n(4), &address))
        .await
        .unwrap();
    let again = within("adding", handle.add_member(n(4), &address))
        .await
        .unwrap_err();
    assert!(matches!(&again, AdminError::Refused { .. }), "{again}");
    let follower = cluster
        .nodes
        .keys()
        .copied()
        .find(|id| *id != leader)
        .unwrap();
    let config = Config {
        listen: address,
        ..joining(&cluster, n(4), follower)
    };
    let node = started(config).await;
    cluster.nodes.insert(n(4), node);
    let is_voter = |it: &kv::node::NodeStatus| {
        it.members
            .iter()
            .any(|member| member.node_id == n(4) && member.voter)
    };
    cluster
        .until("a vote for node 4", |statuses| {
            statuses.iter().all(is_voter)
        })
        .await;
    cluster.assert_agreement().await;
    assert_eq!(contents(&cluster.handle(n(4))).len(), 1);
    let leader = cluster.leader().await;
    within("removing", cluster.handle(leader).remove_member(n(4)))
        .await
        .unwrap();
    cluster.nodes.remove(&n(4));
    cluster
        .until("three members", |statuses| {
            statuses.iter().all(|it| it.members.len() == 3)
        })
        .await;
    let leader = cluster.leader().await;
    write(&cluster.handle(leader), "after", "value").await;
    cluster.assert_agreement().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_leader_changes_members_and_others_say_who_it_is() {
    let cluster = TestCluster::started(3).await;
    let leader = cluster.leader().await;
    let follower = cluster
        .nodes
        .keys()
        .copied()
        .find(|id| *id != leader)
        .unwrap();
    let error = cluster.handle(follower).promote(n(3)).await.unwrap_err();
    let text = error.to_string();
    let address = cluster.address(leader);
    assert_eq!(
        text,
        format!("this node is not the leader; {leader} at {address} is")
    );
    let error = within("an error", cluster.handle(leader).promote(n(3)))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "n3 is not a learner");
    let error = within("an error", cluster.handle(leader).transfer(Some(n(9))))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "n9 is not another voter");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_can_remove_itself() {
    let mut cluster = TestCluster::started(3).await;
    let leader = cluster.leader().await;
    within("removing", cluster.handle(leader).remove_member(leader))
        .await
        .unwrap();
    cluster
        .until("stepping down", |statuses| {
            statuses
                .iter()
                .all(|it| it.node_id != leader || it.role != Role::Leader)
        })
        .await;
    cluster.kill(leader);
    let next = cluster.leader().await;
    write(&cluster.handle(next), "key", "value").await;
    assert_eq!(cluster.handle(next).status().members.len(), 2);
}
