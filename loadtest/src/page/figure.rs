//! A plot on the page: its title, how to read it, and both forms of the drawing.

use super::markup::escape;
use super::plot::{Form, Plot};
use super::rows::Rows;

/// A plot, or why there is none.
pub(super) struct Figure {
    title: String,
    /// One sentence: how to read it.
    reading: String,
    content: Content,
}

enum Content {
    Full(Drawing),
    /// Half as wide: two of them side by side where there is room.
    Half(Drawing),
    /// What there is to say instead.
    Sentence(String),
}

/// What is drawn.
pub(super) enum Drawing {
    Plot(Box<Plot>),
    Rows(Rows),
}

impl From<Plot> for Drawing {
    fn from(plot: Plot) -> Self {
        Self::Plot(Box::new(plot))
    }
}

impl From<Rows> for Drawing {
    fn from(rows: Rows) -> Self {
        Self::Rows(rows)
    }
}

impl Figure {
    pub(super) fn new(
        title: &str,
        reading: impl Into<String>,
        drawing: impl Into<Drawing>,
    ) -> Self {
        Self {
            title: title.to_owned(),
            reading: reading.into(),
            content: Content::Full(drawing.into()),
        }
    }

    pub(super) fn half(
        title: &str,
        reading: impl Into<String>,
        drawing: impl Into<Drawing>,
    ) -> Self {
        Self {
            title: title.to_owned(),
            reading: reading.into(),
            content: Content::Half(drawing.into()),
        }
    }

    /// As wide as the page, where it was half of that.
    pub(super) fn full(self) -> Self {
        match self.content {
            Content::Half(drawing) => Self {
                content: Content::Full(drawing),
                ..self
            },
            _ => self,
        }
    }

    pub(super) fn empty(title: &str, sentence: impl Into<String>) -> Self {
        Self {
            title: title.to_owned(),
            reading: String::new(),
            content: Content::Sentence(sentence.into()),
        }
    }

    pub(super) fn html(&self) -> String {
        let title = escape(&self.title);
        let reading = escape(&self.reading);
        let (class, body) = match &self.content {
            Content::Full(drawing) => ("full", self.drawn(drawing, &[Form::Wide, Form::Narrow])),
            Content::Half(drawing) => ("half", self.drawn(drawing, &[Form::Narrow])),
            Content::Sentence(sentence) => ("none", format!("<p>{}</p>", escape(sentence))),
        };
        let caption = if reading.is_empty() {
            String::new()
        } else {
            format!("<p>{reading}</p>")
        };
        format!(
            "<figure class=\"{class}\"><figcaption><h3>{title}</h3>{caption}</figcaption>\n{body}</figure>\n"
        )
    }

    fn drawn(&self, drawing: &Drawing, forms: &[Form]) -> String {
        let name = format!("{}. {}", self.title, self.reading);
        let drawn = forms.iter().map(|form| match drawing {
            Drawing::Plot(plot) => plot.svg(*form, &name),
            Drawing::Rows(rows) => rows.svg(*form, &name),
        });
        drawn
            .collect::<Result<String, _>>()
            .unwrap_or_else(|error| {
                format!(
                    "<p>This plot could not be drawn: {}.</p>",
                    escape(&error.to_string())
                )
            })
    }
}
