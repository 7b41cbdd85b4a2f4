//! HRANDFIELD: one random field, several different ones, or any number with repetitions.

use std::collections::HashSet;

use super::{find, reply};
use crate::commands::{CmdResult, Ctx, Next};
use crate::resp::write::ReplyWriter;
use crate::spec::CmdError;
use crate::spec::limits::RANDOM_REPLY_BYTES_MAX;
use crate::util::rng::Rng;
use crate::value::hash::{HashRef, Pair, text};

const OUT_OF_RANGE: CmdError = CmdError::text("ERR value is out of range");
const BELOW_RANGE: CmdError = CmdError::text(
    "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
);

/// Fewest bytes of a field in a reply.
const FIELD_BYTES_MIN: usize = b"$0\r\n\r\n".len();
/// From this share of the fields on, different ones are chosen from a list of all.
const LISTED_SHARE: usize = 3;

/// `HRANDFIELD key [count [WITHVALUES]]`
pub(super) fn hrandfield(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let mut rng = Rng::from_os();
    if ctx.args.is_empty() {
        let hash = find(&mut ctx.db, key)?;
        match hash.and_then(|hash| hash.random(&mut rng)) {
            Some((field, _)) => reply(ctx.out, field),
            None => ctx.out.null(),
        }
        return Ok(Next::Done);
    }
    let count = ctx.args.int_in(-i64::MAX, i64::MAX, BELOW_RANGE)?;
    let with_values = ctx.args.take("WITHVALUES");
    ctx.args.finish()?;
    // Twice the number has to be one, too.
    if with_values && !(-i64::MAX / 2..=i64::MAX / 2).contains(&count) {
        return Err(OUT_OF_RANGE);
    }
    let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    let mut out = Fields {
        out: ctx.out,
        with_values,
    };
    match find(&mut ctx.db, key)? {
        Some(hash) if count < 0 => out.repeated(hash, wanted, &mut rng)?,
        Some(hash) => out.different(hash, wanted, &mut rng),
        None => out.array(0),
    }
    Ok(Next::Done)
}

/// The reply.
struct Fields<'o> {
    out: &'o mut ReplyWriter,
    with_values: bool,
}

impl Fields<'_> {
    /// Begins the reply. In RESP3 a field with its value is an array of its own.
    fn array(&mut self, len: usize) {
        let in_pairs = self.with_values && !self.out.is_resp3();
        self.out.array(if in_pairs { 2 * len } else { len });
    }

    fn pair(&mut self, (field, value): Pair<'_>) {
        if self.with_values && self.out.is_resp3() {
            self.out.array(2);
        }
        reply(self.out, field);
        if self.with_values {
            reply(self.out, value);
        }
    }

    /// `wanted` draws, each from all fields.
    fn repeated(
        &mut self,
        hash: HashRef<'_>,
        wanted: usize,
        rng: &mut Rng,
    ) -> Result<(), CmdError> {
        if hash.random(rng).is_none() {
            self.array(0);
            return Ok(());
        }
        if wanted > RANDOM_REPLY_BYTES_MAX / FIELD_BYTES_MIN {
            return Err(OUT_OF_RANGE);
        }
        let mark = self.out.mark();
        // Counted without a look at each value that was not copied.
        let bytes_before = self.out.len_since_max(mark);
        self.array(wanted);
        // A walk to each field of a listpack would be long, as would be the way to the few fields of
        // a table that have not expired.
        let listed: Vec<Pair<'_>> = match hash {
            HashRef::Table { .. } if !hash.may_have_expired() => Vec::new(),
            _ => hash.iter().collect(),
        };
        for _ in 0..wanted {
            let pair = match listed.is_empty() {
                true => hash.random(rng),
                false => listed.get(rng.index(listed.len())).copied(),
            };
            if let Some(pair) = pair {
                self.pair(pair);
            }
            if self.out.len_since_max(mark) - bytes_before > RANDOM_REPLY_BYTES_MAX {
                return Err(OUT_OF_RANGE);
            }
        }
        Ok(())
    }

    /// `wanted` different fields, or all if there are not as many.
    fn different(&mut self, hash: HashRef<'_>, wanted: usize, rng: &mut Rng) {
        if wanted == 0 {
            return self.array(0);
        }
        let len = hash.len();
        let wanted = wanted.min(len);
        self.array(wanted);
        if wanted == len {
            hash.iter().for_each(|pair| self.pair(pair));
        } else if matches!(hash, HashRef::Listpack(_))
            || hash.may_have_expired()
            || wanted >= len / LISTED_SHARE
        {
            self.by_shuffling(hash, wanted, rng);
        } else {
            self.by_drawing(hash, wanted, rng);
        }
    }

    fn by_shuffling(&mut self, hash: HashRef<'_>, wanted: usize, rng: &mut Rng) {
        let mut all: Vec<Pair<'_>> = hash.iter().collect();
        for at in 0..wanted {
            let other = at + rng.index(all.len() - at);
            all.swap(at, other);
            self.pair(all[at]);
        }
    }

    /// At most a share of the fields is wanted, so most draws bring a new one.
    fn by_drawing(&mut self, hash: HashRef<'_>, wanted: usize, rng: &mut Rng) {
        let mut seen = HashSet::with_capacity(wanted);
        while seen.len() < wanted {
            let Some(pair) = hash.random(rng) else { return };
            if seen.insert(text(pair.0)) {
                self.pair(pair);
            }
        }
    }
}
