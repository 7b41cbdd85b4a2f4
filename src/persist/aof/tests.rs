//! Tests of the log: a rig with a fake disk, a log that is stepped by hand, and a target that keeps
//! what is loaded; then manifest and reader. The folder holds loading, logging, faults and `check`.

mod check;
mod faults;
mod load;
mod log;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::load::{LoadOptions, Loaded, Target};
use super::log::{AppendFsync, Log, Settings, Step};
use super::manifest::Manifest;
use super::read::{Batch, End, Scanner};
use super::{Aof, AofError, Place};
use crate::db::DbIndex;
use crate::db::oplog::OpLog;
use crate::persist::disk::fake::FakeDisk;
use crate::persist::disk::{Disk, OpenMode, write_all};
use crate::resp::parse::Argv;
use crate::util::rng::Rng;

const DIR: &str = "/data";
const LOAD: LoadOptions = LoadOptions {
    truncated: true,
    databases: 16,
};

fn place() -> Place {
    Place {
        dir: DIR.into(),
        dirname: "appendonlydir".into(),
        filename: "appendonly.aof".into(),
    }
}

fn at(name: &str) -> PathBuf {
    Path::new(DIR).join("appendonlydir").join(name)
}

fn settings(appendfsync: AppendFsync) -> Settings {
    Settings {
        appendfsync,
        ..Settings::default()
    }
}

fn open(disk: &FakeDisk, settings: Settings) -> Result<Aof, AofError> {
    Aof::open(Arc::new(disk.clone()), place(), settings)
}

/// A file as text, for comparison.
#[track_caller]
fn text(disk: &FakeDisk, name: &str) -> String {
    let content = disk.content(&at(name));
    let content = content.unwrap_or_else(|| panic!("no {name} in {:?}", disk.paths()));
    String::from_utf8_lossy(&content).into_owned()
}

/// A request from words.
fn request(line: &str) -> Vec<u8> {
    let words: Vec<&str> = line.split(' ').collect();
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        out.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    out
}

fn requests(lines: &[&str]) -> Vec<u8> {
    lines.iter().flat_map(|line| request(line)).collect()
}

/// Keeps what is loaded: a snapshot is `REDIS`, words, and a line feed.
#[derive(Default)]
struct Kept {
    lines: Vec<String>,
    files: Vec<String>,
}

impl Target for Kept {
    fn begin_file(&mut self, name: &str) {
        self.files.push(name.to_owned());
    }

    fn run(&mut self, db: DbIndex, argv: Argv<'_>) -> Result<(), String> {
        let words: Vec<_> = argv.iter().map(String::from_utf8_lossy).collect();
        if words[0] == "NONSENSE" {
            return Err("Unknown command 'NONSENSE' reading the append only file".to_owned());
        }
        self.lines.push(format!("{}:{}", db.0, words.join(" ")));
        Ok(())
    }

    fn load_rdb(&mut self, mut input: Box<dyn Read + Send>) -> Result<u64, String> {
        let mut bytes = Vec::new();
        input.read_to_end(&mut bytes).map_err(|e| e.to_string())?;
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let end = end.ok_or("no end of the snapshot")?;
        let words = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let words = words.split(' ').skip(1);
        self.lines
            .extend(words.map(|word| format!("0:RPUSH l {word}")));
        Ok(end as u64 + 1)
    }
}

/// A snapshot for [`Kept`].
fn snapshot(words: &[String]) -> Vec<u8> {
    let mut text = "REDIS".to_owned();
    for word in words {
        text.push(' ');
        text.push_str(word);
    }
    text.push('\n');
    text.into_bytes()
}

/// Writes a snapshot as a rewrite does.
fn write_base(disk: &FakeDisk, path: &Path, words: &[String]) -> Result<(), String> {
    let write = || {
        let file = disk.open(path, OpenMode::Create)?;
        write_all(&*file, &snapshot(words)).map_err(|failed| failed.error)?;
        file.sync_data()
    };
    write().map_err(|error| error.to_string())
}

fn append(oplog: &OpLog, line: &str) -> u64 {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    oplog.append(DbIndex(0), words.into_iter())
}

/// Steps until there is nothing to do, doing what the other thread would.
fn settle(log: &mut Log<'_>, aof: &Aof, now_ms: u64) -> Result<Step, AofError> {
    for _ in 0..100 {
        let step = log.step(now_ms)?;
        let synced = aof.parts().0.sync.serve_one();
        let is_done = matches!(step, Step::Sleep(_) | Step::Stop);
        if is_done && !synced {
            return Ok(step);
        }
    }
    Ok(Step::Again)
}

mod manifests {
    use super::*;

    const WHOLE: &str = "file appendonly.aof.2.base.rdb seq 2 type b\n\
                         file appendonly.aof.1.base.rdb seq 1 type h\n\
                         file appendonly.aof.2.incr.aof seq 2 type i\n\
                         file appendonly.aof.3.incr.aof seq 3 type i\n";

    #[test]
    fn text_comes_back_as_it_was() {
        let manifest = Manifest::parse(WHOLE.as_bytes()).unwrap();
        assert_eq!((manifest.base_seq, manifest.incr_seq), (2, 3));
        assert_eq!(String::from_utf8(manifest.to_bytes()).unwrap(), WHOLE);
        let quoted = "file \"a b\\\"c\\xc3\\xa9\" seq 1 type b\n";
        let manifest = Manifest::parse(quoted.as_bytes()).unwrap();
        assert_eq!(manifest.base.as_ref().unwrap().name, "a b\"cé");
        assert_eq!(String::from_utf8(manifest.to_bytes()).unwrap(), quoted);
    }

    #[test]
    fn comments_and_what_later_versions_add_are_skipped() {
        let text = "# hello\r\n \tFILE x SEQ 7 TYPE i startoffset 5\r\n#end";
        let manifest = Manifest::parse(text.as_bytes()).unwrap();
        assert_eq!(manifest.incr[0].name, "x");
        assert_eq!(manifest.incr_seq, 7);
    }

    /// The texts are those of valkey-check-aof 9.1.2.
    #[test]
    fn faults_are_told_as_redis_does() {
        let long = format!("file {} seq 1 type b\n", "x".repeat(1024));
        let cases = [
            ("", None, "Found an empty AOF manifest"),
            (
                "file a seq 1 type b\nbad line\n",
                Some(2),
                "Invalid AOF manifest file format",
            ),
            (
                "file a seq 1 type b\n\n",
                Some(2),
                "Invalid AOF manifest file format",
            ),
            (
                "file a seq 1 type\n",
                Some(1),
                "Invalid AOF manifest file format",
            ),
            (
                "file a seq 1 type b x\n",
                Some(1),
                "Invalid AOF manifest file format",
            ),
            (
                "file a seq 0 type b\n",
                Some(1),
                "Invalid AOF manifest file format",
            ),
            (
                "file a type b size 1\n",
                Some(1),
                "Invalid AOF manifest file format",
            ),
            (
                "file \"\" seq 1 type b\n",
                Some(1),
                "Invalid AOF manifest file format",
            ),
            (
                "file \"a seq 1 type b\n",
                Some(1),
                "Invalid AOF manifest file format",
            ),
            (
                "file a/b seq 1 type b\n",
                Some(1),
                "File can't be a path, just a filename",
            ),
            ("file .. seq 1 type z\n", Some(1), "Unknown AOF file type"),
            (
                "file a seq 1 type b",
                None,
                "The AOF manifest file contains too long line",
            ),
            (&long, None, "The AOF manifest file contains too long line"),
            (
                "file a seq 2 type i\nfile b seq 2 type i\n",
                Some(2),
                "Found a non-monotonic sequence number",
            ),
            (
                "file a seq 1 type b\nfile b seq 2 type b\n",
                Some(2),
                "Found duplicate base file information",
            ),
        ];
        for (text, line, reason) in cases {
            let error = Manifest::parse(text.as_bytes()).unwrap_err();
            let number = error.line.as_ref().map(|(number, _)| *number);
            assert_eq!((number, error.reason), (line, reason), "{text:?}");
        }
        let error = Manifest::parse(b"file a seq 2 type z\n").unwrap_err();
        assert_eq!(
            error.paragraphs().join("\n"),
            "\n*** FATAL AOF MANIFEST FILE ERROR ***\n\n\
             Reading the manifest file, at line 1\n\n>>> 'file a seq 2 type z'\n\n\
             Unknown AOF file type\n"
        );
    }

    #[test]
    fn files_are_added_and_retired() {
        let mut manifest = Manifest::default();
        assert_eq!(manifest.push_base("a", true), "a.1.base.rdb");
        assert_eq!(manifest.push_incr("a"), "a.1.incr.aof");
        assert_eq!(manifest.push_incr("a"), "a.2.incr.aof");
        assert_eq!(manifest.push_incr("a"), "a.3.incr.aof");
        assert_eq!(manifest.push_base("a", false), "a.2.base.aof");
        manifest.retire_incr(3);
        let text = "file a.2.base.aof seq 2 type b\n\
                    file a.1.incr.aof seq 1 type h\n\
                    file a.2.incr.aof seq 2 type h\n\
                    file a.1.base.rdb seq 1 type h\n\
                    file a.3.incr.aof seq 3 type i\n";
        assert_eq!(String::from_utf8(manifest.to_bytes()).unwrap(), text);
        // A name that waits for its removal is not given out again.
        let mut again = Manifest::parse(b"file a.1.incr.aof seq 1 type h\n").unwrap();
        assert_eq!(again.push_incr("a"), "a.2.incr.aof");
    }

    #[test]
    fn any_bytes_are_read_without_harm() {
        let mut rng = Rng::from_seed(1);
        for _ in 0..20_000 {
            let mut text = WHOLE.as_bytes().to_vec();
            for _ in 0..=rng.index(4) {
                let place = rng.index(text.len());
                text[place] = rng.next_u64() as u8;
            }
            text.truncate(rng.index(text.len() + 1));
            if let Ok(manifest) = Manifest::parse(&text) {
                let again = Manifest::parse(&manifest.to_bytes());
                let is_empty = manifest.to_bytes().is_empty();
                assert!(is_empty || again.unwrap() == manifest);
            }
        }
    }
}

mod reading {
    use super::*;

    /// All requests, where each ends, and how the file ends.
    fn read(bytes: &[u8]) -> (Vec<(String, u64)>, End) {
        let disk = FakeDisk::new(DIR);
        let path = Path::new(DIR).join("f");
        disk.put(&path, bytes);
        let file = disk.open(&path, OpenMode::Read).unwrap();
        let mut scanner = Scanner::new(file, 0).unwrap();
        let mut batch = Batch::default();
        let mut all = Vec::new();
        loop {
            if let Err(end) = scanner.next(&mut batch) {
                return (all, end);
            }
            for index in 0..batch.len() {
                let words: Vec<_> = batch
                    .argv(index)
                    .iter()
                    .map(String::from_utf8_lossy)
                    .collect();
                all.push((words.join(" "), batch.end(index)));
            }
        }
    }

    #[test]
    fn requests_and_annotations_are_told_apart() {
        let first = request("SET k v");
        let mut bytes = first.clone();
        bytes.extend_from_slice(b"#TS:1234567890\r\n#x\n");
        bytes.extend_from_slice(&request("DEL k"));
        let (all, end) = read(&bytes);
        assert_eq!(
            all,
            [
                ("SET k v".into(), first.len() as u64),
                ("DEL k".into(), bytes.len() as u64)
            ]
        );
        assert!(matches!(end, End::Clean));
        assert!(matches!(read(b"").1, End::Clean));
        assert!(matches!(read(b"#only\n").1, End::Clean));
        assert!(matches!(read(b"#only").1, End::Torn(0)));
        assert!(matches!(
            read(&[b"#", &[b'x'; 2000][..]].concat()).1,
            End::Bad(0)
        ));
        // Room that a crash has kept from being reserved as a whole.
        assert!(matches!(read(&vec![b'#'; 2000]).1, End::Clean));
    }

    #[test]
    fn what_is_no_request_is_told_with_its_place() {
        let first = request("SET k v");
        for bad in [
            "x",
            "\r\n",
            "*0\r\n",
            "*-1\r\n",
            "*x\r\n",
            "*1\n$4\r\nPING\r\n",
            "*1\r\n#4\r\nPING\r\n",
            "*1\r\n$-4\r\nPING\r\n",
            "*1\r\n$\r\nPING\r\n",
            "*1\r\n$4\r\nPINGxx",
            "*1\r\n$4\rxPING\r\n",
            "*9999999999999999999\r\n$4\r\nPING\r\n",
            "*1\r\n$9999999999999999999\r\nPING\r\n",
        ] {
            let bytes = [&first[..], bad.as_bytes()].concat();
            let (all, end) = read(&bytes);
            assert_eq!(all.len(), 1, "{bad:?}");
            let place = first.len() as u64;
            assert!(
                matches!(end, End::Bad(at) if at == place),
                "{bad:?}: {end:?}"
            );
        }
        // Too long for what follows: torn, at once and without room for it.
        for torn in [
            "*1\r\n$99999999999999999\r\nx",
            "*99999999999999999\r\n$1\r\nx\r\n",
        ] {
            let end = read(torn.as_bytes()).1;
            assert!(matches!(end, End::Torn(0)), "{end:?}");
        }
    }

    #[test]
    fn a_file_cut_anywhere_gives_its_whole_requests() {
        let lines = ["SET k v", "DEL k", "RPUSH list a b c"];
        let bytes = requests(&lines);
        let (whole, _) = read(&bytes);
        for cut in 0..bytes.len() {
            let (all, end) = read(&bytes[..cut]);
            let expected = whole
                .iter()
                .take_while(|(_, end)| *end <= cut as u64)
                .count();
            assert_eq!(all, whole[..expected]);
            let start = whole[..expected].last().map_or(0, |(_, end)| *end);
            match start == cut as u64 {
                true => assert!(matches!(end, End::Clean), "at {cut}"),
                false => assert!(matches!(end, End::Torn(at) if at == start), "at {cut}"),
            }
        }
    }

    /// Requests of all lengths around that of a piece.
    #[test]
    fn long_requests_cross_pieces() {
        let mut rng = Rng::from_seed(7);
        for _ in 0..20 {
            let mut bytes = Vec::new();
            let mut expected = Vec::new();
            while bytes.len() < 2_000_000 {
                let len = match rng.below(8) {
                    0 => 200_000 + rng.index(700_000),
                    1 => 0,
                    _ => rng.index(20_000),
                };
                let line = format!("SET k {}", "x".repeat(len));
                bytes.extend_from_slice(&request(&line));
                if rng.below(10) == 0 {
                    bytes.extend_from_slice(b"#TS:1\r\n");
                }
                expected.push((line.len(), ()));
            }
            let (all, end) = read(&bytes);
            assert!(matches!(end, End::Clean));
            let all: Vec<_> = all.iter().map(|(line, _)| (line.len(), ())).collect();
            assert_eq!(all, expected);
        }
    }

    #[test]
    fn many_arguments_cross_pieces() {
        let words = vec!["member"; 300_000].join(" ");
        let (all, end) = read(&request(&words));
        assert!(matches!(end, End::Clean));
        assert_eq!(all[0].0, words);
    }

    #[test]
    fn any_bytes_are_read_without_harm() {
        let mut rng = Rng::from_seed(3);
        let whole = requests(&["SET k v", "DEL k", "RPUSH list a b c", "MULTI", "EXEC"]);
        for _ in 0..20_000 {
            let mut bytes = whole.clone();
            for _ in 0..=rng.index(3) {
                let place = rng.index(bytes.len());
                bytes[place] = rng.next_u64() as u8;
            }
            let (all, end) = read(&bytes);
            let last = all.last().map_or(0, |(_, end)| *end);
            match end {
                End::Clean => {}
                End::Torn(at) | End::TornGroup(at) | End::Bad(at) => assert!(at >= last),
                End::Io(error) => panic!("{error}"),
            }
        }
    }
}
