//! Seccomp filters: rules by architecture and number, compiled to classic BPF as a binary search tree over ranges of
//! numbers with the same verdict, and loaded. Which rules those are is decided elsewhere.
#![expect(unsafe_code, reason = "seccomp(2) has no safe wrapper")]

use std::collections::BTreeMap;
use std::io;

/// What the kernel does, as `SECCOMP_RET_…` with its data.
pub(crate) type Action = u32;

pub(crate) const ALLOW: Action = libc::SECCOMP_RET_ALLOW;
pub(crate) const LOG: Action = libc::SECCOMP_RET_LOG;
pub(crate) const KILL_THREAD: Action = libc::SECCOMP_RET_KILL_THREAD;
pub(crate) const KILL_PROCESS: Action = libc::SECCOMP_RET_KILL_PROCESS;
pub(crate) const TRAP: Action = libc::SECCOMP_RET_TRAP;

/// The call fails with this error number.
pub(crate) fn errno(number: u16) -> Action {
    libc::SECCOMP_RET_ERRNO | u32::from(number)
}

/// A tracer decides; without one the call fails with `ENOSYS`.
pub(crate) fn trace(number: u16) -> Action {
    libc::SECCOMP_RET_TRACE | u32::from(number)
}

/// How an argument is compared, always as 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Compare {
    Equal(u64),
    NotEqual(u64),
    Less(u64),
    LessOrEqual(u64),
    Greater(u64),
    GreaterOrEqual(u64),
    MaskedEqual { mask: u64, value: u64 },
}

/// One condition on one argument (0 to 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Condition {
    pub(crate) argument: u32,
    pub(crate) compare: Compare,
}

/// What happens to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Always(Action),
    /// The first alternative whose conditions all hold decides; with none, the filter's default does.
    When(Vec<(Vec<Condition>, Action)>),
}

/// The rules of one architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ArchitectureRules {
    /// `AUDIT_ARCH_…`.
    pub(crate) audit_architecture: u32,
    /// Bits of the number that do not count (the x32 bit).
    pub(crate) ignored_bits: u32,
    pub(crate) calls: BTreeMap<u32, Verdict>,
}

/// One instruction, as the kernel's `struct sock_filter`.
pub(crate) type Instruction = libc::sock_filter;

const LOAD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_OR_EQUAL: u16 = 0x35;
const AND: u16 = 0x54;
const RETURN: u16 = 0x06;

const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCHITECTURE: u32 = 4;
const OFFSET_ARGUMENTS: u32 = 16;

fn instruction(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

/// The whole program. A call of an architecture without rules kills its process.
pub(crate) fn compile(rules: &[ArchitectureRules], default: Action) -> Vec<Instruction> {
    let mut program = vec![instruction(LOAD, OFFSET_ARCHITECTURE, 0, 0)];
    for architecture in rules {
        let mut block = vec![instruction(LOAD, OFFSET_NUMBER, 0, 0)];
        if architecture.ignored_bits != 0 {
            block.push(instruction(AND, !architecture.ignored_bits, 0, 0));
        }
        block.extend(tree(&ranges(&architecture.calls, default), default));
        program.push(instruction(
            JUMP_EQUAL,
            architecture.audit_architecture,
            1,
            0,
        ));
        program.push(instruction(JUMP, length_of(&block), 0, 0));
        program.extend(block);
    }
    program.push(instruction(RETURN, KILL_PROCESS, 0, 0));
    program
}

fn length_of(block: &[Instruction]) -> u32 {
    u32::try_from(block.len()).unwrap_or(u32::MAX)
}

/// Neighbouring numbers with the same verdict, by their first; together they cover all numbers.
fn ranges(calls: &BTreeMap<u32, Verdict>, default: Action) -> Vec<(u32, Verdict)> {
    let otherwise = Verdict::Always(default);
    let mut ranges: Vec<(u32, Verdict)> = vec![(0, otherwise.clone())];
    let mut push = |first: u32, verdict: &Verdict| match ranges.last_mut() {
        Some((_, last)) if last == verdict => {}
        Some((start, last)) if *start == first => *last = verdict.clone(),
        _ => ranges.push((first, verdict.clone())),
    };
    let mut expected = 0;
    for (number, verdict) in calls {
        if *number != expected {
            push(expected, &otherwise);
        }
        push(*number, verdict);
        expected = number + 1;
    }
    push(expected, &otherwise);
    ranges
}

fn tree(ranges: &[(u32, Verdict)], default: Action) -> Vec<Instruction> {
    if let [(_, verdict)] = ranges {
        return leaf(verdict, default);
    }
    let (low, high) = ranges.split_at(ranges.len() / 2);
    let (pivot, low, high) = (high[0].0, tree(low, default), tree(high, default));
    let mut block = match u8::try_from(low.len()) {
        Ok(skip) => vec![instruction(JUMP_GREATER_OR_EQUAL, pivot, skip, 0)],
        // A conditional jump reaches 255 instructions only.
        Err(_) => vec![
            instruction(JUMP_GREATER_OR_EQUAL, pivot, 0, 1),
            instruction(JUMP, length_of(&low), 0, 0),
        ],
    };
    block.extend(low);
    block.extend(high);
    block
}

fn leaf(verdict: &Verdict, default: Action) -> Vec<Instruction> {
    match verdict {
        Verdict::Always(action) => vec![instruction(RETURN, *action, 0, 0)],
        Verdict::When(alternatives) => {
            let mut block = Vec::new();
            for (conditions, action) in alternatives {
                block.extend(alternative(conditions, *action));
            }
            block.push(instruction(RETURN, default, 0, 0));
            block
        }
    }
}

/// Where a jump of a comparison goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    Next,
    /// The condition holds: on to the next one.
    Pass,
    /// It does not: on to the next alternative.
    Fail,
}

/// A comparison step: code, operand, where to when true, where to when false.
type Step = (u16, u32, Target, Target);

fn alternative(conditions: &[Condition], action: Action) -> Vec<Instruction> {
    let conditions: Vec<Vec<Step>> = conditions.iter().map(steps).collect();
    let total: usize = conditions.iter().map(Vec::len).sum();
    let mut block = Vec::with_capacity(total + 1);
    for condition in &conditions {
        let end_of_condition = block.len() + condition.len();
        for (code, k, if_true, if_false) in condition {
            let at = block.len();
            let reach = |target: Target| -> u8 {
                let distance = match target {
                    Target::Next => 0,
                    Target::Pass => end_of_condition - at - 1,
                    // Past the return of this alternative.
                    Target::Fail => total - at,
                };
                u8::try_from(distance).unwrap_or(u8::MAX)
            };
            block.push(instruction(*code, *k, reach(*if_true), reach(*if_false)));
        }
    }
    block.push(instruction(RETURN, action, 0, 0));
    block
}

fn steps(condition: &Condition) -> Vec<Step> {
    use Target::{Fail, Next, Pass};
    let offset = OFFSET_ARGUMENTS + 8 * condition.argument;
    let low_word = (LOAD, offset, Next, Next);
    let high_word = (LOAD, offset + 4, Next, Next);
    let high = |value: u64| u32::try_from(value >> 32).unwrap_or(0);
    let low = |value: u64| u32::try_from(value & u64::from(u32::MAX)).unwrap_or(0);
    let ordered = |value: u64, code: u16, holds: Target, fails: Target| {
        vec![
            high_word,
            (JUMP_GREATER, high(value), holds, Next),
            (JUMP_EQUAL, high(value), Next, fails),
            low_word,
            (code, low(value), holds, fails),
        ]
    };
    match condition.compare {
        Compare::Equal(value) => vec![
            high_word,
            (JUMP_EQUAL, high(value), Next, Fail),
            low_word,
            (JUMP_EQUAL, low(value), Pass, Fail),
        ],
        Compare::NotEqual(value) => vec![
            high_word,
            (JUMP_EQUAL, high(value), Next, Pass),
            low_word,
            (JUMP_EQUAL, low(value), Fail, Pass),
        ],
        Compare::MaskedEqual { mask, value } => vec![
            high_word,
            (AND, high(mask), Next, Next),
            (JUMP_EQUAL, high(value), Next, Fail),
            low_word,
            (AND, low(mask), Next, Next),
            (JUMP_EQUAL, low(value), Pass, Fail),
        ],
        Compare::Greater(value) => ordered(value, JUMP_GREATER, Pass, Fail),
        Compare::GreaterOrEqual(value) => ordered(value, JUMP_GREATER_OR_EQUAL, Pass, Fail),
        Compare::LessOrEqual(value) => ordered(value, JUMP_GREATER, Fail, Pass),
        Compare::Less(value) => ordered(value, JUMP_GREATER_OR_EQUAL, Fail, Pass),
    }
}

/// Puts the calling thread under the filter, for good. Needs `CAP_SYS_ADMIN` or no_new_privs.
pub(crate) fn load(program: &[Instruction]) -> io::Result<()> {
    let length = u16::try_from(program.len())
        .map_err(|_| io::Error::other("the seccomp filter has too many instructions"))?;
    let program = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the program and its length belong together; the kernel reads it during the call only.
    let done = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
            &raw const program,
        )
    };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod interpreter {
    //! Runs a program as the kernel would, so that tests need not be put under it.

    use super::*;

    /// The action for one call.
    pub(crate) fn run(
        program: &[Instruction],
        architecture: u32,
        number: u32,
        arguments: [u64; 6],
    ) -> Action {
        let word = |offset: u32| -> u32 {
            match offset {
                OFFSET_NUMBER => number,
                OFFSET_ARCHITECTURE => architecture,
                _ => {
                    let at = offset - OFFSET_ARGUMENTS;
                    let argument = arguments[(at / 8) as usize];
                    (argument >> (8 * (at % 8)) & 0xffff_ffff) as u32
                }
            }
        };
        let (mut accumulator, mut at) = (0u32, 0usize);
        loop {
            let i = program[at];
            at += 1;
            let jump = |taken: bool| usize::from(if taken { i.jt } else { i.jf });
            match i.code {
                LOAD => accumulator = word(i.k),
                AND => accumulator &= i.k,
                JUMP => at += i.k as usize,
                JUMP_EQUAL => at += jump(accumulator == i.k),
                JUMP_GREATER => at += jump(accumulator > i.k),
                JUMP_GREATER_OR_EQUAL => at += jump(accumulator >= i.k),
                RETURN => return i.k,
                other => panic!("unknown instruction {other:#x}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_finds_every_number() {
        let mut calls = BTreeMap::new();
        for number in (0..2000).step_by(3) {
            calls.insert(number, Verdict::Always(ALLOW));
            calls.insert(
                number + 1,
                Verdict::Always(errno(u16::try_from(number % 7).unwrap())),
            );
        }
        let rules = ArchitectureRules {
            audit_architecture: 7,
            ignored_bits: 0x4000_0000,
            calls: calls.clone(),
        };
        let program = compile(&[rules], errno(1));
        for number in 0..2100u32 {
            let expected = match calls.get(&number) {
                Some(Verdict::Always(action)) => *action,
                _ => errno(1),
            };
            for number in [number, number | 0x4000_0000] {
                assert_eq!(
                    interpreter::run(&program, 7, number, [0; 6]),
                    expected,
                    "{number}"
                );
            }
        }
        assert_eq!(interpreter::run(&program, 8, 0, [0; 6]), KILL_PROCESS);
    }

    #[test]
    fn conditions_compare_all_sixty_four_bits() {
        let wide = 1u64 << 40;
        let values = [0, 1, 37, 38, 39, wide, wide + 38, u64::MAX];
        let compares = [
            Compare::Equal(38),
            Compare::NotEqual(38),
            Compare::Less(38),
            Compare::LessOrEqual(38),
            Compare::Greater(38),
            Compare::GreaterOrEqual(38),
            Compare::Equal(wide + 38),
            Compare::Less(wide + 38),
            Compare::MaskedEqual {
                mask: wide | 2,
                value: wide,
            },
        ];
        for compare in compares {
            let condition = Condition {
                argument: 3,
                compare,
            };
            let always = Condition {
                argument: 0,
                compare: Compare::Equal(9),
            };
            let rules = ArchitectureRules {
                audit_architecture: 7,
                ignored_bits: 0,
                calls: BTreeMap::from([(5, Verdict::When(vec![(vec![condition, always], ALLOW)]))]),
            };
            let program = compile(&[rules], errno(1));
            for value in values {
                let holds = match compare {
                    Compare::Equal(k) => value == k,
                    Compare::NotEqual(k) => value != k,
                    Compare::Less(k) => value < k,
                    Compare::LessOrEqual(k) => value <= k,
                    Compare::Greater(k) => value > k,
                    Compare::GreaterOrEqual(k) => value >= k,
                    Compare::MaskedEqual { mask, value: k } => value & mask == k,
                };
                for first in [9, 8] {
                    let arguments = [first, 0, 0, value, 0, 0];
                    let expected = if holds && first == 9 { ALLOW } else { errno(1) };
                    let found = interpreter::run(&program, 7, 5, arguments);
                    assert_eq!(found, expected, "{compare:?} {value} {first}");
                }
            }
        }
    }
}
