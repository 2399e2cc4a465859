//! The conformance suite of the runtime slot.
