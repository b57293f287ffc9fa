//! After anything happened: events, timers, turns to send, and the sums that the bounds of
//! an endpoint are about.

use std::net::IpAddr;

use stdx::Instant;

use crate::connection::Event;
use crate::endpoint::{Endpoint, Handle};
use crate::state::Phase;

impl Endpoint {
    /// Gives a connection a turn to send.
    pub(super) fn enqueue(&mut self, handle: Handle) {
        if let Some(entry) = self.connections.get_mut(&handle)
            && !entry.queued
            && entry.link.may_send()
        {
            entry.queued = true;
            self.senders.push_back(handle);
        }
    }

    /// After anything happened to a connection: collects its events, keeps its timer and
    /// the sums, and removes it if it is closed.
    pub(super) fn settle(&mut self, now: Instant, handle: Handle) {
        let Some(entry) = self.connections.get_mut(&handle) else {
            return;
        };
        while let Some(event) = entry.link.poll_event() {
            let waits = match event {
                Event::Readable => &mut entry.waiting.readable,
                Event::Writable => &mut entry.waiting.writable,
                Event::Connected | Event::Closed | Event::Lost => &mut false,
            };
            if !*waits {
                *waits = true;
                self.events.push_back((handle, event));
            }
        }
        let timer = entry.link.poll_timeout(now);
        if timer != entry.timer {
            if let Some(at) = entry.timer {
                self.timers.remove(&(at, handle));
            }
            if let Some(at) = timer {
                self.timers.insert((at, handle));
            }
            entry.timer = timer;
        }
        let phase = entry.link.phase();
        self.follow(handle);
        self.recount(handle);
        match phase {
            Phase::Closed => self.remove(handle),
            Phase::Lost => self.unroute(handle),
            Phase::Connecting | Phase::Open | Phase::Draining => {}
        }
    }

    /// Keeps the sums over all connections.
    pub(super) fn recount(&mut self, handle: Handle) {
        let Some(entry) = self.connections.get_mut(&handle) else {
            return;
        };
        let held = entry.link.received_bytes();
        self.held_bytes = self.held_bytes - entry.held_bytes + held;
        entry.held_bytes = held;
        let unproven = entry.link.is_unproven();
        self.unproven = self.unproven - usize::from(entry.unproven) + usize::from(unproven);
        entry.unproven = unproven;
    }

    /// Frees the address of a connection that is over, so that it may connect again.
    fn unroute(&mut self, handle: Handle) {
        if let Some(entry) = self.connections.get(&handle)
            && self.routes.get(&entry.remote) == Some(&handle)
        {
            self.routes.remove(&entry.remote);
        }
    }

    pub(super) fn remove(&mut self, handle: Handle) {
        self.unroute(handle);
        let Some(entry) = self.connections.remove(&handle) else {
            return;
        };
        self.binary.forget(&entry.link);
        if let Some(at) = entry.timer {
            self.timers.remove(&(at, handle));
        }
        self.held_bytes -= entry.held_bytes;
        self.unproven -= usize::from(entry.unproven);
        self.discount(entry.remote.ip());
    }

    pub(super) fn discount(&mut self, ip: IpAddr) {
        if let Some(count) = self.addresses.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                self.addresses.remove(&ip);
            }
        }
    }

    /// Asserts what always holds; tests call it after every input.
    ///
    /// # Panics
    ///
    /// When something that always holds doesn't: a bug.
    pub fn check_invariants(&self) {
        let mut held = 0;
        let mut unproven = 0;
        for entry in self.connections.values() {
            entry.link.check_invariants();
            held += entry.held_bytes;
            unproven += usize::from(entry.unproven);
        }
        assert_eq!(held, self.held_bytes, "the sum of held bytes");
        assert_eq!(unproven, self.unproven, "the count of unproven connections");
        assert!(
            self.timers.len() <= self.connections.len(),
            "one timer each"
        );
        assert!(
            self.routes.len() <= self.connections.len(),
            "one route each"
        );
        self.binary.check_invariants(self.connections.len());
        let addresses: usize = self.addresses.values().sum();
        assert_eq!(addresses, self.connections.len(), "the count per address");
    }
}
