//! Who gets in: tokens over real sockets, from minting to their end.

use causeway_client::{Client, Event};
use causeway_protocol::Code;

use crate::system::in_time;
use crate::token_site::{Site, certs, relay};

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
