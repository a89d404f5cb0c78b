//! A tar stream without its files' contents, so that a layer is kept once (unpacked) and its archive can still
//! be made again byte by byte. It is a private format: records of raw bytes and of references into the tree.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use crate::sys::rooted::Root;

const RAW: u8 = b'R';
const FILE: u8 = b'F';
/// Bounds a record on reading: the writer makes none larger.
const RECORD_MAX_BYTES: usize = 1 << 20;

/// Writes records to a compressed file.
pub(crate) struct SkeletonWriter {
    out: GzEncoder<BufWriter<File>>,
    pending: Vec<u8>,
}

impl SkeletonWriter {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let file = BufWriter::new(File::create_new(path)?);
        Ok(SkeletonWriter {
            out: GzEncoder::new(file, Compression::fast()),
            pending: Vec::new(),
        })
    }

    /// Bytes of the archive that are in no file.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        for part in bytes.chunks(RECORD_MAX_BYTES / 2) {
            if self.pending.len() + part.len() > RECORD_MAX_BYTES / 2 {
                self.flush_pending()?;
            }
            self.pending.extend_from_slice(part);
        }
        Ok(())
    }

    /// `size` bytes that are the content of the file at `path`.
    pub(crate) fn file(&mut self, path: &[u8], size: u64) -> io::Result<()> {
        self.flush_pending()?;
        self.out.write_all(&[FILE])?;
        self.out.write_all(&length(path)?)?;
        self.out.write_all(path)?;
        self.out.write_all(&size.to_le_bytes())
    }

    fn flush_pending(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.out.write_all(&[RAW])?;
        self.out.write_all(&length(&self.pending)?)?;
        self.out.write_all(&self.pending)?;
        self.pending.clear();
        Ok(())
    }

    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.flush_pending()?;
        self.out.finish()?.flush()
    }
}

fn length(bytes: &[u8]) -> io::Result<[u8; 4]> {
    u32::try_from(bytes.len())
        .map(u32::to_le_bytes)
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

/// Writes the archive again: records from `skeleton`, contents from `tree`.
pub(crate) fn assemble(skeleton: &Path, tree: &Root, out: &mut dyn Write) -> io::Result<()> {
    let mut records = BufReader::new(GzDecoder::new(File::open(skeleton)?));
    let damaged = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "the layer's skeleton is damaged",
        )
    };
    let mut kind = [0];
    while records.read(&mut kind)? == 1 {
        let mut prefix = [0; 4];
        records.read_exact(&mut prefix)?;
        let count = u32::from_le_bytes(prefix) as usize;
        if count > RECORD_MAX_BYTES {
            return Err(damaged());
        }
        let mut bytes = vec![0; count];
        records.read_exact(&mut bytes)?;
        match kind[0] {
            RAW => out.write_all(&bytes)?,
            FILE => {
                let mut size = [0; 8];
                records.read_exact(&mut size)?;
                let size = u64::from_le_bytes(size);
                let file = tree.open_file(&bytes)?;
                let copied = io::copy(&mut file.take(size), out)?;
                if copied != size {
                    return Err(damaged());
                }
            }
            _ => return Err(damaged()),
        }
    }
    Ok(())
}
