//! The invariants of the design's section 8, each a function. They see everything: every batch of every site,
//! everything that leaves a site, everything that an application is shown. They change nothing.

pub mod act;
pub mod buffers;
pub mod changes;
pub mod convergence;
pub mod cursors;
pub mod finals;
pub mod leaving;
pub mod list;
pub mod marks;
pub mod ops;
pub mod reads;
pub mod rights;
pub mod sends;
pub mod truncation;

/// A promise was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// The invariant's name.
    pub invariant: &'static str,
    /// What was seen.
    pub detail: String,
}

/// What a check gives.
pub type Verdict = Result<(), Violation>;

/// Fails with a reason.
pub fn broken<T>(invariant: &'static str, detail: String) -> Result<T, Violation> {
    Err(Violation { invariant, detail })
}
