//! The device rules of a cgroup: as lines for v1, as a BPF program for v2 (which has no files for them).
//! The program is built by hand: one block of comparisons a rule, the last matching rule decides.
#![expect(unsafe_code, reason = "bpf(2) has no safe wrapper")]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::path::Path;

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_ATTACH: libc::c_long = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;

/// One rule: which accesses to which devices it allows or denies. A later rule wins over an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeviceAccess {
    pub(crate) allow: bool,
    /// `c`, `b`, or `a` for both.
    pub(crate) kind: char,
    /// `None`: any.
    pub(crate) major: Option<u32>,
    pub(crate) minor: Option<u32>,
    /// Letters of `rwm`.
    pub(crate) access: String,
}

/// `c 1:3 rwm`, with `*` for any.
pub(crate) fn v1_line(rule: &DeviceAccess) -> String {
    let kind = rule.kind;
    let number = |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
    format!(
        "{kind} {}:{} {}",
        number(rule.major),
        number(rule.minor),
        rule.access
    )
}

/// Instructions that answer: set the result, return.
const DECISION_LENGTH: usize = 2;

/// One eBPF instruction (`linux/bpf.h`, struct bpf_insn).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
struct Instruction {
    code: u8,
    /// Destination in the low four bits, source in the high ones.
    registers: u8,
    offset: i16,
    immediate: i32,
}

impl Instruction {
    fn new(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Self {
        Instruction {
            code,
            registers: destination | source << 4,
            offset,
            immediate,
        }
    }
}

/// The program for these rules: 1 in r0 lets the access through.
fn assemble(rules: &[DeviceAccess]) -> Vec<Instruction> {
    let load_word = |to: u8, offset| Instruction::new(0x61, to, 1, offset, 0);
    let mut program = vec![
        // struct bpf_cgroup_dev_ctx { u32 access_type (access << 16 | type), major, minor }
        load_word(2, 0),
        Instruction::new(0xbc, 3, 2, 0, 0),      // w3 = w2
        Instruction::new(0x54, 2, 0, 0, 0xffff), // w2 &= 0xffff: the type
        Instruction::new(0x74, 3, 0, 0, 16),     // w3 >>= 16: the access
        load_word(4, 4),
        load_word(5, 8),
    ];
    for rule in rules.iter().rev() {
        let block = rule_block(rule);
        let decides_all = block.len() == DECISION_LENGTH;
        program.extend(block);
        if decides_all {
            // The kernel refuses a program with instructions that are never reached.
            return program;
        }
    }
    program.push(Instruction::new(0xb7, 0, 0, 0, 0));
    program.push(Instruction::new(0x95, 0, 0, 0, 0));
    program
}

/// Jumps over itself unless the rule covers the access.
fn rule_block(rule: &DeviceAccess) -> Vec<Instruction> {
    let mut block = Vec::new();
    let not_equal = |register, value: u32| {
        // jne32: the offset is set below.
        Instruction::new(0x56, register, 0, 0, value.cast_signed())
    };
    match rule.kind {
        'b' => block.push(not_equal(2, 1)),
        'c' => block.push(not_equal(2, 2)),
        _ => {}
    }
    let bits = rule.access.chars().fold(0, |bits, letter| match letter {
        'm' => bits | 1,
        'r' => bits | 2,
        'w' => bits | 4,
        _ => bits,
    });
    if bits != 7 {
        block.push(Instruction::new(0xbc, 6, 3, 0, 0)); // w6 = w3
        if rule.allow {
            block.push(Instruction::new(0x54, 6, 0, 0, bits));
            // jne32 w6, w3: something is asked that the rule does not give.
            block.push(Instruction::new(0x5e, 6, 3, 0, 0));
        } else {
            block.push(Instruction::new(0x54, 6, 0, 0, bits));
            // jeq32 w6, 0: nothing is asked that the rule takes.
            block.push(Instruction::new(0x16, 6, 0, 0, 0));
        }
    }
    if let Some(major) = rule.major {
        block.push(not_equal(4, major));
    }
    if let Some(minor) = rule.minor {
        block.push(not_equal(5, minor));
    }
    block.push(Instruction::new(0xb7, 0, 0, 0, i32::from(rule.allow)));
    block.push(Instruction::new(0x95, 0, 0, 0, 0));
    let length = block.len();
    for (index, instruction) in block.iter_mut().enumerate() {
        if matches!(instruction.code, 0x56 | 0x5e | 0x16) {
            instruction.offset = i16::try_from(length - index - 1).unwrap_or(i16::MAX);
        }
    }
    block
}

/// Attaches the rules to a v2 cgroup.
pub(crate) fn attach(folder: &Path, rules: &[DeviceAccess]) -> io::Result<()> {
    let directory = File::open(folder)?;
    let program = load(&assemble(rules))?;
    #[repr(C)]
    struct Attach {
        target_fd: u32,
        attach_bpf_fd: u32,
        attach_type: u32,
        attach_flags: u32,
    }
    let attributes = Attach {
        target_fd: directory.as_raw_fd().cast_unsigned(),
        attach_bpf_fd: program.as_raw_fd().cast_unsigned(),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: `attributes` is laid out as the kernel's union for this command, and outlives the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_ATTACH,
            &raw const attributes,
            size_of::<Attach>(),
        )
    };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn load(program: &[Instruction]) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Load {
        prog_type: u32,
        instruction_count: u32,
        instructions: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log_buffer: u64,
        kernel_version: u32,
        flags: u32,
    }
    let license = c"Apache-2.0";
    let attributes = Load {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        instruction_count: u32::try_from(program.len()).unwrap_or(u32::MAX),
        instructions: program.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buffer: 0,
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: `attributes` is laid out as the kernel's union for this command; it and what it points to outlive the call.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_LOAD,
            &raw const attributes,
            size_of::<Load>(),
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = i32::try_from(fd).map_err(|_| io::Error::other("bpf(2) gave no descriptor"))?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(
        allow: bool,
        kind: char,
        number: (Option<u32>, Option<u32>),
        access: &str,
    ) -> DeviceAccess {
        DeviceAccess {
            allow,
            kind,
            major: number.0,
            minor: number.1,
            access: access.to_owned(),
        }
    }

    #[test]
    fn rules_become_v1_lines() {
        assert_eq!(v1_line(&rule(false, 'a', (None, None), "rwm")), "a *:* rwm");
        assert_eq!(
            v1_line(&rule(true, 'c', (Some(136), None), "rwm")),
            "c 136:* rwm"
        );
    }

    /// Runs the program as the kernel would, for what it uses.
    fn run(program: &[Instruction], context: [u32; 3]) -> u32 {
        let mut registers = [0u32; 10];
        let mut at = 0usize;
        loop {
            let i = program[at];
            let (to, from) = (usize::from(i.registers & 15), usize::from(i.registers >> 4));
            let value = i.immediate.cast_unsigned();
            at += 1;
            let mut jump = false;
            match i.code {
                0x61 => registers[to] = context[usize::try_from(i.offset).unwrap() / 4],
                0xbc => registers[to] = registers[from],
                0x54 => registers[to] &= value,
                0x74 => registers[to] >>= value,
                0xb7 => registers[to] = value,
                0x56 => jump = registers[to] != value,
                0x16 => jump = registers[to] == value,
                0x5e => jump = registers[to] != registers[from],
                0x95 => return registers[0],
                other => panic!("unknown instruction {other:#x}"),
            }
            if jump {
                at += usize::try_from(i.offset).unwrap();
            }
        }
    }

    #[test]
    fn the_program_lets_through_what_the_rules_say() {
        let rules = [
            rule(false, 'a', (None, None), "rwm"),
            rule(true, 'c', (None, None), "m"),
            rule(true, 'b', (None, None), "m"),
            rule(true, 'c', (Some(1), Some(3)), "rwm"),
            rule(true, 'c', (Some(1), Some(7)), "rwm"),
            rule(true, 'c', (Some(136), None), "rwm"),
            rule(true, 'b', (Some(8), Some(0)), "r"),
            rule(false, 'c', (Some(1), Some(7)), "w"),
        ];
        let program = assemble(&rules);
        let (block, char) = (1, 2);
        let (mknod, read, write) = (1 << 16, 2 << 16, 4 << 16);
        let cases = [
            ([char | read | write, 1, 3], 1),
            ([char | read, 1, 11], 0),
            ([char | mknod, 1, 11], 1),
            ([char | mknod | read, 1, 11], 0),
            ([block | read, 8, 0], 1),
            ([block | read | write, 8, 0], 0),
            ([block | mknod, 254, 0], 1),
            ([char | read, 1, 7], 1),
            ([char | write, 1, 7], 0),
            ([char | read | write, 136, 9], 1),
        ];
        for (context, expected) in cases {
            assert_eq!(run(&program, context), expected, "{context:?}");
        }
    }

    /// On a v2 hierarchy of this machine, beside v1 ones or not.
    #[test]
    fn the_kernel_takes_the_program_and_obeys_it() {
        use std::io::{Read as _, Write as _};
        use std::process::{Command, Stdio};

        use crate::sys::cgroup::{Hierarchies, hierarchies};

        let root = match hierarchies() {
            Hierarchies::V1 {
                unified: Some(root),
                ..
            }
            | Hierarchies::V2 { root } => root,
            Hierarchies::V1 { .. } => return,
        };
        let folder = root.join(format!("hoist-test-devices-{}", std::process::id()));
        if !rustix::process::geteuid().is_root() || std::fs::create_dir(&folder).is_err() {
            return;
        }
        let rules = [
            rule(false, 'a', (None, None), "rwm"),
            rule(true, 'c', (Some(1), Some(3)), "rwm"),
        ];
        attach(&folder, &rules).unwrap();
        let script = "read go; (: < /dev/null) && echo null; (: < /dev/zero) 2>/dev/null && echo zero; echo end";
        let mut child = Command::new("/bin/sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        std::fs::write(folder.join("cgroup.procs"), child.id().to_string()).unwrap();
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        let mut text = String::new();
        child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        child.wait().unwrap();
        crate::sys::cgroup::remove_tree(&folder).unwrap();
        assert_eq!(text, "null\nend\n");
    }
}
