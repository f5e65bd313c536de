//! Micro-benchmarks with budgets.
