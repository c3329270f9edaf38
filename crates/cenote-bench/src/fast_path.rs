//! The fast paths as they are compiled: instructions and branches, read from the program's own
//! assembly.
//!
//! A probe is a function of one call into a pool. Its fast path is the way from its entry to its
//! return that calls nothing. What is counted leaves out the return, which belongs to the probe.

use std::alloc::Layout;
use std::collections::HashMap;
use std::process::Command;
use std::ptr::NonNull;

use allocator_api2::alloc::Allocator;
use anyhow::{Context, Result, bail, ensure};
use cenote::Pool;

/// A fast path as found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cost {
    pub(crate) instructions: usize,
    pub(crate) branches: usize,
    /// Whether it moved the pool's cursor, or wrote anything: an empty object's way does not.
    stored: bool,
}

/// What a fast path may cost at most; branches only where that is fixed.
pub(crate) struct Aim {
    pub(crate) name: &'static str,
    pub(crate) probe: &'static str,
    pub(crate) instructions: usize,
    pub(crate) branches: Option<usize>,
}

/// The three that are watched.
pub(crate) const AIMS: [Aim; 3] = [
    Aim {
        name: "allocate a value of a known type",
        probe: "cenote_probe_fixed",
        instructions: 10,
        branches: Some(1),
    },
    Aim {
        name: "allocate a layout known only at run time",
        probe: "cenote_probe_layout",
        instructions: 12,
        branches: Some(1),
    },
    Aim {
        name: "grow the newest in place",
        probe: "cenote_probe_grow",
        instructions: 25,
        branches: None,
    },
];

#[unsafe(no_mangle)]
#[inline(never)]
fn cenote_probe_fixed(pool: &Pool, value: u64) -> &mut u64 {
    pool.alloc(value)
}

#[unsafe(no_mangle)]
#[inline(never)]
fn cenote_probe_layout(pool: &Pool, layout: Layout) -> Option<NonNull<u8>> {
    // As collections ask. (`alloc_layout` also sees to it that an empty layout costs no byte,
    // which takes two branches more unless the alignment is known when compiling.)
    pool.allocate(layout).ok().map(NonNull::cast)
}

/// # Safety
/// `start` is a live object of `pool` with layout `old`; `new` is not smaller.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe fn cenote_probe_grow(pool: &Pool, start: NonNull<u8>, old: Layout, new: Layout) -> *mut u8 {
    // The pool's own call. (Collections grow apart from the loops that fill them.)
    // SAFETY: the caller's promise.
    unsafe { pool.try_grow(start, old, new) }.map_or(std::ptr::null_mut(), NonNull::as_ptr)
}

/// Whether this program's fast paths can be read, and why not.
pub(crate) fn readable() -> Result<(), &'static str> {
    if !cfg!(target_arch = "x86_64") {
        return Err("only x86-64 assembly is understood");
    }
    if cfg!(debug_assertions) {
        return Err("a debug build has other fast paths");
    }
    if Command::new("objdump").arg("--version").output().is_err() {
        return Err("no objdump");
    }
    Ok(())
}

/// What a probe's fast path costs.
pub(crate) fn cost(probe: &str) -> Result<Cost> {
    // So that no linker drops them.
    std::hint::black_box((
        cenote_probe_fixed as *const (),
        cenote_probe_layout as *const (),
        cenote_probe_grow as *const (),
    ));
    let out = Command::new("objdump")
        .args(["-d", "--no-show-raw-insn", &format!("--disassemble={probe}")])
        .arg(std::env::current_exe()?)
        .output()?;
    ensure!(out.status.success(), "objdump: {}", String::from_utf8_lossy(&out.stderr));
    fast_path(&String::from_utf8(out.stdout)?).with_context(|| probe.to_owned())
}

/// One instruction: its words, and where it stands among the others.
struct Code<'a> {
    lines: Vec<(&'a str, &'a str)>,
    at: HashMap<&'a str, usize>,
}

fn fast_path(listing: &str) -> Result<Cost> {
    let mut code = Code { lines: Vec::new(), at: HashMap::new() };
    for line in listing.lines() {
        let Some((address, rest)) = line.split_once(":\t") else { continue };
        let rest = rest.trim();
        let (mnemonic, operands) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        code.at.insert(address.trim(), code.lines.len());
        code.lines.push((mnemonic, operands.trim()));
    }
    ensure!(!code.lines.is_empty(), "no such function");
    let mut found = Vec::new();
    walk(&code, 0, Cost { instructions: 0, branches: 0, stored: false }, &mut found);
    match found.as_slice() {
        [] => bail!("every way calls something"),
        // Several ways call nothing where the layout is known only at run time: those of empty and of
        // over-aligned objects are not the fast path.
        ways => ways
            .iter()
            .filter(|way| way.stored)
            .min_by_key(|way| way.instructions)
            .copied()
            .context("no way that writes"),
    }
}

fn walk(code: &Code<'_>, mut at: usize, mut cost: Cost, found: &mut Vec<Cost>) {
    while let Some(&(mnemonic, operands)) = code.lines.get(at) {
        if cost.instructions > 200 {
            return;
        }
        let target = operands.split_whitespace().next().and_then(|word| code.at.get(word)).copied();
        match mnemonic {
            "ret" | "repz" => {
                found.push(cost);
                return;
            }
            "call" | "ud2" | "int3" => return,
            // Alignment inside a function is not executed on the way to a return.
            "jmp" => match target {
                Some(target) => at = target,
                None => return,
            },
            jump if jump.starts_with('j') => {
                cost.branches += 1;
                cost.instructions += 1;
                if let Some(target) = target {
                    walk(code, target, cost, found);
                }
                at += 1;
                continue;
            }
            _ => {
                let written =
                    operands.rsplit_once(',').is_some_and(|(_, last)| last.ends_with(')'));
                cost.stored |= mnemonic.starts_with("mov")
                    && (written || operands.ends_with(')') && operands.contains(",("));
                at += 1;
            }
        }
        cost.instructions += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_that_calls_nothing_is_the_fast_path() {
        let listing = "0000000000001000 <probe>:\n    1000:\tmov    (%rdi),%rax\n    1003:\tlea    0x8(%rax),%rcx\n    \
                       1007:\tcmp    0x8(%rdi),%rcx\n    100b:\tja     1012 <probe+0x12>\n    100d:\tmov    %rcx,(%rdi)\n    \
                       1010:\tret\n    1012:\tcall   2000 <slow>\n    1017:\tret\n";
        assert_eq!(
            fast_path(listing).unwrap(),
            Cost { instructions: 5, branches: 1, stored: true }
        );
    }

    #[test]
    fn a_function_that_always_calls_has_no_fast_path() {
        assert!(fast_path("    1000:\tcall   2000 <slow>\n    1005:\tret\n").is_err());
    }

    #[test]
    fn the_fast_paths_cost_no_more_than_they_may() {
        if let Err(why) = readable() {
            eprintln!("SKIPPED: the fast paths' assembly ({why}); run with --release on x86-64");
            return;
        }
        for aim in AIMS {
            let cost = cost(aim.probe).unwrap();
            eprintln!("{}: {cost:?}", aim.name);
            assert!(cost.instructions <= aim.instructions, "{}: {cost:?}", aim.name);
            assert!(
                aim.branches.is_none_or(|most| cost.branches <= most),
                "{}: {cost:?}",
                aim.name
            );
        }
    }
}
