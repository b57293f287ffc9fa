//! The database node: Raft driver, peer transport, RESP, gRPC and HTTP front doors, client library.
