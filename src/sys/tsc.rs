//! Cheap ticks for durations: the processor's time-stamp counter where it can be trusted, else the
//! monotonic clock. A reading costs about half of a `clock_gettime` and is never a syscall.
//!
//! How long a tick takes is measured against CLOCK_MONOTONIC from [`init`] on, so that the start
//! does not stall: the first conversion sees a window of at least `WINDOW_NS_MIN`, and each time
//! the window has doubled it is measured again, until `WINDOW_NS_FINAL`. The two readings of a
//! pair are some 50 ns apart, so the error is 0.3 % after 20 µs, 0.005 % after 1 ms.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The shortest window that a rate is taken from; the first conversion waits for it.
const WINDOW_NS_MIN: u64 = 20_000;
/// A window this long is as good as it gets.
const WINDOW_NS_FINAL: u64 = 2_000_000_000;
/// Binary digits of a fraction of a nanosecond in [`NS_PER_TICK`].
const FRACTION_BITS: u32 = 32;

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug)]
struct Moment {
    ticks: u64,
    ns: u64,
}

#[derive(Debug)]
struct Start {
    uses_tsc: bool,
    moment: Moment,
}

static START: OnceLock<Start> = OnceLock::new();
/// Fixed point with [`FRACTION_BITS`]; 0 before the first measurement.
static NS_PER_TICK: AtomicU64 = AtomicU64::new(0);
/// When to measure again, in ticks; `u64::MAX` when it is good enough.
static MEASURE_AT_TICKS: AtomicU64 = AtomicU64::new(0);

/// Starts the measurement. Call it first in `main`; without it the first reading does so.
pub fn init() {
    start();
}

#[inline]
fn start() -> &'static Start {
    START.get_or_init(|| {
        let uses_tsc = tsc_is_reliable();
        Start {
            uses_tsc,
            moment: Moment::now(uses_tsc),
        }
    })
}

/// Whether ticks come from the time-stamp counter.
pub fn uses_tsc() -> bool {
    start().uses_tsc
}

/// The current tick. Only differences mean something; see [`ticks_to_ns`].
#[inline]
pub fn ticks() -> u64 {
    if start().uses_tsc {
        read_tsc()
    } else {
        monotonic_ns()
    }
}

/// How many nanoseconds `delta` ticks take.
#[inline]
pub fn ticks_to_ns(delta: u64) -> u64 {
    let wide = u128::from(delta) * u128::from(ns_per_tick());
    u64::try_from(wide >> FRACTION_BITS).unwrap_or(u64::MAX)
}

/// How many microseconds `delta` ticks take.
#[inline]
pub fn ticks_to_us(delta: u64) -> u64 {
    ticks_to_ns(delta) / 1000
}

/// How many ticks `ns` nanoseconds take, for deadlines: `ticks() + ns_to_ticks(budget_ns)`.
#[inline]
pub fn ns_to_ticks(ns: u64) -> u64 {
    let wide = (u128::from(ns) << FRACTION_BITS) / u128::from(ns_per_tick().max(1));
    u64::try_from(wide).unwrap_or(u64::MAX)
}

/// Never 0.
#[inline]
fn ns_per_tick() -> u64 {
    let measure_at = MEASURE_AT_TICKS.load(Ordering::Relaxed);
    if measure_at != u64::MAX && ticks() >= measure_at {
        measure();
    }
    NS_PER_TICK.load(Ordering::Relaxed)
}

/// Takes the rate over the window since the start. Threads may do it at once: all store about the
/// same, and either value is good.
#[cold]
fn measure() {
    let start = start();
    if !start.uses_tsc {
        NS_PER_TICK.store(1 << FRACTION_BITS, Ordering::Relaxed);
        MEASURE_AT_TICKS.store(u64::MAX, Ordering::Relaxed);
        return;
    }
    let begin = start.moment;
    let mut now = Moment::now(true);
    while now.ns.saturating_sub(begin.ns) < WINDOW_NS_MIN || now.ticks <= begin.ticks {
        std::hint::spin_loop();
        now = Moment::now(true);
    }
    let (window_ns, window_ticks) = (now.ns - begin.ns, now.ticks - begin.ticks);
    let rate = (u128::from(window_ns) << FRACTION_BITS) / u128::from(window_ticks);
    NS_PER_TICK.store(
        u64::try_from(rate).unwrap_or(u64::MAX).max(1),
        Ordering::Relaxed,
    );
    let next = if window_ns >= WINDOW_NS_FINAL {
        u64::MAX
    } else {
        now.ticks.saturating_add(window_ticks)
    };
    MEASURE_AT_TICKS.store(next, Ordering::Relaxed);
}

impl Moment {
    /// The best of a few pairs: the one whose readings are closest together, so that an interrupt
    /// between them does no harm.
    fn now(uses_tsc: bool) -> Self {
        if !uses_tsc {
            let ns = monotonic_ns();
            return Moment { ticks: ns, ns };
        }
        let mut best = (u64::MAX, Moment { ticks: 0, ns: 0 });
        for _ in 0..3 {
            let before = read_tsc();
            let ns = monotonic_ns();
            let gap = read_tsc().saturating_sub(before);
            if gap < best.0 {
                best = (
                    gap,
                    Moment {
                        ticks: before + gap / 2,
                        ns,
                    },
                );
            }
        }
        best.1
    }
}

fn monotonic_ns() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is a valid place for the answer, and the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline]
fn read_tsc() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, and Linux lets programs use it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
#[inline]
fn read_tsc() -> u64 {
    monotonic_ns()
}

/// Whether the counter runs at one rate in all power states (CPUID) and the kernel, which tests
/// that the processors agree, has not turned it down as a clock.
#[cfg(all(target_arch = "x86_64", not(miri)))]
fn tsc_is_reliable() -> bool {
    use core::arch::x86_64::__cpuid;
    const INVARIANT: u32 = 1 << 8;
    // `unsafe` in older compilers only.
    #[allow(unused_unsafe)]
    // SAFETY: every x86-64 processor has CPUID, and leaf 0x80000000 tells which leaves exist.
    let invariant = unsafe {
        __cpuid(0x8000_0000).eax >= 0x8000_0007 && __cpuid(0x8000_0007).edx & INVARIANT != 0
    };
    let clock =
        std::fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    invariant
        && clock.map_or(true, |name| {
            !matches!(name.trim(), "hpet" | "acpi_pm" | "jiffies")
        })
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
fn tsc_is_reliable() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_follow_the_monotonic_clock() {
        init();
        let (ticks_before, ns_before) = (ticks(), monotonic_ns());
        while monotonic_ns() - ns_before < 2_000_000 {}
        let (ticks_after, ns_after) = (ticks(), monotonic_ns());
        let by_ticks = ticks_to_ns(ticks_after - ticks_before);
        let by_clock = ns_after - ns_before;
        // Preemption between the two readings is the only thing that may part them.
        assert!(
            by_ticks.abs_diff(by_clock) < by_clock / 4,
            "{by_ticks} ns, clock {by_clock} ns"
        );
    }

    #[test]
    fn conversions_are_each_others_inverse() {
        for ns in [1_000, 1_000_000, 3_600_000_000_000] {
            let back = ticks_to_ns(ns_to_ticks(ns));
            assert!(back.abs_diff(ns) <= ns / 20 + 2, "{ns} came back as {back}");
        }
        assert_eq!(ticks_to_ns(0), 0);
        assert!((5_000..6_000).contains(&ticks_to_us(ns_to_ticks(5_500_000))));
        // Nothing overflows.
        ticks_to_ns(u64::MAX);
        ns_to_ticks(u64::MAX);
    }

    #[test]
    fn ticks_never_run_backwards_on_a_thread() {
        let mut last = ticks();
        for _ in 0..100_000 {
            let now = ticks();
            assert!(now >= last);
            last = now;
        }
    }
}
