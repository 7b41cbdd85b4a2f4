//! When `activedefrag` works and how much, and its figures; what it moves is tested where that is.

use super::*;

fn settings() -> Settings {
    Settings {
        is_on: true,
        ignored_bytes: 1000,
        lower_percent: 10,
        upper_percent: 100,
        cycle_min_percent: 1,
        cycle_max_percent: 25,
        cycle_us: 500,
        elements_max: 1000,
    }
}

#[test]
fn the_effort_grows_with_what_is_wasted() {
    let settings = settings();
    assert_eq!(settings.effort(100_000, 9_999, false), None);
    assert_eq!(settings.effort(100_000, 10_000, false), Some(1));
    assert_eq!(settings.effort(100_000, 55_000, false), Some(13));
    assert_eq!(settings.effort(100_000, 100_000, false), Some(25));
    assert_eq!(settings.effort(100_000, u64::MAX, false), Some(25));
    // Little in bytes is nothing to care about, and what is little depends on what there is.
    assert_eq!(settings.effort(8000, 999, false), None);
    assert_eq!(settings.effort(8000, 1000, false), Some(1));
    assert_eq!(settings.effort(2000, 249, false), None);
    assert_eq!(settings.effort(2000, 250, false), Some(1));
    assert_eq!(settings.effort(100, 100, false), Some(25));
    assert_eq!(settings.effort(99, 99, false), None);
    assert_eq!(settings.effort(0, 0, false), None);
    // What was begun is brought to an end.
    assert_eq!(settings.effort(2000, 999, true), Some(11));
    assert_eq!(settings.effort(2000, 200, true), Some(1));
    assert_eq!(settings.effort(2000, 199, true), None);
    assert_eq!(settings.effort(500, 99, true), None);
    // Directives that contradict each other.
    let reversed = Settings {
        lower_percent: 100,
        upper_percent: 10,
        cycle_min_percent: 50,
        cycle_max_percent: 5,
        ..settings
    };
    assert_eq!(reversed.effort(10_000, 9_000, false), None);
    assert_eq!(reversed.effort(10_000, 10_000, false), Some(50));
}

#[test]
fn a_pass_in_vain_is_not_repeated_at_once() {
    let mut patience = Patience::default();
    let now = Instant::now();
    assert!(patience.has_hope(1, now));
    patience.note_pass(1000, 500, (0, 1000), now);
    assert!(patience.has_hope(500, now));
    patience.note_pass(500, 480, (63, 1000), now);
    assert!(patience.has_hope(480, now), "much was moved");
    patience.note_pass(500, 480, (62, 1000), now);
    assert!(!patience.has_hope(480, now));
    assert!(!patience.has_hope(500, now + PATIENCE / 2));
    assert!(patience.has_hope(600, now), "more is wasted now");
    assert!(patience.has_hope(480, now + PATIENCE));
}

#[test]
fn figures_are_of_work() {
    let defrag = Defrag::default();
    assert_eq!(defrag.stats(), DefragStats::default());
    defrag.run(7);
    let mut mover = Mover::of_all();
    (mover.moved, mover.left) = (1, 2);
    (mover.keys_moved, mover.keys_left) = (3, 4);
    defrag.note(&mover);
    let stats = defrag.stats();
    assert_eq!((stats.running_percent, stats.hits, stats.misses), (7, 1, 2));
    assert_eq!((stats.key_hits, stats.key_misses), (3, 4));
    assert!(stats.total_ms >= stats.current_ms);
    defrag.rest();
    let stats = defrag.stats();
    assert_eq!((stats.running_percent, stats.current_ms), (0, 0));
    defrag.reset_stats();
    assert_eq!(defrag.stats(), DefragStats::default());
}
