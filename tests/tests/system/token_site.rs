//! A site in this process that wants tokens.

use std::path::Path;
use std::process::Command;

use causeway_client::{Client, Config, ConnectError, Connector, SiteConfig, UserId};
use causeway_protocol::Code;
use causeway_relay::{Relay, RelayHandle, Settings};

use crate::api_client::Caller;
use crate::system::{in_time, relay_bin};

pub struct Site {
    pub relay: RelayHandle,
    pub connector: Connector,
    pub dir: tempfile::TempDir,
}

/// What the relay's binary prints.
pub fn relay(args: &[&str]) -> String {
    let output = Command::new(relay_bin()).args(args).output().expect("the relay's binary runs");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Certificates of a site, and a key that signs tokens.
pub fn certs(dir: &Path) -> String {
    let certs = dir.join("certs").display().to_string();
    relay(&["dev-certs", "--out", &certs, "--sites", "1"]);
    certs
}

impl Site {
    /// One that wants tokens.
    pub async fn start() -> Self {
        Self::start_with("").await
    }

    /// The same, with further settings.
    pub async fn start_with(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let certs = certs(dir.path());
        let toml = format!(
            "site = 1\ncluster = \"tokens\"\nshards = 4\ndata_dir = {:?}\nlisten = \"127.0.0.1:0\"\n\
             admin_listen = \"127.0.0.1:0\"\napi_listen = \"127.0.0.1:0\"\nca = \"{certs}/ca.pem\"\ncert = \"{certs}/site-1.pem\"\n\
             key = \"{certs}/site-1.key\"\ntoken_keys = \"{certs}/jwks.json\"\ntoken_issuer = \"causeway-dev\"\n\
             token_audience = \"causeway\"\ntoken_leeway_s = 0\n{more}",
            dir.path().join("data")
        );
        let settings = Settings::from_toml(&toml).unwrap();
        let relay = Relay::start(causeway_relay::Config::from_settings(settings).unwrap()).await.unwrap();
        in_time("the relay is ready", relay.ready()).await;
        let roots = Connector::roots_of_pem(&std::fs::read(format!("{certs}/ca.pem")).unwrap()).unwrap();
        Self { relay, connector: Connector::new(roots).unwrap(), dir }
    }

    pub fn mint(&self, user: &str, more: &[&str]) -> String {
        let key = self.dir.path().join("certs/token.key").display().to_string();
        relay(&[&["token", "--key", &key, "--user", user], more].concat()).trim().to_owned()
    }

    /// Its HTTP API, as somebody without a token.
    pub fn api(&self) -> Caller {
        let roots = Connector::roots_of_pem(&std::fs::read(self.dir.path().join("certs/ca.pem")).unwrap()).unwrap();
        Caller::tls(self.relay.api_address().expect("an API"), roots)
    }

    /// Waits until the metrics have a line.
    pub async fn until_metric(&self, line: &str) {
        let there = async {
            while !self.relay.metrics().lines().any(|found| found == line) {
                tokio::task::yield_now().await;
            }
        };
        in_time(line, there).await;
    }

    pub async fn stop(self) {
        self.relay.shutdown().await.unwrap();
    }

    pub fn config(&self, user: &str, token: &str) -> Config {
        let address = self.relay.listen_address().to_string();
        let sites = vec![SiteConfig { name: String::new(), addresses: vec![address] }];
        Config::new(UserId::new(user).unwrap(), sites, self.connector.clone()).token(token)
    }

    pub async fn connect(&self, user: &str, token: &str) -> Result<Client, ConnectError> {
        let config = self.config(user, token);
        in_time("an answer to the hello", Client::connect(config)).await
    }

    pub async fn refusal(&self, user: &str, token: &str) -> (u32, String) {
        match self.connect(user, token).await {
            Err(ConnectError::Refused { code, detail }) => (code, detail),
            Err(e) => panic!("{e}"),
            Ok(_) => panic!("{user} got in"),
        }
    }

    /// Waits until a token is good no more.
    pub async fn has_ended(&self, user: &str, token: &str) {
        let ended = async { while self.connect(user, token).await.is_ok() {} };
        in_time("the token ends", ended).await;
        assert_eq!(self.refusal(user, token).await.0, Code::TokenExpired.number());
    }
}
