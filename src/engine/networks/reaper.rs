//! Slow goodbyes, off everybody's path: deleting a link costs the kernel 10 to 40 ms, unpinning a namespace one or two.
//! What is handed in here is already gone from the engine's records. Links are deleted together, for the price of one.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::engine::base::sync::lock;
use crate::sys::netlink::{Request, RouteSocket};
use crate::sys::netns;

enum Job {
    DeleteLink { index: u32, name: String },
    Unpin(PathBuf),
    Flush(Sender<()>),
}

/// Hands work to the thread that does it.
#[derive(Debug)]
pub(crate) struct Reaper {
    jobs_tx: Option<Sender<Job>>,
    /// Names of links that are still there but already given up.
    dying: Arc<Mutex<BTreeSet<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Reaper {
    /// Its socket works in the namespace of the calling thread.
    pub(crate) fn start(doomed_group: u32) -> io::Result<Self> {
        let route = RouteSocket::open()?;
        let (jobs_tx, jobs_rx) = mpsc::channel();
        let dying = Arc::new(Mutex::new(BTreeSet::new()));
        let deleted = Arc::clone(&dying);
        let thread = std::thread::Builder::new()
            .name("net-reaper".to_owned())
            .spawn(move || work(route, doomed_group, &jobs_rx, &deleted))?;
        Ok(Reaper {
            jobs_tx: Some(jobs_tx),
            dying,
            thread: Some(thread),
        })
    }

    pub(crate) fn delete_link(&self, index: u32, name: &str) {
        lock(&self.dying).insert(name.to_owned());
        self.send(Job::DeleteLink {
            index,
            name: name.to_owned(),
        });
    }

    pub(crate) fn unpin(&self, path: PathBuf) {
        self.send(Job::Unpin(path));
    }

    pub(crate) fn is_dying(&self, link_name: &str) -> bool {
        lock(&self.dying).contains(link_name)
    }

    /// Waits until everything handed in so far is done.
    pub(crate) fn flush(&self) {
        let (done_tx, done_rx) = mpsc::channel();
        self.send(Job::Flush(done_tx));
        // An error means that the thread is gone, and with it the work.
        let _ = done_rx.recv();
    }

    fn send(&self, job: Job) {
        if let Some(jobs_tx) = &self.jobs_tx
            && jobs_tx.send(job).is_err()
        {
            tracing::error!("the thread that deletes links has ended");
        }
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        self.jobs_tx = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported.
            let _ = thread.join();
        }
    }
}

fn work(
    mut route: RouteSocket,
    doomed_group: u32,
    jobs: &Receiver<Job>,
    dying: &Mutex<BTreeSet<String>>,
) {
    while let Ok(first) = jobs.recv() {
        // All that has come in meanwhile shares one grace period.
        let mut links = Vec::new();
        let mut waiters = Vec::new();
        for job in std::iter::once(first).chain(jobs.try_iter()) {
            match job {
                Job::DeleteLink { index, name } => links.push((index, name)),
                Job::Unpin(path) => {
                    if let Err(error) = netns::unpin(&path) {
                        tracing::warn!(%error, path = %path.display(), "unpin");
                    }
                }
                Job::Flush(done) => waiters.push(done),
            }
        }
        if !links.is_empty() {
            delete(&mut route, doomed_group, &links);
            let mut dying = lock(dying);
            for (_, name) in &links {
                dying.remove(name);
            }
        }
        for waiter in waiters {
            // Nobody waits any more: fine.
            let _ = waiter.send(());
        }
    }
}

fn delete(route: &mut RouteSocket, doomed_group: u32, links: &[(u32, String)]) {
    let into_group: Vec<Request> = links
        .iter()
        .map(|(index, _)| Request::set_group(*index, doomed_group))
        .collect();
    // A link that somebody else deleted is no longer a concern.
    if let Err(error) = route.batch(&into_group) {
        tracing::debug!(%error, "doom links");
    }
    match route.batch(&[Request::delete_group(doomed_group)]) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, "delete links");
        }
        _ => {}
    }
}
