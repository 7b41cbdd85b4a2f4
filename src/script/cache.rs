//! Scripts by their SHA1: for EVALSHA, and so that EVAL compiles a source once.
//!
//! Two kinds, as in Valkey: what SCRIPT LOAD has brought stays until SCRIPT FLUSH; of what came with
//! EVAL only the [`EVALUATED_MAX`] that ran last are kept, since there are clients that write their
//! arguments into the source. SCRIPT LOAD of a script that came with EVAL keeps it for good.
//!
//! The [`Cache`] is the server's and behind a lock. Every worker has its [`Recent`] in front of it,
//! which finds by source and by SHA1 what this worker has run lately, without a lock.
//! [`Cache::epoch`] tells when something has left, and [`Cache::has`] whether it was this. A script
//! that has left never returns: the same source becomes another [`Script`], with another number, so
//! what is kept by number (compiled code) cannot be taken for it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;
use sha1::{Digest as _, Sha1};

use super::{Proof, ScriptFlags, shebang};
use crate::ds::footprint::block_bytes;
use crate::ds::hash::{HashFunction, KeyHash};
use crate::spec::CmdError;

#[cfg(test)]
mod tests;

/// Most scripts that are kept only because EVAL has run them.
pub const EVALUATED_MAX: usize = 500;
/// Places of a worker for scripts by source, and for scripts by SHA1; a power of two.
const RECENT: usize = 512;
/// A use is not noted again so soon: workers that run one script in turn shall not wait for the line
/// of memory in which that stands.
const NOTED_NS: u64 = 10_000;

/// A place in a hash table that is two thirds full, as it is on average.
const PLACE_BYTES: usize = (size_of::<(Sha, Entry)>() + 1) * 3 / 2;

/// The SHA1 of a source.
pub type Sha = [u8; 20];

/// A script of EVAL or SCRIPT LOAD.
#[derive(Debug)]
pub struct Script {
    /// Its number: no two that were ever made have the same.
    pub id: u64,
    /// 40 hexadecimal digits, in lower case.
    pub sha: [u8; 40],
    /// The whole source, shebang included.
    pub source: Arc<[u8]>,
    /// By its shebang.
    pub flags: ScriptFlags,
    /// What can be told of it before it runs; found out when it first does.
    pub proof: OnceLock<Proof>,
    /// When it last ran, in ticks, for eviction.
    pub used_at: AtomicU64,
    digest: Sha,
    /// Where the code begins.
    code_at: usize,
    /// The flush of the cache that it came behind.
    flushes: AtomicU64,
    /// It was put into the cache, and not evicted.
    is_cached: AtomicBool,
}

impl Script {
    /// A script that is in no cache yet. Fails if its shebang is wrong; that the rest can be compiled is
    /// another question.
    pub fn new(source: &[u8]) -> Result<Script, CmdError> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let (flags, code_at) = shebang::script(source)?;
        let digest = sha_of(source);
        Ok(Script {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            sha: hex(&digest),
            source: source.into(),
            flags,
            proof: OnceLock::new(),
            used_at: AtomicU64::new(0),
            digest,
            code_at,
            flushes: AtomicU64::new(0),
            is_cached: AtomicBool::new(false),
        })
    }

    /// What is compiled: the source without its shebang, whose line feed is left so that lines keep their
    /// numbers.
    pub fn code(&self) -> &[u8] {
        &self.source[self.code_at..]
    }

    /// Its memory, bytes.
    fn memory_bytes(&self) -> u64 {
        let owners = 2 * size_of::<usize>();
        let script = block_bytes(owners + size_of::<Script>());
        let source = block_bytes(owners + self.source.len());
        (script + source + PLACE_BYTES) as u64
    }

    /// Notes that it runs.
    #[inline]
    pub fn note_use(&self, tick: u64) {
        let noted = self.used_at.load(Ordering::Relaxed);
        if tick.saturating_sub(noted) > noted_ticks() {
            self.used_at.store(tick, Ordering::Relaxed);
        }
    }
}

/// [`NOTED_NS`] in ticks.
#[inline]
fn noted_ticks() -> u64 {
    static TICKS: OnceLock<u64> = OnceLock::new();
    *TICKS.get_or_init(|| crate::sys::tsc::ns_to_ticks(NOTED_NS))
}

/// The SHA1 of some bytes.
pub fn sha_of(bytes: &[u8]) -> Sha {
    Sha1::digest(bytes).into()
}

/// A SHA1 as scripts and clients write it.
pub fn hex(sha: &Sha) -> [u8; 40] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 40];
    for (pair, byte) in text.chunks_exact_mut(2).zip(sha) {
        pair.copy_from_slice(&[
            DIGITS[usize::from(byte >> 4)],
            DIGITS[usize::from(byte & 15)],
        ]);
    }
    text
}

/// The SHA1 that 40 hexadecimal digits stand for, in any case; `None` for what is none.
#[inline]
pub fn parse_sha(text: &[u8]) -> Option<Sha> {
    let text: &[u8; 40] = text.try_into().ok()?;
    let mut sha = [0; 20];
    for (byte, pair) in sha.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(sha)
}

#[inline]
fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// What a cache has of a script.
#[derive(Debug)]
struct Entry {
    script: Arc<Script>,
    /// By SCRIPT LOAD: it stays.
    is_loaded: bool,
}

/// What a cache holds.
#[derive(Default)]
struct Known {
    by_sha: HashMap<Sha, Entry>,
    /// Those of EVAL by the time of their last use, as far as it was known when they were put here: the
    /// first is looked at again before it goes. Has some that were loaded since.
    queue: BinaryHeap<Reverse<(u64, Sha)>>,
    /// Those of EVAL.
    evaluated: usize,
    bytes: u64,
}

impl Known {
    /// Takes the one of EVAL out that was not used for the longest time.
    fn evict(&mut self) -> Option<Arc<Script>> {
        while let Some(Reverse((noted, sha))) = self.queue.pop() {
            let Some(entry) = self.by_sha.get(&sha).filter(|entry| !entry.is_loaded) else {
                continue;
            };
            let used_at = entry.script.used_at.load(Ordering::Relaxed);
            if used_at > noted {
                self.queue.push(Reverse((used_at, sha)));
                continue;
            }
            let script = self.by_sha.remove(&sha)?.script;
            self.evaluated -= 1;
            self.bytes -= script.memory_bytes();
            return Some(script);
        }
        None
    }
}

/// See the module's text.
#[derive(Default)]
pub struct Cache {
    known: RwLock<Known>,
    flushes: AtomicU64,
    epoch: AtomicU64,
    evicted: AtomicU64,
}

/// What a flushed cache held: dropping it takes its time.
pub struct Flushed(Known);

impl Flushed {
    /// How many scripts these are.
    pub fn scripts(&self) -> usize {
        self.0.by_sha.len()
    }
}

/// The figures of a cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CacheFigures {
    /// Scripts in it.
    pub scripts: usize,
    /// Memory of sources and all that is known of them, bytes.
    pub bytes: u64,
    /// Scripts of EVAL that had to go.
    pub evicted: u64,
}

impl Cache {
    /// A script by its SHA1.
    pub fn by_sha(&self, sha: &Sha) -> Option<Arc<Script>> {
        let known = self.known.read();
        known.by_sha.get(sha).map(|entry| entry.script.clone())
    }

    /// Whether a script is in here (still).
    #[inline]
    pub fn has(&self, script: &Script) -> bool {
        script.is_cached.load(Ordering::Acquire)
            && script.flushes.load(Ordering::Relaxed) == self.flushes.load(Ordering::Acquire)
    }

    /// Keeps a script that EVAL runs now; what is kept, which another client may have brought before.
    pub fn evaluate(&self, script: Arc<Script>, tick: u64) -> Arc<Script> {
        script.used_at.store(tick, Ordering::Relaxed);
        self.keep(script, false)
    }

    /// Keeps a script of SCRIPT LOAD until the cache is flushed.
    pub fn load(&self, script: Arc<Script>) {
        self.keep(script, true);
    }

    fn keep(&self, script: Arc<Script>, is_loaded: bool) -> Arc<Script> {
        let mut guard = self.known.write();
        let known = &mut *guard;
        if let Some(entry) = known.by_sha.get_mut(&script.digest) {
            if is_loaded && !entry.is_loaded {
                entry.is_loaded = true;
                known.evaluated -= 1;
            }
            return entry.script.clone();
        }
        if !is_loaded {
            while known.evaluated >= EVALUATED_MAX
                && let Some(gone) = known.evict()
            {
                gone.is_cached.store(false, Ordering::Release);
                self.epoch.fetch_add(1, Ordering::AcqRel);
                self.evicted.fetch_add(1, Ordering::Relaxed);
            }
            known.evaluated += 1;
            let used_at = script.used_at.load(Ordering::Relaxed);
            known.queue.push(Reverse((used_at, script.digest)));
        }
        known.bytes += script.memory_bytes();
        let flushes = self.flushes.load(Ordering::Relaxed);
        script.flushes.store(flushes, Ordering::Relaxed);
        script.is_cached.store(true, Ordering::Release);
        let entry = Entry {
            script: script.clone(),
            is_loaded,
        };
        known.by_sha.insert(script.digest, entry);
        script
    }

    /// Empties it.
    pub fn flush(&self) -> Flushed {
        let mut known = self.known.write();
        self.flushes.fetch_add(1, Ordering::AcqRel);
        self.epoch.fetch_add(1, Ordering::AcqRel);
        Flushed(std::mem::take(&mut *known))
    }

    /// How often it was flushed: whoever keeps more than the cache does, by a script's number, lets go of it
    /// then.
    #[inline]
    pub fn flushes(&self) -> u64 {
        self.flushes.load(Ordering::Acquire)
    }

    /// Grows whenever something has left: whoever keeps something by a script's number looks through it
    /// then, see [`Cache::has`].
    #[inline]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Begins to count evictions anew (CONFIG RESETSTAT).
    pub fn reset_stats(&self) {
        self.evicted.store(0, Ordering::Relaxed);
    }

    /// Its figures.
    pub fn figures(&self) -> CacheFigures {
        let known = self.known.read();
        CacheFigures {
            scripts: known.by_sha.len(),
            bytes: known.bytes,
            evicted: self.evicted.load(Ordering::Relaxed),
        }
    }
}

/// A script, and the hash of its source.
type Hashed = (u64, Arc<Script>);

/// The scripts that a worker has run lately, see the module's text. A script has one place that it
/// can be at, for which the last one with that place has it. All of them are in the cache, as of
/// `epoch`.
pub struct Recent {
    hash: KeyHash,
    epoch: u64,
    by_source: Box<[Option<Hashed>]>,
    by_sha: Box<[Option<Arc<Script>>]>,
}

impl Default for Recent {
    fn default() -> Recent {
        Recent {
            hash: KeyHash::process(HashFunction::Fast),
            epoch: 0,
            by_source: (0..RECENT).map(|_| None).collect(),
            by_sha: (0..RECENT).map(|_| None).collect(),
        }
    }
}

impl Recent {
    /// The script with this source, if the cache has it; notes that it runs.
    #[inline]
    pub fn by_source(&mut self, cache: &Cache, source: &[u8], tick: u64) -> Option<&Arc<Script>> {
        self.follow(cache);
        let hash = self.hash.hash(source);
        let place = &mut self.by_source[hash as usize % RECENT];
        let is_here = |(of, script): &Hashed| *of == hash && *script.source == *source;
        if !place.as_ref().is_some_and(is_here) {
            *place = Some((hash, cache.by_sha(&sha_of(source))?));
        }
        let (_, script) = place.as_ref()?;
        script.note_use(tick);
        Some(script)
    }

    /// The script with this SHA1, if the cache has it; notes that it runs.
    #[inline]
    pub fn by_sha(&mut self, cache: &Cache, sha: &Sha, tick: u64) -> Option<&Arc<Script>> {
        self.follow(cache);
        let place = &mut self.by_sha[usize::from(u16::from_le_bytes([sha[0], sha[1]])) % RECENT];
        let is_here = |script: &Arc<Script>| script.digest == *sha;
        if !place.as_ref().is_some_and(is_here) {
            *place = Some(cache.by_sha(sha)?);
        }
        let script = place.as_ref()?;
        script.note_use(tick);
        Some(script)
    }

    /// Lets go of what has left the cache.
    #[inline]
    fn follow(&mut self, cache: &Cache) {
        let epoch = cache.epoch();
        if self.epoch != epoch {
            self.epoch = epoch;
            self.sweep(cache);
        }
    }

    #[cold]
    fn sweep(&mut self, cache: &Cache) {
        for place in &mut self.by_source {
            place.take_if(|(_, script)| !cache.has(script));
        }
        for place in &mut self.by_sha {
            place.take_if(|script| !cache.has(script));
        }
    }
}
