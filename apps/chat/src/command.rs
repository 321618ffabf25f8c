//! What a line of a peer means. Pure and total: any bytes in, a command or a mistake out, and
//! whatever of them reaches others is printable, so that nobody writes to their terminals.

#[cfg(any(test, fuzzing))]
pub(crate) mod properties;
#[cfg(test)]
mod tests;

/// Longest name of a room or a speaker, in bytes.
const NAME_MAX: usize = 32;
const NO_NAME: &str = "a name is 1 to 32 letters, digits, '-', '_' or '.'";
const HELP: &str = "text is said; commands are /join ROOM, /name NAME, /who, /quit";

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command<'a> {
    Join(&'a str),
    Name(&'a str),
    Who,
    Quit,
    /// Printable, and at most three times as long as it came: a byte becomes U+FFFD at worst.
    Say(String),
}

pub(crate) fn parse(line: &[u8]) -> Result<Command<'_>, &'static str> {
    let line = line.trim_ascii_end();
    let end = line.iter().position(u8::is_ascii_whitespace);
    let (word, rest) = line.split_at(end.unwrap_or(line.len()));
    match (word, rest.trim_ascii()) {
        (b"/join", room) => name_of(room).map(Command::Join),
        (b"/name", name) => name_of(name).map(Command::Name),
        (b"/who", b"") => Ok(Command::Who),
        (b"/quit", b"") => Ok(Command::Quit),
        ([b'/', ..], _) | (b"", b"") => Err(HELP),
        _ => Ok(Command::Say(printable(line))),
    }
}

/// What stands before and behind a name is told from it.
fn name_of(word: &[u8]) -> Result<&str, &'static str> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    let is_name = word.iter().all(is_plain) && (1..=NAME_MAX).contains(&word.len());
    let name = str::from_utf8(word).ok().filter(|_| is_name);
    name.ok_or(NO_NAME)
}

fn printable(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text).replace('\t', " ");
    text.replace(drives_terminals, "\u{fffd}")
}

/// Control characters, and those that end a line or turn its direction.
fn drives_terminals(char: char) -> bool {
    char.is_control() || matches!(char, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
