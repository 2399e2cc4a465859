//! The conformance suite of the scm slot.
