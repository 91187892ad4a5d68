//! Where an export is written: a file that appears when it is whole, or standard output.

use std::fs::File;
use std::io::{self, BufWriter, Stdout, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::NamedTempFile;

use crate::Failure;

/// Bytes that are put together before the system is asked to write them.
const BUFFER: usize = 256 * 1024;

/// The output of an export. Dropping it before [`OutputFile::finish`] leaves no file.
#[derive(Debug)]
pub(super) struct OutputFile {
    encoder: Encoder,
    path: PathBuf,
}

#[derive(Debug)]
enum Encoder {
    Plain(BufWriter<Target>),
    Gzip(GzEncoder<BufWriter<Target>>),
}

#[derive(Debug)]
enum Target {
    Stdout(Stdout),
    File(NamedTempFile),
}

impl OutputFile {
    /// Begins to write what shall be at a path; `-` is standard output.
    pub(super) fn create(path: &Path, gzip: bool) -> Result<Self, Failure> {
        let compress = gzip || path.extension().is_some_and(|extension| extension == "gz");
        let (target, path) = if path == Path::new("-") {
            (Target::Stdout(io::stdout()), path.to_owned())
        } else {
            let path = final_path(path)?;
            let file = tempfile::Builder::new()
                .prefix(".payments-export-")
                .suffix(".part")
                .tempfile_in(folder(&path))
                .map_err(|error| format!("cannot write beside {}: {error}", path.display()))?;
            (Target::File(file), path)
        };
        let buffer = BufWriter::with_capacity(BUFFER, target);
        let encoder = if compress {
            Encoder::Gzip(GzEncoder::new(buffer, Compression::default()))
        } else {
            Encoder::Plain(buffer)
        };
        Ok(Self { encoder, path })
    }

    /// Brings everything to disk, and then the file under its name.
    pub(super) fn finish(self) -> io::Result<()> {
        let buffer = match self.encoder {
            Encoder::Plain(buffer) => buffer,
            Encoder::Gzip(encoder) => encoder.finish()?,
        };
        match buffer.into_inner()? {
            Target::Stdout(mut stdout) => stdout.flush(),
            Target::File(file) => {
                file.as_file().sync_all()?;
                file.persist(&self.path).map_err(|error| error.error)?;
                // The new name is on disk only when the folder is.
                File::open(folder(&self.path))?.sync_all()
            }
        }
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.encoder {
            Encoder::Plain(buffer) => buffer.write(bytes),
            Encoder::Gzip(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.encoder {
            Encoder::Plain(buffer) => buffer.flush(),
            Encoder::Gzip(encoder) => encoder.flush(),
        }
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(stdout) => stdout.write(bytes),
            Self::File(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(stdout) => stdout.flush(),
            Self::File(file) => file.flush(),
        }
    }
}

/// The name that is to be replaced: what a link leads to, and never a device or a folder.
fn final_path(path: &Path) -> Result<PathBuf, Failure> {
    match path.canonicalize() {
        Ok(there) if there.is_file() => Ok(there),
        Ok(_) => Err(format!("{} is no file; for standard output give -", path.display()).into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(path.to_owned()),
        Err(error) => Err(format!("cannot look at {}: {error}", path.display()).into()),
    }
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
