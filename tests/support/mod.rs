//! Real parts for tests: the engine and the sandbox as processes, a client, and the books.

pub(crate) mod authority;
pub(crate) mod books;
pub(crate) mod chance;
pub(crate) mod client;
pub(crate) mod collector;
pub(crate) mod database;
pub(crate) mod files;
pub(crate) mod folder;
pub(crate) mod issuer;
pub(crate) mod jaeger;
pub(crate) mod kafka;
pub(crate) mod load;
pub(crate) mod parts;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod raw;
pub(crate) mod read_models;
pub(crate) mod receiver;
pub(crate) mod scene;
pub(crate) mod store;
pub(crate) mod units;
pub(crate) mod webhooks;

pub(crate) use books::Books;
pub(crate) use chance::Chance;
pub(crate) use client::{Client, Payment};
pub(crate) use database::TestDatabase;
pub(crate) use load::{Acknowledged, Load};
pub(crate) use process::{Engine, SandboxProcess};
pub(crate) use scene::{Scene, eventually};
