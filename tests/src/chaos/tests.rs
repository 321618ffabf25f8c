//! That the proxy does what it says: between a client and a plain listener of the standard library.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::line::{Line, Step};
use super::{Chaos, Cut, Faults};
use crate::{BOUND, Client, End, Random, within};

/// A server that echoes, and tells at each end of a connection how that came.
fn echo() -> (std::net::SocketAddr, Receiver<End>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (ends, told) = channel();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let ends = ends.clone();
            thread::spawn(move || ends.send(echo_one(stream)));
        }
    });
    (address, told)
}

fn echo_one(mut stream: TcpStream) -> End {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return End::Eof,
            Ok(length) if stream.write_all(&bytes[..length]).is_ok() => {}
            _ => return End::Reset,
        }
    }
}

/// What comes back of `sent`, both directions running at the same time.
fn back(client: &mut Client, sent: &[u8]) -> Vec<u8> {
    let mut writer = client.stream().try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            writer
                .write_all(sent)
                .and_then(|()| writer.shutdown(std::net::Shutdown::Write))
        });
        client.receive_all().0
    })
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[test]
fn without_faults_everything_passes_and_the_end_too() {
    let (server, ends) = echo();
    let chaos = Chaos::before(server, 1, Faults::none(), Faults::none());
    let sent = Random::seeded(1).bytes(1_000_000);
    let mut client = Client::connect(chaos.addr());
    assert!(back(&mut client, &sent) == sent, "other bytes");
    assert_eq!(ends.recv_timeout(BOUND), Ok(End::Eof));
    assert_eq!(chaos.passed(), (1_000_000, 1_000_000));
    within(BOUND, "the link to end", || {
        (chaos.open() == 0).then_some(())
    });
}

#[test]
fn slices_are_no_longer_than_told_and_lose_nothing() {
    let mut line = Line::new(
        Faults::none().slice(3).delay(ms(1), ms(2)),
        Random::seeded(2),
    );
    let sent = Random::seeded(2).bytes(600);
    let start = Instant::now();
    line.receive(start, &sent);
    let (mut received, mut pieces) = (Vec::new(), 0);
    while let Step::Send(piece) = line.step(start + ms(3)) {
        assert!((1..=3).contains(&piece.len()), "a piece of {}", piece.len());
        received.extend_from_slice(piece);
        pieces += 1;
        let length = piece.len();
        line.sent(length);
    }
    assert_eq!(received, sent);
    // Two bytes on average.
    assert!((250..350).contains(&pieces), "{pieces} pieces");
}

#[test]
fn each_slice_is_a_segment_of_its_own() {
    let (server, _) = echo();
    // They come apart by 2 ms each: a client that is held up for a while finds only those of that
    // time together.
    let chaos = Chaos::before(
        server,
        2,
        Faults::none(),
        Faults::none().slice(3).bandwidth(1000),
    );
    let sent = Random::seeded(2).bytes(600);
    let mut client = Client::connect(chaos.addr());
    client.send(&sent);
    let (mut received, mut pieces) = (Vec::new(), 0);
    while received.len() < sent.len() {
        let mut bytes = [0; 1000];
        let length = client.stream().read(&mut bytes).unwrap();
        received.extend_from_slice(&bytes[..length]);
        pieces += 1;
    }
    assert_eq!(received, sent);
    // Without slices a line of this bandwidth passes a hundred bytes at a time.
    assert!(pieces > 20, "{pieces} pieces");
}

#[test]
fn a_delay_is_kept_and_does_not_throttle() {
    let (server, _) = echo();
    let chaos = Chaos::before(
        server,
        3,
        Faults::none().delay(ms(60), ms(0)),
        Faults::none().delay(ms(40), ms(20)),
    );
    let mut client = Client::connect(chaos.addr());
    let start = Instant::now();
    client.ask(b"there and back", b"there and back");
    assert!(start.elapsed() >= ms(100), "{:?}", start.elapsed());
    let sent = Random::seeded(3).bytes(1_000_000);
    assert!(back(&mut client, &sent) == sent, "other bytes");
    // Piece after piece it would take 250 times 60 ms.
    assert!(start.elapsed() < ms(8000), "{:?}", start.elapsed());
}

#[test]
fn of_so_many_bytes_one_is_another() {
    let (server, _) = echo();
    let corrupted = |seed| {
        let chaos = Chaos::before(server, seed, Faults::none().corrupt(100), Faults::none());
        let mut client = Client::connect(chaos.addr());
        back(&mut client, &[b'a'; 100_000])
    };
    let once = corrupted(4);
    let wrong = once.iter().filter(|byte| **byte != b'a').count();
    assert!(
        once.len() == 100_000 && (700..1300).contains(&wrong),
        "{wrong} of {}",
        once.len()
    );
    assert!(once == corrupted(4), "another corruption of the same seed");
    assert!(once != corrupted(5), "the same corruption of another seed");
}

#[test]
fn a_bandwidth_is_not_exceeded_and_holds_the_sender_back() {
    let (server, _) = echo();
    let chaos = Chaos::before(server, 6, Faults::none().bandwidth(100_000), Faults::none());
    let mut client = Client::connect(chaos.addr());
    client.stream().set_nonblocking(true).unwrap();
    let start = Instant::now();
    let mut sent = 0;
    while start.elapsed() < ms(500) {
        sent += client.stream().write(&[0; 16_384]).unwrap_or_default();
        thread::sleep(ms(1));
    }
    let (passed, _) = chaos.passed();
    let most = (start.elapsed().as_secs_f64() * 100_000.0) as u64 + 10_000;
    assert!(passed <= most && passed > 5_000, "{passed} bytes passed");
    // The kernel's buffers and the line's take some megabytes; the writer could have sent hundreds.
    assert!(sent < 20_000_000, "{sent} bytes sent into a line of 50 000");
}

#[test]
fn a_reset_comes_to_both_ends_after_its_bytes() {
    let (server, ends) = echo();
    let chaos = Chaos::before(
        server,
        7,
        Faults::none().cut(Cut::Reset, 1000),
        Faults::none(),
    );
    let mut client = Client::connect(chaos.addr());
    client.send(&[b'r'; 3000]);
    let (received, end) = client.receive_all();
    assert!(received.len() <= 1000, "{} bytes came back", received.len());
    assert_eq!(end, End::Reset);
    assert_eq!(ends.recv_timeout(BOUND), Ok(End::Reset));
    assert_eq!(chaos.passed().0, 1000);
}

#[test]
fn a_half_close_ends_one_direction_and_leaves_the_other() {
    let (server, ends) = echo();
    let chaos = Chaos::before(
        server,
        8,
        Faults::none().cut(Cut::HalfClose, 5),
        Faults::none(),
    );
    let mut client = Client::connect(chaos.addr());
    client.send(b"halfway");
    client.expect(b"halfw");
    client.expect_eof();
    assert_eq!(ends.recv_timeout(BOUND), Ok(End::Eof));
}

#[test]
fn a_blackhole_swallows_bytes_and_the_end() {
    let (server, ends) = echo();
    let chaos = Chaos::before(
        server,
        9,
        Faults::none().cut(Cut::Blackhole, 5),
        Faults::none(),
    );
    let mut client = Client::connect(chaos.addr());
    client.ask(b"hello", b"hello");
    client.send(&[b'x'; 100_000]);
    client.half_close();
    assert!(client.is_silent_for(ms(300)));
    assert!(ends.try_recv().is_err(), "the server was told of the end");
    assert_eq!(chaos.passed().0, 5);
    drop(chaos);
    ends.recv_timeout(BOUND).unwrap();
}
