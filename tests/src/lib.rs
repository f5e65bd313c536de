//! The whole system over real sockets and processes. What is tested is in `tests/`; here is what the SDK's own examples run
//! against: [`example`].

#![forbid(unsafe_code)]

mod site;

pub use site::{Site, example, until, until_message};
