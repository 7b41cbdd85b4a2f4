//! The port for monitoring (`metrics-port`): HTTP for Prometheus, for probes, and for browsers.
//!
//! - [`Portal`] listens and accepts; what it accepts is served on one thread (`serve`), so that whoever
//!   looks at the server takes nothing of those who use it but that thread's time;
//! - `serve`: one connection through hyper, within limits of time and size; `router`: which path is what;
//! - `health`: `/healthz` and `/readyz`; `metrics`: `/metrics`, made of `figures::Figures`;
//! - `console`: the page for people and what it asks for, as a user of the ACL (`visitor`).
//!
//! Invariants: everything is read only; nothing here waits for shards that somebody holds for long;
//! memory per connection is bounded before a request is believed.
//!
//! To add a metric: a line in its section in `metrics`; to add a path: an arm in `router`.

mod console;
mod figures;
mod health;
mod io;
mod json;
mod metrics;
mod portal;
mod query;
mod router;
mod serve;
mod visitor;

pub use portal::{Portal, bind};
pub use serve::{FDS_MAX, LISTENER_FDS};

#[cfg(test)]
mod tests;
