//! A snapshot's file: written under a temporary name, made durable, then given its real name, so that
//! an older file of that name stays whole until the new one is.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Sink;
use crate::persist::disk::{Disk, DiskFile, OpenMode, write_all};

/// How much is written before the disk is told to begin (`rdb-save-incremental-fsync`), bytes: so
/// the last sync has little left to do.
const FLUSH_BYTES: u64 = 4 * 1024 * 1024;

/// See the module's text. A file that was not finished is removed when this is dropped.
pub struct FileSink<'a> {
    disk: &'a dyn Disk,
    file: Arc<dyn DiskFile>,
    temporary: PathBuf,
    len: u64,
    flushed: u64,
    is_incremental: bool,
    is_finished: bool,
}

impl<'a> FileSink<'a> {
    /// A file at `temporary`, which is emptied if it is there.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn create(
        disk: &'a dyn Disk,
        temporary: &Path,
        is_incremental: bool,
    ) -> io::Result<FileSink<'a>> {
        Ok(FileSink {
            disk,
            file: disk.open(temporary, OpenMode::Create)?,
            temporary: temporary.to_owned(),
            len: 0,
            flushed: 0,
            is_incremental,
            is_finished: false,
        })
    }

    /// Makes the file durable under its real name, in the same directory.
    ///
    /// # Errors
    /// Then what bore that name before still does, unless only the directory could not be synced.
    pub fn finish(mut self, name: &Path) -> io::Result<()> {
        self.file.sync_data()?;
        self.disk.rename(&self.temporary, name)?;
        self.is_finished = true;
        self.disk
            .fsync_dir(name.parent().unwrap_or_else(|| Path::new("")))
    }
}

impl Sink for FileSink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        write_all(&*self.file, bytes).map_err(|failed| failed.error)?;
        self.len += bytes.len() as u64;
        if self.is_incremental && self.len - self.flushed >= FLUSH_BYTES {
            self.file.begin_sync(self.flushed, self.len - self.flushed);
            self.flushed = self.len;
        }
        Ok(())
    }
}

impl Drop for FileSink<'_> {
    fn drop(&mut self) {
        if !self.is_finished {
            let _ = self.disk.remove(&self.temporary);
        }
    }
}
