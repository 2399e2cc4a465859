//! Opens a session by attaching to its tmux pane in the terminal of the client that asks.
//!
//! Works wherever the client sits at a terminal, also over ssh; opens no window.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use ao_slots::{
    Call, PluginError, SessionId,
    call::Answer,
    plugin::{self, Registration},
    process,
    terminal::{OpenRequest, Opened, Terminal},
};
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The plugin's name in the config.
pub const NAME: &str = "tmux-attach";

/// How the core finds this plugin.
pub fn registration() -> Registration<dyn Terminal> {
    Registration {
        name: NAME,
        about: "Attaches to the session in the terminal at hand",
        schema: || schemars::schema_for!(Settings),
        check: |value| plugin::settings::<Settings>(NAME, value).map(drop),
        build: |value, _| {
            let Settings {} = plugin::settings(NAME, value)?;
            Ok(Arc::new(TmuxAttach::default()))
        },
    }
}

/// There is nothing to set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {}

/// The terminal.
#[derive(Debug, Default)]
pub struct TmuxAttach {
    /// With which command each session was last shown.
    shown: Mutex<HashMap<SessionId, Vec<String>>>,
}

#[async_trait]
impl Terminal for TmuxAttach {
    async fn open(&self, _call: &Call, request: &OpenRequest) -> Result<Opened, PluginError> {
        let (Some(argv), Some(line)) = (&request.attach.argv, request.attach.command_line()) else {
            let what = format!("{} has no screen to attach to", request.session);
            return Err(PluginError::unsupported(what));
        };
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.insert(request.session.clone(), argv.clone());
        Ok(if request.foreground { Opened::RunHere(argv.clone()) } else { Opened::Hint(line) })
    }

    async fn open_all(
        &self,
        call: &Call,
        requests: &[OpenRequest],
    ) -> Result<Vec<Opened>, PluginError> {
        let mut opened = Vec::with_capacity(requests.len());
        for request in requests {
            opened.push(self.open(call, request).await?);
        }
        Ok(opened)
    }

    /// A view is open while the attach command runs; known of what was opened since this server started.
    async fn is_open(&self, _call: &Call, session: &SessionId) -> Result<Answer<()>, PluginError> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner).get(session).cloned();
        Ok(match shown {
            Some(argv) if process::runs(&argv) => Answer::Yes(()),
            Some(_) if cfg!(target_os = "linux") => Answer::No,
            _ => Answer::Unknown(format!("{session} was not opened from here")),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ao_conformance::terminal::{self as conformance, Harness};
    use ao_slots::runtime::AttachInfo;

    use super::*;

    struct House(Arc<TmuxAttach>);

    impl Harness for House {
        fn terminal(&self) -> Arc<dyn Terminal> {
            self.0.clone()
        }
    }

    #[tokio::test]
    async fn it_keeps_the_contract_of_terminals() {
        conformance::all(&House(Arc::default())).await;
    }

    #[tokio::test]
    async fn the_client_runs_the_attach_command_and_the_view_is_seen_while_it_runs() {
        let argv: Vec<String> = ["env", "-u", "TMUX", "sleep", "98765.5"].map(str::to_owned).into();
        let attach = AttachInfo { argv: Some(argv.clone()), title: "app-1".to_owned() };
        let session: SessionId = "app-1".parse().unwrap();
        let mut request =
            OpenRequest { session: session.clone(), attach, env: [].into(), foreground: true };
        let call = Call::new("test", Duration::from_secs(10));
        let terminal = TmuxAttach::default();
        let unknown = terminal.is_open(&call, &session).await;
        assert!(matches!(unknown, Ok(Answer::Unknown(_))));
        let opened = terminal.open(&call, &request).await;
        assert_eq!(opened, Ok(Opened::RunHere(argv.clone())));
        assert_eq!(terminal.is_open(&call, &session).await, Ok(Answer::No));
        let mut command = tokio::process::Command::new(&argv[0]);
        let mut view = command.args(&argv[1..]).kill_on_drop(true).spawn().unwrap();
        while terminal.is_open(&call, &session).await != Ok(Answer::Yes(())) {
            assert_eq!(view.try_wait().unwrap(), None, "the view ended and was never seen");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        view.kill().await.unwrap();
        assert_eq!(terminal.is_open(&call, &session).await, Ok(Answer::No));
        request.foreground = false;
        let opened = terminal.open(&call, &request).await;
        assert_eq!(opened, Ok(Opened::Hint("env -u TMUX sleep 98765.5".to_owned())));
    }
}
