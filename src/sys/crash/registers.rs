//! A crashed thread's registers, by the processor's names.

use std::fmt::{self, Write};

/// The instruction that crashed.
#[cfg(target_arch = "x86_64")]
pub(super) fn instruction(context: &libc::ucontext_t) -> usize {
    context.uc_mcontext.gregs[libc::REG_RIP as usize] as usize
}

/// Writes the registers, two a line.
#[cfg(target_arch = "x86_64")]
pub(super) fn write(context: &libc::ucontext_t, out: &mut dyn Write) -> fmt::Result {
    const NAMES: [(&str, libc::c_int); 18] = [
        ("RAX", libc::REG_RAX),
        ("RBX", libc::REG_RBX),
        ("RCX", libc::REG_RCX),
        ("RDX", libc::REG_RDX),
        ("RDI", libc::REG_RDI),
        ("RSI", libc::REG_RSI),
        ("RBP", libc::REG_RBP),
        ("RSP", libc::REG_RSP),
        ("R8 ", libc::REG_R8),
        ("R9 ", libc::REG_R9),
        ("R10", libc::REG_R10),
        ("R11", libc::REG_R11),
        ("R12", libc::REG_R12),
        ("R13", libc::REG_R13),
        ("R14", libc::REG_R14),
        ("R15", libc::REG_R15),
        ("RIP", libc::REG_RIP),
        ("EFL", libc::REG_EFL),
    ];
    for pair in NAMES.chunks(2) {
        for (at, (name, register)) in pair.iter().enumerate() {
            let end = if at == 1 { '\n' } else { ' ' };
            let value = context.uc_mcontext.gregs[*register as usize];
            write!(out, "{name}:{value:016x}{end}")?;
        }
    }
    Ok(())
}

/// The instruction that crashed.
#[cfg(target_arch = "aarch64")]
pub(super) fn instruction(context: &libc::ucontext_t) -> usize {
    context.uc_mcontext.pc as usize
}

/// Writes the registers, two a line.
#[cfg(target_arch = "aarch64")]
pub(super) fn write(context: &libc::ucontext_t, out: &mut dyn Write) -> fmt::Result {
    let machine = &context.uc_mcontext;
    for (at, value) in machine.regs.iter().enumerate() {
        let end = if at % 2 == 1 { '\n' } else { ' ' };
        write!(out, "X{at:02}:{value:016x}{end}")?;
    }
    writeln!(out, "SP :{:016x}", machine.sp)?;
    writeln!(out, "PC :{:016x} PST:{:016x}", machine.pc, machine.pstate)
}

/// Of other processors nothing is known.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) fn instruction(_: &libc::ucontext_t) -> usize {
    0
}

/// Of other processors nothing is known.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) fn write(_: &libc::ucontext_t, out: &mut dyn Write) -> fmt::Result {
    out.write_str("not known on this processor\n")
}
