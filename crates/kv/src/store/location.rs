//! A location as a person writes it.

use core::fmt;
use core::str::FromStr;
use std::path::PathBuf;

use thiserror::Error;

/// Where a store is.
///
/// As text: `host:port[,host:port..]` is a cluster, all else is a directory. A directory whose name
/// looks like an address is written with a slash: `./a:1`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Location {
    /// A database in this process, with its files in a directory; made if it isn't there.
    Directory(PathBuf),
    /// Addresses of some nodes' gRPC doors; one that answers is enough.
    Cluster(Vec<String>),
}

/// A text that is no location.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum LocationError {
    /// Nothing.
    #[error("a location is a directory, or host:port of a node's gRPC door")]
    Empty,
    /// Neither an address nor clearly a directory.
    #[error(
        "{part:?} is not an address: write host:port[,host:port..] of gRPC doors, or ./{text} for a \
         directory of that name"
    )]
    Ambiguous {
        /// What should be an address.
        part: Box<str>,
        /// The whole text.
        text: Box<str>,
    },
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        if text.trim().is_empty() {
            return Err(LocationError::Empty);
        }
        if !could_be_addresses(text) {
            return Ok(Self::Directory(text.into()));
        }
        let parts: Vec<String> = text.split(',').map(|it| it.trim().to_owned()).collect();
        match parts.iter().find(|part| !is_address(part)) {
            None => Ok(Self::Cluster(parts)),
            Some(part) => Err(LocationError::Ambiguous {
                part: part.as_str().into(),
                text: text.into(),
            }),
        }
    }
}

/// The form that [`FromStr`] reads, but for a directory whose name is not Unicode.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(dir) => {
                let dir = dir.display().to_string();
                let prefix = if could_be_addresses(&dir) { "./" } else { "" };
                write!(f, "{prefix}{dir}")
            }
            Self::Cluster(addresses) => f.write_str(&addresses.join(",")),
        }
    }
}

/// Whether a text must be addresses: it has a colon or a comma, and no slash.
fn could_be_addresses(text: &str) -> bool {
    text.contains([':', ',']) && !text.contains(['/', '\\'])
}

fn is_address(part: &str) -> bool {
    part.rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_a_cluster_and_all_else_is_a_directory() {
        let cluster =
            |parts: &[&str]| Location::Cluster(parts.iter().map(|&part| part.to_owned()).collect());
        let directory = |path: &str| Location::Directory(path.into());
        let cases = [
            ("pool-data", directory("pool-data"), "pool-data"),
            ("./a:1", directory("./a:1"), "./a:1"),
            (
                "/var/lib/kontiki",
                directory("/var/lib/kontiki"),
                "/var/lib/kontiki",
            ),
            ("a:1", cluster(&["a:1"]), "a:1"),
            (
                "[::1]:7379, b:2",
                cluster(&["[::1]:7379", "b:2"]),
                "[::1]:7379,b:2",
            ),
        ];
        for (text, location, shown) in cases {
            assert_eq!(text.parse(), Ok(location.clone()), "{text}");
            assert_eq!(location.to_string(), shown);
            assert_eq!(shown.parse(), Ok(location), "{shown}");
        }
        let named_like_an_address = directory("a:1");
        assert_eq!(named_like_an_address.to_string(), "./a:1");
    }

    #[test]
    fn a_mistyped_address_does_not_become_a_directory() {
        for text in ["localhost:http", "a:1,b", "a,b", ":7379", "a:1,"] {
            let error = text.parse::<Location>().unwrap_err().to_string();
            assert!(error.contains("is not an address"), "{text}: {error}");
        }
        assert_eq!("  ".parse::<Location>(), Err(LocationError::Empty));
    }
}
