//! Behaviours of the whole engine, each tested on real parts: the `payments` program, PostgreSQL,
//! the sandbox over HTTP. The tests are in `main.rs` and the files that it names.
