//! Real files: locks, identities, full disks, readers.
