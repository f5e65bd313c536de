//! Scenarios of one, two and three replicas.

mod changes;
mod cluster;
mod one;
mod rejoin;
mod three;
mod two;
