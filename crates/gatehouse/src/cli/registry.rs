//! What is said to registries on the command line.

use clap::{Args, Subcommand, value_parser};
use std::num::NonZeroU64;
use std::path::PathBuf;

/// What `push` is told.
#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// The configuration.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Where it goes: zk://HOST:PORT/PATH, or another registry's URL that `run -c` takes.
    #[arg(value_name = "URL")]
    pub to: PathBuf,
    /// Only if this version stands there; without it, the one that does.
    #[arg(long, value_name = "N")]
    pub version: Option<u64>,
}

/// What `registry` is told.
#[derive(Debug, Args)]
pub(crate) struct RegistryArgs {
    /// What to do there.
    #[command(subcommand)]
    pub action: RegistryAction,
}

/// What `registry` does.
#[derive(Debug, Subcommand)]
pub(crate) enum RegistryAction {
    /// List the children of a node.
    #[command(after_help = "Example:\n  gatehouse registry ls -l zk://zk1:2181/services/users")]
    Ls {
        /// The node: zk://HOST:PORT,HOST:PORT/PATH.
        url: String,
        /// Also version, bytes, children, and the session it ends with.
        #[arg(short, long)]
        long: bool,
    },
    /// Print what a node holds.
    #[command(after_help = "Example:\n  gatehouse registry get zk://zk1:2181/gatehouse/config")]
    Get {
        /// The node.
        url: String,
    },
    /// Write a node, and make it where it is not there.
    #[command(after_help = "Examples:\n  gatehouse registry set zk://zk1:2181/weights \
                            '10.0.0.1:80=20'\n  gatehouse registry set zk://zk1:2181/weights - \
                            --version 3 < weights")]
    Set {
        /// The node.
        url: String,
        /// What it is to hold; `-` is standard input.
        value: String,
        /// Only if it has this version.
        #[arg(long, value_name = "N", value_parser = value_parser!(i32).range(0..))]
        version: Option<i32>,
    },
    /// Print what happens to a node and its children, until Ctrl-C.
    #[command(after_help = "Example:\n  gatehouse registry watch zk://zk1:2181/services/users")]
    Watch {
        /// The node.
        url: String,
        /// End after so many lines.
        #[arg(long, value_name = "N")]
        lines: Option<NonZeroU64>,
    },
    /// Announce an address beneath a node, until Ctrl-C.
    #[command(after_help = "Example:\n  gatehouse registry register zk://zk1:2181/services/users \
                            10.0.0.1:8080 --weight 3")]
    Register {
        /// The node beneath which it is announced.
        url: String,
        /// What is announced: HOST:PORT.
        address: String,
        /// Its share of the load.
        #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..))]
        weight: Option<u16>,
        /// Where it stands.
        #[arg(long, value_name = "NAME")]
        zone: Option<String>,
    },
}
