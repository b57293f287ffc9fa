//! Finding losses by round trips instead of epochs.
//!
//! Acks of version 1 are per message, which is all that selective acknowledgement needs.
//! And a peer takes any retransmission, at any time, as legal. So everything that QUIC
//! does on the sender's side (RFC 9002) works towards an original that knows nothing of
//! it: the peer sees duplicates and a faster flow.
//!
//! * A message is **lost** when one that was sent three transmissions later is
//!   acknowledged, or one sent any time later is, and 9/8 of a round trip passed.
//!   The number three grows when it proves too small: an Ack for a message that was
//!   acknowledged before says that sending it again was needless.
//! * When no answer comes at all, a **probe timeout** sends the oldest message again, then waits
//!   twice as long, up to an epoch.
//! * A **pacer** spreads transmissions over the round trip, at the rate of the
//!   [bandwidth model](crate::bandwidth).
//!
//! Transmissions are numbered in the order of sending. The numbers are ours alone: they
//! stand in for the packet numbers that LSP lacks. Which transmission of a message an Ack
//! answers is unknown when there were several; if it came sooner after the last than the
//! shortest round trip, it can't be the last (RACK's rule, RFC 8985).

use core::time::Duration;
use std::collections::BTreeMap;

use stdx::Instant;

use crate::bandwidth::BandwidthModel;
use crate::config::Config;
use crate::message::SeqNum;
use crate::reordering::Reordering;
use crate::rtt::RttEstimator;
use crate::send_window::{SendWindow, Sent};

/// Round trips in which every answer seems too early, after which the path is taken to be
/// shorter.
const EARLY_ROUND_TRIPS_MAX: u32 = 8;
/// What the pacer may send at once.
const BURST: Duration = Duration::from_millis(1);
/// Doublings of the probe timeout.
const PROBE_DOUBLINGS_MAX: u32 = 16;

/// Loss recovery and congestion control of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Recovery {
    rtt: RttEstimator,
    model: BandwidthModel,
    /// Transmissions that are neither answered nor given up, by their order, and when each
    /// was.
    outstanding: BTreeMap<u64, (SeqNum, Instant)>,
    /// Bytes of the outstanding ones.
    in_flight: u64,
    /// The order of the latest transmission that was answered.
    answered: Option<u64>,
    reordering: Reordering,
    /// The message sent last of those that the current Ack or `CAck` acknowledges.
    newest: Option<Sent>,
    /// Of the answers in a row that came sooner than the shortest round trip: when the first
    /// came, and the longest that one took.
    early: Option<(Instant, Duration)>,
    /// When the oldest outstanding one counts as lost.
    loss_at: Option<Instant>,
    /// When the last probe was due.
    probed_at: Instant,
    probes: u32,
    /// Transmissions that ignore the model's window: probes.
    credits: u32,
    /// When the pacer has paid for what was sent.
    paced_until: Instant,
    /// The longest wait for a probe: an epoch, after which the specification would send
    /// again, too.
    probe_timeout_max: Duration,
}

impl Recovery {
    pub(crate) fn new(now: Instant, config: &Config) -> Self {
        Self {
            rtt: RttEstimator::new(config.initial_rtt),
            model: BandwidthModel::new(now),
            outstanding: BTreeMap::new(),
            in_flight: 0,
            answered: None,
            reordering: Reordering::new(),
            newest: None,
            early: None,
            loss_at: None,
            probed_at: now,
            probes: 0,
            credits: 0,
            paced_until: now,
            probe_timeout_max: config.epoch,
        }
    }

    /// Takes a round trip measured on something else than Data: the Connect.
    pub(crate) fn on_handshake(&mut self, rtt: Duration) {
        self.rtt.update(rtt);
    }

    /// Whether a datagram of this length may be sent now.
    // spec: LSP-9.5
    pub(crate) fn permits(&self, now: Instant, bytes: u64) -> bool {
        if self.credits > 0 {
            return true;
        }
        let fits = self.in_flight == 0 || self.in_flight + bytes <= self.model.window_bytes();
        fits && self.paced_until <= now.after(BURST)
    }

    /// Notes that a message was sent, after the window noted it.
    pub(crate) fn on_sent(&mut self, now: Instant, seq: SeqNum, window: &mut SendWindow) {
        let Some(&Sent { order, bytes, .. }) = window.sent(seq) else {
            return;
        };
        let stamp = self.model.on_sent(now, self.in_flight);
        window.set_stamp(seq, stamp);
        self.outstanding.insert(order, (seq, now));
        self.in_flight += bytes;
        self.credits = self.credits.saturating_sub(1);
        if let Some(rate) = self.model.pacing_rate(self.rtt.smoothed()) {
            let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate);
            let span = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
            self.paced_until = self.paced_until.max(now).after(span);
        }
    }

    /// Notes that there is nothing to send although more is permitted.
    pub(crate) fn on_idle(&mut self) {
        if self.in_flight < self.model.window_bytes() {
            self.model.on_idle(self.in_flight);
        }
    }

    /// Takes the acknowledgement of one message. One `CAck` brings several; then comes
    /// [`on_answer`](Self::on_answer).
    pub(crate) fn on_acked(&mut self, now: Instant, sent: &Sent) {
        if self.outstanding.remove(&sent.order).is_some() {
            self.in_flight -= sent.bytes;
        }
        self.probes = 0;
        self.model.on_delivered(now, sent.bytes);
        if self.newest.is_none_or(|newest| newest.order < sent.order) {
            self.newest = Some(*sent);
        }
    }

    /// Ends one Ack or `CAck`: learns from the message of it that was sent last.
    ///
    /// Only that one can have brought the answer about. What a `CAck` says of the others
    /// may be old news whose own answers were lost, and no measure of a round trip.
    // spec: LSP-9.1
    pub(crate) fn on_answer(&mut self, now: Instant) {
        let Some(sent) = self.newest.take() else {
            return;
        };
        let elapsed = now.since(sent.at);
        let once = sent.transmissions == 1;
        let possible = self.rtt.min().is_none_or(|min| elapsed >= min);
        if once {
            self.rtt.update(elapsed);
        }
        if once || possible || self.is_shorter(now, elapsed) {
            self.early = None;
            self.answered = self.answered.max(Some(sent.order));
        }
        let rtt = once.then_some(elapsed);
        self.model.on_answer(now, &sent, rtt, self.in_flight);
    }

    /// Takes an answer that came sooner after the last transmission than the shortest
    /// round trip. It is to an earlier one, or the path became shorter; and if every
    /// message must be sent twice, no sample would ever tell. So when no other answer comes
    /// for some round trips, the one that took longest is believed. A few in a row are
    /// nothing: where Acks get lost, each `CAck` that fills in for them finds messages that
    /// were just sent again.
    fn is_shorter(&mut self, now: Instant, elapsed: Duration) -> bool {
        let (since, longest) = self.early.unwrap_or((now, elapsed));
        let longest = longest.max(elapsed);
        self.early = Some((since, longest));
        if now.since(since) < self.rtt.smoothed() * EARLY_ROUND_TRIPS_MAX {
            return false;
        }
        self.rtt.restart(longest);
        true
    }

    /// Takes an Ack that told nothing new, of a message that was sent: it was sent again
    /// needlessly, so reordering looked like loss.
    // spec: LSP-9.2
    pub(crate) fn on_needless(&mut self) {
        self.reordering.on_needless();
    }

    /// Makes every message due again whose loss is certain enough; how many.
    // spec: LSP-9.2
    pub(crate) fn detect_losses(&mut self, now: Instant, window: &mut SendWindow) -> u64 {
        let mut losses = 0;
        self.loss_at = None;
        let Some(answered) = self.answered else {
            return losses;
        };
        let delay = self.rtt.loss_delay() + self.reordering.patience(self.rtt.smoothed());
        while let Some((&order, &(seq, _))) = self.outstanding.first_key_value() {
            if order >= answered {
                break;
            }
            let Some(sent) = window.sent(seq) else {
                self.outstanding.remove(&order);
                continue;
            };
            let lost_at = sent.at.after(delay);
            if order + self.reordering.packets() > answered && lost_at > now {
                self.loss_at = Some(lost_at);
                break;
            }
            self.in_flight -= sent.bytes;
            self.outstanding.remove(&order);
            window.resend(seq);
            losses += 1;
        }
        self.reordering.on_losses(losses);
        losses
    }

    /// Does what is due; how many messages became due again.
    // spec: LSP-9.3
    pub(crate) fn on_timeout(&mut self, now: Instant, window: &mut SendWindow) -> u64 {
        let mut losses = 0;
        if self.loss_at.is_some_and(|at| at <= now) {
            losses = self.detect_losses(now, window);
        }
        // While a loss was expected no probe was: what is still out may be due for one by now.
        if self.probe_at().is_none_or(|at| at > now) {
            return losses;
        }
        let seq = self.probe_target(window);
        if let Some(sent) = window.sent(seq)
            && self.outstanding.remove(&sent.order).is_some()
        {
            self.in_flight -= sent.bytes;
        }
        window.resend(seq);
        // What a lone probe shows of the rate is the timer's, not the path's.
        self.model.on_idle(self.in_flight);
        self.credits = 1;
        self.probes = (self.probes + 1).min(PROBE_DOUBLINGS_MAX);
        self.probed_at = now;
        losses + 1
    }

    /// What a probe repeats: first the transmission that waits longest; if that brought
    /// no answer, the first of the window. The peer's reader waits for that one, a peer
    /// that drops what is early takes no other, and its Ack, being to the latest
    /// transmission, tells of all before it.
    fn probe_target(&self, window: &SendWindow) -> SeqNum {
        let (first, _) = window.span();
        match self.outstanding.first_key_value() {
            Some((_, &(oldest, _))) if self.probes == 0 => oldest,
            _ => first,
        }
    }

    /// When a probe is due, if nothing is heard until then.
    ///
    /// The first counts from the transmission that waits longest, not from the latest as
    /// in RFC 9002: peers of LSP delay no Ack, and where messages are rare, waiting for the
    /// answer to the next one would cost the time between two.
    fn probe_at(&self) -> Option<Instant> {
        let (_, &(_, oldest_sent_at)) = self.outstanding.first_key_value()?;
        if self.loss_at.is_some() {
            return None;
        }
        // What is sent long after a probe isn't late.
        let from = if self.probes == 0 {
            oldest_sent_at
        } else {
            self.probed_at.max(oldest_sent_at)
        };
        let patience = self.reordering.patience(self.rtt.smoothed());
        let timeout = self.rtt.probe_timeout() + patience;
        let doubled = timeout.saturating_mul(1 << self.probes);
        Some(from.after(doubled.min(self.probe_timeout_max)))
    }

    /// When [`on_timeout`](Self::on_timeout) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.loss_at.or_else(|| self.probe_at())
    }

    /// When the pacer lets the next message go, if the pacer is what holds it.
    pub(crate) fn paced_until(&self, now: Instant, bytes: u64) -> Option<Instant> {
        let fits = self.in_flight == 0 || self.in_flight + bytes <= self.model.window_bytes();
        let held = self.credits == 0 && self.paced_until > now.after(BURST);
        let burst = u64::try_from(BURST.as_nanos()).expect("a millisecond");
        let nanos = self.paced_until.as_nanos().saturating_sub(burst);
        (fits && held).then_some(Instant::from_nanos(nanos))
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

    /// Asserts what always holds.
    pub(crate) fn check_invariants(&self, window: &SendWindow) {
        let bytes: u64 = self
            .outstanding
            .iter()
            .map(|(&order, &(seq, _))| {
                let sent = window
                    .sent(seq)
                    .expect("outstanding messages are in the window");
                assert_eq!(sent.order, order, "a message is outstanding once");
                sent.bytes
            })
            .sum();
        assert_eq!(bytes, self.in_flight, "the count of bytes in flight");
    }
}

/// What a connection knows of its path; a view for people and metrics.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Path {
    /// The smoothed round-trip time.
    pub rtt: Duration,
    /// The shortest one measured.
    pub rtt_min: Option<Duration>,
    /// The rate that the path was seen to carry, bytes a second; zero if unknown.
    pub rate: u64,
    /// How many bytes may be under way.
    pub window_bytes: u64,
    /// How many are.
    pub in_flight: u64,
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const ROUND: Duration = Duration::from_millis(40);

    struct Sender {
        recovery: Recovery,
        window: SendWindow,
        order: u64,
    }

    impl Sender {
        fn new(now: Instant) -> Self {
            let mut recovery = Recovery::new(now, &Config::adaptive());
            for _ in 0..100 {
                recovery.rtt.update(ROUND);
            }
            Self {
                recovery,
                window: SendWindow::new(SeqNum::new(1)),
                order: 0,
            }
        }

        fn write(&mut self, messages: usize) {
            for _ in 0..messages {
                self.window.push(Bytes::from_static(b"x"));
            }
        }

        fn send(&mut self, now: Instant) {
            let candidate = self.window.candidate(100, 100).unwrap();
            self.order += 1;
            self.window.on_sent(&candidate, now, self.order, 100);
            self.recovery.on_sent(now, candidate.seq, &mut self.window);
        }

        fn acknowledge(&mut self, now: Instant, seq: u64) -> u64 {
            let sent = self.window.on_ack(SeqNum::new(seq)).unwrap();
            self.recovery.on_acked(now, &sent);
            self.recovery.on_answer(now);
            self.recovery.detect_losses(now, &mut self.window)
        }

        fn on_timeout(&mut self, now: Instant) -> u64 {
            let again = self.recovery.on_timeout(now, &mut self.window);
            self.recovery.check_invariants(&self.window);
            again
        }
    }

    /// On a steady path a message is lost, and the next but one due for a probe, at the same
    /// moment: nine eighths of a round trip after both were sent.
    // spec: LSP-9.2 LSP-9.3
    #[test]
    fn a_probe_that_is_due_with_a_loss_goes_with_it() {
        let start = Instant::EPOCH;
        let mut sender = Sender::new(start);
        sender.write(3);
        for _ in 0..3 {
            sender.send(start);
        }
        assert_eq!(sender.acknowledge(start.after(ROUND), 2), 0);
        let at = start.after(ROUND + ROUND / 8);
        assert_eq!(sender.recovery.poll_timeout(), Some(at));
        assert_eq!(sender.on_timeout(at), 2, "the loss and the probe");
        assert_eq!((sender.recovery.probes, sender.recovery.credits), (1, 1));
        assert_eq!(sender.recovery.poll_timeout(), None, "nothing is out");
    }

    /// A socket without room may keep the message of a probe back for long.
    // spec: LSP-9.3
    #[test]
    fn what_leaves_long_after_its_probe_has_its_own_time() {
        let start = Instant::EPOCH;
        let mut sender = Sender::new(start);
        sender.write(1);
        sender.send(start);
        let at = start.after(ROUND + ROUND / 8);
        assert_eq!(sender.on_timeout(at), 1);
        assert_eq!(sender.recovery.poll_timeout(), None, "nothing is out");
        let later = at.after(Duration::from_secs(5));
        sender.send(later);
        assert_eq!(sender.on_timeout(later), 0, "it isn't late");
        let due = later.after((ROUND + ROUND / 8) * 2);
        assert_eq!(sender.recovery.poll_timeout(), Some(due));
    }
}
