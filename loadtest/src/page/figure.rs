//! A plot on the page: its title, how to read it, and both forms of the drawing.

use super::markup::escape;
use super::plot::{Form, Plot};

/// A plot, or why there is none.
pub(super) struct Figure {
    title: String,
    /// One sentence: how to read it.
    reading: String,
    content: Content,
}

enum Content {
    Plot(Box<Plot>),
    /// Half as wide: two of them side by side where there is room.
    HalfPlot(Box<Plot>),
    /// What there is to say instead.
    Sentence(String),
}

impl Figure {
    pub(super) fn new(title: &str, reading: impl Into<String>, plot: Plot) -> Self {
        Self { title: title.to_owned(), reading: reading.into(), content: Content::Plot(Box::new(plot)) }
    }

    pub(super) fn half(title: &str, reading: impl Into<String>, plot: Plot) -> Self {
        Self { title: title.to_owned(), reading: reading.into(), content: Content::HalfPlot(Box::new(plot)) }
    }

    pub(super) fn empty(title: &str, sentence: impl Into<String>) -> Self {
        Self { title: title.to_owned(), reading: String::new(), content: Content::Sentence(sentence.into()) }
    }

    pub(super) fn html(&self) -> String {
        let title = escape(&self.title);
        let reading = escape(&self.reading);
        let (class, body) = match &self.content {
            Content::Plot(plot) => ("full", self.drawing(plot, &[Form::Wide, Form::Narrow])),
            Content::HalfPlot(plot) => ("half", self.drawing(plot, &[Form::Narrow])),
            Content::Sentence(sentence) => ("none", format!("<p>{}</p>", escape(sentence))),
        };
        let caption = if reading.is_empty() { String::new() } else { format!("<p>{reading}</p>") };
        format!("<figure class=\"{class}\"><figcaption><h3>{title}</h3>{caption}</figcaption>\n{body}</figure>\n")
    }

    fn drawing(&self, plot: &Plot, forms: &[Form]) -> String {
        let drawn = forms.iter().map(|form| plot.svg(*form, &format!("{}. {}", self.title, self.reading)));
        drawn
            .collect::<Result<String, _>>()
            .unwrap_or_else(|error| format!("<p>This plot could not be drawn: {}.</p>", escape(&error.to_string())))
    }
}
