//! The operating system's files.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

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
            OpenMode::Edit => options.append(true),
            OpenMode::Append => options.append(true).create(true),
            // Appending and emptying at once is something that std does not offer.
            OpenMode::Create => options.append(true).create(true),
        };
        let file = options.open(path)?;
        if mode == OpenMode::Create {
            file.set_len(0)?;
        }
        Ok(Arc::new(file))
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

impl DiskFile for File {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut file = self;
        Write::write(&mut file, bytes)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match FileExt::read_at(self, buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }

    fn redirty(&self, mut offset: u64) -> io::Result<()> {
        // A file that is open for appending writes at its end whatever offset it is given.
        let path = format!("/proc/self/fd/{}", self.as_raw_fd());
        let writer = OpenOptions::new().write(true).open(path)?;
        let mut piece = vec![0; REDIRTY_BYTES];
        loop {
            let count = DiskFile::read_at(self, &mut piece, offset)?;
            if count == 0 {
                return Ok(());
            }
            writer.write_all_at(&piece[..count], offset)?;
            offset += count as u64;
        }
    }

    fn begin_sync(&self, offset: u64, bytes: u64) {
        files::begin_writeback(self, offset, bytes);
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }

    fn stat_len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}
