//! Reading a log without loading it: every request is shown, with where it begins, and what is wrong
//! is told, but nothing is changed and nothing stops before the file does.

use std::io::{self, Read};
use std::path::Path;

use crate::db::DbIndex;
use crate::persist::disk::{Disk, FileReader, OpenMode, read_full, read_small};
use crate::resp::parse::Argv;
use crate::sys::files::os_text;
use crate::util::num::parse_u64;

use super::load::{SNAPSHOT_MAGIC_BYTES, begins_snapshot, is_word, selected};
use super::manifest::{MANIFEST_BYTES_MAX, Manifest};
use super::read::{Batch, End, Scanner};

/// Who is shown a log.
pub trait Surveyor {
    /// The next file begins.
    fn begin_file(&mut self, path: &Path);

    /// A request, for a database, and where it begins in the file. SELECT, MULTI and EXEC do not come
    /// here.
    fn request(&mut self, db: DbIndex, argv: Argv<'_>, offset: u64);

    /// A snapshot stands at the beginning of the file; how many bytes it takes, if it can be read.
    fn snapshot(&mut self, input: Box<dyn Read + Send>) -> Option<u64>;

    /// The rest of the file, or all of it, cannot be read.
    fn damage(&mut self, reason: &str, offset: u64);
}

/// Shows a log in one file: requests, or a snapshot and then requests.
pub fn survey_file(disk: &dyn Disk, path: &Path, surveyor: &mut dyn Surveyor) {
    surveyor.begin_file(path);
    if let Err(error) = survey_content(disk, path, surveyor) {
        surveyor.damage(&unreadable(&error), 0);
    }
}

/// Shows all files of a manifest, as far as they are there.
pub fn survey_manifest(disk: &dyn Disk, path: &Path, surveyor: &mut dyn Surveyor) {
    surveyor.begin_file(path);
    let text = match read_small(disk, path, MANIFEST_BYTES_MAX) {
        Ok(text) => text,
        Err(error) => return surveyor.damage(&unreadable(&error), 0),
    };
    let manifest = match Manifest::parse(&text) {
        Ok(manifest) => manifest,
        Err(error) => return surveyor.damage(&error.to_string(), 0),
    };
    let dir = path.parent().unwrap_or(Path::new("."));
    for file in manifest.live() {
        survey_file(disk, &dir.join(&file.name), surveyor);
    }
}

fn unreadable(error: &io::Error) -> String {
    format!("it cannot be read: {}", os_text(error))
}

fn survey_content(disk: &dyn Disk, path: &Path, surveyor: &mut dyn Surveyor) -> io::Result<()> {
    let file = disk.open(path, OpenMode::Read)?;
    let mut head = [0; SNAPSHOT_MAGIC_BYTES];
    let read = read_full(&*file, &mut head, 0)?;
    let mut offset = 0;
    if begins_snapshot(&head[..read]) {
        let input = FileReader {
            file: file.clone(),
            offset,
        };
        match surveyor.snapshot(Box::new(input)) {
            Some(bytes) => offset = bytes,
            None => return Ok(()),
        }
    }
    survey_requests(Scanner::new(file, offset)?, offset, surveyor);
    Ok(())
}

fn survey_requests(mut scanner: Scanner, offset: u64, surveyor: &mut dyn Surveyor) {
    let mut batch = Batch::default();
    let (mut begin, mut db) = (offset, DbIndex(0));
    loop {
        match scanner.next(&mut batch) {
            Ok(()) => {}
            Err(End::Clean) => return,
            Err(End::Io(error)) => return surveyor.damage(&unreadable(&error), begin),
            Err(End::Torn(at) | End::TornGroup(at)) => {
                return surveyor.damage("it ends within a request", at);
            }
            Err(End::Bad(at)) => return surveyor.damage("this is no request", at),
        }
        for index in 0..batch.len() {
            let argv = batch.argv(index);
            match selects(argv) {
                Some(selected) => db = selected,
                None if is_bracket(argv) => {}
                None => surveyor.request(db, argv, begin),
            }
            begin = batch.end(index);
        }
    }
}

/// The database that a request selects, if there can be such a one.
fn selects(argv: Argv<'_>) -> Option<DbIndex> {
    let number = parse_u64(selected(argv)?)?;
    u32::try_from(number).ok().map(DbIndex)
}

/// Whether a request begins or ends a transaction, which a log has only whole.
fn is_bracket(argv: Argv<'_>) -> bool {
    is_word(argv, b"MULTI") || is_word(argv, b"EXEC")
}
