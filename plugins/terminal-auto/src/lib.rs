//! Opens the terminal that fits the desktop at hand.
