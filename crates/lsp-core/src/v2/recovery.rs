//! Losses, probes and pace: RFC 9002 with a model of the path instead of a window that
//! halves.
//!
//! Every packet has a number of its own, so every answer tells which transmission arrived.
//! What a lost packet carried goes into others; the packet itself is never repeated.

use core::ops::Range;
use core::time::Duration;
use std::collections::VecDeque;

use stdx::Instant;

use crate::bandwidth::BandwidthModel;
use crate::recovery::Path;
use crate::reordering::Reordering;
use crate::rtt::RttEstimator;
use crate::send_window::{Sent, Stamp};
use crate::v2::frame::Ack;

/// How far ahead of its pace the sender may be: timers of operating systems are that coarse.
const BURST: Duration = Duration::from_millis(1);
/// How much of what it missed it may make up for, at least what passes in [`BURST`]: ten
/// datagrams, as many as anybody may begin with (RFC 9002, section 7.7). A busy machine wakes
/// a sender later than timers alone explain, and what isn't made up for is lost for good.
const ARREARS_BYTES: u64 = 15_000;
/// How late answers may be without the model taking it for a queue: what both ends' timers
/// and batches add.
const SLACK: Duration = Duration::from_millis(2);
/// Doublings of the probe timeout.
const PROBE_DOUBLINGS_MAX: u32 = 16;
/// Stream frames in one packet.
pub(crate) const PIECES_MAX: usize = 3;
/// Round trips for which a lost packet is remembered, to see whether it was only late.
const LOST_ROUNDS: u32 = 4;

/// What a packet carried, as far as its loss or delivery matters.
#[derive(Clone, Debug)]
pub(crate) struct Flight {
    pub(crate) at: Instant,
    pub(crate) bytes: usize,
    /// Ranges of the stream; unused ones are empty.
    pub(crate) pieces: [Range<u64>; PIECES_MAX],
    pub(crate) limit: bool,
    pub(crate) close: bool,
    /// A try of a longer datagram.
    pub(crate) probe: bool,
    stamp: Stamp,
}

impl Flight {
    pub(crate) fn new(at: Instant) -> Self {
        Self {
            at,
            bytes: 0,
            pieces: [const { 0..0 }; PIECES_MAX],
            limit: false,
            close: false,
            probe: false,
            stamp: Stamp::default(),
        }
    }

    /// Whether it carries something that is sent again when it is lost.
    fn is_worth_repeating(&self) -> bool {
        let data = self.pieces.iter().any(|piece| !piece.is_empty());
        data || self.limit || self.close
    }
}

#[derive(Debug)]
enum Slot {
    /// Answered, or wants no answer.
    Done,
    Flying(Flight),
    /// Given up at that time, because others overtook it or to try again.
    Lost {
        at: Instant,
        overtaken: bool,
    },
}

/// Packets under way.
#[derive(Debug)]
pub(crate) struct Recovery {
    rtt: RttEstimator,
    model: BandwidthModel,
    reordering: Reordering,
    /// By packet number, from `first` on.
    slots: VecDeque<Slot>,
    first: u64,
    /// No packet before this one flies.
    flying_from: u64,
    in_flight: u64,
    largest_acked: Option<u64>,
    loss_at: Option<Instant>,
    probes: u32,
    probed_at: Instant,
    /// Packets that may ignore the model.
    credits: u32,
    paced_until: Instant,
    /// How late the peer's answers may be.
    ack_delay: Duration,
    /// The longest wait for a probe.
    probe_timeout_max: Duration,
    /// Packets lost and delivered in this round of the model.
    lost: u64,
    delivered: u64,
    round: u64,
    /// Losses in a thousand, smoothed.
    loss: u64,
}

impl Recovery {
    pub(crate) fn new(now: Instant, initial_rtt: Duration, probe_timeout_max: Duration) -> Self {
        Self {
            rtt: RttEstimator::new(initial_rtt),
            model: BandwidthModel::with_slack(now, SLACK),
            reordering: Reordering::new(),
            slots: VecDeque::new(),
            first: 0,
            flying_from: 0,
            in_flight: 0,
            largest_acked: None,
            loss_at: None,
            probes: 0,
            probed_at: now,
            credits: 0,
            paced_until: now,
            ack_delay: Duration::ZERO,
            probe_timeout_max,
            lost: 0,
            delivered: 0,
            round: 0,
            loss: 0,
        }
    }

    /// Takes what the peer promised.
    pub(crate) const fn set_ack_delay(&mut self, delay: Duration) {
        self.ack_delay = delay;
    }

    /// Takes a round trip measured on the handshake.
    pub(crate) fn on_handshake(&mut self, rtt: Duration) {
        self.rtt.update(rtt);
    }

    /// The number of the next packet.
    pub(crate) fn next_number(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    /// Whether a datagram of this length may be sent now.
    // spec: LSP2-10.3
    pub(crate) fn permits(&self, now: Instant, bytes: usize) -> bool {
        self.credits > 0 || self.fits(bytes) && self.paced_until <= now.after(BURST)
    }

    fn fits(&self, bytes: usize) -> bool {
        self.in_flight == 0 || self.in_flight + bytes as u64 <= self.model.window_bytes()
    }

    /// Notes that a packet was sent that wants no answer.
    pub(crate) fn on_sent_silent(&mut self) {
        self.slots.push_back(Slot::Done);
        self.trim(None);
    }

    /// Notes that a packet was sent that wants an answer.
    pub(crate) fn on_sent(&mut self, now: Instant, mut flight: Flight) {
        flight.stamp = self.model.on_sent(now, self.in_flight);
        let bytes = flight.bytes as u64;
        self.in_flight += bytes;
        self.credits = self.credits.saturating_sub(1);
        self.slots.push_back(Slot::Flying(flight));
        if let Some(rate) = self.model.pacing_rate(self.rtt.smoothed()) {
            let span = |bytes: u64| {
                let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate);
                Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
            };
            let arrears = span(ARREARS_BYTES).max(BURST);
            let from = self.paced_until.max(before(now, arrears));
            self.paced_until = from.after(span(bytes));
        }
    }

    /// Notes that there is nothing to send although more is permitted.
    pub(crate) fn on_idle(&mut self) {
        if self.in_flight < self.model.window_bytes() {
            self.model.on_idle(self.in_flight);
        }
    }

    /// Takes an acknowledgement: tells `delivered` of each packet that it is news of. Then
    /// comes [`detect_losses`](Self::detect_losses). `None` when it names packets that were
    /// never sent.
    // spec: LSP2-5.4 LSP2-10.1
    pub(crate) fn on_ack(
        &mut self,
        now: Instant,
        ack: &Ack<'_>,
        mut delivered: impl FnMut(u64, &Flight),
    ) -> Option<()> {
        if ack.largest >= self.next_number() {
            return None;
        }
        let mut newest: Option<(u64, Flight)> = None;
        for range in ack.ranges() {
            if range.end <= self.first {
                break;
            }
            for number in (range.start.max(self.first)..range.end).rev() {
                let Some(flight) = self.land(number) else {
                    continue;
                };
                self.in_flight -= flight.bytes as u64;
                self.delivered += 1;
                self.model.on_delivered(now, flight.bytes as u64);
                delivered(number, &flight);
                if newest.as_ref().is_none_or(|&(newest, _)| newest < number) {
                    newest = Some((number, flight));
                }
            }
        }
        self.largest_acked = self.largest_acked.max(Some(ack.largest));
        if let Some((number, flight)) = newest {
            self.probes = 0;
            self.learn(now, ack, number, &flight);
        }
        Some(())
    }

    /// Takes a packet out of the air, if it is there.
    fn land(&mut self, number: u64) -> Option<Flight> {
        let index = usize::try_from(number - self.first).expect("within the window");
        let slot = &mut self.slots[index];
        match core::mem::replace(slot, Slot::Done) {
            Slot::Done => None,
            Slot::Flying(flight) => Some(flight),
            Slot::Lost { overtaken, .. } => {
                if overtaken {
                    self.reordering.on_needless();
                }
                None
            }
        }
    }

    /// Learns from the packet of an acknowledgement that was sent last.
    fn learn(&mut self, now: Instant, ack: &Ack<'_>, number: u64, flight: &Flight) {
        let elapsed = now.since(flight.at);
        let sample = (number == ack.largest).then_some(elapsed);
        if sample.is_some() {
            let delay = Duration::from_micros(ack.delay_micros).min(self.ack_delay);
            let least = self.rtt.min().unwrap_or(elapsed);
            let honest = elapsed >= least + delay;
            self.rtt
                .update(if honest { elapsed - delay } else { elapsed });
        }
        let sent = Sent {
            at: flight.at,
            order: number,
            transmissions: 1,
            bytes: flight.bytes as u64,
            stamp: flight.stamp,
        };
        self.model.on_answer(now, &sent, sample, self.in_flight);
        if self.model.round() != self.round && self.lost + self.delivered >= 32 {
            self.round = self.model.round();
            let share = self.lost * 1_000 / (self.lost + self.delivered);
            self.loss = (self.loss * 7 + share) / 8;
            self.model.set_loss(self.loss);
            self.lost = 0;
            self.delivered = 0;
        }
    }

    /// Gives up packets whose loss is certain enough, telling `lost` of each; how many.
    // spec: LSP2-10.1
    pub(crate) fn detect_losses(&mut self, now: Instant, mut lost: impl FnMut(&Flight)) -> u64 {
        let mut losses = 0;
        self.loss_at = None;
        let delay = self.rtt.loss_delay() + self.reordering.patience(self.rtt.smoothed());
        let largest = self.largest_acked;
        while let Some((number, at)) = self.oldest() {
            let Some(largest) = largest.filter(|&largest| largest > number) else {
                break;
            };
            let lost_at = at.after(delay);
            if number + self.reordering.packets() > largest && lost_at > now {
                self.loss_at = Some(lost_at);
                break;
            }
            lost(&self.give_up(now, number, true));
            losses += 1;
        }
        self.reordering.on_losses(losses);
        self.trim(Some(now));
        losses
    }

    /// The packet that flies longest.
    fn oldest(&mut self) -> Option<(u64, Instant)> {
        self.flying_from = self.flying_from.max(self.first);
        loop {
            let index = usize::try_from(self.flying_from - self.first).expect("within the window");
            match self.slots.get(index)? {
                Slot::Flying(flight) => return Some((self.flying_from, flight.at)),
                Slot::Done | Slot::Lost { .. } => self.flying_from += 1,
            }
        }
    }

    fn give_up(&mut self, now: Instant, number: u64, overtaken: bool) -> Flight {
        let index = usize::try_from(number - self.first).expect("within the window");
        let slot = core::mem::replace(&mut self.slots[index], Slot::Lost { at: now, overtaken });
        let Slot::Flying(flight) = slot else {
            unreachable!("only what flies is given up");
        };
        self.in_flight -= flight.bytes as u64;
        if !flight.probe {
            self.lost += 1;
        }
        flight
    }

    /// Forgets the oldest packets that nothing more is to be learnt of.
    fn trim(&mut self, now: Option<Instant>) {
        let memory = self.rtt.smoothed() * LOST_ROUNDS;
        while let Some(slot) = self.slots.front() {
            match slot {
                Slot::Flying(_) => break,
                Slot::Lost { at, .. } if now.is_none_or(|now| now < at.after(memory)) => break,
                Slot::Lost { .. } | Slot::Done => {}
            }
            self.slots.pop_front();
            self.first += 1;
        }
    }

    /// Does what is due; how many packets were given up.
    // spec: LSP2-10.2
    pub(crate) fn on_timeout(&mut self, now: Instant, mut lost: impl FnMut(&Flight)) -> u64 {
        let mut losses = 0;
        if self.loss_at.is_some_and(|at| at <= now) {
            losses += self.detect_losses(now, &mut lost);
        }
        // While a loss was expected no probe was: what still flies may be due for one by now.
        let mut pings = false;
        loop {
            let due = self.probe_at().is_some_and(|at| at <= now);
            let oldest = self.oldest().filter(|_| due || pings);
            let Some((number, _)) = oldest else {
                if pings {
                    break;
                }
                return losses;
            };
            let flight = self.give_up(now, number, false);
            lost(&flight);
            losses += 1;
            // A try that was too long for the path says nothing of the peer; and rather than
            // another ping goes what was sent after it, if there is something.
            if flight.is_worth_repeating() {
                break;
            }
            pings |= !flight.probe;
        }
        // What a lone probe shows of the rate is the timer's, not the path's.
        self.model.on_idle(self.in_flight);
        self.credits = 1;
        self.probes = (self.probes + 1).min(PROBE_DOUBLINGS_MAX);
        self.probed_at = now;
        losses
    }

    /// Probes in a row without an answer.
    pub(crate) const fn probes(&self) -> u32 {
        self.probes
    }

    /// When a probe is due, if nothing is heard until then: counted from the packet that
    /// flies longest, not from the latest as in RFC 9002. Where messages are rare, waiting
    /// for the answer to the next would cost the time between two.
    fn probe_at(&mut self) -> Option<Instant> {
        let (_, oldest_sent_at) = self.oldest()?;
        if self.loss_at.is_some() {
            return None;
        }
        // A probe may leave nothing in the air: what is sent long after it isn't late.
        let from = if self.probes == 0 {
            oldest_sent_at
        } else {
            self.probed_at.max(oldest_sent_at)
        };
        Some(from.after(self.probe_timeout()))
    }

    /// How long to wait for an answer now.
    pub(crate) fn probe_timeout(&self) -> Duration {
        let patience = self.reordering.patience(self.rtt.smoothed()) + self.ack_delay;
        let timeout = self.rtt.probe_timeout() + patience;
        timeout
            .saturating_mul(1 << self.probes)
            .min(self.probe_timeout_max)
    }

    /// When [`on_timeout`](Self::on_timeout) has something to do.
    pub(crate) fn poll_timeout(&mut self) -> Option<Instant> {
        self.loss_at.or_else(|| self.probe_at())
    }

    /// When the pacer lets the next packet go, if the pacer is what holds it.
    pub(crate) fn paced_until(&self, now: Instant, bytes: usize) -> Option<Instant> {
        let held = self.credits == 0 && self.paced_until > now.after(BURST);
        (held && self.fits(bytes)).then(|| before(self.paced_until, BURST))
    }

    /// The peer can be reached again: what it didn't answer meanwhile is probed for at once.
    // spec: LSP2-7.3
    pub(crate) const fn on_reachable(&mut self) {
        self.probes = 0;
    }

    /// Another path: what was measured on the old one says nothing of it. What flies is
    /// given up, telling `lost` of each.
    // spec: LSP2-7.3
    pub(crate) fn restart(
        &mut self,
        now: Instant,
        initial_rtt: Duration,
        mut lost: impl FnMut(&Flight),
    ) {
        while let Some((number, _)) = self.oldest() {
            lost(&self.give_up(now, number, false));
        }
        self.rtt = RttEstimator::new(initial_rtt);
        self.model = BandwidthModel::with_slack(now, SLACK);
        self.round = 0;
        self.lost = 0;
        self.delivered = 0;
        self.loss = 0;
        self.loss_at = None;
        self.probes = 0;
        self.paced_until = now;
    }

    /// Forgets all packets: the connection is over.
    pub(crate) fn clear(&mut self) {
        self.first = self.next_number();
        self.slots = VecDeque::new();
        self.in_flight = 0;
        self.loss_at = None;
    }

    /// Gives back the memory of busier times.
    pub(crate) fn shrink(&mut self, now: Instant) {
        self.trim(Some(now));
        if self.slots.is_empty() {
            self.slots = VecDeque::new();
        }
    }

    /// What is known of the path.
    pub(crate) fn path(&self) -> Path {
        Path {
            rtt: self.rtt.smoothed(),
            rtt_min: self.rtt.min(),
            rate: self.model.rate(),
            window_bytes: self.model.window_bytes(),
            in_flight: self.in_flight,
        }
    }

    pub(crate) fn check_invariants(&self) {
        let flying = self.slots.iter().filter_map(|slot| match slot {
            Slot::Flying(flight) => Some(flight.bytes as u64),
            Slot::Done | Slot::Lost { .. } => None,
        });
        assert_eq!(flying.sum::<u64>(), self.in_flight, "the sum of bytes");
    }
}

fn before(at: Instant, span: Duration) -> Instant {
    let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    Instant::from_nanos(at.as_nanos().saturating_sub(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v2::frame::{self, Frame};
    use crate::v2::ranges::Ranges;

    const ROUND: Duration = Duration::from_millis(40);

    fn send(recovery: &mut Recovery, now: Instant) {
        let mut flight = Flight::new(now);
        flight.bytes = 100;
        recovery.on_sent(now, flight);
    }

    /// Acknowledges one packet; how many that shows to be lost.
    fn acknowledge(recovery: &mut Recovery, now: Instant, packet: u64) -> u64 {
        let mut ranges = Ranges::new();
        ranges.insert(packet..packet + 1);
        let mut bytes = Vec::new();
        frame::put_ack(&mut bytes, &ranges, 0, 100);
        let Ok(Frame::Ack(ack)) = frame::take(&mut bytes.as_slice()) else {
            panic!("an ack was written");
        };
        assert_eq!(recovery.on_ack(now, &ack, |_, _| {}), Some(()));
        recovery.detect_losses(now, |_| {})
    }

    /// On a steady path a packet is lost, and the next but one due for a probe, at the same
    /// moment: nine eighths of a round trip after both were sent.
    // spec: LSP2-10.1 LSP2-10.2
    #[test]
    fn a_probe_that_is_due_with_a_loss_goes_with_it() {
        let start = Instant::EPOCH;
        let mut recovery = Recovery::new(start, ROUND, Duration::from_secs(1));
        for _ in 0..100 {
            recovery.rtt.update(ROUND);
        }
        for _ in 0..3 {
            send(&mut recovery, start);
        }
        assert_eq!(acknowledge(&mut recovery, start.after(ROUND), 1), 0);
        let at = start.after(ROUND + ROUND / 8);
        assert_eq!(recovery.poll_timeout(), Some(at));
        assert_eq!(recovery.on_timeout(at, |_| {}), 2, "the loss and the probe");
        assert_eq!((recovery.probes(), recovery.credits), (1, 1));
        assert_eq!(recovery.poll_timeout(), None, "nothing flies");
        recovery.check_invariants();
    }

    /// Woken late, a sender makes up for ten datagrams and no more.
    // spec: LSP2-10.3
    #[test]
    fn a_late_sender_catches_up_within_bounds() {
        let mut now = Instant::EPOCH.after(Duration::from_secs(1));
        let mut recovery = Recovery::new(now, ROUND, Duration::from_secs(1));
        let packet = |recovery: &mut Recovery, now| {
            let mut flight = Flight::new(now);
            flight.bytes = 1_500;
            recovery.on_sent(now, flight);
        };
        // Learns a rate: a packet a millisecond.
        let mut sent = 0;
        while sent < 200 {
            packet(&mut recovery, now);
            sent += 1;
            now = now.after(Duration::from_millis(1));
            if sent > 40 {
                acknowledge(&mut recovery, now, sent - 41);
            }
        }
        let rate = recovery.model.pacing_rate(ROUND).unwrap();
        let mut burst_after = |idle: Duration| {
            now = now.after(idle);
            let mut burst = 0_u128;
            while recovery.paced_until <= now.after(BURST) {
                packet(&mut recovery, now);
                burst += 1;
            }
            burst
        };
        burst_after(Duration::ZERO);
        let span = Duration::from_nanos(1_500 * 1_000_000_000 / rate);
        let on_time = burst_after(span);
        assert_eq!(on_time, 1, "at {rate} bytes a second");
        let ahead = 1 + BURST.as_nanos() / span.as_nanos();
        let late = burst_after(span * 1_000);
        assert!(late >= 10 && late <= 11 + ahead, "{late} at once");
    }

    /// The first message after a handshake leaves behind a ping, and must not wait for it.
    // spec: LSP2-10.2
    #[test]
    fn a_probe_takes_along_what_was_sent_after_a_ping() {
        let start = Instant::EPOCH;
        let mut recovery = Recovery::new(start, ROUND, Duration::from_secs(1));
        send(&mut recovery, start);
        let mut data = Flight::new(start.after(Duration::from_millis(1)));
        data.bytes = 100;
        data.pieces[0] = 0..50;
        recovery.on_sent(data.at, data);
        send(&mut recovery, start.after(Duration::from_millis(2)));
        let at = start.after(recovery.probe_timeout());
        let mut lost = Vec::new();
        let losses = recovery.on_timeout(at, |flight| lost.push(flight.pieces[0].clone()));
        assert_eq!((losses, lost), (2, vec![0..0, 0..50]));
        assert_eq!((recovery.probes(), recovery.credits), (1, 1));
        recovery.check_invariants();
    }

    /// What the probe gave up was acknowledged in another packet, so nothing went out for it.
    // spec: LSP2-10.2
    #[test]
    fn a_packet_long_after_a_probe_has_its_own_time() {
        let start = Instant::EPOCH;
        let mut recovery = Recovery::new(start, ROUND, Duration::from_secs(1));
        send(&mut recovery, start);
        let at = start.after(recovery.probe_timeout());
        assert_eq!(recovery.on_timeout(at, |_| {}), 1);
        assert_eq!(recovery.poll_timeout(), None, "nothing flies");
        let later = at.after(Duration::from_secs(5));
        send(&mut recovery, later);
        let due = later.after(recovery.probe_timeout());
        assert_eq!(recovery.poll_timeout(), Some(due));
        assert_eq!(recovery.on_timeout(later, |_| {}), 0, "it isn't late");
        recovery.check_invariants();
    }
}
