//! The append-only file: whatever it holds, it is loaded, cut back to whole commands, or refused; what
//! was cut back is loaded whole the next time, with the same commands.
//!
//! The first byte chooses what the rest is: the manifest, the BASE, an INCR file, or an old file of
//! before Redis 7. No file needs more memory than some times its length.
#![no_main]

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kivi::db::DbIndex;
use kivi::persist::aof::{Aof, AofError, LoadOptions, Loaded, Place, Settings, Target};
use kivi::persist::disk::Disk;
use kivi::persist::disk::fake::FakeDisk;
use kivi::resp::Argv;
use libfuzzer_sys::fuzz_target;

const DIR: &str = "/data";

#[derive(Default, PartialEq, Debug)]
struct Commands(Vec<(u32, Vec<Vec<u8>>)>);

impl Target for Commands {
    fn run(&mut self, db: DbIndex, argv: Argv<'_>) -> Result<(), String> {
        assert!(!argv.is_empty() && db.0 < 16);
        self.0
            .push((db.0, argv.iter().map(<[u8]>::to_vec).collect()));
        Ok(())
    }

    fn load_rdb(&mut self, mut input: Box<dyn Read + Send>) -> Result<u64, String> {
        // The magic, and as many bytes as the next one says.
        let mut head = [0; 9];
        input
            .read_exact(&mut head)
            .map_err(|error| error.to_string())?;
        Ok(9 + u64::from(head[8] & 7))
    }
}

fn load(disk: &FakeDisk, truncated: bool) -> (Result<Loaded, AofError>, Commands) {
    let place = Place {
        dir: DIR.into(),
        dirname: "a".into(),
        filename: "f".into(),
    };
    let mut commands = Commands::default();
    let databases = 16;
    let loaded = Aof::open(Arc::new(disk.clone()), place, Settings::default()).and_then(|aof| {
        aof.load(
            LoadOptions {
                truncated,
                databases,
            },
            &mut commands,
        )
    });
    (loaded, commands)
}

fn at(name: &str) -> PathBuf {
    Path::new(DIR).join("a").join(name)
}

fuzz_target!(|data: &[u8]| {
    let [kind, bytes @ ..] = data else { return };
    let disk = FakeDisk::new(DIR);
    if kind & 3 == 3 {
        disk.put(&Path::new(DIR).join("f"), bytes);
    } else {
        disk.create_dir(&Path::new(DIR).join("a"))
            .expect("a directory");
        disk.put(
            &at("f.manifest"),
            b"file b seq 1 type b\nfile i seq 1 type i\n",
        );
        disk.put(&at("b"), b"");
        disk.put(&at("i"), b"*1\r\n$4\r\nPING\r\n");
        disk.put(&at(["f.manifest", "b", "i"][usize::from(kind & 3)]), bytes);
    }
    let strict = load(&disk, false);
    let (loaded, commands) = load(&disk, true);
    match loaded {
        Ok(Loaded::Truncated) => {
            assert!(strict.0.is_err());
            let (again, same) = load(&disk, false);
            assert!(matches!(again, Ok(Loaded::Ok | Loaded::Empty)));
            assert_eq!(commands, same);
        }
        Ok(loaded) => assert_eq!((Ok(loaded), commands), strict),
        Err(_) => assert!(strict.0.is_err()),
    }
});
