//! What loading a library of functions takes of the server: the directives that its interpreter follows,
//! and for how long it may run.

use std::time::Duration;

use crate::config::Config;
use crate::script::functions::LoadOptions;
use crate::script::vm::{Settings, Use};

use super::{KIVI_VERSION, REDIS_VERSION};

/// For how long a library that a client brings may run while it is loaded.
const CLIENT_LIMIT: Duration = Duration::from_millis(500);
/// One that comes of a file or a log was loaded within that limit once; but this machine may be slower.
const FILE_LIMIT: Duration = Duration::from_secs(10);

/// What an interpreter is made by.
pub fn settings(config: &Config, used_for: Use) -> Settings {
    Settings {
        used_for,
        memory_limit_bytes: config.lua_memory_limit_bytes,
        has_insecure_api: config.lua_enable_insecure_api,
        redis_version: REDIS_VERSION,
        kivi_version: KIVI_VERSION,
    }
}

/// How a library is loaded that a client brings.
pub fn of_client(config: &Config) -> LoadOptions {
    LoadOptions {
        settings: settings(config, Use::Functions),
        limit: CLIENT_LIMIT,
    }
}

/// How a library is loaded that a file or a log has.
pub fn of_file(config: &Config) -> LoadOptions {
    LoadOptions {
        limit: FILE_LIMIT,
        ..of_client(config)
    }
}
