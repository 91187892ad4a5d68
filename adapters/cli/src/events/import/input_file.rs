//! What an import reads: a file or standard input, compressed or not.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

/// Bytes that are read at once.
const BUFFER: usize = 256 * 1024;
/// What a gzip file begins with.
const GZIP: &[u8] = &[0x1f, 0x8b];

/// The lines to import.
pub(super) struct InputFile {
    reader: Box<dyn BufRead + Send>,
    share: ShareRead,
}

/// How much of the input has been read; clones share it.
#[derive(Debug, Clone)]
pub(super) struct ShareRead {
    read: Arc<AtomicU64>,
    /// Bytes of the file; unknown for what is no file.
    size: Option<u64>,
}

/// Counts the bytes that come from the disk.
struct Counted<R> {
    inner: R,
    read: Arc<AtomicU64>,
}

impl InputFile {
    /// Opens it; `-` is standard input. Whether it is compressed is told by its first bytes.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let (source, size): (Box<dyn Read + Send>, _) = if path == Path::new("-") {
            (Box::new(io::stdin()), None)
        } else {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            if metadata.is_dir() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            (Box::new(file), metadata.is_file().then_some(metadata.len()))
        };
        let share = ShareRead { read: Arc::default(), size };
        let counted = Counted { inner: source, read: Arc::clone(&share.read) };
        let mut reader = BufReader::with_capacity(BUFFER, counted);
        let reader: Box<dyn BufRead + Send> = if reader.fill_buf()?.starts_with(GZIP) {
            Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(reader)))
        } else {
            Box::new(reader)
        };
        Ok(Self { reader, share })
    }

    pub(super) fn share_read(&self) -> ShareRead {
        self.share.clone()
    }

    pub(super) fn into_reader(self) -> Box<dyn BufRead + Send> {
        self.reader
    }
}

impl ShareRead {
    /// How many events there may be in all when so many were read from the share that has been read.
    pub(super) fn whole(&self, events: i64) -> i64 {
        let read = u128::from(self.read.load(Ordering::Relaxed)).max(1);
        let size = self.size.map_or(read, |size| u128::from(size).max(read));
        let whole = u128::try_from(events).unwrap_or(0) * size / read;
        i64::try_from(whole).unwrap_or(events)
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.read.fetch_add(u64::try_from(count).unwrap_or(0), Ordering::Relaxed);
        Ok(count)
    }
}
