//! Wakes that are put off until a whole batch is delivered.

use std::task::Waker;

/// Wakers above which [`Wakes::relieve`] calls them. A delivery to one key may add one per subscriber before.
const WAKES_MAX: usize = 1024;

/// Collects the wakers of the queues that a batch of pushes made non-empty, so that a session is woken once
/// for the batch and finds all of it. Dropping it wakes them, so that none is forgotten.
#[derive(Default, Debug)]
pub struct Wakes {
    wakers: Vec<Waker>,
}

impl Wakes {
    /// Wakes everybody collected so far.
    pub fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }

    /// How many wait to be woken.
    pub fn len(&self) -> usize {
        self.wakers.len()
    }

    /// Whether nobody waits to be woken.
    pub fn is_empty(&self) -> bool {
        self.wakers.is_empty()
    }

    pub(crate) fn add(&mut self, waker: Option<Waker>) {
        self.wakers.extend(waker);
    }

    /// Wakes everybody if they are many. Called with no lock held.
    pub(crate) fn relieve(&mut self) {
        if self.wakers.len() >= WAKES_MAX {
            self.wake();
        }
    }
}

impl Drop for Wakes {
    fn drop(&mut self) {
        self.wake();
    }
}
