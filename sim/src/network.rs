//! The network: latency between every two places, loss, duplication, reordering, and cuts in either direction.

use std::collections::BTreeSet;

use causeway_protocol::SiteId;

use crate::queue::{MS, Micros};
use crate::rng::Rng;

/// Where a packet starts or ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Place {
    /// A data centre.
    Site(SiteId),
    /// A client's machine.
    Client(usize),
}

/// How bad the paths are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Packets lost, per million.
    pub loss_ppm: u64,
    /// Packets that arrive twice, per million.
    pub duplicate_ppm: u64,
    /// Packets that arrive much later than others, per million.
    pub reorder_ppm: u64,
    /// The most that chance adds to a packet's latency.
    pub jitter: Micros,
}

/// What becomes of one datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It never arrives.
    Lost,
    /// It arrives after this time.
    Once(Micros),
    /// It arrives twice.
    Twice(Micros, Micros),
}

/// After a loss a reliable stream sends again; the wait, at most so often.
const RETRANSMIT_AFTER: Micros = 60 * MS;
const RETRANSMITS_MAX: u32 = 6;

/// All paths.
pub struct Network {
    rng: Rng,
    /// What is wrong with the paths at present.
    pub weather: Weather,
    /// One-way latency of sites, by their ids.
    between_sites: Vec<Vec<Micros>>,
    /// One-way latency of each client to each site.
    to_sites: Vec<Vec<Micros>>,
    cuts: BTreeSet<(Place, Place)>,
    /// Datagrams that were held back so that later ones overtake them.
    pub reordered: u64,
}

impl Network {
    /// `sites` places with ids from 1, and `clients`; each client is near one site.
    pub fn new(mut rng: Rng, sites: usize, clients: usize) -> Self {
        let mut between_sites = vec![vec![0; sites + 1]; sites + 1];
        let pairs = (1..=sites).flat_map(|a| (a + 1..=sites).map(move |b| (a, b)));
        for (a, b) in pairs {
            let latency = rng.within(MS / 2, 90 * MS);
            (between_sites[a][b], between_sites[b][a]) = (latency, latency);
        }
        let to_sites = (0..clients).map(|_| (0..=sites).map(|_| rng.within(MS, 100 * MS)).collect()).collect();
        Self { rng, weather: Weather::default(), between_sites, to_sites, cuts: BTreeSet::new(), reordered: 0 }
    }

    fn base(&self, from: Place, to: Place) -> Micros {
        match (from, to) {
            (Place::Site(a), Place::Site(b)) => self.between_sites[usize::from(a.0)][usize::from(b.0)],
            (Place::Client(c), Place::Site(s)) | (Place::Site(s), Place::Client(c)) => {
                self.to_sites[c][usize::from(s.0)]
            }
            (Place::Client(_), Place::Client(_)) => 0,
        }
    }

    fn latency(&mut self, from: Place, to: Place) -> Micros {
        self.base(from, to) + self.rng.below(self.weather.jitter + 1)
    }

    /// Whether packets pass.
    pub fn open(&self, from: Place, to: Place) -> bool {
        !self.cuts.contains(&(from, to))
    }

    /// A datagram is sent.
    pub fn datagram(&mut self, from: Place, to: Place) -> Fate {
        if !self.open(from, to) || self.rng.ppm(self.weather.loss_ppm) {
            return Fate::Lost;
        }
        let mut delay = self.latency(from, to);
        if self.rng.ppm(self.weather.reorder_ppm) {
            self.reordered += 1;
            delay += self.rng.within(MS, 200 * MS);
        }
        if self.rng.ppm(self.weather.duplicate_ppm) {
            let again = self.latency(from, to) + self.rng.within(0, 100 * MS);
            return Fate::Twice(delay, again);
        }
        Fate::Once(delay)
    }

    /// How long a reliable stream takes to bring a frame over an open path: its losses cost time.
    pub fn stream_delay(&mut self, from: Place, to: Place) -> Micros {
        let mut delay = self.latency(from, to);
        let mut sent = 0;
        while sent < RETRANSMITS_MAX && self.rng.ppm(self.weather.loss_ppm) {
            sent += 1;
            delay += RETRANSMIT_AFTER + self.base(from, to);
        }
        delay
    }

    /// Nothing passes in this direction from now on.
    pub fn cut(&mut self, from: Place, to: Place) {
        self.cuts.insert((from, to));
    }

    /// Packets pass again.
    pub fn mend(&mut self, from: Place, to: Place) {
        self.cuts.remove(&(from, to));
    }

    /// Every path is open, and the weather fine.
    pub fn heal(&mut self) {
        self.cuts.clear();
        self.weather = Weather { jitter: 2 * MS, ..Weather::default() };
    }
}
