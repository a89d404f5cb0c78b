//! The last steps of a process in a container, the first one or an exec: limits, working directory, user, seccomp,
//! capabilities, and exec. From the loading of the filter on only capset, execve and the report of an error follow.

use std::convert::Infallible;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{Access, AtFlags, CWD, OFlags};

use crate::oci::capabilities::Capabilities;
use crate::oci::runtime_spec::ProcessSpec;
use crate::runtime::channel::Reporter;
use crate::runtime::start_error::{StartError, StartErrorKind, plain};
use crate::runtime::{reaper, seccomp};
use crate::sys::clone::{self, ExecArguments};
use crate::sys::mountpoint::{self, Links};
use crate::sys::seccomp::Instruction;
use crate::sys::{fds, privileges, process};

/// What to become.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) spec: &'a ProcessSpec,
    pub(crate) seccomp: Option<&'a [Instruction]>,
    /// As Docker does for the first process; an exec wants it to be there.
    pub(crate) make_working_directory: bool,
    pub(crate) with_init: bool,
}

/// What can be refused before anything is made.
pub(crate) fn check(spec: &ProcessSpec) -> Result<(), StartError> {
    if spec.args.first().is_none_or(String::is_empty) {
        return Err(StartError::other("no command specified"));
    }
    if !spec.cwd.starts_with('/') {
        return Err(StartError::other(format!(
            "Cwd must be an absolute path: \"{}\"",
            spec.cwd
        )));
    }
    if spec.user.uid == u32::MAX || spec.user.gid == u32::MAX {
        return Err(StartError::other(
            "a user or group id of 4294967295 is no id",
        ));
    }
    ExecArguments::new(&spec.args, &spec.env)
        .map_err(|error| StartError::doing("the command or its environment", &error))?;
    Ok(())
}

/// The filter of the process, if it has one.
pub(crate) fn seccomp_program(spec: &ProcessSpec) -> Result<Option<Vec<Instruction>>, StartError> {
    seccomp::program(&spec.seccomp, spec.capabilities).map_err(StartError::other)
}

/// Does not come back, unless with an error.
pub(crate) fn become_it(
    plan: &Plan<'_>,
    root: OwnedFd,
    reporter: &Reporter,
) -> Result<Infallible, StartError> {
    let spec = plan.spec;
    let failed = |what: &'static str| move |error: io::Error| StartError::doing(what, &error);
    let arguments = ExecArguments::new(&spec.args, &spec.env)
        .map_err(failed("the command or its environment"))?;
    for limit in &spec.rlimits {
        privileges::set_limit(&limit.name, limit.soft, limit.hard).map_err(|error| {
            StartError::doing(format!("error setting rlimit type {}", limit.name), &error)
        })?;
    }
    if plan.make_working_directory {
        // What cannot be made is told by the next step.
        let _ = mountpoint::ensure_dir(root.as_fd(), &spec.cwd, 0o755);
    }
    enter_working_directory(root.as_fd(), &spec.cwd)?;
    drop(root);
    privileges::set_umask(0o022);
    privileges::limit_bounding_set(spec.capabilities.bits()).map_err(failed("bounding set"))?;
    privileges::keep_capabilities(true).map_err(failed("keeping capabilities"))?;
    let user = &spec.user;
    let mut gids = user.additional_gids.clone();
    if !gids.contains(&user.gid) {
        // As Docker: a group that is only the primary one could be dropped by the process (CVE-2022-36109).
        gids.insert(0, user.gid);
    }
    privileges::set_user(user.uid, user.gid, &gids).map_err(|error| {
        StartError::doing(
            format!("unable to setup user {}:{}", user.uid, user.gid),
            &error,
        )
    })?;
    // What the user will have after exec: the command is looked up with no more than that.
    let remaining = if user.uid == 0 {
        spec.capabilities
    } else {
        Capabilities::NONE
    };
    privileges::set_capabilities(remaining.bits(), Capabilities::ALL.bits())
        .map_err(failed("setting capabilities"))?;
    let program = find_program(spec)?;
    privileges::set_capabilities(Capabilities::ALL.bits(), Capabilities::ALL.bits())
        .map_err(failed("setting capabilities"))?;
    if plan.with_init {
        reaper::fork_below(|| confine(plan))?;
    }
    fds::close_on_exec_from(3).map_err(failed("closing descriptors"))?;
    process::reset_signals();
    confine(plan)?;
    die_with_the_shim(reporter, plan.with_init)?;
    let error = clone::exec(&program, &arguments);
    Err(exec_error(&spec.args[0], &error))
}

/// PID 1 of a container must not outlive its shim.
fn die_with_the_shim(reporter: &Reporter, below_init: bool) -> Result<(), StartError> {
    if below_init {
        return Ok(());
    }
    privileges::die_with_parent()
        .map_err(|error| StartError::doing("parent death signal", &error))?;
    if reporter.parent_is_there() {
        Ok(())
    } else {
        Err(StartError::other("the shim is gone"))
    }
}

/// The filter and the capabilities. Without no_new_privs the filter needs CAP_SYS_ADMIN, so it goes first.
fn confine(plan: &Plan<'_>) -> Result<(), StartError> {
    let failed = |what: &'static str| move |error: io::Error| StartError::doing(what, &error);
    if plan.spec.no_new_privileges {
        privileges::set_no_new_privileges().map_err(failed("no_new_privs"))?;
    }
    if let Some(program) = plan.seccomp {
        crate::sys::seccomp::load(program).map_err(failed("error loading seccomp filter"))?;
    }
    let bits = plan.spec.capabilities.bits();
    privileges::set_capabilities(bits, bits).map_err(failed("setting capabilities"))
}

/// By descriptor, so that no link leads to a directory of the host that somebody left open; and looked at again.
fn enter_working_directory(root: BorrowedFd<'_>, cwd: &str) -> Result<(), StartError> {
    let failed = |error: io::Error| StartError {
        kind: StartErrorKind::of(&error),
        message: format!(
            "chdir to cwd (\"{cwd}\") set in config.json failed: {}",
            plain(&error)
        ),
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let folder = mountpoint::open(root, cwd, flags, Links::Inside).map_err(failed)?;
    rustix::process::fchdir(&folder).map_err(|error| failed(error.into()))?;
    let now = rustix::process::getcwd(Vec::new()).map_err(|error| failed(error.into()))?;
    if now.as_bytes().first() != Some(&b'/') {
        return Err(StartError::other(
            "current working directory is outside of container mount namespace root",
        ));
    }
    Ok(())
}

/// As Go's `exec.LookPath`, whose words Docker's users know.
fn find_program(spec: &ProcessSpec) -> Result<CString, StartError> {
    let name = &spec.args[0];
    let error = |kind, text: String| StartError {
        kind,
        message: format!("error during container init: exec: \"{name}\": {text}"),
    };
    let text =
        |path: &str| CString::new(path).map_err(|_| StartError::other("a NUL byte in the command"));
    if name.contains('/') {
        return match executable(name) {
            Ok(()) => text(name),
            Err(Unusable::Missing(reason)) => Err(error(
                StartErrorKind::of(&reason),
                format!("stat {name}: {}", plain(&reason)),
            )),
            Err(Unusable::Directory) => Err(error(
                StartErrorKind::PermissionDenied,
                "is a directory".to_owned(),
            )),
            Err(Unusable::Denied) => Err(error(
                StartErrorKind::PermissionDenied,
                "permission denied".to_owned(),
            )),
        };
    }
    let path = spec
        .env
        .iter()
        .rev()
        .find_map(|variable| variable.strip_prefix("PATH="))
        .unwrap_or_default();
    for folder in path.split(':') {
        let folder = if folder.is_empty() { "." } else { folder };
        let candidate = format!("{folder}/{name}");
        if executable(&candidate).is_ok() {
            if !folder.starts_with('/') {
                return Err(error(
                    StartErrorKind::Other,
                    "cannot run executable found relative to current directory".to_owned(),
                ));
            }
            return text(&candidate);
        }
    }
    Err(error(
        StartErrorKind::NotFound,
        "executable file not found in $PATH".to_owned(),
    ))
}

enum Unusable {
    Missing(io::Error),
    Directory,
    Denied,
}

fn executable(path: &str) -> Result<(), Unusable> {
    let found = rustix::fs::stat(path).map_err(|error| Unusable::Missing(error.into()))?;
    if rustix::fs::FileType::from_raw_mode(found.st_mode) == rustix::fs::FileType::Directory {
        return Err(Unusable::Directory);
    }
    // faccessat2 with AT_EACCESS asks for the effective ids, which are the process's.
    rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS).map_err(|_| Unusable::Denied)
}

fn exec_error(name: &str, error: &io::Error) -> StartError {
    StartError {
        kind: StartErrorKind::of(error),
        message: format!("exec {name}: {}", plain(error)),
    }
}
