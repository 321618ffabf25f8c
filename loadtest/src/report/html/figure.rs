//! A plot on the page: its title, how to read it, and the drawing for every width.

use maud::{Markup, html};

use super::canvas::Form;

/// A drawing in a figure.
pub trait Drawing {
    /// As one SVG element, with a `name` for those who do not see it.
    fn svg(&self, form: Form, name: &str) -> Markup;
}

/// A plot, or why there is none.
pub struct Figure {
    title: String,
    /// One sentence: how to read it, or why there is none.
    reading: String,
    drawing: Option<Box<dyn Drawing>>,
    /// Half as wide as the page: two of them side by side where there is room.
    is_half: bool,
}

impl Figure {
    /// As wide as the page.
    pub fn new(title: &str, reading: impl Into<String>, drawing: impl Drawing + 'static) -> Self {
        Self {
            title: title.to_owned(),
            reading: reading.into(),
            drawing: Some(Box::new(drawing)),
            is_half: false,
        }
    }

    /// A sentence where there is nothing to draw.
    pub fn empty(title: &str, sentence: impl Into<String>) -> Self {
        Self {
            title: title.to_owned(),
            reading: sentence.into(),
            drawing: None,
            is_half: false,
        }
    }

    /// Half as wide.
    pub fn half(self) -> Self {
        Self {
            is_half: true,
            ..self
        }
    }

    fn html(&self) -> Markup {
        let name = format!("{}. {}", self.title, self.reading);
        let (class, forms): (_, &[Form]) = match self.drawing {
            None => ("none", &[]),
            Some(_) if self.is_half => ("half", &[Form::Narrow]),
            Some(_) => ("full", &[Form::Wide, Form::Narrow]),
        };
        html! {
            figure class=(class) {
                figcaption { h3 { (self.title) } p { (self.reading) } }
                @if let Some(drawing) = &self.drawing {
                    @for form in forms { (drawing.svg(*form, &name)) }
                }
            }
        }
    }
}

/// The figures as cards.
pub fn figures(figures: impl IntoIterator<Item = Figure>) -> impl Iterator<Item = Markup> {
    figures.into_iter().map(|figure| figure.html())
}
