//! The commands, by group. Each file ends with its part of the table.

mod client;
mod cluster;
mod command;
mod config;
mod connection;
mod expiry;
mod info;
mod keys;
mod numbers;
mod object;
mod server;
mod strings;
mod strings_write;
mod transaction;
pub(super) mod unknown;

use super::table::Spec;

pub(super) use info::version;

/// Every group of commands.
pub(super) const ALL: &[&[Spec]] = &[
    strings::SPECS,
    strings_write::SPECS,
    numbers::SPECS,
    keys::SPECS,
    expiry::SPECS,
    object::SPECS,
    transaction::SPECS,
    connection::SPECS,
    client::SPECS,
    command::SPECS,
    config::SPECS,
    server::SPECS,
    info::SPECS,
    cluster::SPECS,
];
