//! Asking a running cluster to be taken in.
//!
//! A node that isn't a member has no cluster id yet, so it can't say hello. It asks instead: one
//! question on a connection of its own, one answer, with the cluster's id and its address book.

use core::time::Duration;

use bytes::{BufMut, Bytes};
use stdx::NodeId;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::node::error::AdminError;
use crate::transport::Book;
use crate::transport::frame::{
    FrameError, ItemBuilder, ItemReader, Kind, PREFACE, put_text, take_text, take_u8, take_u64,
};
use crate::transport::peers::{Asked, Transport};

/// How long one member may take to answer: a change of members needs a round of replication.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

const JOIN: u8 = 1;
const PROMOTE: u8 = 2;

const DONE: u8 = 0;
const NOT_LEADER: u8 = 1;
const REFUSED: u8 = 2;

/// What a member answered.
#[derive(Debug)]
pub(crate) enum Joined {
    /// It is done.
    Done { cluster: u64, book: Book },
    /// Ask there, if an address is given.
    NotLeader { address: Option<String> },
    /// It won't be done like this.
    Refused { reason: String },
}

/// Asks one member to take this node in as a learner.
pub(crate) async fn join(member: &str, node: NodeId, own: &str) -> Result<Joined, FrameError> {
    ask(member, 0, JOIN, node, own).await
}

/// Asks one member to give this node a vote.
pub(crate) async fn promote(
    member: &str,
    cluster: u64,
    node: NodeId,
) -> Result<Joined, FrameError> {
    ask(member, cluster, PROMOTE, node, "").await
}

async fn ask(
    member: &str,
    cluster: u64,
    what: u8,
    node: NodeId,
    own: &str,
) -> Result<Joined, FrameError> {
    let mut item = ItemBuilder::new(Kind::Ask);
    let body = item.body();
    body.put_u64_le(cluster);
    body.put_u8(what);
    body.put_u64_le(node.get());
    put_text(body, own);
    let mut question = Vec::from(PREFACE);
    question.extend_from_slice(&item.finish());
    let exchange = async {
        let stream = TcpStream::connect(member).await?;
        let (reader, mut writer) = stream.into_split();
        writer.write_all(&question).await?;
        ItemReader::new(reader).next().await
    };
    let answered = timeout(ANSWER_TIMEOUT, exchange).await;
    let (kind, body) =
        answered.map_err(|_| FrameError::Io(std::io::ErrorKind::TimedOut.into()))??;
    if kind != Kind::Answer {
        return Err(FrameError::Malformed { what: "an answer" });
    }
    decode_answer(body)
}

pub(crate) fn decode_answer(mut body: Bytes) -> Result<Joined, FrameError> {
    let cluster = take_u64(&mut body)?;
    let code = take_u8(&mut body)?;
    let text = take_text(&mut body)?;
    Ok(match code {
        DONE => Joined::Done {
            cluster,
            book: Book::decode(&mut body)?,
        },
        NOT_LEADER => Joined::NotLeader {
            address: (!text.is_empty()).then_some(text),
        },
        _ => Joined::Refused { reason: text },
    })
}

/// Does what another node asks for, and says how it went.
pub(crate) async fn answer_ask(
    transport: &Transport,
    mut body: Bytes,
) -> Result<Bytes, FrameError> {
    let cluster = take_u64(&mut body)?;
    let what = take_u8(&mut body)?;
    let node = NodeId::new(take_u64(&mut body)?);
    let address = take_text(&mut body)?.into_boxed_str();
    let own_cluster = transport.identity().cluster;
    let outcome = match what {
        JOIN => transport.owner().asked(Asked::Join { node, address }).await,
        PROMOTE if cluster == own_cluster => transport.owner().asked(Asked::Promote { node }).await,
        PROMOTE => Err(AdminError::Refused {
            reason: "this is another cluster".into(),
        }),
        _ => return Err(FrameError::Malformed { what: "a question" }),
    };
    let (code, text) = match outcome {
        Ok(()) => (DONE, String::new()),
        Err(AdminError::NotLeader { address, .. }) => (
            NOT_LEADER,
            address.map_or_else(String::new, |address| address.to_string()),
        ),
        Err(error) => (REFUSED, error.to_string()),
    };
    let mut item = ItemBuilder::new(Kind::Answer);
    let body = item.body();
    body.put_u64_le(own_cluster);
    body.put_u8(code);
    put_text(body, &text);
    transport.book().encode(body);
    Ok(item.finish())
}
