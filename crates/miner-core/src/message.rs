//! What clients, the server and workers tell each other: JSON, as in the original course.
//!
//! An original message has the keys `Type` (0 join, 1 request, 2 result), `Data`, `Lower`,
//! `Upper`, `Hash` and `Nonce`, all of them always. What ours add is in one more key, `Ext`,
//! which an original end skips, as its decoder skips every unknown key:
//!
//! * A worker of ours joins with `Ext: {Version, Speed, Headers}`. Only then do its requests
//!   carry `Ext: {Version, Range, Header}`, of which it repeats `Range` in the result together
//!   with the minima of sixteen pieces, and only it is sent `Type` 4, which takes a range back.
//! * A client of ours asks with `Ext: {Version, Key, Progress, Header}`. Only then is it sent
//!   `Type` 3, the progress of its job.
//! * `Header` says that `Data` is a Bitcoin header, as 160 hexadecimal digits, and not text to be
//!   hashed. Only workers that said `Headers` are asked for one.
//!
//! An original server ignores `Ext` in a join or a request and answers without it, which
//! tells our ends to do without too.

use miner_kernels::{Best, Problem};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::{KEY_BYTES_MAX, MESSAGE_BYTES_MAX, PIECES, WIRE_BYTES_MAX};

/// The version of the extension.
const VERSION: u32 = 1;

/// A message.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// Worker to server: give me work.
    Join {
        /// Nonces per second as the worker measured it; `None` from an original worker.
        speed: Option<f64>,
        /// What it can be asked for.
        takes: Takes,
    },
    /// Client to server, or server to worker: search this range.
    Request {
        /// What is hashed with the nonces.
        data: String,
        /// The first nonce.
        lower: u64,
        /// The last nonce, included.
        upper: u64,
        /// What our own ends add.
        extension: RequestExtension,
    },
    /// Worker to server, or server to client: the smallest hash and its nonce.
    Result {
        /// What was found.
        best: Best,
        /// Which range it is of, and the smallest hashes of its pieces; from our workers.
        range: Option<(u64, Vec<u64>)>,
    },
    /// Server to a client of ours: how many of how many nonces are done.
    Progress {
        /// Done.
        done: u64,
        /// Of so many.
        total: u64,
    },
    /// Server to a worker of ours: this range is no longer needed.
    Cancel {
        /// Which.
        range: u64,
    },
}

/// What a request carries between our own ends.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum RequestExtension {
    /// Nothing: one end is an original.
    #[default]
    None,
    /// From a client.
    Client {
        /// The name under which the job survives a lost connection.
        key: Option<String>,
        /// Whether it wants to be told of progress.
        progress: Progress,
        /// What the data is.
        problem: Problem,
    },
    /// To a worker.
    Worker {
        /// The range's id.
        range: u64,
        /// What the data is.
        problem: Problem,
    },
}

/// What a worker can be asked for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Takes {
    /// Messages, as in the original course.
    #[default]
    Messages,
    /// Bitcoin headers as well.
    Headers,
}

impl Takes {
    /// Whether it can be asked for this.
    #[must_use]
    pub const fn includes(self, problem: Problem) -> bool {
        matches!((self, problem), (Self::Headers, _) | (_, Problem::Cmu))
    }
}

/// Whether a client wants to be told of its job's progress.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Progress {
    /// It is only told the result.
    #[default]
    Unwanted,
    /// About twice a second.
    Wanted,
}

/// Bytes that are not a message.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Not JSON, or not with these keys.
    #[error("not a message of the miner protocol")]
    Json(#[source] serde_json::Error),
    /// Something else than an object.
    #[error("not a JSON object")]
    NotAnObject,
    /// Longer than any message.
    #[error("a message of {0} bytes, beyond the limit of {WIRE_BYTES_MAX}")]
    TooLong(usize),
    /// An unknown type.
    #[error("unknown message type {0}")]
    Type(u64),
    /// The data to hash is too long.
    #[error("{0} bytes of data, beyond the limit of {MESSAGE_BYTES_MAX}")]
    Data(usize),
    /// A part of the extension is missing, or too long.
    #[error("the extension of the message makes no sense")]
    Extension,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
struct Wire {
    r#type: u64,
    data: String,
    lower: u64,
    upper: u64,
    hash: u64,
    nonce: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ext: Option<Ext>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
struct Ext {
    version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    speed: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    range: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    minima: Vec<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    progress: bool,
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    headers: bool,
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    header: bool,
}

impl Ext {
    const fn problem(&self) -> Problem {
        if self.header {
            Problem::Bitcoin
        } else {
            Problem::Cmu
        }
    }
}

impl Message {
    /// Reads a message.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for everything that is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > WIRE_BYTES_MAX {
            return Err(DecodeError::TooLong(bytes.len()));
        }
        // A list would be read as the values of the keys.
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Err(DecodeError::NotAnObject);
        }
        let wire: Wire = serde_json::from_slice(bytes).map_err(DecodeError::Json)?;
        // Another version of the extension is as good as none.
        let ext = wire.ext.filter(|ext| ext.version == VERSION);
        match wire.r#type {
            0 => {
                let (speed, headers) = ext.map_or((None, false), |ext| (ext.speed, ext.headers));
                // Headers are only for who knows ids.
                let takes = match speed {
                    Some(_) if headers => Takes::Headers,
                    _ => Takes::Messages,
                };
                Ok(Self::Join { speed, takes })
            }
            1 if wire.data.len() > MESSAGE_BYTES_MAX => Err(DecodeError::Data(wire.data.len())),
            1 => Ok(Self::Request {
                data: wire.data,
                lower: wire.lower,
                upper: wire.upper,
                extension: ext.map_or(Ok(RequestExtension::None), request_extension)?,
            }),
            2 => Ok(Self::Result {
                best: Best {
                    hash: wire.hash,
                    nonce: wire.nonce,
                },
                range: ext.map(result_range).transpose()?.flatten(),
            }),
            3 => Ok(Self::Progress {
                done: wire.lower,
                total: wire.upper,
            }),
            4 => Ok(Self::Cancel {
                range: ext
                    .and_then(|ext| ext.range)
                    .ok_or(DecodeError::Extension)?,
            }),
            other => Err(DecodeError::Type(other)),
        }
    }

    /// Writes a message.
    ///
    /// # Panics
    ///
    /// Never: a message has nothing that JSON has no form for.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(&self.wire()).expect("numbers and text are always JSON")
    }

    fn wire(&self) -> Wire {
        let ext = Ext {
            version: VERSION,
            ..Ext::default()
        };
        match self {
            Self::Join { speed, takes } => Wire {
                ext: speed.filter(|speed| speed.is_finite()).map(|speed| Ext {
                    speed: Some(speed),
                    headers: *takes == Takes::Headers,
                    ..ext
                }),
                ..Wire::default()
            },
            Self::Request {
                data,
                lower,
                upper,
                extension,
            } => Wire {
                r#type: 1,
                data: data.clone(),
                lower: *lower,
                upper: *upper,
                ext: match extension {
                    RequestExtension::None => None,
                    RequestExtension::Client {
                        key,
                        progress,
                        problem,
                    } => Some(Ext {
                        key: key.clone(),
                        progress: *progress == Progress::Wanted,
                        header: *problem == Problem::Bitcoin,
                        ..ext
                    }),
                    RequestExtension::Worker { range, problem } => Some(Ext {
                        range: Some(*range),
                        header: *problem == Problem::Bitcoin,
                        ..ext
                    }),
                },
                ..Wire::default()
            },
            Self::Result { best, range } => Wire {
                r#type: 2,
                hash: best.hash,
                nonce: best.nonce,
                ext: range.as_ref().map(|(range, minima)| Ext {
                    range: Some(*range),
                    minima: minima.clone(),
                    ..ext
                }),
                ..Wire::default()
            },
            Self::Progress { done, total } => Wire {
                r#type: 3,
                lower: *done,
                upper: *total,
                ..Wire::default()
            },
            Self::Cancel { range } => Wire {
                r#type: 4,
                ext: Some(Ext {
                    range: Some(*range),
                    ..ext
                }),
                ..Wire::default()
            },
        }
    }
}

fn request_extension(ext: Ext) -> Result<RequestExtension, DecodeError> {
    let problem = ext.problem();
    if let Some(range) = ext.range {
        return Ok(RequestExtension::Worker { range, problem });
    }
    if ext
        .key
        .as_ref()
        .is_some_and(|key| key.is_empty() || key.len() > KEY_BYTES_MAX)
    {
        return Err(DecodeError::Extension);
    }
    let progress = if ext.progress {
        Progress::Wanted
    } else {
        Progress::Unwanted
    };
    Ok(RequestExtension::Client {
        key: ext.key,
        progress,
        problem,
    })
}

fn result_range(ext: Ext) -> Result<Option<(u64, Vec<u64>)>, DecodeError> {
    let Some(range) = ext.range else {
        return Ok(None);
    };
    if ext.minima.len() > PIECES {
        return Err(DecodeError::Extension);
    }
    Ok(Some((range, ext.minima)))
}
