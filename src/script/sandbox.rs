//! The globals that scripts see, which none of them can change.
