//! What INFO tells of scripts and functions.

use std::sync::atomic::Ordering;

use super::Report;

/// The fields of section Memory. The interpreters of the workers run scripts and functions alike and
/// count as those of EVAL.
pub(super) fn memory(report: &mut Report<'_, '_>) {
    let scripts = &report.server.scripts;
    let cache = scripts.cache.figures();
    let vm_bytes = scripts.vm_bytes.load(Ordering::Relaxed);
    report.line("used_memory_lua", vm_bytes);
    report.line("used_memory_vm_eval", vm_bytes);
    report.human("used_memory_lua", vm_bytes);
    report.line("used_memory_scripts_eval", cache.bytes);
    report.line("number_of_cached_scripts", cache.scripts);
    report.line("number_of_functions", 0);
    report.line("number_of_libraries", 0);
    report.line("used_memory_vm_functions", 0);
    report.bytes("used_memory_vm_total", vm_bytes);
    report.line("used_memory_functions", 0);
    report.bytes("used_memory_scripts", cache.bytes);
}

/// The section of its own.
pub(super) fn engines(report: &mut Report<'_, '_>) {
    let vm_bytes = report.server.scripts.vm_bytes.load(Ordering::Relaxed);
    report.line("engines_count", 1);
    report.line("engines_total_used_memory", vm_bytes);
    report.line("engines_total_memory_overhead", 0);
    report.line(
        "engine_0",
        format_args!("name=LUA,module=built-in,used_memory={vm_bytes},memory_overhead=0"),
    );
}
