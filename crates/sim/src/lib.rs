//! A deterministic world: clock, network, disk, processes, swarm-drawn faults, traces, checkers.
