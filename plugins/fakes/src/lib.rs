//! Strict fakes of services that cannot be reached from a test: each refuses what its vendor would refuse, by the
//! vendor's published schema and limits, and can be told to be slow, busy, away or wrong. One module a vendor. A fake
//! listens on loopback, on a port that the system gives, and is gone with its handle.

pub mod discord;
pub mod github;
pub mod host;
pub mod ntfy;
pub mod slack;
