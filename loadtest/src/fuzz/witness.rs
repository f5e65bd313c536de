//! The client that keeps to the protocol, while others do not: each of its messages is stored, in time, and is there
//! after a restart.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use bytes::Bytes;
use causeway_protocol::{RequestId, RoomId};
use tokio::time::{Instant, timeout};

use super::HANG_GUARD;
use crate::sdk::{Event, SdkError, Session, SessionOptions, Shared};

/// Pages of a history: no run sends as many messages.
const PAGES_MAX: usize = 10_000;

pub struct Witness {
    session: Session,
    room: RoomId,
    said: BTreeMap<RequestId, Bytes>,
}

fn options(home: usize) -> SessionOptions {
    SessionOptions { user: "witness".to_owned(), home, turn: 0, standby: false, roams: false }
}

impl Witness {
    /// Signs in and makes a room.
    pub async fn sign_in(shared: &Shared, home: usize) -> Result<Self> {
        let session = timeout(HANG_GUARD, Session::connect(shared, options(home))).await.context("no welcome")??;
        let (room, pending) = session.create_room("witness")?;
        let stored = timeout(HANG_GUARD, pending.stored()).await.context("the room is not stored")?;
        anyhow::ensure!(stored.is_ok(), "the room is refused: {stored:?}");
        Ok(Self { session, room, said: BTreeMap::new() })
    }

    /// Says one thing after the other until then, each when the one before is stored. The error is what did not hold.
    pub async fn talk(&mut self, shared: &Shared, home: usize, until: Instant) -> Result<(), String> {
        let mut events: Vec<Event> = Vec::new();
        while Instant::now() < until {
            let content = Bytes::from(format!("message {}", self.said.len()));
            let pending = match self.session.send(self.room, "text/plain", content.clone()) {
                Ok(pending) => pending,
                // No second site says `Replicated`, so the outbox keeps what is stored: it begins a new one.
                Err(SdkError::Full) => {
                    self.sign_in_again(shared, home).await?;
                    continue;
                }
                Err(e) => return Err(e.to_string()),
            };
            tokio::select! {
                stored = timeout(HANG_GUARD, pending.stored()) => match stored {
                    Ok(Ok(())) => drop(self.said.insert(pending.id(), content)),
                    Ok(Err(refused)) => return Err(format!("message {} is refused: {refused:?}", self.said.len())),
                    Err(_) => return Err(format!("message {} is not stored in {HANG_GUARD:?}", self.said.len())),
                },
                // What it is shown is taken, as every application does.
                () = drain(&self.session, &mut events) => return Err("the session has ended".to_owned()),
            }
        }
        Ok(())
    }

    async fn sign_in_again(&mut self, shared: &Shared, home: usize) -> Result<(), String> {
        self.session.close().await;
        let session = timeout(HANG_GUARD, Session::connect(shared, options(home))).await;
        self.session = session.map_err(|_| "no welcome".to_owned())?.map_err(|e| e.to_string())?;
        Ok(())
    }

    /// How many were stored.
    pub fn stored(&self) -> usize {
        self.said.len()
    }

    /// Reads the room's history at a site; an error where something is missing.
    pub async fn missing(&self, shared: &Shared, home: usize) -> Result<(), String> {
        let reader = timeout(HANG_GUARD, Session::connect(shared, options(home))).await;
        let reader = reader.map_err(|_| "after a restart: no welcome".to_owned())?.map_err(|e| e.to_string())?;
        let mut lost = self.said.clone();
        let mut after = None;
        for _ in 0..PAGES_MAX {
            let page = timeout(HANG_GUARD, reader.history(self.room, after)).await;
            let page = page.map_err(|_| "after a restart: no history".to_owned())?.map_err(|e| e.to_string())?;
            for message in &page.messages {
                if lost.get(&message.id) == message.content.as_ref() {
                    lost.remove(&message.id);
                }
            }
            after = page.last.or(after);
            if !page.more {
                break;
            }
        }
        reader.close().await;
        if lost.is_empty() { Ok(()) } else { Err(format!("after a restart: {} stored messages are lost", lost.len())) }
    }

    /// Signs out.
    pub async fn close(&self) {
        self.session.close().await;
    }
}

/// Takes events until the session ends.
async fn drain(session: &Session, events: &mut Vec<Event>) {
    while session.next(events).await {
        events.clear();
    }
}
