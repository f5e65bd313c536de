//! The relay's binary: parses and calls.

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    // A broken invariant ends the whole process: half a relay would go on acknowledging.
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        std::process::abort();
    }));
    causeway_relay::cli::run(causeway_relay::cli::Cli::parse())
}
