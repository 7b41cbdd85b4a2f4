//! Which blocks lie badly: the allocator's runs of equal blocks, and how full they are.
//!
//! A run is a few pages cut into blocks of one class. It goes back to the system when its last block is free, so keys
//! deleted at random leave nearly all runs in use. Whoever moves blocks out of the emptier runs ([`Runs::sparse`])
//! into the fuller ones, which is where the allocator takes from first, makes them go back.
//!
//! A block is to be moved if its run is at most [`ABOVE_AVERAGE_PERCENT`] as full as the average of all that are not
//! full. Each pass over all blocks then empties about half of the runs that are wasted, so a few passes do.

use std::ffi::{CStr, c_uint};
use std::ptr;

use tikv_jemalloc_sys as sys;

use super::jemalloc::read;

/// Blocks that can be asked for at once.
pub const ASKED_MAX: usize = 64;
/// The largest class of blocks that come out of runs, about: 14 KiB.
const CLASSES: usize = 2048;
const CLASS_STEP: usize = 8;
/// Runs as full as the average, or by this much fuller, are emptied too: else those that are all alike would stay.
const ABOVE_AVERAGE_PERCENT: usize = 112;
/// A class that wastes less of its memory than this is left alone.
const WASTE_MIN_PERCENT: usize = 5;
/// Words of `experimental.utilization.batch_query`.
const MIB_WORDS: usize = 3;

/// How full the runs were when it was made.
pub struct Runs {
    query: [usize; MIB_WORDS],
    /// By class, in steps of 8 bytes: with how many free blocks or more a run is to be emptied; [`u16::MAX`]: never.
    free_min: Box<[u16]>,
    /// In blocks that are in use.
    used_bytes: u64,
    /// In blocks of such runs that are not.
    wasted_bytes: u64,
}

/// jemalloc's answer for one block.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Answer {
    free: usize,
    blocks: usize,
    run_bytes: usize,
}

impl Runs {
    /// Looks at all classes, some tens of microseconds. `None` when the allocator cannot tell.
    pub fn read() -> Option<Runs> {
        let mut query = [0; MIB_WORDS];
        let mut words = MIB_WORDS;
        // SAFETY: the name ends with NUL; there is room for as many words as are announced.
        let failed = unsafe {
            let name = c"experimental.utilization.batch_query".as_ptr();
            sys::mallctlnametomib(name, query.as_mut_ptr(), &mut words)
        };
        if failed != 0 || words != MIB_WORDS {
            return None;
        }
        super::jemalloc::renew_stats();
        let mut runs = Runs {
            query,
            free_min: vec![u16::MAX; CLASSES].into(),
            used_bytes: 0,
            wasted_bytes: 0,
        };
        for bin in 0..read::<c_uint>(c"arenas.nbins")? {
            runs.add(bin)?;
        }
        Some(runs)
    }

    fn add(&mut self, bin: c_uint) -> Option<()> {
        let block_bytes: usize = read(&name(format_args!("arenas.bin.{bin}.size")))?;
        let blocks = read::<u32>(&name(format_args!("arenas.bin.{bin}.nregs")))? as usize;
        let figure = |what| {
            let all = super::jemalloc::ALL_ARENAS;
            read::<usize>(&name(format_args!("stats.arenas.{all}.bins.{bin}.{what}")))
        };
        let (used, runs, open) = (
            figure("curregs")?,
            figure("curslabs")?,
            figure("nonfull_slabs")?,
        );
        let wasted = (runs * blocks).saturating_sub(used);
        self.used_bytes += (used * block_bytes) as u64;
        self.wasted_bytes += (wasted * block_bytes) as u64;
        if let Some(free_min) = self.free_min.get_mut(block_bytes / CLASS_STEP) {
            *free_min = free_to_move(blocks, used, runs, open);
        }
        Some(())
    }

    /// Bytes of small blocks in use.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    /// Bytes that are resident for nothing, between those.
    pub fn wasted_bytes(&self) -> u64 {
        self.wasted_bytes
    }

    /// Which of up to [`ASKED_MAX`] living blocks should be moved: a bit each, from the lowest on.
    ///
    /// # Safety
    /// All are starts of living blocks of this allocator.
    pub unsafe fn sparse(&self, blocks: &[*const u8]) -> u64 {
        debug_assert!(blocks.len() <= ASKED_MAX);
        let mut answers = [Answer::default(); ASKED_MAX];
        let mut answer_bytes = size_of_val(&answers[..blocks.len()]);
        // SAFETY: there is room for as many answers as there are blocks, in the form that jemalloc documents; the
        // blocks are living by the caller's promise.
        let failed = unsafe {
            sys::mallctlbymib(
                self.query.as_ptr(),
                MIB_WORDS,
                ptr::from_mut(&mut answers).cast(),
                &mut answer_bytes,
                blocks.as_ptr().cast_mut().cast(),
                size_of_val(blocks),
            )
        };
        if failed != 0 {
            return 0;
        }
        let wants = |answer: &Answer| {
            let block_bytes = answer.run_bytes / answer.blocks.max(1);
            let free_min = self.free_min.get(block_bytes / CLASS_STEP);
            answer.blocks > 1 && free_min.is_some_and(|&min| answer.free >= usize::from(min))
        };
        let asked = answers[..blocks.len()].iter().enumerate();
        asked.fold(0, |bits, (at, answer)| {
            bits | u64::from(wants(answer)) << at
        })
    }
}

/// With how many free blocks a run is to be emptied, given what a class has: blocks of a run, blocks in use, runs, and
/// runs that are not full.
fn free_to_move(blocks: usize, used: usize, runs: usize, open: usize) -> u16 {
    let in_full = runs.saturating_sub(open) * blocks;
    let in_open = used.saturating_sub(in_full);
    let wasted = (runs * blocks).saturating_sub(used);
    // The last open run is where new blocks come from.
    if open < 2 || wasted < blocks || wasted * 100 < runs * blocks * WASTE_MIN_PERCENT {
        return u16::MAX;
    }
    let full_enough = in_open * ABOVE_AVERAGE_PERCENT / 100 / open;
    u16::try_from(blocks.saturating_sub(full_enough).max(1)).unwrap_or(u16::MAX)
}

/// A name for jemalloc.
fn name(text: std::fmt::Arguments<'_>) -> std::borrow::Cow<'static, CStr> {
    let text = std::ffi::CString::new(text.to_string());
    std::borrow::Cow::Owned(text.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;

    #[test]
    fn the_emptier_runs_are_to_be_emptied() {
        // Ten runs of 32 with 4 blocks in use each: all of them go.
        assert_eq!(free_to_move(32, 40, 10, 10), 28);
        // Half of the runs are full, the others hold 8.
        assert_eq!(free_to_move(32, 5 * 32 + 5 * 8, 10, 5), 24);
        // Nothing to win: one open run, or hardly anything wasted.
        assert_eq!(free_to_move(32, 9 * 32 + 1, 10, 1), u16::MAX);
        assert_eq!(free_to_move(32, 10 * 31, 10, 10), u16::MAX);
        assert_eq!(free_to_move(32, 0, 0, 0), u16::MAX);
        // Figures that were not read in one moment.
        assert_eq!(free_to_move(32, 500, 10, 12), u16::MAX);
    }

    /// Blocks of a size that nobody else uses.
    #[test]
    fn what_lies_in_sparse_runs_is_found() {
        const BYTES: usize = 7 * 1024;
        let mut blocks: Vec<Option<Box<[u8]>>> = (0..4096)
            .map(|_| Some(black_box(vec![1u8; BYTES].into_boxed_slice())))
            .collect();
        let full = Runs::read().unwrap();
        for (at, block) in blocks.iter_mut().enumerate() {
            if at % 8 != 0 {
                *block = None;
            }
        }
        super::super::flush_thread_cache();
        let sparse = Runs::read().unwrap();
        assert!(sparse.wasted_bytes() > full.wasted_bytes() + 4096 * BYTES as u64 / 4);
        assert!(sparse.used_bytes() < full.used_bytes());
        let left: Vec<*const u8> = blocks
            .iter()
            .flatten()
            .map(|block| block.as_ptr())
            .collect();
        let ask = |runs: &Runs| -> u32 {
            let asked = left.chunks(ASKED_MAX);
            asked
                .map(|some| {
                    // SAFETY: living blocks.
                    unsafe { runs.sparse(some) }.count_ones()
                })
                .sum()
        };
        assert!(ask(&sparse) > 400, "{} of 512", ask(&sparse));
        let large = black_box(vec![1u8; 100_000]);
        // SAFETY: a living block; a large one is in no run.
        let of_large = unsafe { sparse.sparse(&[large.as_ptr()]) };
        // SAFETY: no block at all.
        let of_none = unsafe { sparse.sparse(&[]) };
        assert_eq!((of_large, of_none), (0, 0));
    }
}
