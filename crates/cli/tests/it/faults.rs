//! What is done to the nodes: killed, paused, restarted, on a schedule drawn from a seed.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::process::Signal;
use stdx::Prng;
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, PATIENCE};

/// One thing that happens to a node.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Fault {
    /// SIGKILL to the leader; started again later.
    KillLeader,
    /// SIGSTOP to the leader, often long enough for an election; SIGCONT later.
    PauseLeader,
    /// SIGKILL to a follower; started again later.
    KillFollower,
    /// SIGKILL to all nodes at once; all started again.
    KillAll,
}

const ALL: [Fault; 4] = [
    Fault::KillLeader,
    Fault::PauseLeader,
    Fault::KillFollower,
    Fault::KillAll,
];

/// Does one thing after another to the nodes until `duration` has passed and each kind has
/// happened; then every node runs again. Returns how often each happened.
pub(crate) async fn run(
    cluster: &mut Cluster,
    seed: u64,
    duration: Duration,
) -> BTreeMap<Fault, u32> {
    let mut prng = Prng::from_seed(seed);
    let mut done = BTreeMap::new();
    let started = Instant::now();
    let mut round = 0;
    while started.elapsed() < duration || done.len() < ALL.len() {
        // Each kind once, then whatever comes; killing the leader is the point.
        let fault = ALL
            .get(round)
            .copied()
            .unwrap_or_else(|| match prng.below(10) {
                0..5 => Fault::KillLeader,
                5..8 => Fault::PauseLeader,
                8 => Fault::KillFollower,
                _ => Fault::KillAll,
            });
        round += 1;
        sleep(millis(&mut prng, 300, 1_500)).await;
        apply(cluster, fault, &mut prng).await;
        *done.entry(fault).or_insert(0) += 1;
    }
    done
}

async fn apply(cluster: &mut Cluster, fault: Fault, prng: &mut Prng) {
    let leader = wait_for_leader(cluster).await;
    match fault {
        Fault::KillLeader => kill(cluster, leader, prng).await,
        Fault::KillFollower => {
            let step = 1 + prng.index(cluster.len() - 1);
            kill(cluster, (leader + step) % cluster.len(), prng).await;
        }
        Fault::PauseLeader => {
            cluster.signal(leader, Signal::STOP);
            // Around the time of an election: some pauses end before it, some after.
            sleep(millis(prng, 500, 3_500)).await;
            cluster.signal(leader, Signal::CONT);
        }
        Fault::KillAll => {
            for at in 0..cluster.len() {
                cluster.kill_node(at);
            }
            for at in 0..cluster.len() {
                cluster.start_node(at);
            }
        }
    }
}

async fn kill(cluster: &mut Cluster, at: usize, prng: &mut Prng) {
    cluster.kill_node(at);
    sleep(millis(prng, 0, 2_500)).await;
    cluster.start_node(at);
}

async fn wait_for_leader(cluster: &Cluster) -> usize {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(leader) = cluster.leader().await
            && cluster.runs(leader)
        {
            return leader;
        }
        assert!(
            Instant::now() < deadline,
            "no leader: {:#?}",
            cluster.statuses().await
        );
        sleep(Duration::from_millis(50)).await;
    }
}

fn millis(prng: &mut Prng, from: u64, to: u64) -> Duration {
    Duration::from_millis(prng.range(from..to))
}
