//! Who gets in: tokens over real sockets, from minting to their end.

use std::path::Path;
use std::process::Command;

use causeway_client::{Client, Config, ConnectError, Connector, Event, SiteConfig, UserId};
use causeway_protocol::Code;
use causeway_relay::{Relay, RelayHandle, Settings};

use crate::api_client::Caller;
use crate::system::{in_time, relay_bin};

/// One site that wants tokens, in this process.
pub struct Site {
    relay: RelayHandle,
    connector: Connector,
    dir: tempfile::TempDir,
}

fn relay(args: &[&str]) -> String {
    let output = Command::new(relay_bin()).args(args).output().expect("the relay's binary runs");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn certs(dir: &Path) -> String {
    let certs = dir.join("certs").display().to_string();
    relay(&["dev-certs", "--out", &certs, "--sites", "1"]);
    certs
}

impl Site {
    /// One that wants tokens.
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let certs = certs(dir.path());
        let toml = format!(
            "site = 1\ncluster = \"tokens\"\nshards = 4\ndata_dir = {:?}\nlisten = \"127.0.0.1:0\"\n\
             admin_listen = \"127.0.0.1:0\"\napi_listen = \"127.0.0.1:0\"\nca = \"{certs}/ca.pem\"\ncert = \"{certs}/site-1.pem\"\n\
             key = \"{certs}/site-1.key\"\ntoken_keys = \"{certs}/jwks.json\"\ntoken_issuer = \"causeway-dev\"\n\
             token_audience = \"causeway\"\ntoken_leeway_s = 0\n",
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

    fn config(&self, user: &str, token: &str) -> Config {
        let address = self.relay.listen_address().to_string();
        let sites = vec![SiteConfig { name: String::new(), addresses: vec![address] }];
        Config::new(UserId::new(user).unwrap(), sites, self.connector.clone()).token(token)
    }

    async fn connect(&self, user: &str, token: &str) -> Result<Client, ConnectError> {
        let config = self.config(user, token);
        in_time("an answer to the hello", Client::connect(config)).await
    }

    async fn refusal(&self, user: &str, token: &str) -> (u32, String) {
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

async fn says_something(client: &Client) {
    let (_, created) = client.create_room("lunch", true).unwrap();
    in_time("stored", created.stored()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_good_token_of_the_same_user_gets_in() {
    let site = Site::start().await;
    let ann = site.connect("ann", &site.mint("ann", &[])).await.expect("a good token");
    says_something(&ann).await;
    let stranger = tempfile::tempdir().unwrap();
    let key = format!("{}/token.key", certs(stranger.path()));
    let cases = [
        (String::new(), "empty"),
        ("nonsense".to_owned(), "no JWT"),
        (site.mint("bob", &[]), "another user"),
        (site.mint("ann", &["--audience", "mail"]), "`aud`"),
        (site.mint("ann", &["--issuer", "somebody"]), "`iss`"),
        (relay(&["token", "--key", &key, "--user", "ann"]).trim().to_owned(), "no key"),
    ];
    for (token, words) in cases {
        let (code, detail) = site.refusal("ann", &token).await;
        assert!(code == Code::Unauthenticated.number() && detail.contains(words), "{words}: {code} {detail}");
    }
    site.relay.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_its_token_and_comes_back_with_a_newer_one() {
    let site = Site::start().await;
    let short = site.mint("ann", &["--seconds", "5"]);
    let ann = site.connect("ann", &short).await.expect("a good token");
    let refused = async {
        loop {
            if let Some(Event::SessionRefused { code, .. }) = ann.next_event().await {
                return code;
            }
        }
    };
    assert_eq!(in_time("the session ends", refused).await, Code::TokenExpired.number());
    // What is sent meanwhile waits in the outbox.
    let (_, created) = ann.create_room("lunch", true).unwrap();
    ann.set_token(site.mint("ann", &[]));
    in_time("stored after the renewal", created.stored()).await.unwrap();
    site.relay.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_renewed_in_time_goes_on() {
    let site = Site::start().await;
    let short = site.mint("ann", &["--seconds", "5"]);
    let ann = site.connect("ann", &short).await.expect("a good token");
    ann.set_token(site.mint("ann", &[]));
    site.has_ended("ann", &short).await;
    says_something(&ann).await;
    let status = ann.status();
    assert_eq!((status.homes, status.refused), (1, None), "the same session");
    site.relay.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdk_asks_for_a_newer_token_when_the_old_one_is_refused() {
    let site = Site::start().await;
    let fresh = site.mint("ann", &[]);
    let (asked, mut asks) = tokio::sync::mpsc::unbounded_channel();
    let config = site.config("ann", "of last year").refresh(move || {
        asked.send(()).unwrap();
        let fresh = fresh.clone();
        async move { Ok(fresh) }
    });
    let ann = in_time("in with the newer token", Client::connect(config)).await.expect("a newer token");
    says_something(&ann).await;
    assert!(asks.try_recv().is_ok() && asks.try_recv().is_err(), "once");
    site.relay.shutdown().await.unwrap();
}
