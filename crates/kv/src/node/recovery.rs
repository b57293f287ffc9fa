//! From what is on disk to a group that can run.

use std::path::Path;
use std::sync::Arc;

use engine::{Engine, FjallEngine};
use raft::{HardState, LogBase, Membership, Payload, Restored};
use stdx::{GroupId, LogIndex, NodeId};
use wal::{Append, Log, Opened, Recovered};

use crate::config::{Config, LogFormat};
use crate::node::disk::DataDir;
use crate::node::error::StartError;
use crate::node::log_writer::{KIND_MEMBERSHIP, decode_entry, encode_base};
use crate::snapshot;
use crate::transport::Identity;

/// What a node starts from.
pub(crate) struct Recovery {
    pub(crate) log: Box<dyn Log>,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) restored: Restored,
}

/// Opens log and engine and makes them agree. Takes as long as the engine needs to load.
pub(crate) fn recover(
    config: &Config,
    data: &DataDir,
    identity: Identity,
    voters: &[NodeId],
    group: GroupId,
) -> Result<Recovery, StartError> {
    let Opened {
        mut log,
        mut groups,
        torn_bytes,
        ..
    } = open_log(config, data, identity)?;
    if torn_bytes > 0 {
        tracing::info!("dropped {torn_bytes} bytes of a write that a crash interrupted");
    }
    let engine = open_engine(config, &data.join("engine"), group)?;
    let snapshots = data.join("snapshots");
    std::fs::create_dir_all(&snapshots).map_err(|source| StartError::Io {
        action: "create",
        path: snapshots.clone(),
        source,
    })?;
    let mut recovered = groups.remove(&group);
    if let Some(installation) = snapshot::pending_installation(&snapshots, &*engine)? {
        let base_index = recovered
            .as_ref()
            .map_or(LogIndex::ZERO, |it| it.base.index);
        if base_index < installation.base.index {
            write_base(&mut *log, group, &installation.base)?;
            drop(log);
            // What the log holds now is for the log to say.
            Opened { log, groups, .. } = open_log(config, data, identity)?;
            recovered = groups.remove(&group);
        }
    }
    snapshot::clean_up(&snapshots)?;
    let restored = restore(recovered.unwrap_or_default(), &*engine, data, voters)?;
    Ok(Recovery {
        log,
        engine,
        restored,
    })
}

fn open_log(config: &Config, data: &DataDir, identity: Identity) -> Result<Opened, StartError> {
    let identity = wal::Identity {
        cluster: identity.cluster,
        node: identity.node,
    };
    let mut options = wal::Options::new(identity);
    options.format = match config.log_format {
        LogFormat::Binary => wal::Format::Binary,
        LogFormat::Text => wal::Format::escaped_text(),
    };
    options.segment_bytes = config.log_segment;
    options.special_kinds = vec![KIND_MEMBERSHIP];
    Ok(match &config.log_disk {
        Some(disk) => wal::open_on(Arc::clone(disk), options)?,
        None => wal::open(&data.join("wal"), options)?,
    })
}

fn open_engine(config: &Config, dir: &Path, group: GroupId) -> Result<Arc<dyn Engine>, StartError> {
    let options = engine::Options {
        group: u32::try_from(group.get()).expect("groups are numbered from zero, densely"),
        memory_bytes_max: config.engine_memory,
        ..engine::Options::default()
    };
    let opened = FjallEngine::open(dir, options);
    let failed = |source| StartError::Engine {
        dir: dir.to_path_buf(),
        source,
    };
    Ok(Arc::new(opened.map_err(failed)?))
}

fn write_base(log: &mut dyn Log, group: GroupId, base: &LogBase) -> Result<(), StartError> {
    let append = Append {
        group,
        vote: None,
        entries: &[],
        base: Some(encode_base(base)),
    };
    log.append(&[append])?;
    log.sync()?;
    Ok(())
}

fn restore(
    recovered: Recovered,
    engine: &dyn Engine,
    data: &DataDir,
    voters: &[NodeId],
) -> Result<Restored, StartError> {
    let Recovered {
        vote,
        base,
        last_index,
        terms,
        special,
    } = recovered;
    let applied = engine.applied();
    if applied < base.index || applied > last_index {
        return Err(StartError::Mismatch {
            dir: data.path().to_path_buf(),
            applied,
            last: last_index,
        });
    }
    let mut members = base.data;
    // The log has no beginning of its own until it is cut for the first time.
    let membership = if base.index == LogIndex::ZERO {
        Arc::new(Membership::of_voters(voters.iter().copied()))
    } else {
        let decoded = raft::wire::decode_membership(&mut members);
        Arc::new(decoded.map_err(|_| StartError::Membership)?)
    };
    let memberships = special.into_iter().map(|entry| {
        let index = entry.index;
        match decode_entry(entry).map(|entry| entry.payload) {
            Some(Payload::Membership(membership)) => Ok((index, membership)),
            Some(Payload::Noop | Payload::Data(_)) | None => Err(StartError::Membership),
        }
    });
    Ok(Restored {
        hard_state: HardState {
            term: vote.term,
            vote: vote.vote,
        },
        base: LogBase {
            index: base.index,
            term: base.term,
            membership,
        },
        last_index,
        terms,
        memberships: memberships.collect::<Result<_, _>>()?,
        applied,
        committed: applied,
    })
}
