//! What operations report and `ui` draws: one event a change of one resource. It is not a log and it
//! draws nothing: a [`Sink`] only carries reports to whoever listens.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// What kind of thing an event is about. It decides the word in front of the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum ResourceKind {
    Network,
    Volume,
    Image,
    #[expect(dead_code, reason = "part of the shape; nobody asks for it yet")]
    Config,
    #[expect(dead_code, reason = "part of the shape; nobody asks for it yet")]
    Secret,
    Container,
    /// A service as a whole: providers, models, builds.
    Service,
    /// The project as a whole (`Compose`).
    #[expect(dead_code, reason = "part of the shape; nobody asks for it yet")]
    Project,
}

/// The thing an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Resource {
    pub(crate) kind: ResourceKind,
    pub(crate) name: String,
}

impl Resource {
    pub(crate) fn new(kind: ResourceKind, name: impl Into<String>) -> Self {
        Resource {
            kind,
            name: name.into(),
        }
    }

    pub(crate) fn container(name: impl Into<String>) -> Self {
        Self::new(ResourceKind::Container, name)
    }

    pub(crate) fn network(name: impl Into<String>) -> Self {
        Self::new(ResourceKind::Network, name)
    }

    pub(crate) fn volume(name: impl Into<String>) -> Self {
        Self::new(ResourceKind::Volume, name)
    }

    pub(crate) fn image(name: impl Into<String>) -> Self {
        Self::new(ResourceKind::Image, name)
    }

    pub(crate) fn service(name: impl Into<String>) -> Self {
        Self::new(ResourceKind::Service, name)
    }
}

impl fmt::Display for Resource {
    /// The id that docker compose prints: `Container web-1`, a bare service name, `Compose`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.kind {
            ResourceKind::Network => "Network",
            ResourceKind::Volume => "Volume",
            ResourceKind::Image => "Image",
            ResourceKind::Config => "Config",
            ResourceKind::Secret => "Secret",
            ResourceKind::Container => "Container",
            ResourceKind::Service => return f.write_str(&self.name),
            ResourceKind::Project => return f.write_str("Compose"),
        };
        write!(f, "{word} {}", self.name)
    }
}

/// How far the resource is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Status {
    Working,
    Done,
    Warning,
    Error,
}

/// A change of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) resource: Resource,
    /// Part of `resource` (an image layer); drawn below it.
    pub(crate) part: Option<String>,
    pub(crate) status: Status,
    /// `Creating`, `Created`, `Pulling`, …
    pub(crate) text: Cow<'static, str>,
    /// More words: why it waits, why it failed.
    pub(crate) detail: String,
    /// Bytes done; 0 when it is not counted.
    pub(crate) current: u64,
    /// Bytes in all; 0 when not known.
    pub(crate) total: u64,
}

impl Event {
    pub(crate) fn new(
        resource: Resource,
        status: Status,
        text: impl Into<Cow<'static, str>>,
    ) -> Self {
        Event {
            resource,
            part: None,
            status,
            text: text.into(),
            detail: String::new(),
            current: 0,
            total: 0,
        }
    }

    pub(crate) fn working(resource: Resource, text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(resource, Status::Working, text)
    }

    pub(crate) fn done(resource: Resource, text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(resource, Status::Done, text)
    }

    pub(crate) fn warning(resource: Resource, text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(resource, Status::Warning, text)
    }

    pub(crate) fn error(resource: Resource, detail: impl Into<String>) -> Self {
        Self::new(resource, Status::Error, "Error").detail(detail)
    }

    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    pub(crate) fn part(mut self, part: impl Into<String>) -> Self {
        self.part = Some(part.into());
        self
    }

    pub(crate) fn amount(mut self, current: u64, total: u64) -> Self {
        self.current = current;
        self.total = total;
        self
    }
}

/// What a sink gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Report {
    /// An operation (`up`, `pull`, `build`) begins.
    Begin {
        operation: String,
    },
    Event(Event),
    /// Text that a resource wrote while it was made (a build's log), whole lines.
    Output {
        resource: Resource,
        text: String,
    },
    /// A sentence for the user.
    Notice(String),
    /// A sentence the user should act on.
    Warning(String),
    /// The operation is over.
    End {
        failed: bool,
    },
}

/// Where operations send their reports. Clones are cheap and go to the same place.
#[derive(Clone)]
pub(crate) struct Sink(Arc<dyn Fn(Report) + Send + Sync>);

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sink")
    }
}

impl Sink {
    pub(crate) fn new(report: impl Fn(Report) + Send + Sync + 'static) -> Self {
        Sink(Arc::new(report))
    }

    /// A sink that nobody listens to.
    pub(crate) fn none() -> Self {
        Self::new(|_| ())
    }

    pub(crate) fn report(&self, report: Report) {
        (self.0)(report);
    }

    pub(crate) fn send(&self, event: Event) {
        self.report(Report::Event(event));
    }

    pub(crate) fn begin(&self, operation: impl Into<String>) {
        self.report(Report::Begin {
            operation: operation.into(),
        });
    }

    pub(crate) fn output(&self, resource: &Resource, text: impl Into<String>) {
        self.report(Report::Output {
            resource: resource.clone(),
            text: text.into(),
        });
    }

    pub(crate) fn notice(&self, text: impl Into<String>) {
        self.report(Report::Notice(text.into()));
    }

    pub(crate) fn warning(&self, text: impl Into<String>) {
        self.report(Report::Warning(text.into()));
    }

    pub(crate) fn end(&self, failed: bool) {
        self.report(Report::End { failed });
    }
}
