//! The conformance suite of the notifier slot.
