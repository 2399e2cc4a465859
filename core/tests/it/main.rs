//! The server as a whole, on plugins that live in memory and a disk that can be told to fail.

mod harness;
mod server;
