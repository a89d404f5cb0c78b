//! `up` in the foreground: output of the containers as it comes, Ctrl-C once and twice, the abort flags.
//! Containers are made and started by `ops::up`.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cli::commands::watch::note_line;
use crate::cli::error::{CliError, Outcome};
use crate::cli::log_view::LogView;
use crate::cli::session::Session;
use crate::cli::signals::Interrupts;
use crate::client::reads::ContainerRow;
use crate::ops::kill::{self, KillOptions};
use crate::ops::logs::LogEvent;
use crate::ops::monitor::{self, Monitor, MonitorEvent, Shown};
use crate::ops::stop::{self, StopOptions};
use crate::ops::up::{self, Prepared, UpOptions};
use crate::ops::{Context, OpError, replicas};
use crate::progress::{Report, Sink};
use crate::ui::log_mux::LogStyle;
use crate::ui::output;
use crate::ui::progress::{self, Mode};
use crate::watch::{self, WatchOptions};

/// What the flags say about the foreground.
#[derive(Debug, Clone)]
pub(crate) struct AttachedOptions {
    pub(crate) style: LogStyle,
    pub(crate) attach: Vec<String>,
    pub(crate) no_attach: Vec<String>,
    pub(crate) attach_dependencies: bool,
    pub(crate) abort_on_exit: bool,
    pub(crate) abort_on_failure: bool,
    pub(crate) exit_code_from: Option<String>,
    pub(crate) menu: bool,
    pub(crate) watch: bool,
}

type Work<'a> = Pin<Box<dyn Future<Output = Result<(), OpError>> + 'a>>;

/// What is being done to end the containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// They run.
    No,
    Stopping,
    Killing,
}

/// Runs `up` and stays until the containers have ended.
pub(crate) async fn run(
    session: &Session,
    mut ctx: Context,
    options: UpOptions,
    attached: AttachedOptions,
) -> Outcome {
    let mut interrupts = Interrupts::new()?;
    let in_foreground = Arc::new(AtomicBool::new(false));
    ctx.progress = foreground_sink(
        ctx.progress.clone(),
        Arc::clone(&in_foreground),
        session.progress_mode()?,
    );
    let prepared = tokio::select! {
        prepared = up::prepare(&ctx, &options) => prepared?,
        () = interrupts.next() => return Err(CliError::canceled()),
    };
    let tracked = tracked_services(&prepared, &options, &attached);
    let rows: Vec<ContainerRow> = replicas::of_services(&ctx, &[], true, false)
        .await?
        .into_iter()
        .filter(|row| tracked.contains(row.service()))
        .collect();
    let shown = shown_services(&prepared, &options, &attached);
    let mut view = LogView::new(attached.style);
    let names: Vec<String> = rows
        .iter()
        .filter(|row| shown.contains(row.service()))
        .map(ContainerRow::short_name)
        .collect();
    output::line(format!("Attaching to {}", names.join(", ")));
    for name in &names {
        view.register(name);
    }
    let wanted = shown.clone();
    let monitor = monitor::attach(
        &ctx,
        rows,
        Shown::new(move |row| wanted.contains(row.service())),
    )
    .await?;
    in_foreground.store(true, Ordering::Relaxed);
    let foreground = Foreground {
        ctx: &ctx,
        services: options.services.clone(),
        attached: &attached,
        view,
        ending: Ending::No,
        code: None,
        failed: None,
        interrupted: false,
    };
    foreground.watch(monitor, &prepared, interrupts).await
}

/// Until the containers start, the usual progress; then single lines between the output.
fn foreground_sink(before: Sink, in_foreground: Arc<AtomicBool>, mode: Mode) -> Sink {
    let after = progress::sink(progress::Options {
        mode: if mode == Mode::Tty { Mode::Plain } else { mode },
        hide_starting: false,
    });
    Sink::new(move |report| {
        if !in_foreground.load(Ordering::Relaxed) {
            before.report(report);
            return;
        }
        if let Report::Event(event) = &report
            && mode == Mode::Tty
            && matches!(
                event.text.as_ref(),
                "Starting" | "Started" | "Waiting" | "Healthy" | "Running" | "Exited"
            )
        {
            return;
        }
        after.report(report);
    })
}

/// Services whose end is waited for: those named, or all; with `--attach…` those too.
fn tracked_services(
    prepared: &Prepared,
    options: &UpOptions,
    attached: &AttachedOptions,
) -> BTreeSet<String> {
    let project = &prepared.project;
    if options.services.is_empty() || attached.attach_dependencies {
        return project.services.keys().cloned().collect();
    }
    options
        .services
        .iter()
        .chain(&attached.attach)
        .filter(|name| project.services.contains_key(*name))
        .cloned()
        .collect()
}

fn shown_services(
    prepared: &Prepared,
    options: &UpOptions,
    attached: &AttachedOptions,
) -> BTreeSet<String> {
    let project = &prepared.project;
    let mut shown: BTreeSet<String> = if attached.attach.is_empty() {
        tracked_services(prepared, options, attached)
            .into_iter()
            .filter(|name| {
                project
                    .service(name)
                    .is_some_and(|service| service.attach != Some(false))
            })
            .collect()
    } else {
        attached.attach.iter().cloned().collect()
    };
    for name in &attached.no_attach {
        shown.remove(name);
    }
    shown
}

struct Foreground<'a> {
    ctx: &'a Context,
    services: Vec<String>,
    attached: &'a AttachedOptions,
    view: LogView,
    ending: Ending,
    /// The exit code that the flags ask for.
    code: Option<i64>,
    failed: Option<OpError>,
    interrupted: bool,
}

impl Foreground<'_> {
    async fn watch(
        mut self,
        mut monitor: Monitor,
        prepared: &Prepared,
        mut interrupts: Interrupts,
    ) -> Outcome {
        let ctx = self.ctx;
        let mut starting: Option<Work<'_>> = Some(Box::pin(up::start(ctx, prepared)));
        let mut ending: Option<Work<'_>> = None;
        let mut watching: Option<Work<'_>> = self.attached.watch.then(|| self.watch_files());
        let mut followed = true;
        while followed || ending.is_some() {
            tokio::select! {
                event = monitor.next(), if followed => match event {
                    Some(event) => {
                        if let Some(work) = self.happened(event) {
                            starting = None;
                            ending = Some(work);
                        }
                    }
                    None => followed = false,
                },
                started = work(&mut starting) => {
                    starting = None;
                    if let Err(error) = started && self.ending == Ending::No {
                        output::error_line(&error.message);
                        self.failed = Some(OpError { message: String::new(), ..error });
                        ending = Some(self.stop());
                    }
                }
                ended = work(&mut ending) => {
                    ending = None;
                    if let Err(error) = ended {
                        output::error_line(&error.message);
                    }
                    if self.ending == Ending::Killing {
                        break;
                    }
                }
                watched = work(&mut watching) => {
                    watching = None;
                    if let Err(error) = watched {
                        output::error_line(&error.message);
                        if self.ending == Ending::No {
                            self.failed = Some(OpError { message: String::new(), ..error });
                            ending = Some(self.stop());
                        }
                    }
                }
                () = interrupts.next() => {
                    self.interrupted = true;
                    watching = None;
                    starting = None;
                    ending = Some(match self.ending {
                        Ending::No => {
                            output::status_line("Gracefully Stopping... press Ctrl+C again to force");
                            self.stop()
                        }
                        Ending::Stopping | Ending::Killing => self.kill(),
                    });
                }
            }
            if output::stdout_is_broken() && self.ending == Ending::No {
                ending = Some(self.stop());
            }
        }
        // What still waits in the channel came before the end.
        while let Some(event) = monitor.next().await {
            self.show(event);
        }
        if let Some(error) = self.failed {
            return Err(error.into());
        }
        if let Some(code) = self.code {
            return CliError::from_process(code);
        }
        if self.interrupted {
            return Err(CliError::canceled());
        }
        Ok(())
    }

    fn watch_files(&self) -> Work<'static> {
        let ctx = self.ctx.clone();
        let options = WatchOptions {
            services: self.services.clone(),
            prune: true,
            quiet: false,
        };
        let note = Arc::new(|text: &str| output::status_line(note_line(text)));
        Box::pin(async move { watch::run(&ctx, &options, note).await })
    }

    fn stop(&mut self) -> Work<'static> {
        self.ending = Ending::Stopping;
        let ctx = self.ctx.clone();
        let options = StopOptions {
            services: self.services.clone(),
            timeout: None,
        };
        Box::pin(async move { stop::run(&ctx, &options).await })
    }

    fn kill(&mut self) -> Work<'static> {
        self.ending = Ending::Killing;
        let ctx = self.ctx.clone();
        let options = KillOptions {
            services: self.services.clone(),
            signal: "SIGKILL".to_owned(),
            remove_orphans: false,
        };
        Box::pin(async move { kill::run(&ctx, &options).await })
    }

    /// Shows an event; an exit may be the one that ends everything.
    fn happened(&mut self, event: MonitorEvent) -> Option<Work<'static>> {
        let exited = match &event {
            MonitorEvent::Exited {
                service,
                code,
                restarting: false,
                ..
            } => Some((service.clone(), *code)),
            _ => None,
        };
        self.show(event);
        let (service, code) = exited?;
        let attached = self.attached;
        let is_awaited = attached.exit_code_from.as_ref() == Some(&service);
        if is_awaited {
            self.code = Some(code);
        }
        if self.ending != Ending::No {
            return None;
        }
        let aborts = match &attached.exit_code_from {
            // A migration that is done is no reason to stop what it was done for.
            Some(_) => is_awaited || code != 0,
            None => attached.abort_on_exit || (attached.abort_on_failure && code != 0),
        };
        if !aborts {
            return None;
        }
        if attached.exit_code_from.is_none() {
            self.code = Some(code);
        }
        output::status_line(if attached.abort_on_failure {
            "Aborting on container failure..."
        } else {
            "Aborting on container exit..."
        });
        Some(self.stop())
    }

    fn show(&mut self, event: MonitorEvent) {
        match event {
            MonitorEvent::Started { container } => self.view.register(&container),
            MonitorEvent::Output {
                container,
                stream,
                bytes,
            } => {
                self.view.show(LogEvent::Output {
                    container,
                    stream,
                    bytes,
                });
            }
            MonitorEvent::Exited {
                container,
                code,
                restarting,
                shown,
                ..
            } => {
                self.view.show(LogEvent::Ended(container.clone()));
                if shown {
                    let restarting = if restarting { " (restarting)" } else { "" };
                    output::line(format!("{container} exited with code {code}{restarting}"));
                }
            }
            MonitorEvent::Warning(text) => output::warning(text),
        }
    }
}

/// Never ready when there is nothing to do.
async fn work(work: &mut Option<Work<'_>>) -> Result<(), OpError> {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}
