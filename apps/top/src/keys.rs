//! What its user types.

use std::io;
use std::time::Duration;

use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyModifiers};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Quit,
    Up,
    Down,
}

/// The next one within `bound`. A change of the terminal's size ends the wait, and the terminal's end
/// is an order to quit: crossterm would read its end for ever.
pub(crate) fn next(bound: Duration) -> io::Result<Option<Order>> {
    let terminal = io::stdin();
    let mut set = [PollFd::new(&terminal, PollFlags::IN)];
    let timeout = Timespec::try_from(bound).map_err(io::Error::other)?;
    match poll(&mut set, Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    if set[0].revents().intersects(PollFlags::HUP | PollFlags::ERR) {
        return Ok(Some(Order::Quit));
    }
    if !event::poll(Duration::ZERO)? {
        return Ok(None);
    }
    Ok(match event::read()? {
        Event::Key(key) if key.is_press() => order(key),
        _ => None,
    })
}

fn order(key: KeyEvent) -> Option<Order> {
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => Some(Order::Quit),
        // In raw mode the terminal makes no signal of it.
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Order::Quit),
        KeyCode::Up | KeyCode::Char('k') => Some(Order::Up),
        KeyCode::Down | KeyCode::Char('j') => Some(Order::Down),
        _ => None,
    }
}
