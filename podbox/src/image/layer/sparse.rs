//! Files with holes: GNU tar's own form and its three forms within pax (GNU tar's manual, "Storing Sparse Files").
//!
//! Each has a map of where the stored bytes belong. GNU's own has it in the header and in blocks behind it; pax has it
//! in records (0.0, 0.1) or as decimal numbers before the content (1.0).

use std::collections::VecDeque;
use std::io::{self, Read};

use tar::{GnuExtSparseHeader, GnuSparseHeader, Header};

use super::entries::{BLOCK, LARGEST, number, wrong};
use super::pax::{Records, decimal};

/// A hole, and the bytes behind it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Bytes that are not stored.
    pub(super) hole: u64,
    /// Bytes that are.
    pub(super) data: u64,
}

impl Piece {
    /// No hole.
    pub(super) fn data(data: u64) -> Piece {
        Piece { hole: 0, data }
    }
}

/// Offsets and lengths of the stored bytes.
type Map = Vec<(u64, u64)>;

/// As `tar --sparse` writes by default.
pub(super) fn of_gnu(input: &mut dyn Read, header: &Header, stored: u64) -> io::Result<VecDeque<Piece>> {
    let header = header.as_gnu().ok_or_else(|| wrong("a sparse file without GNU tar's header"))?;
    let mut map = Map::new();
    add(&mut map, &header.sparse)?;
    let mut more = header.is_extended();
    while more {
        if map.len() as u64 > LARGEST / 16 {
            return Err(wrong("a sparse file has too many pieces"));
        }
        let mut block = GnuExtSparseHeader::new();
        input.read_exact(block.as_mut_bytes())?;
        add(&mut map, block.sparse())?;
        more = block.is_extended();
    }
    pieces(&map, number(&header.realsize)?, stored)
}

fn add(map: &mut Map, entries: &[GnuSparseHeader]) -> io::Result<()> {
    for entry in entries.iter().filter(|entry| !entry.is_empty()) {
        map.push((entry.offset()?, entry.length()?));
    }
    Ok(())
}

/// As `tar --sparse --format=pax` writes. Nothing if the file has no holes.
pub(super) fn of_pax(
    input: &mut dyn Read,
    records: &Records,
    stored: u64,
) -> io::Result<Option<VecDeque<Piece>>> {
    let of = |key: &str| records.get(&format!("GNU.sparse.{key}"));
    let version = (of("major").unwrap_or(b"0"), of("minor").unwrap_or(b"0"));
    let (map, stored) = match version {
        (b"1", b"0") => map_before_content(input, stored)?,
        (b"0", b"0" | b"1") => match of("map") {
            Some(map) => (pairs(map.split(|byte| *byte == b',').map(decimal))?, stored),
            None if of("numblocks").is_some() => (map_in_records(records)?, stored),
            None => return Ok(None),
        },
        _ => return Err(wrong("a sparse file of a version that nobody knows")),
    };
    let real = of("realsize").or_else(|| of("size")).ok_or_else(|| wrong("a sparse file without a size"))?;
    pieces(&map, decimal(real)?, stored).map(Some)
}

/// 0.0: a record for each offset and each length.
fn map_in_records(records: &Records) -> io::Result<Map> {
    let all = records.below("GNU.sparse.");
    let numbers = all.iter().filter(|(key, _)| matches!(key.as_slice(), b"offset" | b"numbytes"));
    pairs(numbers.map(|(_, value)| decimal(value)))
}

/// 1.0: the number of pieces, then offset and length of each, a line each, filled up to whole blocks. Also returns how
/// many bytes of the content are behind it.
fn map_before_content(input: &mut dyn Read, mut stored: u64) -> io::Result<(Map, u64)> {
    let mut text = Vec::new();
    let mut lines: u64 = 0;
    let mut wanted = None;
    while wanted.is_none_or(|wanted| lines < wanted) {
        let mut block = [0; BLOCK];
        stored = stored.checked_sub(BLOCK as u64).ok_or_else(|| wrong("a sparse file's map has no end"))?;
        input.read_exact(&mut block)?;
        lines += block.iter().filter(|byte| **byte == b'\n').count() as u64;
        text.extend(block);
        if wanted.is_none()
            && let Some(end) = text.iter().position(|byte| *byte == b'\n')
        {
            wanted = Some(decimal(&text[..end])?.saturating_mul(2).saturating_add(1));
        }
        if text.len() as u64 > LARGEST {
            return Err(wrong("a sparse file has too many pieces"));
        }
    }
    let count = usize::try_from(wanted.unwrap_or(1)).map_err(io::Error::other)?;
    let numbers = text.split(|byte| *byte == b'\n').take(count).skip(1).map(decimal);
    Ok((pairs(numbers)?, stored))
}

fn pairs(mut numbers: impl Iterator<Item = io::Result<u64>>) -> io::Result<Map> {
    let mut map = Map::new();
    while let Some(offset) = numbers.next() {
        let length = numbers.next().ok_or_else(|| wrong("a sparse file's map is half a pair"))?;
        map.push((offset?, length?));
    }
    Ok(map)
}

/// Pieces of a file of `real` bytes, `stored` of which are in the archive.
fn pieces(map: &[(u64, u64)], real: u64, stored: u64) -> io::Result<VecDeque<Piece>> {
    let mut out = VecDeque::with_capacity(map.len() + 1);
    let (mut at, mut listed) = (0_u64, 0_u64);
    for (offset, length) in map {
        let hole = offset.checked_sub(at).ok_or_else(|| wrong("a sparse file's pieces overlap"))?;
        let end = offset.checked_add(*length).filter(|end| *end <= real);
        at = end.ok_or_else(|| wrong("a sparse file's piece lies behind its end"))?;
        listed = listed.saturating_add(*length);
        out.push_back(Piece { hole, data: *length });
    }
    if listed != stored {
        return Err(wrong("a sparse file has another length than its pieces"));
    }
    out.push_back(Piece { hole: real - at, data: 0 });
    Ok(out)
}
