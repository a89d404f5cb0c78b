//! Further processes in a running container: created, started once, inspected after. The exit code is final
//! before the stream of a client ends, because clients read it right then.

use std::sync::{Arc, Mutex};

use crate::engine::base::sync::lock;
use crate::engine::base::{Error, ErrorKind, Result};
use crate::engine::containers::record::Record;
use crate::engine::containers::state::{self, Admission, Request};
use crate::engine::containers::validate::security_options;
use crate::engine::containers::{Containers, Deps, names, rootfs, spec, user};
use crate::oci::runtime_spec::{ConsoleSize, ProcessSpec};
use crate::shim::client::{AttachOptions, Attached, ExecSpec, StartErrorKind};

pub(crate) use crate::shim::client::ExecProcess;

/// What an exec was asked to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ExecConfig {
    pub(crate) command: Vec<String>,
    pub(crate) env: Vec<String>,
    pub(crate) user: String,
    pub(crate) working_dir: String,
    pub(crate) privileged: bool,
    pub(crate) tty: bool,
    pub(crate) attach_stdin: bool,
    pub(crate) attach_stdout: bool,
    pub(crate) attach_stderr: bool,
    pub(crate) detach_keys: Option<String>,
    pub(crate) console_size: Option<ConsoleSize>,
}

/// One exec of a container.
pub(crate) struct Exec {
    pub(crate) id: String,
    pub(crate) container_id: String,
    pub(crate) config: ExecConfig,
    /// Held for a look or a change only.
    state: Mutex<ExecState>,
}

#[derive(Clone)]
enum ExecState {
    Created {
        wanted_size: Option<ConsoleSize>,
    },
    /// Between the request and the shim's answer.
    Starting {
        wanted_size: Option<ConsoleSize>,
    },
    Running(Arc<ExecProcess>),
    Ended {
        code: i32,
        pid: i32,
    },
}

/// What inspect shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExecStatus {
    pub(crate) running: bool,
    /// `None` until it has ended.
    pub(crate) exit_code: Option<i32>,
    pub(crate) pid: i32,
}

/// A started exec and its streams.
pub(crate) struct StartedExec {
    pub(crate) process: Arc<ExecProcess>,
    pub(crate) attached: Option<Attached>,
}

impl Exec {
    pub(crate) fn status(&self) -> ExecStatus {
        match &*lock(&self.state) {
            ExecState::Created { .. } | ExecState::Starting { .. } => ExecStatus {
                running: false,
                exit_code: None,
                pid: 0,
            },
            ExecState::Running(process) => ExecStatus {
                running: true,
                exit_code: None,
                pid: process.pid,
            },
            ExecState::Ended { code, pid } => ExecStatus {
                running: false,
                exit_code: Some(*code),
                pid: *pid,
            },
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(&*lock(&self.state), ExecState::Running(_))
    }

    /// Applies a size now, or with the start.
    pub(crate) async fn resize(&self, size: ConsoleSize) -> Result<()> {
        let running = match &mut *lock(&self.state) {
            ExecState::Created { wanted_size } | ExecState::Starting { wanted_size } => {
                *wanted_size = Some(size);
                None
            }
            ExecState::Running(process) => Some(Arc::clone(process)),
            ExecState::Ended { .. } => {
                return Err(Error::not_found(format!(
                    "exec {} has already stopped",
                    self.id
                )));
            }
        };
        match running {
            Some(process) => process
                .resize(size)
                .await
                .map_err(|error| Error::system(error.message)),
            None => Ok(()),
        }
    }

    fn begin(&self) -> Result<()> {
        let mut state = lock(&self.state);
        match &*state {
            ExecState::Created { wanted_size } => {
                *state = ExecState::Starting {
                    wanted_size: *wanted_size,
                };
                Ok(())
            }
            ExecState::Ended { .. } => {
                Err(Error::conflict(format!("exec {} has already run", self.id)))
            }
            _ => Err(Error::conflict(format!(
                "exec {} is already running",
                self.id
            ))),
        }
    }

    /// Waits for the end and keeps the code.
    async fn follow(self: Arc<Self>, deps: Arc<Deps>, process: Arc<ExecProcess>) {
        let started = std::time::Instant::now();
        let code = process.wait().await;
        self.ended(code, process.pid);
        if let Ok(container) = deps.get(&self.container_id) {
            let view = container.view();
            deps.publish(
                &view.record,
                "exec_die",
                &[
                    ("execID", self.id.clone()),
                    ("exitCode", code.to_string()),
                    ("execDuration", started.elapsed().as_secs().to_string()),
                ],
            );
        }
        // Inspect works for a while after; it must not grow without end.
        tokio::time::sleep(KEPT_AFTER_END).await;
        deps.forget_exec(&self.id);
    }

    /// The end as whoever copies the streams sees it: no later than the client does.
    pub(crate) fn note_end(&self, code: i32, pid: i32) {
        self.ended(code, pid);
    }

    fn ended(&self, code: i32, pid: i32) {
        *lock(&self.state) = ExecState::Ended { code, pid };
    }
}

/// How long an ended exec can be inspected.
const KEPT_AFTER_END: std::time::Duration = std::time::Duration::from_secs(300);

impl Containers {
    /// Registers an exec; its id.
    pub(crate) fn create_exec(&self, container: &str, config: ExecConfig) -> Result<String> {
        let view = self.get(container)?.view();
        let admission = state::admit(view.run.state, Request::Exec);
        if let Admission::Denied(denied) = admission {
            return Err(denied.to_error(Request::Exec, view.id(), &view.record.name));
        }
        if config.command.is_empty() || config.command[0].is_empty() {
            return Err(Error::invalid("No exec command specified"));
        }
        let exec = Arc::new(Exec {
            id: names::new_id()?,
            container_id: view.id().to_owned(),
            state: Mutex::new(ExecState::Created {
                wanted_size: config.console_size,
            }),
            config,
        });
        let id = exec.id.clone();
        let action = format!("exec_create: {}", exec.config.command.join(" "));
        self.deps
            .publish(&view.record, action, &[("execID", id.clone())]);
        self.deps.insert_exec(exec);
        Ok(id)
    }

    /// Whether an exec can be started now: it never was, and its container runs.
    pub(crate) fn check_exec(&self, exec: &Exec) -> Result<()> {
        let view = self.get(&exec.container_id)?.view();
        if let Admission::Denied(denied) = state::admit(view.run.state, Request::Exec) {
            return Err(denied.to_error(Request::Exec, view.id(), &view.record.name));
        }
        match &*lock(&exec.state) {
            ExecState::Created { .. } => Ok(()),
            ExecState::Ended { .. } => {
                Err(Error::conflict(format!("exec {} has already run", exec.id)))
            }
            _ => Err(Error::conflict(format!(
                "exec {} is already running",
                exec.id
            ))),
        }
    }

    /// Starts a created exec. Only once.
    pub(crate) async fn start_exec(
        &self,
        exec: &Arc<Exec>,
        attach: AttachOptions,
    ) -> Result<StartedExec> {
        let view = self.get(&exec.container_id)?.view();
        if let Admission::Denied(denied) = state::admit(view.run.state, Request::Exec) {
            return Err(denied.to_error(Request::Exec, view.id(), &view.record.name));
        }
        let Some(shim) = view.shim.clone() else {
            return Err(Error::conflict(format!(
                "container {} is not running",
                view.id()
            )));
        };
        exec.begin()?;
        let process = process_spec(&self.deps, &view.record, view.run.pid, &exec.config);
        let process = match process {
            Ok(process) => process,
            Err(error) => {
                exec.ended(126, 0);
                return Err(error);
            }
        };
        let action = format!("exec_start: {}", exec.config.command.join(" "));
        self.deps
            .publish(&view.record, action, &[("execID", exec.id.clone())]);
        let started = shim
            .exec(ExecSpec {
                exec_id: exec.id.clone(),
                process,
                attach,
            })
            .await;
        let mut process = match started {
            Ok(process) => process,
            Err(error) => {
                exec.ended(error.exit_code(), 0);
                let kind = match error.kind {
                    StartErrorKind::NotFound | StartErrorKind::PermissionDenied => {
                        ErrorKind::Invalid
                    }
                    StartErrorKind::Other => ErrorKind::System,
                };
                return Err(Error::new(kind, error.message));
            }
        };
        let attached = process.attached.take();
        let process = Arc::new(process);
        let wanted_size = match &mut *lock(&exec.state) {
            ExecState::Starting { wanted_size } => wanted_size.take(),
            _ => None,
        };
        *lock(&exec.state) = ExecState::Running(Arc::clone(&process));
        if let Some(size) = wanted_size
            && exec.config.tty
            && let Err(error) = process.resize(size).await
        {
            tracing::debug!(%error, "size of an exec's terminal");
        }
        tokio::spawn(Arc::clone(exec).follow(Arc::clone(&self.deps), Arc::clone(&process)));
        Ok(StartedExec { process, attached })
    }
}

/// The process of an exec: the container's own, with what the exec asks for in its place.
pub(crate) fn process_spec(
    _deps: &Deps,
    record: &Record,
    container_pid: i32,
    exec: &ExecConfig,
) -> Result<ProcessSpec> {
    let root = rootfs::open_directory(std::path::Path::new(&format!("/proc/{container_pid}/root")))
        .map_err(|_| Error::conflict(format!("container {} is not running", record.id)))?;
    let accounts = rootfs::read_accounts(&root);
    let user_text = match exec.user.as_str() {
        "" => record.config.user.as_str(),
        own => own,
    };
    let groups = record.host.group_add.clone().unwrap_or_default();
    let resolved = user::resolve(user_text, &groups, &accounts)?;
    let security = security_options(&record.host)?;
    let capabilities = spec::capabilities(record, exec.privileged || record.host.privileged)?;
    let cwd = [&exec.working_dir, &record.config.working_dir]
        .into_iter()
        .find(|path| !path.is_empty())
        .cloned()
        .unwrap_or_else(|| "/".to_owned());
    let rlimits = spec::rlimits(&record.host);
    Ok(ProcessSpec {
        args: exec.command.clone(),
        env: environment(record, exec, &resolved.home),
        cwd,
        user: resolved.spec,
        tty: exec.tty,
        console_size: exec.console_size,
        capabilities,
        rlimits,
        no_new_privileges: security.no_new_privileges,
        oom_score_adj: i32::try_from(record.host.oom_score_adj)
            .ok()
            .filter(|adjust| *adjust != 0),
        seccomp: security.seccomp,
    })
}

fn environment(record: &Record, exec: &ExecConfig, home: &str) -> Vec<String> {
    let key = |entry: &str| entry.split('=').next().unwrap_or("").to_owned();
    let mut env: Vec<String> = Vec::new();
    let mut set = |entry: String| {
        let name = key(&entry);
        env.retain(|earlier| key(earlier) != name);
        env.push(entry);
    };
    set(spec::DEFAULT_PATH.to_owned());
    set(format!(
        "HOSTNAME={}",
        crate::engine::containers::network::hostname(record)
    ));
    if exec.tty {
        set("TERM=xterm".to_owned());
    }
    set(format!("HOME={home}"));
    for entry in record.config.env.iter().chain(&exec.env) {
        if entry.contains('=') {
            set(entry.clone());
        }
    }
    env
}
