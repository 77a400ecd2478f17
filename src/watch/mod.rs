//! The live view: what a running raftq sees and does, on a terminal.
//!
//! ```text
//! feed.rs     threads that ask the control socket, and switch
//! pair.rs     two looks, and the rates between them
//! view.rs     what a person has chosen, and what keys do
//! draw/       from looks and choices to a frame; no I/O
//! theme.rs    colours, or none
//! screen.rs   the terminal: taken, drawn on, and given back on every way out
//! ```
//!
//! It is a client like any other: it knows what the API tells, and changes what the API lets it. So
//! it disturbs nothing by looking. `draw/` and `view.rs` are pure and tested as text.

pub mod draw;
pub mod feed;
pub mod pair;
pub mod screen;
pub mod theme;
pub mod view;
