//! `cjson`: JSON.
