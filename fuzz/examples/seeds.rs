//! Writes the inputs to start from to `corpus/TARGET/`, beside those that are there.

use std::path::Path;

fn main() -> std::io::Result<()> {
    for (target, inputs) in causeway_fuzz::seeds::all() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
        std::fs::create_dir_all(&folder)?;
        for (n, input) in inputs.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{n:02}")), input)?;
        }
    }
    Ok(())
}
