//! Whole exchanges over the in-memory network. Both peers are in the same process and are counted
//! too: they do as little as they can.

use crate::heads::{ANSWER, ANSWER_BODY_BYTES, BROWSER};
use gatehouse_core::address::{Address, Bind};
use gatehouse_core::endpoints::{Endpoint, Endpoints, Standing};
use gatehouse_core::plan::{
    Action, Announced, Balance, Carries, ClientLimits, Edits, EndpointSpec, Forward, HttpVersions,
    ListenerPlan, LogFormat, PathMode, Plan, PlanParts, RoutePlan, Target, Timeouts, Transport,
    UpstreamId, UpstreamPlan,
};
use gatehouse_core::route::{ListenerSet, PathRule, Rewrite, RouteRule};
use gatehouse_core::vitals::UpstreamVitals;
use gatehouse_proxy::gate::memory::{MemoryGate, run};
use gatehouse_wire::Stream;
use gatehouse_wire::memory::MemoryNet;
use gatehouse_wire::pump::poll_write_all;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

const GATEWAY: ([u8; 4], u16) = ([10, 0, 0, 1], 80);
const ORIGIN: ([u8; 4], u16) = ([10, 0, 1, 1], 80);

/// How each answer ends.
const END: &[u8] = b"the end";

/// Exchanges after which the log is taken, as a writer would.
const LOGGED_MAX: usize = 64;

/// So many exchanges on one kept connection each side.
pub fn exchanges(kind: &str, times: usize) -> Option<String> {
    let logs = match kind {
        "plain" => false,
        "logging" => true,
        _ => return None,
    };
    let logged = run(carry(plan(logs)?, times))?;
    let expected = if logs { times } else { 0 };
    (logged == expected as u64).then(|| format!("{times} carried, {logged} logged"))
}

/// Carries so many exchanges; how many were logged.
async fn carry(plan: Plan, times: usize) -> Option<u64> {
    let net = MemoryNet::default();
    let mut listener = net.listen(ORIGIN.into());
    let gate = MemoryGate::start(plan, vec![endpoints()], &net, GATEWAY.into(), 1);
    let mut client = Stream::Memory(net.connect(GATEWAY.into()).ok()?);
    let mut origin = None;
    let answer = [ANSWER, &[b'x'; ANSWER_BODY_BYTES - END.len()], END].concat();
    let mut room = [0; 4096];
    let mut logged = 0;
    for at in 0..times {
        write(&mut client, BROWSER).await?;
        if origin.is_none() {
            origin = Some(poll_fn(|cx| listener.poll_accept(cx)).await.ok()?.0);
        }
        let origin = origin.as_mut()?;
        read_to(origin, &mut room, b"\r\n\r\n").await?;
        write(origin, &answer).await?;
        read_to(&mut client, &mut room, END).await?;
        if at % LOGGED_MAX == 0 || at == times - 1 {
            gate.flush_log();
            for batch in gate.log.batches.try_iter() {
                logged += batch.lines;
                gate.log.back.try_send(batch).ok()?;
            }
        }
    }
    Some(logged)
}

async fn write(stream: &mut Stream, text: &[u8]) -> Option<()> {
    let mut written = 0;
    poll_fn(|cx| poll_write_all(cx, stream, text, &mut written)).await.ok()
}

/// Reads until what has come ends in `end`.
async fn read_to(stream: &mut Stream, room: &mut [u8], end: &[u8]) -> Option<()> {
    let mut held = 0;
    while !room[..held].ends_with(end) {
        let read = poll_fn(|cx| stream.poll_read(cx, &mut room[held..])).await;
        held += read.ok().filter(|count| *count > 0)?;
    }
    Some(())
}

fn endpoints() -> Arc<Endpoints> {
    let origin = Endpoint {
        text: "10.0.1.1:80".into(),
        address: Address::Ip(ORIGIN.into()),
        authority: "10.0.1.1:80".into(),
        tls: None,
        base_path: "".into(),
        weight: 1,
        connections_max: None,
        backup: false,
        standing: Standing::Ready,
        warmth: 100,
        vitals: Arc::default(),
    };
    let vitals = Arc::<UpstreamVitals>::default();
    Arc::new(Endpoints::new(Balance::RoundRobin, vec![origin], vitals))
}

/// One listener, one route, one upstream of one endpoint, all else as it is by default.
fn plan(access_log: bool) -> Option<Plan> {
    let rule = RouteRule {
        listeners: ListenerSet::ALL,
        hosts: vec![],
        path: PathRule::Prefix("".into()),
        path_mode: PathMode::Normal,
        methods: None,
        headers: vec![],
        query: vec![],
    };
    let forward = Forward {
        target: Target::One(UpstreamId(0)),
        rewrite: Rewrite::Keep,
        request_edits: Edits::default(),
        timeouts: Timeouts::default(),
        buffer_bytes_max: 0,
        deadline_field: None,
    };
    let route = RoutePlan {
        name: "all".into(),
        path_mode: PathMode::Normal,
        action: Action::Forward(forward),
        response_edits: Edits::default(),
        body_bytes_max: None,
        priority: gatehouse_core::queue::Priority::default(),
    };
    let endpoint = EndpointSpec {
        text: "10.0.1.1:80".into(),
        address: Address::Ip(SocketAddr::from(ORIGIN)),
        tls: None,
        base_path: "".into(),
        weight: 1,
        connections_max: None,
        backup: false,
    };
    let upstream = UpstreamPlan::of("origins", vec![endpoint]);
    let listener = ListenerPlan {
        carries: Carries::Http,
        announced: Announced::No,
        name: "web".into(),
        bind: Bind::Ip(GATEWAY.into()),
        transport: Transport::Clear,
        trusted_proxies: vec![],
        versions: HttpVersions::default(),
        limits: ClientLimits::default(),
    };
    let parts = PlanParts {
        listeners: vec![listener],
        rules: vec![rule],
        routes: vec![route],
        upstreams: vec![upstream],
        drain: Duration::from_secs(10),
        access_log: access_log.then_some(LogFormat::Json),
        ceilings: gatehouse_core::overload::Ceilings::default(),
    };
    Plan::new(parts).ok()
}
