//! Reading a log without loading it: every request is shown, with where it begins, and what is wrong
//! is told, but nothing is changed and nothing stops before the file does.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use crate::db::DbIndex;
use crate::persist::disk::{Disk, DiskFile, FileReader, OpenMode, read_full, read_small};
use crate::resp::parse::Argv;
use crate::util::ascii::eq_nocase;
use crate::util::num::parse_u64;

use super::load::{SNAPSHOT_MAGIC_BYTES, begins_snapshot};
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

    /// The rest of the file cannot be read.
    fn damage(&mut self, reason: &str, offset: u64);
}

/// Shows a log in one file: requests, or a snapshot and then requests.
///
/// # Errors
/// When the file cannot be read.
pub fn survey_file(disk: &dyn Disk, path: &Path, surveyor: &mut dyn Surveyor) -> io::Result<()> {
    let file = disk.open(path, OpenMode::Read)?;
    surveyor.begin_file(path);
    let mut head = [0; SNAPSHOT_MAGIC_BYTES];
    let read = read_full(&*file, &mut head, 0)?;
    let offset = match begins_snapshot(&head[..read]) {
        false => 0,
        true => match surveyor.snapshot(Box::new(FileReader {
            file: file.clone(),
            offset: 0,
        })) {
            Some(bytes) => bytes,
            None => return Ok(()),
        },
    };
    survey_requests(file, offset, surveyor)
}

/// Shows all files of a manifest.
///
/// # Errors
/// When one of them cannot be read, or the manifest is none.
pub fn survey_manifest(
    disk: &dyn Disk,
    path: &Path,
    surveyor: &mut dyn Surveyor,
) -> io::Result<()> {
    let text = read_small(disk, path, MANIFEST_BYTES_MAX)?;
    let manifest = Manifest::parse(&text).map_err(|error| io::Error::other(error.to_string()))?;
    let dir = path.parent().unwrap_or(Path::new("."));
    for file in manifest.live() {
        survey_file(disk, &dir.join(&file.name), surveyor)?;
    }
    Ok(())
}

fn survey_requests(
    file: Arc<dyn DiskFile>,
    offset: u64,
    surveyor: &mut dyn Surveyor,
) -> io::Result<()> {
    let mut scanner = Scanner::new(file, offset)?;
    let mut batch = Batch::default();
    let (mut begin, mut db) = (offset, DbIndex(0));
    loop {
        match scanner.next(&mut batch) {
            Ok(()) => {}
            Err(End::Clean) => return Ok(()),
            Err(End::Io(error)) => return Err(error),
            Err(End::Torn(at) | End::TornGroup(at)) => {
                surveyor.damage("it ends within a request", at);
                return Ok(());
            }
            Err(End::Bad(at)) => {
                surveyor.damage("this is no request", at);
                return Ok(());
            }
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

/// The database that a request selects.
fn selects(argv: Argv<'_>) -> Option<DbIndex> {
    if argv.len() != 2 || !eq_nocase(argv.get(0)?, b"select") {
        return None;
    }
    let number = parse_u64(argv.get(1)?)?;
    u32::try_from(number).ok().map(DbIndex)
}

/// Whether a request begins or ends a transaction, which a log has only whole.
fn is_bracket(argv: Argv<'_>) -> bool {
    let names: [&[u8]; 2] = [b"multi", b"exec"];
    let is = |name: &[u8]| argv.get(0).is_some_and(|word| eq_nocase(word, name));
    argv.len() == 1 && names.into_iter().any(is)
}
