//! What the calling process may do and how it is seen: user and groups, capabilities, no_new_privs, dumpable, parent
//! death signal, session, limits.
#![expect(
    unsafe_code,
    reason = "prctl(2), capset(2), setgroups(2) act on the calling thread, as wanted here"
)]

use std::ffi::CString;
use std::io;

fn prctl(option: libc::c_int, argument: libc::c_ulong) -> io::Result<()> {
    // SAFETY: the options used here take numbers only.
    if unsafe { libc::prctl(option, argument, 0, 0, 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The name in `ps`, up to 15 bytes.
pub(crate) fn set_name(name: &str) -> io::Result<()> {
    let name = CString::new(name)?;
    // SAFETY: a string that ends with NUL, read during the call only.
    if unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// A process that is not dumpable cannot be looked into through `/proc` by those with less rights.
pub(crate) fn set_dumpable(dumpable: bool) -> io::Result<()> {
    prctl(libc::PR_SET_DUMPABLE, libc::c_ulong::from(dumpable))
}

/// Orphans below this process become its children.
pub(crate) fn become_subreaper() -> io::Result<()> {
    prctl(libc::PR_SET_CHILD_SUBREAPER, 1)
}

/// SIGKILL when the parent dies. A change of user clears it, so it comes after.
pub(crate) fn die_with_parent() -> io::Result<()> {
    prctl(
        libc::PR_SET_PDEATHSIG,
        libc::c_ulong::from(libc::SIGKILL.cast_unsigned()),
    )
}

pub(crate) fn set_no_new_privileges() -> io::Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1)
}

/// A session of its own; fine when it leads one already.
pub(crate) fn become_session_leader() -> io::Result<()> {
    match rustix::process::setsid() {
        Ok(_) | Err(rustix::io::Errno::PERM) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Keeps the permitted capabilities over the change from root to another user.
pub(crate) fn keep_capabilities(keep: bool) -> io::Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, libc::c_ulong::from(keep))
}

/// Takes every capability that is not in `keep` (bit n is capability n) out of the bounding set, and empties the
/// ambient one.
pub(crate) fn limit_bounding_set(keep: u64) -> io::Result<()> {
    for number in 0..64u8 {
        if keep >> number & 1 == 1 {
            continue;
        }
        match prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number)) {
            // Beyond the last capability that this kernel knows.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
            other => other?,
        }
    }
    let clear = libc::c_ulong::from(libc::PR_CAP_AMBIENT_CLEAR_ALL.cast_unsigned());
    prctl(libc::PR_CAP_AMBIENT, clear)
}

/// The effective and permitted sets become these (bit n is capability n); the inheritable one becomes empty.
pub(crate) fn set_capabilities(effective: u64, permitted: u64) -> io::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[repr(C)]
    struct Data {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    const VERSION_3: u32 = 0x2008_0522;
    let known = known_capabilities();
    let half = |bits: u64, shift: u32| -> u32 {
        u32::try_from((bits & known) >> shift & u64::from(u32::MAX)).unwrap_or(0)
    };
    let data = [0, 32].map(|shift| Data {
        effective: half(effective, shift),
        permitted: half(permitted, shift),
        inheritable: 0,
    });
    let header = Header {
        version: VERSION_3,
        pid: 0,
    };
    // SAFETY: version 3 reads one header and two data structs, which is what these are.
    let done = unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The capabilities that this process may give: what its kernel knows and its own surroundings left it. Read once,
/// before any root changes: a zygote calls it.
pub(crate) fn known_capabilities() -> u64 {
    static KNOWN: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    *KNOWN.get_or_init(|| {
        std::fs::read_to_string("/proc/self/status")
            .ok()
            .and_then(|status| {
                let line = status
                    .lines()
                    .find_map(|line| line.strip_prefix("CapPrm:"))?;
                u64::from_str_radix(line.trim(), 16).ok()
            })
            .unwrap_or(0)
    })
}

/// Group, further groups, user, in this order. All three sets of ids.
pub(crate) fn set_user(uid: u32, gid: u32, additional_gids: &[u32]) -> io::Result<()> {
    // SAFETY: the list and its length belong together.
    if unsafe { libc::setgroups(additional_gids.len(), additional_gids.as_ptr()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: plain numbers.
    if unsafe { libc::setresgid(gid, gid, gid) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: plain numbers.
    if unsafe { libc::setresuid(uid, uid, uid) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

pub(crate) fn set_umask(mask: u32) {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
}

const LIMITS: [(&str, libc::__rlimit_resource_t); 16] = [
    ("as", libc::RLIMIT_AS),
    ("core", libc::RLIMIT_CORE),
    ("cpu", libc::RLIMIT_CPU),
    ("data", libc::RLIMIT_DATA),
    ("fsize", libc::RLIMIT_FSIZE),
    ("locks", libc::RLIMIT_LOCKS),
    ("memlock", libc::RLIMIT_MEMLOCK),
    ("msgqueue", libc::RLIMIT_MSGQUEUE),
    ("nice", libc::RLIMIT_NICE),
    ("nofile", libc::RLIMIT_NOFILE),
    ("nproc", libc::RLIMIT_NPROC),
    ("rss", libc::RLIMIT_RSS),
    ("rtprio", libc::RLIMIT_RTPRIO),
    ("rttime", libc::RLIMIT_RTTIME),
    ("sigpending", libc::RLIMIT_SIGPENDING),
    ("stack", libc::RLIMIT_STACK),
];

/// One resource limit by its name in `ulimits`; -1 is unlimited.
pub(crate) fn set_limit(name: &str, soft: i64, hard: i64) -> io::Result<()> {
    let resource = LIMITS
        .iter()
        .find_map(|(known, resource)| (*known == name).then_some(*resource))
        .ok_or_else(|| io::Error::other(format!("unknown resource limit \"{name}\"")))?;
    let value = |value: i64| u64::try_from(value).unwrap_or(libc::RLIM_INFINITY);
    let limit = libc::rlimit {
        rlim_cur: value(soft),
        rlim_max: value(hard),
    };
    // SAFETY: `limit` outlives the call.
    if unsafe { libc::setrlimit(resource, &raw const limit) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
