//! `redis.*` and `server.*`.
