use super::*;

#[test]
fn a_buffer_that_a_send_reads_goes_to_nobody_else_and_keeps_its_bytes() {
    let pool = BufferPool::new(4096, 16).expect("memory");
    let mut buf = pool.copy_of(b"sent");
    let lent = pool.lend(&buf);
    drop_tail(&pool, &mut buf);
    assert_eq!(
        pool.append(&mut buf, b"XX"),
        0,
        "the kernel reads what lies there"
    );
    pool.release(buf);
    assert_eq!(pool.referenced(), 1, "the send has it still");
    pool.take_back(lent);
    assert_eq!(pool.referenced(), 0);
}

/// As a handler does that keeps the beginning of a chunk.
fn drop_tail(pool: &BufferPool, buf: &mut BufRef) {
    let head = pool.split(buf, 2);
    pool.release(std::mem::replace(buf, head));
}

#[test]
fn what_is_shared_is_kept_while_it_is_used_and_never_written() {
    let pool = BufferPool::new(4096, 16).expect("memory");
    let bytes: Arc<[u8]> = Arc::from(&b"hello world"[..]);
    let mut rest = pool.share(Arc::clone(&bytes)).expect("it is short");
    let head = pool.split(&mut rest, 6);
    assert_eq!(
        (head.bytes(), rest.bytes()),
        (&b"hello "[..], &b"world"[..])
    );
    assert_eq!(head.address(), bytes.as_ptr(), "nothing was copied");
    pool.release(rest);
    let mut head = head;
    assert_eq!(
        pool.append(&mut head, b"there"),
        0,
        "the room behind it is not ours"
    );
    assert_eq!((pool.heap_bytes(), Arc::strong_count(&bytes)), (0, 2));
    let head = pool.copy_to_heap(head);
    assert_eq!(head.address(), bytes.as_ptr());
    pool.release(head);
    assert_eq!((pool.referenced(), Arc::strong_count(&bytes)), (0, 1));
    let again = pool.allocate(64, None);
    assert_eq!(again.len(), 0, "its place is another's");
    pool.release(again);
}

#[test]
fn a_span_appends_while_it_is_alone() {
    let pool = BufferPool::new(4096, 16).expect("memory");
    let mut buf = pool.allocate(64, None);
    assert_eq!(pool.append(&mut buf, b"hello "), 6);
    assert_eq!(pool.append(&mut buf, b"world"), 5);
    let head = pool.split(&mut buf, 6);
    assert_eq!((head.bytes(), buf.bytes()), (&b"hello "[..], &b"world"[..]));
    assert_eq!(pool.append(&mut buf, b"!"), 0, "shared");
    pool.release(head);
    assert_eq!(pool.append(&mut buf, b"!"), 1);
    assert_eq!(
        pool.append(&mut buf, &[b'x'; 100]),
        64 - 12,
        "its buffer holds 64"
    );
    pool.release(buf);
}

#[test]
fn neighbours_join_again() {
    let pool = BufferPool::new(4096, 16).expect("memory");
    let mut tail = pool.copy_of(b"one two three");
    let mut head = pool.split(&mut tail, 4);
    let middle = pool.split(&mut tail, 4);
    let tail = pool
        .join(&mut head, tail)
        .expect_err("the middle lies between");
    pool.join(&mut head, middle).expect("neighbours");
    pool.join(&mut head, tail).expect("neighbours");
    assert_eq!(head.bytes(), b"one two three");
    pool.release(head);
    assert_eq!(pool.state.borrow().vacant.len(), 1);
}

#[test]
fn standard_buffers_are_kept_and_reused_up_to_a_bound() {
    let pool = BufferPool::new(4096, 16).expect("memory");
    let bufs: Vec<BufRef> = (0..SPARE_HEAP_MAX + 10)
        .map(|_| pool.allocate(4096, None))
        .collect();
    for buf in bufs {
        pool.release(buf);
    }
    assert_eq!(pool.state.borrow().spare.len(), SPARE_HEAP_MAX);
    assert_eq!(pool.state.borrow().vacant.len(), 10);
    let again = pool.allocate(4096, None);
    assert_eq!(pool.state.borrow().spare.len(), SPARE_HEAP_MAX - 1);
    pool.release(again);
}

#[test]
fn provided_buffers_return_to_the_kernel() {
    let pool = BufferPool::new(256, 256).expect("memory");
    assert_eq!(pool.state.borrow().published, PUBLISHED_FIRST);
    let bufs: Vec<BufRef> = (0..PUBLISHED_FIRST as u16)
        .map(|index| pool.received(index, 1, Key::of_place(7)))
        .collect();
    assert!(pool.is_dry());
    pool.widen();
    assert_eq!(pool.state.borrow().published, 2 * PUBLISHED_FIRST);
    assert!(!pool.is_low());
    for buf in bufs {
        pool.release(buf);
    }
    assert_eq!(
        pool.state.borrow().free.len(),
        256 - 2 * PUBLISHED_FIRST as usize
    );
}

/// `count` times the kernel fills `at_a_time` buffers, which are given back at once.
fn pass(pool: &BufferPool, count: u32, at_a_time: u16) {
    for _ in 0..count {
        let bufs: Vec<BufRef> = (0..at_a_time)
            .map(|index| pool.received(index, 1, Key::of_place(7)))
            .collect();
        bufs.into_iter().for_each(|buf| pool.release(buf));
        pool.publish();
    }
}

#[test]
fn no_more_buffers_are_published_than_traffic_takes() {
    let pool = BufferPool::new(256, 4096).expect("memory");
    let window = || pool.state.borrow().window;
    let bufs: Vec<BufRef> = (0..PUBLISHED_FIRST as u16)
        .map(|index| pool.received(index, 1, Key::of_place(7)))
        .collect();
    pool.widen();
    pool.widen();
    assert_eq!(
        window(),
        2 * PUBLISHED_FIRST,
        "one batch found none, by however many receives"
    );
    bufs.into_iter().for_each(|buf| pool.release(buf));

    let (all, half) = (2 * PUBLISHED_FIRST as u16, PUBLISHED_FIRST as u16);
    pass(&pool, 4 * 65_536 / u32::from(all), all);
    assert_eq!(window(), 2 * PUBLISHED_FIRST, "all of them are taken");
    pass(&pool, 4 * 65_536 / u32::from(half), half);
    assert_eq!(window(), 2 * PUBLISHED_FIRST, "half of them are");
    pass(&pool, 2 * 65_536, 1);
    assert_eq!(window(), PUBLISHED_FIRST);
    pass(&pool, 2 * 65_536, 1);
    assert_eq!(window(), PUBLISHED_FIRST, "never fewer");
}

#[test]
fn every_byte_in_use_is_on_an_account() {
    let pool = BufferPool::new(256, 64).expect("memory");
    let (one, two) = (Key::of_place(1), Key::of_place(2));
    let provided = pool.received(0, 100, one);
    let aside = pool.copy_to_heap(pool.received(1, 100, one));
    let collected = pool.allocate(256, Some(two));
    let holders = || {
        let mut holders = Vec::new();
        pool.tell_holders(|owner, bytes| holders.push((owner.slot.0, bytes)));
        holders
    };
    assert_eq!(
        holders(),
        [(1, 256), (1, 128), (2, 256)],
        "whole buffers, the copied one just large enough"
    );
    assert_eq!((pool.heap_bytes(), pool.in_use()), (128 + 256, 1));
    pool.set_owner(&provided, two);
    assert_eq!(holders(), [(2, 256), (1, 128), (2, 256)]);
    [provided, aside, collected]
        .into_iter()
        .for_each(|buf| pool.release(buf));
    assert_eq!(
        (pool.heap_bytes(), pool.in_use(), holders().len()),
        (0, 0, 0),
        "a spare is in nobody's use"
    );
}

#[test]
fn bytes_are_changed_where_they_lie_by_who_has_them_alone() {
    let pool = BufferPool::new(4096, 16).expect("memory");
    let mut tail = pool.copy_of(b"headtail");
    let mut head = pool.split(&mut tail, 4);
    let address = head.address();
    pool.bytes_mut(&mut head).expect("its own").fill(b'H');
    pool.bytes_mut(&mut tail).expect("its own").fill(b'T');
    assert_eq!((head.bytes(), tail.bytes()), (&b"HHHH"[..], &b"TTTT"[..]));
    assert_eq!(head.address(), address);
    // What a send reads is not changed, and what lies behind it is.
    let lent = pool.lend(&head);
    assert!(pool.bytes_mut(&mut head).is_none());
    assert!(pool.bytes_mut(&mut tail).is_some());
    pool.take_back(lent);
    assert!(pool.bytes_mut(&mut head).is_some());
    pool.release(head);
    pool.release(tail);
    let mut shared = pool.share(Arc::from(&b"shared"[..])).expect("it is short");
    let mut again = pool.again(&shared);
    assert!(pool.bytes_mut(&mut shared).is_none() && pool.bytes_mut(&mut again).is_none());
    pool.release(shared);
    pool.release(again);
    let mut none = BufRef::NONE;
    assert!(pool.bytes_mut(&mut none).is_none());
}
