//! Settings that make no sense are refused with the setting's name and the fix.

use std::process::Command;

use crate::system::relay_bin;

/// Runs a relay that must not start; returns what it says.
fn refused(toml: &str, args: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("relay.toml");
    std::fs::write(&path, toml).unwrap();
    let output = Command::new(relay_bin()).arg("--config").arg(&path).args(args).output().unwrap();
    assert!(!output.status.success(), "started with:\n{toml}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_unknown_key_is_named() {
    let said = refused("site = 1\nsiet_name = \"seoul\"\n", &[]);
    assert!(said.contains("siet_name"), "{said}");
}

#[test]
fn a_value_out_of_range_names_its_setting() {
    let said = refused("site = 0\n", &["--dev", "--cluster", "x", "--data-dir", "/nonexistent/causeway"]);
    assert!(said.contains("site"), "{said}");
}

#[test]
fn without_dev_it_says_why_it_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let certs = dir.path().join("certs");
    let made = Command::new(relay_bin()).arg("dev-certs").arg("--out").arg(&certs).args(["--sites", "1"]).status();
    assert!(made.unwrap().success());
    let at = |name: &str| certs.join(name).display().to_string();
    let data = dir.path().join("data").display().to_string();
    let toml = format!(
        "site = 1\ncluster = \"x\"\ndata_dir = {data:?}\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n\
         ca = {:?}\ncert = {:?}\nkey = {:?}\n",
        at("ca.pem"),
        at("site-1.pem"),
        at("site-1.key")
    );
    let said = refused(&toml, &[]);
    assert!(said.contains("dev") && said.contains("token"), "{said}");
    let said = refused(&toml.replace("listen = \"127.0.0.1:0\"\nadmin", "listen = \"0.0.0.0:0\"\nadmin"), &["--dev"]);
    assert!(said.contains("loopback"), "{said}");
}

#[test]
fn a_missing_file_is_named() {
    let output = Command::new(relay_bin()).args(["--config", "/nonexistent/relay.toml"]).output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("/nonexistent/relay.toml"), "{said}");
}
