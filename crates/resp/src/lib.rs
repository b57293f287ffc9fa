//! The Redis serialization protocol, versions 2 and 3: decoder and encoder; no IO.
