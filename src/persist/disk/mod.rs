//! How persistence reaches files: a small trait, so that a test can let the disk tear, fill up and fail.
//!
//! - [`Disk`] and [`DiskFile`]: the few operations that snapshots and the log need. Files are only
//!   ever appended to and cut, so there is no position to keep; reading names its offset.
//! - [`RealDisk`]: the operating system's files.
//! - `FakeDisk` (tests): counts operations, lets the n-th one fail, and crashes.
//! - [`DirLock`]: keeps a second server off a data directory.
//!
//! What makes something durable: [`DiskFile::sync_data`] the bytes and the length of a file,
//! [`Disk::fsync_dir`] the names in a directory (creation, rename, removal).

#[cfg(any(test, fuzzing))]
pub mod fake;
mod lock;
mod real;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;

pub use lock::{DirLock, LockError};
pub use real::RealDisk;

/// How a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenMode {
    /// To be read; it must exist.
    Read,
    /// To be read, cut and appended to; it must exist.
    Edit,
    /// To be appended to; made when there is none.
    Append,
    /// To be appended to; made when there is none, emptied when there is one.
    Create,
}

/// What is known of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stat {
    /// Length of a file.
    pub len: u64,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// A place for files.
pub trait Disk: Send + Sync {
    /// Opens a file.
    ///
    /// # Errors
    /// As the operating system says.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives a file another name, replacing what bears it, at once for whoever looks.
    ///
    /// # Errors
    /// As the operating system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// As the operating system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes a directory, unless there is one.
    ///
    /// # Errors
    /// As the operating system says; when the name belongs to something else.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// As the operating system says.
    fn fsync_dir(&self, path: &Path) -> io::Result<()>;

    /// What a path leads to.
    ///
    /// # Errors
    /// As the operating system says; `NotFound` when there is nothing.
    fn stat(&self, path: &Path) -> io::Result<Stat>;

    /// The names in a directory, in no particular order.
    ///
    /// # Errors
    /// As the operating system says.
    fn list(&self, path: &Path) -> io::Result<Vec<OsString>>;
}

/// An open file. Several threads may hold it: one writes, another has it synced.
pub trait DiskFile: Send + Sync {
    /// Appends; returns how many bytes were taken, which may be fewer than were given.
    ///
    /// # Errors
    /// As the operating system says; then nothing was taken.
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Reads from `offset` on; 0 at the end.
    ///
    /// # Errors
    /// As the operating system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Makes what was written durable.
    ///
    /// # Errors
    /// As the operating system says; then nothing is known of what was written since the last time.
    fn sync_data(&self) -> io::Result<()>;

    /// After a sync that failed: has the next one write the file from `offset` on again, which by
    /// itself it would take for written.
    ///
    /// # Errors
    /// As the operating system says.
    fn redirty(&self, offset: u64) -> io::Result<()>;

    /// Has the disk begin to write a part of the file, without waiting: a hint, which makes nothing
    /// durable.
    fn begin_sync(&self, _offset: u64, _bytes: u64) {}

    /// Writes `padding` at `from`, behind or across the end, without moving the end: later writes go
    /// over it. What is written over needs no change of the file's length or blocks, so that its sync
    /// is much cheaper. Where that cannot be done nothing happens.
    ///
    /// # Errors
    /// As the operating system says.
    fn reserve(&self, _from: u64, _padding: &[u8]) -> io::Result<()> {
        Ok(())
    }

    /// Cuts the file; its end is there then.
    ///
    /// # Errors
    /// As the operating system says.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Length of the file.
    ///
    /// # Errors
    /// As the operating system says.
    fn stat_len(&self) -> io::Result<u64>;
}

/// A write that did not get everything onto the disk.
#[derive(Debug)]
pub struct WriteError {
    /// How many bytes were taken nevertheless.
    pub written: usize,
    /// Why no more.
    pub error: io::Error,
}

/// Appends all of `bytes`, in as few writes as the disk allows.
///
/// # Errors
/// The first error, and what was written before it.
pub fn write_all(file: &dyn DiskFile, bytes: &[u8]) -> Result<(), WriteError> {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => {
                let error = io::ErrorKind::WriteZero.into();
                return Err(WriteError { written, error });
            }
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(WriteError { written, error }),
        }
    }
    Ok(())
}

/// Reads a file from some offset to its end.
pub struct FileReader {
    /// What is read.
    pub file: Arc<dyn DiskFile>,
    /// Where the next byte comes from.
    pub offset: u64,
}

impl io::Read for FileReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

/// Fills `buffer` from `offset` on; how much that was, less where the file ends.
///
/// # Errors
/// As the operating system says.
pub fn read_full(file: &dyn DiskFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut end = 0;
    while end < buffer.len() {
        match file.read_at(&mut buffer[end..], offset + end as u64)? {
            0 => break,
            count => end += count,
        }
    }
    Ok(end)
}

/// All of a file that is known to be small.
///
/// # Errors
/// As the operating system says; when the file is longer than `bytes_max`.
pub fn read_small(disk: &dyn Disk, path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let file = disk.open(path, OpenMode::Read)?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let count = file.read_at(&mut chunk, bytes.len() as u64)?;
        if count == 0 {
            return Ok(bytes);
        }
        if bytes.len() + count > bytes_max {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        bytes.extend_from_slice(&chunk[..count]);
    }
}
