//! One conformance suite per plugin slot: each heading of a trait's contract has a case, and each case is
//! shown to catch a deliberately wrong fake. A plugin's own tests call its slot's suite.

pub mod agent;
pub mod context;
pub mod notifier;
pub mod runtime;
pub mod scm;
pub mod terminal;
pub mod tracker;
pub mod workspace;
