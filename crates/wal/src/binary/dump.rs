//! Printing segments.

use std::io::Write;
use std::sync::Arc;

use super::Failure;
use super::record::{Body, HEADER_BYTES, Header, Kind};
use super::recover::read_header;
use super::replay::find_evidence;
use super::segment::{SEGMENT_HEADER_BYTES, Segment, segment_sequence, spare_number};
use crate::disk::{Disk, read_all};
use crate::dump::{DumpError, entry_line};
use crate::error::OpenError;
use crate::shape::BaseRule;
use crate::text::PayloadText;

/// Prints all segments with their records.
pub(crate) fn dump_segments(
    disk: &dyn Disk,
    payloads: &dyn PayloadText,
    out: &mut dyn Write,
) -> Result<(), DumpError> {
    let list = Failure::on("list", disk.root().to_path_buf());
    let names = disk
        .list("")
        .map_err(|source| OpenError::from(list(source)))?;
    for name in &names {
        if let Some(sequence) = segment_sequence(name) {
            dump_segment(disk, name, sequence, payloads, out)?;
        } else if spare_number(name).is_some() {
            writeln!(out, "{name}: kept for later")?;
        }
    }
    Ok(())
}

fn dump_segment(
    disk: &dyn Disk,
    name: &str,
    sequence: u64,
    payloads: &dyn PayloadText,
    out: &mut dyn Write,
) -> Result<(), DumpError> {
    let path = disk.path(name);
    let fail = |source| OpenError::from(Failure::on("read", path.clone())(source));
    let file = disk.open(name).map_err(fail)?;
    let (header, salt) = match read_header(disk, name, &*file) {
        Ok(found) => found,
        Err(OpenError::Corrupt(error)) => {
            writeln!(out, "{name}: {error}")?;
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let content = read_all(&*file).map_err(fail)?;
    writeln!(
        out,
        "{name}: {} bytes, follows on a segment that ends at byte {}",
        header.bytes, header.previous.end
    )?;
    let segment = Segment {
        sequence,
        file: Arc::clone(&file),
        name: name.to_owned(),
        path,
        salt,
        bytes: header.bytes,
    };
    dump_records(&segment, &content, payloads, out)
}

fn dump_records(
    segment: &Segment,
    content: &[u8],
    payloads: &dyn PayloadText,
    out: &mut dyn Write,
) -> Result<(), DumpError> {
    let mut at = u64::from(SEGMENT_HEADER_BYTES);
    let mut link = segment.salt;
    let ending = loop {
        let start = usize::try_from(at).unwrap_or(usize::MAX);
        let rest = content.get(start..).unwrap_or_default();
        let Some(header) = Header::parse(rest, segment.salt) else {
            break "no record";
        };
        if header.previous != link {
            break "a record that is not linked to the one before";
        }
        let body = rest.get(HEADER_BYTES..HEADER_BYTES + header.body_bytes as usize);
        let Some(body) = body.filter(|body| crc32c::crc32c(body) == header.body_crc) else {
            break "a damaged or unfinished record";
        };
        match header.kind {
            Kind::Mark => break "everything before is durable",
            Kind::Opened => writeln!(out, "  {at}: opened")?,
            Kind::Append => dump_append(at, body, payloads, out)?,
        }
        link = header.link;
        at += header.record_bytes();
    };
    writeln!(out, "  {at}: {ending}")?;
    let end = u32::try_from(at).unwrap_or(u32::MAX);
    if let Some((evidence, synced)) = find_evidence(segment, content, end) {
        writeln!(
            out,
            "  {evidence}: a record says that all before byte {synced} was durable"
        )?;
    }
    Ok(())
}

fn dump_append(
    at: u64,
    body: &[u8],
    payloads: &dyn PayloadText,
    out: &mut dyn Write,
) -> Result<(), DumpError> {
    let Some(body) = Body::parse(body) else {
        writeln!(out, "  {at}: a record that this program can't decode")?;
        return Ok(());
    };
    write!(out, "  {at}: {}", body.group)?;
    if let Some(vote) = body.vote {
        write!(out, " term {}", vote.term)?;
        match vote.vote {
            Some(node) => write!(out, " voted for {node}")?,
            None => write!(out, " voted for nobody")?,
        }
    }
    if let Some((base, rule)) = &body.base {
        let effect = match rule {
            BaseRule::Keep => "base",
            BaseRule::Reset => "log restarts after",
        };
        write!(out, " {effect} {} {}", base.index, base.term)?;
    }
    writeln!(out)?;
    let mut entries = body.entries;
    while let Some(entry) = entries.take_next() {
        match entry {
            Ok(entry) => writeln!(out, "    {}", entry_line(&entry.to_entry(), payloads))?,
            Err(_malformed) => writeln!(out, "    an entry that this program can't decode")?,
        }
    }
    Ok(())
}
