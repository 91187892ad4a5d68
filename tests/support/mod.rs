//! Real parts for tests: the engine and the sandbox as processes, a client, and the books.

pub(crate) mod books;
pub(crate) mod client;
pub(crate) mod load;
pub(crate) mod process;

pub(crate) use books::Books;
pub(crate) use client::{Client, Payment};
pub(crate) use process::{Engine, SandboxProcess};
