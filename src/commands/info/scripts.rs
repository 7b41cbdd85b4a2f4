//! What INFO tells of scripts and functions.

use std::sync::atomic::Ordering;

use super::Report;
use crate::script::Scripts;

/// The fields of section Memory.
pub(super) fn memory(report: &mut Report<'_, '_>) {
    let scripts = &report.server.scripts;
    let cache = scripts.cache.figures();
    let libraries = scripts.libraries.current();
    let vm_bytes = scripts.vm_bytes.load(Ordering::Relaxed);
    let functions_vm_bytes = functions_vm_bytes(scripts);
    report.line("used_memory_lua", vm_bytes);
    report.line("used_memory_vm_eval", vm_bytes);
    report.human("used_memory_lua", vm_bytes);
    report.line("used_memory_scripts_eval", cache.bytes);
    report.line("number_of_cached_scripts", cache.scripts);
    report.line("number_of_functions", libraries.functions());
    report.line("number_of_libraries", libraries.libraries().len());
    report.line("used_memory_vm_functions", functions_vm_bytes);
    report.bytes("used_memory_vm_total", vm_bytes + functions_vm_bytes);
    report.line("used_memory_functions", libraries.bytes());
    report.bytes("used_memory_scripts", cache.bytes + libraries.bytes());
}

/// Memory of the interpreters for functions.
fn functions_vm_bytes(scripts: &Scripts) -> u64 {
    let workers = scripts.functions_vm_bytes.load(Ordering::Relaxed);
    workers + scripts.libraries.home_bytes()
}

/// The section of its own.
pub(super) fn engines(report: &mut Report<'_, '_>) {
    let scripts = &report.server.scripts;
    let vm_bytes = scripts.vm_bytes.load(Ordering::Relaxed) + functions_vm_bytes(scripts);
    report.line("engines_count", 1);
    report.line("engines_total_used_memory", vm_bytes);
    report.line("engines_total_memory_overhead", 0);
    report.line(
        "engine_0",
        format_args!("name=LUA,module=built-in,used_memory={vm_bytes},memory_overhead=0"),
    );
}
