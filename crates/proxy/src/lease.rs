//! Step 8, lease: a kept or a new connection -> `Lease`.

use crate::admit::Admitted;
use crate::attempts::{Attempts, Lost};
use crate::client::Client;
use crate::pick::Pick;
use crate::pool::{Certainty, Origin, Pool};
use crate::sessions::{self, Turn};
use crate::trace::Trace;
use crate::worker::Worker;
use gatehouse_core::failure::{Failure, Kind, Step};
use gatehouse_core::moment::Moment;
use gatehouse_core::plan::ProxyVersion;
use gatehouse_wire::h2::Session;
use gatehouse_wire::proxy_header::{Header, Version};
use gatehouse_wire::pump::poll_write_all;
use gatehouse_wire::socket::Probe;
use gatehouse_wire::timer::now;
use gatehouse_wire::tls::{HandshakeError, ServerId, connect};
use gatehouse_wire::{DialError, Inbox, Stream};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// A connection to the picked endpoint. Dropping it closes the connection; only
/// [`Lease::finish`] keeps it.
#[derive(Debug)]
pub(crate) struct Lease {
    pub origin: Box<Origin>,
    pick: Pick,
}

/// A connection that an endpoint was told is one client's, between two exchanges of that client.
#[derive(Debug)]
pub(crate) struct Kept {
    origin: Box<Origin>,
    /// Where it leads.
    pool: Rc<Pool>,
    since: Moment,
}

impl Kept {
    /// The connection, where it leads to the picked endpoint and is as it was left.
    fn take(self, pick: &Pick, now: Moment) -> Option<Box<Origin>> {
        let Kept { mut origin, pool, since } = self;
        let fits = Rc::ptr_eq(&pool, pick.pool()) && pool.is_young(since, now);
        (fits && origin.stream.probe() == Probe::Quiet).then_some(origin)
    }
}

/// Proof that both messages have ended and no byte is left over.
#[derive(Debug)]
pub(crate) struct Complete(());

impl Complete {
    /// The proof, where it holds.
    pub fn of(
        upload_done: bool,
        answer_done: bool,
        kept_alive: bool,
        lease: &Lease,
    ) -> Option<Self> {
        let whole = upload_done && answer_done && kept_alive && lease.origin.inbox.is_empty();
        whole.then_some(Complete(()))
    }
}

impl Lease {
    pub fn pick(&self) -> &Pick {
        &self.pick
    }

    /// The connection to write to, and where it leads.
    pub fn parts(&mut self) -> (&mut Origin, &Pick) {
        (&mut self.origin, &self.pick)
    }

    /// Gives the connection back for another exchange: of anybody's, or of this client's.
    pub fn finish(
        self,
        client: &mut Client,
        admitted: &Admitted<'_>,
        _complete: Complete,
        now: Moment,
    ) {
        if admitted.announces() {
            let pool = Rc::clone(self.pick.pool());
            client.kept = Some(Box::new(Kept { origin: self.origin, pool, since: now }));
        } else {
            self.pick.pool().put(self.origin, now);
        }
    }
}

/// Takes a kept connection to the picked endpoint; gives the pick back where there is none.
pub(crate) fn kept(
    client: &mut Client,
    admitted: &Admitted<'_>,
    attempts: &Attempts<'_>,
    pick: Pick,
    trace: &mut Trace,
) -> Result<Lease, Pick> {
    let found = if admitted.speaks().is_http2() {
        let inbox = || Inbox::new(Rc::clone(client.io.inbox.pool()));
        pick.pool().sessions.lease().map(|stream| Origin::one_of_many(stream, inbox()))
    } else if admitted.announces() {
        let kept = client.kept.take().filter(|_| !attempts.fresh_only());
        kept.and_then(|kept| kept.take(&pick, trace.tried))
    } else if attempts.fresh_only() {
        None
    } else {
        let certainty = if attempts.repeatable() { Certainty::Known } else { Certainty::Asked };
        pick.pool().take(trace.tried, certainty)
    };
    trace.reused = found.is_some();
    match found {
        Some(origin) => Ok(Lease { origin, pick }),
        None => Err(pick),
    }
}

/// Opens a connection to the picked endpoint.
pub(crate) async fn fresh(
    worker: &Worker,
    client: &mut Client,
    admitted: &Admitted<'_>,
    pick: Pick,
    trace: &Trace,
) -> Result<Lease, Lost> {
    if admitted.speaks().is_http2() {
        // In a box of its own: whoever finds a connection has no room for it.
        return Box::pin(share(worker, client, admitted, pick, trace)).await;
    }
    let stream = dial(worker, client, admitted, &pick, trace).await.map_err(|failure| {
        if trace.blames_endpoint(failure, &admitted.forward().timeouts) {
            pick.count_connect_failure();
        }
        Lost { failure, endpoint: Some(pick.id()), intact: true }
    })?;
    let inbox = Inbox::new(Rc::clone(&worker.buffers));
    let origin = Origin::new(stream, inbox, pick.endpoint().vitals.clone());
    Ok(Lease { origin, pick })
}

/// Takes one stream of a connection that carries many, or opens a connection.
async fn share(
    worker: &Worker,
    client: &mut Client,
    admitted: &Admitted<'_>,
    pick: Pick,
    trace: &Trace,
) -> Result<Lease, Lost> {
    let lost = |pick: &Pick, failure: Failure| {
        let intact = failure.kind != Kind::EndpointsAtCap;
        Lost { failure, endpoint: Some(pick.id()), intact }
    };
    let sessions = Rc::clone(&pick.pool().sessions);
    let limit = Limit::of(admitted, trace);
    loop {
        let turn = limit.keep(client, |cx| sessions.poll_turn(cx).map(Ok)).await;
        let dialling = match turn.map_err(|failure| lost(&pick, failure))? {
            Turn::Stream(stream) => {
                let inbox = Inbox::new(Rc::clone(&worker.buffers));
                let origin = Origin::one_of_many(stream, inbox);
                return Ok(Lease { origin, pick });
            }
            Turn::Full => {
                let failure = Failure::new(Step::Lease, Kind::EndpointsAtCap);
                return Err(lost(&pick, failure));
            }
            Turn::Dial(dialling) => dialling,
        };
        let opened = begin(worker, client, admitted, &pick, trace).await;
        let session = opened.map_err(|failure| {
            if trace.blames_endpoint(failure, &admitted.forward().timeouts) {
                pick.count_connect_failure();
            }
            lost(&pick, failure)
        })?;
        sessions.add(session);
        drop(dialling);
    }
}

/// Opens a connection that speaks HTTP/2.
async fn begin(
    worker: &Worker,
    client: &mut Client,
    admitted: &Admitted<'_>,
    pick: &Pick,
    trace: &Trace,
) -> Result<Session, Failure> {
    let mut stream = dial(worker, client, admitted, pick, trace).await?;
    // Its own windows bound what is sent ahead.
    stream.widen();
    if stream.tls().is_some_and(|tls| tls.protocol.as_deref() != Some(b"h2")) {
        let detail = "the endpoint did not agree to HTTP/2";
        return Err(Failure::because(Step::Lease, Kind::UpstreamTlsProtocol, detail));
    }
    let vitals = pick.endpoint().vitals.clone();
    let started = sessions::start(worker, stream, vitals).await;
    started.ok_or_else(|| meaning(DialError::Failed("the connection closed at once")))
}

/// Until when a connection must be there.
#[derive(Clone, Copy, Debug)]
struct Limit {
    deadline: Moment,
    late: Kind,
}

impl Limit {
    fn of(admitted: &Admitted<'_>, trace: &Trace) -> Limit {
        let timeouts = &admitted.forward().timeouts;
        let one = admitted.upstream_plan().retry.try_timeout.map(|one| trace.tried.after(one));
        let connect = now().after(timeouts.connect);
        let deadline = one.map_or(connect, |one| one.min(connect));
        match trace.total_deadline(timeouts).filter(|until| until.at < deadline) {
            Some(until) => Limit { deadline: until.at, late: until.late },
            None => Limit { deadline, late: Kind::ConnectTimeout },
        }
    }

    /// Does `work` within it, while the client is still there.
    async fn keep<T>(
        self,
        client: &mut Client,
        mut work: impl FnMut(&mut Context<'_>) -> Poll<Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let (io, timer) = (&mut client.io, &mut client.timer);
        poll_fn(|cx| {
            if let Poll::Ready(done) = work(cx) {
                return Poll::Ready(done);
            }
            if io.poll_gone(cx).is_ready() {
                return Poll::Ready(Err(Failure::new(Step::Lease, Kind::ClientGone)));
            }
            let late = self.late;
            timer.poll_until(cx, self.deadline).map(|()| Err(Failure::new(Step::Lease, late)))
        })
        .await
    }
}

/// Opens a connection within the route's limit, while the client is still there.
async fn dial(
    worker: &Worker,
    client: &mut Client,
    admitted: &Admitted<'_>,
    pick: &Pick,
    trace: &Trace,
) -> Result<Stream, Failure> {
    let header = admitted.upstream_plan().announce.map(|version| header(client, version));
    let mut dialling = pin!(open(worker, pick, header));
    Limit::of(admitted, trace).keep(client, |cx| dialling.as_mut().poll(cx)).await
}

/// The header that tells an endpoint whose connection it is.
fn header(client: &Client, version: ProxyVersion) -> Box<Header> {
    let version = match version {
        ProxyVersion::V1 => Version::V1,
        ProxyVersion::V2 => Version::V2,
    };
    Box::new(Header::new(version, client.ends()))
}

/// Opens a connection. What is said on it before the first request is said in a box of its own: an
/// exchange in clear has no room for it.
async fn open(
    worker: &Worker,
    pick: &Pick,
    header: Option<Box<Header>>,
) -> Result<Stream, Failure> {
    let mut has_made_room = false;
    let stream = loop {
        match worker.shared.net.dial(&pick.endpoint().address).await {
            Ok(stream) => break stream,
            Err(DialError::Exhausted) if !has_made_room => {
                // What is kept for later is worth less than what is needed now.
                worker.drop_idle();
                has_made_room = true;
            }
            Err(error) => return Err(meaning(error)),
        }
    };
    match (&header, &pick.endpoint().tls) {
        (None, None) => Ok(stream),
        (Some(_), _) | (_, Some(_)) => Box::pin(prepare(stream, pick, header)).await,
    }
}

/// Tells whose connection it is, where that is to be told, and puts it under TLS where the
/// endpoint wants it. Nothing else is ever sent in clear to one that does.
async fn prepare(
    mut stream: Stream,
    pick: &Pick,
    header: Option<Box<Header>>,
) -> Result<Stream, Failure> {
    if let Some(header) = header {
        let mut written = 0;
        let wrote =
            poll_fn(|cx| poll_write_all(cx, &mut stream, header.bytes(), &mut written)).await;
        wrote.map_err(|_| meaning(DialError::Failed("the PROXY header was not taken")))?;
    }
    let Some(name) = &pick.endpoint().tls else { return Ok(stream) };
    let parts = pick.side().zip(ServerId::new(name));
    let Some((side, server)) = parts else {
        return Err(Failure::because(Step::Lease, Kind::Internal, "no credentials"));
    };
    connect(stream, side, &server).await.map_err(handshake_meaning)
}

/// What a failed handshake means.
fn handshake_meaning(error: HandshakeError) -> Failure {
    let kind = match error {
        HandshakeError::Gone => Kind::ConnectFailed,
        HandshakeError::Certificate(_) => Kind::UpstreamCertificate,
        HandshakeError::Alert(_) => Kind::UpstreamTlsAlert,
        HandshakeError::Protocol(_)
        | HandshakeError::Incompatible(_)
        | HandshakeError::PlainHttp => Kind::UpstreamTlsProtocol,
    };
    Failure::because(Step::Lease, kind, error.text())
}

/// What a dial error means.
fn meaning(error: DialError) -> Failure {
    match error {
        DialError::Refused => Failure::new(Step::Lease, Kind::ConnectRefused),
        DialError::Failed(detail) => Failure::because(Step::Lease, Kind::ConnectFailed, detail),
        DialError::Exhausted => Failure::new(Step::Lease, Kind::OutOfSockets),
    }
}
