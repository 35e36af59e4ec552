//! The driver of a thread, over sockets of this machine.

use gatehouse_core::address::{Address, Bind};
use gatehouse_wire::driver::{self, Wait};
use gatehouse_wire::net::Bound;
use gatehouse_wire::timer::{Timer, now};
use gatehouse_wire::{Listener, Net, Stream};
use rustix::net::sockopt;
use std::future::Future;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::BorrowedFd;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// Counts how often it was woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Count>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Count {
    fn new() -> (Arc<Count>, Waker) {
        let count = Arc::<Count>::default();
        (Arc::clone(&count), Waker::from(count))
    }

    fn woken(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Turns the driver until `work` is ready.
fn wait<T>(mut work: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    loop {
        if let Poll::Ready(done) = work(&mut Context::from_waker(Waker::noop())) {
            return done;
        }
        driver::turn(Wait::Yes).unwrap();
    }
}

fn listening() -> (Bound, Listener, SocketAddr) {
    let bound = Bound::new(&Bind::Ip("127.0.0.1:0".parse().unwrap()), 1).unwrap();
    let Bind::Ip(address) = bound.address().unwrap() else { panic!("not an address") };
    let listener = Listener::register(bound.for_worker(0, 1).unwrap().pop().unwrap()).unwrap();
    (bound, listener, address)
}

/// A stream of the driver's, and the other end of it.
fn connected() -> (Stream, TcpStream) {
    let (_bound, mut listener, address) = listening();
    let client = TcpStream::connect(address).unwrap();
    (wait(|cx| listener.poll_accept(cx)).unwrap().0, client)
}

fn read(stream: &mut Stream, count: usize) -> Vec<u8> {
    let mut room = vec![0; count];
    let count = wait(|cx| stream.poll_read(cx, &mut room)).unwrap();
    room.truncate(count);
    room
}

/// Numbers of parked streams that have something to read.
fn woken(within: Duration) -> Vec<u32> {
    let (mut timer, mut found, until) = (Timer::default(), Vec::new(), now().after(within));
    wait(|cx| {
        if driver::poll_woken(cx, &mut found).is_ready() {
            return Poll::Ready(());
        }
        timer.poll_until(cx, until)
    });
    found
}

const SOON: Duration = Duration::from_millis(30);

#[test]
fn a_dialled_stream_carries_bytes_both_ways() {
    let (_bound, mut listener, address) = listening();
    let dial = async { Net::System.dial(&Address::Ip(address)).await };
    let mut dial = pin!(dial);
    let mut near = wait(|cx| dial.as_mut().poll(cx)).unwrap();
    let mut far = wait(|cx| listener.poll_accept(cx)).unwrap().0;
    for (from, to) in [(true, b"there"), (false, b"again")] {
        let (source, sink) = if from { (&mut near, &mut far) } else { (&mut far, &mut near) };
        let slices = [std::io::IoSlice::new(to)];
        assert_eq!(wait(|cx| source.poll_write_vectored(cx, &slices)).unwrap(), 5);
        assert_eq!(read(sink, 100), to);
    }
}

#[test]
fn what_waits_in_the_kernel_is_told_before_a_deadline_that_passed_unarmed() {
    let (mut stream, mut client) = connected();
    client.write_all(b"first").unwrap();
    assert_eq!(read(&mut stream, 100), b"first");
    let (count, waker) = Count::new();
    let mut cx = Context::from_waker(&waker);
    let (mut timer, mut room) = (Timer::default(), [0; 100]);
    assert!(stream.poll_read(&mut cx, &mut room).is_pending());
    // As if the process was stopped here: it has asked what came, and not yet for the time.
    client.write_all(b"second").unwrap();
    let deadline = now();
    assert!(timer.poll_until(&mut cx, deadline).is_pending());
    driver::turn(Wait::Yes).unwrap();
    assert!(count.woken() > 0);
    assert!(matches!(stream.poll_read(&mut cx, &mut room), Poll::Ready(Ok(6))));
    assert!(timer.poll_until(&mut cx, deadline).is_ready());
}

#[test]
fn nobody_to_dial_is_told() {
    let (bound, listener, address) = listening();
    drop((bound, listener));
    let mut dial = pin!(async { Net::System.dial(&Address::Ip(address)).await });
    assert!(wait(|cx| dial.as_mut().poll(cx)).is_err());
}

#[test]
fn more_than_fits_is_written_once_there_is_room_again() {
    let (mut stream, mut client) = connected();
    let text = vec![b'x'; 8 << 20];
    let reader = std::thread::spawn(move || {
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).unwrap();
        heard.len()
    });
    let mut written = 0;
    wait(|cx| gatehouse_wire::pump::poll_write_all(cx, &mut stream, &text, &mut written)).unwrap();
    drop(stream);
    assert_eq!(reader.join().unwrap(), text.len());
}

#[test]
fn what_is_queued_is_all_accepted() {
    let (_bound, mut listener, address) = listening();
    let clients: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
    for _ in &clients {
        wait(|cx| listener.poll_accept(cx)).unwrap();
    }
    assert!(listener.take_queued().unwrap().is_none());
}

#[test]
fn what_is_queued_and_not_told_yet_can_be_taken() {
    let (_bound, mut listener, address) = listening();
    let _client = TcpStream::connect(address).unwrap();
    assert!(listener.take_queued().unwrap().is_some());
}

#[test]
fn a_listener_that_is_gone_is_told_of_no_more() {
    let (_bound, listener, address) = listening();
    drop(listener);
    // Queued on the descriptor that is open still.
    let _client = TcpStream::connect(address).unwrap();
    let mut timer = Timer::default();
    let (count, waker) = Count::new();
    let until = now().after(SOON);
    let mut turns = 0;
    while timer.poll_until(&mut Context::from_waker(&waker), until).is_pending() {
        driver::turn(Wait::Yes).unwrap();
        turns += 1;
    }
    assert!(turns < 10 && count.woken() == 1, "{turns} turns, woken {} times", count.woken());
}

#[test]
fn a_parked_stream_is_told_of_once_and_only_when_it_has_something_to_read() {
    let (mut stream, mut client) = connected();
    assert!(stream.park(7).is_pending());
    assert_eq!(woken(SOON), []);
    client.write_all(b"hello").unwrap();
    assert_eq!(woken(Duration::from_secs(10)), [7]);
    assert_eq!(woken(SOON), []);
    assert!(stream.park(8).is_ready(), "it has not been read yet");
    assert_eq!(read(&mut stream, 100), b"hello");
    assert!(stream.park(9).is_pending());
    drop(client);
    assert_eq!(woken(Duration::from_secs(10)), [9]);
    assert_eq!(read(&mut stream, 100), b"");
}

#[test]
fn what_is_doubted_is_asked_for_again() {
    let (mut stream, _client) = connected();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(stream.poll_read_ready(&mut cx).is_pending());
    stream.doubt();
    assert!(stream.poll_read_ready(&mut cx).is_ready());
    assert!(stream.poll_read(&mut cx, &mut [0; 8]).is_pending());
    assert!(stream.poll_read_ready(&mut cx).is_pending());
}

#[test]
fn a_task_is_woken_for_each_arrival_and_not_in_between() {
    let (mut stream, mut client) = connected();
    let (count, waker) = Count::new();
    for round in 1..=3 {
        let mut room = [0; 100];
        let mut cx = Context::from_waker(&waker);
        assert!(stream.poll_read(&mut cx, &mut room).is_pending());
        client.write_all(b"hello").unwrap();
        while count.woken() < round {
            driver::turn(Wait::Yes).unwrap();
        }
        assert_eq!(stream.poll_read(&mut cx, &mut room).map(Result::unwrap), Poll::Ready(5));
    }
    driver::turn(Wait::No).unwrap();
    assert_eq!(count.woken(), 3);
}

#[test]
fn an_end_behind_data_is_read_after_it() {
    let (mut stream, mut client) = connected();
    client.write_all(b"hello").unwrap();
    drop(client);
    std::thread::yield_now();
    assert_eq!(read(&mut stream, 100), b"hello");
    assert_eq!(read(&mut stream, 100), b"");
}

#[test]
fn a_task_that_has_used_up_its_allowance_finds_nothing_ready() {
    let (mut stream, mut client) = connected();
    client.write_all(b"hello").unwrap();
    assert_eq!(read(&mut stream, 1), b"h");
    let mut cx = Context::from_waker(Waker::noop());
    driver::allow(2);
    assert!(stream.poll_read(&mut cx, &mut [0; 1]).is_ready());
    assert!(stream.poll_read(&mut cx, &mut [0; 1]).is_ready());
    assert!(stream.poll_read(&mut cx, &mut [0; 1]).is_pending());
    assert!(driver::is_spent());
    assert!(stream.poll_read(&mut cx, &mut [0; 1]).is_ready());
    assert!(!driver::is_spent());
}

#[test]
fn a_bell_ends_the_wait_from_another_thread() {
    let bell = driver::bell().unwrap();
    let rung = std::thread::spawn({
        let bell = bell.clone();
        move || bell.wake()
    });
    driver::turn(Wait::Yes).unwrap();
    rung.join().unwrap();
}

/// Reads so many bytes, and says how many the kernel would keep of what is not read.
fn read_on(stream: &mut Stream, bytes: usize) -> usize {
    let (mut room, mut left) = (vec![0; 64 * 1024], bytes);
    while left > 0 {
        let count = wait(|cx| stream.poll_read(cx, &mut room)).unwrap();
        assert!(count > 0, "{left} bytes are missing");
        left = left.saturating_sub(count);
    }
    // Room is asked for where there is some, so that this waits for nothing.
    let size = |socket: BorrowedFd<'_>| Ok(sockopt::socket_recv_buffer_size(socket)?);
    wait(|cx| stream.poll_write_with(cx, size)).unwrap()
}

#[test]
fn an_endpoint_may_send_ahead_without_a_narrow_bound_only_once_it_is_widened() {
    const NARROW: usize = 128 * 1024;
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Ip(server.local_addr().unwrap());
    let sender = std::thread::spawn(move || {
        let (mut peer, _) = server.accept().unwrap();
        let some = vec![b'x'; 256 * 1024];
        while peer.write_all(&some).is_ok() {}
    });
    let mut dialling = pin!(Net::System.dial(&address));
    let mut stream = wait(|cx| dialling.as_mut().poll(cx)).unwrap();
    // By itself it would have grown by then.
    assert_eq!(read_on(&mut stream, 64 << 20), NARROW);
    stream.widen();
    // The kernel doubles what it is told, and the least it allows by default is 208 KiB.
    let widened = read_on(&mut stream, 64 << 20);
    assert!(widened >= 3 * NARROW, "{widened}");
    drop(stream);
    sender.join().unwrap();
}

#[test]
fn messages_that_nobody_waited_for_widen_their_connection_together() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Ip(server.local_addr().unwrap());
    let mut dialling = pin!(Net::System.dial(&address));
    let mut stream = wait(|cx| dialling.as_mut().poll(cx)).unwrap();
    let (mut peer, _) = server.accept().unwrap();
    peer.write_all(b"some").unwrap();
    let narrow = read_on(&mut stream, 4);
    for (bytes, widens) in [(0, false), (500 * 1024, false), (12 * 1024, true), (1, true)] {
        stream.note_unhindered(bytes);
        peer.write_all(b"some").unwrap();
        assert_eq!(read_on(&mut stream, 4) > narrow, widens, "{bytes}");
    }
}
