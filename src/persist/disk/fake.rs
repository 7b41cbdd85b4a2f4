//! A disk in memory that fails on demand and crashes.
//!
//! Every operation that changes something is counted; a [`Fault`] makes one of them, or all from it
//! on, fail. [`FakeDisk::crash`] is a power failure: of each file there is what was synced, and a
//! random part of what came after: of what was appended some from its beginning, of what was written
//! over any blocks, a cut or not. Of the names in a directory there is what was synced, and some of
//! the changes after that in their order. Files that were open before it answer only errors.
//!
//! A sync that fails loses what it should have made durable, as Linux does: the pages are clean
//! afterwards, so the next sync has nothing to do and succeeds.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::util::rng::Rng;

use super::{Disk, DiskFile, OpenMode, Stat};

/// What a power failure leaves whole. (Of real disks more: so more is torn here.)
const BLOCK_BYTES: usize = 32;

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultKind {
    /// A write takes only a part; anything else fails with ENOSPC.
    ShortWrite,
    /// ENOSPC.
    NoSpace,
    /// EIO.
    Io,
    /// From here on nothing is done any more: the machine is dead until [`FakeDisk::crash`].
    Dead,
}

/// Which operations go wrong, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The first operation that fails, counted from 0 as [`FakeDisk::operations`] does.
    pub at: u64,
    /// How many fail.
    pub count: u64,
    /// How.
    pub kind: FaultKind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Node {
    Directory,
    File(usize),
}

/// A change of the names that is not durable yet.
enum Change {
    Put(PathBuf, Node),
    Remove(PathBuf),
}

impl Change {
    fn path(&self) -> &Path {
        match self {
            Change::Put(path, _) | Change::Remove(path) => path,
        }
    }

    fn apply(self, names: &mut BTreeMap<PathBuf, Node>) {
        match self {
            Change::Put(path, node) => names.insert(path, node),
            Change::Remove(path) => names.remove(&path),
        };
    }
}

#[derive(Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Set by a failed sync: no byte from here on becomes durable any more.
    lost_from: Option<usize>,
    /// The shortest that it has been since the last sync, if it was cut.
    cut: Option<usize>,
}

impl Content {
    fn cut(&mut self, len: usize) {
        self.now.resize(len, 0);
        self.cut = Some(self.cut.unwrap_or(len).min(len));
        // What was lost is cut off: from here on writing is writing again.
        self.lost_from = self.lost_from.filter(|lost| *lost < len);
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        if self.now.len() < end {
            self.now.resize(end, 0);
        }
        self.now[at..end].copy_from_slice(bytes);
    }

    /// Up to where what is there is what is durable.
    fn same(&self) -> usize {
        let blocks = self
            .now
            .chunks(BLOCK_BYTES)
            .zip(self.durable.chunks(BLOCK_BYTES));
        let blocks = blocks.take_while(|(now, durable)| now == durable).count();
        let both = self.now.len().min(self.durable.len());
        (blocks * BLOCK_BYTES).min(both)
    }

    /// What a power failure leaves.
    fn crash(&mut self, rng: &mut Rng) {
        let old_len = self.durable.len();
        let kept = self.cut.unwrap_or(old_len).min(old_len);
        let is_cut = kept < old_len && rng.below(2) == 0;
        if self.lost_from.is_none() {
            let blocks = self.durable[..kept].chunks_mut(BLOCK_BYTES);
            for (durable, now) in blocks.zip(self.now.chunks(BLOCK_BYTES)) {
                if *durable != now[..durable.len()] && rng.below(2) == 0 {
                    durable.copy_from_slice(&now[..durable.len()]);
                }
            }
            if is_cut || kept == old_len {
                let extra = self.now.get(kept..).unwrap_or_default();
                let extra = &extra[..rng.index(extra.len() + 1)];
                self.durable.truncate(kept);
                self.durable.extend_from_slice(extra);
            }
        }
        self.now = self.durable.clone();
        (self.lost_from, self.cut) = (None, None);
    }
}

#[derive(Default)]
struct State {
    names: BTreeMap<PathBuf, Node>,
    durable_names: BTreeMap<PathBuf, Node>,
    pending: Vec<Change>,
    files: Vec<Content>,
    operations: u64,
    fault: Option<Fault>,
    /// A file that takes nothing.
    broken: Option<usize>,
    /// Counts crashes: what was opened in another life is no longer there.
    life: u64,
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Default)]
pub struct FakeDisk(Arc<Mutex<State>>);

impl FakeDisk {
    /// An empty disk with one directory.
    pub fn new(directory: &str) -> FakeDisk {
        let disk = FakeDisk::default();
        let mut state = disk.0.lock();
        for names in [0, 1] {
            let names = match names {
                0 => &mut state.names,
                _ => &mut state.durable_names,
            };
            names.insert(PathBuf::from(directory), Node::Directory);
        }
        drop(state);
        disk
    }

    /// How many operations that change something there have been.
    pub fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    /// Lets operations fail from now on; `None`: none.
    pub fn fail(&self, fault: Option<Fault>) {
        self.0.lock().fault = fault;
    }

    /// This file takes nothing from now on, whatever becomes of the others.
    pub fn break_file(&self, path: &Path) {
        let mut state = self.0.lock();
        state.broken = state.names.get(path).and_then(|node| match node {
            Node::File(file) => Some(*file),
            Node::Directory => None,
        });
    }

    /// The power fails, and comes back.
    pub fn crash(&self, rng: &mut Rng) {
        let mut state = self.0.lock();
        let survive = rng.index(state.pending.len() + 1);
        let pending = std::mem::take(&mut state.pending);
        let mut names = std::mem::take(&mut state.durable_names);
        for change in pending.into_iter().take(survive) {
            change.apply(&mut names);
        }
        state.names = names.clone();
        state.durable_names = names;
        for file in &mut state.files {
            file.crash(rng);
        }
        state.fault = None;
        state.life += 1;
    }

    /// What a file holds; `None` when there is none.
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.0.lock();
        match state.names.get(path)? {
            Node::File(file) => Some(state.files[*file].now.clone()),
            Node::Directory => None,
        }
    }

    /// Puts a file there, durably.
    pub fn put(&self, path: &Path, content: &[u8]) {
        let mut state = self.0.lock();
        let node = Node::File(state.files.len());
        state.files.push(Content {
            now: content.to_vec(),
            durable: content.to_vec(),
            ..Content::default()
        });
        state.names.insert(path.to_owned(), node);
        state.durable_names.insert(path.to_owned(), node);
    }

    /// All files, for complaints of tests.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.0.lock().names.keys().cloned().collect()
    }
}

fn os_error(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

impl State {
    /// Counts an operation; an error when it fails. `Ok(true)`: it is a write that shall be short.
    fn operation(&mut self, is_write: bool) -> io::Result<bool> {
        let index = self.operations;
        self.operations += 1;
        let Some(fault) = self.fault else {
            return Ok(false);
        };
        let since = index.checked_sub(fault.at);
        let hit = since.is_some_and(|n| n < fault.count || fault.kind == FaultKind::Dead);
        match fault.kind {
            _ if !hit => Ok(false),
            FaultKind::ShortWrite if is_write => Ok(true),
            FaultKind::ShortWrite | FaultKind::NoSpace => Err(os_error(libc::ENOSPC)),
            FaultKind::Io | FaultKind::Dead => Err(os_error(libc::EIO)),
        }
    }

    fn change(&mut self, change: Change) {
        match &change {
            Change::Put(path, node) => self.names.insert(path.clone(), *node),
            Change::Remove(path) => self.names.remove(path),
        };
        self.pending.push(change);
    }

    fn parent_exists(&self, path: &Path) -> io::Result<()> {
        let parent = path.parent().unwrap_or(Path::new(""));
        match self.names.get(parent) {
            Some(Node::Directory) => Ok(()),
            Some(Node::File(_)) => Err(os_error(libc::ENOTDIR)),
            None => Err(os_error(libc::ENOENT)),
        }
    }
}

impl Disk for FakeDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.0.lock();
        if mode != OpenMode::Read {
            state.operation(false)?;
        }
        let makes = matches!(mode, OpenMode::Append | OpenMode::Create);
        let file = match state.names.get(path) {
            Some(Node::File(file)) => *file,
            Some(Node::Directory) => return Err(os_error(libc::EISDIR)),
            None if makes => {
                state.parent_exists(path)?;
                let file = state.files.len();
                state.files.push(Content::default());
                state.change(Change::Put(path.to_owned(), Node::File(file)));
                file
            }
            None => return Err(os_error(libc::ENOENT)),
        };
        if mode == OpenMode::Create {
            state.files[file].cut(0);
        }
        let (life, end) = (state.life, state.files[file].now.len());
        Ok(Arc::new(FakeFile {
            state: self.0.clone(),
            file,
            life,
            end: Mutex::new(end),
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.operation(false)?;
        state.parent_exists(to)?;
        let node = *state.names.get(from).ok_or(os_error(libc::ENOENT))?;
        // The new name first: a crash between the two leaves a file with both names, never none.
        state.change(Change::Put(to.to_owned(), node));
        state.change(Change::Remove(from.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.operation(false)?;
        match state.names.get(path) {
            Some(Node::File(_)) => state.change(Change::Remove(path.to_owned())),
            Some(Node::Directory) => return Err(os_error(libc::EISDIR)),
            None => return Err(os_error(libc::ENOENT)),
        }
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.operation(false)?;
        match state.names.get(path) {
            Some(Node::Directory) => {}
            Some(Node::File(_)) => return Err(os_error(libc::ENOTDIR)),
            None => {
                state.parent_exists(path)?;
                state.change(Change::Put(path.to_owned(), Node::Directory));
            }
        }
        Ok(())
    }

    fn fsync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.operation(false)?;
        let pending = std::mem::take(&mut state.pending);
        for change in pending {
            match change.path().parent() == Some(path) {
                true => change.apply(&mut state.durable_names),
                false => state.pending.push(change),
            }
        }
        Ok(())
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        let state = self.0.lock();
        match state.names.get(path) {
            Some(Node::Directory) => Ok(Stat {
                len: 0,
                is_dir: true,
            }),
            Some(Node::File(file)) => Ok(Stat {
                len: state.files[*file].now.len() as u64,
                is_dir: false,
            }),
            None => Err(os_error(libc::ENOENT)),
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let state = self.0.lock();
        if state.names.get(path) != Some(&Node::Directory) {
            return Err(os_error(libc::ENOENT));
        }
        let inside = |name: &&PathBuf| name.parent() == Some(path);
        let names = state.names.keys().filter(inside);
        let names = names.filter_map(|name| name.file_name());
        Ok(names.map(ToOwned::to_owned).collect())
    }
}

struct FakeFile {
    state: Arc<Mutex<State>>,
    file: usize,
    life: u64,
    /// Where the next byte goes.
    end: Mutex<usize>,
}

impl FakeFile {
    fn with<T>(
        &self,
        operation: Option<bool>,
        run: impl FnOnce(&mut Content, bool) -> T,
    ) -> io::Result<T> {
        let mut state = self.state.lock();
        if state.life != self.life {
            return Err(os_error(libc::EIO));
        }
        let is_short = match operation {
            Some(_) if state.broken == Some(self.file) => return Err(os_error(libc::EIO)),
            Some(is_write) => state.operation(is_write)?,
            None => false,
        };
        Ok(run(&mut state.files[self.file], is_short))
    }
}

impl DiskFile for FakeFile {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.with(Some(true), |content, is_short| {
            let taken = match is_short {
                true => bytes.len() / 2,
                false => bytes.len(),
            };
            let mut end = self.end.lock();
            content.put(*end, &bytes[..taken]);
            *end += taken;
            taken
        })
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(None, |content, _| {
            let rest = content.now.get(offset as usize..).unwrap_or_default();
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            count
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        let synced = self.with(Some(false), |content, _| {
            let lost = content.lost_from.unwrap_or(usize::MAX);
            content.durable = content.now[..lost.min(content.now.len())].to_vec();
            content.cut = None;
        });
        if synced.is_err() {
            let mut state = self.state.lock();
            // A machine that is dead writes nothing more, but what it has written is there.
            let is_dead = state
                .fault
                .is_some_and(|fault| fault.kind == FaultKind::Dead);
            let is_ours = state.life == self.life && !is_dead;
            if let Some(content) = state.files.get_mut(self.file).filter(|_| is_ours) {
                let same = content.same();
                content.lost_from.get_or_insert(same);
            }
        }
        synced
    }

    fn redirty(&self, offset: u64) -> io::Result<()> {
        self.with(Some(false), |content, _| {
            content.lost_from = content.lost_from.filter(|lost| (*lost as u64) < offset);
        })
    }

    fn reserve(&self, from: u64, padding: &[u8]) -> io::Result<()> {
        let is_short = self.with(Some(true), |content, is_short| {
            let taken = match is_short {
                true => padding.len() / 2,
                false => padding.len(),
            };
            content.put(from as usize, &padding[..taken]);
            is_short
        })?;
        match is_short {
            true => Err(os_error(libc::ENOSPC)),
            false => Ok(()),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(Some(false), |content, _| {
            content.cut(len as usize);
            *self.end.lock() = len as usize;
        })
    }

    fn stat_len(&self) -> io::Result<u64> {
        self.with(None, |content, _| content.now.len() as u64)
    }
}
