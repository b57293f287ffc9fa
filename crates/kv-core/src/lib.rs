//! Commands, key layout and the replicated key/value state machine; no IO, no clock.
