//! Typed reads and writes of one step, over the host's view with the step's own batch on top.

use bytes::Bytes;
use causeway_protocol::{Message, ShardId};

use crate::io::{Now, Output, Outputs};
use crate::key::Key;
use crate::request::Op;
use crate::view::{Cf, Overlay, View, ViewError};

/// One step's access to rows and effects.
pub(super) struct Tx<'a> {
    pub now: Now,
    view: &'a dyn View,
    out: &'a mut Outputs,
}

impl<'a> Tx<'a> {
    pub fn new(now: Now, view: &'a dyn View, out: &'a mut Outputs) -> Self {
        Self { now, view, out }
    }

    /// Everything written so far, this step's writes too.
    pub fn overlay(&self) -> Overlay<'_> {
        Overlay { base: self.view, batch: &self.out.batch }
    }

    pub fn get_bytes(&self, key: &Key) -> Result<Option<Bytes>, ViewError> {
        self.overlay().get(key.family(), &key.encode())
    }

    pub fn get<M: Message + Default>(&self, key: &Key) -> Result<Option<M>, ViewError> {
        self.get_bytes(key)?.map(|value| decode_row(key.family(), value)).transpose()
    }

    pub fn put_bytes(&mut self, key: &Key, value: Bytes) {
        self.out.batch.put(key.family(), key.encode(), value);
    }

    pub fn put(&mut self, key: &Key, row: &impl Message) {
        self.put_bytes(key, row.encode_to_vec().into());
    }

    pub fn delete(&mut self, key: &Key) {
        self.out.batch.delete(key.family(), key.encode());
    }

    pub fn delete_range(&mut self, cf: Cf, start: Bytes, end: Bytes) {
        self.out.batch.delete_range(cf, start, end);
    }

    pub fn emit(&mut self, output: Output) {
        self.out.effects.push(output);
    }
}

/// A row that does not decode is a row that cannot be read.
pub(crate) fn decode_row<M: Message + Default>(cf: Cf, value: Bytes) -> Result<M, ViewError> {
    M::decode(value).map_err(|e| corrupt(cf, e.to_string()))
}

/// An op by its stored header; bodies are with the requests.
pub(super) fn stored_op(shard: ShardId, header: Bytes) -> Result<Op, ViewError> {
    Op::decode(shard, header, None).map_err(|e| corrupt(Cf::Op, e.to_string()))
}

pub(crate) fn corrupt(cf: Cf, reason: impl Into<String>) -> ViewError {
    ViewError { family: cf.name(), reason: reason.into() }
}
