//! `up` in the foreground: output of the containers as it comes, Ctrl-C once and twice, the abort flags.
//! Containers are made and started by `ops::up`.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::io::AsyncWriteExt as _;

use crate::cli::commands::watch::note_line;
use crate::cli::error::{CliError, Outcome};
use crate::cli::log_view::LogView;
use crate::cli::menu::{Menu, Wish};
use crate::cli::session::Session;
use crate::cli::signals::Interrupts;
use crate::client::reads::ContainerRow;
use crate::client::streams::{Attached, ExecOptions};
use crate::ops::exec::{self, ExecRequest};
use crate::ops::kill::{self, KillOptions};
use crate::ops::logs::LogEvent;
use crate::ops::monitor::{self, Monitor, MonitorEvent, Shown};
use crate::ops::restart::{self, RestartOptions};
use crate::ops::stop::{self, StopOptions};
use crate::ops::up::{self, Prepared, UpOptions};
use crate::ops::{Context, OpError, replicas};
use crate::progress::{Report, Sink};
use crate::ui::log_mux::LogStyle;
use crate::ui::progress::{self, Mode};
use crate::ui::{output, terminal};
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

/// How long the last output is waited for after everything was stopped.
const LAST_WORDS: Duration = Duration::from_secs(1);

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
        menu: attached
            .menu
            .then(|| {
                let services = shown.iter().cloned().collect();
                let can_watch = watch::is_configured(&ctx, &options.services);
                Menu::open(services, can_watch, attached.watch)
            })
            .flatten(),
        filter: None,
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
    menu: Option<Menu>,
    /// The one service whose output is wanted.
    filter: Option<String>,
}

/// What is under way beside the output.
struct Works<'a> {
    starting: Option<Work<'a>>,
    ending: Option<Work<'a>>,
    watching: Option<Work<'a>>,
    /// A wish of the menu that takes its time.
    wish: Option<Work<'a>>,
}

impl Foreground<'_> {
    async fn watch(
        mut self,
        mut monitor: Monitor,
        prepared: &Prepared,
        mut interrupts: Interrupts,
    ) -> Outcome {
        let mut works = Works {
            starting: Some(Box::pin(up::start(self.ctx, prepared))),
            ending: None,
            watching: None,
            wish: None,
        };
        let mut followed = true;
        while followed || works.ending.is_some() {
            // A restart or a rebuild brings containers back.
            monitor.keep(works.watching.is_some() || works.wish.is_some());
            tokio::select! {
                event = monitor.next(), if followed => match event {
                    Some(event) => {
                        if self.happened(event) {
                            self.stop(&mut works, prepared);
                        }
                    }
                    None => followed = false,
                },
                started = work(&mut works.starting) => {
                    works.starting = None;
                    // What is saved from now on can be copied: the containers are there.
                    if started.is_ok() && self.attached.watch {
                        works.watching = Some(self.watch_files());
                    }
                    self.failed_with(started, &mut works, prepared);
                }
                ended = work(&mut works.ending) => {
                    works.ending = None;
                    if let Err(error) = ended {
                        output::error_line(&error.message);
                    }
                    break;
                }
                watched = work(&mut works.watching) => {
                    works.watching = None;
                    if self.attached.watch {
                        self.failed_with(watched, &mut works, prepared);
                    } else if let Err(error) = watched {
                        output::error_line(&error.message);
                    }
                    self.menu_shows_watch(false);
                }
                wished = work(&mut works.wish) => {
                    works.wish = None;
                    if let Err(error) = wished {
                        output::error_line(&error.message);
                    }
                }
                wish = next_wish(&mut self.menu) => {
                    if self.wished(wish, &mut works).await {
                        return Ok(());
                    }
                }
                () = interrupts.next() => {
                    self.interrupted = true;
                    self.menu = None;
                    if self.ending == Ending::No {
                        output::status_line("Gracefully Stopping... press Ctrl+C again to force");
                        self.stop(&mut works, prepared);
                    } else {
                        self.kill(&mut works);
                    }
                }
            }
            if output::stdout_is_broken() && self.ending == Ending::No {
                self.stop(&mut works, prepared);
            }
        }
        self.menu = None;
        // The last words come before the end; a container that never started has none.
        let last_words = async {
            while let Some(event) = monitor.next().await {
                self.happened(event);
            }
        };
        let _ = tokio::time::timeout(LAST_WORDS, last_words).await;
        self.outcome()
    }

    fn outcome(self) -> Outcome {
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

    /// A failure ends the whole; what is ending anyway needs no word.
    fn failed_with(
        &mut self,
        result: Result<(), OpError>,
        works: &mut Works<'_>,
        prepared: &Prepared,
    ) {
        if let Err(error) = result
            && self.ending == Ending::No
        {
            output::error_line(&error.message);
            self.failed = Some(OpError {
                message: String::new(),
                ..error
            });
            self.stop(works, prepared);
        }
    }

    /// Does what the menu was asked for; `true`: detach.
    async fn wished(&mut self, wish: Wish, works: &mut Works<'_>) -> bool {
        match wish {
            Wish::Detach => return true,
            Wish::Line => output::line(""),
            Wish::Filter(service) => self.filter = service,
            Wish::ToggleWatch => {
                if works.watching.take().is_some() {
                    output::status_line(note_line("Watch disabled"));
                } else {
                    works.watching = Some(self.watch_files());
                }
                self.menu_shows_watch(works.watching.is_some());
            }
            Wish::Restart(service) => {
                let ctx = self.ctx.clone();
                let options = RestartOptions {
                    services: vec![service],
                    no_deps: false,
                    timeout: None,
                };
                works.wish = Some(Box::pin(async move { restart::run(&ctx, &options).await }));
            }
            Wish::Shell(service) => {
                if let Some(menu) = &mut self.menu {
                    menu.suspend();
                    let left = shell(self.ctx, &service, menu).await;
                    menu.resume();
                    if let Err(error) = left {
                        error.print(false);
                    }
                }
            }
        }
        false
    }

    fn menu_shows_watch(&mut self, watching: bool) {
        if let Some(menu) = &mut self.menu {
            menu.set_watching(watching);
        }
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

    fn stop(&mut self, works: &mut Works<'_>, prepared: &Prepared) {
        self.ending = Ending::Stopping;
        works.starting = None;
        works.watching = None;
        works.wish = None;
        // The stop takes the project's lock itself.
        prepared.release();
        let ctx = self.ctx.clone();
        let options = StopOptions {
            services: self.services.clone(),
            timeout: None,
        };
        works.ending = Some(Box::pin(async move { stop::run(&ctx, &options).await }));
    }

    fn kill(&mut self, works: &mut Works<'_>) {
        self.ending = Ending::Killing;
        let ctx = self.ctx.clone();
        let options = KillOptions {
            services: self.services.clone(),
            signal: "SIGKILL".to_owned(),
            remove_orphans: false,
        };
        works.ending = Some(Box::pin(async move { kill::run(&ctx, &options).await }));
    }

    /// Shows an event; `true`: it is an exit that ends everything.
    fn happened(&mut self, event: MonitorEvent) -> bool {
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
        let Some((service, code)) = exited else {
            return false;
        };
        let attached = self.attached;
        let is_awaited = attached.exit_code_from.as_ref() == Some(&service);
        if is_awaited {
            self.code = Some(code);
        }
        if self.ending != Ending::No {
            return false;
        }
        let aborts = match &attached.exit_code_from {
            // A migration that is done is no reason to stop what it was done for.
            Some(_) => is_awaited || code != 0,
            None => attached.abort_on_exit || (attached.abort_on_failure && code != 0),
        };
        if !aborts {
            return false;
        }
        if attached.exit_code_from.is_none() {
            self.code = Some(code);
        }
        output::status_line(if attached.abort_on_failure {
            "Aborting on container failure..."
        } else {
            "Aborting on container exit..."
        });
        true
    }

    /// Whether the menu's filter lets a container's output through.
    fn is_wanted(&self, container: &str) -> bool {
        let Some(service) = &self.filter else {
            return true;
        };
        container == service
            || container
                .rsplit_once(['-', '_'])
                .is_some_and(|(name, _)| name == service)
    }

    fn show(&mut self, event: MonitorEvent) {
        match event {
            MonitorEvent::Started { container } => self.view.register(&container),
            MonitorEvent::Output {
                container,
                stream,
                bytes,
            } => {
                if !self.is_wanted(&container) {
                    return;
                }
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

/// Never ready without a menu.
async fn next_wish(menu: &mut Option<Menu>) -> Wish {
    match menu {
        Some(menu) => menu.next().await,
        None => std::future::pending().await,
    }
}

/// A shell in the lowest replica of a service. The keys still come through the menu's reader.
async fn shell(ctx: &Context, service: &str, menu: &mut Menu) -> Outcome {
    let request = ExecRequest {
        service: service.to_owned(),
        index: 0,
        process: ExecOptions {
            command: [
                "/bin/sh",
                "-c",
                "command -v bash >/dev/null && exec bash || exec sh",
            ]
            .map(str::to_owned)
            .to_vec(),
            tty: true,
            stdin: true,
            ..ExecOptions::default()
        },
    };
    let running = exec::start(ctx, &request).await?;
    let _mode = terminal::raw().map_err(|error| CliError::new(format!("terminal: {error}")))?;
    if let Some((rows, columns)) = terminal::size() {
        // A shell of the wrong size is better than none.
        let _ = ctx.client.resize_exec(&running.id, rows, columns).await;
    }
    let Attached {
        mut output,
        mut input,
    } = running.attached;
    loop {
        tokio::select! {
            chunk = output.next() => match chunk {
                Some(chunk) => output::write(&chunk?.bytes),
                None => return Ok(()),
            },
            key = menu.raw_key() => {
                let Some(key) = key else { return Ok(()) };
                if input.write_all(&[key]).await.is_err() || input.flush().await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}
