//! The `kivi-server` binary: arguments, then `boot`; exit codes: 0 done, 1 any error.

use std::process::ExitCode;

use kivi::boot;
use kivi::config::{self, Invocation};

#[global_allocator]
static ALLOCATOR: kivi::sys::alloc::Jemalloc = kivi::sys::alloc::Jemalloc;

fn main() -> ExitCode {
    let done = match config::parse(std::env::args_os().skip(1), std::env::vars_os()) {
        Err(error) => Err(error.into()),
        Ok(Invocation::Help(text) | Invocation::Version(text)) => {
            println!("{}", text.trim_end());
            Ok(())
        }
        Ok(Invocation::CheckConfig(sources)) => {
            boot::check_config(&sources).map(|report| print!("{report}"))
        }
        Ok(Invocation::CheckRdb(file)) => boot::check_rdb(&file),
        Ok(Invocation::CheckAof(check)) => boot::check_aof(check),
        Ok(Invocation::CheckCompat(paths)) => boot::check_compat(&paths),
        Ok(Invocation::Ping(ping)) => boot::ping(&ping).map(|()| println!("PONG")),
        Ok(Invocation::Run(sources)) => boot::run(&sources),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kivi-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}
