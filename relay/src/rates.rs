//! How much each connection and each user may ask for. What a user has dies with the last connection, or when the HTTP API
//! has not heard of the user for a while.

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

    /// Which limit of a user a request of so many bytes would be over, if these are a user's: the one that lasts longest.
    fn over_of_user(&mut self, limits: &Limits, now_ms: u64, bytes: u64) -> Option<Over> {
        let over = |setting, max, of, retry_after_ms| Over { setting, max, of, retry_after_ms };
        let (requests, bytes) = (self.requests.wait_ms(now_ms, 1), self.bytes.wait_ms(now_ms, bytes));
        let waits = [
            over("user_requests_per_s", limits.user_requests_per_s, "requests a second of this user", requests),
            over("user_bytes_per_s", limits.user_bytes_per_s, "bytes a second of this user", bytes),
        ];
        waits.into_iter().filter(|over| over.retry_after_ms > 0).max_by_key(|over| over.retry_after_ms)
    }
}

/// A user without a connection is forgotten after this, when room is needed, ms: the buckets are full again.
const FORGET_MS: u64 = 2_000;
/// Users who have no connection and called the HTTP API of late. More are refused.
const CALLERS_MAX: usize = 16_384;

#[derive(Debug)]
struct OfUser {
    connections: usize,
    /// When the HTTP API heard of the user last.
    called_ms: Option<u64>,
    rates: Arc<Mutex<Rates>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl OfUser {
    fn new(limits: &Limits, now_ms: u64) -> Self {
        let rates = Rates::new(limits.user_requests_per_s, limits.user_bytes_per_s, now_ms);
        Self { connections: 0, called_ms: None, rates: Arc::new(Mutex::new(rates)) }
    }

    fn is_of_use(&self, now_ms: u64) -> bool {
        self.connections > 0 || self.called_ms.is_some_and(|called_ms| now_ms < called_ms + FORGET_MS)
    }
}

/// The users that are connected, or called the HTTP API of late: no more than there are connections, and [`CALLERS_MAX`].
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
        let of_user = users.entry(user.clone()).or_insert_with(|| OfUser::new(limits, now_ms));
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

    /// Takes a call of the HTTP API, of so many bytes, by a user; what the user's connections ask for counts with it.
    ///
    /// # Errors
    /// The user asks for too much, or very many others have called within two seconds. Nothing is counted then.
    pub fn call(&self, user: &UserId, limits: &Limits, now_ms: u64, bytes: u64) -> Result<(), Over> {
        let mut users = lock(&self.users);
        if !users.contains_key(user) && users.len() >= CALLERS_MAX {
            users.retain(|_, of_user| of_user.is_of_use(now_ms));
            let callers = users.values().filter(|of_user| of_user.connections == 0).count();
            if callers >= CALLERS_MAX {
                let (setting, max) = ("user_requests_per_s", CALLERS_MAX as u64);
                return Err(Over { setting, max, of: "users without a connection", retry_after_ms: FORGET_MS });
            }
        }
        let of_user = users.entry(user.clone()).or_insert_with(|| OfUser::new(limits, now_ms));
        of_user.called_ms = Some(now_ms);
        let rates = of_user.rates.clone();
        drop(users);
        let mut rates = lock(&rates);
        if let Some(longest) = rates.over_of_user(limits, now_ms, bytes) {
            return Err(longest);
        }
        rates.requests.spend(1);
        rates.bytes.spend(bytes);
        Ok(())
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
        ];
        let all =
            waits.into_iter().filter(|over| over.retry_after_ms > 0).chain(user.over_of_user(limits, now_ms, bytes));
        if let Some(longest) = all.max_by_key(|over| over.retry_after_ms) {
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
            if of_user.connections == 0 && of_user.called_ms.is_none() {
                users.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
#[path = "rates_tests.rs"]
mod tests;
