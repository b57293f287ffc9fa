//! Reads at leaders and followers at once.

use core::time::Duration;

use raft::PlantedBug;
use raft_sim::{Scenario, Served};
use sim::{NetworkOptions, Violation};

/// Applying takes a while, on some nodes longer than on others, and clients read
/// everywhere: by lease at the leader, by quorum at followers.
fn slow_appliers(seed: u64, planted: Option<PlantedBug>) -> Result<Served, Violation> {
    let mut options = Scenario::options(3, NetworkOptions::RELIABLE);
    options.raft.planted = planted;
    options.lag_max = Duration::from_millis(40);
    options.clients = 6;
    options.keys = 2;
    options.read_percent = 50;
    options.think_max = Duration::from_millis(20);
    let mut story = Scenario::with_options(seed, &options);
    story.one_leader();
    story.cluster.run_for(Duration::from_secs(1))?;
    let cluster = &mut story.cluster;
    cluster.clients.begin(&mut cluster.world);
    cluster.run_for(Duration::from_secs(5))?;
    Ok(cluster.clients.served())
}

/// A follower that was told the commit index may have shown an entry which its leader has
/// committed and not yet applied. A lease read that asked only for the term's first entry
/// went back in time there (found by the simulator: a leader at i31, a follower at i32).
#[test]
fn a_leader_shows_nothing_older_than_its_followers_did() {
    for seed in 0..4 {
        let served = slow_appliers(seed, None).expect("no read is stale");
        assert!(served.lease_reads > 20, "{served}");
        assert!(served.quorum_reads > 20, "{served}");
        // The bug that reads before the term's first commit asks for no index at all.
        let stale = slow_appliers(seed, Some(PlantedBug::ReadBeforeNoop));
        assert_eq!(stale.map_err(|stale| stale.property), Err("lease_reads"));
    }
}
