//! Configuration files, of both kinds: any bytes are refused with a reason, or become a configuration that
//! CONFIG REWRITE brings back: a file that is written from nothing gives the same values, and a second
//! rewrite changes nothing. What `--check-compat` finds in it, it finds without a fault.
//!
//! The first byte chooses the kind of file and whether CONFIG SET is tried; the rest is the file. It is
//! changed by lines.
#![no_main]

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

use kivi::config::{self, ConfigStore, RewriteError, Sources};
use kivi_fuzz::directives;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

thread_local! {
    /// Where the files are: in memory, if there is such a place.
    static FOLDER: RefCell<PathBuf> = RefCell::new({
        let shm = PathBuf::from("/dev/shm");
        let base = if shm.is_dir() { shm } else { std::env::temp_dir() };
        let folder = base.join(format!("kivi-fuzz-config-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        folder
    });
}

fn load(file: &Path) -> Option<ConfigStore> {
    let file = Some(file.to_path_buf());
    let loaded = config::load(&Sources {
        file,
        ..Sources::default()
    });
    match loaded {
        Ok((store, _)) => Some(store),
        Err(error) => {
            assert!(!error.reason.is_empty() && !error.to_string().is_empty());
            None
        }
    }
}

fn values(store: &ConfigStore) -> Vec<(String, Vec<u8>)> {
    store.get(&[b"*"])
}

/// Rewrites into the file that is there; whether it could be.
fn rewrite(store: &ConfigStore) -> bool {
    match store.rewrite(Vec::new()) {
        Ok(()) => true,
        // TOML is text, and not every value is.
        Err(RewriteError::Unwritable(_)) => false,
        Err(error) => panic!("{error}"),
    }
}

/// CONFIG SET with lines of the file.
fn set(store: &mut ConfigStore, text: &[u8]) {
    for line in text.split(|&byte| byte == b'\n').take(20) {
        let Some(at) = line.iter().position(|&byte| byte == b' ') else {
            continue;
        };
        let before = values(store);
        if store.set(&[(&line[..at], &line[at + 1..])], true).is_err() {
            assert_eq!(values(store), before);
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let [choice, text @ ..] = data else { return };
    let includes = |word: &[u8]| word.eq_ignore_ascii_case(b"include");
    if text.windows(7).any(includes) {
        // That would be files of this machine.
        return;
    }
    FOLDER.with_borrow(|folder| {
        let name = if choice & 1 == 0 {
            "kivi.conf"
        } else {
            "kivi.toml"
        };
        let file = folder.join(name);
        fs::write(&file, text).expect("a file");
        let _ = config::compat::survey(&file);
        let Some(mut store) = load(&file) else { return };
        if choice & 2 != 0 {
            set(&mut store, text);
        }
        let wanted = values(&store);
        if !rewrite(&store) {
            return;
        }
        let once = fs::read(&file).expect("a file");
        let again = load(&file).expect("what was written can be loaded");
        assert_eq!(values(&again), wanted);
        assert!(rewrite(&again));
        assert_eq!(
            fs::read(&file).expect("a file"),
            once,
            "a second time changes nothing"
        );
        // The same from nothing.
        fs::write(&file, b"").expect("a file");
        if rewrite(&store) {
            assert_eq!(
                values(&load(&file).expect("what was written can be loaded")),
                wanted
            );
        }
    });
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    directives::mutate(data, size, max_size, seed)
});
