//! Transactions. They are run by the connection, which holds the queue.

use crate::resp_server::table::{Control, Flags, Spec};

const CONTROL: Flags = Flags::NOSCRIPT
    .with(Flags::LOADING)
    .with(Flags::STALE)
    .with(Flags::FAST);

pub(super) const SPECS: &[Spec] = &[
    Spec::control("multi", 1, Control::Multi)
        .flags(CONTROL)
        .docs("transactions", "1.2.0", "Begins a transaction."),
    Spec::control("exec", 1, Control::Exec)
        .flags(Flags::NOSCRIPT.with(Flags::LOADING).with(Flags::STALE))
        .docs(
            "transactions",
            "1.2.0",
            "Runs what was queued, all at one moment.",
        ),
    Spec::control("discard", 1, Control::Discard)
        .flags(CONTROL)
        .docs("transactions", "2.0.0", "Forgets what was queued."),
    Spec::control("watch", -2, Control::Watch)
        .flags(CONTROL)
        .keys(crate::resp_server::table::Keys::ALL)
        .docs("transactions", "2.2.0", "Not supported."),
    Spec::control("unwatch", 1, Control::Unwatch)
        .flags(CONTROL)
        .docs("transactions", "2.2.0", "Does nothing."),
];
