//! Files and their permissions beyond std: directories made durable, umask, owners of sockets.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Writes `content` beside `file`, makes it durable, and puts it in the place of `file`, whose rights it
/// takes over; a new one is its owner's only, for it may hold a password. A link stays a link: what it
/// points to is replaced.
///
/// # Errors
/// When any of this fails; then nothing has changed.
pub fn replace(file: &Path, content: &[u8]) -> io::Result<()> {
    let file = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let folder = file.parent().unwrap_or(Path::new(""));
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!(".{name}.{}.tmp", std::process::id()));
    // Left over by a crash of a process with the same id, if at all.
    let _ = fs::remove_file(&temporary);
    let write = || -> io::Result<()> {
        let mut options = OpenOptions::new();
        let options = options.write(true).create_new(true).mode(0o600);
        let mut new = options.open(&temporary)?;
        new.write_all(content)?;
        if let Ok(old) = fs::metadata(&file) {
            new.set_permissions(old.permissions())?;
        }
        new.sync_all()?;
        fs::rename(&temporary, &file)?;
        fsync_dir(folder)
    };
    let written = write();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// The text of an error of the operating system, as C shows it.
pub fn os_text(error: &io::Error) -> String {
    let mut text = error.to_string();
    text.truncate(text.find(" (os error ").unwrap_or(text.len()));
    text
}

/// Makes a rename or creation in `directory` durable.
///
/// # Errors
/// When the directory cannot be opened or the disk refuses.
pub fn fsync_dir(directory: &Path) -> io::Result<()> {
    // An empty path is the parent of a bare file name: the working directory.
    let directory = if directory.as_os_str().is_empty() {
        Path::new(".")
    } else {
        directory
    };
    File::open(directory)?.sync_all()
}

/// Locks a file or directory for this open file alone (flock); false when someone else has it.
/// Closing the file gives the lock back.
///
/// # Errors
/// When the file system knows no locks.
pub fn try_lock(file: &File) -> io::Result<bool> {
    // SAFETY: flock takes an open descriptor, which the borrow keeps open, and no memory.
    let code = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
    if code == 0 {
        return Ok(true);
    }
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        error => Err(error),
    }
}

/// Has the kernel begin to write a part of a file to the disk, without waiting. Where the file
/// system cannot, nothing happens.
pub fn begin_writeback(file: &File, offset: u64, bytes: u64) {
    use std::os::fd::AsRawFd;
    let (Ok(offset), Ok(bytes)) = (i64::try_from(offset), i64::try_from(bytes)) else {
        return;
    };
    // SAFETY: the descriptor is open as long as `file` is borrowed; the call touches no memory of
    // ours.
    unsafe { libc::sync_file_range(file.as_raw_fd(), offset, bytes, libc::SYNC_FILE_RANGE_WRITE) };
}

/// The id of a group by its name or number; `None` when there is no such group.
///
/// # Errors
/// When the system's group database cannot be read.
pub fn group_id(name: &str) -> io::Result<Option<u32>> {
    if let Ok(id) = name.parse() {
        return Ok(Some(id));
    }
    let Ok(name) = CString::new(name) else {
        return Ok(None);
    };
    let mut buffer: Vec<libc::c_char> = vec![0; 4096];
    loop {
        // SAFETY: group is a plain C struct of numbers and pointers; all zeros is valid.
        let mut group: libc::group = unsafe { std::mem::zeroed() };
        let mut found = std::ptr::null_mut();
        // SAFETY: the name ends with NUL, the buffer has the announced length, and the other two
        // are valid places. Nothing but the id is used, after the buffer is still alive.
        let code = unsafe {
            libc::getgrnam_r(
                name.as_ptr(),
                &mut group,
                buffer.as_mut_ptr(),
                buffer.len(),
                &mut found,
            )
        };
        match code {
            0 if found.is_null() => return Ok(None),
            0 => return Ok(Some(group.gr_gid)),
            // A group of many members; a megabyte of them is not one we need to serve.
            libc::ERANGE if buffer.len() < 1 << 20 => buffer.resize(buffer.len() * 4, 0),
            libc::ENOENT | libc::ESRCH => return Ok(None),
            code => return Err(io::Error::from_raw_os_error(code)),
        }
    }
}

/// Gives a file or socket to a group (`unixsocketgroup`).
///
/// # Errors
/// When the process may not do so.
pub fn set_group(path: &Path, group_id: u32) -> io::Result<()> {
    std::os::unix::fs::chown(path, None, Some(group_id))
}

/// Sets the permission bits of a file or socket (`unixsocketperm`).
///
/// # Errors
/// When the process may not do so.
pub fn set_permissions(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    #[test]
    fn directories_are_synced() {
        fsync_dir(&std::env::temp_dir()).unwrap();
        fsync_dir(Path::new("")).unwrap();
        assert!(fsync_dir(Path::new("/no/such/directory")).is_err());
    }

    #[test]
    fn groups_are_found_by_name_and_number() {
        assert_eq!(group_id("root").unwrap(), Some(0));
        assert_eq!(group_id("12345").unwrap(), Some(12345));
        assert_eq!(group_id("no-such-group-here").unwrap(), None);
        assert_eq!(group_id("nul\0inside").unwrap(), None);
    }
}
