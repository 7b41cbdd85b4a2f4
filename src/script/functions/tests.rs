//! The registry and interpreters with libraries, without commands.

use super::*;
use crate::resp::parse::Argv;
use crate::resp::write::ReplyWriter;
use crate::script::vm::Use;
use crate::script::{Caller, LogLevel, Repl, Tick};

fn options() -> LoadOptions {
    LoadOptions {
        settings: Settings {
            used_for: Use::Functions,
            memory_limit_bytes: 64 << 20,
            has_insecure_api: false,
            redis_version: "7.2.4",
            kivi_version: "0",
        },
        limit: Duration::from_secs(10),
    }
}

/// A library whose functions answer how often they were called.
fn counting(name: &str, functions: &[&str]) -> String {
    let mut source = format!("#!lua name={name}\nlocal n = 0\n");
    for function in functions {
        source +=
            &format!("redis.register_function('{function}', function() n = n + 1 return n end)\n");
    }
    source
}

fn loaded(libraries: &Libraries, source: &str) -> Arc<Library> {
    let loaded = libraries.load(source.as_bytes(), false, &options());
    loaded.expect("a library")
}

fn names(registry: &Registry) -> Vec<&str> {
    registry.libraries().map(|library| &*library.name).collect()
}

/// A server that has nothing to do.
struct Nobody;

impl Caller for Nobody {
    fn call(&mut self, _: Argv<'_>, _: &mut ReplyWriter) -> Result<(), CmdError> {
        Err(CmdError::Syntax)
    }

    fn tick(&mut self) -> Tick {
        Tick::Continue
    }

    fn log(&mut self, _: LogLevel, _: String) {}

    fn set_repl(&mut self, _: Repl) {}

    fn acl_check_cmd(&mut self, _: Argv<'_>) -> Result<bool, CmdError> {
        Ok(true)
    }
}

/// Calls a function without arguments; its reply.
fn call(shelf: &mut Shelf, found: &Found) -> String {
    let code = shelf.function(found).expect("it can be loaded");
    shelf
        .vm
        .run(code, Argv::new(&[], &[]), 0, &mut Nobody)
        .expect("it runs");
    let mut out = ReplyWriter::new();
    shelf.vm.reply(&mut out, &mut |_, _| {});
    String::from_utf8(out.to_vec()).expect("text")
}

#[test]
fn whoever_looks_keeps_what_he_has_seen() {
    let libraries = Libraries::default();
    let epoch = libraries.epoch();
    loaded(&libraries, &counting("one", &["f"]));
    assert!(libraries.epoch() > epoch);
    let before = libraries.current();
    loaded(&libraries, &counting("two", &["g"]));
    assert!(libraries.delete(b"one"));
    assert!(!libraries.delete(b"one"));
    assert_eq!(names(&before), ["one"]);
    assert!(before.function(b"F").is_some());
    let after = libraries.current();
    assert_eq!(names(&after), ["two"]);
    assert!(after.function(b"f").is_none());
    assert_eq!(after.functions(), 1);
    libraries.flush();
    assert_eq!((after.functions(), libraries.current().functions()), (1, 0));
    assert_eq!(libraries.current().bytes(), 0);
    assert_eq!(libraries.home_bytes(), 0);
}

#[test]
fn what_fails_changes_nothing_and_is_forgotten_at_home() {
    let libraries = Libraries::default();
    loaded(&libraries, &counting("one", &["f", "other"]));
    let (epoch, bytes) = (libraries.epoch(), libraries.current().bytes());
    let kept = |libraries: &Libraries| libraries.home.lock().as_ref().map(|home| home.libraries());
    assert_eq!(kept(&libraries), Some(1));
    for (source, replace) in [
        (counting("one", &["g"]), false),
        (counting("two", &["f"]), false),
        (counting("two", &["F"]), true),
        (counting("two", &["g", "h", "OTHER"]), false),
        (counting("two", &["g", "G"]), false),
        (counting("two", &["g", "no-name"]), false),
        (format!("{} nothing()", counting("two", &["g"])), false),
        (counting("two", &[]), false),
    ] {
        let refused = libraries.load(source.as_bytes(), replace, &options());
        assert!(refused.is_err(), "{source}");
        let sources = [counting("three", &["t"]), source.clone()];
        let restored = libraries.restore(&sources, RestorePolicy::Append, &options());
        assert!(restored.is_err(), "{source}");
        assert_eq!(kept(&libraries), Some(1), "{source}");
    }
    assert_eq!(libraries.epoch(), epoch);
    assert_eq!(libraries.current().bytes(), bytes);
    // Replaced by one that has some of its functions.
    let source = counting("one", &["F", "g"]);
    libraries
        .load(source.as_bytes(), true, &options())
        .expect("it takes its place");
    assert_eq!(libraries.current().functions(), 2);
    assert!(libraries.current().function(b"other").is_none());
}

#[test]
fn policies_of_a_restore() {
    let sources = [counting("one", &["a"]), counting("two", &["b"])];
    let restore = |libraries: &Libraries, policy| libraries.restore(&sources, policy, &options());
    let libraries = Libraries::default();
    restore(&libraries, RestorePolicy::Append).expect("they are new");
    assert!(restore(&libraries, RestorePolicy::Append).is_err());
    loaded(&libraries, &counting("three", &["c"]));
    restore(&libraries, RestorePolicy::Replace).expect("they take their places");
    assert_eq!(names(&libraries.current()), ["three", "one", "two"]);
    restore(&libraries, RestorePolicy::Flush).expect("they are all there is");
    assert_eq!(names(&libraries.current()), ["one", "two"]);
    loaded(&libraries, &counting("three", &["c"]));
    libraries.delete(b"one");
    loaded(&libraries, &counting("four", &["A"]));
    // Not even in part.
    assert!(restore(&libraries, RestorePolicy::Replace).is_err());
    assert_eq!(names(&libraries.current()), ["two", "three", "four"]);
    let nothing: [&str; 0] = [];
    libraries
        .restore(&nothing, RestorePolicy::Flush, &options())
        .expect("nothing");
    assert_eq!(libraries.current().libraries().len(), 0);
}

#[test]
fn every_shelf_loads_what_it_is_asked_for() {
    let libraries = Libraries::default();
    loaded(&libraries, &counting("one", &["f", "g"]));
    let registry = libraries.current();
    let (f, g) = (
        registry.function(b"f").unwrap(),
        registry.function(b"g").unwrap(),
    );
    let mut shelves = [(); 2].map(|()| Shelf::new(&options().settings));
    for shelf in &mut shelves {
        shelf.follow(libraries.epoch(), &registry);
        assert_eq!(call(shelf, f), ":1\r\n");
        assert_eq!(call(shelf, g), ":2\r\n");
        assert_eq!(shelf.libraries(), 1);
    }
    // At home it was loaded before.
    let mut home = libraries.home.lock();
    let home = home.as_mut().expect("it was made");
    assert_eq!(home.libraries(), 1);
    assert_eq!(call(home, f), ":1\r\n");
}

#[test]
fn who_is_late_takes_nothing_away() {
    let libraries = Libraries::default();
    loaded(&libraries, &counting("one", &["f"]));
    let (old_epoch, old) = (libraries.epoch(), libraries.current());
    loaded(&libraries, &counting("two", &["g"]));
    let (epoch, registry) = (libraries.epoch(), libraries.current());
    let mut shelf = Shelf::new(&options().settings);
    shelf.follow(epoch, &registry);
    let g = registry.function(b"g").unwrap();
    assert_eq!(call(&mut shelf, g), ":1\r\n");
    // Somebody who has looked before the second came, and is slow.
    shelf.follow(old_epoch, &old);
    assert_eq!(call(&mut shelf, old.function(b"f").unwrap()), ":1\r\n");
    shelf.follow(epoch, &registry);
    assert_eq!(call(&mut shelf, g), ":2\r\n");
    libraries.delete(b"two");
    shelf.follow(libraries.epoch(), &libraries.current());
    assert_eq!(shelf.libraries(), 1);
}

#[test]
fn the_same_name_is_found_in_any_case_and_length() {
    let libraries = Libraries::default();
    let long = "Long_".repeat(100);
    loaded(&libraries, &counting("one", &["Mixed_Case1", &long]));
    let registry = libraries.current();
    for name in ["Mixed_Case1", "mixed_case1", "MIXED_CASE1"] {
        assert_eq!(registry.function(name.as_bytes()).unwrap().index, 0);
    }
    assert_eq!(
        registry
            .function(long.to_uppercase().as_bytes())
            .unwrap()
            .index,
        1
    );
    assert!(registry.function(b"").is_none());
    assert!(registry.function(b"mixed_case").is_none());
    assert!(registry.library(b"ONE").is_none());
    assert!(registry.library(b"\xff").is_none());
}
