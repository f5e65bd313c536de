//! `causeway-loadtest`: see the library.

use std::process::ExitCode;

use causeway_loadtest::cli::{self, Cli};
use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli::run_blocking(cli) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(2),
        Err(e) => {
            eprintln!("causeway-loadtest: {e:#}");
            ExitCode::FAILURE
        }
    }
}
