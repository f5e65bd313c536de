//! The whole system over real sockets and processes.
