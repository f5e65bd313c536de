//! Scenarios of two and three replicas.
