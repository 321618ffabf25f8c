//! What the shards of a run have in common: its model, behind a lock that nobody holds while
//! another runs, and how it goes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::Config;
use crate::shard::mail::mesh::Mesh;
use crate::shard::sim::fleet::model::Model;

/// A message to a handler.
#[derive(Debug)]
pub(super) struct Note {
    pub(super) source: usize,
    pub(super) number: u64,
}

pub(super) struct Script {
    pub(super) config: Config,
    pub(super) mesh: Arc<Mesh<Note>>,
    /// No connection fails, and no peer ends, before all is over.
    pub(super) is_kind: bool,
    model: Mutex<Model>,
}

impl Script {
    pub(super) fn new(config: Config, mesh: Arc<Mesh<Note>>, is_kind: bool, model: Model) -> Self {
        let model = Mutex::new(model);
        Self {
            config,
            mesh,
            is_kind,
            model,
        }
    }

    pub(super) fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
