//! A relay's configuration file.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Another site, as a relay's configuration names it.
#[derive(Clone, Debug)]
pub struct PeerConfig {
    /// Its number.
    pub site: u16,
    /// Its name.
    pub name: String,
    /// Where it is dialled.
    pub address: SocketAddr,
    /// What clients are told.
    pub advertise: SocketAddr,
}

/// What a load tester says to a relay; everything else stays at its default.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// The site's number.
    pub site: u16,
    /// Its name.
    pub site_name: String,
    /// Its database.
    pub data_dir: PathBuf,
    /// Where it listens.
    pub listen: SocketAddr,
    /// What clients are told.
    pub advertise: SocketAddr,
    /// Its admin pages.
    pub admin: SocketAddr,
    /// Its HTTP API.
    pub api: SocketAddr,
    /// Where `dev-certs` wrote to.
    pub certs: PathBuf,
    /// The other sites.
    pub peers: Vec<PeerConfig>,
    /// Further lines, before the tables.
    pub extra: Vec<String>,
}

impl RelayConfig {
    /// The file's text.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let cert = self.certs.join(format!("site-{}.pem", self.site));
        let key = self.certs.join(format!("site-{}.key", self.site));
        let lines = [
            format!("site = {}", self.site),
            format!("site_name = {}", quoted(&self.site_name)),
            "cluster = \"loadtest\"".to_owned(),
            format!("data_dir = {}", quoted(&self.data_dir.to_string_lossy())),
            format!("listen = \"{}\"", self.listen),
            format!("advertise = [\"{}\"]", self.advertise),
            format!("admin_listen = \"{}\"", self.admin),
            format!("api_listen = \"{}\"", self.api),
            "dev = true".to_owned(),
            format!("ca = {}", quoted(&self.certs.join("ca.pem").to_string_lossy())),
            format!("cert = {}", quoted(&cert.to_string_lossy())),
            format!("key = {}", quoted(&key.to_string_lossy())),
        ];
        for line in lines.iter().chain(&self.extra) {
            text.push_str(line);
            text.push('\n');
        }
        for peer in &self.peers {
            // Writing to a string does not fail.
            let _ = write!(
                text,
                "\n[[peers]]\nsite = {}\nname = {}\naddresses = [\"{}\"]\nadvertise = [\"{}\"]\n",
                peer.site,
                quoted(&peer.name),
                peer.address,
                peer.advertise
            );
        }
        text
    }
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_as_toml_wants_it() {
        assert_eq!(quoted(r#"a "b" \c"#), r#""a \"b\" \\c""#);
        assert_eq!(quoted("한\n"), "\"한\\u000A\"");
    }

    #[test]
    fn the_peers_come_last_and_extra_lines_before_them() {
        let addr: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let config = RelayConfig {
            site: 1,
            site_name: "seoul".into(),
            data_dir: "/tmp/x".into(),
            listen: addr,
            advertise: addr,
            admin: addr,
            api: addr,
            certs: "/tmp/c".into(),
            peers: vec![PeerConfig { site: 2, name: "busan".into(), address: addr, advertise: addr }],
            extra: vec!["threads = 1".into()],
        };
        let text = config.to_toml();
        assert!(text.contains("cert = \"/tmp/c/site-1.pem\"\n"), "{text}");
        assert!(text.find("threads = 1").unwrap() < text.find("[[peers]]").unwrap());
    }
}
