//! See the module's text.
