//! Opens a session by attaching to its tmux pane.
