use super::*;
use gatehouse_wire::timer::sleep;
use std::io::Write;
use std::time::Duration;

fn run<T: 'static>(tasks: &Tasks, main: impl Future<Output = T> + 'static) -> T {
    tasks.run(driver::bell().unwrap(), main).unwrap()
}

/// Ready when it is polled for the second time; says how often it was.
async fn once_more(polls: Rc<Cell<u32>>) {
    poll_fn(|_| {
        polls.set(polls.get() + 1);
        if polls.get() > 1 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[test]
fn a_late_wake_of_a_task_that_has_ended_does_not_end_its_successor() {
    let tasks = Rc::new(Tasks::default());
    let (own, kept) = (Rc::clone(&tasks), Rc::new(RefCell::new(None)));
    let set = Rc::clone(&kept);
    let carried_on = run(&tasks, async move {
        own.spawn(poll_fn(move |cx| {
            set.replace(Some(cx.waker().clone()));
            Poll::Ready(())
        }));
        own.next_round().await;
        let late: Waker = kept.take().unwrap();
        late.wake_by_ref();
        own.next_round().await;
        let polls = Rc::new(Cell::new(0));
        own.spawn(once_more(Rc::clone(&polls)));
        own.next_round().await;
        late.wake_by_ref();
        own.next_round().await;
        polls.get()
    });
    assert_eq!(carried_on, 2);
}

#[test]
fn a_few_busy_tasks_run_each_round_and_the_others_first() {
    const ROUNDS: usize = 10;
    let tasks = Rc::new(Tasks::default());
    let own = Rc::clone(&tasks);
    let polls = run(&tasks, async move {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let polls = Rc::new(Cell::new(0));
        let mut peers = Vec::new();
        for _ in 0..3 * BUSY_MAX {
            let mut stream = gatehouse_wire::socket::dial_tcp(address).await.unwrap();
            peers.push(listener.accept().unwrap().0);
            peers.last_mut().unwrap().write_all(b"never read").unwrap();
            let polls = Rc::clone(&polls);
            own.spawn(poll_fn(move |cx| {
                polls.set(polls.get() + 1);
                while stream.poll_read_ready(cx).is_ready() {}
                Poll::Pending
            }));
        }
        // Each has found that it has something to do.
        sleep(Duration::from_millis(20)).await;
        let before = polls.get();
        for _ in 0..ROUNDS {
            own.next_round().await;
        }
        polls.get() - before
    });
    assert!((ROUNDS..=ROUNDS * BUSY_MAX).contains(&polls), "{polls}");
}

#[test]
fn whom_slow_peers_feed_waits_for_the_others_and_they_for_few_of_them() {
    const SLOW: usize = 2 * LATER_MAX;
    let tasks = Rc::new(Tasks::default());
    let own = Rc::clone(&tasks);
    let heard = run(&tasks, async move {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let heard: Rc<RefCell<Vec<bool>>> = Rc::default();
        let mut peers = Vec::new();
        for at in 0..SLOW + 2 {
            let mut stream = gatehouse_wire::socket::dial_tcp(address).await.unwrap();
            peers.push(listener.accept().unwrap().0);
            let is_slow = at < SLOW;
            stream.yields(is_slow);
            let heard = Rc::clone(&heard);
            own.spawn(poll_fn(move |cx| {
                let read = stream.poll_read(cx, &mut [0; 8]);
                read.map(|count| heard.borrow_mut().push(is_slow && count.unwrap() == 1))
            }));
        }
        own.next_round().await;
        let (last, firsts) = peers.split_last_mut().unwrap();
        for peer in firsts {
            peer.write_all(b"x").unwrap();
        }
        own.next_round().await;
        last.write_all(b"x").unwrap();
        while heard.borrow().len() < SLOW + 2 {
            own.next_round().await;
        }
        heard.borrow().clone()
    });
    let others: Vec<usize> = (0..heard.len()).filter(|at| !heard[*at]).collect();
    assert_eq!(others.len(), 2);
    assert_eq!(others[0], 0, "{heard:?}");
    assert!(others[1] <= 1 + LATER_MAX, "{heard:?}");
}

#[test]
fn a_panic_ends_its_task_alone() {
    let tasks = Rc::new(Tasks::default());
    let own = Rc::clone(&tasks);
    let polls = run(&tasks, async move {
        own.spawn(async { panic!("one task of many") });
        let polls = Rc::new(Cell::new(0));
        own.spawn(poll_fn({
            let polls = Rc::clone(&polls);
            move |cx| {
                polls.set(polls.get() + 1);
                cx.waker().wake_by_ref();
                if polls.get() < 10 { Poll::Pending } else { Poll::Ready(()) }
            }
        }));
        own.next_round().await;
        polls.get()
    });
    assert_eq!(polls, 10);
}

#[test]
fn a_wake_from_another_thread_ends_the_wait() {
    let tasks = Tasks::default();
    let flag = Arc::new(AtomicBool::new(false));
    let mut thread = None;
    run(
        &tasks,
        poll_fn(move |cx| {
            if flag.load(Ordering::Acquire) {
                return Poll::Ready(());
            }
            let (waker, flag) = (cx.waker().clone(), Arc::clone(&flag));
            thread.get_or_insert_with(|| {
                std::thread::spawn(move || {
                    flag.store(true, Ordering::Release);
                    waker.wake();
                })
            });
            Poll::Pending
        }),
    );
}

#[test]
fn what_is_left_in_the_end_is_dropped_though_it_holds_the_tasks() {
    let tasks = Rc::new(Tasks::default());
    let own = Rc::clone(&tasks);
    run(&tasks, async move {
        let held = Rc::clone(&own);
        own.spawn(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        sleep(Duration::from_millis(1)).await;
    });
    assert_eq!(Rc::strong_count(&tasks), 1);
}
