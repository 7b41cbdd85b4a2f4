//! The cache of scripts: what is kept, what goes, and what workers learn of it.

use super::*;

fn script(source: &str) -> Arc<Script> {
    Arc::new(Script::new(source.as_bytes()).unwrap())
}

fn has(cache: &Cache, source: &str) -> bool {
    cache.by_sha(&sha_of(source.as_bytes())).is_some()
}

#[test]
fn names_are_hexadecimal_in_any_case() {
    let script = script("return 1");
    let sha = b"e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
    assert_eq!(&script.sha, sha);
    assert_eq!(parse_sha(sha), Some(sha_of(b"return 1")));
    assert_eq!(parse_sha(&sha.to_ascii_uppercase()), parse_sha(sha));
    for bad in [&b""[..], b"x", &sha[1..], &[b'g'; 40], &[b'/'; 40]] {
        assert_eq!(parse_sha(bad), None);
    }
}

#[test]
fn the_code_begins_behind_the_shebang() {
    assert_eq!(script("return 1").code(), b"return 1");
    assert_eq!(script("#!lua\nreturn 1").code(), b"\nreturn 1");
}

#[test]
fn what_eval_brought_goes_when_others_were_used_later() {
    let cache = Cache::default();
    let source = |n: usize| format!("return {n}");
    for n in 0..EVALUATED_MAX {
        cache.evaluate(script(&source(n)), n as u64 + 1);
    }
    assert_eq!(cache.figures().scripts, EVALUATED_MAX);
    assert_eq!(cache.epoch(), 0);
    // The oldest one runs again, and the next one is loaded.
    let far = noted_ticks() + EVALUATED_MAX as u64 + 2;
    cache.by_sha(&sha_of(b"return 0")).unwrap().note_use(far);
    cache.load(script("return 1"));
    cache.evaluate(script("return 'a'"), far + 1);
    assert_eq!(cache.figures().evicted, 0, "one of them does not count");
    for text in ["return 'b'", "return 'c'"] {
        cache.evaluate(script(text), far + 2);
    }
    assert_eq!(cache.figures().evicted, 2);
    assert_eq!(cache.epoch(), 2);
    let gone: Vec<usize> = (0..EVALUATED_MAX)
        .filter(|&n| !has(&cache, &source(n)))
        .collect();
    assert_eq!(gone, [2, 3]);
    assert_eq!(cache.figures().scripts, EVALUATED_MAX + 1);
}

#[test]
fn what_was_loaded_stays() {
    let cache = Cache::default();
    for n in 0..2 * EVALUATED_MAX {
        cache.load(script(&format!("return {n}")));
    }
    let figures = cache.figures();
    assert_eq!((figures.scripts, figures.evicted), (2 * EVALUATED_MAX, 0));
    assert!(figures.bytes > 2 * EVALUATED_MAX as u64 * size_of::<Script>() as u64);
    // Loaded first, then evaluated: it stays loaded.
    cache.evaluate(script("return 0"), 1);
    for n in 0..=EVALUATED_MAX {
        cache.evaluate(script(&format!("return 'x{n}'")), 2);
    }
    assert!(has(&cache, "return 0"));
    assert_eq!(cache.figures().evicted, 1);
}

#[test]
fn a_flush_takes_all_and_the_same_source_is_another_script_then() {
    let cache = Cache::default();
    let before = cache.evaluate(script("return 1"), 1);
    cache.load(script("return 2"));
    assert!(cache.has(&before));
    drop(cache.flush());
    assert!(!cache.has(&before));
    assert_eq!(cache.epoch(), 1);
    assert_eq!(cache.figures().bytes, 0);
    assert!(!has(&cache, "return 1") && !has(&cache, "return 2"));
    let after = cache.evaluate(script("return 1"), 2);
    assert!(cache.has(&after) && !cache.has(&before));
    assert_ne!(before.id, after.id);
}

#[test]
fn two_clients_that_bring_one_script_share_it() {
    let cache = Cache::default();
    let first = cache.evaluate(script("return 1"), 1);
    let second = cache.evaluate(script("return 1"), 1);
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!(cache.figures().scripts, 1);
}

#[test]
fn a_worker_follows_the_cache() {
    let cache = Cache::default();
    let mut recent = Recent::default();
    let sha = sha_of(b"return 1");
    assert!(recent.by_source(&cache, b"return 1", 1).is_none());
    assert!(recent.by_sha(&cache, &sha, 1).is_none());
    let kept = cache.evaluate(script("return 1"), 1);
    for _ in 0..2 {
        let found = recent.by_source(&cache, b"return 1", 1).unwrap();
        assert!(Arc::ptr_eq(found, &kept));
        assert!(Arc::ptr_eq(recent.by_sha(&cache, &sha, 1).unwrap(), &kept));
    }
    drop(cache.flush());
    assert!(recent.by_source(&cache, b"return 1", 1).is_none());
    assert!(recent.by_sha(&cache, &sha, 1).is_none());
    assert_eq!(Arc::strong_count(&kept), 1, "the worker let go of it");
}

#[test]
fn uses_are_noted_though_not_each() {
    let script = script("return 1");
    let step = noted_ticks();
    for (tick, noted) in [
        (10 * step, 10 * step),
        (10 * step + 1, 10 * step),
        (11 * step + 1, 11 * step + 1),
        (5, 11 * step + 1),
    ] {
        script.note_use(tick);
        assert_eq!(script.used_at.load(Ordering::Relaxed), noted);
    }
}
