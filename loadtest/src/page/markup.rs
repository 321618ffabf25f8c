//! Text into markup: every text of a report passes through [`escape`].

use std::borrow::Cow;

/// A text as markup that shows it. What XML forbids even escaped, control characters of a garbled
/// reply for one, becomes the replacement character.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    if text
        .chars()
        .all(|character| replacement(character).is_none())
    {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match replacement(character) {
            Some(replacement) => escaped.push_str(replacement),
            None => escaped.push(character),
        }
    }
    Cow::Owned(escaped)
}

fn replacement(character: char) -> Option<&'static str> {
    match character {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '"' => Some("&quot;"),
        '\'' => Some("&#39;"),
        '\t' | '\n' => None,
        // A direction override would turn around the text after it, a tag's included.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}' => {
            Some("\u{fffd}")
        }
        character if character.is_control() => Some("\u{fffd}"),
        _ => None,
    }
}

/// A table: its title, what to know about it, the heads of its columns, then rows of cells that are
/// markup already. All but the first column are figures.
pub(super) fn table(
    title: &str,
    caption: &str,
    heads: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> String {
    let heads: String = heads
        .iter()
        .map(|head| format!("<th scope=\"col\">{}</th>", escape(head)))
        .collect();
    let rows: String = rows.into_iter().map(|cells| row(&cells)).collect();
    // Not a <caption>: that would be as wide as the table, which may scroll, and not as the screen.
    format!(
        "<div class=\"table\"><h3>{}</h3><p>{}</p><div class=\"scroll\"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div></div>\n",
        escape(title),
        escape(caption)
    )
}

fn row(cells: &[String]) -> String {
    let Some((first, others)) = cells.split_first() else {
        return String::new();
    };
    let others: String = others
        .iter()
        .map(|cell| format!("<td>{cell}</td>"))
        .collect();
    format!("<tr><th scope=\"row\">{first}</th>{others}</tr>")
}

/// Names and what they stand for, both plain text.
pub(super) fn definitions<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let pairs: String = pairs
        .into_iter()
        .map(|(name, value)| {
            format!(
                "<div><dt>{}</dt><dd>{}</dd></div>",
                escape(name),
                escape(&value)
            )
        })
        .collect();
    format!("<dl>{pairs}</dl>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_escapes_the_escape() {
        assert_eq!(escape("a plain text"), "a plain text");
        assert_eq!(
            escape("<b class=\"x\">Tom & Jerry's</b>"),
            "&lt;b class=&quot;x&quot;&gt;Tom &amp; Jerry&#39;s&lt;/b&gt;"
        );
        assert_eq!(
            escape("\u{1b}[31m\0\u{202e}"),
            "\u{fffd}[31m\u{fffd}\u{fffd}"
        );
    }
}
