//! Nodes with real files and real connections, in one process: what a single node keeps over a
//! restart, and what three of them keep when one is lost.

mod cluster;
mod members;
mod single;
mod three;
