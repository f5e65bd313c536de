//! Bodies and tokens appear neither in the log, at its most talkative, nor in metrics and status.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use causeway_protocol::{Code, wire};
use wire::{client_frame::Frame, request::Kind};

use crate::raw::{self, Raw};
use crate::system::{in_time, relay_bin};
use crate::token_site::{certs, relay};

const BODY: &str = "marked-body-8c41";

pub struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A relay as a process that writes a talkative log. `more`: further settings.
pub fn start(dir: &Path, certs: &str, log: &Path, more: &str) -> Process {
    let toml = format!(
        "site = 1\ncluster = \"leaks\"\nshards = 4\ndata_dir = {:?}\nlisten = \"127.0.0.1:0\"\n\
         admin_listen = \"127.0.0.1:0\"\nca = \"{certs}/ca.pem\"\ncert = \"{certs}/site-1.pem\"\n\
         key = \"{certs}/site-1.key\"\ntoken_keys = \"{certs}/jwks.json\"\ntoken_issuer = \"causeway-dev\"\n\
         token_audience = \"causeway\"\nlog = \"trace\"\nlog_format = \"json\"\n{more}",
        dir.join("data")
    );
    let config = dir.join("relay.toml");
    std::fs::write(&config, toml).unwrap();
    let out = || Stdio::from(File::options().create(true).append(true).open(log).unwrap());
    let mut command = Command::new(relay_bin());
    Process(command.arg("--config").arg(config).stdout(out()).stderr(out()).spawn().unwrap())
}

/// Where the relay says that it listens: for clients, and its admin pages.
pub async fn addresses(log: &Path) -> (std::net::SocketAddr, std::net::SocketAddr) {
    let told = async {
        loop {
            let text = std::fs::read_to_string(log).unwrap_or_default();
            let lines = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            for fields in lines.filter_map(|line| line.get("fields").cloned()) {
                if fields["message"] == "listening" {
                    let at = |name: &str| fields[name].as_str().unwrap().parse().unwrap();
                    return (at("listen"), at("admin"));
                }
            }
            tokio::task::yield_now().await;
        }
    };
    in_time("the relay listens", told).await
}

async fn page(admin: std::net::SocketAddr, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut socket = tokio::net::TcpStream::connect(admin).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("200"), "{answer}");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_and_tokens_are_in_no_log_and_no_metric() {
    let dir = tempfile::tempdir().unwrap();
    let (certs, log) = (certs(dir.path()), dir.path().join("relay.log"));
    let process = start(dir.path(), &certs, &log, "body_bytes_max = 1024\n");
    let (listen, admin) = addresses(&log).await;
    let ca = Path::new(&certs).join("ca.pem");
    let key = format!("{certs}/token.key");
    let mint = |user: &str| relay(&["token", "--key", &key, "--user", user]).trim().to_owned();
    let (token, newer, others) = (mint("ann"), mint("ann"), mint("bob"));

    // Good ones, and all that can go wrong with them.
    let connection = raw::client(listen, &ca).await.unwrap();
    let mut ann = Raw::welcomed(connection, raw::hello("ann", 1, &token)).await;
    let ready = async {
        loop {
            let (room, submit) = ann.device.create(true, false);
            if ann.ask(submit).await.is_ok() {
                return room;
            }
        }
    };
    let room = in_time("the site accepts", ready).await;
    let (id, submit) = ann.device.submit(room, Kind::Message(wire::Message::default()), BODY);
    ann.ask(submit.clone()).await.unwrap();
    ann.ask(submit.clone()).await.expect("again");
    let other = wire::Submit { body: Some(raw::text(&format!("{BODY} other"))), ..submit };
    let _ = ann.ask(other).await;
    let edit = ann.device.submit(room, Kind::Edit(wire::Edit { target: Some(id.to_wire()) }), BODY).1;
    ann.ask(edit).await.unwrap();
    let large = ann.device.submit(room, Kind::Message(wire::Message::default()), &BODY.repeat(200)).1;
    assert_eq!(ann.ask(large).await.unwrap_err().code, Code::TooLarge.number());
    assert_eq!(ann.history(room, 100).await.events.len(), 3);
    ann.say(Frame::Renew(wire::Renew { token: newer.clone() })).await;
    ann.ping().await;
    let broken = format!("{token}x");
    for (user, token) in [("ann", &others), ("ann", &broken)] {
        let connection = raw::client(listen, &ca).await.unwrap();
        let (mut send, _recv) = connection.open_bi().await.unwrap();
        send.write_all(&raw::frame(Frame::Hello(raw::hello(user, 2, token)))).await.unwrap();
        assert_eq!(raw::closed(&connection).await.0, Code::Unauthenticated.number());
    }
    ann.say(Frame::Renew(wire::Renew { token: others.clone() })).await;
    assert_eq!(raw::closed(&ann.connection).await.0, Code::Unauthenticated.number());

    let pages = [page(admin, "/metrics").await, page(admin, "/status").await];
    drop(process);
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(log.contains("\"level\":\"TRACE\"") || log.contains("\"level\":\"DEBUG\""), "the log is talkative");
    // A body's bytes may be told as numbers, too.
    let as_numbers = format!("{:?}", BODY.as_bytes());
    let as_numbers = as_numbers.trim_matches(['[', ']']);
    let signature = |token: &str| token.rsplit('.').next().unwrap().to_owned();
    let payload = |token: &str| token.split('.').nth(1).unwrap().to_owned();
    for (what, text) in [("log", &log), ("metrics", &pages[0]), ("status", &pages[1])] {
        assert!(!text.contains(BODY) && !text.contains(as_numbers), "{what}: a body");
        for token in [&token, &newer, &others] {
            assert!(!text.contains(&signature(token)) && !text.contains(&payload(token)), "{what}: a token");
        }
    }
}
