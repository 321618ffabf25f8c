//! The terminal, from its taking to its giving back.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::endpoint::Endpoint;
use crate::events;
use crate::history::History;
use crate::keys::{self, Order};
use crate::view;

/// How often the screen is drawn, and keys and signals are looked for.
const FRAME_INTERVAL: Duration = Duration::from_millis(200);
/// News that wait to be shown.
const NEWS_MAX: usize = 8;

/// Until somebody has had enough.
pub(crate) fn show(admin: &Endpoint) -> io::Result<()> {
    let is_over = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&is_over))?;
    }
    let (tell, news) = sync_channel(NEWS_MAX);
    let place = admin.clone();
    thread::Builder::new()
        .name("events".to_owned())
        .spawn(move || events::watch(&place, &tell))?;
    // Restores the terminal before a panic is told, too.
    let mut terminal = ratatui::try_init()?;
    let (mut history, mut scrolled) = (History::new(admin.to_string()), 0);
    let outcome = loop {
        news.try_iter()
            .for_each(|one| history.hear(one, Instant::now()));
        let drawn = terminal.draw(|frame| view::draw(frame, &history, &mut scrolled));
        match drawn.and_then(|_| keys::next(FRAME_INTERVAL)) {
            Err(error) => break Err(error),
            Ok(Some(Order::Quit)) => break Ok(()),
            Ok(_) if is_over.load(Ordering::Relaxed) => break Ok(()),
            Ok(Some(Order::Up)) => scrolled = scrolled.saturating_sub(1),
            Ok(Some(Order::Down)) => scrolled = scrolled.saturating_add(1),
            Ok(None) => {}
        }
    };
    ratatui::try_restore()?;
    outcome
}
