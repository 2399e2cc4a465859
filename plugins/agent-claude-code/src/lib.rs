//! Drives Claude Code through its hooks, transcript and screen.
