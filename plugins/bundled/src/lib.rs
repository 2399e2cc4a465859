//! The one list of built-in plugins.
