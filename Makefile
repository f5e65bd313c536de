# The recipes that people and CI run. Each installs what it needs, or says in one line what to install.

# One target directory for every clone: RocksDB's C++ takes over ten minutes, and is built once a machine.
CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/causeway
export CARGO_TARGET_DIR ?= $(CACHE)/target
BIN := $(CARGO_TARGET_DIR)/release
TOOLS := $(CACHE)/tools
CHAT_DIR ?= /tmp/causeway-chat
# The whole workspace, always: with one set of features no crate is built twice.
CARGO_FLAGS := --release --workspace --locked

.PHONY: demo test check sim loom bench fuzz build deps fmt chat chat-sites

demo: build
	$(BIN)/causeway-loadtest demo $(ARGS)

build: deps
	cargo build $(CARGO_FLAGS)

# The system tests start relays as processes, so the binaries are built first. The documentation's examples run, too.
test: build loom
	cargo test $(CARGO_FLAGS)
	$(BIN)/causeway-sim --seeds $(or $(SEEDS),300)

check: deps $(TOOLS)/bin/cargo-deny
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy $(CARGO_FLAGS) --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc $(CARGO_FLAGS) --no-deps
	cargo fetch --locked
	$(TOOLS)/bin/cargo-deny --offline --locked check bans licenses sources
	cargo test $(CARGO_FLAGS) -p causeway-tests --test tidy

# Three sites on loopback, until Ctrl-C; their addresses and CA stay the same.
chat-sites: build
	$(BIN)/causeway-loadtest sites --data-dir $(CHAT_DIR)

# Somebody who talks: `make chat USER=ann` shows the rooms that ann has; `make chat USER=bob ROOM=id` joins one.
chat: deps
	cargo build $(CARGO_FLAGS) --example chat
	$(BIN)/examples/chat --user $(USER) $(if $(ROOM),--room $(ROOM)) \
		--ca $(CHAT_DIR)/certs/ca.pem --sites $$(cat $(CHAT_DIR)/addresses)

sim:
	cargo run --release --locked -p causeway-sim -- --seeds $(or $(SEEDS),1000)

loom:
	RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/loom cargo test --release --locked -p causeway-mailbox

bench: deps
	cargo bench --profile release --workspace --locked --bench micro --bench budget --bench large_room

# Every fuzz target over its corpus and then for FUZZ_SECONDS, then hostile clients and a hostile peer against a relay.
# Without a sanitizer (there is no unsafe code here) a stable compiler does. What is found anew is kept in the cache.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS = $(notdir $(basename $(wildcard fuzz/fuzz_targets/*.rs)))
FUZZ_FOUND := $(CACHE)/fuzz-corpus
CARGO_FUZZ = PATH="$(TOOLS)/bin:$$PATH" cargo fuzz
FUZZ_FLAGS := --sanitizer none --target-dir $(CARGO_TARGET_DIR)/fuzz

fuzz: build $(TOOLS)/bin/cargo-fuzz
	$(CARGO_FUZZ) build $(FUZZ_FLAGS)
	for target in $(FUZZ_TARGETS); do \
		mkdir -p $(FUZZ_FOUND)/$$target; \
		$(CARGO_FUZZ) run $(FUZZ_FLAGS) $$target $(FUZZ_FOUND)/$$target fuzz/corpus/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) -max_len=4096 -rss_limit_mb=2048 -timeout=20 -verbosity=0 \
			-print_final_stats=1 || exit 1; \
	done
	$(BIN)/causeway-loadtest fuzz --seconds $(FUZZ_SECONDS) $(ARGS)

fmt:
	cargo fmt --all
	cargo fmt --manifest-path fuzz/Cargo.toml

# RocksDB's bindings need libclang with its headers, and a C++ compiler.
deps:
	@sh deploy/install-build-deps.sh

$(TOOLS)/bin/cargo-fuzz:
	cargo install cargo-fuzz --locked --root $(TOOLS) --target-dir $(CACHE)/tools-target

$(TOOLS)/bin/cargo-deny:
	cargo install cargo-deny --locked --root $(TOOLS) --target-dir $(CACHE)/tools-target
