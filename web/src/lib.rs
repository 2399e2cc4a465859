//! The /api router of ao over the server's handle.
