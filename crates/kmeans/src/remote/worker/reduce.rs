//! The reducer's work: fetch a partition from every mapper, add it up.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kmeans_kernels::Scale;
use tonic::Status;

use super::State;
use crate::job::join_all;
use crate::limits::{CENTERS_MAX, DIMENSION_MAX, PARTS_MAX};
use crate::part::Sums;
use crate::remote::journal::coordinates;
use crate::remote::{codec, connect, proto};

/// A mapper that takes longer to send its sums is taken for lost.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) async fn reduce(
    state: &Arc<State>,
    request: proto::ReduceRequest,
) -> Result<proto::ReduceReply, Status> {
    let (count, dimension) = (request.count as usize, request.dimension as usize);
    let fits = count <= CENTERS_MAX && (1..=DIMENSION_MAX).contains(&dimension);
    if !fits || request.sources.len() > PARTS_MAX || request.reducers == 0 {
        return Err(Status::invalid_argument("the task makes no sense"));
    }
    let keys = (request.partition as usize..count).step_by(request.reducers as usize);
    let mut total = Sums::zero(keys.len(), dimension);
    let fetches = request
        .sources
        .iter()
        .map(|source| fetch(state, &request, source));
    let mut missing = Vec::new();
    for (source, fetched) in request.sources.iter().zip(join_all(fetches).await) {
        match fetched {
            Ok((counts, sums)) if counts.len() == keys.len() && sums.len() == total.sums.len() => {
                total.add(&counts, &sums);
            }
            Ok(_) => return Err(Status::internal("a mapper sent sums of another shape")),
            Err(status) => {
                tracing::warn!(part = source.part, address = %source.address, %status, "fetch failed");
                state.peers.lock().await.remove(&source.address);
                missing.push(source.part);
            }
        }
    }
    if !missing.is_empty() {
        return Ok(proto::ReduceReply {
            missing,
            ..proto::ReduceReply::default()
        });
    }
    if let Some(directory) = &request.directory {
        write_centers(Path::new(directory), &request, &total).map_err(|error| {
            Status::failed_precondition(format!("cannot write {directory}: {error}"))
        })?;
    }
    Ok(proto::ReduceReply {
        success: true,
        counts: codec::from_u64(&total.counts),
        sums: codec::from_i64(&total.sums),
        missing,
    })
}

async fn fetch(
    state: &Arc<State>,
    request: &proto::ReduceRequest,
    source: &proto::Source,
) -> Result<(Vec<u64>, Vec<i64>), Status> {
    let known = state.peers.lock().await.get(&source.address).cloned();
    let mut client = if let Some(client) = known {
        client
    } else {
        let client = connect(&source.address).await?;
        let mut peers = state.peers.lock().await;
        if peers.len() > PARTS_MAX {
            peers.clear();
        }
        peers.insert(source.address.clone(), client.clone());
        client
    };
    let fetch = client.fetch(proto::FetchRequest {
        run: request.run,
        part: source.part,
        step: request.step,
        partition: request.partition,
        reducers: request.reducers,
    });
    let reply = tokio::time::timeout(FETCH_TIMEOUT, fetch).await;
    let reply = reply
        .map_err(|_| Status::deadline_exceeded("no answer"))??
        .into_inner();
    Ok((codec::to_u64(&reply.counts)?, codec::to_i64(&reply.sums)?))
}

/// The original's file of a reducer: its centroids.
fn write_centers(
    directory: &Path,
    request: &proto::ReduceRequest,
    total: &Sums,
) -> std::io::Result<()> {
    let directory = directory.join("Reducers");
    std::fs::create_dir_all(&directory)?;
    let scale = Scale::from_exponent(request.scale);
    let dimension = request.dimension as usize;
    let mut text = String::new();
    let rows = total
        .sums
        .chunks_exact(dimension)
        .zip(&total.counts)
        .enumerate();
    for (at, (sums, &count)) in rows.filter(|(_, (_, count))| **count > 0) {
        let key = request.partition as usize + at * request.reducers as usize;
        let shifted = sums.iter().zip(&request.shift);
        let center: Vec<f64> = shifted
            .map(|(&sum, shift)| scale.mean(sum, count) + shift)
            .collect();
        text.push_str(&format!("{key},{}\n", coordinates(&center)));
    }
    std::fs::write(
        directory.join(format!("R{}.txt", request.partition + 1)),
        text,
    )
}
