//! The Causeway client SDK: a sans-IO session machine and its QUIC driver.

#![forbid(unsafe_code)]

pub mod machine;
