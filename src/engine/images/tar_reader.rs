//! Reads a tar stream entry by entry: ustar, GNU long names and PAX, with every bound that a hostile archive
//! makes necessary. It is the engine's only tar parser: what is scanned is what is unpacked. It writes
//! nothing; `unpack` does.
//!
//! While it reads, it can record everything but the files' contents (the skeleton), so that the archive can be
//! made again byte by byte from the unpacked tree.

use std::io::{self, Read};

use crate::engine::images::skeleton::SkeletonWriter;

const BLOCK: usize = 512;
const PATH_MAX_BYTES: usize = 4096;
/// Bound of one PAX header or GNU long name: capabilities and ACLs fit, memory stays small.
const EXTENSION_MAX_BYTES: u64 = 1 << 20;

/// What an entry makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink,
    Symlink,
    CharDevice,
    BlockDevice,
    Directory,
    Fifo,
}

/// One entry, with PAX and GNU extensions applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    pub(crate) path: Vec<u8>,
    /// Target of a link, empty otherwise.
    pub(crate) link: Vec<u8>,
    /// Permission bits with setuid, setgid and sticky.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime_seconds: i64,
    pub(crate) mtime_nanoseconds: u32,
    /// Bytes of content that follow.
    pub(crate) size: u64,
    pub(crate) device_major: u32,
    pub(crate) device_minor: u32,
    pub(crate) xattrs: Vec<(String, Vec<u8>)>,
}

/// The parser. `Read` gives the content of the current entry.
pub(crate) struct TarReader<R> {
    inner: R,
    /// Content of the current entry that was not read yet.
    remaining: u64,
    padding: u64,
    skeleton: Option<SkeletonWriter>,
    /// The current content comes from the unpacked tree again: it is not recorded.
    from_tree: bool,
    ended: bool,
}

#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<(i64, u32)>,
    xattrs: Vec<(String, Vec<u8>)>,
}

fn malformed(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("invalid tar: {what}"))
}

impl<R: Read> TarReader<R> {
    pub(crate) fn new(inner: R) -> Self {
        TarReader {
            inner,
            remaining: 0,
            padding: 0,
            skeleton: None,
            from_tree: false,
            ended: false,
        }
    }

    /// Records the skeleton while reading.
    pub(crate) fn with_skeleton(mut self, skeleton: SkeletonWriter) -> Self {
        self.skeleton = Some(skeleton);
        self
    }

    /// The next entry; what was left of the content before is skipped.
    pub(crate) fn next_entry(&mut self) -> io::Result<Option<Entry>> {
        if self.ended {
            return Ok(None);
        }
        self.skip_content()?;
        let mut extensions = Extensions::default();
        loop {
            let Some(header) = self.header()? else {
                self.ended = true;
                return Ok(None);
            };
            let size = number(&header[124..136], "size")?;
            match header[156] {
                b'L' => extensions.path = Some(trim_nul(self.extension(size)?)),
                b'K' => extensions.link = Some(trim_nul(self.extension(size)?)),
                b'x' => {
                    let text = self.extension(size)?;
                    apply_pax(&text, &mut extensions)?;
                }
                // A global header (git archive writes one) carries comments only.
                b'g' => {
                    self.extension(size)?;
                }
                b'S' => return Err(malformed("sparse files are not supported")),
                _ => return self.entry(&header, size, extensions).map(Some),
            }
        }
    }

    /// The content of the current entry will be found at `path` of the unpacked tree.
    pub(crate) fn content_is_in_tree(&mut self, path: &[u8]) -> io::Result<()> {
        if let Some(skeleton) = &mut self.skeleton
            && self.remaining > 0
        {
            skeleton.file(path, self.remaining)?;
            self.from_tree = true;
        }
        Ok(())
    }

    /// Reads to the very end of the stream (what follows the end mark belongs to the digest).
    pub(crate) fn finish(mut self) -> io::Result<(R, Option<SkeletonWriter>)> {
        self.skip_content()?;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let n = self.inner.read(&mut buffer)?;
            if n == 0 {
                return Ok((self.inner, self.skeleton));
            }
            self.record(&buffer[..n])?;
        }
    }

    fn record(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.skeleton {
            Some(skeleton) => skeleton.raw(bytes),
            None => Ok(()),
        }
    }

    fn skip_content(&mut self) -> io::Result<()> {
        let mut buffer = [0; 8192];
        while self.remaining > 0 {
            if self.read(&mut buffer)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        self.from_tree = false;
        while self.padding > 0 {
            let want = (self.padding as usize).min(buffer.len());
            self.inner.read_exact(&mut buffer[..want])?;
            self.record(&buffer[..want])?;
            self.padding -= want as u64;
        }
        Ok(())
    }

    /// The next header block, or none at the end mark or the end of the stream.
    fn header(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        let mut header = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            let n = self.inner.read(&mut header[filled..])?;
            if n == 0 {
                break;
            }
            filled += n;
        }
        if filled == 0 {
            return Ok(None);
        }
        if filled < BLOCK {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.record(&header)?;
        if header.iter().all(|b| *b == 0) {
            return Ok(None);
        }
        check_sum(&header)?;
        Ok(Some(header))
    }

    /// The content of an extension header, bounded.
    fn extension(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > EXTENSION_MAX_BYTES {
            return Err(malformed("an extended header is larger than 1 MiB"));
        }
        let padded = size.div_ceil(BLOCK as u64) * BLOCK as u64;
        let mut bytes = vec![0; padded as usize];
        self.inner.read_exact(&mut bytes)?;
        self.record(&bytes)?;
        bytes.truncate(size as usize);
        Ok(bytes)
    }

    fn entry(
        &mut self,
        header: &[u8; BLOCK],
        size: u64,
        extensions: Extensions,
    ) -> io::Result<Entry> {
        let path = match extensions.path {
            Some(path) => path,
            None => header_path(header),
        };
        let link = match extensions.link {
            Some(link) => link,
            None => until_nul(&header[157..257]).to_vec(),
        };
        if path.len() > PATH_MAX_BYTES || link.len() > PATH_MAX_BYTES {
            return Err(malformed("a name is longer than 4096 bytes"));
        }
        if path.contains(&0) || link.contains(&0) {
            return Err(malformed("a name contains a NUL byte"));
        }
        let kind = match header[156] {
            0 | b'0' | b'7' if path.ends_with(b"/") => Kind::Directory,
            0 | b'0' | b'7' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::CharDevice,
            b'4' => Kind::BlockDevice,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => {
                return Err(malformed(format_args!(
                    "entry {:?} has the unknown type {:?}",
                    String::from_utf8_lossy(&path),
                    char::from(other)
                )));
            }
        };
        let size = extensions.size.unwrap_or(size);
        // Only files have content; other kinds may carry a size that means nothing (old tars: links).
        let size = if kind == Kind::File { size } else { 0 };
        self.remaining = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
        let small = |bytes: &[u8], what| -> io::Result<u32> {
            u32::try_from(number(bytes, what)?)
                .map_err(|_| malformed(format_args!("{what} is too large")))
        };
        let (mtime_seconds, mtime_nanoseconds) = match extensions.mtime {
            Some(mtime) => mtime,
            None => (signed_number(&header[136..148], "mtime")?, 0),
        };
        Ok(Entry {
            kind,
            path,
            link,
            mode: (number(&header[100..108], "mode")? & 0o7777) as u32,
            uid: match extensions.uid {
                Some(uid) => uid,
                None => small(&header[108..116], "uid")?,
            },
            gid: match extensions.gid {
                Some(gid) => gid,
                None => small(&header[116..124], "gid")?,
            },
            mtime_seconds,
            mtime_nanoseconds,
            size,
            device_major: small(&header[329..337], "device")?,
            device_minor: small(&header[337..345], "device")?,
            xattrs: extensions.xattrs,
        })
    }
}

impl<R: Read> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.remaining == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let want = usize::try_from(self.remaining)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let n = self.inner.read(&mut buffer[..want])?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if !self.from_tree {
            self.record(&buffer[..n])?;
        }
        self.remaining -= n as u64;
        Ok(n)
    }
}

fn check_sum(header: &[u8; BLOCK]) -> io::Result<()> {
    let stored = number(&header[148..156], "checksum")?;
    let plain = |b: &u8| u64::from(*b);
    // Some old tars summed signed bytes.
    let signed = |b: &u8| i64::from(b.cast_signed());
    let others = || header[..148].iter().chain(&header[156..]);
    let unsigned_sum: u64 = others().map(plain).sum::<u64>() + 8 * u64::from(b' ');
    let signed_sum: i64 = others().map(signed).sum::<i64>() + 8 * i64::from(b' ');
    if stored == unsigned_sum || i64::try_from(stored) == Ok(signed_sum) {
        Ok(())
    } else {
        Err(malformed("a header's checksum is wrong"))
    }
}

fn header_path(header: &[u8; BLOCK]) -> Vec<u8> {
    let name = until_nul(&header[..100]);
    // GNU's own format keeps times where ustar has the prefix.
    let prefix = if &header[257..263] == b"ustar\0" {
        until_nul(&header[345..500])
    } else {
        &[]
    };
    if prefix.is_empty() {
        return name.to_vec();
    }
    let mut path = prefix.to_vec();
    path.push(b'/');
    path.extend_from_slice(name);
    path
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    &bytes[..end]
}

fn trim_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    bytes
}

fn number(field: &[u8], what: &str) -> io::Result<u64> {
    u64::try_from(signed_number(field, what)?)
        .map_err(|_| malformed(format_args!("{what} is negative")))
}

/// Octal digits, or big-endian two's complement when the top bit is set.
fn signed_number(field: &[u8], what: &str) -> io::Result<i64> {
    if field[0] & 0x80 != 0 {
        let negative = field[0] & 0x40 != 0;
        let mut value: i128 = if negative { -1 } else { 0 };
        for (at, byte) in field.iter().enumerate() {
            let byte = if at == 0 && !negative {
                byte & 0x7f
            } else {
                *byte
            };
            value = (value << 8) | i128::from(byte);
        }
        return i64::try_from(value).map_err(|_| malformed(format_args!("{what} is too large")));
    }
    let text = until_nul(field);
    let text = text.trim_ascii();
    if text.is_empty() {
        return Ok(0);
    }
    let mut value: i64 = 0;
    for byte in text {
        if !(b'0'..=b'7').contains(byte) {
            return Err(malformed(format_args!("{what} is not an octal number")));
        }
        value = value
            .checked_mul(8)
            .and_then(|value| value.checked_add(i64::from(byte - b'0')))
            .ok_or_else(|| malformed(format_args!("{what} is too large")))?;
    }
    Ok(value)
}

/// Records of `<length> <key>=<value>\n`. A key twice is refused where the readers of the world disagree.
fn apply_pax(mut text: &[u8], extensions: &mut Extensions) -> io::Result<()> {
    let bad = || malformed("a PAX record is not well formed");
    let mut seen = std::collections::HashSet::new();
    while !text.is_empty() && text != b"\0" {
        let space = text.iter().position(|b| *b == b' ').ok_or_else(bad)?;
        let length: usize = std::str::from_utf8(&text[..space])
            .ok()
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(bad)?;
        if length <= space + 1 || length > text.len() || text[length - 1] != b'\n' {
            return Err(bad());
        }
        let record = &text[space + 1..length - 1];
        text = &text[length..];
        let equals = record.iter().position(|b| *b == b'=').ok_or_else(bad)?;
        let key = std::str::from_utf8(&record[..equals]).map_err(|_| bad())?;
        if !seen.insert(key.to_owned()) {
            return Err(malformed(format_args!("PAX key {key:?} is given twice")));
        }
        apply_pax_record(key, &record[equals + 1..], extensions)?;
    }
    Ok(())
}

fn apply_pax_record(key: &str, value: &[u8], extensions: &mut Extensions) -> io::Result<()> {
    let decimal = || {
        std::str::from_utf8(value)
            .ok()
            .filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|text| text.parse::<u64>().ok())
            .ok_or_else(|| malformed(format_args!("PAX {key} is not a number")))
    };
    let id = || -> io::Result<u32> {
        u32::try_from(decimal()?).map_err(|_| malformed(format_args!("PAX {key} is too large")))
    };
    match key {
        "path" => extensions.path = Some(value.to_vec()),
        "linkpath" => extensions.link = Some(value.to_vec()),
        "size" => extensions.size = Some(decimal()?),
        "uid" => extensions.uid = Some(id()?),
        "gid" => extensions.gid = Some(id()?),
        "mtime" => {
            extensions.mtime = Some(
                pax_time(value).ok_or_else(|| malformed("PAX mtime is not a decimal number"))?,
            );
        }
        _ if key.starts_with("GNU.sparse") => {
            return Err(malformed("sparse files are not supported"));
        }
        _ => {
            if let Some(name) = key.strip_prefix("SCHILY.xattr.") {
                extensions.xattrs.push((name.to_owned(), value.to_vec()));
            }
        }
    }
    Ok(())
}

fn pax_time(value: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(value).ok()?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: i64 = seconds.parse().ok()?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut nanoseconds: u32 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    let mut whole = whole;
    if seconds.starts_with('-') && nanoseconds > 0 {
        whole -= 1;
        nanoseconds = 1_000_000_000 - nanoseconds;
    }
    Some((whole, nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, kind: u8, size: &str) -> [u8; BLOCK] {
        let mut header = [0; BLOCK];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..107].copy_from_slice(b"0000644");
        header[124..124 + size.len()].copy_from_slice(size.as_bytes());
        header[156] = kind;
        header[257..263].copy_from_slice(b"ustar\0");
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        header
    }

    fn with_pax(records: &str) -> Vec<u8> {
        let mut tar = header("x", b'x', &format!("{:o}", records.len())).to_vec();
        tar.extend_from_slice(records.as_bytes());
        tar.resize(tar.len().div_ceil(BLOCK) * BLOCK, 0);
        tar.extend_from_slice(&header("f", b'0', "1"));
        tar.extend_from_slice(&[b'a'; BLOCK]);
        tar
    }

    fn first(tar: &[u8]) -> io::Result<Option<Entry>> {
        TarReader::new(tar).next_entry()
    }

    #[test]
    fn the_pax_size_wins() {
        let entry = first(&with_pax("11 size=99\n")).unwrap().unwrap();
        assert_eq!(entry.size, 99);
    }

    #[test]
    fn lies_are_refused() {
        for records in [
            "11 size=-1\n",
            "11 size=1x\n",
            "10 size=1\n10 size=2\n",
            "99 size=1\n",
            "22 GNU.sparse.major=1\n",
            "x",
        ] {
            assert!(first(&with_pax(records)).is_err(), "{records:?}");
        }
        assert!(first(&header("f", b'0', "9x")).is_err());
        assert!(first(&header("f", b'S', "0")).is_err());
        let huge = header("x", b'x', "77777777777");
        assert!(first(&huge).is_err());
        let mut broken = header("f", b'0', "0");
        broken[0] = b'g';
        assert!(first(&broken).is_err());
    }

    #[test]
    fn a_truncated_content_is_an_error() {
        let mut tar = header("f", b'0', "1000").to_vec();
        tar.extend_from_slice(b"short");
        let mut reader = TarReader::new(&tar[..]);
        reader.next_entry().unwrap();
        assert!(io::copy(&mut reader, &mut io::sink()).is_err());
    }

    #[test]
    fn what_tar_writers_write_is_read() {
        let mut builder = tar::Builder::new(Vec::new());
        let long = format!("{}/file", "d".repeat(150));
        let mut header = tar::Header::new_gnu();
        header.set_size(3);
        header.set_mode(0o4755);
        header.set_uid(1000);
        header.set_mtime(7);
        builder
            .append_data(&mut header, &long, &b"abc"[..])
            .unwrap();
        let bytes = builder.into_inner().unwrap();
        let mut reader = TarReader::new(&bytes[..]);
        let entry = reader.next_entry().unwrap().unwrap();
        assert_eq!(entry.path, long.as_bytes());
        assert_eq!(
            (entry.mode, entry.uid, entry.mtime_seconds),
            (0o4755, 1000, 7)
        );
        let mut content = String::new();
        reader.read_to_string(&mut content).unwrap();
        assert_eq!(content, "abc");
        assert_eq!(reader.next_entry().unwrap(), None);
    }
}
