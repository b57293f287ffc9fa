//! A small language for stories about a cluster, and the reader that checks them.
//!
//! A story is a text file: commands, a line `----`, and what came of them, up to an empty
//! line. Lines that begin with `#` tell it to people. Messages travel when told to
//! (`settle`, `deliver`, `advance`, `elect`), time passes when told to, and everything
//! noteworthy that a node reports is a line of the outcome.
//!
//! ```text
//! cluster 3 lease=off              a new group, with configuration
//! add n4                           a node with an empty disk, in no group
//! elect n1                         n1's clock jumps to its deadline; no promise binds any more
//! campaign n1                      the same without waiting for promises or delivering
//! propose n1 hello                 (several proposals: one per word)
//! cut n1 | n2 n3                   both ways; `cut n1 > n2` one way; `heal`
//! hold n1 > n2                     messages wait; `release`
//! settle | deliver [n1 > n2] [k]   all messages, or the oldest ones with their contents
//! drop n1 > n2                     what is under way there
//! advance 2s | skip 2s             time passes, with or without timers firing
//! slow n1 | write n1 | fast n1     its disk hangs, finishes one write, works again
//! crash n1 | restart n1
//! read n1 7 8                      linearizable reads with their tokens, at once
//! transfer n1 n2                   n1 hands leadership over
//! member n1 add n4                 also promote, demote, remove, replace n1,n2,n3
//! compact n1                       drops what is applied from the log
//! stall-install n1 | install n1    n1's state machine hangs, and works again
//! show [log|state|peers n1|lease n1|members]
//! ```
//!
//! `UPDATE_STORIES=1 cargo test -p raft` rewrites the outcomes: read the difference.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use raft::{
    AppendEntries, AppendEntriesReply, AppendOutcome, Config, Entry, Event, Lease, LogBase,
    MembershipChange, Message, Payload, Raft, ReadToken, RoleKind, SnapshotOutcome,
    TransferOutcome,
};
use stdx::{LogIndex, NodeId};

use crate::cluster::{Cluster, config, id};

/// Reads every story and compares.
#[test]
fn stories_end_as_told() {
    let stories = stories();
    assert!(stories.len() >= 15, "there are stories");
    let update = std::env::var_os("UPDATE_STORIES").is_some();
    let mut failed = Vec::new();
    for (path, text) in stories {
        assert!(
            text.starts_with('#'),
            "{} begins by saying what it tells",
            path.display()
        );
        let told = retell(&text);
        if told == text {
            continue;
        }
        if update {
            std::fs::write(&path, &told).unwrap();
        } else {
            failed.push(format!("{}\n{}", path.display(), difference(&text, &told)));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// The stories, in order of their names.
pub(crate) fn stories() -> Vec<(PathBuf, String)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testdata");
    let paths = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let is_story = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "txt");
    let mut paths: Vec<_> = paths.filter(is_story).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        (path, text)
    };
    paths.into_iter().map(read).collect()
}

fn difference(old: &str, new: &str) -> String {
    let pair = old
        .lines()
        .zip(new.lines())
        .enumerate()
        .find(|(_, (old, new))| old != new);
    pair.map_or_else(
        || "one is longer".to_owned(),
        |(line, (old, new))| format!("line {}:\n- {old}\n+ {new}", line + 1),
    )
}

/// The story with the outcomes that really come about.
pub(crate) fn retell(text: &str) -> String {
    let mut story = Story {
        cluster: Cluster::new(1, config(), 0),
        config: config(),
    };
    let mut out = String::new();
    let mut lines = text.lines();
    let mut outcome = String::new();
    while let Some(line) = lines.next() {
        if line == "----" {
            out.push_str("----\n");
            out.push_str(if outcome.is_empty() { "ok\n" } else { &outcome });
            outcome.clear();
            out.push('\n');
            // The outcome told until now.
            while lines.next().is_some_and(|line| !line.is_empty()) {}
            continue;
        }
        let _ = writeln!(out, "{line}");
        if !line.is_empty() && !line.starts_with('#') {
            outcome.push_str(&story.command(line));
        }
    }
    while out.ends_with("\n\n") {
        out.pop();
    }
    out
}

struct Story {
    cluster: Cluster,
    config: Config,
}

fn node(word: &str) -> NodeId {
    id(word
        .strip_prefix('n')
        .and_then(|digits| digits.parse().ok())
        .unwrap_or_else(|| panic!("{word:?} is not a node")))
}

fn nodes(words: &[&str]) -> Vec<NodeId> {
    words.iter().map(|word| node(word)).collect()
}

fn span(word: &str) -> Duration {
    let parse = |digits: &str| {
        digits
            .parse()
            .unwrap_or_else(|_| panic!("{word:?} is no span"))
    };
    word.strip_suffix("ms").map_or_else(
        || Duration::from_secs(parse(word.strip_suffix('s').expect("ms or s"))),
        |digits| Duration::from_millis(parse(digits)),
    )
}

impl Story {
    fn command(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut out = String::new();
        match words[..] {
            ["cluster", count, ref options @ ..] => self.new_cluster(count, options),
            ["add", new] => self.cluster.add(node(new), LogBase::default()),
            ["elect", who] => self.cluster.elect(node(who)),
            ["campaign", who] => self.cluster.campaign(node(who)),
            ["propose", who, ref texts @ ..] => {
                for text in texts {
                    match self.cluster.propose(node(who), text) {
                        Ok(at) => writeln!(out, "{who} takes {text} as {}:{}", at.index, at.term),
                        Err(error) => writeln!(out, "{who} refuses {text}: {error}"),
                    }
                    .unwrap();
                }
            }
            ["read", who, ref tokens @ ..] => {
                self.cluster.input(node(who), |raft, now| {
                    for token in tokens {
                        let token = ReadToken(token.parse().unwrap());
                        if let Err(error) = raft.read_index(now, token) {
                            writeln!(out, "{who} refuses read {}: {error}", token.0).unwrap();
                        }
                    }
                });
            }
            ["transfer", who, to] => {
                let to = Some(node(to));
                if let Err(error) = self
                    .cluster
                    .input(node(who), |raft, now| raft.transfer_leadership(now, to))
                {
                    writeln!(out, "{who} refuses: {error}").unwrap();
                }
            }
            ["member", who, what, whom] => out.push_str(&self.member(who, what, whom)),
            ["show", ref what @ ..] => out.push_str(&self.show(what)),
            ["deliver", ref what @ ..] => out.push_str(&self.deliver(what)),
            _ => self.world(&words),
        }
        let events = self.cluster.take_events();
        let mut told = String::new();
        for (node, event) in events {
            told.push_str(&tell(node, &event));
        }
        // What a node answers comes after what happened on the way.
        if matches!(words[0], "show" | "propose" | "deliver") {
            out + &told
        } else {
            told + &out
        }
    }

    fn world(&mut self, words: &[&str]) {
        let cluster = &mut self.cluster;
        match *words {
            ["settle"] => cluster.settle(),
            ["advance", time] => cluster.advance(span(time)),
            ["skip", time] => cluster.skip(span(time)),
            ["heal"] => cluster.heal(),
            ["cut", from, ">", to] => {
                cluster.cut.insert((node(from), node(to)));
            }
            ["cut", ref sides @ ..] => {
                let bar = sides.iter().position(|&word| word == "|").expect("a | b");
                cluster.cut_all(&nodes(&sides[..bar]), &nodes(&sides[bar + 1..]));
            }
            ["hold", from, ">", to] => {
                cluster.held.insert((node(from), node(to)));
            }
            ["release"] => cluster.held.clear(),
            ["drop", from, ">", to] => {
                let link = (node(from), node(to));
                cluster
                    .wire
                    .retain(|flight| (flight.from, flight.to) != link);
            }
            ["crash", who] => cluster.crash(node(who)),
            ["restart", who] => cluster.start(node(who)),
            ["slow", who] => cluster.nodes.get_mut(&node(who)).unwrap().disk_held = true,
            ["write", who] => assert!(cluster.finish_write(node(who)), "{who} writes something"),
            ["fast", who] => cluster.release_disk(node(who)),
            ["stall-install", who] => {
                cluster.nodes.get_mut(&node(who)).unwrap().install_held = true;
            }
            ["install", who] => {
                cluster.nodes.get_mut(&node(who)).unwrap().install_held = false;
                cluster.poll(node(who));
            }
            ["compact", who] => {
                cluster
                    .compact(node(who))
                    .unwrap_or_else(|| panic!("{who} has nothing to drop"));
            }
            _ => panic!("not a command: {words:?}"),
        }
    }

    fn new_cluster(&mut self, count: &str, options: &[&str]) {
        let mut config = Config {
            log_cache_bytes: 0,
            ..config()
        };
        for option in options {
            let (key, value) = option.split_once('=').expect("key=value");
            match key {
                "lease" => config.lease = (value == "on").then(Lease::default),
                "chunk" => config.snapshot_chunk_bytes = value.parse().unwrap(),
                "inflight" => config.inflight_messages_max = value.parse().unwrap(),
                "batch" => config.append_bytes_max = value.parse().unwrap(),
                "uncommitted" => config.uncommitted_bytes_max = value.parse().unwrap(),
                _ => panic!("not an option: {option}"),
            }
        }
        self.config = config.clone();
        self.cluster = Cluster::new(count.parse().unwrap(), config, 7);
    }

    fn member(&mut self, who: &str, what: &str, whom: &str) -> String {
        let change = match what {
            "add" => MembershipChange::AddLearner(node(whom)),
            "promote" => MembershipChange::Promote(node(whom)),
            "demote" => MembershipChange::Demote(node(whom)),
            "remove" => MembershipChange::Remove(node(whom)),
            "replace" => MembershipChange::Replace {
                voters: whom.split(',').map(node).collect(),
                learners: BTreeSet::new(),
            },
            _ => panic!("not a change: {what}"),
        };
        let change = self
            .cluster
            .input(node(who), |raft, now| raft.propose_membership(now, &change));
        change
            .err()
            .map_or_else(String::new, |error| format!("{who} refuses: {error}\n"))
    }

    fn deliver(&mut self, what: &[&str]) -> String {
        let (link, count) = match *what {
            [] => (None, None),
            [count] => (None, Some(count)),
            [from, ">", to] => (Some((node(from), node(to))), None),
            [from, ">", to, count] => (Some((node(from), node(to))), Some(count)),
            _ => panic!("not a delivery: {what:?}"),
        };
        let mut left: usize = count.map_or(usize::MAX, |count| count.parse().unwrap());
        // Only what is under way now, not what it sets off.
        left = left.min(self.cluster.wire.len());
        let mut out = String::new();
        while left > 0 {
            let wire = &self.cluster.wire;
            let fits = |from, to| {
                link.map_or_else(
                    || !self.cluster.held.contains(&(from, to)),
                    |link| link == (from, to),
                )
            };
            let Some(at) = wire.iter().position(|flight| fits(flight.from, flight.to)) else {
                break;
            };
            left -= 1;
            let flight = self.cluster.wire.remove(at).unwrap();
            writeln!(
                out,
                "{} > {} {}",
                flight.from,
                flight.to,
                say(&flight.message)
            )
            .unwrap();
            self.cluster.deliver(flight);
        }
        out
    }

    fn show(&self, what: &[&str]) -> String {
        let mut out = String::new();
        for (&id, node) in &self.cluster.nodes {
            let Some(raft) = &node.raft else {
                if what.is_empty() {
                    writeln!(out, "{id} down").unwrap();
                }
                continue;
            };
            match *what {
                [] => writeln!(
                    out,
                    "{id} {} {} log {}..{} durable {} committed {} applied {}",
                    part(raft.role()),
                    raft.term(),
                    raft.base().index,
                    raft.last_index(),
                    raft.durable(),
                    raft.committed(),
                    raft.applied()
                )
                .unwrap(),
                ["log"] => {
                    let from = raft.base().index.get();
                    let terms = (from + 1..=raft.last_index().get()).map(|index| {
                        format!(" {index}:{}", raft.term_at(LogIndex::new(index)).unwrap())
                    });
                    writeln!(out, "{id}{}", terms.collect::<String>()).unwrap();
                }
                ["state"] => writeln!(out, "{id} [{}]", node.state.join(" ")).unwrap(),
                ["members"] => writeln!(out, "{id} {}", list(raft)).unwrap(),
                ["lease", who] if self::node(who) == id => {
                    let clock = self.cluster.clock(id);
                    let left = raft.lease_until().map(|until| until.since(clock));
                    let readable = raft.readable_now(clock);
                    writeln!(out, "{id} lease left {left:?}, readable {readable}").unwrap();
                }
                ["peers", who] if self::node(who) == id => {
                    for peer in raft.progress() {
                        writeln!(
                            out,
                            "{} {:?} matched {} next {} session {}{}",
                            peer.id,
                            peer.state,
                            peer.matched,
                            peer.next,
                            peer.session.0,
                            if peer.voter { "" } else { " learner" }
                        )
                        .unwrap();
                    }
                }
                ["lease" | "peers", _] => {}
                _ => panic!("nothing to show: {what:?}"),
            }
        }
        out
    }
}

fn list(raft: &Raft) -> String {
    members(raft.membership())
}

fn members(members: &raft::Membership) -> String {
    let set = |ids: &BTreeSet<NodeId>| {
        ids.iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let mut out = format!("({})", set(&members.voters));
    if members.is_joint() {
        write!(out, " and ({})", set(&members.outgoing)).unwrap();
    }
    if !members.learners.is_empty() {
        write!(out, " learners ({})", set(&members.learners)).unwrap();
    }
    out
}

const fn part(role: RoleKind) -> &'static str {
    match role {
        RoleKind::Follower => "follower",
        RoleKind::PreCandidate => "pre-candidate",
        RoleKind::Candidate => "candidate",
        RoleKind::Leader => "leader",
    }
}

fn tell(id: NodeId, event: &Event) -> String {
    let line = match event {
        Event::RoleChanged {
            from,
            to,
            term,
            reason,
        } => {
            format!("{} -> {} {term}: {reason:?}", part(*from), part(*to))
        }
        Event::LeaderChanged {
            leader: Some(leader),
            ..
        } if *leader == id => return String::new(),
        Event::LeaderChanged {
            leader: Some(leader),
            term,
        } => format!("follows {leader} {term}"),
        Event::LeaderChanged { leader: None, .. } => "knows no leader".to_owned(),
        Event::TermChanged { .. } | Event::MembershipCommitted { .. } => return String::new(),
        Event::ReadReady { token, index } => format!("serves read {} at {index}", token.0),
        Event::ReadFailed { token, reason } => format!("fails read {}: {reason:?}", token.0),
        Event::LeaseChanged { until: Some(_) } => "has the lease".to_owned(),
        Event::LeaseChanged { until: None } => "gives up the lease".to_owned(),
        Event::MembershipChanged { index, membership } => {
            format!("members {} since {index}", members(membership))
        }
        Event::TransferEnded { to, outcome } => match outcome {
            TransferOutcome::SteppedDown => format!("handed over to {to}"),
            TransferOutcome::TimedOut => format!("gives up handing over to {to}"),
            TransferOutcome::TargetRemoved => format!("can't hand over to {to}"),
        },
        Event::Truncated { from } => format!("drops its log from {from}"),
        Event::SnapshotStarted { to } => format!("starts a snapshot for {to}"),
        Event::SnapshotSent { to, index } => format!("brought {to} to {index} by a snapshot"),
        Event::SnapshotInstalled { index } => format!("installed a snapshot at {index}"),
        Event::LeaseWait { .. } => "waits for an earlier leader's lease".to_owned(),
        Event::DiskStalled { .. } => "notices that its disk hangs".to_owned(),
        Event::Misbehaved { peer, what } => format!("complains about {peer}: {what:?}"),
    };
    format!("{id} {line}\n")
}

fn say(message: &Message) -> String {
    match message {
        Message::RequestPreVote(request) => format!(
            "RequestPreVote for {}, last {}:{}",
            request.term, request.last_index, request.last_term
        ),
        Message::RequestPreVoteReply(reply) => {
            format!(
                "RequestPreVoteReply {} {}",
                reply.term,
                answer(reply.granted)
            )
        }
        Message::RequestVote(request) => format!(
            "RequestVote {}, last {}:{}{}",
            request.term,
            request.last_index,
            request.last_term,
            if request.transfer.is_some() {
                ", with a ticket"
            } else {
                ""
            }
        ),
        Message::RequestVoteReply(reply) => {
            format!("RequestVoteReply {} {}", reply.term, answer(reply.granted))
        }
        Message::AppendEntries(append) => say_append(append),
        Message::AppendEntriesReply(reply) => say_append_reply(reply),
        Message::InstallSnapshot(piece) => format!(
            "InstallSnapshot {} at {}:{}, {} bytes from {}{}",
            piece.term,
            piece.base.index,
            piece.base.term,
            piece.data.len(),
            piece.offset,
            if piece.done { ", the last" } else { "" }
        ),
        Message::InstallSnapshotReply(reply) => match reply.outcome {
            SnapshotOutcome::Received { offset } => {
                format!("InstallSnapshotReply {} holds {offset} bytes", reply.term)
            }
            SnapshotOutcome::Installed { index } => {
                format!("InstallSnapshotReply {} stands at {index}", reply.term)
            }
        },
        Message::TimeoutNow(request) => format!("TimeoutNow {} #{}", request.term, request.number),
        Message::ReadIndex(request) => format!("ReadIndex {}", request.term),
        Message::ReadIndexReply(reply) => reply.index.map_or_else(
            || format!("ReadIndexReply {} don't know", reply.term),
            |index| format!("ReadIndexReply {} from {index}", reply.term),
        ),
    }
}

fn say_append(append: &AppendEntries) -> String {
    let entries: Vec<_> = append.entries.iter().map(entry).collect();
    format!(
        "AppendEntries {} after {}:{} [{}] committed {} session {} round {}",
        append.term,
        append.prev_index,
        append.prev_term,
        entries.join(" "),
        append.commit,
        append.session.0,
        append.round.0
    )
}

fn say_append_reply(reply: &AppendEntriesReply) -> String {
    match reply.outcome {
        AppendOutcome::Accepted { matched, received } => format!(
            "AppendEntriesReply {} accepted: durable {matched}, received {received}, \
             session {} round {}",
            reply.term, reply.session.0, reply.round.0
        ),
        AppendOutcome::Rejected {
            prev_index,
            hint_index,
            hint_term,
        } => format!(
            "AppendEntriesReply {} rejected after {prev_index}: try {hint_index}:{hint_term}",
            reply.term
        ),
    }
}

const fn answer(granted: bool) -> &'static str {
    if granted { "yes" } else { "no" }
}

fn entry(entry: &Entry) -> String {
    let what = match &entry.payload {
        Payload::Noop => "noop".to_owned(),
        Payload::Membership(membership) => members(membership),
        Payload::Data(data) => String::from_utf8_lossy(data).into_owned(),
    };
    format!("{}:{} {what}", entry.index, entry.term)
}
