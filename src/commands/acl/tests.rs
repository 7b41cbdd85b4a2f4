//! ACL, through sessions.
