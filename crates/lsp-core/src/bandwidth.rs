//! A model of the path: how much it carries, and how far the other end is.
//!
//! Loss is a bad measure of congestion on a radio link: at 10 % random loss, a sender
//! that halves its rate at every loss stands still. This one does as BBR does (Cardwell
//! and others, 2016): it measures the rate at which messages are *acknowledged* and the
//! shortest round trip, and keeps about their product under way. It begins by doubling
//! until the rate stops growing (`Startup`), lets the queue that this made run dry
//! (`Drain`), then cruises, trying a little more and a little less in turns
//! (`Cruise`), and now and then sends almost nothing for a moment to see the shortest
//! round trip again (`Probe`).
//!
//! It is version 1 of the algorithm without its refinements: in version 1 of LSP, the window
//! caps what it can do wrong. Within that cap it stays fair enough, since it never holds more than
//! two products of rate and round trip. Arithmetic is in bytes and nanoseconds, integers
//! only, so that every machine computes the same.

use core::time::Duration;

use stdx::Instant;

use crate::send_window::{Sent, Stamp};

/// A datagram for the purposes of the least window.
const DATAGRAM_BYTES: u64 = 1_500;
/// What may be under way before anything is known: RFC 9002 would say 10 datagrams; a
/// batch of small messages fits.
const INITIAL_BYTES: u64 = 32 * DATAGRAM_BYTES;
/// The least that may always be under way.
const LEAST_BYTES: u64 = 4 * DATAGRAM_BYTES;
/// Gains in percent: 2/ln 2 doubles the rate every round trip.
const STARTUP_GAIN: u64 = 289;
const DRAIN_GAIN: u64 = 35;
const CRUISE_WINDOW_GAIN: u64 = 200;
const CRUISE_GAINS: [u64; 8] = [125, 75, 100, 100, 100, 100, 100, 100];
/// How long a shortest round trip is believed.
const MIN_RTT_AGE_MAX: Duration = Duration::from_secs(10);
/// How long the probe for a new one lasts.
const PROBE_SPAN: Duration = Duration::from_millis(200);
/// The most losses in a thousand that are taken for the path's own.
const LOSS_MAX: u64 = 300;
/// Round trips over which the highest rate is remembered.
const RATE_ROUNDS: usize = 10;

/// What the model is doing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mode {
    Startup,
    Drain,
    Cruise { step: usize, since: Instant },
    Probe { until: Instant },
}

/// The path as the sender sees it.
#[derive(Clone, Debug)]
pub(crate) struct BandwidthModel {
    mode: Mode,
    /// The highest rate in each of the latest rounds that showed one, bytes a second.
    rates: [u64; RATE_ROUNDS],
    /// The place in `rates` of the latest of them, and its round.
    rate_slot: usize,
    rate_round: u64,
    round: u64,
    /// The round ends when a message is acknowledged that was sent after this many bytes
    /// were delivered.
    round_ends: u64,
    min_rtt: Option<Duration>,
    min_rtt_at: Instant,
    delivered: u64,
    delivered_at: Instant,
    first_sent_at: Instant,
    /// Samples are limited until this many bytes are delivered.
    limited_until: u64,
    /// The best rate when it last grew by a quarter, and rounds since.
    full_rate: u64,
    full_rounds: u32,
    /// How much later than the path alone would have it an answer may come.
    slack: Duration,
    /// How many in a thousand are lost on the way, whatever we do.
    loss: u64,
}

impl BandwidthModel {
    pub(crate) const fn new(now: Instant) -> Self {
        Self {
            mode: Mode::Startup,
            rates: [0; RATE_ROUNDS],
            rate_slot: 0,
            rate_round: 0,
            round: 0,
            round_ends: 0,
            min_rtt: None,
            min_rtt_at: now,
            delivered: 0,
            delivered_at: now,
            first_sent_at: now,
            limited_until: 0,
            full_rate: 0,
            full_rounds: 0,
            slack: Duration::ZERO,
            loss: 0,
        }
    }

    /// A model for a peer whose answers are late by up to `slack`, for company.
    pub(crate) const fn with_slack(now: Instant, slack: Duration) -> Self {
        let mut model = Self::new(now);
        model.slack = slack;
        model
    }

    /// Takes note of how many in a thousand get lost. What is lost adds nothing to the
    /// deliveries that the rate is measured by; without counting it in, a path that loses a
    /// fifth would be used to four fifths, then to four fifths of that.
    // spec: LSP2-10.3
    pub(crate) fn set_loss(&mut self, permille: u64) {
        self.loss = permille.min(LOSS_MAX);
    }

    /// Rounds so far: times that what was under way came to be answered.
    pub(crate) const fn round(&self) -> u64 {
        self.round
    }

    /// Notes a transmission; its stamp. `in_flight` is without it.
    pub(crate) fn on_sent(&mut self, now: Instant, in_flight: u64) -> Stamp {
        if in_flight == 0 {
            self.delivered_at = now;
            self.first_sent_at = now;
        }
        Stamp {
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent_at: self.first_sent_at,
            limited: self.limited_until > self.delivered,
        }
    }

    /// Notes that there was nothing to send although the model allowed more: rates
    /// measured now are the application's, not the path's.
    pub(crate) fn on_idle(&mut self, in_flight: u64) {
        self.limited_until = (self.delivered + in_flight).max(1);
    }

    /// Notes a delivery.
    pub(crate) const fn on_delivered(&mut self, now: Instant, bytes: u64) {
        self.delivered += bytes;
        self.delivered_at = now;
    }

    /// Learns from the message of an answer that was sent last. `rtt` is `None` when it
    /// was sent more than once.
    // spec: LSP-9.5
    pub(crate) fn on_answer(
        &mut self,
        now: Instant,
        sent: &Sent,
        rtt: Option<Duration>,
        in_flight: u64,
    ) {
        self.first_sent_at = self.first_sent_at.max(sent.at);
        if let Some(rtt) = rtt {
            self.update_min_rtt(now, rtt);
        }
        let new_round = sent.stamp.delivered >= self.round_ends;
        if new_round {
            self.round += 1;
            self.round_ends = self.delivered;
        }
        self.update_rate(now, sent);
        self.advance(now, new_round, sent.stamp.limited, in_flight);
    }

    fn update_min_rtt(&mut self, now: Instant, rtt: Duration) {
        let expired = now.since(self.min_rtt_at) > MIN_RTT_AGE_MAX;
        if self.min_rtt.is_none_or(|min| rtt <= min || expired) {
            self.min_rtt = Some(rtt);
            self.min_rtt_at = now;
            if expired && !matches!(self.mode, Mode::Startup | Mode::Probe { .. }) {
                let until = now.after(PROBE_SPAN.max(rtt));
                self.mode = Mode::Probe { until };
            }
        }
    }

    fn update_rate(&mut self, now: Instant, sent: &Sent) {
        let stamp = &sent.stamp;
        let ack_span = now.since(stamp.delivered_at);
        let send_span = sent.at.since(stamp.first_sent_at);
        let span = ack_span.max(send_span);
        // A shorter span than a round trip means that the answer was to an earlier
        // transmission of the same message.
        if span.is_zero() || self.min_rtt.is_some_and(|min| span < min) {
            return;
        }
        let rate = per_second(self.delivered - stamp.delivered, span);
        if stamp.limited && rate <= self.rate() {
            return;
        }
        // Rounds that showed nothing don't age what others showed: a flow that pauses
        // must not forget its path.
        if self.rate_round != self.round {
            self.rate_round = self.round;
            self.rate_slot = (self.rate_slot + 1) % RATE_ROUNDS;
            self.rates[self.rate_slot] = 0;
        }
        self.rates[self.rate_slot] = self.rates[self.rate_slot].max(rate);
    }

    fn advance(&mut self, now: Instant, new_round: bool, limited: bool, in_flight: u64) {
        match self.mode {
            Mode::Startup if new_round && !limited => self.check_full(),
            Mode::Drain if in_flight <= self.product(100) => {
                self.mode = Mode::Cruise {
                    step: 2,
                    since: now,
                };
            }
            Mode::Cruise { step, since }
                if now.since(since) >= self.min_rtt.unwrap_or_default() =>
            {
                self.mode = Mode::Cruise {
                    step: (step + 1) % CRUISE_GAINS.len(),
                    since: now,
                };
            }
            Mode::Probe { until } if now >= until => {
                self.min_rtt_at = now;
                self.mode = Mode::Cruise {
                    step: 2,
                    since: now,
                };
            }
            Mode::Startup | Mode::Drain | Mode::Cruise { .. } | Mode::Probe { .. } => {}
        }
    }

    /// The path is full when three rounds in a row didn't bring a quarter more.
    fn check_full(&mut self) {
        let rate = self.rate();
        if rate >= self.full_rate + self.full_rate / 4 {
            self.full_rate = rate;
            self.full_rounds = 0;
            return;
        }
        self.full_rounds += 1;
        if self.full_rounds >= 3 {
            self.mode = Mode::Drain;
        }
    }

    /// The highest rate of the latest rounds, bytes a second; zero before a sample.
    pub(crate) fn rate(&self) -> u64 {
        self.rates.iter().copied().max().unwrap_or(0)
    }

    /// How fast to send, bytes a second; `None` before anything is known.
    ///
    /// Never slower than the least window each round trip: what may be under way must be
    /// possible to send, and without sending no better rate would ever be seen.
    // spec: LSP-9.5
    pub(crate) fn pacing_rate(&self, round_trip: Duration) -> Option<u64> {
        let rate = self.rate();
        if rate == 0 {
            return None;
        }
        let least = per_second(LEAST_BYTES, round_trip.max(Duration::from_nanos(1)));
        let gain = match self.mode {
            Mode::Startup => STARTUP_GAIN,
            Mode::Drain => DRAIN_GAIN,
            Mode::Cruise { step, .. } => CRUISE_GAINS[step],
            Mode::Probe { .. } => 100,
        };
        let sent = rate.saturating_mul(1_000) / (1_000 - self.loss);
        Some((sent.saturating_mul(gain) / 100).max(least))
    }

    /// How many bytes may be under way.
    // spec: LSP-9.5
    pub(crate) fn window_bytes(&self) -> u64 {
        match self.mode {
            Mode::Probe { .. } => LEAST_BYTES,
            Mode::Startup => self.product(STARTUP_GAIN).max(INITIAL_BYTES),
            Mode::Drain | Mode::Cruise { .. } => self.product(CRUISE_WINDOW_GAIN).max(LEAST_BYTES),
        }
    }

    /// Rate times shortest round trip, times a gain in percent.
    fn product(&self, gain: u64) -> u64 {
        let nanos = (self.min_rtt.unwrap_or_default() + self.slack).as_nanos();
        let bytes = u128::from(self.rate()) * nanos / 1_000_000_000;
        let gained = bytes * u128::from(gain) / 100;
        u64::try_from(gained).unwrap_or(u64::MAX)
    }
}

/// Bytes a second.
fn per_second(bytes: u64, span: Duration) -> u64 {
    let rate = u128::from(bytes) * 1_000_000_000 / span.as_nanos();
    u64::try_from(rate).unwrap_or(u64::MAX)
}
