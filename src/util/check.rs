//! What a structure that is checked says of itself: nothing, or the first thing that is not as its
//! module promises.
//!
//! Checks are for tests and for DEBUG CHECK-KEYSPACE: they look at everything, so nothing that serves
//! clients asks for one. They report instead of panicking, so that the rest can still be looked at.

/// See the module's text.
pub type Checked<T = ()> = Result<T, String>;

/// Ends a check unless this holds; the text says what does not.
macro_rules! holds {
    ($is_so:expr, $($text:tt)+) => {
        if !$is_so {
            return Err(format!($($text)+));
        }
    };
}

pub(crate) use holds;
