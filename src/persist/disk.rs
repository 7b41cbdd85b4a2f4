//! How persistence reaches files: a small trait, so that a test can let the disk tear, fill up and fail.
