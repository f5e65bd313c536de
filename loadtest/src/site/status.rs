//! What a relay says of itself on its admin pages, as far as a load tester needs it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::Deserialize;

use crate::http::{self, HttpError};

/// Why a page could not be read.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// No answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// Another code than 200.
    #[error("{addr}{path}: answered {code}")]
    Code {
        /// Whom we asked.
        addr: SocketAddr,
        /// What for.
        path: &'static str,
        /// The code.
        code: u16,
    },
    /// Not the page that we know.
    #[error("{addr}/status: {reason}")]
    Malformed {
        /// Whom we asked.
        addr: SocketAddr,
        /// What is wrong.
        reason: String,
    },
}

/// What a shard holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
struct Holding {
    shard: u16,
    /// Fsynced, by origin.
    durable: BTreeMap<String, u64>,
    /// Over it.
    hash: String,
}

/// A site's `/status`, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct SiteStatus {
    /// No bucket is known to differ where it must not.
    hashes_equal: bool,
    shards: Vec<Holding>,
}

impl SiteStatus {
    /// Asks a relay.
    pub async fn read(admin: SocketAddr) -> Result<Self, StatusError> {
        let path = "/status";
        let answer = http::get(admin, path).await?;
        if answer.code != 200 {
            return Err(StatusError::Code { addr: admin, path, code: answer.code });
        }
        Self::parse(&answer.body).map_err(|reason| StatusError::Malformed { addr: admin, reason })
    }

    fn parse(body: &[u8]) -> Result<Self, String> {
        let mut status: Self = serde_json::from_slice(body).map_err(|e| e.to_string())?;
        status.shards.sort_by_key(|s| s.shard);
        Ok(status)
    }

    /// Whether it holds all that the other held.
    pub fn covers(&self, other: &SiteStatus) -> bool {
        let held = |holding: &Holding| {
            let mine = self.shards.iter().find(|s| s.shard == holding.shard);
            mine.is_some_and(|m| {
                holding.durable.iter().all(|(o, seq)| m.durable.get(o).is_some_and(|have| have >= seq))
            })
        };
        other.shards.iter().all(held)
    }

    /// How many shards it has.
    pub fn shard_count(&self) -> usize {
        self.shards.len()
    }
}

/// Whether all sites hold the same: equal vectors with equal hashes in every shard. A site that did not answer holds
/// nothing that we know of.
pub fn converged(sites: &[Option<SiteStatus>]) -> bool {
    let Some(Some(first)) = sites.first() else { return false };
    let same = |s: &Option<SiteStatus>| s.as_ref().is_some_and(|s| s.hashes_equal && s.shards == first.shards);
    first.shard_count() > 0 && sites.iter().all(same)
}

/// How many shards differ, and in what, for those who wait and wonder.
pub fn difference(sites: &[Option<SiteStatus>]) -> String {
    let Some(all) = sites.iter().map(Option::as_ref).collect::<Option<Vec<_>>>() else {
        return "a site does not answer".to_owned();
    };
    let Some((first, others)) = all.split_first() else { return "no site".to_owned() };
    let differs = |same: fn(&Holding, &Holding) -> bool| {
        let agreed = |mine: &Holding| {
            others.iter().all(|o| o.shards.iter().any(|theirs| theirs.shard == mine.shard && same(mine, theirs)))
        };
        first.shards.iter().filter(|s| !agreed(s)).count()
    };
    let alarmed = all.iter().filter(|s| !s.hashes_equal).count();
    format!(
        "{} shards with unequal vectors, {} with unequal hashes, {alarmed} sites that know of a mismatch",
        differs(|a, b| a.durable == b.durable),
        differs(|a, b| a.hash == b.hash)
    )
}

/// A site's `/metrics`: values by name, those with labels left out.
pub async fn metrics(admin: SocketAddr) -> Result<BTreeMap<String, f64>, StatusError> {
    let path = "/metrics";
    let answer = http::get(admin, path).await?;
    if answer.code != 200 {
        return Err(StatusError::Code { addr: admin, path, code: answer.code });
    }
    Ok(parse_metrics(&String::from_utf8_lossy(&answer.body)))
}

fn parse_metrics(text: &str) -> BTreeMap<String, f64> {
    let plain = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        let is_plain = !name.starts_with('#') && !name.contains('{');
        is_plain.then(|| Some((name.to_owned(), value.trim().parse().ok()?)))?
    };
    text.lines().filter_map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(hash: &str, seq: u64) -> SiteStatus {
        let page = serde_json::json!({"site": 1, "hashes_equal": true, "shards": [
            {"shard": 1, "durable": {}, "hash": "00", "ready": true},
            {"shard": 0, "durable": {"1.0.00aa": seq}, "hash": hash, "ready": true},
        ]});
        SiteStatus::parse(page.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn sites_have_converged_when_vectors_and_hashes_are_equal() {
        assert!(converged(&[Some(status("aa", 5)), Some(status("aa", 5))]));
        assert!(!converged(&[Some(status("aa", 5)), Some(status("ab", 5))]));
        assert!(!converged(&[Some(status("aa", 5)), Some(status("aa", 6))]));
        assert!(!converged(&[Some(status("aa", 5)), None]));
        assert!(!converged(&[None]));
        assert!(!converged(&[]));
        let empty = SiteStatus { hashes_equal: true, ..SiteStatus::default() };
        assert!(!converged(&[Some(empty)]), "no shard is no agreement");
        let alarmed = SiteStatus { hashes_equal: false, ..status("aa", 5) };
        assert!(!converged(&[Some(status("aa", 5)), Some(alarmed)]), "a site knows of a mismatch");
    }

    #[test]
    fn a_site_covers_what_it_holds_and_less() {
        assert!(status("ab", 6).covers(&status("aa", 5)));
        assert!(!status("ab", 4).covers(&status("aa", 5)));
        assert!(!SiteStatus::default().covers(&status("aa", 5)));
        assert!(status("ab", 6).covers(&SiteStatus::default()));
    }

    #[test]
    fn a_difference_is_told() {
        let text = difference(&[Some(status("aa", 5)), Some(status("ab", 6)), Some(status("aa", 5))]);
        assert!(text.starts_with("1 shards with unequal vectors, 1 with unequal hashes, 0 sites"), "{text}");
        assert_eq!(difference(&[Some(status("aa", 5)), None]), "a site does not answer");
    }

    #[test]
    fn a_page_that_is_another_is_refused() {
        for (body, want) in [
            ("{", "EOF"),
            ("{}", "hashes_equal"),
            (r#"{"hashes_equal":true}"#, "shards"),
            (r#"{"hashes_equal":true,"shards":[{"durable":{},"hash":""}]}"#, "`shard`"),
            (r#"{"hashes_equal":true,"shards":[{"shard":0,"hash":""}]}"#, "`durable`"),
        ] {
            let error = SiteStatus::parse(body.as_bytes()).unwrap_err();
            assert!(error.contains(want), "{error}");
        }
    }

    #[test]
    fn metrics_without_labels_are_read() {
        let text = "# HELP x y\n# TYPE x gauge\nx 1.5\nx_bucket{le=\"1\"} 3\nz NaN?\n";
        assert_eq!(parse_metrics(text), [("x".to_owned(), 1.5)].into());
    }
}
