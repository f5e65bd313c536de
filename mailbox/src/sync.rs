//! The primitives that this crate is built on: std's, or loom's under `--cfg loom`, where the model checker
//! permutes every lock. Wakers and counters of ids stay std's; see `tests/loom.rs` for what that leaves out.

#[cfg(loom)]
pub(crate) use loom::sync::{Arc, Mutex, MutexGuard};
#[cfg(not(loom))]
pub(crate) use std::sync::{Arc, Mutex, MutexGuard};

/// Locks, whether or not a holder panicked: no critical section here leaves its data half changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
