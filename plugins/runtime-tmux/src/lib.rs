//! Runs agents in panes of ao's own tmux server.
