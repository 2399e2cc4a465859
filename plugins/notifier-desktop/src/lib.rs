//! Shows notifications on the desktop over D-Bus.
