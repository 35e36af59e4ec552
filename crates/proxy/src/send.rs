//! Step 9, send: the rewritten head -> `Upload`, which `receive` and `respond` poll beside their
//! own work. Nothing is spawned.

use crate::admit::Admitted;
use crate::attempts::Lost;
use crate::buffer::ROOM_KEPT_MAX;
use crate::client::{Client, ClientIo};
use crate::client_cert;
use crate::forwarded;
use crate::grpc::{self, Call};
use crate::hop::{self, Upgrade};
use crate::lease::Lease;
use crate::trace::{Blocker, Trace};
use crate::worker::{Desk, Worker};
use gatehouse_core::endpoints::EndpointId;
use gatehouse_core::failure::{Failure, Kind, Step};
use gatehouse_core::message::{
    BodyLength, Field, Fields, Known, Method, RequestHead, Span, Version, lists_token, path, tokens,
};
use gatehouse_core::moment::Moment;
use gatehouse_core::plan::{Forward, PathMode};
use gatehouse_core::route::Rewrite;
use gatehouse_wire::Stream;
use gatehouse_wire::h1::Decoder;
use gatehouse_wire::h1::encode::{self, Framing};
use gatehouse_wire::h2::{Ask, Last, OpenError, Unsendable};
use gatehouse_wire::pump::{Pump, PumpError, Waits};
use gatehouse_wire::timer::now;
use std::io::Write;
use std::task::{Context, Poll};
use std::time::Duration;

/// How long a slow request body is forgiven.
pub(crate) const BODY_GRACE: Duration = Duration::from_secs(10);

/// The rewritten path and the query, without an endpoint's base path: a text in the head's buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outbound {
    target: Span,
    /// Whether the client reads trailers (RFC 9110 section 10.1.4).
    trailers: bool,
    /// The gRPC call it is, if it is one.
    call: Option<Call>,
}

/// Rewrites the head once for all attempts: path, hop-by-hop fields, forwarding fields, edits.
pub(crate) fn rewrite(
    worker: &Worker,
    client: &Client,
    head: &mut RequestHead,
    admitted: &Admitted<'_>,
    call: Option<Call>,
) -> Result<Outbound, Failure> {
    let forward = admitted.forward();
    let path = rewrite_path(worker, head, forward, admitted.route().path_mode)?;
    let target = with_query(head, path);
    // HTTP/2 towards an endpoint has no upgrade.
    let upgrade = !admitted.speaks().is_http2() && keeps_upgrade(head);
    let trailers = head.fields.all(Known::Te).any(|value| lists_token(value, b"trailers"));
    hop::strip(&mut head.fields, if upgrade { Upgrade::Keep } else { Upgrade::Drop });
    drop_aliases(&mut head.fields, forward);
    forwarded::write(client, &mut head.fields, head.authority);
    client_cert::write(client, &mut head.fields);
    let mut trailers = trailers;
    let call = call.map(|call| Call { web: call.web.filter(|_| admitted.translates()), ..call });
    if let Some(call) = call.filter(|call| call.web.is_some()) {
        call.translate_request(&mut head.fields);
        trailers = true;
    }
    let via: &[u8] =
        if head.version == Version::Http2 { b"2.0 gatehouse" } else { b"1.1 gatehouse" };
    head.fields.join(Known::Via, b"Via: ", |line| line.extend_from_slice(via));
    forward.request_edits.apply(&mut head.fields);
    if upgrade {
        head.fields.append(b"Connection", b"upgrade");
    }
    if head.body == BodyLength::Chunked {
        head.fields.append(b"Transfer-Encoding", b"chunked");
    }
    Ok(Outbound { target, trailers, call })
}

/// The path an endpoint is asked for.
fn rewrite_path(
    worker: &Worker,
    head: &mut RequestHead,
    forward: &Forward,
    mode: PathMode,
) -> Result<Span, Failure> {
    let seen = match mode {
        PathMode::Normal => head.path.unwrap_or(head.raw_path),
        PathMode::Raw => head.raw_path,
    };
    if matches!(forward.rewrite, Rewrite::Keep) || head.text(seen) == b"*" {
        return Ok(seen);
    }
    let scratch = &mut *worker.scratch.borrow_mut();
    scratch.path.clear();
    forward.rewrite.apply_with(head.text(seen), &mut scratch.rewrite, &mut scratch.path);
    let invalid = |detail| Failure::because(Step::Send, Kind::RewriteInvalid, detail);
    let out = if mode == PathMode::Raw || path::is_normal(&scratch.path) {
        &scratch.path
    } else {
        scratch.text.clear();
        path::normalize(&scratch.path, &mut scratch.text).map_err(|fault| invalid(fault.text()))?;
        &scratch.text
    };
    let plain = |byte: &u8| !matches!(byte, 0..=b' ' | 0x7f | b'?' | b'#');
    if out.first() != Some(&b'/') || !out.iter().all(plain) {
        return Err(invalid("the rewritten path is not a path"));
    }
    Ok(head.fields.note(out))
}

/// The path with the query behind it: in the target as received, where both still stand there.
fn with_query(head: &mut RequestHead, path: Span) -> Span {
    let Some(query) = head.query else { return path };
    if path.end + 1 == query.start {
        return Span { start: path.start, end: query.end };
    }
    head.fields.note_with(|bytes| {
        bytes.extend_from_within(path.start as usize..path.end as usize);
        bytes.push(b'?');
        bytes.extend_from_within(query.start as usize..query.end as usize);
    })
}

/// Whether the request may ask its upstream to leave HTTP. A body or `h2c` takes that away: both
/// have carried requests past the rules of other proxies.
fn keeps_upgrade(head: &RequestHead) -> bool {
    let h2c = || {
        head.fields
            .all(Known::Upgrade)
            .flat_map(tokens)
            .any(|name| name.eq_ignore_ascii_case(b"h2c") || name.eq_ignore_ascii_case(b"h2"))
    };
    head.body == BodyLength::None
        && head.version != Version::Http10
        && head.method() == Method::Get
        && head.asks_upgrade()
        && !h2c()
}

/// Drops fields whose name is one the gateway sets but for its underscores: origins that turn
/// both into the same variable would read the client's.
fn drop_aliases(fields: &mut Fields, forward: &Forward) {
    if !fields.has_underscores() {
        return;
    }
    let alias = |field: &Field, name: &[u8]| {
        if field.known != Known::Other || !name.contains(&b'_') || name.len() > 64 {
            return false;
        }
        let mut plain = [0_u8; 64];
        let plain = &mut plain[..name.len()];
        for (slot, byte) in plain.iter_mut().zip(name) {
            *slot = if *byte == b'_' { b'-' } else { *byte };
        }
        let edits = &forward.request_edits;
        let set = edits.set.iter().chain(&edits.add).map(|edit| edit.name.as_bytes());
        let removed = edits.remove.iter().map(|name| name.as_bytes());
        let told = forward.deadline_field.iter().map(|name| name.as_bytes());
        Known::of(plain) != Known::Other
            || set.chain(removed).chain(told).any(|own| own.eq_ignore_ascii_case(plain))
    };
    let suspicious = fields
        .table()
        .iter()
        .any(|field| !field.dropped && alias(field, field.name.of(fields.bytes())));
    if suspicious {
        fields.remove_where(alias);
    }
}

/// A request on its way to an endpoint.
#[derive(Debug)]
pub(crate) struct Upload {
    pump: Pump,
    state: UploadState,
    has_body: bool,
    /// Whether its body was read whole before.
    whole: bool,
    /// How long the origin may keep a client waiting that sends its body only after a 100.
    patience: Option<Duration>,
    rate_min: u32,
    idle: Duration,
    progress: u64,
    began: Moment,
    quiet_since: Moment,
    /// How long the client was waited for.
    starved: Duration,
}

/// How an upload stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UploadState {
    /// Under way.
    Active,
    /// Written whole.
    Done,
    /// The endpoint takes no more; its answer may still come.
    Refused,
    /// The client broke it off; where its next request would begin is not known.
    Broken,
}

impl Default for Upload {
    /// Nothing is on its way, and all of nothing was sent.
    fn default() -> Upload {
        Upload {
            pump: Pump::default(),
            state: UploadState::Done,
            has_body: false,
            whole: false,
            patience: None,
            rate_min: 0,
            idle: Duration::ZERO,
            progress: 0,
            began: Moment::START,
            quiet_since: Moment::START,
            starved: Duration::ZERO,
        }
    }
}

/// Starts sending the request: from here on the desk's upload is this attempt's.
pub(crate) fn send(
    client: &Client,
    desk: &mut Desk,
    admitted: &Admitted<'_>,
    outbound: Outbound,
    lease: &mut Lease,
    trace: &Trace,
) -> Result<(), Lost> {
    let Desk { heads, upload, whole, .. } = desk;
    tell_time_left(&mut heads.request.fields, admitted.forward(), outbound.call, trace);
    let head = &heads.request;
    let (origin, pick) = lease.parts();
    let framing = match (head.body, origin.stream.is_h2()) {
        (_, true) => Framing::Frames,
        (BodyLength::Chunked, false) => Framing::Chunked,
        _ => Framing::Plain,
    };
    let length = match whole.is_held() {
        true => BodyLength::None,
        false => client.io.stream.framed(head.body),
    };
    let text = upload.pump.begin(length, framing, admitted.body_bytes_max(client));
    upload.state = UploadState::Active;
    let endpoint = pick.endpoint();
    let target = head.text(outbound.target);
    let base: &[u8] = if target == b"*" { b"" } else { endpoint.base_path.as_bytes() };
    let own = head.text(head.authority);
    let host = if own.is_empty() { endpoint.authority.as_bytes() } else { own };
    match origin.stream.as_h2() {
        None => encode::request(head, base, target, host, text),
        Some(stream) => {
            let scheme = if endpoint.tls.is_some() { "https" } else { "http" };
            let authority = head.fields.get(Known::Host).unwrap_or(host);
            let trailers = outbound.trailers;
            let ask = Ask { head, scheme, authority, base, target, trailers };
            let last = if head.body == BodyLength::None { Last::Yes } else { Last::No };
            stream.send_request(&ask, last).map_err(|error| unsent(error, pick.id()))?;
        }
    }
    if whole.is_held() {
        text.extend_from_slice(whole.bytes());
        upload.pump.trail(whole.bytes().len(), whole.trailers());
    }
    upload.whole = whole.is_held();
    let timeouts = &admitted.forward().timeouts;
    upload.has_body = head.body != BodyLength::None;
    let expects = upload.has_body
        && head.version != Version::Http10
        && head.fields.all(Known::Expect).any(|value| lists_token(value, b"100-continue"));
    upload.patience = expects.then_some(timeouts.first_byte);
    if let Some(web) = outbound.call.and_then(|call| call.web?.of_request()) {
        upload.pump.translate(web);
    }
    if client.io.stream.is_h2() {
        upload.pump.keep();
    }
    // A call may say nothing for as long as it pleases: it is a conversation.
    let rate_min = client.limits().body_rate_min;
    upload.rate_min = if outbound.call.is_some() { 0 } else { rate_min };
    upload.idle = timeouts.idle;
    upload.progress = 0;
    (upload.began, upload.quiet_since) = (trace.tried, trace.tried);
    upload.starved = Duration::ZERO;
    Ok(())
}

/// Tells an endpoint how long the answer is waited for. Opening a connection may have taken some
/// of the time, and so may attempts before this one.
fn tell_time_left(fields: &mut Fields, forward: &Forward, call: Option<Call>, trace: &Trace) {
    let field = forward.deadline_field.as_deref();
    if call.is_none() && field.is_none() {
        return;
    }
    if let Some(name) = field {
        fields.remove_named(name.as_bytes());
    }
    let Some(until) = trace.total_deadline(&forward.timeouts) else { return };
    let left = until.at.since(now());
    if call.is_some() {
        grpc::write_timeout(left, fields);
    }
    if let Some(name) = field {
        // 0 would be read as no limit at all.
        let millis = left.as_millis().max(1);
        // Writing to a Vec cannot fail.
        fields.append_with(name.as_bytes(), |line| drop(write!(line, "{millis}")));
    }
}

/// What became of a request that was not sent at all.
fn unsent(error: OpenError, endpoint: EndpointId) -> Lost {
    match error {
        OpenError::Refused => {
            let failure = Failure::new(Step::Send, Kind::UpstreamRefused);
            Lost { failure, endpoint: Some(endpoint), intact: true }
        }
        OpenError::Unsendable(Unsendable(detail)) => {
            Lost::for_good(Failure::because(Step::Send, Kind::RewriteInvalid, detail))
        }
    }
}

impl Upload {
    pub fn state(&self) -> UploadState {
        self.state
    }

    /// Payload bytes taken from the client.
    pub fn payload(&self) -> u64 {
        self.pump.payload()
    }

    /// Rises with every byte that moves.
    pub fn progress(&self) -> u64 {
        self.pump.progress()
    }

    /// Whether the whole request can be sent again: no byte of a body was taken from the client,
    /// or all that were are kept.
    pub fn is_intact(&self) -> bool {
        !self.has_body || self.whole || self.pump.is_untouched() || self.pump.can_rewind()
    }

    /// Forgets what was kept of another exchange's body.
    pub fn forget(&mut self) {
        self.pump.forget();
    }

    /// Gives room back that only a large body needs.
    pub fn shrink(&mut self) {
        self.pump.shrink(ROOM_KEPT_MAX);
    }

    /// Puts back what was taken of the body, for another attempt.
    pub fn rewind(&mut self, io: &mut ClientIo) {
        self.pump.rewind(&mut io.inbox);
    }

    /// Whether it waits for the client, and so would notice that it is gone.
    pub fn reads(&self) -> bool {
        self.state == UploadState::Active && self.pump.waits() == Waits::Source
    }

    /// Whether the client has nothing to add to it.
    pub fn is_given(&self) -> bool {
        !self.has_body || self.whole
    }

    /// Who will have held it up for most of its time, if it stands as it does until then.
    pub fn blocker(&self, then: Moment) -> Blocker {
        let waits = if self.reads() { then.since(self.quiet_since) } else { Duration::ZERO };
        let by_client = self.has_body && 2 * (self.starved + waits) >= then.since(self.began);
        if by_client { Blocker::Sender } else { Blocker::Endpoint }
    }

    /// Whether the request was read whole from the client.
    pub fn is_read(&self) -> bool {
        !self.has_body || self.state != UploadState::Broken && self.pump.source_done()
    }

    /// Moves what can be moved; ready with a failure that ends the exchange.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut ClientIo,
        sink: &mut Stream,
    ) -> Poll<Failure> {
        if self.state != UploadState::Active {
            return Poll::Pending;
        }
        let outcome = self.pump.poll(cx, &mut io.stream, &mut io.inbox, sink, None);
        match outcome {
            Poll::Ready(Ok(())) => self.state = UploadState::Done,
            Poll::Ready(Err(PumpError::Sink)) => self.state = UploadState::Refused,
            Poll::Ready(Err(error)) => {
                self.state = UploadState::Broken;
                io.half_closed |= error == PumpError::Cut;
                return Poll::Ready(meaning(error));
            }
            Poll::Pending => {}
        }
        if self.has_body && self.progress != self.pump.progress() {
            let now = now();
            if self.pump.waits() == Waits::Source {
                self.starved += now.since(self.quiet_since);
            }
            io.stream.yields(self.reads());
            self.progress = self.pump.progress();
            self.quiet_since = now;
        }
        Poll::Pending
    }

    /// Until when it must move, and what it is if it does not.
    pub fn deadline(&self) -> (Moment, Failure) {
        let idle = self.quiet_since.after(self.idle);
        if self.pump.waits() == Waits::Sink {
            return (idle, Failure::new(Step::Send, Kind::UpstreamWriteTimeout));
        }
        if let Some(patience) = self.patience.filter(|_| self.pump.payload() == 0) {
            let silent = Failure::new(Step::Receive, Kind::UpstreamFirstByteTimeout);
            return (self.quiet_since.after(patience), silent);
        }
        let slow = Failure::new(Step::Send, Kind::RequestBodyTimeout);
        let Some(earned) = (self.pump.source_bytes()).checked_div(u64::from(self.rate_min)) else {
            return (idle, slow);
        };
        let allowed = (BODY_GRACE + Duration::from_secs(earned)).saturating_sub(self.starved);
        (idle.min(self.quiet_since.after(allowed)), slow)
    }

    /// The origin has said 100: from now on it is the client that is waited for.
    pub fn go_on(&mut self) {
        if self.patience.take().is_some() {
            self.quiet_since = now();
        }
    }

    /// Since when nothing has moved: for a request written whole, when it was.
    pub fn quiet_since(&self) -> Moment {
        self.quiet_since
    }

    /// Gives up: what was taken from the client and not yet sent is no part of what follows.
    pub fn give_up(&mut self, io: &mut ClientIo) {
        self.pump.give_up(&mut io.inbox);
        if self.has_body {
            // However slow its body was, its next request may be in a hurry.
            io.stream.yields(false);
        }
    }

    /// What is left to read of the request, to be thrown away; `None` where its end is not known.
    pub fn rest(&mut self) -> Option<&mut Decoder> {
        (self.state != UploadState::Broken).then(|| self.pump.rest())
    }
}

/// What a broken upload means.
fn meaning(error: PumpError) -> Failure {
    match error {
        PumpError::Reset => Failure::new(Step::Send, Kind::ClientGone),
        PumpError::Cut => {
            Failure::because(Step::Send, Kind::RequestBodyMalformed, "it was cut short")
        }
        PumpError::Malformed(detail) => {
            Failure::because(Step::Send, Kind::RequestBodyMalformed, detail)
        }
        PumpError::TooLarge => Failure::new(Step::Send, Kind::RequestBodyTooLarge),
        PumpError::Sink => Failure::new(Step::Send, Kind::UpstreamWriteFailed),
    }
}
