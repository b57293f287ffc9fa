//! A network that delays, loses, duplicates, reorders and falls apart.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use stdx::{Instant, NodeId, Prng};

/// How long a message takes.
#[derive(Clone, Copy, Debug)]
pub enum Delay {
    /// Any span between the two, equally likely.
    Uniform {
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
    },
    /// `min`, and a tail with this mean on top (exponential, cut at 20 means).
    Tail {
        /// The shortest.
        min: Duration,
        /// The mean of what comes on top.
        mean: Duration,
    },
}

/// A share of the messages delayed for very long, so that they overtake nothing and are
/// overtaken by everything: labrpc's "long reordering".
#[derive(Clone, Copy, Debug)]
pub struct LongReorder {
    /// How many replies in a thousand it hits.
    pub per_mille: u64,
    /// The shortest extra delay.
    pub min: Duration,
    /// The longest extra delay.
    pub max: Duration,
}

impl LongReorder {
    /// What labrpc does: two thirds of the replies, 200 to 2,200 ms.
    pub const LABRPC: Self = Self {
        per_mille: 667,
        min: Duration::from_millis(200),
        max: Duration::from_millis(2_200),
    };
}

/// What the network does to messages while it is whole.
#[derive(Clone, Copy, Debug)]
pub struct NetworkOptions {
    /// The usual delay.
    pub delay: Delay,
    /// Messages in a thousand that vanish.
    pub loss_per_mille: u64,
    /// Messages in a thousand that arrive twice.
    pub duplicate_per_mille: u64,
    /// Replies that take seconds.
    pub long_reorder: Option<LongReorder>,
    /// Whether a link keeps the order of its messages, as a TCP stream does.
    pub ordered: bool,
    /// Whether messages that are under way when their link is cut still arrive.
    pub outruns_cuts: bool,
}

impl NetworkOptions {
    /// A quick and faithful local network.
    pub const RELIABLE: Self = Self {
        delay: Delay::Uniform {
            min: Duration::from_micros(200),
            max: Duration::from_millis(2),
        },
        loss_per_mille: 0,
        duplicate_per_mille: 0,
        long_reorder: None,
        ordered: true,
        outruns_cuts: false,
    };

    /// labrpc's unreliable network: 0 to 26 ms, one message in ten lost.
    pub const UNRELIABLE: Self = Self {
        delay: Delay::Uniform {
            min: Duration::ZERO,
            max: Duration::from_millis(26),
        },
        loss_per_mille: 100,
        duplicate_per_mille: 0,
        long_reorder: None,
        ordered: false,
        outruns_cuts: false,
    };
}

/// What one direction between two nodes carried.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LinkCounters {
    /// Messages sent, lost ones too.
    pub messages: u64,
    /// Of those, the ones that aren't replies.
    pub requests: u64,
    /// Bytes sent.
    pub bytes: u64,
    /// Messages that didn't arrive.
    pub lost: u64,
}

impl LinkCounters {
    /// Adds another link's counts.
    pub const fn add(&mut self, other: Self) {
        self.messages += other.messages;
        self.requests += other.requests;
        self.bytes += other.bytes;
        self.lost += other.lost;
    }
}

/// When copies of a sent message arrive: never, once or twice.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Arrivals {
    /// The message.
    pub first: Option<Instant>,
    /// Its duplicate.
    pub second: Option<Instant>,
}

/// The links between nodes. It decides the fate of messages; the world carries them.
#[derive(Debug)]
pub struct Network {
    options: NetworkOptions,
    prng: Prng,
    cut: BTreeSet<(NodeId, NodeId)>,
    last_arrival: BTreeMap<(NodeId, NodeId), Instant>,
    counters: BTreeMap<(NodeId, NodeId), LinkCounters>,
}

impl Network {
    /// A whole network.
    #[must_use]
    pub const fn new(options: NetworkOptions, prng: Prng) -> Self {
        Self {
            options,
            prng,
            cut: BTreeSet::new(),
            last_arrival: BTreeMap::new(),
            counters: BTreeMap::new(),
        }
    }

    /// Changes what happens to messages from now on.
    pub const fn set_options(&mut self, options: NetworkOptions) {
        self.options = options;
    }

    /// What happens to messages.
    #[must_use]
    pub const fn options(&self) -> NetworkOptions {
        self.options
    }

    /// Decides the fate of a message and counts it.
    pub fn send(
        &mut self,
        now: Instant,
        (from, to): (NodeId, NodeId),
        bytes: usize,
        is_reply: bool,
    ) -> Arrivals {
        let counters = self.counters.entry((from, to)).or_default();
        counters.messages += 1;
        counters.requests += u64::from(!is_reply);
        counters.bytes += bytes as u64;
        if self.cut.contains(&(from, to)) || self.prng.chance(self.options.loss_per_mille, 1_000) {
            counters.lost += 1;
            return Arrivals::default();
        }
        let first = self.arrival(now, (from, to), is_reply);
        let duplicated = self.prng.chance(self.options.duplicate_per_mille, 1_000);
        Arrivals {
            first: Some(first),
            second: duplicated.then(|| self.arrival(now, (from, to), is_reply)),
        }
    }

    /// Whether a message that was under way arrives, though its link may be cut by now.
    pub fn arrives(&mut self, from: NodeId, to: NodeId) -> bool {
        let arrives = self.options.outruns_cuts || self.connected(from, to);
        if !arrives {
            self.counters.entry((from, to)).or_default().lost += 1;
        }
        arrives
    }

    /// Cuts one direction.
    pub fn cut_one_way(&mut self, from: NodeId, to: NodeId) {
        self.cut.insert((from, to));
    }

    /// Cuts both directions.
    pub fn cut(&mut self, one: NodeId, other: NodeId) {
        self.cut.insert((one, other));
        self.cut.insert((other, one));
    }

    /// Cuts a node off from all the others.
    pub fn isolate(&mut self, node: NodeId, all: &[NodeId]) {
        for &other in all.iter().filter(|&&other| other != node) {
            self.cut(node, other);
        }
    }

    /// Mends both directions between two nodes.
    pub fn mend(&mut self, one: NodeId, other: NodeId) {
        self.cut.remove(&(one, other));
        self.cut.remove(&(other, one));
    }

    /// Cuts every link between nodes of different sides; links within a side are mended.
    /// A node on no side is cut off from everybody.
    pub fn partition(&mut self, sides: &[&[NodeId]], all: &[NodeId]) {
        let side_of = |node: &NodeId| sides.iter().position(|side| side.contains(node));
        for (position, one) in all.iter().enumerate() {
            for other in &all[position + 1..] {
                if side_of(one).is_some() && side_of(one) == side_of(other) {
                    self.mend(*one, *other);
                } else {
                    self.cut(*one, *other);
                }
            }
        }
    }

    /// Two sides that hear each other only through `bridge`, which hears everybody.
    pub fn bridge(&mut self, bridge: NodeId, left: &[NodeId], right: &[NodeId]) {
        for &one in left.iter().filter(|&&node| node != bridge) {
            for &other in right.iter().filter(|&&node| node != bridge) {
                self.cut(one, other);
            }
        }
    }

    /// Mends everything.
    pub fn heal(&mut self) {
        self.cut.clear();
    }

    /// Whether messages pass from one node to another.
    #[must_use]
    pub fn connected(&self, from: NodeId, to: NodeId) -> bool {
        !self.cut.contains(&(from, to))
    }

    /// What a link carried so far.
    #[must_use]
    pub fn link(&self, from: NodeId, to: NodeId) -> LinkCounters {
        self.counters.get(&(from, to)).copied().unwrap_or_default()
    }

    /// What all links together carried so far.
    #[must_use]
    pub fn total(&self) -> LinkCounters {
        let mut total = LinkCounters::default();
        for &link in self.counters.values() {
            total.add(link);
        }
        total
    }

    fn arrival(&mut self, now: Instant, link: (NodeId, NodeId), is_reply: bool) -> Instant {
        let mut at = now.after(self.draw_delay());
        if self.options.ordered {
            let last = self.last_arrival.entry(link).or_default();
            at = at.max(*last);
            *last = at;
        }
        if let Some(reorder) = self.options.long_reorder
            && is_reply
            && self.prng.chance(reorder.per_mille, 1_000)
        {
            at = at.after(self.prng.duration(reorder.min..reorder.max));
        }
        at
    }

    fn draw_delay(&mut self) -> Duration {
        match self.options.delay {
            Delay::Uniform { min, max } if min == max => min,
            Delay::Uniform { min, max } => self.prng.duration(min..max),
            Delay::Tail { min, mean } => min + exponential(&mut self.prng, mean),
        }
    }
}

/// An exponentially distributed span, by whole halvings and a linear rest: no floating
/// point, whose library functions differ between platforms in the last bit.
pub(crate) fn exponential(prng: &mut Prng, mean: Duration) -> Duration {
    let bits = prng.next_u64();
    let halvings = bits.trailing_zeros().min(20);
    let rest = u32::try_from(bits >> 44).expect("20 bits fit");
    // ln 2 = 0.693; a span of mean * (halvings + rest in [0, 1)) * ln 2 has mean ~ `mean`.
    let millionths = (u64::from(halvings) << 20) + u64::from(rest);
    let nanos = u128::from(millionths) * mean.as_nanos() * 693 / 1_000 / (1 << 20);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn n(id: u64) -> NodeId {
        NodeId::new(id)
    }

    fn network(options: NetworkOptions) -> Network {
        Network::new(options, Prng::from_seed(5))
    }

    #[test]
    fn loss_and_duplication_come_as_often_as_asked() {
        let mut network = network(NetworkOptions {
            loss_per_mille: 100,
            duplicate_per_mille: 200,
            ..NetworkOptions::RELIABLE
        });
        let mut arrived = 0;
        let mut twice = 0;
        for _ in 0..10_000 {
            let arrivals = network.send(Instant::EPOCH, (n(1), n(2)), 10, false);
            arrived += usize::from(arrivals.first.is_some());
            twice += usize::from(arrivals.second.is_some());
        }
        assert!((8_800..9_200).contains(&arrived), "{arrived} arrived");
        assert!((1_650..1_950).contains(&twice), "{twice} arrived twice");
        let link = network.link(n(1), n(2));
        assert_eq!((link.messages, link.bytes), (10_000, 100_000));
        assert_eq!(link.lost, 10_000 - arrived as u64);
    }

    #[test]
    fn an_ordered_link_keeps_order_and_an_unordered_one_does_not() {
        for ordered in [true, false] {
            let mut network = network(NetworkOptions {
                ordered,
                ..NetworkOptions::RELIABLE
            });
            let arrivals: Vec<Instant> = (0..200_u64)
                .filter_map(|sent| {
                    let now = Instant::from_nanos(sent * 1_000);
                    network.send(now, (n(1), n(2)), 1, false).first
                })
                .collect();
            assert_eq!(arrivals.is_sorted(), ordered);
        }
    }

    #[test]
    fn topologies_cut_what_they_say() {
        let all = [n(1), n(2), n(3), n(4), n(5)];
        let mut network = network(NetworkOptions::RELIABLE);
        network.cut_one_way(n(1), n(2));
        assert!(!network.connected(n(1), n(2)));
        assert!(network.connected(n(2), n(1)));
        network.heal();
        network.bridge(n(3), &[n(1), n(2), n(3)], &[n(3), n(4), n(5)]);
        assert!(!network.connected(n(1), n(4)));
        assert!(network.connected(n(3), n(1)));
        assert!(network.connected(n(3), n(5)));
        network.heal();
        network.partition(&[&[n(1), n(2)], &[n(3), n(4)]], &all);
        assert!(network.connected(n(1), n(2)));
        assert!(!network.connected(n(2), n(3)));
        assert!(!network.connected(n(5), n(1)));
        let sent = network.send(Instant::EPOCH, (n(5), n(1)), 1, true);
        assert_eq!(sent, Arrivals::default());
    }

    #[test]
    fn the_tail_of_delays_has_about_the_mean_asked_for() {
        let mut prng = Prng::from_seed(1);
        let mean = Duration::from_millis(10);
        let total: Duration = (0..20_000).map(|_| exponential(&mut prng, mean)).sum();
        let average = total / 20_000;
        assert!(average > Duration::from_millis(9), "{average:?}");
        assert!(average < Duration::from_millis(12), "{average:?}");
    }
}
