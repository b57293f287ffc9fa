//! `kontiki member`: who belongs to the cluster, and who leads it.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use kv_proto::admin::v1 as proto;

use crate::client::{Client, ClientArgs};

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
            id: node_id,
            address,
            client,
        } => {
            let request = proto::AddMemberRequest {
                node_id,
                address: address.clone(),
            };
            let mut client = Client::new(&client)?;
            client
                .admin(async |mut admin| Ok(admin.add_member(request.clone()).await?))
                .await?;
            println!(
                "node {node_id} at {address} is a learner now; promote it once it has caught up"
            );
        }
        Change::Promote {
            id: node_id,
            client,
        } => {
            let mut client = Client::new(&client)?;
            let request = proto::PromoteRequest { node_id };
            client
                .admin(async |mut admin| Ok(admin.promote(request).await?))
                .await?;
            println!("node {node_id} has a vote now");
        }
        Change::Remove {
            id: node_id,
            client,
        } => {
            let mut client = Client::new(&client)?;
            let request = proto::RemoveMemberRequest { node_id };
            client
                .admin(async |mut admin| Ok(admin.remove_member(request).await?))
                .await?;
            println!("node {node_id} is no member any longer; stop it, and never use its id again");
        }
        Change::Transfer { id, client } => {
            let mut client = Client::new(&client)?;
            let request = proto::TransferLeadershipRequest {
                to: id.unwrap_or(0),
            };
            let reply = client
                .admin(async |mut admin| Ok(admin.transfer_leadership(request).await?.into_inner()))
                .await?;
            println!("node {} leads now", reply.leader);
        }
    }
    Ok(ExitCode::SUCCESS)
}
