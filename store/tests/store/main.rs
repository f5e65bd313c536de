//! The store from outside: the contract that it shares with the simulator's disk, and what survives a crash.

mod contract;
mod crash;
mod damage;
mod model;
mod subject;
