//! Drives any command as an agent.
