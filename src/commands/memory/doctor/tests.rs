//! Tests of MEMORY DOCTOR. `valkey.txt` has reports of Valkey 9.1.2: of an empty server; of one with too
//! many resident pages, large clients and many scripts; and of the same after a peak.

use super::*;

const MIB: u64 = 1 << 20;

/// A server with 100 MiB and nothing unusual.
fn healthy() -> Patient {
    let none = Part {
        ratio: 1.0,
        bytes: 0,
    };
    Patient {
        used_bytes: 100 * MIB,
        peak_bytes: 100 * MIB,
        total: none,
        fragmentation: none,
        allocator_rss: none,
        rss_overhead: none,
        client_bytes: 2000,
        scripts: 1,
    }
}

const LARGE: Part = Part {
    ratio: 1.5,
    bytes: 50 << 20,
};

#[test]
fn the_reports_are_valkey_s() {
    let reports: Vec<&str> = include_str!("valkey.txt").split("=====\n").collect();
    let empty = Patient {
        used_bytes: 5 * MIB - 1,
        allocator_rss: LARGE,
        ..healthy()
    };
    assert_eq!(empty.report(), reports[0]);
    let mut busy = Patient {
        used_bytes: 5 * MIB,
        peak_bytes: 5 * MIB,
        allocator_rss: LARGE,
        client_bytes: 200 * 1024 + 1,
        scripts: 1001,
        ..healthy()
    };
    assert_eq!(busy.report(), reports[1]);
    busy.peak_bytes = 8 * MIB;
    assert_eq!(busy.report(), reports[2]);
}

#[test]
fn nothing_is_found_at_the_bounds() {
    let large = |ratio, bytes| Part { ratio, bytes };
    let mut patient = Patient {
        peak_bytes: 150 * MIB,
        total: large(1.4, 40 << 20),
        fragmentation: large(1.1, 11 << 20),
        allocator_rss: large(9.0, 10 << 20),
        rss_overhead: large(1.05, 50 << 20),
        client_bytes: 200 * 1024,
        scripts: 1000,
        ..healthy()
    };
    assert_eq!(patient.report(), HEALTHY);
    patient.total = LARGE;
    let report = patient.report();
    assert!(report.starts_with(HEAD) && report.ends_with(FOOT));
    assert!(report.contains(" * High total RSS: "), "{report}");
    let allocator = format!("allocator is \"{}\".", alloc::version());
    assert!(report.contains(&allocator), "{report}");
    patient.total = healthy().total;
    patient.fragmentation = LARGE;
    assert!(
        patient
            .report()
            .contains(" * High allocator fragmentation: ")
    );
    patient.fragmentation = healthy().fragmentation;
    patient.rss_overhead = LARGE;
    assert!(patient.report().contains(" * High process RSS overhead: "));
}
