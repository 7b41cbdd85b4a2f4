//! The notation of argument syntax.
