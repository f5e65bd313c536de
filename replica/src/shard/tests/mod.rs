//! Scenarios of one, two and three replicas.

mod cluster;
mod one;
mod rejoin;
mod three;
mod two;
