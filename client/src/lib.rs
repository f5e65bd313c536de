//! The Causeway client SDK: a sans-IO session machine and its QUIC driver.
