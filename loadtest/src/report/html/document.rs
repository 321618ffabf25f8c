//! The frame of a page, its cards, and its texts.

use std::fmt;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::canvas::Form;

/// Among it a policy that lets the page load and run nothing, whatever a text of the report may
/// try.
const HEAD: &str = include_str!("head.html");
const STYLE: &str = include_str!("page.css");

/// A page, printable whatever the texts in it.
pub fn document(title: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html xmlns="http://www.w3.org/1999/xhtml" lang="en" {
            head {
                (PreEscaped(HEAD))
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { main { (body) } }
        }
    };
    printable(&page.into_string())
}

/// Replaces the characters that XML forbids even escaped, such as control characters of a garbled
/// reply.
fn printable(page: &str) -> String {
    let shown = |character: char| match character {
        '\t' | '\n' => character,
        // A direction override would turn around the text after it, a tag's included.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
        _ if character.is_control() => '\u{fffd}',
        _ => character,
    };
    page.chars().map(shown).collect()
}

/// How it ended, at the head of a page: a character, a word, and "good", "bad" or "void".
#[derive(Debug, Clone, Copy)]
pub struct Badge(pub &'static str, pub &'static str, pub &'static str);

/// The head of a page: kind and subject of the report, and the whole in one sentence.
pub fn header(
    Badge(mark, word, class): Badge,
    (what, subject): (&str, &str),
    began: &str,
    sentence: &str,
    notes: &[String],
) -> Markup {
    html! {
        header class=(class) {
            p class="kicker" {
                span class="badge" { span aria-hidden="true" { (mark) } " " (word) }
                " " (what) " of " b { (subject) } ", "
                span class="moment" { (super::units::moment(began)) }
            }
            h1 { (sentence) }
            @for note in notes { p class="note" { (note) } }
        }
    }
}

/// A part of the page.
pub fn section(title: &str, content: &Markup) -> Markup {
    html! { section { h2 { (title) } (content) } }
}

/// Cards one below the other, or beside each other where there is room.
pub fn grid(cards: impl IntoIterator<Item = Markup>) -> Markup {
    html! { div class="grid" { @for card in cards { (card) } } }
}

/// A drawing in a figure.
pub trait Drawing {
    /// As one SVG element, with a `name` for those who do not see it.
    fn svg(&self, form: Form, name: &str) -> Markup;
}

/// A plot as wide as the page. `reading` is one sentence: how to read it.
pub fn figure(title: &str, reading: &str, drawing: &impl Drawing) -> Markup {
    let name = format!("{title}. {reading}");
    let forms = [Form::WIDE, Form::NARROW].map(|form| drawing.svg(form, &name));
    card("full", title, reading, &forms)
}

/// The same half as wide: two of them side by side where there is room.
pub fn half_figure(title: &str, reading: &str, drawing: &impl Drawing) -> Markup {
    let drawing = drawing.svg(Form::NARROW, &format!("{title}. {reading}"));
    card("half", title, reading, &[drawing])
}

/// A sentence where there is nothing to draw.
pub fn no_figure(title: &str, sentence: &str) -> Markup {
    card("none", title, sentence, &[])
}

fn card(class: &str, title: &str, sentence: &str, drawings: &[Markup]) -> Markup {
    html! {
        figure class=(class) {
            figcaption { h3 { (title) } p { (sentence) } }
            @for drawing in drawings { (drawing) }
        }
    }
}

/// A cell that is plain text.
pub fn cell(text: impl fmt::Display) -> Markup {
    html! { (text) }
}

/// A table: its title, a caption, the heads of its columns, then rows of cells. All but the first
/// column are figures.
pub fn table(
    title: &str,
    caption: &str,
    heads: &[&str],
    rows: impl IntoIterator<Item = Vec<Markup>>,
) -> Markup {
    // Not a <caption>: that would be as wide as the table, which may scroll, and not as the screen.
    html! {
        div class="table" {
            h3 { (title) }
            p { (caption) }
            div class="scroll" {
                table {
                    thead { tr { @for head in heads { th scope="col" { (head) } } } }
                    tbody { @for row in rows { tr {
                        @for (index, cell) in row.iter().enumerate() {
                            @if index == 0 { th scope="row" { (cell) } } @else { td { (cell) } }
                        }
                    } } }
                }
            }
        }
    }
}

/// A setting: its name and its value, plain text.
pub fn pair(name: &str, value: impl fmt::Display) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

/// A command line, and settings under their titles.
pub fn settings(command: &str, parts: &[(&str, Markup)]) -> Markup {
    html! {
        h3 { "Command line" }
        pre { code { (command) } }
        div class="columns" { @for (title, pairs) in parts {
            div {
                h3 { (title) }
                dl { (pairs) }
            }
        } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_escapes_the_escape() {
        let shown = |text: &str| printable(&cell(text).into_string());
        assert_eq!(shown("a plain text"), "a plain text");
        assert_eq!(
            shown("<b class=\"x\">Tom & Jerry</b>"),
            "&lt;b class=&quot;x&quot;&gt;Tom &amp; Jerry&lt;/b&gt;"
        );
        assert_eq!(
            shown("\u{1b}[31m\0\u{202e}"),
            "\u{fffd}[31m\u{fffd}\u{fffd}"
        );
    }
}
