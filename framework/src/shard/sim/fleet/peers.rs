//! The peers of a shard's connections, as the kernel brings them what is sent and takes what they
//! send.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::id::{ConnId, Key};
use crate::ring::{Operation, Token};
use crate::shard::sim::fleet::script::Script;
use crate::shard::sim::kernel::Wire;
use crate::time::Tick;

pub(super) struct Peers {
    pub(super) script: Arc<Script>,
    pub(super) shard: usize,
    /// They send something, or end.
    pub(super) speak: bool,
    /// Those that have sent their FIN.
    pub(super) ended: BTreeSet<u64>,
}

impl Wire for Peers {
    fn sends(&mut self, _key: Key, _now: Tick) {}

    fn sent(&mut self, key: Key, bytes: &[u8], result: i32) {
        if let Ok(count) = usize::try_from(result) {
            let mut model = self.script.model();
            model.got_bytes(self.shard, key, &bytes[..count]);
        }
    }

    fn shuts_down(&mut self, _key: Key) {}

    fn is_reset(&mut self, _key: Key) {}

    fn has_ended(&mut self, key: Key) -> bool {
        self.ended.contains(&ConnId::word(key))
    }

    fn end(&mut self, key: Key) {
        self.ended.insert(ConnId::word(key));
    }

    fn next_input(&mut self, _key: Key, length: usize) -> Vec<u8> {
        vec![0; length]
    }

    fn delivered(&mut self, _key: Key, _length: usize) {}

    fn failed_to_receive(&mut self, _key: Key, _errno: i32) {}

    fn keeps_waiting(&mut self, token: Token) -> bool {
        match token.operation {
            Operation::Receive | Operation::Poll => !self.speak,
            Operation::Send | Operation::QuietSend => {
                let mut model = self.script.model();
                let life = model.find(self.shard, token.key);
                life.is_some_and(|life| life.is_stalled)
            }
            _ => false,
        }
    }
}
