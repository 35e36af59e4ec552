//! Step 12, record: counters, the access log, everything given back. It cannot fail.

use crate::client::Client;
use crate::line::Line;
use crate::meters::RouteMeter;
use crate::tcp::Connection;
use crate::tcp_line::TcpLine;
use crate::trace::Trace;
use crate::worker::{Desk, Worker};
use gatehouse_core::failure::{Failure, Kind, Side};
use gatehouse_core::message::RequestHead;
use gatehouse_core::moment::Moment;
use gatehouse_core::plan::LogFormat;
use gatehouse_wire::h1::salvage;
use gatehouse_wire::timer::now;

/// An exchange that runs. One that is dropped before its end, because the time of a drain is over,
/// is recorded as well.
pub(crate) struct Running<'a> {
    worker: &'a Worker,
    pub client: &'a mut Client,
    pub desk: &'a mut Desk,
    pub trace: Trace,
    recorded: bool,
}

impl<'a> Running<'a> {
    /// Counts it in.
    pub fn begin(worker: &'a Worker, client: &'a mut Client, desk: &'a mut Desk) -> Running<'a> {
        worker.meters.in_flight.add(1);
        let trace = Trace::new(worker.next_id(), now());
        Running { worker, client, desk, trace, recorded: false }
    }

    /// Counts it out and writes its line.
    pub fn record(&mut self) {
        self.recorded = true;
        let ended = self.trace.ended.unwrap_or_else(now);
        exchange(self.worker, self.client, &self.desk.heads.request, &self.trace, ended);
        self.worker.meters.in_flight.sub(1);
        self.client.served += 1;
        self.client.since = ended;
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.recorded {
            return;
        }
        if std::thread::panicking() {
            // What would write the line may be what panicked.
            return self.worker.meters.in_flight.sub(1);
        }
        let Desk { heads, upload, download, .. } = &mut *self.desk;
        if self.trace.read.is_none() {
            salvage(self.client.io.inbox.bytes(), &mut heads.request);
        }
        if self.trace.streams && download.has_begun() {
            self.trace.status = heads.answer.status;
            self.trace.sent_bytes = download.payload();
            self.trace.received_bytes = upload.payload();
        }
        let cut = Failure::new(self.trace.step(), Kind::DrainCut);
        self.trace.failure.get_or_insert(cut);
        self.record();
    }
}

/// Counts an exchange and writes its line.
fn exchange(worker: &Worker, client: &Client, head: &RequestHead, trace: &Trace, ended: Moment) {
    let mut latest = None;
    let view = match &trace.view {
        Some(view) => view,
        None => latest.insert(worker.view()),
    };
    let meter = view.meter(&worker.meters, trace.route);
    meter.classes[usize::from(trace.status / 100).min(5)].add(1);
    meter.latency.observe(ended.micros_since(trace.started));
    meter.received_bytes.add(trace.received_bytes);
    meter.sent_bytes.add(trace.sent_bytes);
    meter.retries.add(u64::from(trace.attempts.saturating_sub(1)));
    count_failure(meter, trace);
    let Some(format) = view.plan.access_log else { return };
    let line = Line { client, head, trace, ended, calendar: &worker.calendar };
    let lost = worker.log.line(|out| match format {
        LogFormat::Json => line.json(out),
        LogFormat::Combined => line.combined(out),
    });
    worker.meters.log_lines_lost.add(lost);
}

/// Counts a TCP connection and writes its line. Its bytes were counted as they passed.
pub(crate) fn connection(worker: &Worker, client: &Client, connection: &Connection, trace: &Trace) {
    let view = trace.view.clone().unwrap_or_else(|| worker.view());
    let meter = view.meter(&worker.meters, trace.route);
    meter.connections.add(1);
    meter.retries.add(u64::from(trace.attempts.saturating_sub(1)));
    count_failure(meter, trace);
    let Some(format) = view.plan.access_log else { return };
    let line = TcpLine { client, connection, trace, ended: now(), calendar: &worker.calendar };
    let lost = worker.log.line(|out| match format {
        LogFormat::Json => line.json(out),
        LogFormat::Combined => line.combined(out),
    });
    worker.meters.log_lines_lost.add(lost);
}

fn count_failure(meter: &RouteMeter, trace: &Trace) {
    let Some(failure) = trace.failure else { return };
    let side = match failure.side() {
        Side::Client => 0,
        Side::Upstream => 1,
        Side::Gateway => 2,
    };
    meter.failures[side].add(1);
    meter.breaker_refused.add(u64::from(failure.kind == Kind::BreakerOpen));
}
