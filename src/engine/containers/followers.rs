//! Counts those who copy a container's output to clients, so that its end is told after its last words.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// The number of copies under way.
#[derive(Debug)]
pub(crate) struct Followers {
    count: watch::Sender<usize>,
}

impl Default for Followers {
    fn default() -> Self {
        Followers {
            count: watch::channel(0).0,
        }
    }
}

/// One copy; it is over when this is dropped.
pub(crate) struct Follower {
    followers: Arc<Followers>,
}

impl Followers {
    pub(crate) fn enter(self: &Arc<Self>) -> Follower {
        self.count.send_modify(|count| *count += 1);
        Follower {
            followers: Arc::clone(self),
        }
    }

    /// Waits until no copy is under way, but not longer than `limit`: a client that does not read must not
    /// hold a container.
    pub(crate) async fn drained(&self, limit: Duration) {
        let mut count = self.count.subscribe();
        // Running into the limit is no failure.
        let _ = tokio::time::timeout(limit, count.wait_for(|count| *count == 0)).await;
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.followers.count.send_modify(|count| *count -= 1);
    }
}
