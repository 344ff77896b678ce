//! The entries of a tar archive, one after the other, from a stream.
//!
//! What a header means is what Go's archive/tar makes of it, because that is what docker, containerd and podman unpack
//! with: two readers must not see two layers in the same bytes. So, other than with the tar crate's own reader, the
//! values of pax records may hold newlines (extended attributes do), sparse files of pax are put together again, a
//! number that is left out is zero, and what describes an entry is never larger than [`LARGEST`].

use std::collections::VecDeque;
use std::io::{self, Read};

use tar::{EntryType, Header};

use super::pax::{Records, decimal};
use super::sparse::{self, Piece};
use crate::image::tree::{Chunk, Content};

/// Bytes of a long name, of an entry's pax records or of its sparse map: Go's `maxSpecialFileSize`.
pub(super) const LARGEST: u64 = 1 << 20;
/// An archive is made of these.
pub(super) const BLOCK: usize = 512;
const NO_ARCHIVE: &str = "not a tar archive, plain or compressed with gzip or zstd";

/// What an archive says of an entry. Its content is read from [`Entries`].
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) kind: EntryType,
    /// As it stands there: nothing about it is checked.
    pub(super) name: Vec<u8>,
    /// The target of a link.
    pub(super) link: Vec<u8>,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) mode: u64,
    /// Seconds and nanoseconds since the epoch.
    pub(super) modified: (i64, i64),
    /// Major and minor.
    pub(super) device: (u64, u64),
    /// Extended attributes.
    pub(super) attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

/// An archive that is being read.
pub(super) struct Entries<'a> {
    input: &'a mut dyn Read,
    /// What is left of the entry's content.
    pieces: VecDeque<Piece>,
    /// Bytes between that and the next header.
    padding: u64,
    /// A header was read, so that this is an archive.
    is_archive: bool,
}

/// What headers before an entry's own say of it.
#[derive(Default)]
struct Extra {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    records: Records,
    /// There was one.
    any: bool,
}

impl<'a> Entries<'a> {
    pub(super) fn new(input: &'a mut dyn Read) -> Entries<'a> {
        Entries { input, pieces: VecDeque::new(), padding: 0, is_archive: false }
    }

    /// The next entry, whether or not the content of the last was read; nothing at the archive's end.
    pub(super) fn next_entry(&mut self) -> io::Result<Option<Entry>> {
        self.pass()?;
        let mut extra = Extra::default();
        loop {
            let header = match self.header()? {
                Some(header) => header,
                None if extra.any => return Err(wrong("it ends where an entry was announced")),
                None => return Ok(None),
            };
            match header.entry_type() {
                EntryType::GNULongName => extra.name = Some(self.long_name(&header)?),
                EntryType::GNULongLink => extra.link = Some(self.long_name(&header)?),
                EntryType::XHeader => extra.records = Records::parse(&self.description(&header)?)?,
                // Of all entries that follow: a comment, as of git archive. docker passes it over too.
                EntryType::XGlobalHeader => {
                    self.description(&header)?;
                    continue;
                }
                _ => return self.entry(&header, extra).map(Some),
            }
            extra.any = true;
        }
    }

    fn entry(&mut self, header: &Header, extra: Extra) -> io::Result<Entry> {
        let old = header.as_old();
        let records = &extra.records;
        let size = records.number("size")?.map_or_else(|| number(&old.size), Ok)?;
        let mut entry = Entry {
            kind: header.entry_type(),
            name: extra.name.unwrap_or_else(|| records.text_or("path", &header.path_bytes())),
            link: extra.link.unwrap_or_else(|| {
                records.text_or("linkpath", &header.link_name_bytes().unwrap_or_default())
            }),
            uid: records.number("uid")?.map_or_else(|| number(&old.uid), Ok)?,
            gid: records.number("gid")?.map_or_else(|| number(&old.gid), Ok)?,
            mode: number(&old.mode)?,
            modified: match records.time("mtime") {
                Some(time) => time,
                None => (number(&old.mtime)?.cast_signed(), 0),
            },
            device: device(header)?,
            attributes: records.below("SCHILY.xattr."),
        };
        // Before POSIX a directory was a file whose name ends so.
        if old.linkflag == [0] && entry.name.ends_with(b"/") {
            entry.kind = EntryType::Directory;
        }
        let has_content = !matches!(
            entry.kind,
            EntryType::Link
                | EntryType::Symlink
                | EntryType::Char
                | EntryType::Block
                | EntryType::Directory
                | EntryType::Fifo
        );
        let stored = if has_content { size } else { 0 };
        self.padding = padding(stored);
        self.pieces = match entry.kind {
            EntryType::GNUSparse => sparse::of_gnu(self.input, header, stored)?,
            EntryType::Regular => match sparse::of_pax(self.input, records, stored)? {
                Some(pieces) => {
                    // What stands for the name is for readers that do not know of holes.
                    entry.name = records.text_or("GNU.sparse.name", &entry.name);
                    pieces
                }
                None => VecDeque::from([Piece::data(stored)]),
            },
            _ => VecDeque::from([Piece::data(stored)]),
        };
        Ok(entry)
    }

    fn header(&mut self) -> io::Result<Option<Header>> {
        let mut header = Header::new_old();
        let bytes = header.as_mut_bytes();
        let mut filled = 0;
        while filled < BLOCK {
            match self.input.read(&mut bytes[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) if self.is_archive => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(0) => return Err(wrong(NO_ARCHIVE)),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        // What is wrong with the first header is wrong with the choice of the file.
        let other = |error| if self.is_archive { error } else { wrong(NO_ARCHIVE) };
        let stands = number(&header.as_old().cksum).map_err(other)?;
        // The sum is of the header with blanks in place of the sum. Old tars took bytes for signed.
        let counted = |at: usize, byte: u8| if (148..156).contains(&at) { b' ' } else { byte };
        let bytes = || header.as_bytes().iter().enumerate().map(|(at, byte)| counted(at, *byte));
        let unsigned: u64 = bytes().map(u64::from).sum();
        let signed: i64 = bytes().map(|byte| i64::from(byte.cast_signed())).sum();
        if stands != unsigned && stands.cast_signed() != signed {
            return Err(other(wrong("a header's checksum is not right")));
        }
        self.is_archive = true;
        Ok(Some(header))
    }

    /// The content of an entry that only describes the next one.
    fn description(&mut self, header: &Header) -> io::Result<Vec<u8>> {
        let size = number(&header.as_old().size)?;
        if size > LARGEST {
            return Err(wrong("what it says of one entry is longer than 1 MiB"));
        }
        let mut bytes = vec![0; usize::try_from(size + padding(size)).map_err(io::Error::other)?];
        self.input.read_exact(&mut bytes)?;
        bytes.truncate(usize::try_from(size).map_err(io::Error::other)?);
        Ok(bytes)
    }

    fn long_name(&mut self, header: &Header) -> io::Result<Vec<u8>> {
        let mut name = self.description(header)?;
        if let Some(end) = name.iter().position(|byte| *byte == 0) {
            name.truncate(end);
        }
        Ok(name)
    }

    /// Passes over what is left of the entry.
    fn pass(&mut self) -> io::Result<()> {
        let left = self.pieces.drain(..).map(|piece| piece.data).fold(0, u64::saturating_add);
        if io::copy(&mut self.input.take(left), &mut io::sink())? < left {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // Behind the last entry some archives have none.
        io::copy(&mut self.input.take(std::mem::take(&mut self.padding)), &mut io::sink())?;
        Ok(())
    }
}

impl Content for Entries<'_> {
    fn chunk(&mut self, buffer: &mut [u8]) -> io::Result<Chunk> {
        while let Some(piece) = self.pieces.front_mut() {
            if piece.hole > 0 {
                return Ok(Chunk::Hole(std::mem::take(&mut piece.hole)));
            }
            if piece.data > 0 {
                let wanted = buffer.len().min(usize::try_from(piece.data).unwrap_or(usize::MAX));
                let count = self.input.read(&mut buffer[..wanted])?;
                if count == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                piece.data -= count as u64;
                return Ok(Chunk::Data(count));
            }
            self.pieces.pop_front();
        }
        Ok(Chunk::End)
    }
}

/// From the end of this many bytes to the next block.
fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

/// Nothing but the old format has no place for it.
fn device(header: &Header) -> io::Result<(u64, u64)> {
    match (header.as_ustar(), header.as_gnu()) {
        (Some(header), _) => Ok((number(&header.dev_major)?, number(&header.dev_minor)?)),
        (_, Some(header)) => Ok((number(&header.dev_major)?, number(&header.dev_minor)?)),
        (None, None) => Ok((0, 0)),
    }
}

/// A number of a header: octal digits, or with the first bit set a big-endian binary number. Blank is zero.
pub(super) fn number(field: &[u8]) -> io::Result<u64> {
    if let [first, rest @ ..] = field
        && first & 0x80 != 0
    {
        // Two's complement; of a time before the epoch the upper bytes are all ones.
        let start = if first & 0x40 == 0 { 0 } else { u64::MAX };
        let first = u64::from(first & 0x7f) | (start & !0x7f);
        return Ok(rest.iter().fold(first, |number, byte| number << 8 | u64::from(*byte)));
    }
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    let digits = field.iter().skip_while(|byte| blank(byte)).take_while(|byte| !blank(byte));
    let text: String = digits.map(|byte| char::from(*byte)).collect();
    if text.is_empty() {
        return Ok(0);
    }
    u64::from_str_radix(&text, 8).map_err(|_| wrong("a number in a header is none"))
}

/// An archive that says something that cannot be.
pub(super) fn wrong(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.to_owned())
}

impl Records {
    fn number(&self, key: &str) -> io::Result<Option<u64>> {
        self.get(key).map(decimal).transpose()
    }

    fn text_or(&self, key: &str, otherwise: &[u8]) -> Vec<u8> {
        self.get(key).unwrap_or(otherwise).to_owned()
    }
}
