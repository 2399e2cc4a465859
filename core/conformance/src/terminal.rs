//! The conformance suite of the terminal slot.
