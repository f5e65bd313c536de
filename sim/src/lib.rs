//! Deterministic simulation of sites, clients, networks, disks and clocks, with checkers.
