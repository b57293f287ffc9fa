//! Fetching a reduce's extents from the workers that have them.
//!
//! Each extent is fetched whole before the reduce sees it, into memory or, if it is large, into
//! a file: so a source that dies in the middle costs a repetition and not the reduce. While an
//! extent can't be had, the coordinator is told, and says where else it is.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Cursor, Read, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use mapreduce_core::{AttemptId, Source, WorkerId};
use mapreduce_data::{Cancel, Extent, Fetched, ShuffleSource, SourceError};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::timeout;
use tonic::transport::Channel;

use crate::error::{Context as _, Error};
use crate::limits;
use crate::wire;
use crate::wire::v1::FetchRequest;
use crate::wire::v1::shuffle_client::ShuffleClient;
use crate::worker::outputs::Outputs;
use crate::worker::session::FromAttempt;

/// Where the maps' outputs are; changes when one is executed again.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    by_map: Mutex<BTreeMap<u32, (Source, String)>>,
    changed: Notify,
}

impl Sources {
    pub(crate) fn put(&self, source: Source, address: String) {
        self.by_map
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(source.map, (source, address));
        self.changed.notify_waiters();
    }

    fn get(&self, map: u32) -> Option<(Source, String)> {
        let by_map = self.by_map.lock().unwrap_or_else(PoisonError::into_inner);
        by_map.get(&map).cloned()
    }
}

/// Connections to other workers, kept for all attempts.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    by_address: tokio::sync::Mutex<HashMap<String, Channel>>,
}

impl Channels {
    async fn to(&self, address: &str) -> Result<Channel, Error> {
        let known = self.by_address.lock().await.get(address).cloned();
        if let Some(channel) = known {
            return Ok(channel);
        }
        let channel = crate::worker::dial(address).await?;
        let mut channels = self.by_address.lock().await;
        channels.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }

    async fn forget(&self, address: &str) {
        self.by_address.lock().await.remove(address);
    }
}

/// What a fetching task needs.
#[derive(Clone, Debug)]
pub(crate) struct Fetcher {
    pub(crate) me: WorkerId,
    pub(crate) job: String,
    pub(crate) attempt: AttemptId,
    pub(crate) partition: u32,
    pub(crate) maps: u32,
    pub(crate) dir: PathBuf,
    pub(crate) sources: Arc<Sources>,
    pub(crate) channels: Arc<Channels>,
    pub(crate) outputs: Arc<Outputs>,
    pub(crate) cancel: Cancel,
    pub(crate) news: mpsc::Sender<FromAttempt>,
}

/// An extent that is here.
#[derive(Debug)]
pub(crate) enum Delivery {
    Extent {
        map: u32,
        extent: Extent,
        body: Body,
    },
    Failed {
        map: u32,
        error: Error,
    },
    End,
}

#[derive(Debug)]
pub(crate) enum Body {
    Memory(Cursor<Vec<u8>>),
    File(io::Take<File>),
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Memory(bytes) => bytes.read(buffer),
            Self::File(file) => file.read(buffer),
        }
    }
}

impl Fetcher {
    /// Starts fetching; what arrives comes out of the source.
    pub(crate) fn start(self, runtime: &tokio::runtime::Handle) -> Extents {
        let (sender, receiver) = mpsc::channel(limits::FETCHES_MAX);
        runtime.spawn(self.fetch_all(sender));
        Extents { receiver }
    }

    async fn fetch_all(self, sender: mpsc::Sender<Delivery>) {
        let slots = Arc::new(Semaphore::new(limits::FETCHES_MAX));
        let mut tasks = tokio::task::JoinSet::new();
        for map in 0..self.maps {
            let empty = self
                .sources
                .get(map)
                .is_some_and(|(source, _)| source.tally.records == 0);
            if empty {
                continue;
            }
            // Taken here and given back after the hand-over: the bound on what is in memory.
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
                return;
            };
            if self.cancel.is_cancelled() || sender.is_closed() {
                return;
            }
            let (fetcher, sender) = (self.clone(), sender.clone());
            tasks.spawn(async move {
                if let Some(delivery) = fetcher.fetch_one(map).await {
                    // The reduce ended early if nobody receives.
                    let _gone = sender.send(delivery).await;
                }
                drop(slot);
            });
        }
        while tasks.join_next().await.is_some() {}
        if !self.cancel.is_cancelled() {
            let _gone = sender.send(Delivery::End).await;
        }
    }

    /// Fetches one extent, from whoever has it, until it is here or the attempt is cancelled.
    async fn fetch_one(&self, map: u32) -> Option<Delivery> {
        let (mut pause, longest) = limits::FETCH_BACKOFF;
        while !self.cancel.is_cancelled() {
            let changed = self.sources.changed.notified();
            if let Some((source, address)) = self.sources.get(map) {
                if source.tally.records == 0 {
                    return None;
                }
                match self.try_fetch(&source, &address).await {
                    Ok((extent, body)) => return Some(Delivery::Extent { map, extent, body }),
                    Err(Trouble::Here(error)) => return Some(Delivery::Failed { map, error }),
                    Err(Trouble::There(error)) => {
                        tracing::info!(map, %address, "cannot fetch: {}", error.line());
                        self.channels.forget(&address).await;
                        let news = FromAttempt::FetchFailed {
                            key: (self.job.clone(), self.attempt),
                            map,
                            source: source.attempt,
                        };
                        // Said again after the next try.
                        let _full = self.news.try_send(news);
                    }
                }
            }
            // Another source may be named meanwhile.
            let _elapsed = timeout(pause, changed).await;
            pause = (pause * 2).min(longest);
        }
        None
    }

    async fn try_fetch(&self, source: &Source, address: &str) -> Result<(Extent, Body), Trouble> {
        if source.worker == self.me {
            return self.open_own(source);
        }
        let channel = self.channels.to(address).await.map_err(Trouble::There)?;
        let mut client =
            ShuffleClient::new(channel).max_decoding_message_size(limits::MESSAGE_BYTES_MAX);
        let request = FetchRequest {
            job: self.job.clone(),
            attempt: source.attempt.to_string(),
            partition: self.partition,
        };
        let mut chunks = patient(client.fetch(request)).await?.into_inner();
        let first = patient(chunks.message()).await?;
        let extent: Extent = first
            .ok_or_else(|| Error::new("the answer is empty"))
            .and_then(|chunk| wire::decode(&chunk.extent))
            .map_err(Trouble::There)?;
        if extent.records != source.tally.records
            || extent.digest.to_u128() != source.tally.digest.0
        {
            return Err(Trouble::There(Error::new(
                "it has another extent than the map reported",
            )));
        }
        let mut spool = Spool::new(&extent, || self.dir.join(format!("fetch-{}", source.map)))
            .map_err(Trouble::Here)?;
        while let Some(chunk) = patient(chunks.message()).await? {
            spool.write(&chunk.data).map_err(Trouble::Here)?;
            if self.cancel.is_cancelled() {
                return Err(Trouble::Here(Error::new("cancelled")));
            }
        }
        let body = spool.finish(&extent)?;
        Ok((extent, body))
    }

    /// This worker's own output needs no network.
    fn open_own(&self, source: &Source) -> Result<(Extent, Body), Trouble> {
        let key = (self.job.clone(), source.attempt);
        match self.outputs.open(&key, self.partition) {
            Ok(Some((file, extent))) => Ok((extent, Body::File(file.take(extent.len)))),
            Ok(None) => Err(Trouble::There(Error::new("this worker has it no more"))),
            Err(error) => Err(Trouble::There(
                Error::new("cannot open the output").because(error),
            )),
        }
    }
}

/// Whose fault it is that an extent is not here.
enum Trouble {
    /// This worker's.
    Here(Error),
    /// The other's, or the network's.
    There(Error),
}

/// Waits for a message for a bounded time.
async fn patient<T>(answer: impl Future<Output = Result<T, tonic::Status>>) -> Result<T, Trouble> {
    let late = |_| Trouble::There(Error::new("no answer for too long"));
    timeout(limits::FETCH_PATIENCE, answer)
        .await
        .map_err(late)?
        .map_err(|status| Trouble::There(Error::new(status.message())))
}

/// An extent that is coming in.
enum Spool {
    Memory(Vec<u8>),
    File(File, u64),
}

impl Spool {
    fn new(extent: &Extent, path: impl FnOnce() -> PathBuf) -> Result<Self, Error> {
        if extent.len <= limits::FETCH_MEMORY_MAX {
            let size = usize::try_from(extent.len).unwrap_or(0);
            return Ok(Self::Memory(Vec::with_capacity(size)));
        }
        let path = path();
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .context(format!("cannot create {}", path.display()))?;
        // It needs no name: nothing is left behind, whatever happens.
        std::fs::remove_file(&path).context(format!("cannot remove {}", path.display()))?;
        Ok(Self::File(file, 0))
    }

    fn write(&mut self, data: &[u8]) -> Result<(), Error> {
        match self {
            Self::Memory(bytes) => bytes.extend_from_slice(data),
            Self::File(file, written) => {
                file.write_all(data)
                    .context("cannot write what was fetched")?;
                *written += data.len() as u64;
            }
        }
        Ok(())
    }

    fn finish(self, extent: &Extent) -> Result<Body, Trouble> {
        let short = || Trouble::There(Error::new("the answer has the wrong length"));
        match self {
            Self::Memory(bytes) if bytes.len() as u64 == extent.len => {
                Ok(Body::Memory(Cursor::new(bytes)))
            }
            Self::File(mut file, written) if written == extent.len => {
                file.seek(SeekFrom::Start(0))
                    .context("cannot read what was fetched")
                    .map_err(Trouble::Here)?;
                Ok(Body::File(file.take(extent.len)))
            }
            Self::Memory(_) | Self::File(..) => Err(short()),
        }
    }
}

/// The extents of one reduce as they arrive.
#[derive(Debug)]
pub(crate) struct Extents {
    receiver: mpsc::Receiver<Delivery>,
}

impl ShuffleSource for Extents {
    fn next(&mut self) -> Result<Option<Fetched<'_>>, (u32, SourceError)> {
        match self.receiver.blocking_recv() {
            Some(Delivery::Extent { map, extent, body }) => Ok(Some(Fetched {
                map_task: map,
                extent,
                body: Box::new(body),
            })),
            Some(Delivery::Failed { map, error }) => {
                Err((map, SourceError::Io(io::Error::other(error.line()))))
            }
            Some(Delivery::End) => Ok(None),
            None => Err((0, SourceError::Io(io::ErrorKind::Interrupted.into()))),
        }
    }
}
