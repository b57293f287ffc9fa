//! The service `Admin`.

use kv_proto::admin::v1 as pb;
use stdx::NodeId;
use tonic::{Request, Response, Status};

use super::deadline::within;
use super::status;
use crate::node::{AdminError, Handle, MemberStatus, NodeStatus, Role};

/// Serves operators.
#[derive(Debug)]
pub(super) struct AdminService {
    pub(super) handle: Handle,
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl pb::admin_server::Admin for AdminService {
    async fn status(&self, _request: Request<pb::StatusRequest>) -> Answer<pb::StatusResponse> {
        Ok(Response::new(describe(self.handle.status())))
    }

    async fn add_member(
        &self,
        request: Request<pb::AddMemberRequest>,
    ) -> Answer<pb::AddMemberResponse> {
        let (metadata, _, body) = request.into_parts();
        within(&metadata, async {
            let node = node_id(body.node_id)?;
            let valid = body
                .address
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
            if !valid {
                return Err(Status::invalid_argument(format!(
                    "{:?} is not an address; write host:port",
                    body.address
                )));
            }
            self.done(self.handle.add_member(node, &body.address).await)?;
            Ok(pb::AddMemberResponse {})
        })
        .await
    }

    async fn promote(&self, request: Request<pb::PromoteRequest>) -> Answer<pb::PromoteResponse> {
        let (metadata, _, body) = request.into_parts();
        within(&metadata, async {
            self.done(self.handle.promote(node_id(body.node_id)?).await)?;
            Ok(pb::PromoteResponse {})
        })
        .await
    }

    async fn remove_member(
        &self,
        request: Request<pb::RemoveMemberRequest>,
    ) -> Answer<pb::RemoveMemberResponse> {
        let (metadata, _, body) = request.into_parts();
        within(&metadata, async {
            self.done(self.handle.remove_member(node_id(body.node_id)?).await)?;
            Ok(pb::RemoveMemberResponse {})
        })
        .await
    }

    async fn transfer_leadership(
        &self,
        request: Request<pb::TransferLeadershipRequest>,
    ) -> Answer<pb::TransferLeadershipResponse> {
        let (metadata, _, body) = request.into_parts();
        within(&metadata, async {
            let to = Some(NodeId::new(body.to)).filter(|&node| node != NodeId::ZERO);
            let leader = self.done(self.handle.transfer(to).await)?;
            Ok(pb::TransferLeadershipResponse {
                leader: leader.get(),
            })
        })
        .await
    }
}

impl AdminService {
    fn done<T>(&self, result: Result<T, AdminError>) -> Result<T, Status> {
        result.map_err(|error| status::of_admin(&error, &self.handle))
    }
}

fn node_id(number: u64) -> Result<NodeId, Status> {
    match number {
        0 => Err(Status::invalid_argument("a node id must be 1 or more")),
        number => Ok(NodeId::new(number)),
    }
}

fn role(role: Role) -> pb::Role {
    match role {
        Role::Follower => pb::Role::Follower,
        Role::PreCandidate => pb::Role::PreCandidate,
        Role::Candidate => pb::Role::Candidate,
        Role::Leader => pb::Role::Leader,
        Role::Learner => pb::Role::Learner,
    }
}

fn describe(status: NodeStatus) -> pb::StatusResponse {
    pb::StatusResponse {
        node_id: status.node_id.get(),
        cluster_id: status.cluster_id.into(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        role: role(status.role).into(),
        term: status.term.get(),
        leader: status.leader.map_or(0, NodeId::get),
        leader_address: status
            .leader_address
            .map(|address| address.to_string())
            .unwrap_or_default(),
        last_index: status.last_index.get(),
        committed: status.committed.get(),
        applied: status.applied.get(),
        first_index: status.first_index.get(),
        members: status.members.into_iter().map(member).collect(),
        disk: Some(pb::Disk {
            wal_bytes: status.disk.wal_bytes,
            wal_segments: status.disk.wal_segments,
            engine_bytes: status.disk.engine_bytes,
        }),
        data: Some(pb::Data {
            keys: status.data.keys,
            memory_bytes: status.data.memory_bytes,
        }),
        uptime_ms: u64::try_from(status.uptime.as_millis()).unwrap_or(u64::MAX),
        has_lease: status.has_lease,
    }
}

fn member(member: MemberStatus) -> pb::Member {
    pb::Member {
        node_id: member.node_id.get(),
        address: member
            .address
            .map(|address| address.to_string())
            .unwrap_or_default(),
        voter: member.voter,
        matched: member.matched.get(),
        lag: member.lag,
        state: member.state.to_owned(),
    }
}
