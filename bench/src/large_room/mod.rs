//! One room of any size, and what is asked of it: how many rows each act reads and writes, and how long it takes.

mod acts;
mod rows;
mod site;

pub use acts::{Act, Cost, acts, measure};
pub use rows::{Memory, OnDisk, Rows};
pub use site::{LargeRoom, Size};

#[cfg(test)]
mod tests;
