//! Codec, apply, commit and fan-out, with divan: `make bench`, or one of them by
//! `cargo bench --profile release --workspace --bench micro -- apply`.

mod apply;
mod codec;
mod commit;
mod fanout;

fn main() {
    divan::main();
}
