//! What a file is made of: the magic word with its version, records, the end with its checksum.
//!
//! To read a new opcode: an arm in [`Loading::opcode`].

use super::reader::Reader;
use super::value::{Head, Loaded, Values, module_name};
use super::{
    Checksum, FaultKind, LoadOptions, LoadSummary, Record, Result, is_known_version, type_name,
};
use crate::db::DbIndex;
use crate::persist::rdb::format::{
    CHECKSUM_VERSION_MIN, Line, MAGIC_BYTES, MAGIC_REDIS, MAGIC_VALKEY, VALKEY_VERSION_MIN, opcode,
};

/// Bytes of a key that an error repeats.
const PREVIEW_BYTES: usize = 128;
/// What follows in the data of a module.
const MODULE_EOF: u64 = 0;
const MODULE_SINT: u64 = 1;
const MODULE_UINT: u64 = 2;
const MODULE_FLOAT: u64 = 3;
const MODULE_DOUBLE: u64 = 4;
const MODULE_STRING: u64 = 5;

/// What opcodes said of the next key.
#[derive(Clone, Copy, Default)]
struct Attributes {
    /// Unix ms.
    expire_at_ms: Option<u64>,
    idle_secs: Option<u64>,
    frequency: Option<u8>,
}

type OnRecord<'a> = &'a mut dyn FnMut(Record, u64) -> std::result::Result<(), String>;

struct Loading<'a> {
    reader: Reader<'a>,
    values: Values<'a>,
    next: Attributes,
    on_record: OnRecord<'a>,
    summary: LoadSummary,
}

pub(super) fn load<'a>(
    mut reader: Reader<'a>,
    options: &'a LoadOptions,
    on_record: OnRecord<'a>,
) -> Result<LoadSummary> {
    let (line, version) = magic(&mut reader, options.relaxed_version)?;
    let mut loading = Loading {
        reader,
        values: Values { options, line },
        next: Attributes::default(),
        on_record,
        summary: LoadSummary {
            version,
            keys: 0,
            expired: 0,
            empty: 0,
            bytes: 0,
            checksum: Checksum::Ignored,
        },
    };
    let mut key = Vec::new();
    loop {
        match loading.reader.byte()? {
            opcode::EOF => return loading.finish(),
            code @ opcode::SLOT_IMPORT.. => loading.opcode(code)?,
            type_ => loading.key(type_, &mut key)?,
        }
    }
}

/// The line and version that a file says it is of.
fn magic(reader: &mut Reader<'_>, relaxed: bool) -> Result<(Line, u32)> {
    let magic: [u8; MAGIC_BYTES] = reader.array()?;
    let line = match (
        magic.strip_prefix(MAGIC_REDIS),
        magic.strip_prefix(MAGIC_VALKEY),
    ) {
        (Some([b'0', ..]), _) => Line::Redis,
        (_, Some(_)) => Line::Valkey,
        _ => {
            let message = "Wrong signature trying to load DB from file";
            return Err(reader.fault(FaultKind::Version, message));
        }
    };
    let digits = &magic[MAGIC_VALKEY.len()..];
    let version = digits.iter().try_fold(0u32, |version, &digit| {
        let digit = digit.wrapping_sub(b'0');
        (digit <= 9).then_some(version * 10 + u32::from(digit))
    });
    let version = version.filter(|&version| {
        (version >= VALKEY_VERSION_MIN) == (line == Line::Valkey)
            && is_known_version(version, relaxed)
    });
    version.map(|version| (line, version)).ok_or_else(|| {
        let message = format!("Can't handle RDB format version {}", digits.escape_ascii());
        reader.fault(FaultKind::Version, message)
    })
}

impl Loading<'_> {
    fn hand_out(&mut self, record: Record) -> Result<()> {
        let offset = self.reader.offset();
        let taken = (self.on_record)(record, offset);
        taken.map_err(|reason| self.reader.fault(FaultKind::Rejected, reason))
    }

    fn opcode(&mut self, code: u8) -> Result<()> {
        match code {
            opcode::EXPIRETIME_MS => {
                let at_ms = self.reader.milliseconds()?;
                self.next.expire_at_ms = expire_at_ms(at_ms);
            }
            opcode::EXPIRETIME => {
                let at_secs = i32::from_le_bytes(self.reader.array()?);
                self.next.expire_at_ms = expire_at_ms(i64::from(at_secs) * 1000);
            }
            opcode::IDLE => self.next.idle_secs = Some(self.reader.length()?),
            opcode::FREQ => self.next.frequency = Some(self.reader.byte()?),
            opcode::SELECTDB => self.select()?,
            opcode::RESIZEDB => {
                let (keys, expires) = (self.reader.length()?, self.reader.length()?);
                self.hand_out(Record::Resize { keys, expires })?;
            }
            opcode::AUX => {
                let name = self.reader.string()?.into_vec();
                let text = self.reader.string()?.into_vec();
                self.hand_out(Record::Aux(name, text))?;
            }
            opcode::FUNCTION2 => {
                let source = self.reader.string()?.into_vec();
                self.hand_out(Record::Function(source))?;
            }
            opcode::FUNCTION_PRE_GA => {
                let message = "Pre-release function format not supported.";
                return Err(self.reader.corrupt(message));
            }
            opcode::MODULE_AUX => self.module_aux()?,
            opcode::SLOT_INFO => {
                // The slot's number, and how many keys and expiries it has.
                for _ in 0..3 {
                    self.reader.length()?;
                }
            }
            opcode::SLOT_IMPORT if self.values.line == Line::Valkey => self.slot_import()?,
            _ => {
                let message = format!("Unknown RDB encoding type {code}");
                return Err(self.reader.corrupt(message));
            }
        }
        Ok(())
    }

    fn select(&mut self) -> Result<()> {
        let number = self.reader.length()?;
        let databases = self.values.options.databases;
        match u32::try_from(number) {
            Ok(number) if number < databases => self.hand_out(Record::Select(DbIndex(number))),
            _ => {
                let message = format!(
                    "FATAL: Data file was created with a server configured to handle more than \
                     {databases} databases. Exiting"
                );
                Err(self.reader.fault(FaultKind::Unsupported, message))
            }
        }
    }

    /// Data of a module that is no key's: read over, as long as it is of parts that are known.
    fn module_aux(&mut self) -> Result<()> {
        let reader = &mut self.reader;
        let name = module_name(reader.length()?);
        if reader.length()? != MODULE_UINT {
            return Err(reader.corrupt("bad when_opcode"));
        }
        reader.length()?;
        loop {
            match reader.length()? {
                MODULE_EOF => return Ok(()),
                MODULE_SINT | MODULE_UINT => drop(reader.length()?),
                MODULE_FLOAT => drop(reader.array::<4>()?),
                MODULE_DOUBLE => drop(reader.array::<8>()?),
                MODULE_STRING => drop(reader.string()?),
                part => {
                    return Err(reader.corrupt(format!(
                        "The RDB file contains module AUX data I can't load: part {part} of \
                         module '{name}' is not known"
                    )));
                }
            }
        }
    }

    /// Slots that were being imported: a name, and pairs of first and last slots.
    fn slot_import(&mut self) -> Result<()> {
        self.reader.string()?;
        for _ in 0..self.reader.length()? {
            self.reader.length()?;
            self.reader.length()?;
        }
        Ok(())
    }

    fn key(&mut self, type_: u8, key: &mut Vec<u8>) -> Result<()> {
        key.clear();
        self.reader.string_into(key)?;
        let attributes = std::mem::take(&mut self.next);
        let LoadOptions { now_ms, usage, .. } = *self.values.options;
        let head = Head {
            key,
            expire_at_ms: attributes.expire_at_ms,
            lru: usage.restored(attributes.idle_secs, attributes.frequency),
        };
        let loaded = match self.values.read(&mut self.reader, type_, &head) {
            Ok(loaded) => loaded,
            Err(mut fault) => {
                let name = type_name(self.values.line, type_);
                let key = key[..key.len().min(PREVIEW_BYTES)].escape_ascii();
                let context = format!(" (key '{key}', type {type_}, {name})");
                fault.message.push_str(&context);
                return Err(fault);
            }
        };
        let expired = head.expire_at_ms.is_some_and(|at_ms| at_ms < now_ms);
        match loaded {
            Loaded::Empty => self.summary.empty += 1,
            Loaded::Expired => self.summary.expired += 1,
            Loaded::Entry(_) if expired && self.values.options.drop_expired => {
                self.summary.expired += 1;
            }
            Loaded::Entry(entry) => {
                self.summary.keys += 1;
                self.hand_out(Record::Key { entry, type_ })?;
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<LoadSummary> {
        let computed = self.reader.checksum();
        if self.summary.version >= CHECKSUM_VERSION_MIN {
            let written = u64::from_le_bytes(self.reader.array()?);
            self.summary.checksum = match computed {
                None => Checksum::Ignored,
                Some(_) if written == 0 => Checksum::Disabled,
                Some(computed) if written == computed => Checksum::Verified,
                Some(computed) => {
                    let message = format!(
                        "Wrong RDB checksum expected: ({computed:x}) but got ({written:x}). \
                         Aborting now."
                    );
                    return Err(self.reader.fault(FaultKind::Checksum, message));
                }
            };
        }
        self.summary.bytes = self.reader.offset();
        Ok(self.summary)
    }
}

/// What a file says; -1 is never, and what lies before 1970 has expired.
fn expire_at_ms(at_ms: i64) -> Option<u64> {
    (at_ms != -1).then(|| u64::try_from(at_ms).unwrap_or(0))
}
