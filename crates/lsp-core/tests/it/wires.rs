//! What the networks of both versions are made of: datagrams under way, a bottleneck with
//! a queue before it, and time that jumps from one thing that happens to the next.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use stdx::Instant;

/// A bottleneck with a queue before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) bytes_per_second: u64,
    pub(crate) queue_bytes: u64,
}

/// A direction of the bottleneck.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Direction {
    ToServer,
    FromServer,
}

/// Datagrams under way, and moments at which a test wants to be run again.
#[derive(Debug)]
pub(crate) struct Wires<P> {
    under_way: BTreeMap<(Instant, u64), P>,
    wishes: BTreeSet<Instant>,
    /// When the bottleneck of each direction is free.
    free_at: [Instant; 2],
    datagrams: u64,
}

impl<P> Wires<P> {
    pub(crate) const fn new() -> Self {
        Self {
            under_way: BTreeMap::new(),
            wishes: BTreeSet::new(),
            free_at: [Instant::EPOCH; 2],
            datagrams: 0,
        }
    }

    /// Lets a datagram arrive at a moment; of two that arrive together, the one that was
    /// sent first does so first.
    pub(crate) fn send(&mut self, arrives_at: Instant, datagram: P) {
        self.datagrams += 1;
        self.under_way
            .insert((arrives_at, self.datagrams), datagram);
    }

    /// A datagram that has arrived by now.
    pub(crate) fn arrived(&mut self, now: Instant) -> Option<P> {
        let first = self.under_way.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// How long a datagram waits for the bottleneck and takes to pass it; `None` when its
    /// queue is full.
    pub(crate) fn queue(
        &mut self,
        now: Instant,
        link: Option<Link>,
        direction: Direction,
        bytes: u64,
    ) -> Option<Duration> {
        let Some(link) = link else {
            return Some(Duration::ZERO);
        };
        // A datagram on the wire has headers of IP and UDP.
        let span = |bytes: u64| Duration::from_nanos(bytes * 1_000_000_000 / link.bytes_per_second);
        let free_at = &mut self.free_at[usize::from(direction == Direction::FromServer)];
        if free_at.since(now) > span(link.queue_bytes) {
            return None;
        }
        *free_at = now.max(*free_at).after(span(bytes + 28));
        Some(free_at.since(now))
    }

    /// Asks to be run again at a moment.
    pub(crate) fn wish(&mut self, at: Instant) {
        self.wishes.insert(at);
    }

    /// Forgets the wishes that are fulfilled.
    pub(crate) fn fulfil(&mut self, now: Instant) {
        let later = Instant::from_nanos(now.as_nanos() + 1);
        self.wishes = self.wishes.split_off(&later);
    }

    /// When a datagram arrives or a wish is due.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        let arrival = self.under_way.keys().next().map(|&(at, _)| at);
        let wish = self.wishes.first().copied();
        [arrival, wish].into_iter().flatten().min()
    }

    /// Whether no datagram is under way.
    pub(crate) fn is_quiet(&self) -> bool {
        self.under_way.is_empty()
    }
}

/// A network whose time jumps.
pub(crate) trait World {
    fn now(&mut self) -> &mut Instant;
    /// When something happens next.
    fn next_at(&self) -> Option<Instant>;
    /// Lets happen what happens at that moment.
    fn advance(&mut self, at: Instant);
}

/// Lets time pass until a test is satisfied or the deadline is reached; whether it was
/// satisfied. The test is asked after everything that happens.
pub(crate) fn run<W: World>(
    world: &mut W,
    deadline: Instant,
    mut satisfied: impl FnMut(&mut W) -> bool,
) -> bool {
    loop {
        if satisfied(world) {
            return true;
        }
        match world.next_at() {
            Some(at) if at <= deadline => world.advance(at),
            _ => {
                let now = world.now();
                *now = (*now).max(deadline);
                return satisfied(world);
            }
        }
    }
}
