//! The conformance suite of the workspace slot.
