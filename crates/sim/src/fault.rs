//! Faults: what can break, drawn from a seed by swarm testing.
//!
//! Swarm testing (Groce et al., ISSTA 2012): a run doesn't have a little of everything.
//! Each kind of fault is first switched on or off, then weighted, so that some runs have
//! crashes and nothing else, and bugs that one fault would hide from another are met.

use core::fmt;
use core::time::Duration;

use stdx::{NodeId, Prng};

use crate::network::NetworkOptions;
use crate::process::Process;
use crate::world::World;

/// Whom a fault hits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Who {
    /// The machine with this number among those that exist then, counted round.
    Nth(u64),
    /// The one that leads then; the first machine when none does.
    Leader,
}

/// Something that breaks. What lasts ends by itself after the step's `lasts`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// The process dies; restarted after `lasts`.
    Crash(Who),
    /// Every process dies; restarted after `lasts`.
    CrashAll,
    /// The process is stopped like by SIGSTOP.
    Pause(Who),
    /// The node is cut off from everybody.
    Isolate(Who),
    /// The node can't send: it hears, and nobody hears it.
    Mute(Who),
    /// The node can't hear.
    Deafen(Who),
    /// Two sides; the bits of the number say who is where.
    Split(u64),
    /// Two sides that meet in one node.
    Bridge {
        /// The node that hears both sides.
        bridge: Who,
        /// Who is on which side.
        sides: u64,
    },
    /// Messages are lost, duplicated and reordered much more than usual.
    BadWeather,
    /// No sync ends while it lasts.
    DiskStall(Who),
    /// No write succeeds while it lasts.
    DiskFull(Who),
    /// The next sync fails.
    SyncFailure(Who),
    /// A bit of the disk turns round; the system decides where, and whether it may.
    BitFlip(Who, u64),
    /// The clock leaps forwards by `lasts`.
    ClockJump(Who),
    /// Something of the tested system: a kind of its own and a number to draw from.
    System(u8, u64),
}

/// One line of a plan.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PlanStep {
    /// When, since the start.
    pub at: Duration,
    /// What.
    pub fault: Fault,
    /// For how long.
    pub lasts: Duration,
}

/// What breaks in a run, in order of time.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<PlanStep>,
}

/// The end of a fault, which the harness schedules as a task and hands to [`end`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FaultEnd {
    /// Start the process again.
    Restart(NodeId),
    /// Start every process that is down.
    RestartAll,
    /// Continue the process.
    Resume(NodeId),
    /// Mend all links.
    Heal,
    /// The usual weather.
    FairWeather,
    /// Room on the disk.
    Room(NodeId),
}

/// How often each kind of fault is drawn; zero is switched off.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Weights {
    kinds: Vec<(Kind, &'static str, u64)>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Crash,
    CrashAll,
    Pause,
    Isolate,
    Mute,
    Deafen,
    Split,
    Bridge,
    BadWeather,
    DiskStall,
    DiskFull,
    SyncFailure,
    BitFlip,
    ClockJump,
    System(u8),
}

const WORLD_KINDS: [(Kind, &str); 14] = [
    (Kind::Crash, "crash"),
    (Kind::CrashAll, "crash-all"),
    (Kind::Pause, "pause"),
    (Kind::Isolate, "isolate"),
    (Kind::Mute, "mute"),
    (Kind::Deafen, "deafen"),
    (Kind::Split, "split"),
    (Kind::Bridge, "bridge"),
    (Kind::BadWeather, "weather"),
    (Kind::DiskStall, "disk-stall"),
    (Kind::DiskFull, "disk-full"),
    (Kind::SyncFailure, "sync-failure"),
    (Kind::BitFlip, "bit-flip"),
    (Kind::ClockJump, "clock-jump"),
];

impl Weights {
    /// Nothing breaks. `system` names the tested system's own kinds, numbered from 0.
    ///
    /// # Panics
    ///
    /// When there are more than 256.
    #[must_use]
    pub fn none(system: &[&'static str]) -> Self {
        let own = system.iter().enumerate().map(|(number, name)| {
            let number = u8::try_from(number).expect("a system has few kinds of its own");
            (Kind::System(number), *name, 0)
        });
        let kinds = WORLD_KINDS.iter().map(|&(kind, name)| (kind, name, 0));
        Self {
            kinds: kinds.chain(own).collect(),
        }
    }

    /// Each kind on or off, then a weight from 1 to 8.
    #[must_use]
    pub fn swarm(prng: &mut Prng, system: &[&'static str]) -> Self {
        let mut weights = Self::none(system);
        for (_, _, weight) in &mut weights.kinds {
            if prng.chance(1, 2) {
                *weight = 1 << prng.below(4);
            }
        }
        weights
    }

    /// Gives the named kind a weight.
    ///
    /// # Panics
    ///
    /// When there is no such kind.
    #[must_use]
    pub fn with(mut self, name: &str, weight: u64) -> Self {
        let slot = self.kinds.iter_mut().find(|(_, kind, _)| *kind == name);
        slot.expect("the kind is named as it is printed").2 = weight;
        self
    }

    /// Adds a kind of the tested system's own, numbered after those it has. Draws of others
    /// stay what they are while its weight is zero.
    ///
    /// # Panics
    ///
    /// When there are more than 256.
    #[must_use]
    pub fn and(mut self, name: &'static str, weight: u64) -> Self {
        let own = |kind: &&(Kind, &str, u64)| matches!(kind.0, Kind::System(_));
        let number = u8::try_from(self.kinds.iter().filter(own).count());
        let number = number.expect("a system has few kinds of its own");
        self.kinds.push((Kind::System(number), name, weight));
        self
    }

    /// The weight of the named kind; zero for one that doesn't exist.
    #[must_use]
    pub fn weight(&self, name: &str) -> u64 {
        let slot = self.kinds.iter().find(|(_, kind, _)| *kind == name);
        slot.map_or(0, |&(_, _, weight)| weight)
    }

    fn draw(&self, prng: &mut Prng) -> Option<Kind> {
        let total: u64 = self.kinds.iter().map(|&(_, _, weight)| weight).sum();
        if total == 0 {
            return None;
        }
        let mut left = prng.below(total);
        for &(kind, _, weight) in &self.kinds {
            if left < weight {
                return Some(kind);
            }
            left -= weight;
        }
        None
    }
}

impl fmt::Display for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut space = "";
        for (_, name, weight) in self.kinds.iter().filter(|(_, _, weight)| *weight > 0) {
            write!(f, "{space}{name}={weight}")?;
            space = " ";
        }
        if space.is_empty() {
            f.write_str("none")?;
        }
        Ok(())
    }
}

impl Plan {
    /// Draws faults over `duration`, one every `gap` on average.
    #[must_use]
    pub fn draw(prng: &mut Prng, weights: &Weights, duration: Duration, gap: Duration) -> Self {
        let mut steps = Vec::new();
        let mut at = prng.duration(Duration::ZERO..gap);
        while at < duration {
            if let Some(kind) = weights.draw(prng) {
                let fault = draw_fault(prng, kind);
                // Mostly short, sometimes several times the gap.
                let lasts = match prng.below(4) {
                    0 => prng.duration(gap / 8..gap / 2),
                    1 | 2 => prng.duration(gap / 2..gap * 2),
                    _ => prng.duration(gap * 2..gap * 6),
                };
                steps.push(PlanStep { at, fault, lasts });
            }
            at += prng.duration(gap / 8..gap * 15 / 8);
        }
        Self { steps }
    }
}

impl fmt::Display for PlanStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.as_micros();
        write!(
            f,
            "{:>5}.{:06} {:?} for {:?}",
            at / 1_000_000,
            at % 1_000_000,
            self.fault,
            self.lasts
        )
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        Ok(())
    }
}

fn draw_fault(prng: &mut Prng, kind: Kind) -> Fault {
    let who = if prng.chance(2, 5) {
        Who::Leader
    } else {
        Who::Nth(prng.below(64))
    };
    match kind {
        Kind::Crash => Fault::Crash(who),
        Kind::CrashAll => Fault::CrashAll,
        Kind::Pause => Fault::Pause(who),
        Kind::Isolate => Fault::Isolate(who),
        Kind::Mute => Fault::Mute(who),
        Kind::Deafen => Fault::Deafen(who),
        Kind::Split => Fault::Split(prng.next_u64()),
        Kind::Bridge => Fault::Bridge {
            bridge: who,
            sides: prng.next_u64(),
        },
        Kind::BadWeather => Fault::BadWeather,
        Kind::DiskStall => Fault::DiskStall(who),
        Kind::DiskFull => Fault::DiskFull(who),
        Kind::SyncFailure => Fault::SyncFailure(who),
        Kind::BitFlip => Fault::BitFlip(who, prng.next_u64()),
        Kind::ClockJump => Fault::ClockJump(who),
        Kind::System(number) => Fault::System(number, prng.next_u64()),
    }
}

/// Lets a fault happen, and says how it ends. [`Fault::BitFlip`] and [`Fault::System`] are
/// the harness's own business: nothing happens here.
pub fn begin<P: Process, T>(
    world: &mut World<P, T>,
    step: &PlanStep,
    leader: Option<NodeId>,
) -> Option<FaultEnd> {
    let hosts: Vec<NodeId> = world.hosts().collect();
    let find = |who: Who| match who {
        Who::Leader => leader.or_else(|| hosts.first().copied()),
        Who::Nth(number) => hosts.get(nth(number, hosts.len())).copied(),
    };
    match step.fault {
        Fault::Crash(who) => {
            let node = find(who)?;
            world.crash(node);
            Some(FaultEnd::Restart(node))
        }
        Fault::CrashAll => {
            hosts.iter().for_each(|&node| world.crash(node));
            Some(FaultEnd::RestartAll)
        }
        Fault::Pause(who) => {
            let node = find(who)?;
            world.pause(node);
            Some(FaultEnd::Resume(node))
        }
        Fault::Isolate(who) | Fault::Mute(who) | Fault::Deafen(who) => {
            cut_off(world, step.fault, find(who)?, &hosts);
            Some(FaultEnd::Heal)
        }
        Fault::Split(sides) => {
            let (left, right) = halves(&hosts, sides);
            world.network_mut().partition(&[&left, &right], &hosts);
            Some(FaultEnd::Heal)
        }
        Fault::Bridge { bridge, sides } => {
            let (left, right) = halves(&hosts, sides);
            world.network_mut().bridge(find(bridge)?, &left, &right);
            Some(FaultEnd::Heal)
        }
        Fault::BadWeather => {
            world.network_mut().set_options(NetworkOptions {
                loss_per_mille: 200,
                duplicate_per_mille: 100,
                ordered: false,
                ..NetworkOptions::UNRELIABLE
            });
            Some(FaultEnd::FairWeather)
        }
        Fault::DiskStall(who) => {
            let until = world.now().after(step.lasts);
            world.disk(find(who)?)?.stall(until);
            None
        }
        Fault::DiskFull(who) => {
            let node = find(who)?;
            world.disk(node)?.set_full(true);
            Some(FaultEnd::Room(node))
        }
        Fault::SyncFailure(who) => {
            world.disk(find(who)?)?.fail_next_sync();
            None
        }
        Fault::ClockJump(who) => {
            world.jump_clock(find(who)?, step.lasts);
            None
        }
        Fault::BitFlip(..) | Fault::System(..) => None,
    }
}

/// Ends a fault. Nodes that refuse to start stay down and are handed back.
pub fn end<P: Process, T>(world: &mut World<P, T>, end: FaultEnd) -> Vec<(NodeId, String)> {
    let mut refused = Vec::new();
    let mut start = |world: &mut World<P, T>, node: NodeId| {
        if let Err(reason) = world.start(node) {
            refused.push((node, reason));
        }
    };
    match end {
        FaultEnd::Restart(node) => start(world, node),
        FaultEnd::RestartAll => {
            for node in world.hosts().collect::<Vec<_>>() {
                start(world, node);
            }
        }
        FaultEnd::Resume(node) => world.resume(node),
        FaultEnd::Heal => world.network_mut().heal(),
        FaultEnd::FairWeather => {
            let usual = world.options().network;
            world.network_mut().set_options(usual);
        }
        FaultEnd::Room(node) => {
            if let Some(disk) = world.disk(node) {
                disk.set_full(false);
            }
        }
    }
    refused
}

fn cut_off<P: Process, T>(world: &mut World<P, T>, fault: Fault, node: NodeId, all: &[NodeId]) {
    for &other in all.iter().filter(|&&other| other != node) {
        if !matches!(fault, Fault::Deafen(_)) {
            world.network_mut().cut_one_way(node, other);
        }
        if !matches!(fault, Fault::Mute(_)) {
            world.network_mut().cut_one_way(other, node);
        }
    }
}

fn halves(all: &[NodeId], sides: u64) -> (Vec<NodeId>, Vec<NodeId>) {
    let on_left = |position: usize| sides >> (position % 64) & 1 == 0;
    let side = |left: bool| {
        let picked = all.iter().enumerate();
        let picked = picked.filter(|&(position, _)| on_left(position) == left);
        picked.map(|(_, &node)| node).collect()
    };
    (side(true), side(false))
}

fn nth(number: u64, count: usize) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX) % count.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swarm_switches_kinds_off_and_prints_the_others() {
        let mut always = 0;
        for seed in 0..64 {
            let weights = Weights::swarm(&mut Prng::from_seed(seed), &["transfer"]);
            always += usize::from(weights.weight("crash") > 0);
            let printed = weights.to_string();
            assert_eq!(
                printed.contains("transfer="),
                weights.weight("transfer") > 0
            );
        }
        assert!((16..48).contains(&always), "on in {always} of 64");
    }

    #[test]
    fn a_plan_is_in_order_and_draws_only_what_has_weight() {
        let weights = Weights::none(&["transfer", "add"])
            .with("pause", 1)
            .with("add", 3);
        let mut prng = Prng::from_seed(9);
        let minute = Duration::from_secs(60);
        let plan = Plan::draw(&mut prng, &weights, minute, Duration::from_millis(500));
        assert!((90..150).contains(&plan.steps.len()));
        assert!(plan.steps.is_sorted_by_key(|step| step.at));
        assert!(
            plan.steps
                .iter()
                .all(|step| matches!(step.fault, Fault::Pause(_) | Fault::System(1, _)))
        );
    }
}
