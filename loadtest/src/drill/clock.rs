//! The run's clock.

use std::time::Duration;

use tokio::time::Instant;

/// Microseconds since the run's start. Before it, they are 0.
#[derive(Clone, Copy, Debug)]
pub struct RunClock {
    start: Instant,
}

impl RunClock {
    /// A run that starts at that moment.
    pub fn starting_at(start: Instant) -> Self {
        Self { start }
    }

    /// Now.
    pub fn now_us(&self) -> u64 {
        Instant::now().saturating_duration_since(self.start).as_micros() as u64
    }

    /// Now, in seconds.
    pub fn now_s(&self) -> f64 {
        self.now_us() as f64 / 1e6
    }

    /// The moment at which the run is that old.
    pub fn moment(&self, us: u64) -> Instant {
        self.start + Duration::from_micros(us)
    }
}
