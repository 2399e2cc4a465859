//! Runs agents as plain child processes.
