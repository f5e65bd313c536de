//! How much each connection and each user may ask for. What a user has dies with the last connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use causeway_protocol::{UserId, limits};

use crate::limits::{Limits, Over};
use crate::token_bucket::TokenBucket;

/// When a user with too many connections may look again: nobody knows when one of them ends, ms.
const CONNECTION_RETRY_MS: u64 = 1_000;

/// Datagrams a second of one connection, and of all connections of one user: several times what an honest client says.
const DATAGRAMS_PER_S: u64 = 2;
/// Datagrams that may come at once: a client that has just found its home, or goes from room to room.
const DATAGRAMS_BURST: u64 = 10;

/// What one connection, or all of one user's, may ask for.
#[derive(Debug)]
struct Rates {
    requests: TokenBucket,
    bytes: TokenBucket,
    datagrams: TokenBucket,
}

impl Rates {
    /// A second's worth may come at once; the largest frame always may.
    fn new(requests: u64, bytes: u64, now_ms: u64) -> Self {
        let burst = bytes.max(limits::FRAME_BYTES_MAX as u64 + 4);
        Self {
            requests: TokenBucket::new(requests, requests, now_ms),
            bytes: TokenBucket::new(bytes, burst, now_ms),
            datagrams: TokenBucket::new(DATAGRAMS_PER_S, DATAGRAMS_BURST, now_ms),
        }
    }
}

#[derive(Debug)]
struct OfUser {
    connections: usize,
    rates: Arc<Mutex<Rates>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The users that are connected: no more than there are connections.
#[derive(Debug, Default)]
pub struct Users {
    users: Mutex<HashMap<UserId, OfUser>>,
}

impl Users {
    /// Takes another connection of a user.
    ///
    /// # Errors
    /// The user has as many as a user may have.
    pub fn connect(self: &Arc<Self>, user: &UserId, limits: &Limits, now_ms: u64) -> Result<Visitor, Over> {
        let mut users = lock(&self.users);
        let of_user = users.entry(user.clone()).or_insert_with(|| {
            let rates = Rates::new(limits.user_requests_per_s, limits.user_bytes_per_s, now_ms);
            OfUser { connections: 0, rates: Arc::new(Mutex::new(rates)) }
        });
        if of_user.connections >= limits.user_connections_max {
            return Err(Over {
                setting: "user_connections_max",
                max: limits.user_connections_max as u64,
                of: "connections of this user",
                retry_after_ms: CONNECTION_RETRY_MS,
            });
        }
        of_user.connections += 1;
        let connection = Rates::new(limits.connection_requests_per_s, limits.connection_bytes_per_s, now_ms);
        Ok(Visitor {
            users: self.clone(),
            user: user.clone(),
            limits: limits.clone(),
            of_user: of_user.rates.clone(),
            connection: Mutex::new(connection),
        })
    }

    /// How many users there are.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        lock(&self.users).len()
    }
}

/// One connection of a user who is let in.
#[derive(Debug)]
pub struct Visitor {
    users: Arc<Users>,
    user: UserId,
    limits: Limits,
    of_user: Arc<Mutex<Rates>>,
    connection: Mutex<Rates>,
}

impl Visitor {
    /// Takes a request of so many bytes.
    ///
    /// # Errors
    /// The connection or the user asks for too much: of the limits that are reached the one that lasts longest.
    /// Nothing is counted then.
    pub fn ask(&self, now_ms: u64, bytes: u64) -> Result<(), Over> {
        let (mut connection, mut user) = (lock(&self.connection), lock(&self.of_user));
        let limits = &self.limits;
        let over = |setting, max, of, retry_after_ms| Over { setting, max, of, retry_after_ms };
        let waits = [
            over(
                "connection_requests_per_s",
                limits.connection_requests_per_s,
                "requests a second of this connection",
                connection.requests.wait_ms(now_ms, 1),
            ),
            over(
                "connection_bytes_per_s",
                limits.connection_bytes_per_s,
                "bytes a second of this connection",
                connection.bytes.wait_ms(now_ms, bytes),
            ),
            over(
                "user_requests_per_s",
                limits.user_requests_per_s,
                "requests a second of this user",
                user.requests.wait_ms(now_ms, 1),
            ),
            over(
                "user_bytes_per_s",
                limits.user_bytes_per_s,
                "bytes a second of this user",
                user.bytes.wait_ms(now_ms, bytes),
            ),
        ];
        if let Some(longest) = waits.into_iter().max_by_key(|over| over.retry_after_ms)
            && longest.retry_after_ms > 0
        {
            return Err(longest);
        }
        for rates in [&mut connection, &mut user] {
            rates.requests.spend(1);
            rates.bytes.spend(bytes);
        }
        Ok(())
    }
}

impl Visitor {
    /// Takes a datagram, where neither the connection nor the user sends too many.
    pub fn may_send_datagram(&self, now_ms: u64) -> bool {
        let (mut connection, mut user) = (lock(&self.connection), lock(&self.of_user));
        connection.datagrams.take(now_ms, 1).is_ok() && user.datagrams.take(now_ms, 1).is_ok()
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        let mut users = lock(&self.users.users);
        if let Some(of_user) = users.get_mut(&self.user) {
            of_user.connections -= 1;
            if of_user.connections == 0 {
                users.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
#[path = "rates_tests.rs"]
mod tests;
