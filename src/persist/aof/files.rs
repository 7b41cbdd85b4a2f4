//! The files of the log on a disk, and in which order they are made, renamed and removed.
//!
//! A crash may come between any two operations. The rules that keep a later start possible:
//! - a file's name is durable before a manifest names it;
//! - a manifest replaces the former one in one rename, after its content is durable;
//! - nothing that the former manifest names is removed before the new one is durable;
//! - a manifest that is visible but perhaps not durable (the sync after its rename failed) is what
//!   counts in memory; what the former one names stays until another one was persisted.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::persist::disk::{Disk, DiskFile, OpenMode, read_small, write_all};
use crate::sys::files::os_text;

use super::group;
use super::manifest::{FileInfo, MANIFEST_BYTES_MAX, Manifest};
use super::{AofError, fail};

/// Where the log is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The data directory (`dir`).
    pub dir: PathBuf,
    /// The log's directory in it (`appenddirname`).
    pub dirname: String,
    /// What the files' names begin with (`appendfilename`).
    pub filename: String,
}

/// See the module's text.
pub(super) struct Files {
    pub disk: Arc<dyn Disk>,
    pub place: Place,
    pub manifest: Manifest,
}

/// An INCR file to append to.
#[derive(Clone)]
pub(super) struct Incr {
    pub file: Arc<dyn DiskFile>,
    /// Its length when it was opened.
    pub len: u64,
    /// Its number; 0 while its name is a temporary one.
    pub seq: u64,
    /// Its length now.
    pub size: Arc<AtomicU64>,
}

impl Incr {
    pub fn new(file: Arc<dyn DiskFile>, len: u64, seq: u64) -> Incr {
        Incr {
            file,
            len,
            seq,
            size: Arc::new(AtomicU64::new(len)),
        }
    }
}

impl Files {
    /// Reads the manifest, if there is one. What is missing is made when it is needed.
    pub fn open(disk: Arc<dyn Disk>, place: Place) -> Result<Files, AofError> {
        let mut files = Files {
            disk,
            place,
            manifest: Manifest::default(),
        };
        let path = files.path(&files.manifest_name());
        match read_small(&*files.disk, &path, MANIFEST_BYTES_MAX) {
            Ok(text) => match Manifest::parse(&text) {
                Ok(manifest) => files.manifest = manifest,
                Err(error) => {
                    for line in error.paragraphs() {
                        tracing::warn!("{line}");
                    }
                    return fail(error.to_string());
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::debug!("The AOF manifest file {} doesn't exist", path.display());
            }
            Err(error) => {
                return fail(format!(
                    "Fatal error: can't open the AOF manifest file {} for reading: {}",
                    path.display(),
                    os_text(&error)
                ));
            }
        }
        Ok(files)
    }

    pub fn dir(&self) -> PathBuf {
        self.place.dir.join(&self.place.dirname)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    fn manifest_name(&self) -> String {
        format!("{}.manifest", self.place.filename)
    }

    fn temp_incr_name(&self) -> String {
        format!("temp-{}.incr", self.place.filename)
    }

    fn exists(&self, path: &Path) -> bool {
        self.disk.stat(path).is_ok()
    }

    fn create_dir(&self) -> Result<(), AofError> {
        let made = self.disk.create_dir(&self.dir());
        let made = made.and_then(|()| self.disk.fsync_dir(&self.place.dir));
        made.or_else(|error| {
            fail(format!(
                "Can't open or create append-only dir {}: {}",
                self.place.dirname,
                os_text(&error)
            ))
        })
    }

    /// Writes a manifest and makes it the one that counts. After an error the former one counts,
    /// unless the new one is visible already: then [`Files::manifest`] is the new one all the same.
    fn persist(&mut self, manifest: Manifest) -> Result<(), AofError> {
        let name = self.manifest_name();
        let temp_name = format!("temp-{name}");
        let temp = self.path(&temp_name);
        let file = self.disk.open(&temp, OpenMode::Create);
        let file = file.or_else(|error| {
            let reason = os_text(&error);
            fail(format!(
                "Can't open the AOF manifest file {temp_name}: {reason}"
            ))
        })?;
        write_all(&*file, &manifest.to_bytes()).or_else(|error| {
            fail(format!(
                "Error trying to write the temporary AOF manifest file {temp_name}: {}",
                os_text(&error.error)
            ))
        })?;
        file.sync_data().or_else(|error| {
            let reason = os_text(&error);
            fail(format!(
                "Fail to fsync the temp AOF file {temp_name}: {reason}."
            ))
        })?;
        // The files that it names, before it.
        self.fsync_dir()?;
        self.disk.rename(&temp, &self.path(&name)).or_else(|error| {
            fail(format!(
                "Error trying to rename the temporary AOF manifest file {temp_name} into {name}: {}",
                os_text(&error)
            ))
        })?;
        self.manifest = manifest;
        self.fsync_dir()
    }

    fn fsync_dir(&self) -> Result<(), AofError> {
        let dir = self.dir();
        self.disk.fsync_dir(&dir).or_else(|error| {
            fail(format!(
                "Fail to fsync AOF directory {}: {}.",
                dir.display(),
                os_text(&error)
            ))
        })
    }

    /// Takes an AOF of before Redis 7, one file in the data directory, as the BASE.
    pub fn upgrade_if_needed(&mut self) -> Result<(), AofError> {
        let filename = self.place.filename.clone();
        let old = self.place.dir.join(&filename);
        if !self.exists(&old) {
            return Ok(());
        }
        let is_half_done = self.manifest.incr.is_empty()
            && self
                .manifest
                .base
                .as_ref()
                .is_some_and(|base| base.name == filename)
            && !self.exists(&self.path(&filename));
        if !self.manifest.is_empty() && !is_half_done {
            return Ok(());
        }
        self.create_dir()?;
        let mut manifest = self.manifest.clone();
        manifest.base = Some(FileInfo {
            name: filename.clone(),
            seq: 1,
        });
        manifest.base_seq = 1;
        // First the manifest: when the move does not follow, the next start goes on from here.
        self.persist(manifest)?;
        let moved = self.disk.rename(&old, &self.path(&filename));
        let moved = moved.and_then(|()| self.disk.fsync_dir(&self.dir()));
        moved
            .and_then(|()| self.disk.fsync_dir(&self.place.dir))
            .or_else(|error| {
                fail(format!(
                    "Error trying to move the old AOF file {filename} into dir {}: {}",
                    self.place.dirname,
                    os_text(&error)
                ))
            })?;
        tracing::info!(
            "Successfully migrated an old-style AOF file ({filename}) into the AOF directory ({}).",
            self.place.dirname
        );
        Ok(())
    }

    /// Lengths of the BASE and of all INCR files together; an error when one is missing.
    pub fn sizes(&self) -> Result<(u64, u64), AofError> {
        let mut sizes = (0, 0);
        for file in self.manifest.live() {
            let len = self.disk.stat(&self.path(&file.name)).or_else(|error| {
                fail(format!(
                    "Unable to obtain the AOF file {} length. stat: {}",
                    file.name,
                    os_text(&error)
                ))
            })?;
            match self.manifest.base.as_ref() == Some(file) {
                true => sizes.0 += len.len,
                false => sizes.1 += len.len,
            }
        }
        Ok(sizes)
    }

    /// Opens the last INCR file, or the first, at the start of the server; without any file
    /// `make_base` writes a BASE at the path that it is given.
    pub fn start(
        &mut self,
        is_rdb: bool,
        make_base: &mut dyn FnMut(&Path) -> Result<(), String>,
    ) -> Result<Incr, AofError> {
        self.create_dir()?;
        let mut manifest = self.manifest.clone();
        if manifest.is_empty() {
            let name = manifest.push_base(&self.place.filename, is_rdb);
            make_base(&self.path(&name)).map_err(AofError)?;
            tracing::info!("Creating AOF base file {name} on server start");
        }
        let is_new = manifest.incr.is_empty();
        if is_new {
            manifest.push_incr(&self.place.filename);
        }
        let last = manifest.incr.last().cloned();
        let FileInfo { name, seq } = last.ok_or(AofError("no INCR file".to_owned()))?;
        // A file that no manifest names may be there: of a rewrite that a crash has cut short.
        let mode = match is_new {
            true => OpenMode::Create,
            false => OpenMode::Append,
        };
        let opened = self.disk.open(&self.path(&name), mode);
        // What an earlier process wrote, and this one has loaded, has to be as safe as what this
        // one writes.
        let opened = opened.and_then(|file| {
            let len = group::end_of_log(&*file)?;
            if len < file.stat_len()? {
                file.set_len(len)?;
            }
            file.sync_data()?;
            Ok(Incr::new(file, len, seq))
        });
        let opened = opened.or_else(|error| {
            let reason = os_text(&error);
            fail(format!("Can't open the append-only file {name}: {reason}"))
        })?;
        self.sync_former(&name)?;
        if manifest != self.manifest {
            self.persist(manifest)?;
        }
        let done = if is_new { "Creating" } else { "Opening" };
        tracing::info!("{done} AOF incr file {name} on server start");
        Ok(opened)
    }

    /// Syncs the INCR files before the last one, `last`: a process that was killed may not have come to
    /// it.
    fn sync_former(&self, last: &str) -> Result<(), AofError> {
        let former = self.manifest.incr.iter().filter(|file| file.name != last);
        for FileInfo { name, .. } in former {
            let file = self.disk.open(&self.path(name), OpenMode::Read);
            file.and_then(|file| file.sync_data()).or_else(|error| {
                let reason = os_text(&error);
                fail(format!("Fail to fsync the AOF file {name}: {reason}"))
            })?;
        }
        Ok(())
    }

    /// Makes the INCR file that follows the present ones.
    pub fn next_incr(&mut self) -> Result<Incr, AofError> {
        let mut manifest = self.manifest.clone();
        let name = manifest.push_incr(&self.place.filename);
        let seq = manifest.incr_seq;
        let file = self.create(&name)?;
        self.persist(manifest)?;
        Ok(Incr::new(file, 0, seq))
    }

    /// Makes an INCR file that no manifest names before the rewrite has succeeded.
    pub fn temp_incr(&mut self) -> Result<Incr, AofError> {
        self.create_dir()?;
        let file = self.create(&self.temp_incr_name())?;
        Ok(Incr::new(file, 0, 0))
    }

    fn create(&self, name: &str) -> Result<Arc<dyn DiskFile>, AofError> {
        let file = self.disk.open(&self.path(name), OpenMode::Create);
        let file = file.or_else(|error| {
            let reason = os_text(&error);
            fail(format!("Can't open the append-only file {name}: {reason}"))
        })?;
        tracing::info!("Creating AOF incr file {name} on background rewrite");
        Ok(file)
    }

    /// Makes the file `temp_base` the BASE. What is below the INCR file `first_incr` becomes history;
    /// a temporary INCR file gets its name. Returns the length of the BASE.
    pub fn finish_rewrite(
        &mut self,
        temp_base: &Path,
        is_rdb: bool,
        first_incr: FirstIncr,
    ) -> Result<u64, AofError> {
        let result = self.adopt_base(temp_base, is_rdb, first_incr);
        if result.is_err() {
            let _ = self.disk.remove(temp_base);
        }
        result
    }

    fn adopt_base(
        &mut self,
        temp_base: &Path,
        is_rdb: bool,
        first_incr: FirstIncr,
    ) -> Result<u64, AofError> {
        self.create_dir()?;
        let mut manifest = self.manifest.clone();
        let name = manifest.push_base(&self.place.filename, is_rdb);
        let path = self.path(&name);
        let len = self.disk.stat(temp_base).map_or(0, |stat| stat.len);
        let temp_name = file_name(temp_base);
        self.disk.rename(temp_base, &path).or_else(|error| {
            fail(format!(
                "Error trying to rename the temporary AOF base file {temp_name} into {}: {}",
                path.display(),
                os_text(&error)
            ))
        })?;
        tracing::info!("Successfully renamed the temporary AOF base file {temp_name} into {name}");
        let mut undo = vec![path];
        let result = match first_incr {
            FirstIncr::None => {
                manifest.retire_incr(u64::MAX);
                Ok(())
            }
            FirstIncr::Seq(seq) => {
                manifest.retire_incr(seq);
                Ok(())
            }
            FirstIncr::Temp => {
                manifest.retire_incr(u64::MAX);
                self.name_temp_incr(&mut manifest, &mut undo)
            }
        };
        let result = result.and_then(|()| self.persist(manifest.clone()));
        // Unless it counts already, what it names is of no use.
        if result.is_err() && self.manifest != manifest {
            for path in undo {
                let _ = self.disk.remove(&path);
            }
        }
        result.map(|()| len)
    }

    fn name_temp_incr(
        &mut self,
        manifest: &mut Manifest,
        undo: &mut Vec<PathBuf>,
    ) -> Result<(), AofError> {
        let temp_name = self.temp_incr_name();
        let name = manifest.push_incr(&self.place.filename);
        let (temp, path) = (self.path(&temp_name), self.path(&name));
        self.disk.rename(&temp, &path).or_else(|error| {
            fail(format!(
                "Error trying to rename the temporary AOF incr file {} into {}: {}",
                temp.display(),
                path.display(),
                os_text(&error)
            ))
        })?;
        tracing::info!("Successfully renamed the temporary AOF incr file {temp_name} into {name}");
        undo.push(path);
        Ok(())
    }

    /// Removes what a rewrite has made superfluous, once its manifest is durable. What cannot be removed is tried again next time.
    pub fn remove_history(&mut self) {
        if self.manifest.history.is_empty() {
            return;
        }
        // An earlier process may have failed to make the manifest durable.
        if let Err(error) = self.fsync_dir() {
            return tracing::warn!("{error}");
        }
        let mut manifest = self.manifest.clone();
        manifest.history.retain(|file| {
            tracing::info!("Removing the history file {} in the background", file.name);
            match self.disk.remove(&self.path(&file.name)) {
                Ok(()) => false,
                Err(error) => error.kind() != io::ErrorKind::NotFound,
            }
        });
        if let Err(error) = self.persist(manifest) {
            tracing::warn!("{error}");
        }
    }

    /// Removes the temporary INCR file of a rewrite that failed.
    pub fn remove_temp_incr(&self) {
        let name = self.temp_incr_name();
        tracing::info!("Removing the temp incr aof file {name} in the background");
        let _ = self.disk.remove(&self.path(&name));
    }

    /// Removes what an earlier process has left half done.
    pub fn remove_temporary(&self) {
        let ours = [
            self.temp_incr_name(),
            format!("temp-{}", self.manifest_name()),
        ];
        for name in ours {
            let _ = self.disk.remove(&self.path(&name));
        }
        for name in self.disk.list(&self.place.dir).unwrap_or_default() {
            let text = name.to_string_lossy();
            if text.starts_with("temp-rewriteaof-") && text.ends_with(".aof") {
                let _ = self.disk.remove(&self.place.dir.join(&name));
            }
        }
    }
}

/// Which INCR file follows a new BASE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FirstIncr {
    /// None: the log is off.
    None,
    /// The one with this number.
    Seq(u64),
    /// The temporary one: the log is being switched on.
    Temp,
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}
