//! How far a server has come, for whoever waits for it on other threads.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::server::ended::ServerError;

/// The control thread writes it, once for each step.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// None: it starts.
    ready: Option<Result<(), ServerError>>,
    /// As many as there are futures that wait.
    waiting: Vec<Waker>,
}

impl Progress {
    /// Every shard serves, or the server has ended before that. The first word counts.
    pub(crate) fn settle(&self, ready: Result<(), ServerError>) {
        let mut state = self.lock();
        state.ready.get_or_insert(ready);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        self.changed.notify_all();
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Waits on this thread.
    pub(crate) fn wait(&self) -> Result<(), ServerError> {
        let mut state = self.lock();
        loop {
            if let Some(ready) = &state.ready {
                return ready.clone();
            }
            let woken = self.changed.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<Result<(), ServerError>> {
        let mut state = self.lock();
        if let Some(ready) = &state.ready {
            return Poll::Ready(ready.clone());
        }
        if !state
            .waiting
            .iter()
            .any(|waker| waker.will_wake(context.waker()))
        {
            state.waiting.push(context.waker().clone());
        }
        Poll::Pending
    }

    /// What is behind the lock is whole at any time.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
