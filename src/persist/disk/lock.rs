//! The lock of a data directory: two servers on one would overwrite each other's files.
//!
//! It is an advisory lock (flock) of the directory itself: nothing is left behind, a read-only
//! directory can be locked, and the kernel gives it back when the process ends, however it ends.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::sys::files;

/// A data directory that is ours while this lives.
#[derive(Debug)]
pub struct DirLock {
    /// `None` when the file system knows no locks.
    file: Option<File>,
}

/// Why a directory is not ours.
#[derive(Debug)]
pub enum LockError {
    /// Another server has it.
    Taken(PathBuf),
    /// It cannot be opened.
    Io(PathBuf, io::Error),
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockError::Taken(directory) => write!(
                f,
                "The data directory {} is used by another server. Give each server a directory \
                 of its own (the 'dir' directive).",
                directory.display()
            ),
            LockError::Io(directory, error) => {
                write!(
                    f,
                    "Can't open the data directory {}: {error}",
                    directory.display()
                )
            }
        }
    }
}

impl std::error::Error for LockError {}

impl DirLock {
    /// Locks a directory.
    ///
    /// # Errors
    /// When another server has it, or when it cannot be opened.
    pub fn take(directory: &Path) -> Result<DirLock, LockError> {
        let (directory, file) = open(directory)?;
        lock(directory, file)
    }

    /// Goes over to another directory (CONFIG SET dir), and hands out the lock of the former one; on an
    /// error that one stays locked.
    ///
    /// # Errors
    /// As [`DirLock::take`].
    pub fn move_to(&mut self, directory: &Path) -> Result<Option<DirLock>, LockError> {
        let (directory, file) = open(directory)?;
        // Locks belong to open files: we would be kept off by ourselves.
        let is_same = self.file.as_ref().is_some_and(|held| same(held, &file));
        match is_same {
            true => Ok(None),
            false => Ok(Some(std::mem::replace(self, lock(directory, file)?))),
        }
    }

    /// Whether this is the lock of that directory.
    pub fn is_of(&self, directory: &Path) -> bool {
        let other = open(directory).ok();
        let held = self.file.as_ref().zip(other);
        held.is_some_and(|(held, (_, other))| same(held, &other))
    }
}

fn open(directory: &Path) -> Result<(PathBuf, File), LockError> {
    // The message names the directory in a way that does not depend on where we are.
    let name = directory.canonicalize();
    let name = name.unwrap_or_else(|_| directory.to_owned());
    match File::open(directory) {
        Ok(file) => Ok((name, file)),
        Err(error) => Err(LockError::Io(name, error)),
    }
}

fn lock(directory: PathBuf, file: File) -> Result<DirLock, LockError> {
    match files::try_lock(&file) {
        Ok(true) => Ok(DirLock { file: Some(file) }),
        Ok(false) => Err(LockError::Taken(directory)),
        Err(error) => {
            tracing::warn!(
                "The data directory {} can't be locked ({error}): make sure that no other server \
                 uses it.",
                directory.display()
            );
            Ok(DirLock { file: None })
        }
    }
}

fn same(one: &File, other: &File) -> bool {
    match (one.metadata(), other.metadata()) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}
