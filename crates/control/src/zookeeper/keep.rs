//! The task that keeps a session: from server to server, the session taken up again where it still
//! lives, with waits between the attempts that grow to a bound.

use super::greeting::{Greeted, greet, side};
use super::link::{Desk, Link};
use super::message::Credentials;
use super::shared::{Phase, Shared};
use super::trouble::Trouble;
use crate::config::ZooKeeperTls;
use gatehouse_core::chance::Chance;
use gatehouse_core::moment::Moment;
use gatehouse_wire::timer::{Timer, now};
use gatehouse_wire::tls::ClientSide;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// The wait after the first failure.
const RETRY_FIRST: Duration = Duration::from_millis(100);

/// The longest wait after a failure: an ensemble that is back is found within a second.
const RETRY_MAX: Duration = Duration::from_millis(800);

/// How long one server may take to grant a session.
const GREET_MAX: Duration = Duration::from_secs(4);

/// A connection that lived as long was a good one.
const GOOD_LIFE: Duration = Duration::from_secs(5);

/// How long credentials for TLS are good; then their files are read again.
const SIDE_LIFE: Duration = Duration::from_secs(30);

/// Keeps the session until nobody uses it any more.
pub(super) async fn keep(shared: Rc<Shared>, mut chance: Chance) {
    let mut credentials = Credentials::default();
    let mut order = shuffled(shared.servers.servers.len(), &mut chance);
    let mut tls = Sides::default();
    let mut failures = 0_u32;
    while !shared.wants_end.get() {
        let at = order[0];
        order.rotate_left(1);
        let (host, port) = &shared.servers.servers[at];
        let began = now();
        let why = match connect(&shared, (&**host, *port), &mut tls, &mut credentials).await {
            Ok(Greeted::Granted(link)) => serve(&shared, link, &mut credentials).await,
            Ok(Greeted::Expired) => {
                // A new session, at once and at the same place.
                let servers = &shared.servers;
                eprintln!("warn: zookeeper {servers}: the session has expired; another begins");
                order.rotate_right(1);
                continue;
            }
            Err(trouble) => Some(trouble),
        };
        let Some(why) = why else { break };
        let why = match why {
            Trouble::Away(text) => Trouble::Away(format!("{host}:{port}: {text}")),
            other => other,
        };
        shared.set_phase(Phase::Away(why));
        failures = if now().since(began) > GOOD_LIFE { 1 } else { failures.saturating_add(1) };
        wait(&shared, now().after(retry_wait(failures, &mut chance))).await;
    }
    shared.state.borrow_mut().ended = true;
    shared.set_phase(Phase::Away(Trouble::Away("the session was closed".to_owned())));
}

/// Serves a connection; says why it ended, or nothing where the session was closed.
async fn serve(shared: &Shared, mut link: Link, credentials: &mut Credentials) -> Option<Trouble> {
    shared.set_phase(Phase::Up { session: credentials.session });
    let why = link.serve(shared, credentials).await.map(Trouble::Away);
    let closed = || Trouble::Away("the session was closed".to_owned());
    link.give_up(&why.clone().unwrap_or_else(closed));
    why
}

async fn connect(
    shared: &Shared,
    server: (&str, u16),
    tls: &mut Sides,
    credentials: &mut Credentials,
) -> Result<Greeted, Trouble> {
    let side = shared.servers.tls.as_ref().map(|own| tls.side(own)).transpose()?;
    let greeting = greet(&shared.servers, server, side, credentials);
    let mut greeting = pin!(greeting);
    let (mut timer, until) = (Timer::default(), now().after(GREET_MAX));
    poll_fn(|cx| {
        shared.wakes(cx.waker());
        match greeting.as_mut().poll(cx) {
            Poll::Ready(greeted) => Poll::Ready(greeted.map_err(Trouble::Away)),
            Poll::Pending if shared.wants_end.get() => {
                Poll::Ready(Err(Trouble::Away("the session was closed".to_owned())))
            }
            Poll::Pending => timer.poll_until(cx, until).map(|()| {
                let millis = GREET_MAX.as_millis();
                Err(Trouble::Away(format!("no session within {millis} ms")))
            }),
        }
    })
    .await
}

/// Waits, but not for who wants no more.
async fn wait(shared: &Shared, until: Moment) {
    let mut timer = Timer::default();
    poll_fn(|cx| {
        shared.wakes(cx.waker());
        if shared.wants_end.get() { Poll::Ready(()) } else { timer.poll_until(cx, until) }
    })
    .await;
}

/// Credentials for TLS, read again now and then.
#[derive(Default)]
struct Sides(Option<(ClientSide, Moment)>);

impl Sides {
    fn side(&mut self, tls: &ZooKeeperTls) -> Result<&ClientSide, Trouble> {
        let fresh = |made: &Moment| now().since(*made) < SIDE_LIFE;
        if !self.0.as_ref().is_some_and(|(_, made)| fresh(made)) {
            self.0 = Some((side(tls)?, now()));
        }
        match &self.0 {
            Some((side, _)) => Ok(side),
            None => Err(Trouble::Impossible("no credentials for TLS".to_owned())),
        }
    }
}

/// `0..count` in an order drawn by lot, so that many gateways do not all ask the same server.
fn shuffled(count: usize, chance: &mut Chance) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for at in (1..count).rev() {
        let other = chance.below(u32::try_from(at + 1).unwrap_or(u32::MAX)) as usize;
        order.swap(at, other);
    }
    order
}

/// How long is waited after so many failures in a row, at least 1: doubling, half of it by lot.
fn retry_wait(failures: u32, chance: &mut Chance) -> Duration {
    let wait = RETRY_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(8)).min(RETRY_MAX);
    wait / 2 + wait / 2 / 1_000 * chance.below(1_001)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_half_of_each_is_drawn_by_lot() {
        let mut chance = Chance::seeded(3);
        for (failures, most) in [(1, 100), (2, 200), (4, 800), (5, 800), (u32::MAX, 800)] {
            let most = Duration::from_millis(most);
            let waits: Vec<Duration> = (0..50).map(|_| retry_wait(failures, &mut chance)).collect();
            assert!(waits.iter().all(|wait| (most / 2..=most).contains(wait)), "{failures}");
            assert!(waits.iter().any(|wait| *wait != waits[0]), "{failures}");
        }
    }

    #[test]
    fn every_server_is_asked_once_a_round() {
        let mut chance = Chance::seeded(9);
        let firsts: Vec<usize> = (0..64).map(|_| shuffled(3, &mut chance)[0]).collect();
        assert!((0..3).all(|server| firsts.contains(&server)));
        let mut order = shuffled(7, &mut chance);
        order.sort_unstable();
        assert_eq!(order, [0, 1, 2, 3, 4, 5, 6]);
    }
}
