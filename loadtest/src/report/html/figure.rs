//! A plot on the page: its title, how to read it, and the drawing for every width.

use maud::{Markup, html};

use super::canvas::Form;

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
