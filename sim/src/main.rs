//! Runs seeds. At a failure it prints the command that replays it.

use std::process::ExitCode;

use clap::Parser;

mod cli;

fn main() -> ExitCode {
    cli::run(&cli::Args::parse())
}
