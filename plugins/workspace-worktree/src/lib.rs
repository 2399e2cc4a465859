//! Gives each session its own git worktree.
