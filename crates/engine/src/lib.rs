//! Storage engines behind kv-core's table: memory, and a write-back slot table over an LSM.
