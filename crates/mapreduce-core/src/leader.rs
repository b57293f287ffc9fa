//! Who leads, where several coordinators share a store.
//!
//! The leader writes one key again and again, each time on the condition that it is as it left
//! it. A standby that sees it unchanged for long takes it. So a leader that lives is left alone,
//! and one that is dead is replaced; that one which was replaced can't do any harm is not the
//! key's doing: the epochs in the journals see to that.
//!
//! [`Leadership`] does no input or output: it says what to [`Ask`] of the store, one question
//! at a time, and takes in the [`Answer`].

use core::time::Duration;

use serde::{Deserialize, Serialize};
use stdx::Instant;

use crate::config::Config;

/// What the key holds.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Term {
    /// Drawn at random by each process that would lead.
    pub owner: u64,
    /// Where it is, for people.
    pub address: String,
    /// How often it was written since its owner took it.
    pub renewed: u64,
}

/// How often the leader writes, and how long others wait.
#[derive(Clone, Debug)]
pub struct LeaderTimes {
    /// How often the key is written.
    pub renew: Duration,
    /// A leader that didn't write for so long is replaced, and gives up by itself.
    pub patience: Duration,
    /// The bug to show, for the simulator.
    #[cfg(feature = "planted")]
    pub planted: Option<crate::planted::PlantedBug>,
}

impl LeaderTimes {
    /// Both times.
    #[must_use]
    pub const fn new(renew: Duration, patience: Duration) -> Self {
        Self {
            renew,
            patience,
            #[cfg(feature = "planted")]
            planted: None,
        }
    }

    /// With the bug that a job's configuration shows: nothing, outside of the simulator.
    #[must_use]
    pub fn planted_like(self, config: &Config) -> Self {
        #[cfg(feature = "planted")]
        let planted = Self {
            planted: config.planted,
            ..self
        };
        #[cfg(not(feature = "planted"))]
        let planted = {
            let _: &Config = config;
            self
        };
        planted
    }
}

/// A question to the store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ask {
    /// What does the key hold?
    Read,
    /// Write this if the key has this version; if it is absent, where there is none.
    Write {
        /// What to write.
        term: Term,
        /// On which condition.
        expected: Option<u64>,
    },
}

/// The store's answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// To a read: the key's version, and what it holds.
    Found(Option<(u64, Term)>),
    /// It is written: the key's new version.
    Written(u64),
    /// The condition didn't hold.
    Conflict,
    /// Nobody knows.
    Failed,
}

/// Where one that would lead stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// Somebody else leads, or nobody yet.
    Waiting,
    /// This one leads.
    Leads,
    /// This one has led. It can start again as another owner.
    Deposed,
}

/// The version that the key must have to be taken; none if it must be absent.
#[derive(Clone, Copy, Debug)]
struct Condition(Option<u64>);

#[derive(Clone, Debug)]
enum State {
    /// The version that was seen last, and since when; and the condition on which to take it.
    Waiting {
        seen: Option<(u64, Instant)>,
        take: Option<Condition>,
    },
    Leading {
        version: u64,
        renewed: u64,
        /// The last write that succeeded was asked for then.
        confirmed: Instant,
        /// Somebody wrote: was it an earlier try of this one?
        doubt: bool,
    },
    Deposed,
}

/// One that would lead.
#[derive(Clone, Debug)]
pub struct Leadership {
    owner: u64,
    address: String,
    times: LeaderTimes,
    state: State,
    /// When the question that is on its way was asked.
    asked: Option<Instant>,
    ask_at: Instant,
}

impl Leadership {
    /// Waits for its turn.
    #[must_use]
    pub const fn new(owner: u64, address: String, times: LeaderTimes, now: Instant) -> Self {
        Self {
            owner,
            address,
            times,
            state: State::Waiting {
                seen: None,
                take: None,
            },
            asked: None,
            ask_at: now,
        }
    }

    /// What to ask now; nothing while a question is on its way.
    pub fn poll_ask(&mut self, now: Instant) -> Option<Ask> {
        if let State::Leading { confirmed, .. } = self.state
            && now >= confirmed.after(self.times.patience)
        {
            // Others may have taken over by now.
            self.resign();
        }
        if self.asked.is_some() || now < self.ask_at {
            return None;
        }
        let ask = match self.state {
            State::Waiting { take: None, .. } | State::Leading { doubt: true, .. } => Ask::Read,
            State::Waiting {
                take: Some(Condition(expected)),
                ..
            } => Ask::Write {
                term: self.term(0),
                expected,
            },
            State::Leading {
                version, renewed, ..
            } => Ask::Write {
                term: self.term(renewed + 1),
                expected: Some(version),
            },
            State::Deposed => return None,
        };
        self.asked = Some(now);
        Some(ask)
    }

    /// The answer to the question that was on its way; one to an earlier question must not be
    /// given.
    pub fn on_answer(&mut self, now: Instant, answer: Answer) {
        let Some(asked) = self.asked.take() else {
            return;
        };
        self.ask_at = now;
        match self.state {
            State::Waiting { seen, take } => self.while_waiting(now, asked, answer, seen, take),
            State::Leading { .. } => self.while_leading(now, asked, answer),
            State::Deposed => {}
        }
    }

    fn while_waiting(
        &mut self,
        now: Instant,
        asked: Instant,
        answer: Answer,
        seen: Option<(u64, Instant)>,
        take: Option<Condition>,
    ) {
        let again = now.after(self.times.renew / 2);
        let mut wait = |seen, take| self.state = State::Waiting { seen, take };
        match (answer, take) {
            (Answer::Written(version), Some(_)) => self.lead(version, 0, asked),
            // An earlier try arrived after all.
            (Answer::Found(Some((version, term))), _) if term.owner == self.owner => {
                self.lead(version, term.renewed, asked);
            }
            (Answer::Found(None), _) => wait(None, Some(Condition(None))),
            (Answer::Found(Some((version, _))), _) => {
                let since = seen.filter(|(known, _)| *known == version);
                let since = since.map_or(now, |(_, since)| since);
                let due = now >= since.after(self.times.patience) || self.is_impatient();
                self.state = State::Waiting {
                    seen: Some((version, since)),
                    take: due.then_some(Condition(Some(version))),
                };
                if !due {
                    self.ask_at = again;
                }
            }
            (Answer::Conflict, _) => wait(None, None),
            (Answer::Written(_) | Answer::Failed, _) => {
                wait(seen, None);
                self.ask_at = again;
            }
        }
    }

    fn while_leading(&mut self, now: Instant, asked: Instant, answer: Answer) {
        let owner = self.owner;
        let State::Leading {
            version,
            renewed,
            confirmed,
            doubt,
        } = &mut self.state
        else {
            return;
        };
        match answer {
            Answer::Written(new) => {
                *version = new;
                *renewed += 1;
                *confirmed = asked;
                self.ask_at = asked.after(self.times.renew);
            }
            Answer::Found(Some((new, term))) if term.owner == owner => {
                *version = new;
                *doubt = false;
            }
            Answer::Found(_) => self.resign(),
            Answer::Conflict => *doubt = true,
            Answer::Failed => self.ask_at = now.after(self.times.renew / 4),
        }
    }

    fn lead(&mut self, version: u64, renewed: u64, asked: Instant) {
        self.state = State::Leading {
            version,
            renewed,
            confirmed: asked,
            doubt: false,
        };
        self.ask_at = asked.after(self.times.renew);
    }

    /// Leads no more: its journal was taken, or it couldn't say for too long that it leads.
    pub fn resign(&mut self) {
        self.state = State::Deposed;
    }

    /// Where it stands.
    #[must_use]
    pub const fn standing(&self) -> Standing {
        match self.state {
            State::Waiting { .. } => Standing::Waiting,
            State::Leading { .. } => Standing::Leads,
            State::Deposed => Standing::Deposed,
        }
    }

    /// When [`Leadership::poll_ask`] wants to be called, if no answer comes before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Waiting { .. } => self.asked.is_none().then_some(self.ask_at),
            State::Leading { confirmed, .. } => {
                let gives_up = confirmed.after(self.times.patience);
                Some(if self.asked.is_some() {
                    gives_up
                } else {
                    gives_up.min(self.ask_at)
                })
            }
            State::Deposed => None,
        }
    }

    fn term(&self, renewed: u64) -> Term {
        Term {
            owner: self.owner,
            address: self.address.clone(),
            renewed,
        }
    }

    #[cfg(feature = "planted")]
    fn is_impatient(&self) -> bool {
        self.times.planted == Some(crate::planted::PlantedBug::ImpatientStandby)
    }

    #[cfg(not(feature = "planted"))]
    #[expect(clippy::unused_self, reason = "the planted bug asks")]
    const fn is_impatient(&self) -> bool {
        false
    }
}
