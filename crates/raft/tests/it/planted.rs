//! The tests are tested: every planted bug breaks a trap's test or a story.
//!
//! Needs the feature `planted`. The large simulator has to find the same bugs by chance;
//! here it is shown that the named tests are about something.

use std::panic::{catch_unwind, set_hook, take_hook};

use raft::PlantedBug;

use crate::cluster::PLANTED;
use crate::{leases, story, traps};

const TRAPS: &[(&str, fn())] = &[
    (
        "trap_01_an_old_terms_entry_is_not_committed_by_counting",
        traps::trap_01_an_old_terms_entry_is_not_committed_by_counting,
    ),
    (
        "trap_01_a_heartbeat_commits_only_what_was_compared",
        traps::trap_01_a_heartbeat_commits_only_what_was_compared,
    ),
    (
        "trap_02_reads_wait_for_the_terms_first_entry",
        traps::trap_02_reads_wait_for_the_terms_first_entry,
    ),
    (
        "trap_03_members_change_only_after_an_own_commit_and_one_at_a_time",
        traps::trap_03_members_change_only_after_an_own_commit_and_one_at_a_time,
    ),
    (
        "trap_04_members_are_in_effect_when_appended",
        traps::trap_04_members_are_in_effect_when_appended,
    ),
    (
        "trap_05_a_promoted_learner_that_does_not_know_votes",
        traps::trap_05_a_promoted_learner_that_does_not_know_votes,
    ),
    ("trap_06_rejoin_session", traps::trap_06_rejoin_session),
    (
        "trap_07_a_completion_of_a_truncated_write_counts_for_nothing",
        traps::trap_07_a_completion_of_a_truncated_write_counts_for_nothing,
    ),
    (
        "trap_07_promises_wait_for_their_own_write",
        traps::trap_07_promises_wait_for_their_own_write,
    ),
    (
        "trap_09_pre_votes_teach_terms_and_elect_nobody",
        traps::trap_09_pre_votes_teach_terms_and_elect_nobody,
    ),
    (
        "trap_09_an_old_leader_is_told_the_newer_term",
        traps::trap_09_an_old_leader_is_told_the_newer_term,
    ),
    (
        "trap_10_a_leader_without_a_quorum_steps_down_and_is_silent",
        traps::trap_10_a_leader_without_a_quorum_steps_down_and_is_silent,
    ),
    (
        "trap_11_a_restarted_node_refuses_votes_for_as_long_as_it_could_have_promised",
        traps::trap_11_a_restarted_node_refuses_votes_for_as_long_as_it_could_have_promised,
    ),
    (
        "trap_12_the_lease_counts_from_when_the_round_was_sent",
        traps::trap_12_the_lease_counts_from_when_the_round_was_sent,
    ),
    (
        "trap_13_a_transfer_voids_the_lease_before_it_tells_anybody",
        traps::trap_13_a_transfer_voids_the_lease_before_it_tells_anybody,
    ),
    (
        "trap_13_a_revoked_ticket_elects_nobody",
        traps::trap_13_a_revoked_ticket_elects_nobody,
    ),
    (
        "trap_13_a_request_to_campaign_from_the_past_is_ignored",
        traps::trap_13_a_request_to_campaign_from_the_past_is_ignored,
    ),
    (
        "trap_13_a_removed_leader_hands_over_and_steps_down",
        traps::trap_13_a_removed_leader_hands_over_and_steps_down,
    ),
    (
        "trap_14_of_three_leaders_in_quick_succession_one_has_a_lease",
        traps::trap_14_of_three_leaders_in_quick_succession_one_has_a_lease,
    ),
    (
        "trap_15_the_lease_is_as_short_as_the_followers_promise",
        traps::trap_15_the_lease_is_as_short_as_the_followers_promise,
    ),
    (
        "trap_17_a_leader_whose_disk_hangs_does_not_lead_on",
        traps::trap_17_a_leader_whose_disk_hangs_does_not_lead_on,
    ),
    (
        "trap_18_term_and_vote_are_written_together_before_the_vote_is_given",
        traps::trap_18_term_and_vote_are_written_together_before_the_vote_is_given,
    ),
    (
        "trap_18_a_candidates_own_vote_counts_when_it_is_on_disk",
        traps::trap_18_a_candidates_own_vote_counts_when_it_is_on_disk,
    ),
    (
        "trap_19_a_snapshot_never_replaces_newer_state",
        traps::trap_19_a_snapshot_never_replaces_newer_state,
    ),
    (
        "trap_19_an_installed_snapshot_replaces_log_and_members_at_once",
        traps::trap_19_an_installed_snapshot_replaces_log_and_members_at_once,
    ),
    (
        "trap_19_a_damaged_piece_is_dropped",
        traps::trap_19_a_damaged_piece_is_dropped,
    ),
    (
        "trap_22_a_removed_node_disturbs_nobody",
        traps::trap_22_a_removed_node_disturbs_nobody,
    ),
    (
        "trap_24_a_restarted_leader_is_a_follower",
        traps::trap_24_a_restarted_leader_is_a_follower,
    ),
    (
        "trap_25_a_leader_that_was_paused_trusts_neither_its_lease_nor_itself",
        traps::trap_25_a_leader_that_was_paused_trusts_neither_its_lease_nor_itself,
    ),
    (
        "a_new_leader_takes_writes_and_commits_when_the_old_lease_is_over",
        leases::a_new_leader_takes_writes_and_commits_when_the_old_lease_is_over,
    ),
    (
        "a_new_leader_serves_what_is_not_in_limbo_at_once",
        leases::a_new_leader_serves_what_is_not_in_limbo_at_once,
    ),
    (
        "inherited_reads_count_from_when_votes_were_asked_for",
        leases::inherited_reads_count_from_when_votes_were_asked_for,
    ),
    (
        "a_planned_hand_over_makes_nobody_wait",
        leases::a_planned_hand_over_makes_nobody_wait,
    ),
    (
        "a_lease_is_waited_out_before_anything_is_taken",
        leases::a_lease_is_waited_out_before_anything_is_taken,
    ),
    (
        "without_leases_every_read_asks",
        leases::without_leases_every_read_asks,
    ),
    (
        "true_time_makes_no_lease_when_it_is_unsure",
        leases::true_time_makes_no_lease_when_it_is_unsure,
    ),
    (
        "a_clock_that_leapt_is_not_believed",
        leases::a_clock_that_leapt_is_not_believed,
    ),
    (
        "a_voter_remembers_the_longest_of_several_old_leases",
        leases::a_voter_remembers_the_longest_of_several_old_leases,
    ),
    (
        "a_restarted_voter_reckons_with_what_it_forgot",
        leases::a_restarted_voter_reckons_with_what_it_forgot,
    ),
    (
        "a_lease_is_void_only_where_the_log_still_ends_there",
        leases::a_lease_is_void_only_where_the_log_still_ends_there,
    ),
    (
        "an_idle_leader_renews_its_lease_with_entries",
        leases::an_idle_leader_renews_its_lease_with_entries,
    ),
];

/// The tests and stories that a bug breaks.
fn noticed(bug: Option<PlantedBug>) -> Vec<String> {
    PLANTED.set(bug);
    let broken = TRAPS.iter().filter(|(_, test)| catch_unwind(test).is_err());
    let mut noticed: Vec<String> = broken.map(|(name, _)| (*name).to_owned()).collect();
    for (path, text) in story::stories() {
        let same = catch_unwind(|| story::retell(&text) == text).unwrap_or(false);
        if !same {
            noticed.push(path.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    PLANTED.set(None);
    noticed
}

#[test]
fn every_planted_bug_breaks_a_named_test() {
    let hook = take_hook();
    set_hook(Box::new(|_| {}));
    let right = noticed(None);
    let bugs = PlantedBug::ALL.map(|bug| (bug, noticed(Some(bug))));
    set_hook(hook);
    assert!(right.is_empty(), "without a bug nothing breaks: {right:?}");
    for (bug, noticed) in &bugs {
        println!("{bug:?}: {}", noticed.join(" "));
    }
    let missed: Vec<_> = bugs
        .iter()
        .filter(|(_, noticed)| noticed.is_empty())
        .collect();
    assert!(missed.is_empty(), "not noticed: {missed:?}");
}
