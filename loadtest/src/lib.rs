//! End-to-end load, fault drills and reports.
