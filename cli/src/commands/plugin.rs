//! `ao plugin`.

use crate::{
    cx::Cx,
    fail::Fail,
    out::{self, Tone},
};

/// List the plugins
///
/// Examples:
///   ao plugin ls
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Cmd {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// The plugins that a configuration may name
    ///
    /// Examples:
    ///   ao plugin ls
    ///   ao plugin ls --json
    #[command(verbatim_doc_comment)]
    Ls,
}

impl Cmd {
    pub(crate) async fn run(&self, cx: &Cx) -> Result<u8, Fail> {
        let What::Ls = self.what;
        let plugins = ao_core::registry::Registry::new(ao_plugins_bundled::all()).list();
        if cx.global.json {
            out::json(&serde_json::json!({ "schema": "ao.plugins/1", "plugins": plugins }));
            return Ok(0);
        }
        for plugin in plugins {
            let name = cx.style.paint(Tone::Accent, &out::pad(plugin.name, 16));
            out::say(&format!(
                "{}{name}{}",
                out::pad(plugin.slot, 11),
                cx.style.cut(plugin.about, cx.style.width.saturating_sub(27))
            ));
        }
        Ok(0)
    }
}
