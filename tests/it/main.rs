//! The integration tests: one binary, one file per theme, all against real processes.
//! The harness is in `harness`, the RESP client in `client`, random commands in `generate` out of `templates`.

mod blocking;
mod client;
mod concurrency;
mod connections;
mod consistency;
mod crash;
mod differences;
mod differential;
mod elements;
mod events;
mod expiry;
mod fields;
mod generate;
mod harness;
mod isolation;
mod large;
mod lifecycle;
mod misuse;
mod persist_faults;
mod persistence;
mod propagation;
mod protocol;
mod protocol_cases;
mod pubsub;
mod queues;
mod rdb;
mod rdb_encode;
mod replay;
mod server;
mod shop;
mod smoke;
mod store;
mod templates;
mod tracking;
mod turmoil;
