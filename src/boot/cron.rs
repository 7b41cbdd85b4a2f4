//! Placeholder until the cron of helper `admin` is merged.

use crate::server::Server;

pub(super) fn tick(_server: &Server) {}
