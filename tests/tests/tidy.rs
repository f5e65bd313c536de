//! House rules that no compiler checks: who may depend on whom, and what must not be in the tree.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file with more lines has more than one reason to change.
const FILE_LINES_MAX: usize = 700;
/// ARCHITECTURE.md stays two pages.
const ARCHITECTURE_LINES_MAX: usize = 130;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace's folder").to_owned()
}

/// Direct dependencies that are part of the product, by package.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo metadata runs");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let of = |package: &serde_json::Value| {
        let product = |d: &&serde_json::Value| d["kind"].is_null();
        let names = package["dependencies"].as_array().into_iter().flatten().filter(product).map(|d| text(&d["name"]));
        (text(&package["name"]), names.collect())
    };
    metadata["packages"].as_array().expect("packages").iter().map(of).collect()
}

fn set(names: &str) -> BTreeSet<String> {
    names.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn crates_depend_only_on_what_the_layout_allows() {
    let found = dependencies();
    let only = |package: &str, allowed: &str| {
        let extra: Vec<_> = found[package].difference(&set(allowed)).cloned().collect();
        assert!(extra.is_empty(), "{package} must not depend on {extra:?}: see ARCHITECTURE.md");
    };
    only("causeway-protocol", "blake3 bytes prost thiserror");
    only("causeway-replica", "blake3 bytes causeway-protocol crdts prost thiserror");
    only("causeway-mailbox", "bytes loom");
    let never = |package: &str, banned: &str| {
        let there: Vec<_> = found[package].intersection(&set(banned)).cloned().collect();
        assert!(there.is_empty(), "{package} must not depend on {there:?}: see ARCHITECTURE.md");
    };
    never("causeway-client", "causeway-relay causeway-store causeway-replica rocksdb");
    never("causeway-sim", "quinn rocksdb tokio causeway-store causeway-relay");
    never("causeway-loadtest", "causeway-relay causeway-store causeway-replica rocksdb");
    never("causeway-store", "quinn tokio causeway-relay");
}

fn tracked(extension: &str) -> Vec<PathBuf> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", &format!("*.{extension}")])
        .current_dir(root())
        .output()
        .expect("git runs");
    let names = String::from_utf8(output.stdout).expect("paths are UTF-8");
    names.split('\0').filter(|name| !name.is_empty()).map(|name| root().join(name)).filter(|p| p.exists()).collect()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn sources_are_short_and_finished() {
    let files = tracked("rs");
    assert!(files.len() > 50, "the sources were found: {}", files.len());
    // In two parts, so that this file does not find itself.
    let banned =
        [["#[ign", "ore"], ["todo", "!("], ["unimpl", "emented!("], ["FIX", "ME"], ["dbg", "!("]].map(|p| p.concat());
    for path in files {
        let text = read(&path);
        let lines = text.lines().count();
        assert!(lines <= FILE_LINES_MAX, "{} has {lines} lines: split it", path.display());
        for word in &banned {
            assert!(!text.contains(word.as_str()), "{} contains {word}", path.display());
        }
    }
}

#[test]
fn every_crate_says_what_it_is_and_shares_the_lints() {
    for package in dependencies().keys() {
        let folder = root().join(package.trim_start_matches("causeway-"));
        let manifest = read(&folder.join("Cargo.toml"));
        assert!(manifest.contains("[lints]\nworkspace = true"), "{package} does not share the workspace's lints");
        let lib = read(&folder.join("src/lib.rs"));
        assert!(lib.starts_with("//! "), "{package}/src/lib.rs does not say what the crate is");
    }
}

/// What an application calls.
const SDK_SOURCES: [&str; 4] = ["client/src/quic", "client/src/store", "client/src/timeline.rs", "client/src/lib.rs"];
/// Calls of the SDK, at least: fewer, and they were not found.
const SDK_CALLS_MIN: usize = 80;

/// Public functions of types, in the house's formatting, each with the comment before it.
fn calls(text: &str) -> Vec<(&str, String)> {
    let (mut calls, mut comment) = (Vec::new(), String::new());
    for line in text.lines().map(str::trim_end) {
        let code = line.trim_start();
        if code.starts_with("///") || code.starts_with("#[") {
            comment.push_str(code);
            comment.push('\n');
            continue;
        }
        if line.starts_with("    pub fn ") || line.starts_with("    pub async fn ") {
            calls.push((code, comment.clone()));
        }
        comment.clear();
    }
    calls
}

#[test]
fn every_call_of_the_sdk_has_an_example_that_runs() {
    let mut found = 0;
    for path in tracked("rs") {
        let name = path.strip_prefix(root()).expect("a path of the tree").to_string_lossy().into_owned();
        if !SDK_SOURCES.iter().any(|source| name.starts_with(source)) {
            continue;
        }
        let text = read(&path);
        for skipped in ["no_run", "compile_fail", "should_panic"].map(|word| format!("```{word}")) {
            assert!(!text.contains(&skipped), "{name} has an example that does not run: {skipped}");
        }
        for (call, comment) in calls(&text) {
            assert!(comment.contains("\n/// ```\n"), "{name}: no example at {call}");
            found += 1;
        }
    }
    assert!(found >= SDK_CALLS_MIN, "the calls were found: {found}");
}

#[test]
fn the_deterministic_crates_ban_clocks_and_random_order() {
    for name in ["replica", "sim"] {
        let lints = read(&root().join(name).join("clippy.toml"));
        for ban in ["HashMap", "HashSet", "Instant", "SystemTime", "thread::spawn"] {
            assert!(lints.contains(ban), "{name}/clippy.toml does not ban {ban}");
        }
    }
}

#[test]
fn the_documents_are_there_and_short() {
    for name in ["README.md", "docs/ARCHITECTURE.md", "docs/STORAGE.md", "docs/WIRE.md", "CHANGELOG.md", "LICENSE"] {
        assert!(read(&root().join(name)).len() > 200, "{name} says nothing");
    }
    let lines = read(&root().join("docs/ARCHITECTURE.md")).lines().count();
    assert!(lines <= ARCHITECTURE_LINES_MAX, "ARCHITECTURE.md has {lines} lines: it stays two pages");
}

#[test]
fn every_refusal_code_is_in_the_wire_document() {
    let wire = read(&root().join("docs/WIRE.md"));
    for code in causeway_protocol::Code::ALL {
        assert!(wire.contains(&format!("| {} | {code:?} |", code.number())), "WIRE.md lacks {code:?}");
    }
}

#[test]
fn every_column_family_is_in_the_storage_document() {
    let storage = read(&root().join("docs/STORAGE.md"));
    for name in ["op", "request", "log", "order", "element", "head", "read", "meta", "local"] {
        assert!(storage.contains(&format!("| `{name}` |")), "STORAGE.md lacks {name}");
    }
}
