//! The code blocks of the documents, which `cargo test -p tests --doc` compiles and runs.

#[doc = include_str!("../../README.md")]
mod readme {}

#[doc = include_str!("../../docs/guide.md")]
mod guide {}
