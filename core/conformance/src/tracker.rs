//! The conformance suite of the tracker slot.
