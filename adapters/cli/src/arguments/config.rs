//! The command line of `payments config`.

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
#[command(after_help = "\
Exit status: 0 the settings are right, 2 they are wrong, or wrong usage.\n\n\
Examples:\n  payments config check --config payments.toml\n  \
payments config show --toml > payments.toml\n  \
payments config show --json | jq '.[\"http.max_in_flight\"]'")]
pub(crate) struct ConfigArguments {
    #[command(subcommand)]
    pub(crate) tool: ConfigTool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigTool {
    /// Name each setting that is wrong, with its reason and where it comes from.
    Check,
    /// The settings in force, and where each comes from. Secrets are not shown.
    Show {
        /// As one JSON object.
        #[arg(long)]
        json: bool,
        /// As a file of settings.
        #[arg(long, conflicts_with = "json")]
        toml: bool,
    },
}
