//! The conformance suite of the agent slot.
