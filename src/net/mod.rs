//! Every task that owns a socket.
//!
//! - `listener`: accepts on all addresses, admits or refuses, hands each socket to a worker;
//! - `worker`: N threads, each a single-threaded runtime whose connections stay with it;
//! - `connection`: read -> parse -> `exec` -> one write per batch;
//! - `tls`: what makes a connection that speaks TLS look like any other; `welcome`: its beginning;
//! - `outbox`: short replies of a turn are sent together;
//! - `relay`: replies that wait for the log wait together;
//! - `balance`: connections live on the fewest workers that are not busy, and move when one is.
//!
//! Invariant: nothing here holds a lock over an await, and a connection's task is its only owner; others reach it
//! through signals in `client::Shared`.

pub mod balance;
pub mod connection;
mod last_words;
pub mod listener;
mod outbox;
mod pace;
mod parcel;
mod relay;
mod rest;
mod stream;
pub mod tls;
mod welcome;
pub mod worker;

#[cfg(test)]
mod tests;
