//! `kontiki member`: who belongs to the cluster, and who leads it.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::client::{ClientArgs, committed};

#[derive(Args, Clone, Debug)]
pub(crate) struct MemberArgs {
    #[command(subcommand)]
    change: Change,
}

#[derive(Clone, Debug, Subcommand)]
enum Change {
    /// Add a node as a learner: it gets the data and has no vote. Start it with `serve --join`.
    Add {
        /// An id that this cluster never had.
        id: u64,
        /// `host:port` of the node's gRPC door.
        address: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Give a learner that has caught up a vote.
    Promote {
        /// The learner.
        id: u64,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Remove a node. Its id is never used again.
    Remove {
        /// The node.
        id: u64,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Hand the leadership to another node.
    Transfer {
        /// To this voter; without it, to the one that is the furthest.
        id: Option<u64>,
        #[command(flatten)]
        client: ClientArgs,
    },
}

pub(crate) async fn run(args: MemberArgs) -> Result<ExitCode> {
    match args.change {
        Change::Add {
            id,
            address,
            client,
        } => {
            committed(client.connect()?.add_member(id, &address).await)?;
            println!("node {id} at {address} is a learner now; promote it once it has caught up");
        }
        Change::Promote { id, client } => {
            committed(client.connect()?.promote(id).await)?;
            println!("node {id} has a vote now");
        }
        Change::Remove { id, client } => {
            committed(client.connect()?.remove_member(id).await)?;
            println!("node {id} is no member any longer; stop it, and never use its id again");
        }
        Change::Transfer { id, client } => {
            let leader = committed(client.connect()?.transfer_leadership(id).await)?;
            println!("node {leader} leads now");
        }
    }
    Ok(ExitCode::SUCCESS)
}
