//! Which compression a stream has, by its first bytes, and reading through it. In-process only: no helper
//! program is ever started. It knows no archive.

use std::io::{self, BufReader, Cursor, Read};

use flate2::bufread::MultiGzDecoder;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const BZIP2: &[u8] = b"BZh";
const XZ: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];
const MAGIC_MAX_BYTES: usize = 6;
const BUFFER_BYTES: usize = 128 << 10;
/// Window of zstd streams that are accepted: what `zstd --ultra` makes without `--long`.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
    Bzip2,
    Xz,
}

impl Compression {
    pub(crate) fn of(start: &[u8]) -> Self {
        if start.starts_with(GZIP) {
            Compression::Gzip
        } else if start.starts_with(ZSTD) {
            Compression::Zstd
        } else if start.starts_with(BZIP2) && start.get(3).is_some_and(u8::is_ascii_digit) {
            Compression::Bzip2
        } else if start.starts_with(XZ) {
            Compression::Xz
        } else {
            Compression::None
        }
    }
}

/// The decompressed stream, whatever it is compressed with.
pub(crate) fn decompress<'a>(
    mut reader: impl Read + 'a,
) -> io::Result<(Compression, Box<dyn Read + 'a>)> {
    let mut start = Vec::with_capacity(MAGIC_MAX_BYTES);
    reader
        .by_ref()
        .take(MAGIC_MAX_BYTES as u64)
        .read_to_end(&mut start)?;
    let compression = Compression::of(&start);
    let whole = BufReader::with_capacity(BUFFER_BYTES, Cursor::new(start).chain(reader));
    let plain: Box<dyn Read + 'a> = match compression {
        Compression::None => Box::new(whole),
        Compression::Gzip => Box::new(BufReader::with_capacity(
            BUFFER_BYTES,
            MultiGzDecoder::new(whole),
        )),
        Compression::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(whole)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder))
        }
        Compression::Bzip2 => Box::new(BufReader::with_capacity(
            BUFFER_BYTES,
            bzip2::bufread::MultiBzDecoder::new(whole),
        )),
        Compression::Xz => Box::new(BufReader::with_capacity(
            BUFFER_BYTES,
            lzma_rust2::XzReader::new(whole, true),
        )),
    };
    Ok((compression, plain))
}

/// Whether the stream, decompressed, starts as a tar does.
pub(crate) fn is_tar(reader: impl Read) -> bool {
    let Ok((_, mut plain)) = decompress(reader) else {
        return false;
    };
    let mut header = [0; 512];
    if plain.read_exact(&mut header).is_err() {
        return false;
    }
    crate::engine::images::tar_reader::TarReader::new(&header[..])
        .next_entry()
        .is_ok_and(|entry| entry.is_some() || header == [0; 512])
}
