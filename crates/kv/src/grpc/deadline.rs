//! The caller's deadline: work whose answer nobody waits for any more isn't done.

use core::future::Future;
use core::time::Duration;

use tonic::metadata::MetadataMap;
use tonic::{Response, Status};

/// Answers `DEADLINE_EXCEEDED` when the caller's time is nearly over: a little before the
/// caller itself gives up, so that it hears that instead of a reset stream.
pub(super) async fn within<T>(
    metadata: &MetadataMap,
    work: impl Future<Output = Result<T, Status>>,
) -> Result<Response<T>, Status> {
    let answer = match timeout(metadata) {
        None => work.await,
        Some(timeout) => tokio::time::timeout(timeout - timeout / 20, work)
            .await
            .unwrap_or_else(|_| {
                Err(Status::deadline_exceeded(
                    "the deadline passed; the outcome is unknown",
                ))
            }),
    };
    answer.map(Response::new)
}

/// The header `grpc-timeout`: up to eight digits and a unit.
fn timeout(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3_600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_the_protocol_writes_them() {
        for (text, expected) in [
            ("1S", Some(Duration::from_secs(1))),
            ("250m", Some(Duration::from_millis(250))),
            ("99999999u", Some(Duration::from_micros(99_999_999))),
            ("999999999u", None),
            ("2H", Some(Duration::from_secs(7_200))),
            ("S", None),
            ("", None),
            ("1x", None),
            ("-1S", None),
        ] {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().unwrap());
            assert_eq!(timeout(&metadata), expected, "{text:?}");
        }
    }
}
