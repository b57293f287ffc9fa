//! One direction of the link as a machine without a clock: packets and the time go in,
//! packets come out when they are due.
//!
//! A packet waits until those before it have passed at the link's rate, then passes itself,
//! then travels for the delay. What finds the queue full is dropped at its tail. A packet
//! that is lost is lost at the end of all that: it takes its share of the rate, as on a
//! radio link behind a modem.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use stdx::Prng;

/// What one direction is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// `None`: packets pass at once.
    pub(crate) bits_per_second: Option<u64>,
    pub(crate) delay: Duration,
    /// Bytes that may wait to pass; the packet that is passing counts.
    pub(crate) queue_bytes: u64,
    /// The share of packets that get lost.
    pub(crate) loss: f64,
}

/// What happened to packets of one direction.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) carried: u64,
    pub(crate) carried_bytes: u64,
    pub(crate) lost: u64,
    pub(crate) dropped: u64,
    /// Of the longest wait in the queue.
    pub(crate) wait_max: Duration,
    /// Of the packet that came out latest after it was due.
    pub(crate) late_max: Duration,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} packets ({} bytes) carried, {} lost, {} dropped at a full queue; \
             longest queueing {:.1?}, latest delivery {:.1?} late",
            self.carried, self.carried_bytes, self.lost, self.dropped, self.wait_max, self.late_max
        )
    }
}

#[derive(Debug)]
struct Packet {
    bytes: Vec<u8>,
    passed_at: Instant,
    due: Instant,
    lost: bool,
}

/// One direction.
#[derive(Debug)]
pub(crate) struct Pipe {
    shape: Shape,
    prng: Prng,
    packets: VecDeque<Packet>,
    /// The first of `packets` that hasn't passed yet.
    waiting_from: usize,
    waiting_bytes: u64,
    busy_until: Option<Instant>,
    counts: Counts,
    /// Buffers of packets that came out, to be used again.
    spare: Vec<Vec<u8>>,
}

/// Buffers that are kept.
const SPARE_MAX: usize = 1_024;

impl Pipe {
    pub(crate) fn new(shape: Shape, seed: u64) -> Self {
        Self {
            shape,
            prng: Prng::from_seed(seed),
            packets: VecDeque::new(),
            waiting_from: 0,
            waiting_bytes: 0,
            busy_until: None,
            counts: Counts::default(),
            spare: Vec::new(),
        }
    }

    /// Takes a packet that enters the link.
    pub(crate) fn push(&mut self, now: Instant, bytes: &[u8]) {
        self.pass(now);
        let length = bytes.len() as u64;
        // Drawn for every packet, so that what is lost doesn't depend on the queue.
        let lost = self.draw();
        if self.waiting_bytes + length > self.shape.queue_bytes {
            self.counts.dropped += 1;
            return;
        }
        let begins = self.busy_until.unwrap_or(now).max(now);
        let passed_at = begins + self.passage(length);
        self.busy_until = Some(passed_at);
        self.counts.wait_max = self.counts.wait_max.max(begins - now);
        self.waiting_bytes += length;
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(bytes);
        let due = passed_at + self.shape.delay;
        self.packets.push_back(Packet {
            bytes: buffer,
            passed_at,
            due,
            lost,
        });
    }

    /// Lets `deliver` have the packets that are due.
    pub(crate) fn pop_due(&mut self, now: Instant, mut deliver: impl FnMut(&[u8])) {
        self.pass(now);
        while self.packets.front().is_some_and(|packet| packet.due <= now) {
            let Some(packet) = self.packets.pop_front() else {
                return;
            };
            self.waiting_from -= 1;
            if packet.lost {
                self.counts.lost += 1;
            } else {
                self.counts.carried += 1;
                self.counts.carried_bytes += packet.bytes.len() as u64;
                self.counts.late_max = self.counts.late_max.max(now - packet.due);
                deliver(&packet.bytes);
            }
            if self.spare.len() < SPARE_MAX {
                self.spare.push(packet.bytes);
            }
        }
    }

    /// When the next packet is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.packets.front().map(|packet| packet.due)
    }

    pub(crate) const fn counts(&self) -> Counts {
        self.counts
    }

    /// Moves packets out of the queue whose time at the rate is over.
    fn pass(&mut self, now: Instant) {
        while let Some(packet) = self.packets.get(self.waiting_from)
            && packet.passed_at <= now
        {
            self.waiting_bytes -= packet.bytes.len() as u64;
            self.waiting_from += 1;
        }
    }

    fn passage(&self, bytes: u64) -> Duration {
        self.shape.bits_per_second.map_or(Duration::ZERO, |rate| {
            Duration::from_nanos(bytes * 8 * 1_000_000_000 / rate)
        })
    }

    fn draw(&mut self) -> bool {
        const PARTS: u64 = 1 << 32;
        let lost_parts = (self.shape.loss * PARTS as f64) as u64;
        self.prng.chance(lost_parts, PARTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape {
        bits_per_second: Some(8_000_000),
        delay: Duration::from_millis(10),
        queue_bytes: 3_000,
        loss: 0.0,
    };

    fn due(pipe: &mut Pipe, now: Instant) -> Vec<usize> {
        let mut lengths = Vec::new();
        pipe.pop_due(now, |packet| lengths.push(packet.len()));
        lengths
    }

    #[test]
    fn packets_pass_one_after_the_other_and_then_travel() {
        let mut pipe = Pipe::new(SHAPE, 1);
        let start = Instant::now();
        pipe.push(start, &[0; 1_000]);
        pipe.push(start, &[0; 500]);
        // A byte a microsecond, then ten milliseconds.
        assert_eq!(pipe.next_due(), Some(start + Duration::from_micros(11_000)));
        assert_eq!(
            due(&mut pipe, start + Duration::from_micros(10_999)),
            [0; 0]
        );
        assert_eq!(
            due(&mut pipe, start + Duration::from_micros(11_000)),
            [1_000]
        );
        assert_eq!(pipe.next_due(), Some(start + Duration::from_micros(11_500)));
        assert_eq!(due(&mut pipe, start + Duration::from_micros(11_500)), [500]);
        assert_eq!(pipe.next_due(), None);
    }

    #[test]
    fn a_full_queue_drops_what_comes() {
        let mut pipe = Pipe::new(SHAPE, 1);
        let start = Instant::now();
        for _ in 0..4 {
            pipe.push(start, &[0; 1_000]);
        }
        assert_eq!(pipe.counts().dropped, 1);
        // One has passed: there is room for another.
        pipe.push(start + Duration::from_millis(1), &[0; 1_000]);
        assert_eq!(pipe.counts().dropped, 1);
        let late = start + Duration::from_secs(1);
        assert_eq!(due(&mut pipe, late), [1_000; 4]);
        assert_eq!(pipe.counts().wait_max, Duration::from_millis(2));
    }

    #[test]
    fn loss_is_the_seeds_and_takes_its_share_of_the_rate() {
        let shape = Shape {
            loss: 0.2,
            queue_bytes: u64::MAX >> 1,
            ..SHAPE
        };
        let run = |seed| {
            let mut pipe = Pipe::new(shape, seed);
            let start = Instant::now();
            let mut carried = Vec::new();
            for i in 0..10_000_u32 {
                pipe.push(start, &i.to_le_bytes());
            }
            let last = pipe.packets.back().expect("there are packets").due;
            assert_eq!(last, start + Duration::from_micros(40_000 + 10_000));
            pipe.pop_due(last, |packet| carried.push(packet.to_vec()));
            (carried, pipe.counts().lost)
        };
        let (one, lost) = run(1);
        assert_eq!((one.clone(), lost), run(1));
        assert_ne!(one, run(2).0);
        assert!((1_850..2_150).contains(&lost), "{lost} of 10,000");
    }
}
