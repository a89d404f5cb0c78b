//! The life of a container as a pure machine: what may be asked in which state, and what follows from
//! what happened. It does nothing itself; the actor carries out what is accepted.
//!
//! ```text
//!            start            pause
//! Created ─────────→ Running ───────→ Paused
//!    ↑ remove   exit │  ↑  ↖──unpause───┘
//!    │               ↓  │ due
//! Removing ← Exited  Restarting          (exit with a policy that starts it again)
//!    ↓
//! Removed, or Dead when something of it could not be removed
//! ```

use serde::{Deserialize, Serialize};

use crate::engine::base::{Error, ErrorKind};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    Created,
    Running,
    Paused,
    /// Ended, and waiting for the restart its policy asks for.
    Restarting,
    Exited,
    Removing,
    /// Removal failed; only another removal is left.
    Dead,
    Removed,
}

impl State {
    /// As the API writes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            State::Created => "created",
            State::Running => "running",
            State::Paused => "paused",
            State::Restarting => "restarting",
            State::Exited => "exited",
            State::Removing | State::Removed => "removing",
            State::Dead => "dead",
        }
    }

    /// There is a process.
    pub(crate) fn has_process(self) -> bool {
        matches!(self, State::Running | State::Paused)
    }

    /// What Docker calls running: with a process, or about to have one again.
    pub(crate) fn counts_as_running(self) -> bool {
        self.has_process() || self == State::Restarting
    }
}

/// What a client may ask of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    Start,
    Stop,
    Restart,
    Kill,
    Pause,
    Unpause,
    Exec,
    Attach,
    Resize,
    Rename,
    Update,
    /// Connect to or disconnect from a network.
    Network,
    Remove,
    ForceRemove,
}

/// The machine's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    Accept,
    /// It is so already.
    Ignore,
    Denied(Denied),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    NotRunning,
    Paused,
    AlreadyPaused,
    NotPaused,
    Restarting,
    StillRunning(State),
    RemovalInProgress,
    Dead,
    Gone,
}

/// Whether a request is taken in a state.
pub(crate) fn admit(state: State, request: Request) -> Admission {
    use Admission::{Accept, Denied as No, Ignore};
    use State::{Created, Dead, Exited, Paused, Removed, Removing, Restarting, Running};

    match (state, request) {
        (Removed, _) => No(Denied::Gone),
        (Removing, _) => No(Denied::RemovalInProgress),
        (Dead, Request::Remove | Request::ForceRemove) => Accept,
        (Dead, _) => No(Denied::Dead),

        (Created | Exited, Request::Start) => Accept,
        (Running | Restarting, Request::Start) => Ignore,
        (Paused, Request::Start) => No(Denied::Paused),

        (Running | Paused | Restarting, Request::Stop) => Accept,
        (Created | Exited, Request::Stop) => Ignore,
        (_, Request::Restart) => Accept,

        (Running | Paused | Restarting, Request::Kill) => Accept,
        (Created | Exited, Request::Kill) => No(Denied::NotRunning),

        (Running, Request::Pause) => Accept,
        (Paused, Request::Pause) => No(Denied::AlreadyPaused),
        (Restarting, Request::Pause) => No(Denied::Restarting),
        (Created | Exited, Request::Pause) => No(Denied::NotRunning),
        (Paused, Request::Unpause) => Accept,
        (_, Request::Unpause) => No(Denied::NotPaused),

        (Running, Request::Exec | Request::Resize) => Accept,
        (Paused, Request::Resize) => Accept,
        (Paused, Request::Exec) => No(Denied::Paused),
        (Restarting, Request::Exec | Request::Resize) => No(Denied::Restarting),
        (Created | Exited, Request::Exec | Request::Resize) => No(Denied::NotRunning),

        (Paused, Request::Attach) => No(Denied::Paused),
        (Restarting, Request::Attach) => No(Denied::Restarting),
        (_, Request::Attach) => Accept,

        (_, Request::Rename | Request::Update | Request::Network | Request::ForceRemove) => Accept,
        (Created | Exited, Request::Remove) => Accept,
        (Running | Paused | Restarting, Request::Remove) => No(Denied::StillRunning(state)),
    }
}

impl Denied {
    /// Docker's words, for the container with this id and name.
    pub(crate) fn to_error(self, request: Request, id: &str, name: &str) -> Error {
        let conflict = |text: String| Error::new(ErrorKind::Conflict, text);
        match self {
            Denied::NotRunning => match request {
                Request::Kill => conflict(format!(
                    "cannot kill container: {id}: container {id} is not running"
                )),
                _ => conflict(format!("container {id} is not running")),
            },
            Denied::Paused => match request {
                Request::Start => {
                    conflict("cannot start a paused container, try unpause instead".to_owned())
                }
                Request::Exec => conflict(format!(
                    "container {id} is paused, unpause the container before exec"
                )),
                _ => conflict(format!(
                    "container {id} is paused, unpause the container before attach"
                )),
            },
            Denied::AlreadyPaused => conflict(format!("Container {id} is already paused")),
            Denied::NotPaused => Error::system(format!("Container {id} is not paused")),
            Denied::Restarting => conflict(format!(
                "Container {id} is restarting, wait until the container is running"
            )),
            Denied::StillRunning(state) => {
                let advice = match state {
                    State::Paused => "container is paused and must be unpaused first",
                    State::Restarting => {
                        "container is restarting: stop the container before removing or force remove"
                    }
                    _ => "container is running: stop the container before removing or force remove",
                };
                conflict(format!("cannot remove container \"/{name}\": {advice}"))
            }
            Denied::RemovalInProgress => match request {
                Request::Remove | Request::ForceRemove => {
                    conflict(format!("removal of container {id} is already in progress"))
                }
                _ => conflict("container is marked for removal and cannot be started".to_owned()),
            },
            Denied::Dead => {
                conflict("container is dead: what is left of it can only be removed".to_owned())
            }
            Denied::Gone => Error::not_found(format!("No such container: {id}")),
        }
    }
}

/// What happened to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Happened {
    Started,
    StartFailed,
    Exited {
        starts_again: bool,
    },
    Paused,
    Unpaused,
    /// The user ended the wait for a restart.
    RestartCancelled,
    RemovalBegan,
    RemovalFailed,
    Removed,
}

/// The state after something happened. What cannot happen in a state changes nothing.
pub(crate) fn next(state: State, happened: Happened) -> State {
    use State::{Created, Dead, Exited, Paused, Removed, Removing, Restarting, Running};

    match (state, happened) {
        (Removed, _) => Removed,
        (Removing, Happened::Removed) => Removed,
        (Removing, Happened::RemovalFailed) => Dead,
        (Removing, _) => Removing,
        (Created | Exited | Dead | Restarting, Happened::RemovalBegan) => Removing,
        (Created | Exited | Restarting, Happened::Started) => Running,
        // A container that never ran stays as it was made; Docker shows it as created.
        (Created, Happened::StartFailed) => Created,
        (Exited | Restarting, Happened::StartFailed) => Exited,
        (Running | Paused, Happened::Exited { starts_again: true }) => Restarting,
        (
            Running | Paused,
            Happened::Exited {
                starts_again: false,
            },
        ) => Exited,
        (Running, Happened::Paused) => Paused,
        (Paused, Happened::Unpaused) => Running,
        (Restarting, Happened::RestartCancelled) => Exited,
        (unchanged, _) => unchanged,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STATES: [State; 8] = [
        State::Created,
        State::Running,
        State::Paused,
        State::Restarting,
        State::Exited,
        State::Removing,
        State::Dead,
        State::Removed,
    ];
    const REQUESTS: [Request; 14] = [
        Request::Start,
        Request::Stop,
        Request::Restart,
        Request::Kill,
        Request::Pause,
        Request::Unpause,
        Request::Exec,
        Request::Attach,
        Request::Resize,
        Request::Rename,
        Request::Update,
        Request::Network,
        Request::Remove,
        Request::ForceRemove,
    ];
    const HAPPENED: [Happened; 10] = [
        Happened::Started,
        Happened::StartFailed,
        Happened::Exited { starts_again: true },
        Happened::Exited {
            starts_again: false,
        },
        Happened::Paused,
        Happened::Unpaused,
        Happened::RestartCancelled,
        Happened::RemovalBegan,
        Happened::RemovalFailed,
        Happened::Removed,
    ];

    #[test]
    fn the_table_of_admissions() {
        use Admission::{Accept, Denied as No, Ignore};
        let cases = [
            (State::Created, Request::Start, Accept),
            (State::Running, Request::Start, Ignore),
            (State::Paused, Request::Start, No(Denied::Paused)),
            (State::Exited, Request::Stop, Ignore),
            (State::Restarting, Request::Stop, Accept),
            (State::Exited, Request::Kill, No(Denied::NotRunning)),
            (
                State::Running,
                Request::Remove,
                No(Denied::StillRunning(State::Running)),
            ),
            (State::Running, Request::ForceRemove, Accept),
            (
                State::Removing,
                Request::ForceRemove,
                No(Denied::RemovalInProgress),
            ),
            (State::Removed, Request::Start, No(Denied::Gone)),
            (State::Created, Request::Attach, Accept),
            (State::Running, Request::Unpause, No(Denied::NotPaused)),
        ];
        for (state, request, expected) in cases {
            assert_eq!(admit(state, request), expected, "{state:?} {request:?}");
        }
    }

    proptest! {
        /// Whatever is asked and happens, in any order: nothing is accepted once the container is gone,
        /// a process can always be stopped, a stop is idempotent, and nothing removed comes back.
        #[test]
        fn no_order_of_things_breaks_the_machine(steps in proptest::collection::vec((0..REQUESTS.len(), 0..HAPPENED.len()), 0..60)) {
            let mut state = State::Created;
            for (request, happened) in steps {
                let admission = admit(state, REQUESTS[request]);
                if state == State::Removed {
                    prop_assert_eq!(admission, Admission::Denied(Denied::Gone));
                }
                if state.has_process() {
                    prop_assert_eq!(admit(state, Request::Stop), Admission::Accept);
                    prop_assert_eq!(admit(state, Request::Kill), Admission::Accept);
                    prop_assert_ne!(admit(state, Request::Remove), Admission::Accept);
                }
                if matches!(state, State::Created | State::Exited) {
                    prop_assert_eq!(admit(state, Request::Stop), Admission::Ignore);
                }
                let before = state;
                state = next(state, HAPPENED[happened]);
                if before == State::Removed {
                    prop_assert_eq!(state, State::Removed);
                }
                if before != state && state.has_process() && before != State::Paused && before != State::Running {
                    prop_assert!(matches!(HAPPENED[happened], Happened::Started));
                }
            }
        }
    }

    #[test]
    fn every_denial_has_words() {
        for state in STATES {
            for request in REQUESTS {
                if let Admission::Denied(denied) = admit(state, request) {
                    assert!(!denied.to_error(request, "abc", "web").message.is_empty());
                }
            }
        }
    }
}
