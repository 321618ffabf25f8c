//! The results of a run, shown: as text (the `Display` of [`Report`](crate::data::Report)), as JSON
//! (its `Serialize`), or as a [`page`]. The pages are made of the parts in [`html`].

pub mod html;
pub mod page;
mod text;
