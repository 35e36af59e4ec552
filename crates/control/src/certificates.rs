//! Certificates, keys and roots: read from the files a configuration names, made into what the data
//! plane shakes hands with, and looked at again while it runs.
//!
//! A key is never shown, and no fault repeats what a file holds.

mod before;

pub use before::Before;

use crate::acme::placeholder;
use crate::config::{
    AcmeSpec, CertificateSpec, ClientCert, FileSpec, Kind, ListenerTls, Loaded, Place, Problem,
    RegistryTls, Severity, TlsSpecs, Trust, UpstreamTls,
};
use before::continued;
use gatehouse_core::plan::{Plan, UpstreamId};
use gatehouse_proxy::credentials::Credentials;
use gatehouse_wire::tls::{
    Certificate, ClientAuth, ClientSide, ClientSpec, Identity, IdentityFault, MinVersion, Policy,
    Roots, ServerEntry, ServerFault, ServerSide, Verify,
};
use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// A certificate that ends sooner is warned of, or, if it lives less than six weeks, in the last
/// third of its life.
const EXPIRY_NEAR: Duration = Duration::from_secs(14 * DAY);

const DAY: u64 = 24 * 3600;

/// Credentials, and what they were made from.
#[derive(Clone, Debug, Default)]
pub struct Prepared {
    /// What the data plane is given.
    pub credentials: Arc<Credentials>,
    /// How every file stood before it was read.
    stamps: BTreeMap<PathBuf, Stamp>,
    /// How they stood at the last look, where that was otherwise.
    changing: Option<Vec<Stamp>>,
    /// The names of the listeners, in the order of their credentials.
    listeners: Vec<Box<str>>,
    /// The upstreams' names, and what their sides were made from.
    upstreams: Vec<(Arc<str>, u64)>,
}

/// How a file stands: changed files have another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stamp {
    Missing,
    Seen { device: u64, inode: u64, bytes: u64, seconds: i64, nanos: i64 },
}

impl Stamp {
    fn of(path: &Path) -> Stamp {
        std::fs::metadata(path).map_or(Stamp::Missing, |seen| Stamp::Seen {
            device: seen.dev(),
            inode: seen.ino(),
            bytes: seen.len(),
            seconds: seen.mtime(),
            nanos: seen.mtime_nsec(),
        })
    }
}

/// Whether files are as they were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// They are.
    AsRead,
    /// One at least is not, and was another at the look before this one: whoever writes them may
    /// not have come to an end.
    Changing,
    /// One at least is not, and all have stood still since the look before.
    Changed,
}

/// Reads the files of a configuration that can be run. What is wrong with them is added to its
/// problems; after an error it cannot be run any more.
pub fn prepare(loaded: &mut Loaded, before: Option<Before<'_>>) -> Option<Prepared> {
    let lowered = loaded.lowered.as_ref()?;
    let (prepared, problems) = make(&lowered.tls, &lowered.plan, SystemTime::now(), before);
    loaded.problems.extend(problems);
    loaded.problems.sort_by_key(|problem| problem.place);
    if prepared.is_none() {
        loaded.lowered = None;
    }
    prepared
}

/// The same of what a configuration means; the problems are the caller's.
pub fn make(
    specs: &TlsSpecs,
    plan: &Plan,
    now: SystemTime,
    before: Option<Before<'_>>,
) -> (Option<Prepared>, Vec<Problem>) {
    let continued = continued(before, plan);
    let before = before.map(|before| before.prepared);
    let mut maker = Maker { now, before, problems: Vec::new(), stamps: BTreeMap::new() };
    let mut credentials = Credentials::default();
    let mut prepared = Prepared::default();
    specs.acme.iter().for_each(|order| maker.authority(&order.spec));
    for (spec, listener) in specs.listeners.iter().zip(&plan.listeners) {
        let side = spec.as_ref().and_then(|spec| maker.listener(&listener.name, spec));
        credentials.listeners.push(side.map(Arc::new));
        prepared.listeners.push(listener.name.clone());
    }
    for ((spec, upstream), of) in specs.upstreams.iter().zip(&plan.upstreams).zip(continued) {
        let made = spec.as_ref().map(|spec| maker.upstream(&upstream.name, spec, of));
        let (side, digest) = made.unwrap_or_default();
        credentials.upstreams.push(side);
        prepared.upstreams.push((Arc::clone(&upstream.name), digest));
    }
    prepared.credentials = Arc::new(credentials);
    prepared.stamps = maker.stamps;
    let sound = maker.problems.iter().all(|problem| problem.severity == Severity::Warning);
    (sound.then_some(prepared), maker.problems)
}

impl Prepared {
    /// Whether there are files to look at.
    pub fn is_empty(&self) -> bool {
        self.stamps.is_empty()
    }

    /// Looks at all files. A change is told once, whatever becomes of it.
    pub fn look(&mut self) -> Files {
        let now: Vec<Stamp> = self.stamps.keys().map(|path| Stamp::of(path)).collect();
        if self.stamps.values().eq(&now) {
            self.changing = None;
            return Files::AsRead;
        }
        if self.changing.as_ref() != Some(&now) {
            self.changing = Some(now);
            return Files::Changing;
        }
        self.changing = None;
        self.stamps.values_mut().zip(now).for_each(|(stamp, now)| *stamp = now);
        Files::Changed
    }

    fn listener(&self, name: &str) -> Option<&ServerSide> {
        let at = self.listeners.iter().position(|own| **own == *name)?;
        self.credentials.listeners.get(at)?.as_deref()
    }

    /// The side of this upstream, where it was made from the same: its sessions and connections
    /// go on.
    fn upstream(&self, id: UpstreamId, digest: u64) -> Option<Arc<ClientSide>> {
        let at = id.0 as usize;
        let (_, own) = self.upstreams.get(at)?;
        self.credentials.upstreams.get(at).filter(|_| *own == digest)?.clone()
    }
}

impl PartialEq for Prepared {
    /// Whether they were made from files that stand as the other's did.
    fn eq(&self, other: &Prepared) -> bool {
        self.stamps == other.stamps && self.upstreams == other.upstreams
    }
}

/// Reads files and remembers how they stood.
struct Maker<'a> {
    now: SystemTime,
    before: Option<&'a Prepared>,
    problems: Vec<Problem>,
    stamps: BTreeMap<PathBuf, Stamp>,
}

impl Maker<'_> {
    /// Looks whether an authority could be believed.
    fn authority(&mut self, spec: &AcmeSpec) {
        let Some(file) = &spec.roots else { return };
        if let Some(pem) = self.read(file)
            && let Err(fault) = Roots::from_pem(&pem)
        {
            self.fault(file, &fault);
        }
    }

    fn listener(&mut self, name: &str, spec: &ListenerTls) -> Option<ServerSide> {
        let mut entries = Vec::new();
        let mut places: Vec<&CertificateSpec> = Vec::new();
        for certificate in &spec.certificates {
            if let Some(entry) = self.entry(certificate) {
                entries.push(entry);
                places.push(certificate);
            }
        }
        if entries.len() < spec.certificates.len() || entries.is_empty() {
            return None;
        }
        let protocols: Vec<&[u8]> = spec.protocols.iter().map(|name| name.as_bytes()).collect();
        let before = self.before.and_then(|before| before.listener(name));
        match ServerSide::new(&entries, &protocols, before) {
            Ok(side) => Some(side),
            Err(fault) => {
                let at = match &fault {
                    ServerFault::Contradiction { entries, .. } => entries[1],
                    _ => 0,
                };
                let place = places.get(at).map_or(Place::default(), |spec| spec.cert.place);
                let mut problem = error(place, format!("listener {name}: {fault}"));
                if let ServerFault::Contradiction { entries: [first, _], .. } = fault
                    && let Some(first) = places.get(first)
                {
                    problem = problem.related(first.cert.place, "the first");
                }
                self.problems.push(problem);
                None
            }
        }
    }

    fn entry(&mut self, spec: &CertificateSpec) -> Option<ServerEntry> {
        let identity = match &spec.acme {
            Some(name) => self.obtained(&spec.cert, name),
            None => self.identity(&spec.cert, &spec.key, spec.ocsp.as_ref()),
        };
        let client = match &spec.client {
            ClientCert::None => Some(ClientAuth::None),
            ClientCert::Optional(file) => self.issuers(file).map(ClientAuth::Optional),
            ClientCert::Required(file) => self.issuers(file).map(ClientAuth::Required),
        };
        let identity = identity?;
        if identity.names().is_empty() {
            let path = spec.cert.path.display();
            let reason =
                format!("{path} names no host: only clients that ask for none are shown it");
            self.problems.push(warning(spec.cert.place, reason));
        }
        let policy =
            Policy { min_version: spec.min_version, suites: spec.ciphers.clone(), client: client? };
        Some(ServerEntry { identity, policy })
    }

    fn identity(
        &mut self,
        cert: &FileSpec,
        key: &FileSpec,
        ocsp: Option<&FileSpec>,
    ) -> Option<Identity> {
        let chain = self.read(cert);
        let secret = self.read_secret(key);
        let staple = ocsp.map(|ocsp| self.read(ocsp));
        let staple = match staple {
            None => None,
            Some(Some(staple)) => Some(staple),
            Some(None) => return None,
        };
        match Identity::from_pem(&chain?, &secret?, staple) {
            Ok(identity) => {
                self.age(cert, &identity);
                Some(identity)
            }
            Err(fault) => {
                let (file, hint) = match fault {
                    IdentityFault::NoCertificate
                    | IdentityFault::BadCertificate
                    | IdentityFault::ChainTooLong => (cert, None),
                    IdentityFault::NoKey | IdentityFault::BadKey => (key, None),
                    IdentityFault::EncryptedKey => {
                        (key, Some("decrypt it: openssl pkey -in FILE -out FILE".to_owned()))
                    }
                    IdentityFault::Mismatch => {
                        (key, Some(format!("it has to be that of {}", cert.path.display())))
                    }
                };
                let reason = format!("{}: {fault}", file.path.display());
                self.problems.push(error(file.place, reason).hint_if(hint));
                None
            }
        }
    }

    /// What ACME has obtained for a name, or one that signs itself until it has.
    fn obtained(&mut self, file: &FileSpec, name: &str) -> Option<Identity> {
        self.stamps.insert(file.path.clone(), Stamp::of(&file.path));
        let found = match read(&file.path) {
            Ok(pem) => Identity::from_pem(&pem, &pem, None).map_err(|fault| fault.to_string()),
            // It will be there.
            Err(_) if !file.path.exists() => Err(String::new()),
            Err(why) => Err(why),
        };
        let why = match found {
            Ok(identity) => return Some(identity),
            Err(why) => why,
        };
        if !why.is_empty() {
            let reason = format!("{}: {why}; {name} is asked for again", file.path.display());
            self.problems.push(warning(file.place, reason));
        }
        let made = placeholder(name).map_err(|error| error.to_string());
        let identity = made.and_then(|pem| {
            let pem = pem.as_bytes();
            Identity::from_pem(pem, pem, None).map_err(|fault| fault.to_string())
        });
        identity.map_err(|why| self.problems.push(error(file.place, format!("{name}: {why}")))).ok()
    }

    fn issuers(&mut self, file: &FileSpec) -> Option<Vec<Certificate<'static>>> {
        let pem = self.read(file)?;
        let issuers = ClientAuth::issuers(&pem);
        issuers.map_err(|fault| self.fault(file, &fault)).ok()
    }

    fn fault(&mut self, file: &FileSpec, fault: &IdentityFault) {
        self.problems.push(error(file.place, format!("{}: {fault}", file.path.display())));
    }

    /// Warns of a certificate that is not valid, or not for long.
    fn age(&mut self, file: &FileSpec, identity: &Identity) {
        let path = file.path.display();
        let left = identity.not_after().duration_since(self.now);
        let life = identity.not_after().duration_since(identity.not_before()).unwrap_or_default();
        let reason = match left {
            Err(since) => format!("{path} expired {} ago", shown(since.duration())),
            Ok(_) if identity.not_before() > self.now => format!("{path} is not valid yet"),
            Ok(left) if left < EXPIRY_NEAR.min(life / 3) => {
                format!("{path} expires in {}", shown(left))
            }
            Ok(_) => return,
        };
        self.problems.push(warning(file.place, reason));
    }

    fn upstream(
        &mut self,
        name: &str,
        spec: &UpstreamTls,
        of: Option<UpstreamId>,
    ) -> (Option<Arc<ClientSide>>, u64) {
        let mut digest = DefaultHasher::new();
        (&spec.ciphers, &spec.protocols).hash(&mut digest);
        (spec.min_version as u8).hash(&mut digest);
        let verify = match &spec.trust {
            Trust::Anybody => Some(Verify::NotAtAll),
            Trust::System => self.system_roots(spec.place, &mut digest).map(Verify::By),
            Trust::Roots(file) => self.roots(file, &mut digest).map(Verify::By),
        };
        let identity = match &spec.identity {
            None => Some(None),
            Some((cert, key)) => {
                (self.read_quietly(&cert.path), self.read_quietly(&key.path)).hash(&mut digest);
                self.identity(cert, key, None).map(Some)
            }
        };
        let digest = digest.finish();
        let (Some(verify), Some(identity)) = (verify, identity) else { return (None, digest) };
        let same = self.before.zip(of).and_then(|(before, of)| before.upstream(of, digest));
        if same.is_some() {
            return (same, digest);
        }
        let suites = spec.ciphers.clone();
        let parts = ClientSpec { verify, identity, min_version: spec.min_version, suites };
        let protocols: Vec<&[u8]> = spec.protocols.iter().map(|name| name.as_bytes()).collect();
        match ClientSide::new(&parts, &protocols) {
            Ok(side) => (Some(Arc::new(side)), digest),
            Err(fault) => {
                self.problems.push(error(spec.place, format!("upstream {name}: {fault}")));
                (None, digest)
            }
        }
    }

    fn roots(&mut self, file: &FileSpec, digest: &mut DefaultHasher) -> Option<Roots> {
        let pem = self.read(file)?;
        pem.hash(digest);
        Roots::from_pem(&pem).map_err(|fault| self.fault(file, &fault)).ok()
    }

    fn system_roots(&mut self, place: Place, digest: &mut DefaultHasher) -> Option<Roots> {
        let found = rustls_native_certs::load_native_certs();
        found.certs.iter().for_each(|root| root.as_ref().hash(digest));
        let roots = Roots::from_store(found.certs);
        if roots.count() > 0 {
            return Some(roots);
        }
        let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        let reason = format!("the system has no root certificates{why}: nobody would be believed");
        let hint = "install ca-certificates, or write tls = { roots = \"ca.pem\" }";
        self.problems.push(error(place, reason).hint(hint));
        None
    }

    /// Reads a file that is secret; warns where everybody may.
    fn read_secret(&mut self, file: &FileSpec) -> Option<Vec<u8>> {
        let bytes = self.read(file)?;
        let open = std::fs::metadata(&file.path).is_ok_and(|seen| seen.mode() & 0o004 != 0);
        if open {
            let path = file.path.display();
            let problem = warning(file.place, format!("{path}: everybody may read this key"));
            self.problems.push(problem.hint(format!("chmod o-rwx {path}")));
        }
        Some(bytes)
    }

    fn read(&mut self, file: &FileSpec) -> Option<Vec<u8>> {
        self.stamps.insert(file.path.clone(), Stamp::of(&file.path));
        let path = file.path.display();
        read(&file.path)
            .map_err(|why| self.problems.push(error(file.place, format!("{path}: {why}"))))
            .ok()
    }

    fn read_quietly(&self, path: &Path) -> Option<Vec<u8>> {
        read(path).ok()
    }
}

/// A client's side that believes the system's roots, or those of a file, and speaks HTTP/1.1.
///
/// # Errors
/// In words.
pub(crate) fn client_side(roots: Option<&Path>) -> Result<ClientSide, String> {
    side(roots, None)
}

/// The same for a registry, which may want to be shown a certificate.
///
/// # Errors
/// In words.
pub(crate) fn registry_side(tls: &RegistryTls) -> Result<ClientSide, String> {
    let identity = tls.identity.as_ref().map(|(cert, key)| {
        let of = |path: &Path| read(path).map_err(|why| format!("{}: {why}", path.display()));
        let identity = Identity::from_pem(&of(cert)?, &of(key)?, None);
        identity.map_err(|fault| format!("{}, {}: {fault}", cert.display(), key.display()))
    });
    side(tls.roots.as_deref(), identity.transpose()?)
}

fn side(roots: Option<&Path>, identity: Option<Identity>) -> Result<ClientSide, String> {
    let roots = match roots {
        None => Roots::from_store(rustls_native_certs::load_native_certs().certs),
        Some(path) => {
            let said = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
            let pem = read(path).map_err(|why| said(&why))?;
            Roots::from_pem(&pem).map_err(|fault| said(&fault))?
        }
    };
    let verify = Verify::By(roots);
    let suites = Vec::new();
    let spec = ClientSpec { verify, identity, min_version: MinVersion::default(), suites };
    ClientSide::new(&spec, &[b"http/1.1"]).map_err(|fault| fault.to_string())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let plain = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "it may not be read: permission denied".to_owned(),
        _ => format!("it cannot be read: {error}"),
    };
    let file = File::open(path).map_err(plain)?;
    if file.metadata().as_ref().is_ok_and(Metadata::is_dir) {
        return Err("it is a folder".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(plain)?;
    match bytes.len() as u64 > FILE_BYTES_MAX {
        true => Err(format!("it has more than {FILE_BYTES_MAX} bytes")),
        false => Ok(bytes),
    }
}

fn error(place: Place, reason: String) -> Problem {
    Problem::error(Kind::Certificate, place, reason)
}

fn warning(place: Place, reason: String) -> Problem {
    Problem::warning(Kind::Certificate, place, reason)
}

fn shown(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds >= 2 * DAY => format!("{} days", seconds / DAY),
        seconds if seconds >= 2 * 3600 => format!("{} hours", seconds / 3600),
        seconds => format!("{} minutes", seconds / 60),
    }
}
