//! Configuration, journal, state, decisions and the server loop of ao.

pub mod config;
