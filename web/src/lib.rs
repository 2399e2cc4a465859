//! The `/api` router over the server's handle: the one door for the CLI, hooks, agents and pages.
//!
//! It decides nothing: it reads the state, hands inputs to the loop and words the answers. Who may do what is
//! decided here and nowhere else ([`caller`]).

mod api;
mod assets;
pub mod caller;
pub mod configs;
mod door;
mod error;
mod events;
pub mod hooks;
mod pages;
mod serve;
pub mod summary;
#[cfg(test)]
mod tests;
mod ticket;
pub mod view;

pub use api::{Api, DashboardBody, MOST_BODY, MOST_HOOK, OpenBody, api_router, prs};
pub use configs::Configs;
pub use door::serve_tcp;
pub use error::{Code, Problem};

pub use serve::serve_unix;
