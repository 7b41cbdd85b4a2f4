//! `cmsgpack`: MessagePack.
