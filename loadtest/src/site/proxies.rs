//! A proxy on every path of a cluster: from clients to each site, and from each site to each other.

use std::io;
use std::net::SocketAddr;

use crate::udp_proxy::{Direction, Faults, UdpProxy};

/// The proxies of a cluster.
pub struct Proxies {
    fronts: Vec<UdpProxy>,
    /// `[from][to]`; a site's proxy to itself is never used, and not there.
    paths: Vec<Vec<Option<UdpProxy>>>,
}

impl Proxies {
    /// One for each site's clients, one for each ordered pair of sites.
    pub async fn start(listen: &[SocketAddr], seed: u64) -> io::Result<Self> {
        let mut fronts = Vec::new();
        let mut paths = Vec::new();
        let mut seeds = seed..;
        for (from, addr) in listen.iter().enumerate() {
            fronts.push(UdpProxy::start(*addr, seeds.next().unwrap_or(seed)).await?);
            let mut row = Vec::new();
            for (to, addr) in listen.iter().enumerate() {
                row.push(match from == to {
                    true => None,
                    false => Some(UdpProxy::start(*addr, seeds.next().unwrap_or(seed)).await?),
                });
            }
            paths.push(row);
        }
        Ok(Self { fronts, paths })
    }

    /// Where a site's clients send to.
    pub fn front(&self, site: usize) -> SocketAddr {
        self.fronts[site].addr()
    }

    /// Where one site sends to, to reach another.
    pub fn between(&self, from: usize, to: usize) -> SocketAddr {
        self.paths[from][to].as_ref().map_or(self.fronts[to].addr(), UdpProxy::addr)
    }

    fn around(&self, site: usize) -> impl Iterator<Item = &UdpProxy> {
        let out = self.paths[site].iter().flatten();
        let back = self.paths.iter().filter_map(move |row| row[site].as_ref());
        std::iter::once(&self.fronts[site]).chain(out).chain(back)
    }

    /// A site falls silent: for its clients and for the other sites, both ways.
    pub fn silence(&self, site: usize) {
        self.around(site).for_each(UdpProxy::silence);
    }

    /// A site is heard again.
    pub fn heal(&self, site: usize) {
        self.around(site).for_each(UdpProxy::heal);
    }

    /// What one site sends to another does not arrive; the other way passes.
    pub fn cut_one_way(&self, from: usize, to: usize) {
        let cut = Faults { cut: true, ..Faults::default() };
        if let Some(path) = &self.paths[from][to] {
            path.set_faults(Direction::ToUpstream, cut);
        }
        // A link has one dialler: the other site's datagrams come back on the same path.
        if let Some(path) = &self.paths[to][from] {
            path.set_faults(Direction::ToPeer, cut);
        }
    }

    /// Two sites do not hear each other; clients reach both.
    pub fn cut_between(&self, a: usize, b: usize) {
        for path in [&self.paths[a][b], &self.paths[b][a]].into_iter().flatten() {
            path.silence();
        }
    }

    /// The same faults on every path between sites.
    pub fn set_links(&self, faults: Faults) {
        self.paths.iter().flatten().flatten().for_each(|p| p.set_both(faults));
    }

    /// The same faults on every path of clients.
    pub fn set_fronts(&self, faults: Faults) {
        self.fronts.iter().for_each(|p| p.set_both(faults));
    }

    /// No faults anywhere.
    pub fn heal_all(&self) {
        self.fronts.iter().chain(self.paths.iter().flatten().flatten()).for_each(UdpProxy::heal);
    }
}
