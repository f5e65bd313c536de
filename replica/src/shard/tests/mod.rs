//! Scenarios of one, two and three replicas.

mod changes;
mod cluster;
mod direct;
mod erasures;
mod expire;
mod hostile;
mod invitations;
mod knocks;
mod one;
mod profile;
mod rejoin;
mod rights;
mod three;
mod two;
