//! Opens nothing: for machines where nobody looks in. Says what a human can type instead.

use std::sync::Arc;

use ao_slots::{
    Call, PluginError, SessionId,
    call::Answer,
    plugin::{self, Registration},
    terminal::{OpenRequest, Opened, Terminal},
};
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The plugin's name in the config.
pub const NAME: &str = "none";

/// How the core finds this plugin.
pub fn registration() -> Registration<dyn Terminal> {
    Registration {
        name: NAME,
        about: "Opens nothing and says what to type",
        schema: || schemars::schema_for!(Settings),
        check: |value| plugin::settings::<Settings>(NAME, value).map(drop),
        build: |value, _| {
            let Settings {} = plugin::settings(NAME, value)?;
            Ok(Arc::new(NoTerminal))
        },
    }
}

/// There is nothing to set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {}

/// The terminal.
#[derive(Debug, Clone, Copy)]
pub struct NoTerminal;

#[async_trait]
impl Terminal for NoTerminal {
    async fn open(&self, _call: &Call, request: &OpenRequest) -> Result<Opened, PluginError> {
        request.attach.command_line().map(Opened::Hint).ok_or_else(|| {
            PluginError::unsupported(format!("{} has no screen to look at", request.session))
        })
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

    async fn is_open(&self, _call: &Call, _session: &SessionId) -> Result<Answer<()>, PluginError> {
        Ok(Answer::Unknown(format!("the terminal `{NAME}` sees no windows")))
    }
}

#[cfg(test)]
mod tests {
    use ao_conformance::terminal::{self as conformance, Harness};
    use ao_slots::runtime::AttachInfo;

    use super::*;

    struct House;

    impl Harness for House {
        fn terminal(&self) -> Arc<dyn Terminal> {
            Arc::new(NoTerminal)
        }
    }

    #[tokio::test]
    async fn it_keeps_the_contract_of_terminals() {
        conformance::all(&House).await;
    }

    #[tokio::test]
    async fn it_says_what_to_type_and_nothing_else() {
        let request = OpenRequest {
            session: "app-1".parse().unwrap(),
            attach: AttachInfo {
                argv: Some(["tmux", "attach", "-t", "=app-1~1"].map(str::to_owned).into()),
                title: "app-1".to_owned(),
            },
            env: [("DISPLAY".to_owned(), ":0".to_owned())].into(),
            foreground: true,
        };
        let call = Call::new("test", std::time::Duration::from_secs(10));
        let opened = NoTerminal.open(&call, &request).await;
        assert_eq!(opened, Ok(Opened::Hint("tmux attach -t '=app-1~1'".to_owned())));
        assert!((registration().check)(&serde_json::json!({"program": "xterm"})).is_err());
        (registration().check)(&serde_json::json!({})).unwrap();
    }
}
