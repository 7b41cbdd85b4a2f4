//! For tests only: which keys commands look up, and which they are about to change, whatever the request
//! says. It is noted in the two places that every access to a key goes through.

use std::cell::RefCell;

use crate::db::DbIndex;

/// A key that was looked up.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Touch {
    /// Its database.
    pub db: u32,
    /// The key.
    pub key: Vec<u8>,
    /// It was looked up to be changed.
    pub is_change: bool,
}

thread_local! {
    static TOUCHED: RefCell<Option<Vec<Touch>>> = const { RefCell::new(None) };
}

/// What this thread touches while `work` runs.
pub fn recorded<T>(work: impl FnOnce() -> T) -> (T, Vec<Touch>) {
    TOUCHED.set(Some(Vec::new()));
    let result = work();
    (result, TOUCHED.take().unwrap_or_default())
}

pub(super) fn note(db: DbIndex, key: &[u8], is_change: bool) {
    TOUCHED.with_borrow_mut(|touched| {
        if let Some(touched) = touched {
            let (db, key) = (db.0, key.to_vec());
            touched.push(Touch { db, key, is_change });
        }
    });
}
