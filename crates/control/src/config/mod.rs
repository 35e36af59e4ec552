//! What the operator wrote, understood and lowered into what the data plane obeys.
//!
//! One schema table says which keys there are; [`load`] reads a file by it, reports every problem
//! at once with its place, and lowers the rest into a [`Plan`]. Nothing here opens a socket,
//! resolves a name or keeps state.

mod command_line;
mod discovery;
mod env;
mod glob;
mod json;
mod layout;
mod lower;
mod near;
mod node_url;
mod probe;
mod problem;
mod read;
mod register;
mod registries;
mod render;
mod schema;
mod secret;
mod source;
mod tls;
mod tree;
mod understand;
mod units;
mod zookeeper;

pub use command_line::{CommandLine, command_line_flag, command_line_text};
pub use discovery::{
    Beneath, DiscoverySpec, DnsAsks, DnsFamily, DnsSource, FileSource, SourceSpec,
};
pub use env::{Env, ProcessEnv};
pub use json::Json;
pub use layout::{NotToml, layout};
pub use lower::{AccessTo, Expect, Expected};
pub(crate) use lower::{endpoint_address, registry_server, state_folder};
pub use node_url::NodeUrl;
pub use probe::{
    About, Answer, Carried, Choice, Forwarded, ListenerWhy, Outcome, Question, QuestionFault,
    RouteVerdict, ask, differences, parse_request,
};
pub use problem::{Kind, PROBLEMS_MAX, Problem, Related, Severity};
pub use register::RegisterSpec;
pub use registries::{Checks, ConsulSource, EtcdSource, EtcdSpec, Login, RegistryTls, Server};
pub use render::{Paint, problem_json, render};
pub use schema::{json_schema, markdown};
pub use secret::Secret;
pub use source::{FileId, LineColumn, Place, Source, Sources};
pub use tls::{
    AcmeOrder, AcmeSpec, CertificateSpec, ClientCert, FileSpec, ListenerTls, Proof, TlsSpecs,
    Trust, UpstreamTls,
};
pub(crate) use units::duration;
pub use zookeeper::{ZooKeeperMechanism, ZooKeeperServers, ZooKeeperSource};
pub(crate) use zookeeper::{ZooKeeperTls, first_weights};

use gatehouse_core::plan::Plan;
use problem::Report;
use read::Reader;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tree::Table;

/// A configuration as it was read.
#[derive(Debug)]
pub struct Loaded {
    /// The files it was read from; every [`Place`] refers to them.
    pub sources: Sources,
    /// What is wrong with it, in the order of the places; at most [`PROBLEMS_MAX`].
    pub problems: Vec<Problem>,
    /// How many more problems there were.
    pub left_out: usize,
    /// The patterns of its includes, as paths.
    pub includes: Vec<PathBuf>,
    /// Where a gateway that it was written for can be asked, as far as that can be told: known also
    /// where other things are wrong.
    pub admin: Option<SocketAddr>,
    /// What it means; `None` where one of the problems is an error.
    pub lowered: Option<Lowered>,
}

/// What a configuration means.
#[derive(Debug)]
pub struct Lowered {
    /// What the data plane obeys.
    pub plan: Plan,
    /// Which certificates it needs; they are not read yet.
    pub tls: TlsSpecs,
    /// Where the endpoints of each upstream come from, in the order of their ids; `None` where
    /// they are written.
    pub discovery: Vec<Option<Arc<DiscoverySpec>>>,
    /// What is announced in registries.
    pub register: Vec<Arc<RegisterSpec>>,
    /// Threads that serve; `None` is one per core.
    pub workers: Option<NonZeroUsize>,
    /// Where the admin interface listens; always a loopback address.
    pub admin: Option<SocketAddr>,
    /// Where exchanges are logged; the plan says how, and whether.
    pub access_log: AccessTo,
    /// The `[[expect]]` rows.
    pub expects: Vec<Expect>,
    /// Where the plan's parts were written.
    pub places: Places,
}

/// Where a plan's parts were written, in the order of their ids.
#[derive(Debug, Default)]
pub struct Places {
    /// The listeners' names.
    pub listeners: Vec<Place>,
    /// The routes.
    pub routes: Vec<Place>,
    /// The upstreams' names; for one written inside a route, that.
    pub upstreams: Vec<Place>,
    /// The access log's file.
    pub access_log: Place,
}

/// How loading went, for whoever has to give an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It can be run.
    Fine,
    /// What is written is wrong.
    Refused,
    /// The main file cannot be read.
    Unreadable,
}

impl Loaded {
    /// How it went.
    pub fn verdict(&self) -> Verdict {
        match &self.lowered {
            Some(_) => Verdict::Fine,
            None if self.problems.iter().any(|problem| problem.kind == Kind::Unreadable) => {
                Verdict::Unreadable
            }
            None => Verdict::Refused,
        }
    }
}

/// Loads a configuration file and what it includes.
pub fn load(path: &Path, env: &dyn Env) -> Loaded {
    load_by(env, |reader| reader.main(path))
}

/// Loads a text as if it were a file called `name` in the current folder.
pub fn load_text(name: &str, text: &str, env: &dyn Env) -> Loaded {
    load_by(env, |reader| reader.text(name, text))
}

/// Loads a text that somebody has found elsewhere, or says why there is none; `name` is where.
pub(crate) fn load_found(name: &str, text: Result<&str, &str>, env: &dyn Env) -> Loaded {
    load_by(env, |reader| match text {
        Ok(text) => reader.text(name, text),
        Err(why) => reader.unreadable(name, why),
    })
}

fn load_by(env: &dyn Env, read: impl FnOnce(&mut Reader<'_>)) -> Loaded {
    let mut report = Report::default();
    let mut sources = Sources::default();
    let mut reader = Reader::new(env, &mut report, &mut sources);
    read(&mut reader);
    let (trees, includes): (Vec<Table>, Vec<PathBuf>) = (reader.trees, reader.includes);
    let lowered = match trees.is_empty() {
        true => None,
        false => lower::lower(&trees, &sources, env, &mut report),
    };
    let (problems, left_out) = report.finish();
    let admin = trees.iter().find_map(admin_of);
    Loaded { sources, problems, left_out, includes, admin, lowered }
}

fn admin_of(tree: &Table) -> Option<SocketAddr> {
    let bind = tree.table("admin")?.text("bind")?;
    bind.text.parse().ok().filter(|address: &SocketAddr| address.ip().to_canonical().is_loopback())
}
