//! The shared log on disk of all of a node's Raft groups: checksummed, torn-write safe, binary or text.
