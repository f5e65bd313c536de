//! Submits that a shard has not answered yet.

use std::collections::BTreeMap;

use causeway_protocol::RequestId;

/// The submits of one session that wait for an answer, each with its bytes. Who fills it keeps it bounded.
#[derive(Debug, Default)]
pub struct InFlight {
    /// A request that was sent again while it waits is here once for each time.
    sizes: BTreeMap<RequestId, Vec<usize>>,
    count: u32,
    bytes: usize,
}

impl InFlight {
    /// How many there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// What they hold.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A request goes to its shard.
    pub fn sent(&mut self, id: RequestId, bytes: usize) {
        self.sizes.entry(id).or_default().push(bytes);
        self.count += 1;
        self.bytes += bytes;
    }

    /// A shard answered one. One that nobody waits for changes nothing.
    pub fn answered(&mut self, id: Option<RequestId>) {
        let Some(id) = id else { return };
        let Some(sizes) = self.sizes.get_mut(&id) else { return };
        if let Some(bytes) = sizes.pop() {
            self.count -= 1;
            self.bytes -= bytes;
        }
        if sizes.is_empty() {
            self.sizes.remove(&id);
        }
    }
}
