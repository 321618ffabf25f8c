//! What its user types.

use std::io;
use std::time::Duration;

use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyModifiers};

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Quit,
    Up,
    Down,
}

/// The next one within `bound`. A change of the terminal's size ends the wait.
pub(crate) fn next(bound: Duration) -> io::Result<Option<Order>> {
    if !event::poll(bound)? {
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
