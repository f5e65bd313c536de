//! The sites that a client knows, in order of preference, and how well each has behaved.

use causeway_protocol::{SiteId, wire};

use super::config::{SiteConfig, Timing};
use super::io::{SiteIndex, SiteView};
use super::jitter::Jitter;

/// Sites that are kept. Welcomes name more than any cluster has only if something is wrong.
const SITES_MAX: usize = 64;
/// Addresses that are kept of a site.
const ADDRESSES_MAX: usize = 8;

pub(super) struct Site {
    pub(super) view: SiteView,
    /// Another entry is the same site: never dialled.
    alias: bool,
    failures: u32,
    avoid_until_ms: u64,
}

pub(super) struct Sites {
    list: Vec<Site>,
    learn: bool,
}

impl Sites {
    pub(super) fn new(sites: &[SiteConfig], learn: bool) -> Self {
        let site = |s: &SiteConfig| Site {
            view: SiteView { id: None, name: s.name.clone(), addresses: s.addresses.clone() },
            alias: false,
            failures: 0,
            avoid_until_ms: 0,
        };
        Self { list: sites.iter().map(site).collect(), learn }
    }

    pub(super) fn views(&self) -> Vec<SiteView> {
        self.list.iter().map(|site| site.view.clone()).collect()
    }

    pub(super) fn view(&self, index: SiteIndex) -> &SiteView {
        &self.list[index.0].view
    }

    /// What a welcome says of the site that sent it and of the others.
    pub(super) fn learn(&mut self, from: SiteIndex, welcome: &wire::Welcome) {
        let Ok(own) = u16::try_from(welcome.site).map(SiteId) else { return };
        let site = &mut self.list[from.0].view;
        site.id = Some(own);
        if !welcome.site_name.is_empty() {
            site.name.clone_from(&welcome.site_name);
        }
        for info in &welcome.sites {
            let Some(id) = u16::try_from(info.site).ok().filter(|id| *id != 0).map(SiteId) else { continue };
            self.learn_one(id, info);
        }
    }

    fn learn_one(&mut self, id: SiteId, info: &wire::SiteInfo) {
        let same = |site: &&mut Site| match site.view.id {
            Some(known) => known == id,
            None => {
                (!info.name.is_empty() && site.view.name == info.name)
                    || site.view.addresses.iter().any(|a| info.addresses.contains(a))
            }
        };
        let known = self.list.len();
        match self.list.iter_mut().find(same) {
            Some(site) => {
                site.view.id = Some(id);
                if self.learn {
                    for address in &info.addresses {
                        if site.view.addresses.len() < ADDRESSES_MAX && !site.view.addresses.contains(address) {
                            site.view.addresses.push(address.clone());
                        }
                    }
                }
            }
            None if self.learn && !info.addresses.is_empty() && known < SITES_MAX => {
                let addresses = info.addresses.iter().take(ADDRESSES_MAX).cloned().collect();
                let view = SiteView { id: Some(id), name: info.name.clone(), addresses };
                self.list.push(Site { view, alias: false, failures: 0, avoid_until_ms: 0 });
            }
            None => {}
        }
    }

    /// Two entries turned out to be one site: this one is not dialled again.
    pub(super) fn mark_alias(&mut self, index: SiteIndex) {
        self.list[index.0].alias = true;
    }

    /// The site failed: it is avoided for a time that doubles with each failure.
    pub(super) fn fail(&mut self, now_ms: u64, index: SiteIndex, timing: &Timing, jitter: &mut Jitter) {
        let site = &mut self.list[index.0];
        site.avoid_until_ms = now_ms + jitter.backoff(timing.penalty_min_ms, timing.penalty_max_ms, site.failures);
        site.failures = site.failures.saturating_add(1);
    }

    pub(super) fn forgive(&mut self, index: SiteIndex) {
        self.list[index.0].failures = 0;
    }

    pub(super) fn avoid_until_ms(&self, index: SiteIndex) -> u64 {
        self.list[index.0].avoid_until_ms
    }

    /// The site that the session returns to.
    pub(super) fn preferred(&self) -> SiteIndex {
        SiteIndex(self.list.iter().position(|site| !site.alias).unwrap_or(0))
    }

    /// Whether there is no second site to go to.
    pub(super) fn is_alone(&self) -> bool {
        self.usable().nth(1).is_none()
    }

    fn usable(&self) -> impl Iterator<Item = SiteIndex> + '_ {
        (0..self.list.len()).filter(|i| !self.list[*i].alias).map(SiteIndex)
    }

    /// The most preferred site that is not `taken` and not avoided at the moment.
    pub(super) fn pick_well(&self, now_ms: u64, taken: &[SiteIndex]) -> Option<SiteIndex> {
        self.usable().find(|i| !taken.contains(i) && self.avoid_until_ms(*i) <= now_ms)
    }

    /// The same, or else the one that is avoided for the shortest time yet.
    pub(super) fn pick_any(&self, now_ms: u64, taken: &[SiteIndex]) -> Option<SiteIndex> {
        self.pick_well(now_ms, taken)
            .or_else(|| self.usable().filter(|i| !taken.contains(i)).min_by_key(|i| (self.avoid_until_ms(*i), *i)))
    }

    /// When a site that is not `taken` stops being avoided.
    pub(super) fn next_well_ms(&self, taken: &[SiteIndex]) -> Option<u64> {
        self.usable().filter(|i| !taken.contains(i)).map(|i| self.avoid_until_ms(i)).min()
    }
}
