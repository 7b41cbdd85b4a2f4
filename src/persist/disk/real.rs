//! The operating system's files.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::sys::files;

use super::{Disk, DiskFile, OpenMode, Stat};

/// Redis's permissions of files and directories, before the umask.
const FILE_PERMISSIONS: u32 = 0o644;
const DIRECTORY_PERMISSIONS: u32 = 0o755;

/// How much is written again at a time.
const REDIRTY_BYTES: usize = 1 << 20;

/// The operating system's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).mode(FILE_PERMISSIONS);
        match mode {
            OpenMode::Read => &mut options,
            OpenMode::Edit => options.write(true),
            OpenMode::Append => options.write(true).create(true).truncate(false),
            OpenMode::Create => options.write(true).create(true).truncate(true),
        };
        let file = options.open(path)?;
        let end = Mutex::new(file.metadata()?.len());
        Ok(Arc::new(RealFile { file, end }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let made = fs::DirBuilder::new()
            .mode(DIRECTORY_PERMISSIONS)
            .create(path);
        match made {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                match fs::metadata(path)?.is_dir() {
                    true => Ok(()),
                    false => Err(io::ErrorKind::NotADirectory.into()),
                }
            }
            made => made,
        }
    }

    fn fsync_dir(&self, path: &Path) -> io::Result<()> {
        files::fsync_dir(path)
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        let metadata = fs::metadata(path)?;
        Ok(Stat {
            len: metadata.len(),
            is_dir: metadata.is_dir(),
        })
    }

    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(path)?
            .map(|entry| Ok(entry?.file_name()))
            .collect()
    }
}

/// An open file. Not opened for appending: that would not let a reservation be written over.
struct RealFile {
    file: File,
    /// Where the next byte goes.
    end: Mutex<u64>,
}

impl DiskFile for RealFile {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut end = self.end.lock();
        let count = self.file.write_at(bytes, *end)?;
        *end += count as u64;
        Ok(count)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match self.file.read_at(buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn redirty(&self, mut offset: u64) -> io::Result<()> {
        let mut piece = vec![0; REDIRTY_BYTES];
        loop {
            let count = self.read_at(&mut piece, offset)?;
            if count == 0 {
                return Ok(());
            }
            self.file.write_all_at(&piece[..count], offset)?;
            offset += count as u64;
        }
    }

    fn begin_sync(&self, offset: u64, bytes: u64) {
        files::begin_writeback(&self.file, offset, bytes);
    }

    fn reserve(&self, from: u64, padding: &[u8]) -> io::Result<()> {
        self.file.write_all_at(padding, from)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut end = self.end.lock();
        self.file.set_len(len)?;
        *end = len;
        Ok(())
    }

    fn stat_len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}
